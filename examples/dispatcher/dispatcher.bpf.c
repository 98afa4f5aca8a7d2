// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * dispatcher.bpf.c - which tag a worker has when it comes onto a processor.
 *
 * A scheduler would act on the tag, and could do so as early as the wake-up. Here it is
 * noted, for the worker to check.
 */
#include <stdbool.h>

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define TASK_INTERRUPTIBLE 1 /* so sleeps who waits for a futex, but not in a page fault */

struct task_struct;

#include "task_local_data.bpf.h"
#include "dispatcher.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The TLDs that these programs read; libtld's header caches their keys. */
struct tld_keys {
	tld_key_t tag;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct dispatcher_task);
} dispatcher_tasks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, DISPATCHER_WORKERS_MAX);
	__type(key, __u32);
	__type(value, struct dispatcher_note);
} dispatcher_notes SEC(".maps");

static __u64 read_tag(struct task_struct *task)
{
	struct tld_object object;
	__u64 *tag;

	if (tld_object_init(task, &object))
		return 0;
	tag = tld_get_data(&object, tag, DISPATCHER_TLD_NAME, sizeof(*tag));
	return tag ? *(volatile __u64 *)tag : 0;
}

/*
 * wakes moves before the tag is read, by an exchange, which orders the two: hand_over()
 * in server.c does the reverse. Only this thread's processor writes here.
 */
static void note_wake(struct task_struct *worker, struct dispatcher_task *task)
{
	struct dispatcher_note *note = bpf_map_lookup_elem(&dispatcher_notes, &task->worker);

	if (!note)
		return;
	note->wait_ns = bpf_ktime_get_ns() - task->woken_ns;
	__sync_lock_test_and_set(&note->wakes, note->wakes + 1);
	note->tag = read_tag(worker);
}

SEC("tp_btf/sched_wakeup")
int BPF_PROG(dispatcher_sched_wakeup, struct task_struct *woken)
{
	struct dispatcher_task *task = bpf_task_storage_get(&dispatcher_tasks, woken, 0, 0);

	if (task)
		task->woken_ns = bpf_ktime_get_ns();
	return 0;
}

/*
 * A task that is preempted while it prepares to sleep has that state too, but goes
 * on: hence preempt.
 */
SEC("tp_btf/sched_switch")
int BPF_PROG(dispatcher_sched_switch, bool preempt, struct task_struct *prev,
	     struct task_struct *next, unsigned int prev_state)
{
	struct dispatcher_task *task;

	task = bpf_task_storage_get(&dispatcher_tasks, prev, 0, 0);
	if (task && !preempt && prev_state & TASK_INTERRUPTIBLE)
		task->asleep = 1;

	task = bpf_task_storage_get(&dispatcher_tasks, next, 0, 0);
	if (task && task->asleep) {
		task->asleep = 0;
		note_wake(next, task);
	}
	return 0;
}
