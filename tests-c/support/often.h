/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * often.h - how often, how long and how fast, where that is only a matter of time: an
 * emulated machine takes ten times as long for what it does, and gets less to do.
 *
 * vm.mk defines TLD_EMULATED for all that guests run, C and BPF.
 */
#ifndef TESTS_C_OFTEN_H
#define TESTS_C_OFTEN_H

#ifdef TLD_EMULATED
#define SLOWER 10
#define FEWER 4
#else
#define SLOWER 1
#define FEWER 1
#endif

/* Repetitions: a tenth there; or a quarter, where the number itself tells something. */
#define OFTEN(n) (((n) + SLOWER - 1) / SLOWER)
#define SOME(n) (((n) + FEWER - 1) / FEWER)

/* How long to go on with what is done as often as there is time for. */
#define BRIEFLY(seconds) ((seconds) / FEWER)

#endif
