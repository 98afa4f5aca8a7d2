/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * hostile_pages_rounds.h - counts the rounds of the loops in a BPF header that is
 * included after it, by standing before the two helpers that it walks with.
 */
#ifndef TESTS_C_HOSTILE_PAGES_ROUNDS_H
#define TESTS_C_HOSTILE_PAGES_ROUNDS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "hostile_pages.h"

struct hostile_cost cost;

static inline __attribute__((always_inline)) long hostile_count(long rounds)
{
	cost.searches++;
	cost.rounds += rounds;
	if (cost.most_rounds < (unsigned long long)rounds)
		cost.most_rounds = rounds;
	return rounds;
}

/* bpf_loop() returns how many rounds it made. */
#define bpf_loop(...) hostile_count((bpf_loop)(__VA_ARGS__))
#define bpf_strncmp(...) (cost.compared++, (bpf_strncmp)(__VA_ARGS__))

#endif
