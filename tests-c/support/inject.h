/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * inject.h - make a chosen system call of libtld fail, with a chosen errno.
 *
 * libtld reaches the kernel through functions of the C library, and these through
 * its PLT: a program that defines syscall(), mmap() and so on itself is called
 * instead, and knows by the return address that it was libtld. It counts such calls,
 * fails the one that the test asks for, and passes all others on.
 *
 * Why not seccomp or ptrace: a filter knows no "third call" and cannot be taken off
 * again; a tracer can do both, but needs a process of its own, stops every thread
 * twice a call, and finds out whose call it was only by unwinding. Here the choice is
 * exact for each call and thread, what fails without a system call (a pthread key)
 * can fail too, a call can be held up instead, and thousands of faults take seconds.
 * What this cannot see by itself is a function that libtld begins to import:
 * inject_strangers() finds those; and a call without a table of errnos is counted as
 * unknown. Tests require none of either.
 *
 * To be included by one source of a program that is linked with the shared library.
 */
#ifndef TESTS_C_INJECT_H
#define TESTS_C_INJECT_H

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <linux/bpf.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>
#include "process.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

/* --- The calls, and the errnos that the kernel documents for them ------------------ */

/* Functions of the C library that are no system call, numbered behind those. */
enum {
	INJECT_KEY_CREATE = 100000, INJECT_KEY_DELETE, INJECT_SETSPECIFIC, INJECT_ATFORK,
	INJECT_ATEXIT, INJECT_THREAD, INJECT_ATTR_INIT, INJECT_ATTR_STACK,
};

/* The call fails as the kernel says it, and what it was to do is done nevertheless. */
#define INJECT_DONE 1u
/* It knows no error: it is only counted. */
#define INJECT_CERTAIN 2u
/* It concerns memory or the thread, and no map. */
#define INJECT_MEMORY 4u

/*
 * One errno. An API that documents it must give it, and else any that it documents;
 * or, where as is not 0, give that instead; or the other one, where there is one.
 */
struct inject_errno {
	short code, as, other;
};

/* For as: nobody may notice that the call failed. */
#define INJECT_HIDDEN (-1)

struct inject_kind {
	const char *name;
	long number;
	int arg;			/* which argument tells kinds apart; -1: none */
	unsigned long value;
	unsigned int flags;
	const struct inject_errno *errnos;	/* up to code 0 */
};

#define INJECT_ERRNOS(...) ((const struct inject_errno[]){ __VA_ARGS__, { 0, 0, 0 } })
#define INJECT_NONE ((const struct inject_errno[]){ { 0, 0, 0 } })
/* A command of bpf(2), and flags in its attributes that tell one use from another. */
#define INJECT_BPF_COMMAND(command, flags) ((unsigned long)(command) | (unsigned long)(flags) << 32)
#define INJECT_BPF(command, flags, ...) \
	{ flags ? "bpf(" #command ", " #flags ")" : "bpf(" #command ")", SYS_bpf, 0, \
	  INJECT_BPF_COMMAND(command, flags), 0, INJECT_ERRNOS(__VA_ARGS__) }
/* What passes if it is asked for again. */
#define INJECT_TRANSIENT \
	{ EAGAIN, INJECT_HIDDEN, 0 }, { ETIMEDOUT, INJECT_HIDDEN, 0 }, \
	{ EDEADLK, INJECT_HIDDEN, 0 }, { EBUSY, INJECT_HIDDEN, 0 }, { EINTR, INJECT_HIDDEN, 0 }
/* What each command of bpf(2) may say, and what says a sandbox. */
#define INJECT_REFUSED { EPERM, 0, 0 }, { ENOSYS, 0, 0 }, { EACCES, 0, 0 }

/*
 * Left out is what no kernel says of these calls as they are made: that an element that
 * is there is not, that a thread that runs does not, that an address of ours is wrong.
 * (A program may close descriptors that are not its own.)
 */
