/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* traced.h - what traced's BPF programs and their test share. */
#ifndef TESTS_C_VM_TRACED_H
#define TESTS_C_VM_TRACED_H

/* Where a program runs, with its section ... */
#define TRACED_PLACES(place)				\
	place(fentry, "fentry/bpf_fentry_test1")	\
	place(fexit, "fexit/bpf_fentry_test1")		\
	place(lsm, "lsm/file_open")			\
	place(lsm_sleepable, "lsm.s/file_open")

/* ... and how it reaches the TLD. Programs are called PLACE_SHAPE. */
#define TRACED_SHAPES(place, section, shape)	\
	shape(place, section, plain)		\
	shape(place, section, loop)		\
	shape(place, section, subprogram)	\
	shape(place, section, callback)

#define TRACED_ONE(place, section, shape) TRACED_##place##_##shape,
#define TRACED_FOUR(place, section) TRACED_SHAPES(place, section, TRACED_ONE)
enum { TRACED_PLACES(TRACED_FOUR) TRACED_PROGRAMS };

struct traced {
	unsigned long long task;	/* the one to look at */
	unsigned long long read[TRACED_PROGRAMS];
};

#endif
