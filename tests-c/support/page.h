/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * page.h - the metadata page as docs/reference/wire.md draws it, read by byte offsets, so that a
 * structure of the header that is wrong cannot hide itself.
 */
#ifndef TESTS_C_PAGE_H
#define TESTS_C_PAGE_H

#include <limits.h>
#include "process.h"
#include "task_local_data.h"

#define PAGE_NAME_BYTES 62
#define PAGE_TAIL_BYTES 60
/* The largest sum of sizes for which every key is a positive s16. */
#define PAGE_KEY_END 32760

__attribute__((unused))
static char *page_start(void)
{
	return (char *)__atomic_load_n((void **)&tld_meta_p, __ATOMIC_ACQUIRE);
}

static inline uint16_t page_u16(size_t offset)
{
	return __atomic_load_n((uint16_t *)(page_start() + offset), __ATOMIC_ACQUIRE);
}

static inline unsigned int page_cnt(void)
{
	return page_u16(0);
}

static inline unsigned int page_size_field(void)
{
	return page_u16(2);
}

static inline const char *page_name(unsigned int i)
{
	return page_start() + 4 + 64 * i;
}

static inline unsigned int page_entry_size(unsigned int i)
{
	return page_u16(4 + 64 * i + PAGE_NAME_BYTES);
}

static inline unsigned int page_entries(void)
{
	return getpagesize() / 64 - 1;
}

/* What all TLDs may take together on this machine. */
static inline unsigned int page_capacity(void)
{
	return getpagesize() - 8 < PAGE_KEY_END ? getpagesize() - 8 : PAGE_KEY_END;
}

static inline unsigned int round_up_8(unsigned int n)
{
	return (n + 7) / 8 * 8;
}

/* The entry is exactly this name, zero-padded, and this size. */
__attribute__((unused))
static bool page_entry_is(unsigned int i, const char *name, unsigned int size)
{
	char want[PAGE_NAME_BYTES] = { 0 };

	memcpy(want, name, strlen(name));
	return !memcmp(page_name(i), want, sizeof(want)) && page_entry_size(i) == size;
}

/* What the kernel's own test does between its cases. */
__attribute__((unused))
static void page_reset(unsigned int keep, unsigned int size)
{
	struct tld_meta_u *meta = tld_meta_p;

	meta->cnt = keep;
	meta->size = size;
	memset(&meta->metadata[keep], 0,
	       (TLD_MAX_DATA_CNT - keep) * sizeof(struct tld_metadata));
}

/* Create a dynamic TLD with a budget of its own asking. */
static inline tld_key_t create_asking(const char *name, size_t size, size_t dyn_data_size)
{
	return tld_create_key_opt(name, size, dyn_data_size, 0);
}

static inline tld_key_t create_static(const char *name, size_t size)
{
	return tld_create_key_opt(name, size, TLD_DYN_DATA_SIZE, TLD_KEY_STATIC);
}

#endif
