/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * peer.h - the kernel's own user header, compiled as it is (peer_header.h) in translation
 * units of its own, because its names are libtld's as well.
 */
#ifndef TESTS_C_BENCH_PEER_H
#define TESTS_C_BENCH_PEER_H

#include <stdint.h>

/* Why there is none: then none of the functions may be called. NULL: there is. */
extern const char *const peer_missing;

/* Define a TLD of 8 bytes: its key, or a negative errno. */
int peer_create_key(const char *name);

/* Its tld_get_data(), not inlined. */
void *peer_get_data(int map_fd, int key);

/* Nanoseconds of so many tld_get_data() with a store, after a peer_get_data(). */
uint64_t peer_store_loop(int map_fd, int key, uint64_t times);

#endif
