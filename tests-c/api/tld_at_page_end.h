/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* tld_at_page_end.h - the TLDs of that test, for both of its sides. */
#ifndef TESTS_C_TLD_AT_PAGE_END_H
#define TESTS_C_TLD_AT_PAGE_END_H

/* In a page of 4096, behind the 8 bytes that precede every block's data. */
#define PAGE_END_ALL (4096 - 8)
#define PAGE_END_TAIL 64

struct page_end_all {
	unsigned long long word[PAGE_END_ALL / 8];
};

struct page_end_tail {
	unsigned long long word[PAGE_END_TAIL / 8];
};

struct page_end_view {
	int err;			/* of tld_object_init() */
	int found;
	unsigned long long first, last;	/* words of the TLD */
	unsigned long long write;	/* in: replaces the last word unless 0 */
};

#endif
