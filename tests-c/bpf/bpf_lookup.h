/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* bpf_lookup.h - what bpf_lookup's BPF programs report of one look at a TLD. */
#ifndef TESTS_C_BPF_LOOKUP_H
#define TESTS_C_BPF_LOOKUP_H

/* 61 bytes, the longest name; two that differ in the last byte; one byte too many. */
#define LONG_60 "a name of sixty bytes that leaves room for just one last one"
#define LONG_A LONG_60 "A"
#define LONG_B LONG_60 "B"
#define LONG_TOO_MUCH LONG_A "x"

struct lookup_view {
	int err;			/* of tld_object_init() */
	unsigned int found;
	unsigned long long value;	/* its first 8 bytes */
};

#endif
