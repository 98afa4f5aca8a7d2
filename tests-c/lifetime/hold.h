/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* hold.h - between hold.bpf.c, which keeps a thread's page, and its test. */
#ifndef TESTS_C_HOLD_H
#define TESTS_C_HOLD_H

struct hold_view {
	/* in */
	int tid;
	unsigned long long mark;	/* a word to count in the page, at the end */
	/* out */
	int err;			/* 0, or what is missing: the thread, its element */
	unsigned int timed_out;
	unsigned long long before, after; /* the first word of the thread's data */
	unsigned int marks;
};

/* The program's memory, mapped into the test. */
struct hold_shared {
	unsigned int holding;		/* the program has the page */
	unsigned int let_go;		/* it may look once more and end */
};

#endif
