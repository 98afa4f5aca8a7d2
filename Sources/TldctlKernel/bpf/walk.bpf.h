/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * walk.bpf.h - the walk over a metadata page of which only the address is known.
 *
 * What tld_page.bpf.h does through a UPTR is done by helpers here: maps have any format, pages
 * any size. What an entry means is said there, for both.
 */
#ifndef WALK_BPF_H
#define WALK_BPF_H

#include "task.bpf.h"

#define TLDCTL_COMPARE_NONE (~0ULL)

struct tldctl_walk {
	__u64 meta;			/* the page's address */
	__u64 entries;			/* no more than these; any number */
	const char *name;		/* in .rodata */
	__u64 first;			/* entries before it are not compared with name */
	struct __tld_found found;
};

/* bpf_loop()'s callback: 1 ends the walk. */
static long tldctl_walk_entry(__u64 index, struct tldctl_walk *walk)
{
	char name[TLD_NAME_LEN];
	__u64 i = index, entry;
	__u16 size = 0;
	int is_it = 0;

	barrier_var(i);
	if (i >= walk->entries || i >= page_bytes / CTLDCTL_ENTRY - 1)
		return 1;
	entry = walk->meta + 4 + i * CTLDCTL_ENTRY;
	if (tldctl_read(&size, sizeof(size), entry + TLD_NAME_LEN) || !size)
		return 1; /* being written: its place, and that of those behind it, is not known yet */
	__tld_read_barrier(); /* the kernel's user header writes size after the name */
	if (i >= walk->first) {
		if (tldctl_read(name, sizeof(name), entry))
			return 1;
		is_it = !bpf_strncmp(name, TLD_NAME_LEN, walk->name);
	}
	return __tld_pass_entry(&walk->found, i, size, is_it);
}

static __always_inline void tldctl_walk(struct tldctl_walk *walk)
{
	bpf_loop(page_bytes / CTLDCTL_ENTRY, tldctl_walk_entry, walk, 0);
}

#endif
