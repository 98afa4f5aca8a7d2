/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * tld.h - task local data: per-thread variables that BPF programs read.
 *
 * A TLD is a named variable of which every thread has its own copy. The
 * program stores through a pointer, with no system call; a BPF program that
 * owns a task local data map (see bpf/task_local_data.bpf.h) reads the same
 * bytes by the same name.
 *
 *	TLD_DEFINE_KEY(request_key, "request", sizeof(uint32_t));
 *	...
 *	tld_follow("/sys/fs/bpf/sched/hints");	// once: where a scheduler pins its map
 *	...
 *	uint32_t *request = tld_get(request_key);
 *	if (request)
 *		*request = 7;
 *
 * A program that has a descriptor of the map passes that to tld_attach() once, or
 * to tld_get_data() each time.
 *
 * All sizes are in bytes. Every function may be called from every thread at
 * the same time as any other. In a signal handler, see each function's
 * "Signals" line. In a child of vfork() that has not executed a program yet, slow calls
 * fail with EAGAIN; creating and finding keys acts on the parent's table. What libtld
 * allocates is never malloc memory.
 *
 * OPTIONS, to be defined before the first inclusion:
 *
 *	TLD_DYN_DATA_SIZE - bytes that each thread keeps for TLDs that
 *	tld_create_key() makes (default 64). Memory for those that
 *	TLD_DEFINE_KEY() defines is added by itself. Where several translation
 *	units or libraries ask, the largest counts.
 */
#ifndef TLD_H
#define TLD_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define TLD_VERSION_MAJOR 1
#define TLD_VERSION_MINOR 0

#ifndef TLD_DYN_DATA_SIZE
#define TLD_DYN_DATA_SIZE 64
#endif

/* Bytes of a TLD's name, the terminating NUL included: a field of the format. */
#ifndef TLD_NAME_LEN
#define TLD_NAME_LEN 62
#elif TLD_NAME_LEN != 62
#error "TLD_NAME_LEN is part of the format that BPF programs read: libtld supports 62 only"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/**
 * tld_key_t - names a TLD within this process.
 *
 * Opaque. Holds the offset of the TLD in a thread's data, or a negative errno.
 */
typedef struct {
	int16_t off;
} tld_key_t;

/**
 * tld_create_key() - define a TLD while the program runs
 *
 * @name: the name by which BPF programs find it: 1 to 61 bytes, any but NUL.
 * The bytes are copied.
 * @size: its size in bytes, at least 1. Every thread's copy starts as zeros, at
 * an address that is a multiple of 8.
 *
 * A TLD exists until the process ends. Threads whose memory was laid out before
 * and is too small for it get E2BIG from tld_get_data().
 *
 * Return: the key, or a key that holds (tld_key_is_err(), tld_key_err_or_zero())
 *	-EINVAL		@name is NULL or empty, or @size is 0
 *	-ENAMETOOLONG	@name has 62 bytes or more
 *	-EEXIST		a TLD of that name exists (tld_find_key() gives its key)
 *	-E2BIG		@size exceeds what is left of TLD_DYN_DATA_SIZE, or of a page
 *	-ENOSPC		the table is full: 63 TLDs on 4 KiB pages, 255 on 16 KiB
 *	-ENOMEM		no memory
 *	-EAGAIN		the process has no pthread key left; or called from a signal
 *			handler that interrupted libtld
 *	-EBUSY		the kernel's own user header is in use in this process
 *
 * Threads: MT-safe. Signals: not async-signal-safe; -EAGAIN where it interrupts
 * libtld. errno is left alone.
 */
tld_key_t tld_create_key(const char *name, size_t size);

/**
 * tld_find_key() - the key of a TLD that exists, whoever defined it
 *
 * @name: its name
 *
 * Return: the key, or one that holds -EINVAL (NULL or empty name) or -ENOENT.
 *
 * Threads: MT-safe. Signals: async-signal-safe. errno is left alone.
 */
tld_key_t tld_find_key(const char *name);

/**
 * tld_key_is_err() - whether a key holds an error instead of a TLD
 *
 * Threads: MT-safe. Signals: async-signal-safe.
 */
bool tld_key_is_err(tld_key_t key);

/**
 * tld_key_err_or_zero() - the negative errno that a key holds, or 0
 *
 * Threads: MT-safe. Signals: async-signal-safe.
 */
