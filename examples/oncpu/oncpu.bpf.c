// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * oncpu.bpf.c - on-CPU time by kind of request, and system calls counted.
 *
 * The first program is the point: it reads a variable of the thread that leaves
 * the processor. The second proves a claim, that writing that variable takes no
 * system call.
 */
#include <stdbool.h>

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

/* The few members used; libbpf finds where this kernel has them. */
struct sched_entity {
	__u64 sum_exec_runtime;
} __attribute__((preserve_access_index));

struct task_struct {
	struct sched_entity se;
} __attribute__((preserve_access_index));

struct pt_regs;

#include "tld.bpf.h"
#include "oncpu.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The TLDs that these programs read. */
TLD_KEYS(kind);

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct oncpu_task);
} oncpu_tasks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct oncpu_totals);
} oncpu_totals SEC(".maps");

static struct oncpu_totals *totals_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&oncpu_totals, &zero);
}

/*
 * Charge what prev ran since it was last switched out to the kind that its TLD
 * holds now. The scheduler has brought sum_exec_runtime up to date before it
 * calls the tracepoint. It is the clock behind CLOCK_THREAD_CPUTIME_ID, with
 * which the program measures: the two sides can differ in tags only, not in
 * their idea of time stolen by a hypervisor or by interrupts.
 */
SEC("tp_btf/sched_switch")
int BPF_PROG(oncpu_sched_switch, bool preempt, struct task_struct *prev,
	     struct task_struct *next)
{
	__u64 ran_ns = prev->se.sum_exec_runtime, delta_ns;
	struct oncpu_totals *totals = totals_get();
	struct oncpu_task *task;
	__u32 *tag, charge_to;

	task = bpf_task_storage_get(&oncpu_tasks, prev, 0, 0);
	if (!task || !totals)
		return 0;
	delta_ns = ran_ns - task->charged_ns;
	task->charged_ns = ran_ns;

	tag = tld_get_named(prev, kind, ONCPU_TLD_NAME, sizeof(*tag));
	if (!tag)
		return 0;
	/* The program may write anything there, at any time: read it once. */
	charge_to = *(volatile __u32 *)tag;
	if (charge_to < ONCPU_KINDS)
		__sync_fetch_and_add(&totals->ns[charge_to], delta_ns);
	return 0;
}

/*
 * Count the workers' system calls. Only the worker itself writes its tagging
 * flag, and it is in a system call now: nothing here races.
 */
SEC("tp_btf/sys_enter")
int BPF_PROG(oncpu_sys_enter, struct pt_regs *regs, long number)
{
	struct oncpu_totals *totals = totals_get();
	struct oncpu_worker *worker;
	struct oncpu_task *task;

	task = bpf_task_storage_get(&oncpu_tasks, bpf_get_current_task_btf(), 0, 0);
	if (!task || !totals)
		return 0;
	worker = &totals->workers[task->worker & (ONCPU_WORKERS_MAX - 1)];
	worker->calls++;
	if (worker->tagging)
		worker->tagging_calls++;
	return 0;
}
