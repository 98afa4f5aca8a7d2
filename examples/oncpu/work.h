/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * work.h - the work that the four kinds of requests are.
 */
#ifndef ONCPU_WORK_H
#define ONCPU_WORK_H

#include <stdint.h>

/* Memory that a worker sorts in. */
struct work_scratch;

/* Make the data that requests read. Return: 0 or -ENOMEM. Call once, first. */
int work_prepare(void);

/* Return: NULL without memory. To be given to free(). */
struct work_scratch *work_scratch_new(void);

/*
 * Serve one request. @kind is a member of enum oncpu_kind other than
 * ONCPU_NONE, @seed says which file, word, order or day is wanted.
 * Return: the answer.
 */
uint64_t work_do(uint32_t kind, uint64_t seed, struct work_scratch *scratch);

/* The next of a sequence of pseudo-random numbers. *@state must not be 0. */
uint64_t work_random(uint64_t *state);

#endif /* ONCPU_WORK_H */
