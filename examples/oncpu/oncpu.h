/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * oncpu.h - what the program and its BPF programs (oncpu.bpf.c) share.
 */
#ifndef ONCPU_H
#define ONCPU_H

#include <linux/types.h>

/* The TLD: a __u32 that holds the kind of request that the thread works on. */
#define ONCPU_TLD_NAME "oncpu.kind"

/* What a TLD holds before its thread's first request: zero, as every new TLD. */
enum oncpu_kind {
	ONCPU_NONE,
	ONCPU_STATIC,
	ONCPU_SEARCH,
	ONCPU_CHECKOUT,
	ONCPU_REPORT,
	ONCPU_KINDS
};

/* A power of two, so that BPF can bound an index with a mask. */
#define ONCPU_WORKERS_MAX 64

/*
 * One worker's part of the shared page. tagging is written by the worker, the
 * counts by BPF. A cache line each, so that workers do not slow each other.
 */
struct oncpu_worker {
	__u64 tagging;		/* 1 while the worker changes its tag */
	__u64 calls;		/* system calls it made */
	__u64 tagging_calls;	/* those made while tagging was 1 */
	__u64 unused[5];
};

/* The value of the array map "oncpu_totals", which the program has mmapped. */
struct oncpu_totals {
	__u64 ns[ONCPU_KINDS];	/* on-CPU time */
	__u64 unused[3];
	struct oncpu_worker workers[ONCPU_WORKERS_MAX];
};

/*
 * The value of the task storage map "oncpu_tasks". A worker puts its own
 * element in when it starts: BPF then knows which tasks to count, and from the
 * first system call on.
 */
struct oncpu_task {
	__u64 charged_ns;	/* run time that has been charged to a kind */
	__u32 worker;		/* index into oncpu_totals.workers */
	__u32 unused;
};

#endif /* ONCPU_H */
