/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "ctld.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <sys/utsname.h>
#include <unistd.h>

/* Older C libraries' headers lack these; the numbers are the kernel's ABI. */
#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#define OVERFLOW_UID 65534 /* DEFAULT_OVERFLOWUID of the kernel */
#ifndef BPF_FS_MAGIC
#define BPF_FS_MAGIC 0xcafe4a11
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

_Static_assert(CTLD_MAP_TYPE_TASK_STORAGE == (int) BPF_MAP_TYPE_TASK_STORAGE, "map type");
_Static_assert(CTLD_UPDATE_NO_EXIST == (int) BPF_NOEXIST, "update flag");

#define EXPORT __attribute__((visibility("default")))

EXPORT __thread struct tld_thread tld_self
	__attribute__((tls_model("initial-exec"), aligned(16))) = { .map_fd = INT32_MIN };
EXPORT void *tld_meta_p;

static __thread void *thread_record __attribute__((tls_model("initial-exec")));
static _Alignas(64) char state[CTLD_ROOMS][CTLD_STATE_SIZE];

#define STRING(x) #x
#define VERSION(major, minor) STRING(major) "." STRING(minor) ".0"

void *ctld_state(int room)
{
	return state[room];
}

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

void *ctld_meta_p_address(void)
{
	return &tld_meta_p;
}

int ctld_errno(void)
{
	return errno;
}

void ctld_set_errno(int code)
{
	errno = code;
}

const char *ctld_version(void)
{
	return VERSION(TLD_VERSION_MAJOR, TLD_VERSION_MINOR);
}

size_t ctld_page_size(void)
{
	return getauxval(AT_PAGESZ);
}

uint64_t ctld_image_stamp(void)
{
	return getauxval(AT_RANDOM);
}

/* A system call whose result is a value or a negative errno; errno stays as it was. */
static long quiet_syscall(long number, long a, long b, long c, long d)
{
	int saved = errno;
	long result = syscall(number, a, b, c, d, 0, 0);

	if (result < 0)
		result = -errno;
	errno = saved;
	return result;
}

int ctld_equal(const char *a, const char *b)
{
	return !strcmp(a, b);
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

int ctld_pidfd_open_thread(int tid)
{
	return quiet_syscall(SYS_pidfd_open, tid, PIDFD_THREAD, 0, 0);
}

/* fstat(2), which is no system call by that name everywhere; errno stays as it was. */
static int quiet_fstat(int fd, struct stat *st)
{
	int saved = errno;
	int err = fstat(fd, st) ? -errno : 0;

	errno = saved;
	return err;
}

int ctld_inode(int fd, uint64_t *inode)
{
	struct stat st;
	int err = quiet_fstat(fd, &st);

	*inode = err ? 0 : st.st_ino;
	return err;
}

int ctld_close(int fd)
{
	return quiet_syscall(SYS_close, fd, 0, 0, 0);
}

int ctld_duplicate(int fd)
{
	/* From 3 on: a program that closed its standard streams may expect to get those numbers. */
	return quiet_syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 3, 0);
}

void ctld_yield(void)
{
	sched_yield();
}

void *ctld_map(size_t bytes)
{
	int saved = errno;
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		memory = NULL;
	else
		/* A pinned page would hold its whole huge page; EINVAL where there are none. */
		madvise(memory, bytes, MADV_NOHUGEPAGE);
	errno = saved;
	return memory;
}

void ctld_unmap(void *address, size_t bytes)
{
	quiet_syscall(SYS_munmap, (long)address, bytes, 0, 0);
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

int ctld_discard(void *address, size_t bytes)
{
	int err = quiet_syscall(SYS_madvise, (long)address, bytes, MADV_DONTNEED, 0);

	/* A program that called mlockall() has its pages locked, ours too. */
	if (err)
		err = quiet_syscall(SYS_madvise, (long)address, bytes, MADV_DONTNEED_LOCKED, 0);
	return err;
}

void ctld_futex_wait(void *word, uint32_t value)
{
	quiet_syscall(SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, value, 0);
}

void ctld_futex_wake_one(void *word)
{
	quiet_syscall(SYS_futex, (long)word, FUTEX_WAKE_PRIVATE, 1, 0);
}

static int bpf(int command, union bpf_attr *attr)
{
	return quiet_syscall(SYS_bpf, command, (long)attr, sizeof(*attr), 0);
}

int ctld_bpf_map_info(int map, struct ctld_map_info *info)
{
	struct bpf_map_info kernel_info;
	union bpf_attr attr;
	int err;

	memset(&kernel_info, 0, sizeof(kernel_info));
	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = map;
	attr.info.info_len = sizeof(kernel_info);
	attr.info.info = (uintptr_t)&kernel_info;
	err = bpf(BPF_OBJ_GET_INFO_BY_FD, &attr);
	info->type = kernel_info.type;
	info->id = kernel_info.id;
	info->key_size = kernel_info.key_size;
	info->value_size = kernel_info.value_size;
	return err;
}

int64_t ctld_bpf_map_id(int map)
{
	/* No more of it is asked for. */
	struct {
		uint32_t type, id;
	} info = { 0, 0 };
	union bpf_attr attr;
	int err;

	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = map;
	attr.info.info_len = sizeof(info);
	attr.info.info = (uintptr_t)&info;
	err = bpf(BPF_OBJ_GET_INFO_BY_FD, &attr);
	return err ? err : (int64_t)info.id;
}

static int bpf_element(int command, int map, int pidfd, const void *value, uint64_t flags)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = map;
	attr.key = (uintptr_t)&pidfd;
	attr.value = (uintptr_t)value;
	attr.flags = flags;
	return bpf(command, &attr);
}

