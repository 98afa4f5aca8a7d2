// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * sched.bpf.c - a sched_ext scheduler as small as can be, which reads a TLD of each task
 * that it is given. One queue for all; the kernel's own order.
 */
#include "bpf_kernel.h"
#include "sched.h"

TLD_KEYS(hint);

/* As far as it is used: no header that is installed here has it. */
struct sched_ext_ops {
	void (*enqueue)(struct task_struct *task, __u64 flags);
	char name[128];
};

/* Defined, for libbpf takes no declared type for the kernel's where functions are compared. */
struct task_struct {
	int pid;
} __attribute__((preserve_access_index));

#define SCX_DSQ_GLOBAL (1ULL << 63 | 1)
#define SCX_SLICE_DFL 20000000

extern void scx_bpf_dsq_insert(struct task_struct *task, __u64 queue, __u64 slice,
			       __u64 flags) __ksym;

struct sched_seen seen;

static inline __attribute__((always_inline)) void look(struct task_struct *task)
{
	struct tld_object object;
	struct sched_hint *data = 0;
	unsigned long long thread;

	__sync_fetch_and_add(&seen.enqueued, 1);
	if (!tld_object_init(task, &object))
		data = tld_get_data(&object, hint, "hint", sizeof(*data));
	if (!data) {
		__sync_fetch_and_add(&seen.without, 1);
		return;
	}
	thread = *(volatile unsigned int *)&data->thread;
	barrier_var(thread);
	if (thread >= SCHED_THREADS)
		return;
	seen.number[thread] = data->number;
	__sync_fetch_and_add(&seen.times[thread], 1);
}

SEC("struct_ops/enqueue")
int sched_enqueue(unsigned long long *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx[0];

	look(task);
	scx_bpf_dsq_insert(task, SCX_DSQ_GLOBAL, SCX_SLICE_DFL, ctx[1]);
	return 0;
}

SEC(".struct_ops")
struct sched_ext_ops sched_ops = {
	.enqueue = (void *)sched_enqueue,
	.name = "tld_test",
};

char _license[] SEC("license") = "GPL";
