// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * work.c - the work that the four kinds of requests are. Each uses the
 * processor in another way and for another time, from about 0.4 ms ("static")
 * to about 8 ms ("report"), as the requests of a real server do.
 *
 * What it reads is made once by work_prepare() and shared by all workers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "oncpu.h"
#include "work.h"

#define FILE_BYTES	(256 * 1024)
#define TEXT_BYTES	(2 * 1024 * 1024)
#define WORD_BYTES	4
#define ORDER_LINES	8000
#define SALES		60000

struct work_scratch {
	uint32_t sales[SALES];
};

static unsigned char *file;
static char *text;
static uint32_t *sales;

uint64_t work_random(uint64_t *state)
{
	/* xorshift64* */
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545F4914F6CDD1Dull;
}

static char random_letter(uint64_t *state)
{
	return (char)('a' + work_random(state) % 26);
}

int work_prepare(void)
{
	uint64_t state = 1;
	size_t i;

	file = malloc(FILE_BYTES);
	text = malloc(TEXT_BYTES);
	sales = malloc(SALES * sizeof(*sales));
	if (!file || !text || !sales)
		return -ENOMEM;
	for (i = 0; i < FILE_BYTES; i++)
		file[i] = (unsigned char)work_random(&state);
	for (i = 0; i < TEXT_BYTES; i++)
		text[i] = random_letter(&state);
	for (i = 0; i < SALES; i++)
		sales[i] = (uint32_t)work_random(&state);
	return 0;
}

struct work_scratch *work_scratch_new(void)
{
	return malloc(sizeof(struct work_scratch));
}

/* The ETag of a file: its FNV-1a hash. */
static uint64_t serve_static(uint64_t seed)
{
	uint64_t hash = 0xCBF29CE484222325ull ^ seed;
	size_t i;

	for (i = 0; i < FILE_BYTES; i++)
		hash = (hash ^ file[i]) * 0x100000001B3ull;
	return hash;
}

/* How often a word occurs in a text. */
static uint64_t serve_search(uint64_t seed)
{
	const char *at = text, *end = text + TEXT_BYTES;
	char word[WORD_BYTES];
	uint64_t found = 0;
	size_t i;

	for (i = 0; i < WORD_BYTES; i++)
		word[i] = random_letter(&seed);
	while ((at = memmem(at, (size_t)(end - at), word, WORD_BYTES))) {
		found++;
		at++;
	}
	return found;
}

/* base to the power of exponent, modulo a prime of 32 bits. */
static uint64_t power(uint64_t base, uint32_t exponent)
{
	const uint64_t prime = 4294967291u;
	uint64_t result = 1;

	for (base %= prime; exponent; exponent >>= 1) {
		if (exponent & 1)
			result = result * base % prime;
		base = base * base % prime;
	}
	return result;
}

/* Sum up an order, signing each line (with a toy signature). */
static uint64_t serve_checkout(uint64_t seed)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < ORDER_LINES; i++)
		sum += power(work_random(&seed), 0xC0FFEE01u);
	return sum;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* What the best tenth of a day's sales brought. */
static uint64_t serve_report(uint64_t seed, struct work_scratch *scratch)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < SALES; i++)
		scratch->sales[i] = sales[i] ^ (uint32_t)seed;
	qsort(scratch->sales, SALES, sizeof(scratch->sales[0]), compare);
	for (i = SALES - SALES / 10; i < SALES; i++)
		sum += scratch->sales[i];
	return sum;
}

uint64_t work_do(uint32_t kind, uint64_t seed, struct work_scratch *scratch)
{
	switch (kind) {
	case ONCPU_STATIC:
		return serve_static(seed);
	case ONCPU_SEARCH:
		return serve_search(seed);
	case ONCPU_CHECKOUT:
		return serve_checkout(seed);
	case ONCPU_REPORT:
		return serve_report(seed, scratch);
	}
	return 0;
}