int tld_key_err_or_zero(tld_key_t key);

/**
 * tld_get_data() - the calling thread's copy of a TLD
 *
 * @map_fd: a task local data map: a BPF task storage map whose value begins
 * with two UPTRs, writable through this descriptor
 * @key: from TLD_DEFINE_KEY(), tld_create_key() or tld_find_key()
 *
 * The thread's first call with a map makes its data readable by the BPF programs
 * that use that map. A thread may pass several maps and is then seen through
 * each. Further calls with the same @map_fd take no system call: they compare
 * the number, so before a descriptor is closed and its number is used for
 * another map, call tld_free() in the threads that passed it.
 *
 * Return: a pointer, 8-aligned, to as many bytes as the TLD has, which the thread
 * (and others, if it hands it on) may use until it exits or calls tld_free();
 * NULL with errno
 *	EINVAL		@key is no key of this process, or @map_fd is no task local
 *			data map
 *	EBADF		@map_fd is not open
 *	E2BIG		this thread's memory, laid out before the TLD was created,
 *			cannot hold it
 *	EOPNOTSUPP	the kernel has no UPTR (Linux before 6.13)
 *	EPERM, ENOSYS	the kernel, or a sandbox, refuses bpf(2) or pidfd_open(2), or
 *			@map_fd may not be written
 *	EXDEV		the map has the format of Linux 6.18 to 7.0, which cannot
 *			describe this thread's memory; threads started later work
 *	EMFILE, ENFILE	no file descriptor left (the first call needs one or two)
 *	ENOSPC		8 maps are attached, and this is not one of them
 *	ENOMEM		no memory
 *	EAGAIN		the kernel was busy: try again; or called from a signal
 *			handler that interrupted libtld
 *
 * Threads: MT-safe. Signals: async-signal-safe in a thread that has called it
 * before with this @map_fd and a key at or behind this one, while no map has been
 * detached since; else as EAGAIN says. errno is changed on failure only.
 */
void *tld_get_data(int map_fd, tld_key_t key);

/**
 * tld_get() - the calling thread's copy of a TLD, whatever maps there are
 *
 * @key: from TLD_DEFINE_KEY(), tld_create_key() or tld_find_key()
 *
 * Needs no map and no kernel support: what is stored becomes readable by BPF when a
 * map is attached (tld_attach(), tld_follow()). The thread's first call makes its
 * data readable through every map that is attached. A map in which that fails
 * does not keep the program from storing: the following calls try again, and
 * tld_publish() says why.
 *
 * Return: a pointer as tld_get_data() gives it; NULL with errno
 *	EINVAL		@key is no key of this process
 *	E2BIG		this thread's memory, laid out before the TLD was created,
 *			cannot hold it
 *	ENOMEM		no memory
 *	EAGAIN		called from a signal handler that interrupted libtld; or no
 *			descriptor can be had in the first call of a thread that is referred
 *			to already (tld_ref_thread())
 *
 * Threads: MT-safe. Signals: async-signal-safe in a thread that has called it
 * before, while every attached map served it, with a key at or behind this one;
 * else as EAGAIN says. errno is changed on failure only.
 */
void *tld_get(tld_key_t key);

/**
 * tld_publish() - make the calling thread's data readable by BPF now
 *
 * In every attached map, and in those that the thread passed to tld_get_data().
 * The next tld_get() would do the same; this is for a thread that keeps its
 * pointers instead: after fork(), in the child, and before the first tld_get() if
 * the thread wants to know what fails.
 *
 * Return: 0, also where there is no map; -EINVAL if no TLD exists; else the first
 * error that a map gave, a negative errno as tld_get_data() has them. Every map
 * is tried.
 *
 * Threads: MT-safe. Signals: -EAGAIN in a handler that interrupted libtld. errno is
 * left alone.
 */
int tld_publish(void);

