// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * traced.bpf.c - TLDs in the kinds of program that not every kernel lets load: fentry,
 * fexit and lsm. With one BPF header or, -DNATIVE, the other.
 */
#include "bpf_kernel.h"
#include "traced.h"

TLD_KEYS(word);

#define inline_always static inline __attribute__((always_inline))
#define TURNS 3

struct traced traced;

inline_always unsigned long long plain(struct task_struct *task)
{
	struct tld_object object;
	unsigned long long *data;

	if (tld_object_init(task, &object))
		return 0;
	data = tld_get_data(&object, word, "word", sizeof(*data));
	return data ? *data : 0;
}

/* Of several readings the last, if it is as the one before. */
inline_always unsigned long long both(unsigned long long before, unsigned long long now)
{
	return !before || before == now ? now : 0;
}

inline_always unsigned long long loop(struct task_struct *task)
{
	unsigned long long value = 0;
	int i;

	bpf_for(i, 0, TURNS)
		value = both(value, plain(task));
	return value;
}

static __attribute__((noinline)) int call(struct task_struct *task, unsigned long long *value)
{
	*value = plain(task);
	return 0;
}

inline_always unsigned long long subprogram(struct task_struct *task)
{
	unsigned long long value = 0;

	call(task, &value);
	return value;
}

struct turn {
	struct task_struct *task;
	unsigned long long value;
};

static long one_turn(__u64 index, struct turn *turn)
{
	turn->value = both(turn->value, plain(turn->task));
	return 0;
}

inline_always unsigned long long callback(struct task_struct *task)
{
	struct turn turn = { task, 0 };

	bpf_loop(TURNS, one_turn, &turn, 0);
	return turn.value;
}

SEC("syscall")
int choose_me(void *ctx)
{
	traced.task = (unsigned long long)bpf_get_current_task_btf();
	return 0;
}

#define PROGRAM(place, section, shape)						\
SEC(section)									\
int place##_##shape(void *ctx)							\
{										\
	struct task_struct *task = bpf_get_current_task_btf();			\
										\
	if ((unsigned long long)task == traced.task)				\
		traced.read[TRACED_##place##_##shape] = shape(task);		\
	return 0;								\
}

#define PROGRAMS(place, section) TRACED_SHAPES(place, section, PROGRAM)
TRACED_PLACES(PROGRAMS)

char _license[] SEC("license") = "Dual BSD/GPL";
