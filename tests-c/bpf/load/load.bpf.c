// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * load.bpf.c - a BPF header in each kind of program, in four shapes: plain, in a loop, in
 * a static subprogram, in a callback of bpf_loop(). load.sh compiles it many ways, with
 * tld.bpf.h (-DNATIVE), with task_local_data.bpf.h, and with a bare look-up (-DBARE), which
 * tells what the kernel lets be loaded at all.
 */
#include "load.bpf.h"

inline_always void note(struct load_quad *quad, struct load_result *result)
{
	if (!quad)
		return;
	result->quad = *quad;
	result->turns++;
}

#ifdef NATIVE
inline_always void look(struct task_struct *task, struct load_result *result)
{
	note(tld_get(task, quad, sizeof(struct load_quad)), result);
}
#else
inline_always void look(struct task_struct *task, struct load_result *result)
{
	object_t object;

	if (object_init(task, &object))
		note(object_get(&object, quad, sizeof(struct load_quad)), result);
}
#endif

/* --- The shapes ------------------------------------------------------------------ */

inline_always void look_plain(struct task_struct *task, struct load_result *result)
{
	look(task, result);
}

inline_always void look_loop(struct task_struct *task, struct load_result *result)
{
	int i;

	bpf_for(i, 0, LOAD_TURNS)
		look(task, result);
}

static __attribute__((noinline)) int subprogram(struct task_struct *task,
						struct load_result *result)
{
	look(task, result);
	return 0;
}

inline_always void look_subprogram(struct task_struct *task, struct load_result *result)
{
	subprogram(task, result);
}

struct load_turn {
	struct task_struct *task;
	struct load_result *result;
};

static long look_turn(__u64 index, struct load_turn *turn)
{
	look(turn->task, turn->result);
	return 0;
}

inline_always void look_callback(struct task_struct *task, struct load_result *result)
{
	struct load_turn turn = { .task = task, .result = result };

	bpf_loop(LOAD_TURNS, look_turn, &turn, 0);
}

/* --- The places ------------------------------------------------------------------- */

#define CURRENT bpf_get_current_task_btf()

#define PROGRAM(section, name, shape, SHAPE, context, task_of)				\
SEC(section)										\
int name##_##shape(context *ctx)							\
{											\
	struct load_result *result = &shared.result[PLACE_##name][SHAPE];		\
	struct task_struct *task = task_of;						\
											\
	if (task && (unsigned long long)task == shared.task) {				\
		look_##shape(task, result);						\
		result->runs++;								\
	}										\
	return 0;									\
}

#define PROGRAMS(section, name, context, task_of)					\
	PROGRAM(section, name, plain, SHAPE_PLAIN, context, task_of)			\
	PROGRAM(section, name, loop, SHAPE_LOOP, context, task_of)			\
	PROGRAM(section, name, subprogram, SHAPE_SUBPROGRAM, context, task_of)		\
	PROGRAM(section, name, callback, SHAPE_CALLBACK, context, task_of)

PROGRAMS("syscall", syscall, void, CURRENT)
/* bool preempt, struct task_struct *prev, *next, ...: next is not the current one. */
PROGRAMS("tp_btf/sched_switch", tp_btf, unsigned long long, (struct task_struct *)ctx[2])
PROGRAMS("raw_tp/sched_switch", raw_tp, void, CURRENT)
PROGRAMS("tracepoint/sched/sched_switch", tracepoint, void, CURRENT)
PROGRAMS("perf_event", perf_event, void, CURRENT)
PROGRAMS("iter/task", iter, struct bpf_iter__task___test, ctx->task)
PROGRAMS("iter.s/task", iter_sleepable, struct bpf_iter__task___test, ctx->task)
/* Of type kprobe; a kernel without CONFIG_KPROBES runs them in user space's functions. */
PROGRAMS("uprobe", kprobe, void, CURRENT)
PROGRAMS("uprobe.s", kprobe_sleepable, void, CURRENT)
PROGRAMS("xdp", xdp, void, CURRENT)
PROGRAMS("tc", tc, void, CURRENT)
PROGRAMS("socket", socket, void, CURRENT)
PROGRAMS("cgroup_skb/egress", cgroup, void, CURRENT)
PROGRAMS("struct_ops", struct_ops, void, CURRENT)

/* --- TCP congestion controls that look when a connection begins to use them ----- */

#ifndef TEST_VMLINUX
struct sock;

struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	__u32 (*undo_cwnd)(struct sock *sk);
	void (*init)(struct sock *sk);
	char name[16];
};
#endif

#define STUB(member)									\
SEC("struct_ops")									\
int ops_##member(void *ctx)								\
{											\
	return 2;									\
}

STUB(ssthresh)
STUB(cong_avoid)
STUB(undo_cwnd)

/* Names are the whole machine's: objects that may be loaded at once have other TEST_NAMEs. */
#ifndef TEST_NAME
#define TEST_NAME "tld"
#endif

#define CONGESTION(shape, letter)							\
SEC(".struct_ops")									\
struct tcp_congestion_ops ops_##shape = {						\
	.ssthresh = (void *)ops_ssthresh,						\
	.cong_avoid = (void *)ops_cong_avoid,						\
	.undo_cwnd = (void *)ops_undo_cwnd,						\
	.init = (void *)struct_ops_##shape,						\
	.name = TEST_NAME letter,							\
};

CONGESTION(plain, "p")
CONGESTION(loop, "l")
CONGESTION(subprogram, "s")
CONGESTION(callback, "c")

/* That it loads; what it does is exec_watch's subject. */
TLD_WATCH_EXEC();
