// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * hold.bpf.c - a BPF program that looks a thread's page up, keeps the pointer
 * while the test does what it likes, and looks into the page again. It is what
 * every BPF program is for a moment, drawn out. Format v2, from the wire formats.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "hold.h"

#define HOLD_ESRCH 3
#define HOLD_ENODATA 61
#define HOLD_WORDS 512

/* Complete, else libbpf does not find the functions below to be the kernel's. */
struct task_struct {
	int pid;
} __attribute__((preserve_access_index));

typedef struct {
	unsigned long long word[HOLD_WORDS];
} hold_page;

#define __hold_uptr __attribute__((btf_type_tag("uptr")))

struct hold_value {
	hold_page __hold_uptr *data;
	hold_page __hold_uptr *meta;
	unsigned short start;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct hold_value);
} hold_map SEC(".maps");

struct hold_shared shared;

extern struct task_struct *bpf_task_from_pid(int pid) __ksym;
extern void bpf_task_release(struct task_struct *task) __ksym;

static long wait_a_bit(__u64 index, void *unused)
{
	return *(volatile unsigned int *)&shared.let_go != 0;
}

/* 2^23 turns of the inner loop, the most there is, are some 20 ms. */
static long wait_longer(__u64 index, void *unused)
{
	bpf_loop(1 << 23, wait_a_bit, 0, 0);
	return *(volatile unsigned int *)&shared.let_go != 0;
}

static __attribute__((always_inline)) void hold_task(struct task_struct *task,
						     struct hold_view *view)
{
	struct hold_value *value = bpf_task_storage_get(&hold_map, task, 0, 0);
	unsigned int first, marks = 0;
	hold_page *data;

	view->err = -HOLD_ENODATA;
	if (!value)
		return;
	data = value->data;
	if (!data)
		return;
	first = value->start / 8 % HOLD_WORDS;
	view->err = 0;
	view->before = data->word[first];
	*(volatile unsigned int *)&shared.holding = 1;
	bpf_loop(400, wait_longer, 0, 0);
	view->timed_out = !*(volatile unsigned int *)&shared.let_go;
	view->after = data->word[first];
	for (int i = 0; i < HOLD_WORDS; i++)
		marks += data->word[i] == view->mark;
	view->marks = marks;
}

SEC("syscall")
int hold(struct hold_view *view)
{
	struct task_struct *task = bpf_task_from_pid(view->tid);

	if (!task) {
		view->err = -HOLD_ESRCH;
		return 0;
	}
	hold_task(task, view);
	bpf_task_release(task);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
