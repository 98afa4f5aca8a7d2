/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * scx.bpf.h - what a sched_ext scheduler needs of the kernel, declared as far as it is used.
 *
 * With a vmlinux.h of the kernel that runs it, none of this is needed; without one, the object
 * compiles on any machine. libbpf finds the kernel's own layouts by the names. All functions
 * here are in Linux 6.17 to 7.3; from 6.19 on the kernel has newer forms of some beside them.
 */
#ifndef SCX_BPF_H
#define SCX_BPF_H

#define SCX_KERNEL __attribute__((preserve_access_index))

/* Defined, for libbpf takes no declared type for the kernel's where functions are compared. */
struct cpumask {
	unsigned long bits[1];
} SCX_KERNEL;

typedef struct {
	__u32 val;
} kuid_t;

struct cred {
	kuid_t uid;
} SCX_KERNEL;

struct kernfs_node {
	__u64 id;
} SCX_KERNEL;

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
} SCX_KERNEL;

struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
} SCX_KERNEL;

struct css_set {
	struct cgroup *dfl_cgrp;
} SCX_KERNEL;

struct sched_ext_entity {
	__u32 flags;
	__u32 weight;		/* 1 to 10000, by nice value; 0: 100 */
	__u64 dsq_vtime;	/* its place in the queue */
} SCX_KERNEL;

#define SCX_TASK_QUEUED 1	/* in flags: the task is runnable */

struct task_struct {
	unsigned int flags;
	int nr_cpus_allowed;
	const struct cpumask *cpus_ptr;
	const struct cred *cred;
	struct css_set *cgroups;
	struct sched_ext_entity scx;
} SCX_KERNEL;

#define PF_KTHREAD 0x00200000

enum scx_exit_kind {
	SCX_EXIT_NONE,
};

struct scx_exit_info {
	enum scx_exit_kind kind;
	__s64 exit_code;
	const char *reason;
	char *msg;
} SCX_KERNEL;

struct scx_init_task_args;
struct scx_exit_task_args;

struct sched_ext_ops {
	__s32 (*select_cpu)(struct task_struct *p, __s32 prev_cpu, __u64 wake_flags);
	void (*enqueue)(struct task_struct *p, __u64 enq_flags);
	void (*dispatch)(__s32 cpu, struct task_struct *prev);
	void (*tick)(struct task_struct *p);
	void (*running)(struct task_struct *p);
	void (*stopping)(struct task_struct *p, _Bool runnable);
	__s32 (*init_task)(struct task_struct *p, struct scx_init_task_args *args);
	void (*cpu_online)(__s32 cpu);
	void (*cpu_offline)(__s32 cpu);
	__s32 (*init)(void);
	void (*exit)(struct scx_exit_info *info);
	__u64 flags;
	char name[128];
};

#define SCX_DSQ_LOCAL (1ULL << 63 | 2)	/* the queue of the processor itself, first in, first out */
#define SCX_ENQ_WAKEUP 1
#define SCX_ENQ_PREEMPT (1ULL << 32)
#define SCX_WAKE_SYNC 16
#define SCX_KICK_IDLE 1
#define SCX_KICK_PREEMPT 2

extern __s32 scx_bpf_create_dsq(__u64 dsq_id, __s32 node) __ksym;
extern __s32 scx_bpf_select_cpu_dfl(struct task_struct *p, __s32 prev_cpu, __u64 wake_flags,
				    _Bool *is_idle) __ksym;
extern void scx_bpf_dsq_insert(struct task_struct *p, __u64 dsq_id, __u64 slice, __u64 enq_flags) __ksym;
extern void scx_bpf_dsq_insert_vtime(struct task_struct *p, __u64 dsq_id, __u64 slice, __u64 vtime,
				     __u64 enq_flags) __ksym;
extern _Bool scx_bpf_dsq_move_to_local(__u64 dsq_id) __ksym;
extern __s32 scx_bpf_dsq_nr_queued(__u64 dsq_id) __ksym;
extern const struct cpumask *scx_bpf_get_online_cpumask(void) __ksym;
extern void scx_bpf_put_cpumask(const struct cpumask *cpumask) __ksym;

struct bpf_iter_scx_dsq {
	__u64 __opaque[6];
} __attribute__((aligned(8)));

extern int bpf_iter_scx_dsq_new(struct bpf_iter_scx_dsq *it, __u64 dsq_id, __u64 flags) __ksym;
extern struct task_struct *bpf_iter_scx_dsq_next(struct bpf_iter_scx_dsq *it) __ksym;
extern void bpf_iter_scx_dsq_destroy(struct bpf_iter_scx_dsq *it) __ksym;

extern __s32 scx_bpf_pick_idle_cpu(const struct cpumask *cpus_allowed, __u64 flags) __ksym;
extern void scx_bpf_kick_cpu(__s32 cpu, __u64 flags) __ksym;
extern __s32 scx_bpf_task_cpu(const struct task_struct *p) __ksym;
extern __u64 scx_bpf_now(void) __ksym;
extern _Bool bpf_cpumask_test_cpu(__u32 cpu, const struct cpumask *cpumask) __ksym;

#define SCX_OP(name, ...) SEC("struct_ops/" #name) int BPF_PROG(name, ##__VA_ARGS__)

/* libbpf has bpf_for() since 1.3. */
#ifndef bpf_for
#include <linux/version.h>
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
struct bpf_iter_num {
	__u64 __opaque[1];
} __attribute__((aligned(8)));
#endif
extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;

static inline __attribute__((always_inline)) void scx_iter_end(struct bpf_iter_num *it)
{
	bpf_iter_num_destroy(it);
}

#define bpf_for(i, start, end)							\
	for (struct bpf_iter_num scx_it __attribute__((cleanup(scx_iter_end))),	\
	     *scx_it_p __attribute__((unused)) =				\
		(bpf_iter_num_new(&scx_it, (start), (end)), (void *)&scx_it);	\
	     ({									\
		int *scx_next = bpf_iter_num_next(&scx_it);			\
		scx_next ? ((i) = *scx_next, 1) : 0;				\
	     });)
#endif

#endif /* SCX_BPF_H */
