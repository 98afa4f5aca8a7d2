// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * scx_hint.bpf.c - a scheduler that runs first those threads that say somebody waits for them.
 *
 * Programs say so in the TLD "sched.hint" (sched_hint.h, docs/guide/hints.md). The policy:
 *
 * - Interactive before normal before background. Within a class, least virtual time first:
 *   the time that a task ran, divided by its weight (nice value and hint).
 * - A task that wakes up gets an idle processor; if there is none, one that runs a lower class.
 * - No class starves those below: each processor has a budget, refilled as time passes,
 *   which a class (with those above it) uses up by running while a lower one waits; once it
 *   is spent, the lower ones go first.
 * - Hints of programs that the operator does not trust are no hints.
 *
 * Queues: one for each class in each domain, which is a set of processors that share a
 * last-level cache. Queues of single processors would need balancing all the time, and one
 * queue for all would be fought for by hundreds of processors; within a shared cache it
 * matters little where a task runs. A processor that finds nothing in its own domain
 * steals, and a task whose domain is busier than another moves there when it queues.
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "account.bpf.h"
#include "heed.bpf.h"
#include "scx.bpf.h"
#include "scx_hint.h"
#include "state.bpf.h"

/* Processors that are looked at for one that runs a lower class. */
#define SCAN_MAX 64

struct scx_hint_exit exited;

/* --- A task becomes runnable --- */

SCX_OP(hint_select_cpu, struct task_struct *p, __s32 prev_cpu, __u64 wake_flags)
{
	struct task *t = bpf_task_storage_get(&tasks, p, 0, 0);
	bool is_idle = false;
	/* For a waker that is about to sleep, it would return the waker's own processor, which is not idle yet. */
	__s32 cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags & ~SCX_WAKE_SYNC, &is_idle);

	if (is_idle && t) {
		heed_and_count(p, t);
		place(t, CPU(cpu)->domain);
		count(STAT_IDLE);
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slice_ns, 0);
	}
	return cpu;
}

/* Stop a lower class on one of the domain's processors, its own one first. */
static void preempt(struct task_struct *p, __u32 rank, __s32 own)
{
	__u32 domain = CPU(own)->domain & (DOMAINS_MAX - 1);
	__u32 count_of = domain_cpus[domain].count, first = domain_cpus[domain].first;
	__u32 seen, victim_runs = 0;
	__s32 victim = -1, i;

	bpf_for(i, 0, count_of < SCAN_MAX ? count_of + 1 : SCAN_MAX) {
		__u32 id = i ? cpu_order[(first + (own + i) % count_of) & (CPUS_MAX - 1)] : own;

		seen = CPU(id)->running;
		if (!CPU(id)->is_online || seen <= rank || first_rank(id) > rank || !bpf_cpumask_test_cpu(id, p->cpus_ptr))
			continue;
		victim = id;
		victim_runs = seen;
		if (seen != UNKNOWN)
			break;
	}
	/* Taken, so that the next task that wakes up looks for another one. */
	if (victim < 0 || !__sync_bool_compare_and_swap(&CPU(victim)->running, victim_runs, rank))
		return;
	if (victim_runs != UNKNOWN)
		count(STAT_PREEMPTED);
	scx_bpf_kick_cpu(victim, SCX_KICK_PREEMPT);
}

static bool may_run_in(struct task_struct *p, __u32 domain)
{
	struct hint_cpus range = domain_cpus[domain & (DOMAINS_MAX - 1)];
	__s32 i;

	bpf_for(i, range.first, range.first + range.count)
		if (!bpf_cpumask_test_cpu(cpu_order[i & (CPUS_MAX - 1)], p->cpus_ptr))
			return false;
	return true;
}

/* Its own domain, or one picked at random that has much less to do. */
static __u32 domain_for(struct task_struct *p, __u32 rank, __u32 own)
{
	__u32 other = bpf_get_prandom_u32() % nr_domains & (DOMAINS_MAX - 1);
	__u32 here = domain_cpus[own & (DOMAINS_MAX - 1)].count, there = domain_cpus[other].count;

	if (other == own || !DOMAIN(other)->online ||
	    (scx_bpf_dsq_nr_queued(queue(other, rank)) + 2) * here >=
	    scx_bpf_dsq_nr_queued(queue(own, rank)) * there)
		return own;
	return may_run_in(p, other) ? other : own;
}

