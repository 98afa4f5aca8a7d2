/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* scx_hint.h - what the scheduler and its loader share. */
#ifndef SCX_HINT_H
#define SCX_HINT_H

#include <linux/types.h>

/* Powers of two: indices are masked. */
#define CPUS_MAX 512
#define DOMAINS_MAX 64

/* The classes of sched_hint.h, by precedence. */
enum rank {
	INTERACTIVE,
	NORMAL,
	BACKGROUND,
	RANKS,
};

/* Classes with others below them have a budget. */
#define BUDGETS (RANKS - 1)

/* Of a domain, in an array that has them by domain. */
struct hint_cpus {
	__u16 first, count;
};

/* A processor, on cache lines of its own. */
struct hint_cpu {
	__u32 domain;		/* set by the loader */
	__u32 is_online;
	__u32 running;		/* the rank of what runs here, or RANKS if that is not known */
	__u64 since;		/* what runs is accounted up to then */
	__u64 ran;		/* for how long it has, with nothing else in between */
	__u64 refilled;		/* when left was */
	__s64 left[BUDGETS];	/* of the budgets, in ns; spent if not above 0 */
} __attribute__((aligned(128)));

/* Processors that share a cache. */
struct hint_domain {
	__u64 now[RANKS];	/* the virtual time that the class has come to */
	__u64 served;		/* when one of its processors last looked for work */
	__u32 online;		/* processors */
} __attribute__((aligned(128)));

/* What each processor counts. */
enum scx_hint_stat {
	STAT_INTERACTIVE,	/* decisions about a task of this class: queued, or given a processor */
	STAT_NORMAL,
	STAT_BACKGROUND,
	STAT_HINTED,		/* of these, about one with a hint */
	STAT_REFUSED,		/* with a hint of a program that is not trusted */
	STAT_IDLE,		/* given an idle processor at once */
	STAT_PREEMPTED,		/* a lower class had to stop for it */
	STAT_MIGRATED,		/* ran on another processor than before */
	STAT_STOLEN,		/* ran in another domain than where it was queued */
	STAT_BUDGET,		/* a lower class went first: the budget was spent */
	STATS,
};

/* Why the scheduler ended, as the kernel says. */
struct scx_hint_exit {
	int kind;		/* 0 while it runs */
	__s64 code;
	char reason[64];
	char message[256];
};

/* --trust: a user's id, or a cgroup's with this bit. */
#define TRUST_CGROUP (1ULL << 63)

#endif
