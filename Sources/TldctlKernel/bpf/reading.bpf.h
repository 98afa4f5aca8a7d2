/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * reading.bpf.h - what a task's TLD says at this moment, in whichever of the recorded maps it has
 * it; and what is known of the task, so that its TLD is searched for only once.
 *
 * The name is known at run time only, sizes differ between programs, and maps have any format:
 * so the pages are read by helpers here, within the same bounds as tld.bpf.h keeps.
 */
#ifndef READING_BPF_H
#define READING_BPF_H

#include "walk.bpf.h"
#include "ctldctl_recorder.h"

/* Set before loading. */
const char wanted_name[CTLDCTL_ENTRY] SEC(".rodata.name") = "";
const volatile __u32 map_count = 1;
const volatile __u32 keeps_nothing = 0;	/* as if there were no memory, ever */
const volatile __u32 map_value_bytes[CTLDCTL_RECORDED_MAPS] = { 24 };

/* --- The data maps: the first is tldctl_data_map ------------------------------- */

#define MAP(n)							\
	struct {						\
		__uint(type, BPF_MAP_TYPE_TASK_STORAGE);	\
		__uint(map_flags, BPF_F_NO_PREALLOC);		\
		__type(key, int);				\
		__type(value, struct tldctl_value);		\
	} tldctl_map_##n SEC(".maps")

MAP(1);
MAP(2);
MAP(3);
MAP(4);
MAP(5);
MAP(6);
MAP(7);

/* --- What is known of a task --------------------------------------------------- */

/* What is known of a task that publishes. */
struct known {
	__u64 woken;		/* when; 0: it ran since */
	__u64 charged;		/* of its sum_exec_runtime; 0: it is new here */
	__u64 meta;		/* the page that the rest was found in */
	__u32 exec_id;		/* the image that it was found for */
	__u32 is_stale;
	__u32 searched;		/* entries that are not the TLD */
	__u32 size;		/* of the TLD; 0: not found */
	__u64 off;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct known);
} known_tasks SEC(".maps");

/* For a task that nothing can be kept of. All that write it have interrupts off. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct known);
} spare SEC(".maps");

/* --- Where the TLD is ------------------------------------------------------------ */

static __noinline int search(struct known *known)
{
	struct tldctl_walk walk = { 0 };
	__u16 cnt = 0;

	if (!known || !known->meta || tldctl_read(&cnt, sizeof(cnt), known->meta))
		return 0;
	if (cnt <= known->searched)
		return 0;
	walk.meta = known->meta;
	walk.entries = cnt;
	walk.name = wanted_name;
	walk.first = walk.found.searched = known->searched;
	__tld_read_barrier(); /* the entries are read after their count */
	tldctl_walk(&walk);
	known->searched = walk.found.searched;
	known->size = walk.found.size;
	known->off = walk.found.off;
	return 0;
}

/* Whose page it is: a task's element outlives execve(). 0: it is not known yet. */
static __always_inline int settle(struct task_struct *task, struct known *known, __u64 meta)
{
	__u32 exec_id = ((struct task_struct___tld *)task)->self_exec_id;
	int is_same = known->meta == meta;
	__u64 stamp;
	int verdict;

	if (is_same && known->exec_id == exec_id)
		return 1;
	stamp = tldctl_stamp(meta);
	verdict = __tld_judge_image(task, stamp);
	if (verdict == __TLD_UNKNOWN)
		return 0;
	/* An unstamped page that another image had: nothing but that says whose it is. */
	known->is_stale = verdict == __TLD_STALE || (is_same && !stamp);
	known->meta = meta;
	known->exec_id = exec_id;
	known->searched = known->size = 0;
	known->off = 0;
	return 1;
}