static const struct inject_kind inject_kinds[] = {
	INJECT_BPF(BPF_OBJ_GET_INFO_BY_FD, 0, INJECT_REFUSED, { EBADF, 0, 0 }, { EBADFD, EBADF, 0 },
		   { EINVAL, 0, 0 }, { ENOMEM, 0, 0 }),
	/* Of its own descriptors it asks the id alone. */
	INJECT_BPF(BPF_OBJ_GET_INFO_BY_FD, 8, { EPERM, INJECT_HIDDEN, 0 }, { ENOSYS, INJECT_HIDDEN, 0 },
		   { EACCES, INJECT_HIDDEN, 0 }, { ENOMEM, INJECT_HIDDEN, 0 }),
	INJECT_BPF(BPF_MAP_UPDATE_ELEM, BPF_NOEXIST, INJECT_REFUSED, INJECT_TRANSIENT,
		   { EBADF, 0, 0 }, { EINVAL, 0, 0 }, { EOPNOTSUPP, 0, 0 }, { ENOMEM, 0, 0 },
		   { EEXIST, 0, 0 }),
	INJECT_BPF(BPF_MAP_UPDATE_ELEM, BPF_ANY, INJECT_REFUSED, INJECT_TRANSIENT,
		   { EBADF, 0, 0 }, { EINVAL, 0, 0 }, { EOPNOTSUPP, 0, 0 }, { ENOMEM, 0, 0 },
		   { EFAULT, 0, 0 }),
	INJECT_BPF(BPF_MAP_DELETE_ELEM, 0, INJECT_REFUSED, INJECT_TRANSIENT, { EBADF, 0, 0 },
		   { EINVAL, 0, 0 }, { ENOMEM, 0, 0 }),
	INJECT_BPF(BPF_OBJ_GET, 0, INJECT_REFUSED, { ENOENT, 0, 0 }, { ENOTDIR, 0, 0 },
		   { ENAMETOOLONG, 0, 0 }, { ELOOP, 0, 0 }, { EINVAL, 0, 0 }, { EMFILE, 0, 0 },
		   { ENFILE, 0, 0 }, { ENOMEM, 0, 0 }),
	{ "pidfd_open", SYS_pidfd_open, -1, 0, 0,
	  INJECT_ERRNOS({ EINVAL, EOPNOTSUPP, 0 }, { EMFILE, 0, 0 }, { ENFILE, 0, 0 },
			{ ENODEV, 0, 0 }, { ENOMEM, 0, 0 }, { EPERM, 0, 0 }, { ENOSYS, 0, 0 }) },
	/* EINVAL: the lowest number asked for is beyond the limit. */
	{ "fcntl(F_DUPFD_CLOEXEC)", SYS_fcntl, 1, F_DUPFD_CLOEXEC, 0,
	  INJECT_ERRNOS({ EBADF, 0, 0 }, { EINVAL, EMFILE, 0 }, { EMFILE, 0, 0 },
			{ EPERM, 0, 0 }) },
	{ "close", SYS_close, -1, 0, INJECT_DONE,
	  INJECT_ERRNOS({ EINTR, INJECT_HIDDEN, 0 }, { EIO, INJECT_HIDDEN, 0 },
			{ ENOSPC, INJECT_HIDDEN, 0 }, { EDQUOT, INJECT_HIDDEN, 0 }) },
	{ "mmap", SYS_mmap, -1, 0, INJECT_MEMORY,
	  INJECT_ERRNOS({ ENOMEM, 0, 0 }, { EAGAIN, ENOMEM, EAGAIN }, { EPERM, ENOMEM, EPERM },
			{ EINVAL, ENOMEM, 0 }, { EOVERFLOW, ENOMEM, 0 }) },
	{ "munmap", SYS_munmap, -1, 0, INJECT_MEMORY | INJECT_DONE,
	  INJECT_ERRNOS({ ENOMEM, INJECT_HIDDEN, 0 }, { EINVAL, INJECT_HIDDEN, 0 }) },
	{ "madvise(MADV_NOHUGEPAGE)", SYS_madvise, 2, MADV_NOHUGEPAGE, INJECT_MEMORY,
	  INJECT_ERRNOS({ EINVAL, INJECT_HIDDEN, 0 }, { ENOMEM, INJECT_HIDDEN, ENOMEM },
			{ EAGAIN, INJECT_HIDDEN, ENOMEM }) },
	{ "madvise(MADV_DONTNEED)", SYS_madvise, 2, MADV_DONTNEED, INJECT_MEMORY,
	  INJECT_ERRNOS({ EINVAL, INJECT_HIDDEN, 0 }, { ENOMEM, INJECT_HIDDEN, 0 },
			{ EAGAIN, INJECT_HIDDEN, 0 }) },
	{ "madvise(MADV_DONTNEED_LOCKED)", SYS_madvise, 2, MADV_DONTNEED_LOCKED, INJECT_MEMORY,
	  INJECT_ERRNOS({ EINVAL, INJECT_HIDDEN, 0 }, { ENOMEM, INJECT_HIDDEN, 0 },
			{ EAGAIN, INJECT_HIDDEN, 0 }) },
	{ "madvise(MADV_WIPEONFORK)", SYS_madvise, 2, MADV_WIPEONFORK, INJECT_MEMORY,
	  INJECT_ERRNOS({ EINVAL, 0, 0 }, { ENOMEM, 0, 0 }, { EAGAIN, 0, 0 }) },
	{ "futex(FUTEX_WAIT)", SYS_futex, 1, FUTEX_WAIT_PRIVATE, INJECT_MEMORY,
	  INJECT_ERRNOS({ EAGAIN, INJECT_HIDDEN, 0 }, { EINTR, INJECT_HIDDEN, 0 },
			{ ETIMEDOUT, INJECT_HIDDEN, 0 }, { EINVAL, INJECT_HIDDEN, 0 },
			{ EFAULT, INJECT_HIDDEN, 0 }, { ENOSYS, INJECT_HIDDEN, 0 }) },
	/* Its errors concern addresses that are none; to lose a wake-up is not one. */
	{ "futex(FUTEX_WAKE)", SYS_futex, 1, FUTEX_WAKE_PRIVATE, INJECT_MEMORY | INJECT_DONE,
	  INJECT_ERRNOS({ EINVAL, INJECT_HIDDEN, 0 }, { EFAULT, INJECT_HIDDEN, 0 }) },
	/* ESRCH would be a lie. */
	{ "tgkill(0)", SYS_tgkill, 2, 0, INJECT_MEMORY,
	  INJECT_ERRNOS({ EPERM, INJECT_HIDDEN, 0 }, { EAGAIN, INJECT_HIDDEN, 0 },
			{ EINVAL, INJECT_HIDDEN, 0 }, { ENOSYS, INJECT_HIDDEN, 0 }) },
	{ "gettid", SYS_gettid, -1, 0, INJECT_CERTAIN, INJECT_NONE },
	{ "getpid", SYS_getpid, -1, 0, INJECT_CERTAIN, INJECT_NONE },
	{ "sched_yield", SYS_sched_yield, -1, 0, INJECT_CERTAIN, INJECT_NONE },
	{ "geteuid", SYS_geteuid, -1, 0, INJECT_CERTAIN, INJECT_NONE },
	{ "fstat", SYS_fstat, -1, 0, 0,
	  INJECT_ERRNOS({ ENOMEM, 0, 0 }, { EPERM, 0, 0 }, { ENOSYS, 0, 0 }) },
	{ "fstatfs", SYS_fstatfs, -1, 0, 0,
	  INJECT_ERRNOS({ EINTR, 0, 0 }, { EIO, 0, 0 }, { ENOMEM, 0, 0 }, { EPERM, 0, 0 },
			{ ENOSYS, 0, 0 }) },
	{ "openat", SYS_openat, -1, 0, 0,
	  INJECT_ERRNOS({ EACCES, 0, 0 }, { ELOOP, 0, 0 }, { EMFILE, 0, 0 }, { ENFILE, 0, 0 },
			{ ENAMETOOLONG, 0, 0 }, { ENOENT, 0, 0 }, { ENOTDIR, 0, 0 },
			{ ENODEV, 0, 0 }, { ENXIO, 0, 0 }, { ENOMEM, 0, 0 }, { EPERM, 0, 0 },
			{ EINTR, 0, 0 }, { EIO, 0, 0 }) },
	/* Without inotify, looks come by time. */
	{ "inotify_init1", SYS_inotify_init1, -1, 0, 0,
	  INJECT_ERRNOS({ EMFILE, INJECT_HIDDEN, 0 }, { ENFILE, INJECT_HIDDEN, 0 },
			{ ENOMEM, INJECT_HIDDEN, 0 }, { EINVAL, INJECT_HIDDEN, 0 },
			{ ENOSYS, INJECT_HIDDEN, 0 }) },
	{ "inotify_add_watch", SYS_inotify_add_watch, -1, 0, 0,
	  INJECT_ERRNOS({ EACCES, INJECT_HIDDEN, 0 }, { EBADF, INJECT_HIDDEN, 0 },
			{ EFAULT, INJECT_HIDDEN, 0 }, { EINVAL, INJECT_HIDDEN, 0 },
			{ ENAMETOOLONG, INJECT_HIDDEN, 0 }, { ENOENT, INJECT_HIDDEN, 0 },
			{ ENOMEM, INJECT_HIDDEN, 0 }, { ENOSPC, INJECT_HIDDEN, 0 },
			{ ENOTDIR, INJECT_HIDDEN, 0 }) },
	{ "inotify_rm_watch", SYS_inotify_rm_watch, -1, 0, 0,
	  INJECT_ERRNOS({ EBADF, INJECT_HIDDEN, 0 }, { EINVAL, INJECT_HIDDEN, 0 }) },
	{ "pipe2", SYS_pipe2, -1, 0, 0,
	  INJECT_ERRNOS({ EMFILE, 0, 0 }, { ENFILE, 0, 0 }, { ENOMEM, 0, 0 }, { ENOSYS, 0, 0 }) },
	{ "write", SYS_write, -1, 0, 0,
	  INJECT_ERRNOS({ EAGAIN, INJECT_HIDDEN, 0 }, { EINTR, INJECT_HIDDEN, 0 },
			{ EIO, INJECT_HIDDEN, 0 }) },
	{ "ppoll", SYS_ppoll, -1, 0, 0,
	  INJECT_ERRNOS({ EINTR, INJECT_HIDDEN, 0 }, { ENOMEM, INJECT_HIDDEN, 0 },
			{ EINVAL, INJECT_HIDDEN, 0 }, { EFAULT, INJECT_HIDDEN, 0 },
			{ ENOSYS, INJECT_HIDDEN, 0 }) },
	{ "read", SYS_read, -1, 0, 0,
	  INJECT_ERRNOS({ EAGAIN, INJECT_HIDDEN, 0 }, { EINTR, INJECT_HIDDEN, 0 },
			{ EINVAL, INJECT_HIDDEN, 0 }, { EIO, INJECT_HIDDEN, 0 }) },
	{ "clock_nanosleep", SYS_clock_nanosleep, -1, 0, INJECT_MEMORY,
	  INJECT_ERRNOS({ EINTR, INJECT_HIDDEN, 0 }, { ENOSYS, INJECT_HIDDEN, 0 }) },
	{ "prctl(PR_SET_NAME)", SYS_prctl, 0, PR_SET_NAME, INJECT_MEMORY,
	  INJECT_ERRNOS({ EFAULT, INJECT_HIDDEN, 0 }, { EINVAL, INJECT_HIDDEN, 0 }) },
	{ "pthread_create", INJECT_THREAD, -1, 0, INJECT_MEMORY,
	  INJECT_ERRNOS({ EAGAIN, 0, 0 }, { EINVAL, INJECT_HIDDEN, EAGAIN },
			{ EPERM, EAGAIN, 0 }) },
	{ "pthread_attr_init", INJECT_ATTR_INIT, -1, 0, INJECT_MEMORY,
	  INJECT_ERRNOS({ ENOMEM, 0, 0 }) },
	{ "pthread_attr_setstacksize", INJECT_ATTR_STACK, -1, 0, INJECT_MEMORY,
	  INJECT_ERRNOS({ EINVAL, INJECT_HIDDEN, EAGAIN }) },
	{ "atexit", INJECT_ATEXIT, -1, 0, INJECT_MEMORY,
	  INJECT_ERRNOS({ ENOMEM, INJECT_HIDDEN, ENOMEM }) },
	{ "uname", SYS_uname, -1, 0, INJECT_CERTAIN, INJECT_NONE },
	{ "pthread_key_create", INJECT_KEY_CREATE, -1, 0, INJECT_MEMORY,
	  INJECT_ERRNOS({ EAGAIN, 0, 0 }, { ENOMEM, 0, EAGAIN }) },
	{ "pthread_key_delete", INJECT_KEY_DELETE, -1, 0, INJECT_MEMORY | INJECT_DONE,
	  INJECT_ERRNOS({ EINVAL, INJECT_HIDDEN, 0 }) },
	{ "pthread_setspecific", INJECT_SETSPECIFIC, -1, 0, INJECT_MEMORY,
	  INJECT_ERRNOS({ ENOMEM, 0, 0 }, { EINVAL, ENOMEM, EINVAL }) },
	{ "pthread_atfork", INJECT_ATFORK, -1, 0, INJECT_MEMORY,
	  INJECT_ERRNOS({ ENOMEM, 0, EAGAIN }) },
};

