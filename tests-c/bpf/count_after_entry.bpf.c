// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * count_after_entry.bpf.c - reads the count of TLDs and at once the last entry that
 * is counted, over and over. Format v2, from the wire formats.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "count_after_entry.h"

#define WATCH_ENTRIES 63

typedef struct {
	unsigned short cnt, size;
	struct {
		char name[62];
		unsigned short size;
	} entry[WATCH_ENTRIES];
} watch_meta;

typedef struct {
	char byte[4096];
} watch_page;

#define __watch_uptr __attribute__((btf_type_tag("uptr")))

struct watch_value {
	watch_page __watch_uptr *data;
	watch_meta __watch_uptr *meta;
	unsigned short start;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct watch_value);
} watch_map SEC(".maps");

struct table_watch watch;

struct watch_loop {
	watch_meta *meta;
	unsigned long long last_cnt;
};

static long look_once(__u64 index, struct watch_loop *loop)
{
	watch_meta *meta = loop->meta;
	unsigned long long i = *(volatile unsigned short *)&meta->cnt;
	unsigned short size;
	char first;

	watch.looks++;
	watch.counts_seen += i != loop->last_cnt;
	loop->last_cnt = i;
	i -= 1;
	if (i < WATCH_ENTRIES) {
		size = *(volatile unsigned short *)&meta->entry[i].size;
		first = *(volatile char *)&meta->entry[i].name[0];
		watch.half_made += !size || !first;
		watch.changed += *(volatile unsigned short *)&meta->entry[i].size != size;
	}
	return *(volatile unsigned int *)&watch.stop != 0;
}

/* 2^23 turns of the inner loop are the most there is, and less than a second. */
static long look_longer(__u64 index, struct watch_loop *loop)
{
	bpf_loop(1 << 23, look_once, loop, 0);
	return *(volatile unsigned int *)&watch.stop != 0;
}

SEC("syscall")
int watch_table(void *ctx)
{
	struct watch_value *value;
	struct watch_loop loop = { 0 };

	value = bpf_task_storage_get(&watch_map, bpf_get_current_task_btf(), 0, 0);
	if (!value)
		return 1;
	loop.meta = value->meta;
	if (!loop.meta)
		return 1;
	loop.last_cnt = loop.meta->cnt;
	*(volatile unsigned int *)&watch.watching = 1;
	bpf_loop(100, look_longer, &loop, 0);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
