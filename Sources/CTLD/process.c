/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* What a process has once: the runtime's state, who owns its memory, fork, exit. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "ctld.h"
#include "quiet.h"

#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

EXPORT void *tld_meta_p;

static _Alignas(64) char state[CTLD_COMPONENTS][CTLD_STATE_SIZE];

#define STRING(x) #x
#define VERSION(major, minor) STRING(major) "." STRING(minor) ".0"

void *ctld_state(int component)
{
	return state[component];
}

void *ctld_meta_p_address(void)
{
	return &tld_meta_p;
}

const char *ctld_version(void)
{
	return VERSION(TLD_VERSION_MAJOR, TLD_VERSION_MINOR);
}

uint64_t ctld_image_stamp(void)
{
	return getauxval(AT_RANDOM);
}

int ctld_getpid(void)
{
	return getpid();
}

static int asked_tid(void)
{
	return quiet_syscall(SYS_gettid, 0, 0, 0, 0);
}

/*
 * The thread's id as libc has it, without a system call: libc notes it in each recursive
 * mutex that it locks, at a place that is ABI. 0: it did not.
 */
static int noted_tid(void)
{
	pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
	int tid = 0;

	if (!pthread_mutex_lock(&mutex)) {
		tid = mutex.__data.__owner;
		pthread_mutex_unlock(&mutex);
	}
	pthread_mutex_destroy(&mutex);
	return tid;
}

/* After a bare clone(2), libc has the parent's. */
static int noted_tid_is_wrong;

int ctld_gettid(void)
{
	int tid = __atomic_load_n(&noted_tid_is_wrong, __ATOMIC_RELAXED) ? 0 : noted_tid();

	return tid > 0 ? tid : asked_tid();
}

int ctld_thread_exists(int tid)
{
	return quiet_syscall(SYS_tgkill, getpid(), tid, 0, 0) != -ESRCH;
}

/* A byte that a forked child finds zero; NULL: not to be had, so forks look like vforks. */
static char *canary;
static pid_t owner;

void ctld_take_possession(void)
{
	if (canary)
		__atomic_store_n(canary, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&owner, getpid(), __ATOMIC_RELAXED);
	__atomic_store_n(&noted_tid_is_wrong, noted_tid() != asked_tid(), __ATOMIC_RELAXED);
}

/* What the library does at fork, once it has anything to do; all three or none. */
static struct ctld_fork_handlers fork_handlers;
static int forks_are_handled;

static void before_fork(void)
{
	if (fork_handlers.before)
		fork_handlers.before();
}

static void after_fork_in_parent(void)
{
	if (fork_handlers.in_parent)
		fork_handlers.in_parent();
}

static void after_fork_in_child(void)
{
	if (fork_handlers.in_child)
		fork_handlers.in_child();
	else
		ctld_take_possession();
}

int ctld_handle_forks(const struct ctld_fork_handlers *handlers)
{
	if (!__atomic_load_n(&forks_are_handled, __ATOMIC_RELAXED)) {
		if (pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child))
			return -EAGAIN;
		__atomic_store_n(&forks_are_handled, 1, __ATOMIC_RELAXED);
	}
	if (handlers) {
		__atomic_store_n(&fork_handlers.in_child, handlers->in_child, __ATOMIC_RELAXED);
		__atomic_store_n(&fork_handlers.in_parent, handlers->in_parent, __ATOMIC_RELAXED);
		__atomic_store_n(&fork_handlers.before, handlers->before, __ATOMIC_RELEASE);
	}
	return 0;
}

/*
 * Before there is any other thread or child. In an executable that has libtld.a,
 * constructors that TLD_DEFINE_KEY() made may come first, and call this.
 */
__attribute__((constructor(101))) static void at_load(void)
{
	char *page;

	if (owner)
		return;
	ctld_handle_forks(NULL); /* where memory is short, the first call tries again */
	page = ctld_map(ctld_page_size());
	if (page && quiet_syscall(SYS_madvise, (long)page, ctld_page_size(), MADV_WIPEONFORK, 0))
		ctld_unmap(page, ctld_page_size());
	else
		canary = page;
	ctld_take_possession();
}

int ctld_is_copy(void)
{
	at_load();
	return canary && !__atomic_load_n(canary, __ATOMIC_RELAXED);
}

int ctld_is_lent(void)
{
	return __atomic_load_n(&owner, __ATOMIC_RELAXED) != getpid();
}

static void (*exit_handler)(void);

__attribute__((destructor)) static void at_exit(void)
{
	if (exit_handler)
		exit_handler();
}

void ctld_at_exit(void (*handler)(void))
{
	exit_handler = handler;
}
