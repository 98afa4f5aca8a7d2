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
 *	uint32_t *request = tld_get_data(map_fd, request_key);
 *	if (request)
 *		*request = 7;
 *
 * All sizes are in bytes. Every function may be called from every thread at
 * the same time as any other. In a signal handler, see each function's
 * "Signals" line. What libtld allocates is never malloc memory.
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
 *	ENOMEM		no memory
 *	EAGAIN		the kernel was busy: try again; or called from a signal
 *			handler that interrupted libtld
 *
 * Threads: MT-safe. Signals: async-signal-safe in a thread that has called it
 * before with this @map_fd and a key at or behind this one; else as EAGAIN says.
 * errno is changed on failure only.
 */
void *tld_get_data(int map_fd, tld_key_t key);

/**
 * tld_free() - stop sharing the calling thread's data
 *
 * Withdraws the thread from every map and clears its data; pointers from
 * tld_get_data() must not be used any more. When it returns, no later look-up
 * by a BPF program finds the thread; where the kernel refuses that, for want of a
 * descriptor say, BPF finds zeros. A further tld_get_data() shares it again.
 * There is no need to call it at thread exit: libtld does so.
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

/* What tld_get_data() calls when its inline comparison does not suffice. */
void *tld_get_data_slow(int map_fd, tld_key_t key);

/*
 * State of one thread. A key below limit is the start of a TLD that lies wholly
 * within the thread's memory, because keys are prefix sums of sizes and limit is
 * the end of one. An error key is negative, so as unsigned never below. limit is
 * 0 while the thread is published nowhere; map_fd is INT_MIN while tld_get_data()
 * has no map for it. Another thread may change map_fd; all else is the thread's own.
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

TLD_INLINE void *tld_inline_get_data(int map_fd, tld_key_t key)
{
	uint16_t off = (uint16_t)key.off;

	if (__builtin_expect(off < __atomic_load_n(&tld_self.limit, __ATOMIC_RELAXED) &&
			     map_fd == __atomic_load_n(&tld_self.map_fd, __ATOMIC_RELAXED), 1))
		return __atomic_load_n(&tld_self.base, __ATOMIC_RELAXED) + off;
	return tld_get_data_slow(map_fd, key);
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
