// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * load_uses.bpf.c - what the headers say they can besides being loaded everywhere, a
 * program use_NAME each; load.h lists them.
 */
#include "load.bpf.h"

#define QUAD sizeof(struct load_quad)
#define WORD sizeof(unsigned long long)

#define USE(name)									\
static inline __attribute__((always_inline)) unsigned long long name##_of(struct task_struct *task); \
											\
SEC("syscall")										\
int use_##name(void *ctx)								\
{											\
	shared.use[USE_##name] = name##_of(bpf_get_current_task_btf());			\
	return 0;									\
}											\
											\
static inline __attribute__((always_inline)) unsigned long long name##_of(struct task_struct *task)

USE(object_loop)
{
	unsigned long long *one, value = 0;
	object_t object;
	int i;

	if (!object_init(task, &object))
		return 0;
	bpf_for(i, 0, LOAD_TURNS) {
		one = object_get(&object, first, WORD);
		value += one ? *one : 0;
	}
	return value;
}

struct use_turn {
	object_t *object;
	unsigned long long value;
};

static long add_turn(__u64 index, struct use_turn *turn)
{
	unsigned long long *one = object_get(turn->object, first, WORD);

	turn->value += one ? *one : 0;
	return 0;
}

USE(object_callback)
{
	object_t object;
	struct use_turn turn = { .object = &object };

	if (object_init(task, &object))
		bpf_loop(LOAD_TURNS, add_turn, &turn, 0);
	return turn.value;
}

USE(object_several)
{
	struct load_quad *all;
	unsigned long long *one;
	object_t object;

	if (!object_init(task, &object))
		return 0;
	one = object_get(&object, first, WORD);
	all = object_get(&object, quad, QUAD);
	return one && all && all->a == *one + 1 ? *one : 0;
}

#ifdef NATIVE

/* libbpf compares what a kfunc takes with the kernel's: a forward declaration is not it. */
#ifndef TEST_VMLINUX
struct task_struct {} __attribute__((preserve_access_index));

struct bpf_iter_task {
	__u64 opaque[3];
} __attribute__((aligned(8)));
#endif

extern struct task_struct *bpf_task_from_pid(__s32 pid) __ksym;
extern void bpf_task_release(struct task_struct *task) __ksym;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;

USE(named)
{
	unsigned long long *one = tld_get_named(task, request, "app.request", WORD), *same = 0;
	tld_view_t view = tld_view(task);

	if (view.data)
		same = tld_view_get_named(view, request, "app.request", WORD);
	return one == same && one ? *one : 0;
}

USE(present)
{
	return tld_present(task) ? 1 : 2;
}

/* Twice: the second time from what the first one noted. */
USE(absent)
{
	if (tld_get(task, request, WORD) || tld_get(task, request, WORD))
		return 1;
	return 2;
}

/* The TLD has 8 bytes; the neighbour's are none of its business. */
USE(small)
{
	return tld_get(task, first, WORD + 1) ? 1 : 2;
}

USE(write)
{
	struct load_quad *all = tld_get(task, quad, QUAD);

	if (!all)
		return 0;
	*(volatile unsigned long long *)&all->b = WRITTEN;
	return all->b;
}

USE(rcu)
{
	unsigned long long *one, value = 0;

	bpf_rcu_read_lock();
	one = tld_get(task, first, WORD);
	if (one)
		value = *one;
	bpf_rcu_read_unlock();
	return value;
}

USE(kept)
{
	unsigned long long *one = tld_get(task, first, WORD);
	char byte = 0;

	if (!one || bpf_copy_from_user(&byte, sizeof(byte), shared.bytes) || byte != 'b')
		return 0;
	return bpf_ktime_get_ns() ? *one : 0;
}

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LOAD_TURNS);
	__type(key, __u32);
	__type(value, __u64);
} elements SEC(".maps");

struct use_walk {
	struct task_struct *task;
	unsigned long long turns;
};

struct bpf_map;

static long look_at_element(struct bpf_map *map, __u32 *key, __u64 *value, struct use_walk *walk)
{
	unsigned long long *one = tld_get(walk->task, first, WORD);

	if (one)
		*value = *one;
	if (one && *value == *one)
		walk->turns++;
	return 0;
}

USE(each)
{
	struct use_walk walk = { .task = task };

	bpf_for_each_map_elem(&elements, look_at_element, &walk, 0);
	return walk.turns;
}

/* shared.pid is not the caller's here. */
USE(pid)
{
	struct task_struct *other = bpf_task_from_pid(shared.pid);
	unsigned long long *one, value = 0;

	if (!other)
		return 0;
	one = tld_get(other, first, WORD);
	if (one && other != task)
		value = *one;
	bpf_task_release(other);
	return value;
}

/* bpf_for_each() is a macro of newer libbpfs for just this. */
extern int bpf_iter_task_new(struct bpf_iter_task *it, struct task_struct *task,
			     unsigned int flags) __ksym;
extern struct task_struct *bpf_iter_task_next(struct bpf_iter_task *it) __ksym;
extern void bpf_iter_task_destroy(struct bpf_iter_task *it) __ksym;

#define ALL_THREADS 1 /* BPF_TASK_ITER_ALL_THREADS */

USE(tasks)
{
	struct bpf_iter_task walk, *it = &walk;
	unsigned long long *one, value = 0;
	struct task_struct *other;

	bpf_rcu_read_lock();
	bpf_iter_task_new(it, 0, ALL_THREADS);
	while ((other = bpf_iter_task_next(it))) {
		one = tld_get(other, first, WORD);
		if (one && other != task)
			value = *one;
	}
	bpf_iter_task_destroy(it);
	bpf_rcu_read_unlock();
	return value;
}

#endif /* NATIVE */
