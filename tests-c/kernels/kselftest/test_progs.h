/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * What the kernel tree's prog_tests/test_task_local_data.c expects of its test
 * framework, and no more. Every ASSERT_*() and CHECK_FAIL() is one assertion,
 * counted by main.c; any thread may make them.
 */
#ifndef TLD_KSELFTEST_TEST_PROGS_H
#define TLD_KSELFTEST_TEST_PROGS_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/syscall.h>
#include <linux/types.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

/* Whether the case of this name is to run. Names are what main.c --list prints. */
bool test__start_subtest(const char *name);

/* Count one assertion, say on stderr why it failed, leave errno alone; returns @ok. */
bool test__assert(bool ok, const char *where, int line, const char *name,
		  const char *format, ...) __attribute__((format(printf, 5, 6)));

#define ASSERT_FALSE(actual, name) ({						\
	bool t_act = (actual);							\
	test__assert(!t_act, __func__, __LINE__, (name), "is true");		\
})

#define ASSERT_EQ(actual, expected, name) ({					\
	__typeof__(actual) t_act = (actual);					\
	__typeof__(expected) t_exp = (expected);				\
	test__assert(t_act == t_exp, __func__, __LINE__, (name),		\
		     "is %lld instead of %lld",					\
		     (long long)t_act, (long long)t_exp);			\
})

#define ASSERT_OK(result, name) ({						\
	long long t_res = (result);						\
	test__assert(t_res == 0, __func__, __LINE__, (name),			\
		     "gives %lld, errno %d", t_res, errno);			\
})

/*
 * Stricter than the kernel's, which asks libbpf and so lets NULL pass while
 * errno is 0. The last page of the address space holds libbpf's ERR_PTR().
 */
#define ASSERT_OK_PTR(pointer, name) ({						\
	const void *t_ptr = (pointer);						\
	test__assert(t_ptr && (uintptr_t)t_ptr < (uintptr_t)-4095,		\
		     __func__, __LINE__, (name),				\
		     "gives %p, errno %d", t_ptr, errno);			\
})

/* Unlike the others, true when it failed. */
#define CHECK_FAIL(condition) ({						\
	bool t_bad = !!(condition);						\
	!test__assert(!t_bad, __func__, __LINE__, #condition, "is true");	\
})

static inline pid_t sys_gettid(void)
{
	return (pid_t)syscall(SYS_gettid);
}

/* The kernel's user header copies names with it: into an array, cut, terminated. */
#define strscpy(array, string) test__strscpy((array), sizeof(array), (string))

static inline void test__strscpy(char *array, size_t size, const char *string)
{
	size_t length = strnlen(string, size - 1);

	memcpy(array, string, length);
	array[length] = '\0';
}

#endif
