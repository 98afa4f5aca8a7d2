// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * setter.bpf.c - write one value of one thread, if all is still as it was when tldctl looked.
 *
 * Runs once, in tldctl's own time, on the one task of its iterator. RCU keeps the page from
 * before the checks to behind the write, so that what is written can reach nobody else's
 * memory, even where the thread withdraws, executes or ends meanwhile.
 */
#include "walk.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct ctldctl_set request;
__u8 wanted[CTLDCTL_SET_MAX] __attribute__((aligned(8)));
__u8 before[CTLDCTL_SET_MAX] __attribute__((aligned(8)));

/* Whether entry request.entry still is the TLD, at the same place. */
static __always_inline int is_there(__u64 meta)
{
	struct tldctl_walk walk = { .meta = meta, .entries = request.entry, .first = TLDCTL_COMPARE_NONE };
	__u64 now[CTLDCTL_ENTRY / 8] = { 0 }, differs = 0;
	__u16 cnt = 0;

	if (tldctl_read(&cnt, sizeof(cnt), meta) || request.entry >= cnt ||
	    request.entry >= page_bytes / CTLDCTL_ENTRY - 1)
		return 0;
	tldctl_walk(&walk);
	if (walk.found.searched != request.entry || walk.found.off != request.off ||
	    tldctl_read(now, sizeof(now), meta + 4 + request.entry * CTLDCTL_ENTRY))
		return 0;
	for (int i = 0; i < CTLDCTL_ENTRY / 8; i++)
		differs |= now[i] ^ request.name[i];
	return !differs;
}

struct bytes {
	char *page;
	__u64 at;
};

static long write_byte(__u64 i, struct bytes *bytes)
{
	__u64 here = bytes->at + i;

	barrier_var(here);
	if (i >= CTLDCTL_SET_MAX || i >= request.size || here >= page_bytes)
		return 1;
	((volatile char *)bytes->page)[here] = wanted[i];
	return 0;
}

/*
 * 4 and 8 bytes by an exchange; 1 and 2 by one store, where another writer's value
 * between look and store would go unsaid; more, byte by byte.
 */
static __always_inline int write(char *page, __u64 at)
{
	__u32 size = request.size;

	if ((size == 8 && at & 7) || (size == 4 && at & 3) || (size == 2 && at & 1))
		return CTLDCTL_SET_UNALIGNED;
	if (!size || size > CTLDCTL_SET_MAX || at > page_bytes - size)
		return CTLDCTL_SET_MOVED;
	if (tldctl_read(before, size, request.data + at))
		return CTLDCTL_SET_MOVED;
	if (request.dry_run)
		return CTLDCTL_SET_DONE;
	if (size == 8) {
		at &= ~7ULL;
		if (at <= page_bytes - 8)
			*(__u64 *)before = __sync_lock_test_and_set((__u64 *)(page + at), *(__u64 *)wanted);
	} else if (size == 4) {
		at &= ~3ULL;
		if (at <= page_bytes - 4)
			*(__u32 *)before = __sync_lock_test_and_set((__u32 *)(page + at), *(__u32 *)wanted);
	} else if (size == 2) {
		at &= ~1ULL;
		if (at <= page_bytes - 2)
			*(volatile __u16 *)(page + at) = *(__u16 *)wanted;
	} else {
		struct bytes bytes = { .page = page, .at = at };

		bpf_loop(CTLDCTL_SET_MAX, write_byte, &bytes, 0);
	}
	return CTLDCTL_SET_DONE;
}

static __always_inline int set(struct task_struct *task)
{
	struct tldctl_namespace own = tldctl_own_namespace();
	struct tldctl_value *value;
	struct addresses at;
	char *page;

	if (tldctl_tid(task, &own) != request.tid || task->start_boottime != request.start_boottime)
		return CTLDCTL_SET_NO_TASK;
	value = bpf_task_storage_get(&tldctl_data_map, task, 0, 0);
	if (!value)
		return CTLDCTL_SET_NO_ELEMENT;
	at = tldctl_addresses(value);
	if (!at.data || !at.meta)
		return CTLDCTL_SET_NO_ELEMENT;
	if (tldctl_is_stale(task, value, tldctl_stamp(at.meta)))
		return CTLDCTL_SET_STALE;
	if (at.data != request.data || tldctl_start(value, at.data) != request.start || !is_there(at.meta))
		return CTLDCTL_SET_MOVED;
	/* The same page once more, as a pointer that the verifier lets write. */
	page = (char *)value->data;
	if (!page)
		return CTLDCTL_SET_NO_ELEMENT;
	return write(page, request.start + request.off);
}

SEC("iter/task")
int set_value(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (task)
		request.result = set(task);
	return 0;
}
