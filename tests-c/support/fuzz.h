/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * fuzz.h - numbers for tests that try what nobody would think of. Every run tries
 * others; TLD_TEST_SEED=n repeats the run that printed n.
 */
#ifndef TESTS_C_FUZZ_H
#define TESTS_C_FUZZ_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "tap.h"

/* One sequence; each thread has its own. */
struct fuzz {
	uint64_t state;
};

/* The seed of this run, printed once: call it before any thread starts. */
__attribute__((unused))
static uint64_t fuzz_seed(void)
{
	const char *asked = getenv("TLD_TEST_SEED");
	struct timespec now;
	uint64_t seed;

	clock_gettime(CLOCK_REALTIME, &now);
	seed = asked ? strtoull(asked, NULL, 0) : (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	diag("TLD_TEST_SEED=%llu", (unsigned long long)seed);
	return seed;
}

/* splitmix64: any state will do, and neighbouring seeds give unlike sequences. */
static inline uint64_t fuzz_next(struct fuzz *fuzz)
{
	uint64_t z = fuzz->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* 0 to n - 1. */
static inline uint32_t fuzz_below(struct fuzz *fuzz, uint32_t n)
{
	return (uint32_t)(((fuzz_next(fuzz) >> 32) * n) >> 32);
}

/* true in one of n cases. */
static inline bool fuzz_one_in(struct fuzz *fuzz, uint32_t n)
{
	return fuzz_below(fuzz, n) == 0;
}

#define fuzz_pick(fuzz, array) ((array)[fuzz_below((fuzz), sizeof(array) / sizeof(*(array)))])

/* A sequence of its own for each number, from one seed. */
static inline struct fuzz fuzz_sequence(uint64_t seed, uint64_t number)
{
	struct fuzz fuzz = { seed ^ number << 32 };

	fuzz_next(&fuzz);
	return fuzz;
}

__attribute__((unused))
static void fuzz_bytes(struct fuzz *fuzz, void *bytes, size_t size)
{
	char *to = bytes;
	uint64_t word;

	for (size_t left = size; left; ) {
		size_t part = left < sizeof(word) ? left : sizeof(word);

		word = fuzz_next(fuzz);
		memcpy(to, &word, part);
		to += part;
		left -= part;
	}
}

#endif