SCX_OP(hint_enqueue, struct task_struct *p, __u64 enq_flags)
{
	struct task *t = bpf_task_storage_get(&tasks, p, 0, 0);
	__s32 own = scx_bpf_task_cpu(p), idle;
	__u32 domain;

	/* The kernel's own work for one processor, for which all classes wait: packets, for example. */
	if (!t || (p->flags & PF_KTHREAD && p->nr_cpus_allowed == 1)) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slice_ns, enq_flags | SCX_ENQ_PREEMPT);
		return 0;
	}
	heed_and_count(p, t);
	domain = nr_domains > 1 ? domain_for(p, t->rank, CPU(own)->domain) : CPU(own)->domain;
	scx_bpf_dsq_insert_vtime(p, queue(domain, t->rank), slice_ns, place(t, domain), enq_flags);

	idle = scx_bpf_pick_idle_cpu(p->cpus_ptr, 0);
	if (idle >= 0)
		scx_bpf_kick_cpu(idle, SCX_KICK_IDLE);
	else if (enq_flags & SCX_ENQ_WAKEUP && t->rank < BACKGROUND)
		preempt(p, t->rank, own);
	return 0;
}

/* --- A processor looks for work --- */

/* Of this rank, or a lower one. */
static bool move_any(__u32 domain, __u32 rank)
{
	for (; rank < RANKS; rank++)
		if (scx_bpf_dsq_move_to_local(queue(domain, rank)))
			return true;
	return false;
}

static bool steal_from(__u32 domain)
{
	if (!move_any(domain, INTERACTIVE))
		return false;
	count(STAT_STOLEN);
	return true;
}

static bool steal(__u32 own)
{
	__u32 i;

	bpf_for(i, 1, nr_domains)
		if (steal_from((own + i) % nr_domains))
			return true;
	return false;
}

/*
 * Busy processors help, too, a domain that none of its own serves: they are going, or run what
 * is not ours. To know that cpu_offline was called is not enough: before that, a processor that
 * goes serves nobody and waits for RCU, whose thread may be what is queued.
 */
static bool help(__u32 own)
{
	__u32 other = bpf_get_prandom_u32() % nr_domains;
	__u64 now = scx_bpf_now();

	if (before(DOMAIN(own)->served + window_ns / 4, now)) /* not each time: others read it */
		DOMAIN(own)->served = now;
	return other != own && before(DOMAIN(other)->served + window_ns, now) && steal_from(other);
}

/*
 * Whether a task that is not in the queue goes before the first that is. The kernel asks for the
 * next task before it puts the last one back: without this, two tasks would take turns, whatever
 * their weights.
 */
static bool goes_before(struct task *t, __u32 domain)
{
	struct bpf_iter_scx_dsq it;
	struct task_struct *head;
	__u64 key = place(t, domain);
	bool is_first;

	bpf_iter_scx_dsq_new(&it, queue(domain, t->rank), 0);
	head = bpf_iter_scx_dsq_next(&it);
	is_first = !head || before(key, head->scx.dsq_vtime);
	bpf_iter_scx_dsq_destroy(&it);
	if (is_first)
		move_clock(t);
	return is_first;
}

static bool is_any_queued(__u32 domain, __u32 from, __u32 to)
{
	__s32 queued = 0;

	for (; from < to && from < RANKS; from++)
		queued += scx_bpf_dsq_nr_queued(queue(domain, from));
	return queued > 0;
}

SCX_OP(hint_dispatch, __s32 cpu, struct task_struct *prev)
{
	struct task *t = prev && prev->scx.flags & SCX_TASK_QUEUED ?
			 bpf_task_storage_get(&tasks, prev, 0, 0) : 0;
	__u32 domain = CPU(cpu)->domain, first, rank, i;

	if (t)
		account(t, cpu);
	else
		settle(cpu, RANKS, 0);
	first = first_rank(cpu);
	/* From here on, who wakes up may preempt what is decided now. */
	CPU(cpu)->running = UNKNOWN;
	if (nr_domains > 1 && help(domain))
		return 0;
	for (i = 0; i < RANKS; i++) {
		bool is_own, goes_on;

		rank = (first + i) % RANKS;
		if (i && rank == INTERACTIVE && is_any_queued(domain, first, RANKS)) {
			if (move_any(domain, first))
				return 0; /* it came just now */
			forgive(cpu);
		}
		is_own = t && t->rank == rank;
		goes_on = is_own && goes_before(t, domain);
		if (!goes_on && scx_bpf_dsq_move_to_local(queue(domain, rank))) {
			if (rank >= first && is_any_queued(domain, 0, first))
				count(STAT_BUDGET);
			return 0;
		}
		/* What ran goes on, for another slice; hint_tick() sees to that. */
		if (is_own) {
			CPU(cpu)->running = rank;
			CPU(cpu)->ran = 0;
			return 0;
		}
	}
	if (!t)
		steal(domain);
	return 0;
}