#define INJECT_KINDS (int)(sizeof(inject_kinds) / sizeof(inject_kinds[0]))

/*
 * A sanitizer's runtime calls such functions too, before it is ready to be called back; and
 * syscall() reads six arguments however many it was given.
 */
#define INJECT_PLAIN __attribute__((no_sanitize("address", "undefined", "thread")))

/* --- What to do, and what was done ------------------------------------------------- */

/* What becomes of libtld's calls between inject_begin() and inject_end(). */
struct inject_rule {
	/* Whose: those of the thread that calls inject_begin(), or of all others, or all. */
	bool others, everybody;
	/* Fail this call, from 1 on, with that one of its errnos, from 0 on; and so many that
	 * follow (-1: all), each with one of its own. */
	int call, choice, following;
	/* Or fail calls whose names begin so, where this is not NULL, so many (-1: all). */
	const char *kind;
	int code, times;
};

#define INJECT_RECORDED 512

/* Shared by a test's processes: what was seen in any of them. */
struct inject_totals {
	unsigned int seen[INJECT_KINDS];	/* ever */
	unsigned int met[INJECT_KINDS];		/* under a rule */
	unsigned int failed[INJECT_KINDS];
	unsigned int unknown;
	long unknown_number, unknown_arg;
	/* Of the last program that inject_exec() ran. */
	unsigned int load_calls, load_failures;
	int load_failed_kind, load_failed_code;
};

