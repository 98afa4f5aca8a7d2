/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* bpf_header.h - what bpf_header's BPF programs and their test share. */
#ifndef TESTS_C_BPF_HEADER_H
#define TESTS_C_BPF_HEADER_H

/* How a program reaches the TLD ... */
enum header_shape { SHAPE_PLAIN, SHAPE_LOOP, SHAPE_SUBPROGRAM, SHAPES };

/* ... and where it runs. */
enum header_place {
	PLACE_SYSCALL, PLACE_TP_BTF, PLACE_TRACEPOINT, PLACE_RAW_TP, PLACE_PERF_EVENT,
	PLACE_ITER, PLACES,
};

/* Turns of the loop that looks up, and of the one that initialises too. */
#define HEADER_TURNS 5

struct header_quad {
	unsigned long long a, b, c, d;
};

struct header_result {
	unsigned int runs;		/* on the chosen thread */
	unsigned int failures;		/* no object, or no TLD */
	int err;			/* the last of tld_object_init() */
	unsigned int turns;		/* in which both TLDs were found */
	unsigned long long first;	/* the TLD "first" */
	struct header_quad quad;	/* the TLD "quad" */
};

struct header_shared {
	unsigned long long task;	/* whose data the programs read */
	struct header_result result[PLACES][SHAPES];
};

#endif