/* --- A task runs --- */

SCX_OP(hint_running, struct task_struct *p)
{
	struct task *t = bpf_task_storage_get(&tasks, p, 0, 0);
	__s32 cpu = bpf_get_smp_processor_id();
	bool is_claimed;

	if (!t)
		return 0;
	if (t->domain != CPU(cpu)->domain)
		place(t, CPU(cpu)->domain); /* stolen */
	move_clock(t);
	if (t->cpu >= 0 && t->cpu != cpu)
		count(STAT_MIGRATED);
	t->cpu = cpu;
	CPU(cpu)->since = scx_bpf_now();
	CPU(cpu)->ran = 0;
	is_claimed = CPU(cpu)->running < t->rank;
	CPU(cpu)->running = t->rank;
	/* While a real-time task ran here, it could not be preempted; now what it had interrupted goes on. */
	if (is_claimed)
		scx_bpf_kick_cpu(cpu, SCX_KICK_PREEMPT);
	return 0;
}

/*
 * A task that no longer is of the class that it was started in may have to give way at once,
 * and one that went on because nobody else waited, as soon as somebody does.
 */
SCX_OP(hint_tick, struct task_struct *p)
{
	struct task *t = bpf_task_storage_get(&tasks, p, 0, 0);
	__s32 cpu = bpf_get_smp_processor_id();
	__u32 rank;
	bool is_lower;

	if (!t)
		return 0;
	account(t, cpu);
	rank = t->rank;
	heed(p, t);
	is_lower = t->rank > rank;
	CPU(cpu)->running = t->rank;
	if (!is_lower && CPU(cpu)->ran < slice_ns)
		return 0;
	if (is_any_queued(CPU(cpu)->domain, 0, RANKS))
		scx_bpf_kick_cpu(cpu, SCX_KICK_PREEMPT);
	return 0;
}

SCX_OP(hint_stopping, struct task_struct *p, bool runnable)
{
	struct task *t = bpf_task_storage_get(&tasks, p, 0, 0);
	__s32 cpu = bpf_get_smp_processor_id();

	if (t)
		account(t, cpu);
	CPU(cpu)->running = UNKNOWN;
	return 0;
}

/* --- Tasks, processors and the scheduler come and go --- */

SCX_OP(hint_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	struct task *t = bpf_task_storage_get(&tasks, p, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!t)
		return -12; /* ENOMEM */
	t->rank = t->rank_of_vtime = NORMAL;
	t->weight = 100;
	t->cpu = -1;
	return 0;
}

SCX_OP(hint_cpu_online, __s32 cpu)
{
	CPU(cpu)->is_online = 1;
	__sync_fetch_and_add(&DOMAIN(CPU(cpu)->domain)->online, 1);
	return 0;
}

SCX_OP(hint_cpu_offline, __s32 cpu)
{
	CPU(cpu)->is_online = 0;
	__sync_fetch_and_sub(&DOMAIN(CPU(cpu)->domain)->online, 1);
	return 0;
}

SCX_OP(hint_init)
{
	const struct cpumask *online = scx_bpf_get_online_cpumask();
	__s32 i, err = 0;

	bpf_for(i, 0, CPUS_MAX) {
		CPU(i)->running = UNKNOWN;
		if (i < (__s32)nr_cpus && bpf_cpumask_test_cpu(i, online)) {
			CPU(i)->is_online = 1;
			DOMAIN(CPU(i)->domain)->online++;
		}
	}
	scx_bpf_put_cpumask(online);
	bpf_for(i, 0, nr_domains * RANKS) {
		err = scx_bpf_create_dsq(i, -1);
		if (err)
			break;
	}
	return err;
}

SCX_OP(hint_exit, struct scx_exit_info *info)
{
	exited.code = info->exit_code;
	bpf_probe_read_kernel_str(exited.reason, sizeof(exited.reason), info->reason);
	bpf_probe_read_kernel_str(exited.message, sizeof(exited.message), info->msg);
	exited.kind = info->kind;
	return 0;
}

SEC(".struct_ops")
struct sched_ext_ops hint_ops = {
	.select_cpu = (void *)hint_select_cpu,
	.enqueue = (void *)hint_enqueue,
	.dispatch = (void *)hint_dispatch,
	.tick = (void *)hint_tick,
	.running = (void *)hint_running,
	.stopping = (void *)hint_stopping,
	.init_task = (void *)hint_init_task,
	.cpu_online = (void *)hint_cpu_online,
	.cpu_offline = (void *)hint_cpu_offline,
	.init = (void *)hint_init,
	.exit = (void *)hint_exit,
	.name = "hint",
};

char LICENSE[] SEC("license") = "GPL";