int ctld_bpf_map_update(int map, int pidfd, const void *value, uint64_t flags)
{
	return bpf_element(BPF_MAP_UPDATE_ELEM, map, pidfd, value, flags);
}

int ctld_bpf_map_delete(int map, int pidfd)
{
	return bpf_element(BPF_MAP_DELETE_ELEM, map, pidfd, NULL, 0);
}

/*
 * Whether a file is root's or the caller's. In a user namespace all users that it does
 * not map look like the overflow id, root as well as strangers, and the caller maybe, too.
 */
static int is_trusted(uid_t owner)
{
	char map[64] = "";
	int fd;

	if (owner == 0)
		return 1;
	if (owner != geteuid())
		return 0;
	if (owner != OVERFLOW_UID)
		return 1;
	fd = quiet_syscall(SYS_openat, AT_FDCWD, (long)"/proc/self/uid_map", O_RDONLY | O_CLOEXEC, 0);
	quiet_syscall(SYS_read, fd, (long)map, sizeof(map) - 1, 0);
	ctld_close(fd);
	/* "0 0 4294967295": all of them */
	return strstr(map, " 4294967295\n") != NULL;
}

int ctld_open_pin(const char *path, struct ctld_pin *pin)
{
	int fd = quiet_syscall(SYS_openat, AT_FDCWD, (long)path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
	struct statfs fs;
	struct stat st;
	int err;

	if (fd < 0)
		return fd;
	err = quiet_fstat(fd, &st);
	if (!err)
		err = quiet_syscall(SYS_fstatfs, fd, (long)&fs, 0, 0);
	if (err) {
		ctld_close(fd);
		return err;
	}
	pin->is_bpffs = (uint32_t)fs.f_type == BPF_FS_MAGIC;
	pin->is_file = S_ISREG(st.st_mode);
	pin->is_link = S_ISLNK(st.st_mode);
	pin->is_trusted_owner = is_trusted(st.st_uid);
	pin->inode = st.st_ino;
	pin->others_may_write = (st.st_mode & S_IWOTH) != 0;
	return fd;
}

int ctld_bpf_obj_get(int pin)
{
	char path[32];
	union bpf_attr attr;

	/* The very file that was opened, whatever its name leads to by now. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", pin);
	memset(&attr, 0, sizeof(attr));
	attr.pathname = (uintptr_t)path;
	attr.file_flags = BPF_F_WRONLY;
	return bpf(BPF_OBJ_GET, &attr);
}

int ctld_inotify_open(void)
{
	return quiet_syscall(SYS_inotify_init1, IN_NONBLOCK | IN_CLOEXEC, 0, 0, 0);
}

int ctld_inotify_add(int inotify, const char *directory)
{
	return quiet_syscall(SYS_inotify_add_watch, inotify, (long)directory,
			     IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB |
			     IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR, 0);
}

void ctld_inotify_remove(int inotify, int watch)
{
	quiet_syscall(SYS_inotify_rm_watch, inotify, watch, 0, 0);
}

/* A pipe, because it has an inode of its own by which it is known again; an eventfd has none. */
int ctld_wake_open(struct ctld_wake *wake)
{
	int ends[2], err = quiet_syscall(SYS_pipe2, (long)ends, O_NONBLOCK | O_CLOEXEC, 0, 0);

	if (err)
		return err;
	wake->sleeper = ends[0];
	wake->waker = ends[1];
	ctld_inode(wake->sleeper, &wake->inode); /* or 0: it is taken for open */
	return 0;
}

int ctld_wake_is_open(const struct ctld_wake *wake)
{
	struct stat st;
	int err = wake->inode ? quiet_fstat(wake->sleeper, &st) : -ENOENT;

	return err ? err != -EBADF : S_ISFIFO(st.st_mode) && st.st_ino == wake->inode;
}

void ctld_wake_up(const struct ctld_wake *wake)
{
	if (ctld_wake_is_open(wake))
		quiet_syscall(SYS_write, wake->waker, (long)"", 1, 0);
}

/* Read all that there is to read; 0 if that fails. */
static int drain(const struct pollfd *fd)
{
	char events[2048];
	long n = 1;

	while (fd->revents && n > 0)
		n = quiet_syscall(SYS_read, fd->fd, (long)events, sizeof(events), 0);
	return n >= 0 || n == -EAGAIN;
}

void ctld_wait_events(int inotify, const struct ctld_wake *wake, int ms)
{
	struct pollfd fds[] = { { inotify, POLLIN, 0 }, { wake->sleeper, POLLIN, 0 } };
	struct timespec timeout = { ms / 1000, ms % 1000 * 1000000L }, second = { 1, 0 };
	int ready = quiet_syscall(SYS_ppoll, (long)fds, 2, (long)&timeout, 0);

	/* Whatever is wrong, nobody is served by a thread that spins, or reads others' files. */
	if (ready < 0 || (ready > 0 && !(ctld_wake_is_open(wake) && drain(&fds[0]) && drain(&fds[1]))))
		quiet_syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, (long)&second, 0);
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

int ctld_kernel_predates_uptr(void)
{
	struct utsname name;
	unsigned long major, minor;
	char *end;

	if (uname(&name))
		return 0;
	major = strtoul(name.release, &end, 10);
	minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;
	return major < 6 || (major == 6 && minor < 13);
}