/**
 * tld_attach() - make every thread's data readable through a map
 *
 * @map_fd: a task local data map, as in tld_get_data(). It may be closed
 * afterwards: libtld keeps a close-on-exec duplicate. Who closes that, too, like a
 * daemon that closes all descriptors, attaches (or follows) again; until then
 * tld_publish() says -EBADF or -EINVAL.
 *
 * Every thread of the process that has data, now; every other from its first use of
 * a TLD on; a child of fork() from its next call on. Attaching the same map again
 * changes nothing but tries again what failed. At most 8 maps are served at a time;
 * one that is known from tld_get_data() only gives way.
 *
 * Return: 0, or a negative errno. The map is attached nevertheless, and some
 * thread is not readable through it, after
 *	-EXDEV		the map has the format of Linux 6.18 to 7.0, which cannot
 *			describe that thread's memory; threads that start later work
 *	-EAGAIN, -ENOMEM, -EMFILE, -ENFILE  try again (-EAGAIN also while a thread whose first
 *			call could not open its pidfd has not called tld_publish())
 * If nothing could be confirmed about the map, these and the following mean that
 * it is not attached:
 *	-EBADF		@map_fd is not open
 *	-EINVAL		it is no task local data map
 *	-EOPNOTSUPP	the kernel has no UPTR (Linux before 6.13)
 *	-EPERM, -ENOSYS	the kernel, or a sandbox, refuses bpf(2) or pidfd_open(2), or
 *			@map_fd may not be written
 *	-ENOSPC		8 maps are attached
 *
 * Threads: MT-safe. Signals: -EAGAIN in a handler that interrupted libtld. errno is
 * left alone.
 */
int tld_attach(int map_fd);

/**
 * tld_detach() - withdraw every thread from a map
 *
 * @map_fd: any descriptor of the map
 *
 * Also for a map that is known from tld_get_data() only; a further tld_get_data()
 * with it publishes that thread again. Data and pointers stay as they are. When it
 * returns 0, no later look-up by a BPF program finds a thread of this process.
 *
 * Return: 0; -EBADF; -EINVAL if it is no task local data map; -ENOENT if it is not known;
 * another negative errno if some thread could not be withdrawn (try again).
 *
 * Threads: MT-safe. Signals: -EAGAIN in a handler that interrupted libtld. errno is
 * left alone.
 */
int tld_detach(int map_fd);

/**
 * tld_detach_id() - the same by the map's id, for who has no descriptor left
 */
int tld_detach_id(uint32_t map_id);

/**
 * tld_follow() - attach whatever map is pinned at a path, from now on
 *
 * @pin_path: an absolute path in a BPF file system, of less than 4096 bytes
 *
 * If a map is pinned there, it is attached before the call returns. When the pin
 * goes, the map is detached; when another map is pinned there, that one is attached.
 * A thread of libtld's own, "tld-follow", watches: by inotify where the file
 * system allows it, else, and while there is nothing to attach, by looking once a
 * second. The pin must belong to root or to the caller and must not be writable by
 * others: who can replace it reads this program's data, and who can write the
 * map can forge them (see docs/guide/trust.md).
 *
 * Paths are counted: each tld_follow() is undone by one tld_unfollow(). At most 8
 * different paths. A forked child keeps the maps that were attached, but watches
 * nothing until it calls tld_follow() itself.
 *
 * Return: 0: the path is followed, see tld_follow_status() for what is there;
 *	-EINVAL		@pin_path is NULL or not absolute
 *	-ENAMETOOLONG	it has 4096 bytes or more
 *	-ENOSPC		8 paths are followed
 *	-ENOMEM, -EAGAIN no memory, or no thread could be started
 *
 * Threads: MT-safe. Signals: -EAGAIN in a handler that interrupted libtld. errno is
 * left alone.
 */
int tld_follow(const char *pin_path);

/**
 * tld_unfollow() - undo one tld_follow(); the last one detaches the map
 *
 * Return: 0; -EINVAL, -ENAMETOOLONG as tld_follow(); -ENOENT if the path is not
 * followed; another negative errno if some thread could not be withdrawn: the path is
 * still followed, try again. Threads and signals as tld_follow().
 */
int tld_unfollow(const char *pin_path);

/**
 * tld_follow_status() - whether a followed path's map is attached, or why not
 *
 * Return: 0: a map is attached, and every thread readable through it; or, as of the
 * last look, which was at most a second ago if there is nothing to attach,
 *	-ENOENT		nothing is pinned there, or its directory does not exist; also
 *			if the path is not followed
 *	-EACCES		the directory may not be searched, or the pin not be opened
 *	-EPERM		it does not lie in a BPF file system, belongs to somebody else than
 *			root and the caller, or others may write it; or bpf(2) is refused
 *	-ELOOP		the path ends in a symbolic link
 *	-EINVAL		what is pinned there is no task local data map
 *	-ECANCELED	the map that is pinned there was detached by tld_detach()
 *	-ECHILD		followed by the parent process: call tld_follow() again
 *	another one	as tld_attach() gives it
 *
 * Threads: MT-safe. Signals: -EAGAIN in a handler that interrupted libtld. errno is
 * left alone.
 */