static struct inject_rule inject_rule;
static bool inject_armed;
static __thread bool inject_mine;
static unsigned int inject_calls;		/* since inject_begin() */
static unsigned int inject_own_calls[INJECT_KINDS];	/* of this process, ever */
static unsigned int inject_failures;
static int inject_failed_kind, inject_failed_code;
static bool inject_no_such_choice;		/* the call has fewer errnos */
static unsigned char inject_record[INJECT_RECORDED];
static struct inject_totals *inject_totals;
/* For one thread: told of each of libtld's calls in it, by name, and may hold it up. */
static __thread void (*inject_hook)(const char *call);
/* How much sooner libtld's waits end than it asks: tests need not wait for its second. */
static int inject_hurry = 1;
/* What libtld has mapped and not unmapped, in bytes. */
static long inject_mapped;

static uintptr_t inject_text, inject_text_end;
static char inject_library[PATH_MAX];

INJECT_PLAIN
static int inject_find_library(struct dl_phdr_info *info, size_t size, void *unused)
{
	const char *name = strrchr(info->dlpi_name, '/');

	(void)size;
	(void)unused;
	if (!name || strcmp(name, "/libtld.so.1"))
		return 0;
	snprintf(inject_library, sizeof(inject_library), "%s", info->dlpi_name);
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *header = &info->dlpi_phdr[i];

		if (header->p_type != PT_LOAD || !(header->p_flags & PF_X))
			continue;
		inject_text_end = info->dlpi_addr + header->p_vaddr + header->p_memsz;
		__atomic_store_n(&inject_text, info->dlpi_addr + header->p_vaddr, __ATOMIC_RELEASE);
	}
	return 1;
}

