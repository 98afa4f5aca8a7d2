/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * task_local_data.h - drop-in for the header of that name in the Linux
 * kernel's selftests: the same functions, macros, options and structures, the
 * implementation being libtld. A new program includes tld.h, which documents
 * the functions, and nothing of what follows.
 *
 * OPTIONS, to be defined before the first inclusion:
 *
 *	TLD_DYN_DATA_SIZE - as in tld.h
 *	TLD_NAME_LEN - 62 only: it is part of the format that BPF programs read
 *	TLD_FREE_DATA_ON_THREAD_EXIT - accepted; libtld always does that
 *	TLD_DONT_ROUND_UP_DATA_SIZE - accepted; libtld does not use malloc
 */
#ifndef TLD_TASK_LOCAL_DATA_H
#define TLD_TASK_LOCAL_DATA_H

/* What the kernel's header brings in, because its users rely on it. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#ifndef __cplusplus
#include <stdatomic.h>
#endif
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/syscall.h>
#include <sys/types.h>
#ifdef TLD_FREE_DATA_ON_THREAD_EXIT
#include <pthread.h>
#endif
#include <linux/types.h>
#ifdef __has_include
#if __has_include(<bpf/bpf.h>)
#include <bpf/bpf.h>
#endif
#endif

#include "tld.h"

#ifdef __cplusplus
extern "C" {
#define TLD_ATOMIC(type) type
#else
#define TLD_ATOMIC(type) _Atomic(type)
#endif

/* The page size of this machine in bytes, a run-time fact. */
#define TLD_PAGE_SIZE getpagesize()
#define TLD_PAGE_MASK (~(TLD_PAGE_SIZE - 1))

/* x rounded up to a multiple of y, a power of two. */
#define TLD_ROUND_MASK(x, y) ((__typeof__(x))((y) - 1))
#define TLD_ROUND_UP(x, y) ((((x) - 1) | TLD_ROUND_MASK(x, y)) + 1)

/* How many TLDs a process can have: one metadata page of them. */
#define TLD_MAX_DATA_CNT (TLD_PAGE_SIZE / sizeof(struct tld_metadata) - 1)

/*
 * The structures that BPF programs read. ISO C++ has neither flexible array
 * members nor _Atomic, the compilers at hand have the former.
 */
#ifdef __cplusplus
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#endif

struct tld_metadata {
	char name[TLD_NAME_LEN];
	TLD_ATOMIC(__u16) size;		/* bytes; 0: not ready */
};

struct tld_meta_u {
	TLD_ATOMIC(__u16) cnt;		/* TLDs defined */
	__u16 size;			/* bytes that a thread's data may take */
	struct tld_metadata metadata[];
};

/* What precedes a thread's data, so that the offset of the data is never 0. */
struct tld_data_u {
	__u64 unused;
	char data[] __attribute__((aligned(8)));
};

/* The value of the data map, as of Linux 7.1. */
struct tld_map_value {
	void *data;			/* the page that holds the thread's data */
	struct tld_meta_u *meta;
	__u16 start;			/* offset of the first data byte in that page */
};

#ifdef __cplusplus
#pragma GCC diagnostic pop
#endif

/*
 * The metadata page, NULL before the first key is created. Reading it is
 * harmless; whoever writes it is on their own.
 */
extern TLD_ATOMIC(struct tld_meta_u *) tld_meta_p;

#undef TLD_ATOMIC

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* TLD_TASK_LOCAL_DATA_H */
