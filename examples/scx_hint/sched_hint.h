/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * sched_hint.h - the TLD "sched.hint", by which a thread tells a scheduler what it is.
 *
 *	TLD_DEFINE_KEY(hint_key, SCHED_HINT_NAME, sizeof(uint64_t));
 *	...
 *	tld_follow(SCHED_HINT_PIN);
 *	...
 *	uint64_t *hint = tld_get(hint_key);
 *
 *	if (hint)
 *		__atomic_store_n(hint, sched_hint(SCHED_HINT_INTERACTIVE, 0, 0), __ATOMIC_RELAXED);
 *
 * One word, so that no reader sees half of a hint; 0, what a new TLD holds, is no hint. The
 * proposal itself, with the reasons, is docs/guide/hints.md. For C, C++ and BPF.
 */
#ifndef SCHED_HINT_H
#define SCHED_HINT_H

#include <linux/types.h>

#define SCHED_HINT_NAME "sched.hint"

/* Where a scheduler pins the data map, unless told otherwise. */
#define SCHED_HINT_PIN "/sys/fs/bpf/hints/tld_data_map"

/*
 * Bits 60 to 63: the version of what follows, 0 for no hint. A reader takes a version that
 * it does not know for no hint.
 * Bits 52 to 59: reserved. Writers leave them 0, readers ignore them.
 * Bits 48 to 51: the class. A reader takes one that it does not know for SCHED_HINT_NORMAL.
 * Bits 32 to 47: the weight, in per cent of what the thread would have without a hint,
 *	1 to 100; others mean 100. A thread can give way by it, not take.
 * Bits 0 to 31: the deadline, in ns from when the thread wakes up, 0 for none.
 */
#define SCHED_HINT_VERSION 1

enum sched_hint_class {
	SCHED_HINT_NORMAL,	/* as without a hint */
	SCHED_HINT_INTERACTIVE,	/* somebody waits for this thread: before the others */
	SCHED_HINT_BACKGROUND,	/* nobody does: after the others */
};

/* A hint. A deadline of more than 32 bits, 4.29 s, is cut to that. */
static inline __u64 sched_hint(enum sched_hint_class sched_class, unsigned int weight, __u64 deadline_ns)
{
	return (__u64)SCHED_HINT_VERSION << 60 | ((__u64)sched_class & 0xf) << 48 |
	       ((__u64)weight & 0xffff) << 32 | (deadline_ns >> 32 ? 0xffffffff : deadline_ns);
}

static inline unsigned int sched_hint_version(__u64 hint)
{
	return hint >> 60;
}

static inline enum sched_hint_class sched_hint_class(__u64 hint)
{
	unsigned int sched_class = hint >> 48 & 0xf;

	if (sched_hint_version(hint) != SCHED_HINT_VERSION || sched_class > SCHED_HINT_BACKGROUND)
		return SCHED_HINT_NORMAL;
	return (enum sched_hint_class)sched_class;
}

static inline unsigned int sched_hint_weight(__u64 hint)
{
	unsigned int weight = hint >> 32 & 0xffff;

	if (sched_hint_version(hint) != SCHED_HINT_VERSION || weight < 1 || weight > 100)
		return 100;
	return weight;
}

static inline __u64 sched_hint_deadline(__u64 hint)
{
	return sched_hint_version(hint) == SCHED_HINT_VERSION ? hint & 0xffffffff : 0;
}

#endif /* SCHED_HINT_H */