/* NULL where the kernel has no memory at hand: it gets more when interrupts are on again. */
static __always_inline struct known *known_keep(struct task_struct *task)
{
	if (keeps_nothing)
		return 0;
	return bpf_task_storage_get(&known_tasks, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
}

/* Then nothing is kept, and all is found out anew. */
static __always_inline struct known *known_get(struct task_struct *task)
{
	struct known *known = known_keep(task);
	__u32 zero = 0;

	if (known)
		return known;
	known = bpf_map_lookup_elem(&spare, &zero);
	if (known)
		__builtin_memset(known, 0, sizeof(*known));
	return known;
}

/* An element as plain numbers; of a v1 map's the first two. */
struct element {
	__u64 data, meta;
	__u16 start, room;
	__u32 room_magic;
	__u64 image;
};

/* The first data byte in the page; 0 if that cannot be. And the bytes from there. */
static __always_inline __u64 first_byte(const struct element *element, __u32 bytes, __u64 *capacity)
{
	__u64 start = element->start;

	*capacity = page_bytes;
	if (bytes >= 24) {
		if (element->room_magic == TLD_ROOM_MAGIC)
			*capacity = element->room;
	} else {
		start = 0;
		tldctl_read(&start, sizeof(start), element->data);
	}
	return start < TLD_ABSENT ? start : 0;
}

/* Read the TLD through one map's element. Return whether it is there. */
static __noinline int read_through(struct ctldctl_reading *reading, struct task_struct *task,
				   const struct element *element, __u32 value_bytes)
{
	struct known *known;
	__u64 start, capacity;
	__u32 bytes;

	if (!reading || !task || !element || !element->data || !element->meta)
		return 0;
	/* A native map's own program may know what its page does not tell. */
	if (value_bytes >= 32 && element->image == TLD_IMAGE_STALE)
		return 0;
	known = known_get(task);
	if (!known || !settle(task, known, element->meta) || known->is_stale)
		return 0;
	if (!known->size)
		search(known);
	if (!known->size)
		return 0;
	start = first_byte(element, value_bytes, &capacity);
	if (!start || known->off + known->size > capacity || start + known->off + known->size > page_bytes)
		return 0;
	bytes = known->size;
	if (bytes > CTLDCTL_RECORDED_VALUE)
		bytes = CTLDCTL_RECORDED_VALUE;
	if (tldctl_read(reading->bytes, bytes, element->data + start + known->off))
		return 0;
	reading->size = known->size;
	return 1;
}

struct read_request {
	struct task_struct *task;
	struct ctldctl_reading *reading;
};

#define SIZE(n) (map_value_bytes[n] >= 32 ? 32 : map_value_bytes[n] >= 24 ? 24 : 16)

/*
 * A helper copies the element, so that all maps look alike to the verifier from there on, and
 * it need not follow each in its own way.
 */
#define COPY(n, storage)								\
	case n:										\
		value = n < map_count ? bpf_task_storage_get(&storage, request->task, 0, 0) : 0; \
		if (!value || bpf_probe_read_kernel(&element, SIZE(n), value)) \
			return 0;							\
		value_bytes = map_value_bytes[n];					\
		break

/* bpf_loop()'s callback: 1 ends it. */
static long read_map(__u64 i, struct read_request *request)
{
	struct element element = { 0 };
	__u32 value_bytes = 0;
	void *value;

	switch (i) {
	COPY(0, tldctl_data_map);
	COPY(1, tldctl_map_1);
	COPY(2, tldctl_map_2);
	COPY(3, tldctl_map_3);
	COPY(4, tldctl_map_4);
	COPY(5, tldctl_map_5);
	COPY(6, tldctl_map_6);
	COPY(7, tldctl_map_7);
	default:
		return 1;
	}
	if (!read_through(request->reading, request->task, &element, value_bytes))
		return 0;
	request->reading->map = i;
	return 1;
}

/* The first map in which the task has the TLD. */
static __always_inline void read_tld(struct ctldctl_reading *reading, struct task_struct *task)
{
	struct read_request request = { .task = task, .reading = reading };

	__builtin_memset(reading, 0, sizeof(*reading));
	bpf_loop(map_count, read_map, &request, 0);
}

#define HAS(n, storage)								\
	if (n < map_count && bpf_task_storage_get(&storage, task, 0, 0))	\
		return 1

static __always_inline int publishes(struct task_struct *task)
{
	HAS(0, tldctl_data_map);
	HAS(1, tldctl_map_1);
	HAS(2, tldctl_map_2);
	HAS(3, tldctl_map_3);
	HAS(4, tldctl_map_4);
	HAS(5, tldctl_map_5);
	HAS(6, tldctl_map_6);
	HAS(7, tldctl_map_7);
	return 0;
}

#endif
