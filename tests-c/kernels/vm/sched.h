/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* sched.h - what the scheduler and its test share. */
#ifndef TESTS_C_VM_SCHED_H
#define TESTS_C_VM_SCHED_H

#define SCHED_THREADS 4

/* The TLD "hint": whose it is, and a number that changes. */
struct sched_hint {
	unsigned int thread;
	unsigned int number;
};

struct sched_seen {
	unsigned long long enqueued;			/* tasks, all there are */
	unsigned long long without;			/* those that have no hint */
	unsigned int number[SCHED_THREADS];		/* the last one seen */
	unsigned long long times[SCHED_THREADS];	/* a hint was seen */
};

#endif
