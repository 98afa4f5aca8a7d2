// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * reader.bpf.c - one record for each task that publishes in a data map.
 *
 * Runs when tldctl reads the iterator, in tldctl's own time: nothing is attached that the
 * watched programs would run, and nobody is stopped. All in their pages is hostile: it is
 * copied, bounded, by helpers that cannot fault, and interpreted in user space, but for the
 * sizes of the TLDs, which say how much to copy.
 */
#include "walk.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";


/*
 * Buffers of one page each, and what was written last, which only the reader that owns this
 * object uses. The metadata page is kept 4 bytes in, so that its entries are aligned.
 */
enum { DATA, DATA_AGAIN, META, META_LAST, CHANGED, BUFFERS };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BUFFERS);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, 4096 + 8); /* the loader sets what the machine's page wants */
} buffers SEC(".maps");

/* In: only this process; 0 for all. */
__u32 only_tgid;

/* What META_LAST has, written before by this iteration, and what META has. */
struct ctldctl_meta last, now;

static __always_inline __u64 *buffer(__u32 which)
{
	return bpf_map_lookup_elem(&buffers, &which);
}

/*
 * The loops are bpf_loop()s, whose bodies the verifier looks at once, and not for each
 * way in which all that is behind them could be reached.
 */
struct compare {
	const __u64 *now, *last;
	__u64 words;
	__u64 differs;
};

static long compare_word(__u64 i, struct compare *compare)
{
	if (i >= page_bytes / 8 || i >= compare->words)
		return 1;
	compare->differs = compare->now[i] != compare->last[i];
	return compare->differs;
}

/* Whether the first bytes of the metadata page are those that were written last. */
static __always_inline int meta_is_last(const __u64 *now, const __u64 *last, __u32 bytes)
{
	struct compare compare = { .now = now, .last = last, .words = (bytes + 4) / 8 };

	bpf_loop(page_bytes / 8, compare_word, &compare, 0);
	return !compare.differs;
}

/* The bytes of all TLDs, each rounded up to 8, up to one that is being written. */
static __always_inline __u64 sum_sizes(const __u64 *meta, __u32 entries)
{
	struct tldctl_walk walk = {
		.meta = (__u64)meta + 4, .entries = entries, .first = TLDCTL_COMPARE_NONE,
	};

	tldctl_walk(&walk);
	return walk.found.off;
}

/*
 * Copy the used part of the metadata page to META, and describe it in now. Return whether it
 * was written already; -1 where it cannot be read.
 *
 * This one and the next are global functions, which the verifier looks at once by themselves:
 * inlined, their loops made loading ten times as long.
 */
__noinline int read_meta(__u64 from)
{
	__u64 *meta = buffer(META), *meta_last = buffer(META_LAST);
	__u32 entries, bytes;
	__u16 cnt = 0;

	if (!meta || !meta_last || !from || tldctl_read(&cnt, sizeof(cnt), from))
		return -1;
	entries = cnt;
	if (entries > page_bytes / CTLDCTL_ENTRY - 1)
		entries = page_bytes / CTLDCTL_ENTRY - 1;
	bytes = 4 + entries * CTLDCTL_ENTRY;
	meta[0] = 0;
	if (bytes > page_bytes || tldctl_read((char *)meta + 4, bytes, from))
		return -1;
	now.address = from;
	now.bytes = bytes;
	if (last.address == from && last.bytes == bytes && meta_is_last(meta, meta_last, bytes)) {
		now.sum = last.sum;
		return 1;
	}
	now.sum = sum_sizes(meta, entries);
	return 0;
}

/* What META has was written. */
static __always_inline void remember_meta(const __u64 *meta)
{
	__u64 *meta_last = buffer(META_LAST);

	last = now;
	if (!meta_last || bpf_probe_read_kernel(meta_last, page_bytes, meta))
		last.address = 0;
}

struct changes {
	const __u64 *data, *again;
	__u64 *changed;
	__u64 words;
	__u64 any;
};

static long mark_word(__u64 i, struct changes *changes)
{
	__u64 bit, differs;

	if (i >= page_bytes / 8 || i >= changes->words)
		return 1;
	bit = i & 63;
	if (!bit)
		changes->changed[i / 64] = 0;
	differs = changes->data[i] != changes->again[i];
	changes->changed[i / 64] |= differs << bit;
	changes->any |= differs;
	return 0;
}

/*
 * Read the data twice, and mark the words that differ. Return whether any does; -1 if the
 * page cannot be read.
 */
