/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* What a thread has: its state, errno, whether it can be cancelled; and threads of our own. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "ctld.h"
#include "quiet.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

EXPORT __thread struct tld_thread tld_self
	__attribute__((tls_model("initial-exec"), aligned(16))) = { .map_fd = INT32_MIN };

static __thread void *thread_record __attribute__((tls_model("initial-exec")));

struct tld_thread *ctld_self(void)
{
	return &tld_self;
}

void **ctld_thread_record(void)
{
	return &thread_record;
}

void ctld_reset_map(struct tld_thread *thread)
{
	__atomic_store_n(&thread->map_fd, INT32_MIN, __ATOMIC_RELAXED);
}

int ctld_defer_cancellation(void)
{
	int old;

	pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &old);
	return old;
}

void ctld_restore_cancellation(int type)
{
	pthread_setcanceltype(type, NULL);
}

void ctld_signal_fence(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

int ctld_errno(void)
{
	return errno;
}

void ctld_set_errno(int code)
{
	errno = code;
}

static int start_thread(pthread_t *thread, void *(*body)(void *), void *arg, size_t stack)
{
	pthread_attr_t attr;
	int err = pthread_attr_init(&attr);

	if (err)
		return -err;
	/*
	 * On arm64, where 128 KiB are the least, the stack stays as large as any thread's: sizes
	 * just above what a program's thread-local variables take crash there (glibc).
	 */
	pthread_attr_setstacksize(&attr, stack);
	err = pthread_create(thread, &attr, body, arg);
	pthread_attr_destroy(&attr);
	return -err;
}

static void *nothing(void *arg)
{
	return arg;
}

/* Whether a thread can have so small a stack: 0, -EINVAL, or what else failed. */
static int try_stack(size_t stack)
{
	pthread_t thread;
	int err = start_thread(&thread, nothing, NULL, stack), state;

	if (err)
		return err;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	pthread_join(thread, NULL);
	pthread_setcancelstate(state, NULL);
	return 0;
}

/*
 * glibc puts the program's thread-local variables on a thread's stack, does not tell how
 * many bytes they are, and says EINVAL where they do not fit. Where they fit into half of
 * a stack, the other half is left.
 */
static int start_on_small_stack(void *(*body)(void *), void *arg)
{
	size_t stack = 64 << 10;
	pthread_t thread;
	int err;

	while ((err = try_stack(stack / 2)) == -EINVAL && stack < 1 << 30)
		stack *= 2;
	if (!err)
		err = start_thread(&thread, body, arg, stack);
	if (!err)
		pthread_detach(thread);
	return err;
}

int ctld_start_thread(void *(*body)(void *), void *arg)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = start_on_small_stack(body, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}

void ctld_name_watcher(void)
{
	quiet_syscall(SYS_prctl, PR_SET_NAME, (long)"tld-follow", 0, 0);
}
