// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * drop_in_first.c - a translation unit in the manner of the kernel's selftest: its
 * options, its header first, nothing else included, and what that header brings.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define TLD_FREE_DATA_ON_THREAD_EXIT
#define TLD_DONT_ROUND_UP_DATA_SIZE
#define TLD_DYN_DATA_SIZE 128
#define TLD_NAME_LEN 62
#include "task_local_data.h"
#include "tld.h"
#include "units.h"

TLD_DEFINE_KEY(drop_in_key, "drop-in", 12);

int check_layout(void)
{
	return sizeof(struct tld_metadata) == 64 && offsetof(struct tld_metadata, size) == 62 &&
	       offsetof(struct tld_meta_u, size) == 2 && offsetof(struct tld_meta_u, metadata) == 4 &&
	       sizeof(struct tld_data_u) == 8 && offsetof(struct tld_data_u, data) == 8 &&
	       sizeof(struct tld_map_value) == 24 && offsetof(struct tld_map_value, meta) == 8 &&
	       offsetof(struct tld_map_value, start) == 16;
}

int check_macros(void)
{
	return TLD_PAGE_SIZE == getpagesize() && TLD_PAGE_MASK == ~(getpagesize() - 1) &&
	       TLD_ROUND_UP(1, 8) == 8 && TLD_ROUND_UP(8, 8) == 8 && TLD_ROUND_UP(9, 8) == 16 &&
	       TLD_MAX_DATA_CNT == (size_t)getpagesize() / 64 - 1;
}

int check_page(void)
{
	struct tld_meta_u *meta = tld_meta_p;

	return meta && meta->cnt == 3 && meta->size >= 128 + 3 * 8 &&
	       strlen(meta->metadata[0].name) && meta->metadata[0].size > 0;
}

/* What the kernel's header includes is there for who relies on it. */
int check_included(void)
{
	void *memory = malloc(8);
	int fd = open("/dev/null", O_RDONLY);
	__u32 number = 1;

	free(memory);
	errno = 0;
	sched_yield();
	return fd >= 0 && !close(fd) && syscall(SYS_getpid) == getpid() && number == 1 && errno == 0;
}
