/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * often.h - how often, how long and how fast, where that is only a matter of time: an
 * emulated machine takes ten times as long for what it does, and gets less to do. A busy
 * one is given more time before something counts as hung.
 *
 * guests.mk defines TLD_EMULATED for all that guests run, C and BPF.
 */
#ifndef TESTS_C_OFTEN_H
#define TESTS_C_OFTEN_H

#ifndef __bpf__
#include <stdlib.h>
#include <unistd.h>
#endif

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

#ifndef __bpf__

/* Processes that want a processor, for each that there is, and one; when the program began. */
static unsigned int load_factor = 1;

__attribute__((constructor, unused))
static void measure_load(void)
{
	double load;

	if (getloadavg(&load, 1) == 1)
		load_factor = 1 + (unsigned int)(load / sysconf(_SC_NPROCESSORS_ONLN) + 1);
	if (load_factor > 30)
		load_factor = 30;
}

/* Seconds after which what takes so long at rest has hung. */
__attribute__((unused))
static unsigned int patience(unsigned int seconds)
{
	return seconds * load_factor;
}

#endif

/* How long to go on with what is done as often as there is time for. */
#define BRIEFLY(seconds) ((seconds) / FEWER)

#endif