int tld_follow_status(const char *pin_path);

/**
 * tld_ref_thread() - a reference to another thread's data
 *
 * @tid: a thread of this process, as gettid() says
 *
 * For a dispatcher that sets what its workers' TLDs say. A thread that has no data
 * yet gets some, readable through the attached maps at once (a map that refuses gets
 * them at the next tld_attach(), which says why, or when the thread uses TLDs), and finds
 * them when it uses TLDs. The reference keeps the memory, not the thread: after the thread has
 * ended, pointers stay valid, to data that its end has cleared (unless it ended without
 * pthread destructors), and BPF sees nothing of them, until tld_unref_thread().
 *
 * Return: the reference, or NULL with errno
 *	EINVAL		@tid is not positive, or no TLD exists yet
 *	ESRCH		no thread of this process has that id
 *	ENOMEM, EMFILE, ENFILE, EPERM, ENOSYS, EOPNOTSUPP  memory or pidfd_open(2) is
 *			not to be had
 *	EAGAIN		called from a signal handler that interrupted libtld
 *
 * Threads: MT-safe. Signals: EAGAIN in a handler that interrupted libtld. errno is
 * changed on failure only.
 */
struct tld_thread_ref *tld_ref_thread(pid_t tid);

/**
 * tld_ref_get() - the referred thread's copy of a TLD
 *
 * Return: a pointer that is valid until tld_unref_thread(); NULL with errno
 *	EINVAL		@ref is NULL, or @key no key of this process
 *	E2BIG		the thread's memory cannot hold it
 *
 * Threads: MT-safe. Signals: async-signal-safe. errno is changed on failure only.
 */
void *tld_ref_get(const struct tld_thread_ref *ref, tld_key_t key);

/**
 * tld_unref_thread() - give a reference back; NULL is ignored
 *
 * Threads: MT-safe. Signals: must not be called in a handler. errno is left alone.
 */
void tld_unref_thread(struct tld_thread_ref *ref);

/**
 * tld_free() - stop sharing the calling thread's data
 *
 * Withdraws the thread from every map and clears its data; pointers from
 * tld_get_data() must not be used any more. When it returns, no later look-up
 * by a BPF program finds the thread; where the kernel refuses that, for want of a
 * descriptor say, BPF finds zeros. A further tld_get() or tld_get_data() shares it
 * again, tld_attach() does not. There is no need to call it at thread exit: libtld
 * does so.
 *
 * Threads: MT-safe, concerns the calling thread only. Signals: does nothing in a
 * handler that interrupted libtld. errno is left alone.
 */
void tld_free(void);

/**
 * tld_version() - the version of the library in use, "major.minor.patch"
 *
 * Return: a static string. Threads: MT-safe. Signals: async-signal-safe.
 */
const char *tld_version(void);

/*
 * From here on: what the macros below need. Programs do not use it by name, but
 * layout and symbols are ABI.
 */

/* Flags of tld_create_key_opt(). */
#define TLD_KEY_STATIC 1u /* as TLD_DEFINE_KEY(): see there */

/**
 * tld_create_key_opt() - what TLD_DEFINE_KEY() and tld_create_key() call
 *
 * @dyn_data_size: the caller's TLD_DYN_DATA_SIZE
 * @flags: 0 or TLD_KEY_STATIC; others give -EINVAL
 */
tld_key_t tld_create_key_opt(const char *name, size_t size, size_t dyn_data_size,
			     unsigned int flags);

/* What tld_get_data() and tld_get() call when their inline comparison does not suffice. */
void *tld_get_data_slow(int map_fd, tld_key_t key);
void *tld_get_slow(tld_key_t key);

