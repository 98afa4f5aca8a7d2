// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * peer.c - what peer.h declares, but for the loop.
 */
#include "peer_header.h"

#if PEER_AVAILABLE

const char *const peer_missing = NULL;

int peer_create_key(const char *name)
{
	return tld_create_key(name, sizeof(uint64_t)).off;
}

void *peer_get_data(int map_fd, int key)
{
	return tld_get_data(map_fd, (tld_key_t){ key });
}

#else

const char *const peer_missing =
#include "peer_reason.h"
	;

int peer_create_key(const char *name)
{
	(void)name;
	return -ENOSYS;
}

void *peer_get_data(int map_fd, int key)
{
	(void)map_fd;
	(void)key;
	return NULL;
}

#endif