__noinline int read_data(__u64 from, __u32 bytes)
{
	__u64 *data = buffer(DATA), *again = buffer(DATA_AGAIN), *changed = buffer(CHANGED), tail;
	struct changes changes = { .words = (bytes + 7) / 8 };

	if (!data || !again || !changed || bytes > page_bytes)
		return -1;
	changes.data = data;
	changes.again = again;
	changes.changed = changed;
	if (!bytes)
		return 0;
	tail = changes.words - 1;
	barrier_var(tail);
	if (tail < page_bytes / 8) /* what an earlier record left behind the last byte */
		data[tail] = again[tail] = 0;
	if (tldctl_read(again, bytes, from) || tldctl_read(data, bytes, from))
		return -1;
	bpf_loop(page_bytes / 8, mark_word, &changes, 0);
	return changes.any != 0;
}

static __always_inline void describe(struct ctldctl_record *record, struct task_struct *task)
{
	struct tldctl_namespace own = tldctl_own_namespace();

	record->tid = tldctl_tid(task, &own);
	record->tgid = tldctl_tid(task->group_leader, &own);
	record->uid = BPF_CORE_READ(task, cred, uid.val);
	record->start_boottime = task->start_boottime;
	bpf_probe_read_kernel_str(record->comm, sizeof(record->comm), task->comm);
	bpf_probe_read_kernel_str(record->leader_comm, sizeof(record->leader_comm),
				  task->group_leader->comm);
	if (!task->mm)
		record->flags |= CTLDCTL_ENDED;
}

/* How many bytes of data to copy: all TLDs, but within the capacity and the page. */
static __always_inline __u32 data_limit(const struct ctldctl_record *record, __u64 sum)
{
	__u64 left = page_bytes - (record->data & (page_bytes - 1));

	left = left > record->start ? left - record->start : 0;
	if (sum > left)
		sum = left;
	if (record->capacity && sum > record->capacity)
		sum = record->capacity;
	return sum;
}

static __always_inline int write_padded(struct seq_file *seq, const void *bytes, __u32 count)
{
	count = (count + 7) & ~7U;
	if (!count)
		return 0;
	if (count > page_bytes)
		return -1;
	return bpf_seq_write(seq, bytes, count);
}

/* Where the data are, and whether they are the running program's. */
static __always_inline void locate(struct ctldctl_record *record, struct task_struct *task,
				   struct tldctl_value *value)
{
	struct addresses at = tldctl_addresses(value);
	__u64 stamp = at.meta ? tldctl_stamp(at.meta) : 0;

	if (tldctl_is_stale(task, value, stamp))
		record->flags |= CTLDCTL_STALE;
	if (stamp)
		record->flags |= CTLDCTL_STAMPED;
	record->data = at.data;
	record->meta = at.meta;
	if (value_bytes >= 24 && value->room_magic == TLD_ROOM_MAGIC)
		record->capacity = value->room;
	record->start = at.data ? tldctl_start(value, at.data) : 0;
}

/* Copy both pages. */
static __always_inline void copy(struct ctldctl_record *record)
{
	int same = read_meta(record->meta), differs;

	if (same < 0)
		record->flags |= CTLDCTL_NO_META;
	else if (same)
		record->flags |= CTLDCTL_SAME_META;
	else
		record->meta_bytes = now.bytes;
	if (!record->data)
		record->flags |= CTLDCTL_NO_DATA;
	else if (!record->start)
		record->flags |= CTLDCTL_BAD_START;
	else if (same >= 0)
		record->data_bytes = data_limit(record, now.sum);
	differs = read_data(record->data + record->start, record->data_bytes);
	if (differs < 0) {
		record->flags |= CTLDCTL_NO_DATA;
		record->data_bytes = 0;
	} else if (differs) {
		record->flags |= CTLDCTL_CHANGED;
	}
}

/* What does not fit is dropped with all of the record, and the kernel calls again for the task. */
static __always_inline void emit(struct seq_file *seq, const struct ctldctl_record *record)
{
	__u64 *data = buffer(DATA), *changed = buffer(CHANGED), *meta = buffer(META);

	if (!data || !changed || !meta)
		return;
	bpf_seq_write(seq, record, sizeof(*record));
	write_padded(seq, data, record->data_bytes);
	if (record->flags & CTLDCTL_CHANGED)
		write_padded(seq, changed, ((record->data_bytes + 7) / 8 + 63) / 64 * 8);
	/* 4 bytes of ours, zero, are in front: with them it is a multiple of 8. */
	if (record->meta_bytes && !write_padded(seq, meta, record->meta_bytes + 4))
		remember_meta(meta);
}

SEC("iter/task")
int read_task(struct bpf_iter__task *ctx)
{
	struct ctldctl_record record = { 0 };
	struct task_struct *task = ctx->task;
	struct tldctl_value *value;

	if (!task)
		return 0;
	value = bpf_task_storage_get(&tldctl_data_map, task, 0, 0);
	if (!value)
		return 0;
	locate(&record, task, value);
	describe(&record, task);
	if (only_tgid && record.tgid != only_tgid)
		return 0;
	copy(&record);
	emit(ctx->meta->seq, &record);
	return 0;
}
