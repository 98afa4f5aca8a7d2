/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * bpf_kernel.h - what the BPF programs of the tests need of the kernel, with
 * vmlinux.h (-DTEST_VMLINUX) and without. Kernel types that the headers under test
 * may declare too have names of our own here (___test, which CO-RE ignores).
 */
#ifndef TESTS_C_BPF_KERNEL_H
#define TESTS_C_BPF_KERNEL_H

#ifdef TEST_VMLINUX
#include "vmlinux.h"
#else
#include <linux/bpf.h>
#include <linux/version.h>
#endif
#include <bpf/bpf_helpers.h>
#include "either.bpf.h"

struct bpf_iter_meta___test {
	struct seq_file *seq;
} __attribute__((preserve_access_index));

struct bpf_iter__task___test {
	struct bpf_iter_meta___test *meta;
	struct task_struct *task;
} __attribute__((preserve_access_index));

/* In linux/bpf.h since 6.4, and in every vmlinux.h of a kernel that has it. */
#ifndef TEST_VMLINUX
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
struct bpf_iter_num {
	__u64 __opaque[1];
} __attribute__((aligned(8)));
#endif
#endif

/* libbpf has it since 1.3. */
#ifndef bpf_for
extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __weak __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __weak __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __weak __ksym;

/* Called by name, because clang before 16 gives no BTF to what only cleanup() names. */
static inline __attribute__((always_inline)) void test_iter_end(struct bpf_iter_num *it)
{
	bpf_iter_num_destroy(it);
}

#define bpf_for(i, start, end)								\
	for (struct bpf_iter_num test_it __attribute__((cleanup(test_iter_end))),	\
	     *test_it_p __attribute__((unused)) =					\
		(bpf_iter_num_new(&test_it, (start), (end)), (void *)&test_it);		\
	     ({										\
		int *test_next = bpf_iter_num_next(&test_it);				\
		test_next ? ((i) = *test_next, 1) : 0;					\
	     });)
#endif

#endif
