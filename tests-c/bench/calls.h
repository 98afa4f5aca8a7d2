/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * calls.h - how many system calls the calling thread makes, counted by the kernel
 * (calls.bpf.c), so that nothing escapes by a way of its own.
 */
#ifndef TESTS_C_BENCH_CALLS_H
#define TESTS_C_BENCH_CALLS_H

/* What calls.bpf.c's only global variable holds. */
struct calls {
	unsigned int tid;	/* whose: 0 nobody's */
	unsigned int count;
};

#ifndef __bpf__

#include "objects.h"

static struct calls *calls_shared;
static struct bpf_link *calls_link;

/* Other processes' system calls are slowed down until calls_close(). */
__attribute__((unused))
static void calls_open(void)
{
	struct bpf_object *object = object_load("calls.bpf.o");
	struct bpf_program *program = bpf_object__find_program_by_name(object, "count_calls");

	calls_link = bpf_program__attach(program);
	if (!calls_link)
		die("a program is attached to raw_tp/sys_enter");
	calls_shared = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE, MAP_SHARED,
			    object_map_fd(object, "calls_map"), 0);
	if (calls_shared == MAP_FAILED)
		die("the count is mapped");
}

__attribute__((unused))
static void calls_close(void)
{
	bpf_link__destroy(calls_link);
}

/* From here on, the calling thread's. */
static inline void calls_begin(void)
{
	calls_shared->count = 0;
	__atomic_store_n(&calls_shared->tid, gettid(), __ATOMIC_RELEASE);
}

static inline unsigned int calls_end(void)
{
	__atomic_store_n(&calls_shared->tid, 0, __ATOMIC_RELEASE);
	return calls_shared->count;
}

#endif

#endif
