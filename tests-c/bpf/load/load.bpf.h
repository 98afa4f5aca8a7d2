/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * load.bpf.h - what load.bpf.c and load_uses.bpf.c have in common: one vocabulary for both
 * headers, and for none (-DBARE), and the program that chooses the task.
 */
#ifndef TESTS_C_LOAD_BPF_H
#define TESTS_C_LOAD_BPF_H

#include "bpf_kernel.h"
#include "load.h"

#define inline_always static inline __attribute__((always_inline))

struct load_shared shared;

/* What each header calls it: an object, and a TLD in it. */

#ifdef BARE

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct load_quad);
} bare SEC(".maps");

typedef struct load_quad *object_t;

#define object_init(task, object) ((*(object) = bpf_task_storage_get(&bare, task, 0, 0)) != 0)
#define object_get(object, key, size) ((void *)*(object))

#elif defined(NATIVE)

TLD_KEYS(first, quad, request);

typedef tld_view_t object_t;

#define object_init(task, object) ((*(object) = tld_view(task)).data != 0)
#define object_get(object, key, size) tld_view_get(*(object), key, size)

#else

struct tld_keys {
	tld_key_t first;
	tld_key_t quad;
};

typedef struct tld_object object_t;

#define object_init(task, object) (!tld_object_init(task, object))
#define object_get(object, key, size) tld_get_data(object, key, #key, size)

#endif

/* The thread that runs this is the one to look at: no thread ids, no namespaces. */
SEC("syscall")
int choose_me(void *ctx)
{
	shared.pid = (unsigned int)bpf_get_current_pid_tgid();
	shared.task = (unsigned long long)bpf_get_current_task_btf();
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";

#endif
