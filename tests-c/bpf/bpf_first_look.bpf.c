// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* bpf_first_look.bpf.c - looks every TLD of a thread up, by either header. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

static long wait_a_bit(__u64 unused, void *unused_too)
{
	return 0;
}

/*
 * What the headers read of the kernel at a first look comes late, by up to some 20 us, so
 * that one look may end that part while the other one searches.
 */
static inline __attribute__((always_inline)) long read_late(void *to, __u32 size, const void *from)
{
	bpf_loop(bpf_get_prandom_u32() % 512, wait_a_bit, 0, 0);
	return (bpf_probe_read_kernel)(to, size, from);
}

#define bpf_probe_read_kernel read_late
#include "bpf_kernel.h"
#include "bpf_first_look.h"

#define MEMBER(name) name,
TLD_KEYS(FIRST_NAMES(MEMBER) last);

#ifndef TEST_VMLINUX
/* Complete, else libbpf does not find the functions below to be the kernel's. */
struct task_struct {
	int pid;
} __attribute__((preserve_access_index));
#endif

extern struct task_struct *bpf_task_from_pid(int pid) __ksym;
extern void bpf_task_release(struct task_struct *task) __ksym;

struct first_shared shared;

/* In memory: a sum in a register is another one for the verifier on each way to it. */
#define LOOK(name)							\
	if (tld_get_data(&object, name, #name, 8))			\
		__sync_fetch_and_add(&shared.found, 1);

static __attribute__((noinline)) int look_all(struct task_struct *task)
{
	struct tld_object object;

	if (!tld_object_init(task, &object)) {
		FIRST_NAMES(LOOK)
	}
	return 0;
}

SEC("syscall")
int first_look(struct first_view *view)
{
	struct task_struct *task = bpf_task_from_pid(view->tid);

	if (!task)
		return 1;
	look_all(task);
	bpf_task_release(task);
	return 0;
}

SEC("syscall")
int first_self(struct first_view *view)
{
	view->tid = bpf_get_current_task_btf()->pid;
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
