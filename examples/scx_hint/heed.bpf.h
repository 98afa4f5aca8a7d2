/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * heed.bpf.h - what a task says of itself, and whether it counts. Part of scx_hint.bpf.c.
 */
#ifndef HEED_BPF_H
#define HEED_BPF_H

#include "sched_hint.h"
#include "state.bpf.h"
#include "tld.bpf.h"

TLD_KEYS(hint);

/* Longer deadlines are that long, lest a task wait for ever behind those with shorter ones. */
#define DEADLINE_MAX (20 * MS)

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u64);
	__type(value, __u8);
} trusted SEC(".maps");

static bool is_trusted(struct task_struct *p)
{
	struct cgroup_subsys_state *css = &p->cgroups->dfl_cgrp->self;
	__u64 id = p->cred->uid.val;
	int i;

	if (bpf_map_lookup_elem(&trusted, &id))
		return true;
	for (i = 0; i < 16 && css; i++) {
		id = TRUST_CGROUP | css->cgroup->kn->id;
		if (bpf_map_lookup_elem(&trusted, &id))
			return true;
		css = css->parent;
	}
	return false;
}

static __u64 read_hint(struct task_struct *p, struct task *t)
{
	__u64 *data = use_hints ? tld_get_named(p, hint, SCHED_HINT_NAME, sizeof(*data)) : 0;
	__u64 value = data ? *(volatile __u64 *)data : 0;

	t->hint_stat = !value ? STATS : use_trust && !is_trusted(p) ? STAT_REFUSED : STAT_HINTED;
	return t->hint_stat == STAT_HINTED ? value : 0;
}

/* What the thread says may be different each time; what is garbage means normal. */
static void heed(struct task_struct *p, struct task *t)
{
	__u64 value = read_hint(p, t);
	enum sched_hint_class class = sched_hint_class(value);

	t->rank = class == SCHED_HINT_INTERACTIVE ? INTERACTIVE :
		  class == SCHED_HINT_BACKGROUND ? BACKGROUND : NORMAL;
	t->weight = p->scx.weight * sched_hint_weight(value) / 100;
	if (t->weight < WEIGHT_LEAST)
		t->weight = WEIGHT_LEAST;
	if (t->weight > WEIGHT_MOST)
		t->weight = WEIGHT_MOST;
	t->deadline = sched_hint_deadline(value) ?: slice_ns;
	if (t->deadline > DEADLINE_MAX)
		t->deadline = DEADLINE_MAX;
}

/* The same where it is decided about the task. */
static void heed_and_count(struct task_struct *p, struct task *t)
{
	heed(p, t);
	count(t->rank);
	count(t->hint_stat);
}

#endif
