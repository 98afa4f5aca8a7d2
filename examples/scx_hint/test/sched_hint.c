// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * sched_hint.c - the word "sched.hint" is what docs/guide/hints.md says, bit by bit.
 */
#include <stdint.h>
#include "../examples/scx_hint/sched_hint.h"
#include "tap.h"

#define V1 (1ULL << 60)

static void writes(void)
{
	ok(sched_hint(SCHED_HINT_NORMAL, 0, 0) == V1, "a hint has the version, and reserved bits are 0");
	ok(sched_hint(SCHED_HINT_INTERACTIVE, 50, 1000000) == (V1 | 1ULL << 48 | 50ULL << 32 | 1000000),
	   "class, weight and deadline are where the table says");
	ok(sched_hint(SCHED_HINT_BACKGROUND, 100, 0) == (V1 | 2ULL << 48 | 100ULL << 32), "background is class 2");
	ok(sched_hint_deadline(sched_hint(SCHED_HINT_NORMAL, 0, UINT64_C(5000000000))) == 0xffffffff,
	   "a deadline of more than 32 bits is cut to that, and touches nothing else");
	ok(sched_hint(SCHED_HINT_NORMAL, 0, UINT64_MAX) >> 32 == V1 >> 32, "not even the longest one");
}

static void reads(void)
{
	ok(sched_hint_version(0) == 0 && sched_hint_class(0) == SCHED_HINT_NORMAL && sched_hint_weight(0) == 100 &&
	   sched_hint_deadline(0) == 0, "a TLD that nobody has written is no hint");
	ok(sched_hint_class(2ULL << 60 | 1ULL << 48) == SCHED_HINT_NORMAL &&
	   sched_hint_weight(2ULL << 60 | 50ULL << 32) == 100 && sched_hint_deadline(2ULL << 60 | 7) == 0,
	   "a version that is not known is no hint");
	ok(sched_hint_class(V1 | 3ULL << 48) == SCHED_HINT_NORMAL && sched_hint_class(V1 | 15ULL << 48) == SCHED_HINT_NORMAL,
	   "a class that is not known is normal");
	ok(sched_hint_class(V1 | 0xffULL << 52 | 1ULL << 48) == SCHED_HINT_INTERACTIVE &&
	   sched_hint_weight(V1 | 0xffULL << 52 | 50ULL << 32) == 50, "reserved bits change nothing");
	ok(sched_hint_weight(V1) == 100 && sched_hint_weight(V1 | 1ULL << 32) == 1 &&
	   sched_hint_weight(V1 | 100ULL << 32) == 100 && sched_hint_weight(V1 | 101ULL << 32) == 100 &&
	   sched_hint_weight(V1 | 0xffffULL << 32) == 100, "a weight is 1 to 100 per cent: nobody takes more by it");
	ok(sched_hint_deadline(V1 | 0xffffffff) == 0xffffffff, "a deadline has 32 bits");
}

int main(void)
{
	writes();
	reads();
	return tap_done();
}
