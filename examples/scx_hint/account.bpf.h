/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * account.bpf.h - what tasks have used: of their classes' budgets, on each processor, and of
 * virtual time, in each domain and class. Part of scx_hint.bpf.c.
 */
#ifndef ACCOUNT_BPF_H
#define ACCOUNT_BPF_H

#include "state.bpf.h"

/* The longest that virtual time makes a task wait: the kernel's watchdog has 30 s. */
#define PATIENCE (5000 * MS)

/* --- Budgets --- */

/*
 * The most that can be left of a budget: who has that, and goes on alone while it is refilled,
 * has used it up when a window has passed.
 */
static __s64 most_left(int i)
{
	return window_ns * (100 - budget_percent[i]) / 100;
}

/*
 * Refill the budgets, and charge those that a task of this rank used up while it ran. In one
 * step: debts are limited, too, and what is refilled for a long run is less than what it costs.
 */
static void settle(__s32 id, __u32 rank, __s64 ran)
{
	__u64 now = scx_bpf_now(), passed = now - CPU(id)->refilled;
	__s64 waiting = 0;
	int i;

	if (passed > window_ns)
		passed = window_ns;
	if (ran > (__s64)window_ns)
		ran = window_ns;
	CPU(id)->refilled = now;
	for (i = BUDGETS - 1; i >= 0; i--) {
		__s64 left = CPU(id)->left[i] + passed * budget_percent[i] / 100;

		waiting += scx_bpf_dsq_nr_queued(queue(CPU(id)->domain, i + 1));
		if (i >= (int)rank && waiting > 0)
			left -= ran;
		CPU(id)->left[i] = left > most_left(i) ? most_left(i) : left < -most_left(i) ? -most_left(i) : left;
	}
}

/* Those that wait may not run here. */
static void forgive(__s32 id)
{
	int i;

	for (i = 0; i < BUDGETS; i++)
		CPU(id)->left[i] = most_left(i);
}

/* The rank that goes first, for the budgets of those before it are spent. */
static __u32 first_rank(__s32 id)
{
	return CPU(id)->left[NORMAL] <= 0 ? BACKGROUND : CPU(id)->left[INTERACTIVE] <= 0 ? NORMAL : INTERACTIVE;
}

/* --- Virtual time --- */

static void account(struct task *t, __s32 id)
{
	__u64 now = scx_bpf_now(), ran = now - CPU(id)->since;

	CPU(id)->since = now;
	CPU(id)->ran += ran;
	t->vtime += ran * 100 / t->weight;
	settle(id, t->rank, ran);
}

/*
 * How far ahead of its class a task may be. Two slices of its own: who ran alone for long took
 * nothing from those that come then, but would wait until each of them has had as much. And no
 * more than what makes it wait for PATIENCE, if all that are queued use all that it leaves
 * them, by the greatest weight, and their class gets no more than its budget's rest.
 */
static __u64 most_ahead(struct task *t, __u32 domain)
{
	__u64 queued = scx_bpf_dsq_nr_queued(queue(domain, t->rank)) + 1;
	__u32 percent = t->rank == INTERACTIVE ? 100 : 100 - budget_percent[t->rank == NORMAL ? INTERACTIVE : NORMAL];
	__u64 patience = PATIENCE * DOMAIN(domain)->online * percent / WEIGHT_MOST / queued;
	__u64 slices = 2 * slice_ns * 100 / t->weight;

	return slices < patience ? slices : patience;
}

/*
 * The task's virtual time in a domain and class. It takes along how far it was ahead or
 * behind. Who slept is not owed more than a slice.
 */
static __u64 place(struct task *t, __u32 domain)
{
	__u64 now = DOMAIN(domain)->now[t->rank & 3];
	__u64 latest = now + most_ahead(t, domain);

	if (t->domain != domain || t->rank_of_vtime != t->rank) {
		t->vtime += now - DOMAIN(t->domain)->now[t->rank_of_vtime & 3];
		t->domain = domain;
		t->rank_of_vtime = t->rank;
	}
	if (t->cpu < 0)
		t->vtime = now; /* a new one is owed nothing: else who starts threads all the time goes first */
	if (before(t->vtime, now - slice_ns))
		t->vtime = now - slice_ns;
	if (before(latest, t->vtime))
		t->vtime = latest;
	return t->vtime + t->deadline;
}

/* What runs next is the furthest behind: its class has come so far. */
static void move_clock(struct task *t)
{
	__u64 *now = &DOMAIN(t->domain)->now[t->rank_of_vtime & 3];

	if (before(*now, t->vtime))
		*now = t->vtime;
}

#endif
