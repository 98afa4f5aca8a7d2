// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * look_bare.bpf.c - the loop alone, the least that a look at a task can cost, and the
 * usual way: a hash by thread id.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "look.h"

/* Hints that BPF itself keeps, where it knows them to be. */
struct bare_hints {
	__u64 hint[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct bare_hints);
} bare_map SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, __u32);
	__type(value, __u64);
} hash_map SEC(".maps");

static __u64 *by_pid(struct task_struct *task)
{
	__u32 pid = task->pid;

	return bpf_map_lookup_elem(&hash_map, &pid);
}

static __always_inline __u64 sum_of_hints(const struct bare_hints *hints)
{
	__u64 sum = 0;

	if (!hints)
		return 0;
#pragma clang loop unroll(full)
	for (int i = 0; i < 16; i++)
		sum += *(volatile __u64 *)&hints->hint[i];
	return sum;
}

/* The task's number is read by all three: where the loop has the task, it may have that. */
LOOK_LOOP(empty, barrier(); read += task->pid)
LOOK_ONCE(nothing, read += task->pid)
LOOK_LOOP(bare, LOOK_ADD(bpf_task_storage_get(&bare_map, task, 0, 0)))
LOOK_LOOP(bare_sixteen, read += sum_of_hints(bpf_task_storage_get(&bare_map, task, 0, 0)))
LOOK_LOOP(hash, LOOK_ADD(by_pid(task)))

char _license[] SEC("license") = "GPL";
