/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * peer_header.h - the kernel's user header, as it is, for peer*.c. What it defines for
 * the whole program gets other names, because libtld would take them for its own.
 */
#ifndef TESTS_C_BENCH_PEER_HEADER_H
#define TESTS_C_BENCH_PEER_HEADER_H

#include <linux/types.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>
#include "bench.h"
#include "peer.h"

#if __has_include("task_local_data.h")
#define PEER_AVAILABLE 1

#define tld_meta_p peer_meta_p
#define tld_data_p peer_data_p
#define tld_pthread_key peer_pthread_key
#define tld_pthread_key_init peer_pthread_key_init
#define TLD_DYN_DATA_SIZE BENCH_DYN_DATA_SIZE
#define TLD_FREE_DATA_ON_THREAD_EXIT

/* What it expects of the kernel's test framework. */
#define sys_gettid() gettid()
#define strscpy(array, string) ((void)stpncpy((array), (string), sizeof(array) - 1))

#include "task_local_data.h"

#else
#define PEER_AVAILABLE 0
#endif

#endif