/* The rule for the calls that libtld makes while it is loaded: of inject_exec(). */
#define INJECT_AT_LOAD "INJECT_AT_LOAD"

static int inject_totals_fd = -1;

INJECT_PLAIN
static void inject_obey_at_load(const char *text)
{
	if (sscanf(text, "%d %d %d %d", &inject_totals_fd, &inject_rule.call, &inject_rule.choice,
		   &inject_rule.following) != 4)
		abort();
	inject_mine = true;
	inject_armed = true;
}

/* Comes with the first call that any library makes of what is here, or before main(). */
__attribute__((constructor(101)))
INJECT_PLAIN
static void inject_start(void)
{
	static bool started;
	const char *at_load = getenv(INJECT_AT_LOAD);

	if (started)
		return;
	started = true;
	if (at_load)
		inject_obey_at_load(at_load);
	else
		inject_totals_fd = syscall(SYS_memfd_create, "inject", 0);
	if (!at_load && ftruncate(inject_totals_fd, sizeof(*inject_totals)))
		abort();
	inject_totals = mmap(NULL, sizeof(*inject_totals), PROT_READ | PROT_WRITE, MAP_SHARED,
			     inject_totals_fd, 0);
	if (inject_totals == MAP_FAILED)
		abort();
	dl_iterate_phdr(inject_find_library, NULL);
}

INJECT_PLAIN
static bool inject_is_library(const void *address)
{
	uintptr_t text;

	inject_start();
	text = __atomic_load_n(&inject_text, __ATOMIC_ACQUIRE);
	return text && (uintptr_t)address - text < inject_text_end - text;
}

INJECT_PLAIN
static unsigned long inject_telling_argument(const struct inject_kind *kind,
					     const unsigned long *args)
{
	const union bpf_attr *attr = (const void *)args[1];

	if (kind->number == SYS_bpf && args[0] == BPF_MAP_UPDATE_ELEM)
		return INJECT_BPF_COMMAND(args[0], attr->flags);
	if (kind->number == SYS_bpf && args[0] == BPF_OBJ_GET_INFO_BY_FD && attr->info.info_len == 8)
		return INJECT_BPF_COMMAND(args[0], 8);
	return args[kind->arg];
}

