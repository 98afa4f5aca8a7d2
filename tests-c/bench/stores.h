/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * stores.h - the loop in which every way of giving a hint is timed, so that peers differ
 * in nothing else.
 */
#ifndef TESTS_C_BENCH_STORES_H
#define TESTS_C_BENCH_STORES_H

#include "bench.h"

/*
 * Nanoseconds of @times times @statement, which may use the number i. All memory may
 * have changed: nothing but addresses survives from one hint to the next. Unrolled by the
 * compiler, because a round of one store is bound by the loop's jump; not by hand,
 * because several calls would keep the kernel's function, which is merely static, from
 * being inlined.
 */
#define STORE_LOOP(times, statement)						\
({										\
	uint64_t times__ = (times) & ~UINT64_C(7), start__ = now_ns();		\
										\
	_Pragma("GCC unroll 8")							\
	for (uint64_t i = 0; i < times__; i++) {				\
		statement;							\
		__asm__ volatile("" ::: "memory");				\
	}									\
	now_ns() - start__;							\
})

#define STORE_THROUGH(pointer)							\
	do {									\
		uint32_t *data__ = (pointer);					\
										\
		if (data__)							\
			*data__ = i;						\
	} while (0)

#endif
