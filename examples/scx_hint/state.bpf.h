/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * state.bpf.h - what the scheduler knows: its options, the machine, and its tasks. Part of
 * scx_hint.bpf.c.
 */
#ifndef STATE_BPF_H
#define STATE_BPF_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "scx.bpf.h"
#include "scx_hint.h"

#define MS 1000000ULL

/* Nice values make more of a difference: then a task would wait for longer than that for others. */
#define WEIGHT_LEAST 20
#define WEIGHT_MOST 500

/* What runs on a processor if not known: nothing, or it is being decided. */
#define UNKNOWN RANKS

/* Options, and what the machine looks like: set by the loader. */
const volatile bool use_hints = true, use_trust;
const volatile __u64 slice_ns = 3 * MS, window_ns = 100 * MS;
const volatile __u32 budget_percent[BUDGETS] = { 50, 90 };
const volatile __u32 nr_domains = 1, nr_cpus = 1;
const volatile __u16 cpu_order[CPUS_MAX];	/* processors, by domain */
const volatile struct hint_cpus domain_cpus[DOMAINS_MAX];

struct hint_cpu cpus[CPUS_MAX];
struct hint_domain domains[DOMAINS_MAX];

struct task {
	__u64 vtime;				/* on the clock of domain and rank_of_vtime */
	__u32 domain, rank_of_vtime;
	__u32 rank;				/* by its hint */
	__u32 weight;				/* by nice value and hint */
	__u32 hint_stat;			/* STAT_HINTED, STAT_REFUSED, or STATS: none */
	__u64 deadline;				/* by its hint, from now */
	__s32 cpu;				/* where it ran, or -1 */
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task);
} tasks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STATS);
	__type(key, __u32);
	__type(value, __u64);
} stats SEC(".maps");

#define CPU(id) (&cpus[(id) & (CPUS_MAX - 1)])
#define DOMAIN(id) (&domains[(id) & (DOMAINS_MAX - 1)])

static void count(__u32 stat)
{
	__u64 *counter = bpf_map_lookup_elem(&stats, &stat);

	if (counter)
		(*counter)++;
}

static __u64 queue(__u32 domain, __u32 rank)
{
	return domain * RANKS + rank;
}

static bool before(__u64 a, __u64 b)
{
	return (__s64)(a - b) < 0;
}

#endif
