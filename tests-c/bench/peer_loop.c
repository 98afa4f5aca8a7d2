// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * peer_loop.c - the loop of peer.h. By itself, because the compiler inlines the kernel's
 * tld_get_data() where it is called once in a translation unit.
 */
#include "peer_header.h"
#include "stores.h"

#if PEER_AVAILABLE

/* As a program has them: variables of the file. */
static int map_fd;
static tld_key_t key;

uint64_t peer_store_loop(int fd, int off, uint64_t times)
{
	map_fd = fd;
	key.off = off;
	__asm__ volatile("" ::: "memory");
	return STORE_LOOP(times, STORE_THROUGH(tld_get_data(map_fd, key)));
}

#else

uint64_t peer_store_loop(int fd, int off, uint64_t times)
{
	(void)fd;
	(void)off;
	return times;
}

#endif