INJECT_PLAIN
static int inject_classify(long number, const unsigned long *args)
{
	for (int i = 0; i < INJECT_KINDS; i++) {
		const struct inject_kind *kind = &inject_kinds[i];

		if (kind->number == number &&
		    (kind->arg < 0 || kind->value == inject_telling_argument(kind, args)))
			return i;
	}
	__atomic_add_fetch(&inject_totals->unknown, 1, __ATOMIC_RELAXED);
	inject_totals->unknown_number = number;
	inject_totals->unknown_arg = args[0];
	return -1;
}

INJECT_PLAIN
static int inject_nth_errno(const struct inject_kind *kind, int n)
{
	for (int i = 0; i <= n; i++)
		if (!kind->errnos[i].code)
			return 0;
	return kind->errnos[n].code;
}

/* 0 for a call that knows no errors. */
INJECT_PLAIN
static int inject_some_errno(const struct inject_kind *kind, int n)
{
	int count = 0;

	while (kind->errnos[count].code)
		count++;
	return count ? kind->errnos[n % count].code : 0;
}

/* Whether this is one of several calls to fail. */
INJECT_PLAIN
static bool inject_follows(const struct inject_rule *rule, int call)
{
	return rule->following && rule->call && call >= rule->call &&
	       (rule->following < 0 || call <= rule->call + rule->following);
}

/* The errno that the rule has for this call, or 0. */
INJECT_PLAIN
static int inject_choose(int kind, unsigned int call)
{
	const struct inject_rule *rule = &inject_rule;
	int code;

	if (rule->kind) {
		if (strncmp(inject_kinds[kind].name, rule->kind, strlen(rule->kind)))
			return 0;
		if (rule->times >= 0 && inject_failures >= (unsigned int)rule->times)
			return 0;
		return rule->code;
	}
	if (inject_follows(rule, call))
		return inject_some_errno(&inject_kinds[kind], rule->choice);
	if ((int)call != rule->call)
		return 0;
	code = inject_nth_errno(&inject_kinds[kind], rule->choice);
	inject_no_such_choice = !code;
	return code;
}

/* By the rule, and counted. */
INJECT_PLAIN
static int inject_judge(int kind)
{
	unsigned int call = __atomic_add_fetch(&inject_calls, 1, __ATOMIC_RELAXED);
	int code;

	__atomic_add_fetch(&inject_totals->met[kind], 1, __ATOMIC_RELAXED);
	if (call <= INJECT_RECORDED)
		inject_record[call - 1] = kind;
	code = inject_choose(kind, call);
	if (!code)
		return 0;
	__atomic_add_fetch(&inject_totals->failed[kind], 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&inject_failures, 1, __ATOMIC_RELAXED);
	inject_failed_kind = kind;
	inject_failed_code = code;
	return code;
}

/* What to do with a call: an errno that it is to fail with, or 0. */
INJECT_PLAIN
static int inject_decide(const void *caller, long number, const unsigned long *args, bool *done)
{
	int kind;

	*done = false;
	if (!inject_is_library(caller))
		return 0;
	kind = inject_classify(number, args);
	if (kind < 0)
		return 0;
	*done = inject_kinds[kind].flags & INJECT_DONE;
	__atomic_add_fetch(&inject_totals->seen[kind], 1, __ATOMIC_RELAXED);
	if (inject_hook)
		inject_hook(inject_kinds[kind].name);
	__atomic_add_fetch(&inject_own_calls[kind], 1, __ATOMIC_RELAXED);
	if (!__atomic_load_n(&inject_armed, __ATOMIC_ACQUIRE) ||
	    (inject_mine == inject_rule.others && !inject_rule.everybody))
		return 0;
	return inject_judge(kind);
}

__attribute__((unused))
static void inject_begin(struct inject_rule rule)
{
	inject_rule = rule;
	inject_calls = 0;
	inject_failures = 0;
	inject_no_such_choice = false;
	inject_mine = true;
	__atomic_store_n(&inject_armed, true, __ATOMIC_RELEASE);
}

__attribute__((unused))
static void inject_end(void)
{
	__atomic_store_n(&inject_armed, false, __ATOMIC_RELEASE);
	inject_mine = false;
}

/*
 * Run this program anew, with a fault at a call that libtld makes while it is loaded; the
 * program is to call inject_loaded().
 */