/*
 * State of one thread. A key below limit is the start of a TLD that lies wholly
 * within the thread's memory, because keys are prefix sums of sizes and limit is
 * the end of one. An error key is negative: cast to uint16_t it is at least 32768,
 * so never below limit. limit is 0 until the thread is published wherever it should be; map_fd is INT_MIN while
 * tld_get_data() has no map for it. Another thread may change map_fd; all else is
 * the thread's own.
 */
struct tld_thread {
	char *base;
	int map_fd;
	uint16_t limit;
	uint16_t flags;
};

extern __thread struct tld_thread tld_self
	__attribute__((tls_model("initial-exec"), aligned(16)));

#ifdef __cplusplus
#define TLD_STATIC_ASSERT static_assert
#else
#define TLD_STATIC_ASSERT _Static_assert
#endif
TLD_STATIC_ASSERT(sizeof(tld_key_t) == 2, "tld_key_t is ABI");
TLD_STATIC_ASSERT(sizeof(struct tld_thread) == 16, "struct tld_thread is ABI");
TLD_STATIC_ASSERT(offsetof(struct tld_thread, map_fd) == 8, "struct tld_thread is ABI");
TLD_STATIC_ASSERT(offsetof(struct tld_thread, limit) == 12, "struct tld_thread is ABI");
TLD_STATIC_ASSERT(offsetof(struct tld_thread, flags) == 14, "struct tld_thread is ABI");

#ifndef TLD_NO_INLINE

/*
 * Each public name above is a real symbol, for function pointers and for other
 * languages. The function-like macros of the same names lead C and C++ callers
 * to these inline functions.
 */
#define TLD_INLINE static inline __attribute__((always_inline, unused))

/* A key below the limit: there is a base, so that callers need not compare with NULL. */
TLD_INLINE void *tld_inline_at(tld_key_t key)
{
	char *base = tld_self.base;

	if (!base)
		__builtin_unreachable();
	return base + (uint16_t)key.off;
}

TLD_INLINE void *tld_inline_get_data(int map_fd, tld_key_t key)
{
	if (__builtin_expect((uint16_t)key.off < tld_self.limit &&
			     map_fd == __atomic_load_n(&tld_self.map_fd, __ATOMIC_RELAXED), 1))
		return tld_inline_at(key);
	return tld_get_data_slow(map_fd, key);
}

TLD_INLINE void *tld_inline_get(tld_key_t key)
{
	if (__builtin_expect((uint16_t)key.off < tld_self.limit, 1))
		return tld_inline_at(key);
	return tld_get_slow(key);
}

TLD_INLINE bool tld_inline_key_is_err(tld_key_t key)
{
	return key.off < 0;
}

TLD_INLINE int tld_inline_key_err_or_zero(tld_key_t key)
{
	return key.off < 0 ? key.off : 0;
}

#define tld_get_data(...) tld_inline_get_data(__VA_ARGS__)
#define tld_get(...) tld_inline_get(__VA_ARGS__)
#define tld_key_is_err(...) tld_inline_key_is_err(__VA_ARGS__)
#define tld_key_err_or_zero(...) tld_inline_key_err_or_zero(__VA_ARGS__)
#define tld_create_key(name, size) tld_create_key_opt((name), (size), TLD_DYN_DATA_SIZE, 0)

/**
 * TLD_DEFINE_KEY() - define a TLD before main() starts, and a variable with its key
 *
 * @key: the name of the variable, of type tld_key_t. It is visible in this
 * program or library only (declare it elsewhere with extern), and holds -EAGAIN
 * until the definition's constructor, of priority 101, has run.
 * @name: @size: as in tld_create_key()
 *
 * At file scope, with a semicolon. Memory for it comes from the page, not from
 * TLD_DYN_DATA_SIZE. A TLD of that name and size that exists is used: two
 * libraries that define it share it, and a plugin finds it again when it is
 * loaded anew; with another size the key holds -EEXIST. Other errors are those
 * of tld_create_key().
 */
#define TLD_DEFINE_KEY(key, name, size)							\
	extern __attribute__((visibility("hidden"))) tld_key_t key;			\
	__attribute__((constructor(101))) static void tld_define_key_##key(void)	\
	{										\
		key = tld_create_key_opt((name), (size), TLD_DYN_DATA_SIZE,		\
					 TLD_KEY_STATIC);				\
	}										\
	tld_key_t key = { -EAGAIN }

#endif /* TLD_NO_INLINE */

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* TLD_H */
