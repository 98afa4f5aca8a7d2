/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * look.h - the loop in which every way of looking at a task from BPF is timed, so that
 * peers differ in nothing else. The task is the one that runs the program.
 */
#ifndef TESTS_C_BENCH_LOOK_H
#define TESTS_C_BENCH_LOOK_H

/*
 * A program's context: how often to look, a multiple of eight; how long that took, and the
 * sum of what was read.
 */
struct look {
	unsigned long long times;
	unsigned long long ns;
	unsigned long long sum;
};

/* The program's TLDs are hint_0 to hint_61, 8 bytes each. */
#define LOOK_TLDS 62

#ifdef __bpf__

#define LOOK_EIGHT_TIMES(body)							\
	{ body; } { body; } { body; } { body; } { body; } { body; } { body; } { body; }

/*
 * The body, which may use task and add to read, eight times a round: beside a single look, much
 * of it would run in the shadow of what the loop itself waits for.
 */
#define LOOK_LOOP(program, body)						\
static long program##_round(__u64 index, __u64 *sum)				\
{										\
	struct task_struct *task = bpf_get_current_task_btf();			\
	__u64 read = 0;								\
										\
	LOOK_EIGHT_TIMES(body)							\
	*sum += read;								\
	return 0;								\
}										\
										\
SEC("syscall")									\
int program(struct look *look)							\
{										\
	__u64 sum = 0, start = bpf_ktime_get_ns();				\
										\
	bpf_loop(look->times / 8, program##_round, &sum, 0);			\
	look->ns = bpf_ktime_get_ns() - start;					\
	look->sum = sum;							\
	return 0;								\
}

/* The body once. */
#define LOOK_ONCE(program, body)						\
SEC("syscall")									\
int program(struct look *look)							\
{										\
	struct task_struct *task = bpf_get_current_task_btf();			\
	__u64 read = 0, start = bpf_ktime_get_ns();				\
										\
	body;									\
	look->ns = bpf_ktime_get_ns() - start;					\
	look->sum = read;							\
	return 0;								\
}

#define LOOK_ADD(pointer)							\
	do {									\
		__u64 *at__ = (pointer);					\
										\
		if (at__)							\
			read += *at__;						\
	} while (0)

/* Four and sixteen TLDs by a macro that adds one. */
#define LOOK_FOUR(add) add(hint_0); add(hint_1); add(hint_2); add(hint_3)
#define LOOK_SIXTEEN(add) LOOK_FOUR(add);					\
	add(hint_4); add(hint_5); add(hint_6); add(hint_7);			\
	add(hint_8); add(hint_9); add(hint_10); add(hint_11);			\
	add(hint_12); add(hint_13); add(hint_14); add(hint_15)

#endif

#endif