__attribute__((unused))
static void inject_exec(struct inject_rule rule, char *const argv[])
{
	char text[64];

	snprintf(text, sizeof(text), "%d %d %d %d", inject_totals_fd, rule.call, rule.choice,
		 rule.following);
	setenv(INJECT_AT_LOAD, text, 1);
	execv("/proc/self/exe", argv);
}

__attribute__((unused))
static void inject_loaded(void)
{
	inject_end();
	inject_totals->load_calls = inject_calls;
	inject_totals->load_failures = inject_failures;
	inject_totals->load_failed_kind = inject_failed_kind;
	inject_totals->load_failed_code = inject_failed_code;
}

/* --- In the C library's place ------------------------------------------------------ */

/* The C library's own function of this name. */
#define INJECT_NEXT(name)						\
({									\
	static __typeof__(&name) next__;				\
	if (!next__)							\
		next__ = (__typeof__(&name))dlsym(RTLD_NEXT, #name);	\
	next__;								\
})

/* Ask for a decision; the number of the call and its arguments follow. */
#define INJECT(done, ...)						\
({									\
	const unsigned long call__[8] = { __VA_ARGS__ };		\
	inject_decide(__builtin_return_address(0), call__[0], call__ + 1, (done));	\
})

/* Their third argument is how long. */
INJECT_PLAIN
static bool inject_waits(long number)
{
	return number == SYS_ppoll || number == SYS_clock_nanosleep;
}

INJECT_PLAIN
static void inject_shorten(struct timespec *to, const struct timespec *from)
{
	long long ns = (from->tv_sec * 1000000000LL + from->tv_nsec) / inject_hurry;

	*to = (struct timespec){ ns / 1000000000, ns % 1000000000 };
}

INJECT_PLAIN
long syscall(long number, ...)
{
	struct timespec hurried;
	unsigned long a[6];
	va_list args;
	long result;
	bool done;
	int err;

	va_start(args, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, unsigned long);
	va_end(args);
	err = INJECT(&done, number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (err && !done) {
		errno = err;
		return -1;
	}
	if (inject_waits(number) && inject_is_library(__builtin_return_address(0)) && a[2]) {
		inject_shorten(&hurried, (const struct timespec *)a[2]);
		a[2] = (unsigned long)&hurried;
	}
	result = INJECT_NEXT(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (number == SYS_munmap && !result && inject_is_library(__builtin_return_address(0)))
		__atomic_sub_fetch(&inject_mapped, a[1], __ATOMIC_RELAXED);
	if (err) {
		errno = err;
		return -1;
	}
	return result;
}

INJECT_PLAIN
void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
	void *memory;
	bool done;
	int err = INJECT(&done, SYS_mmap, (unsigned long)address, bytes, protection, flags);

	if (err) {
		errno = err;
		return MAP_FAILED;
	}
	memory = INJECT_NEXT(mmap)(address, bytes, protection, flags, fd, offset);
	if (memory != MAP_FAILED && inject_is_library(__builtin_return_address(0)))
		__atomic_add_fetch(&inject_mapped, bytes, __ATOMIC_RELAXED);
	return memory;
}

/* A function that returns -1 and sets errno. */
#define INJECT_FUNCTION(name, declared, passed, ...)			\
INJECT_PLAIN								\
int name declared							\
{									\
	bool done;							\
	int err = INJECT(&done, __VA_ARGS__), result = -1;		\
									\
	if (!err || done)						\
		result = INJECT_NEXT(name) passed;			\
	if (!err)							\
		return result;						\
	errno = err;							\
	return -1;							\
}

/* A function that returns an errno. */
#define INJECT_PTHREAD(name, declared, passed, ...)			\
INJECT_PLAIN								\
int name declared							\
{									\
	bool done;							\
	int err = INJECT(&done, __VA_ARGS__), result = err;		\
									\
	if (!err || done)						\
		result = INJECT_NEXT(name) passed;			\
	return err ? err : result;					\
}

INJECT_FUNCTION(madvise, (void *address, size_t bytes, int advice), (address, bytes, advice),
		SYS_madvise, (unsigned long)address, bytes, advice)
INJECT_FUNCTION(uname, (struct utsname *name), (name), SYS_uname, (unsigned long)name)
INJECT_FUNCTION(sched_yield, (void), (), SYS_sched_yield)
INJECT_FUNCTION(getpid, (void), (), SYS_getpid)
INJECT_PTHREAD(pthread_key_create, (pthread_key_t *key, void (*destructor)(void *)),
	       (key, destructor), INJECT_KEY_CREATE)
INJECT_PTHREAD(pthread_key_delete, (pthread_key_t key), (key), INJECT_KEY_DELETE)
INJECT_PTHREAD(pthread_setspecific, (pthread_key_t key, const void *value), (key, value),
	       INJECT_SETSPECIFIC)

INJECT_FUNCTION(fstat, (int fd, struct stat *stat), (fd, stat), SYS_fstat, fd)
INJECT_FUNCTION(fstatfs, (int fd, struct statfs *stat), (fd, stat), SYS_fstatfs, fd)
INJECT_PTHREAD(pthread_attr_init, (pthread_attr_t *attr), (attr), INJECT_ATTR_INIT)
INJECT_PTHREAD(pthread_attr_setstacksize, (pthread_attr_t *attr, size_t size), (attr, size),
	       INJECT_ATTR_STACK)
INJECT_PTHREAD(pthread_create, (pthread_t *thread, const pthread_attr_t *attr,
				void *(*body)(void *), void *arg),
	       (thread, attr, body, arg), INJECT_THREAD)

INJECT_PLAIN
uid_t geteuid(void)
{
	bool done;

	INJECT(&done, SYS_geteuid);
	return INJECT_NEXT(geteuid)();
}

/* What atexit(), which is linked statically, calls. */
int __cxa_atexit(void (*handler)(void *), void *arg, void *dso);
INJECT_PTHREAD(__cxa_atexit, (void (*handler)(void *), void *arg, void *dso),
	       (handler, arg, dso), INJECT_ATEXIT)

/* What pthread_atfork(), which is linked statically, calls. */
int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void),
		      void *dso);
