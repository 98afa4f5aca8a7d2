// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * exec_watch_busy.bpf.c - exec_watch.bpf.c on a kernel that never removes an element,
 * as one may that finds the storage's lock held.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

static inline __attribute__((always_inline)) long remove_nothing(void)
{
	return -16; /* EBUSY */
}

#define bpf_task_storage_delete(map, task) remove_nothing()
#include "exec_watch.bpf.c"