INJECT_PTHREAD(__register_atfork,
	       (void (*prepare)(void), void (*parent)(void), void (*child)(void), void *dso),
	       (prepare, parent, child, dso), INJECT_ATFORK)

/* --- Does this see everything? ----------------------------------------------------- */

static const char *const inject_imports[] = {
	/* failed, or counted, here */
	"syscall", "mmap", "madvise", "uname", "sched_yield", "getpid", "geteuid", "fstat",
	"fstatfs", "pthread_key_create", "pthread_key_delete", "pthread_setspecific",
	"pthread_create", "pthread_attr_init", "pthread_attr_setstacksize", "__register_atfork",
	"__cxa_atexit",
	/* make no system call that can fail, and fail for wrong arguments only */
	"pthread_attr_destroy", "pthread_attr_setdetachstate", "pthread_setcanceltype",
	"pthread_setcancelstate", "pthread_join", "pthread_detach", "pthread_sigmask",
	"sigfillset",
	/* nor for a mutex that nobody else has */
	"pthread_mutex_lock", "pthread_mutex_unlock", "pthread_mutex_destroy",
	/* make none */
	"__errno_location", "__stack_chk_fail", "__cxa_finalize", "__gmon_start__",
	"_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable", "getauxval", "memset",
	"memcpy", "memmove", "memcmp", "strcmp", "strlen", "strstr", "strtoul",
	"snprintf",
};

static bool inject_knows(const char *name)
{
	for (size_t i = 0; i < sizeof(inject_imports) / sizeof(inject_imports[0]); i++)
		if (!strcmp(name, inject_imports[i]))
			return true;
	return false;
}

static int inject_strangers_in(const char *file)
{
	const ElfW(Ehdr) *header = (const void *)file;
	const ElfW(Shdr) *sections = (const void *)(file + header->e_shoff);
	int strangers = 0;

	for (int i = 0; i < header->e_shnum; i++) {
		const ElfW(Sym) *symbols = (const void *)(file + sections[i].sh_offset);
		const char *names = file + sections[sections[i].sh_link].sh_offset;

		if (sections[i].sh_type != SHT_DYNSYM)
			continue;
		for (size_t j = 1; j < sections[i].sh_size / sizeof(*symbols); j++) {
			const char *name = names + symbols[j].st_name;

			if (symbols[j].st_shndx != SHN_UNDEF || inject_knows(name))
				continue;
			diag("libtld imports %s, which tests-c/support/inject.h does not know", name);
			strangers++;
		}
	}
	return strangers;
}

/* How many functions libtld imports of which this file does not know what they call. */
__attribute__((unused))
static int inject_strangers(void)
{
	int fd = open(inject_library, O_RDONLY | O_CLOEXEC), strangers;
	off_t size = lseek(fd, 0, SEEK_END);
	void *file = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);

	if (file == MAP_FAILED)
		tap_bail("%s can be read", inject_library);
	strangers = inject_strangers_in(file);
	munmap(file, size);
	close(fd);
	return strangers;
}

#endif
