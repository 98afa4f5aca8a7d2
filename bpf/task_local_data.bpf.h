/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * task_local_data.bpf.h - task local data for BPF programs: drop-in for the
 * header of that name in the Linux kernel's selftests.
 *
 *	#include "task_local_data.bpf.h"
 *
 *	struct tld_keys {		// one member for each TLD that is read
 *		tld_key_t request;
 *	};
 *	...
 *	struct tld_object obj;
 *	__u32 *request;
 *
 *	if (tld_object_init(task, &obj))
 *		return 0;		// the task shares nothing
 *	request = tld_get_data(&obj, request, "request", sizeof(*request));
 *	if (request)
 *		...
 *
 * Include vmlinux.h, or linux/bpf.h, before it; of libbpf it needs bpf_helpers.h
 * alone, from 1.1 on. The kernel must have UPTR: Linux 6.13.
 *
 * All that the page of a task holds is the program's to write at any time and is
 * treated as hostile here. What is read through the pointers must be, too.
 *
 * OPTIONS, to be defined before the inclusion:
 *
 *	TLD_BPF_PAGE_SIZE - bytes of a page of the machine that runs the object.
 *	Default: what vmlinux.h says, else 4096.
 *	TLD_KEY_MAP_CREATE_RETRY - how often tld_object_init() tries to make the
 *	task's key cache, which other programs may hinder (default 10)
 */
#ifndef TLD_TASK_LOCAL_DATA_BPF_H
#define TLD_TASK_LOCAL_DATA_BPF_H

#ifdef TLD_BPF_H
#error "include either tld.bpf.h or task_local_data.bpf.h: both declare the data map"
#endif

#include <bpf/bpf_helpers.h>

#ifndef TLD_BPF_PAGE_SIZE
#ifdef __VMLINUX_H__
#define TLD_BPF_PAGE_SIZE __PAGE_SIZE
#else
#define TLD_BPF_PAGE_SIZE 4096
#endif
#endif

#ifndef TLD_NAME_LEN
#define TLD_NAME_LEN 62
#elif TLD_NAME_LEN != 62
#error "TLD_NAME_LEN is part of the format that programs write: 62 only"
#endif

#ifndef TLD_KEY_MAP_CREATE_RETRY
#define TLD_KEY_MAP_CREATE_RETRY 10
#endif

/* errno.h would bring in the C library's headers for a machine that is not there. */
#define TLD_ENOMEM 12
#define TLD_ENODATA 61

#define TLD_ROUND_MASK(x, y) ((__typeof__(x))((y) - 1))
#define TLD_ROUND_UP(x, y) ((((x) - 1) | TLD_ROUND_MASK(x, y)) + 1)

#define TLD_MAX_DATA_CNT (TLD_BPF_PAGE_SIZE / 64 - 1)

/* Keys that a program can cache: as many as a 4 KiB page can define. */
#define TLD_MAX_KEYS 63

typedef struct {
	__s16 off;
} tld_key_t;

/* Defined by the program: its members, each a tld_key_t, are names of cache places. */
struct tld_keys;

struct tld_metadata {
	char name[TLD_NAME_LEN];
	__u16 size;			/* bytes; 0: not ready */
};

/*
 * What the UPTRs point to, a page each. Typedefs of anonymous structs: clang 14
 * drops the type tag on a named one, and later ones may emit a forward
 * declaration, which would silently make the map's value one without UPTRs.
 */
typedef struct {
	char bytes[TLD_BPF_PAGE_SIZE];
} tld_data_page_t;

typedef struct {
	__u16 cnt;
	__u16 size;
	struct tld_metadata metadata[TLD_MAX_DATA_CNT];
	__u32 magic;			/* TLD_STAMP_MAGIC: stamp is valid */
	__u32 reserved;
	__u32 stamp[2];			/* the image that made the page, low half first */
	char unused[44];
} tld_meta_page_t;

_Static_assert(sizeof(tld_meta_page_t) == TLD_BPF_PAGE_SIZE, "a UPTR may not cross a page");

#define TLD_STAMP_MAGIC 0x31444c54 /* "TLD1" */

#define __tld_uptr __attribute__((btf_type_tag("uptr")))

struct tld_map_value {
	tld_data_page_t __tld_uptr *data;
	tld_meta_page_t __tld_uptr *meta;
	__u16 start;			/* offset of the first data byte in the page */
};

/*
 * One task's key cache. A place holds in its low half the TLD's offset plus 1, or
 * minus the number of entries that were searched without finding it, in its high
 * half the TLD's size: one word, so that readers on several processors agree.
 */
struct tld_key_cache {
	__u64 page;			/* the data page that the places are for; 0: new */
	__u64 stamp;			/* of the metadata page with it, 0: none */
	__u32 exec_id;			/* of the image that published that page */
	__u32 place[TLD_MAX_KEYS];
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct tld_map_value);
} tld_data_map SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct tld_key_cache);
} tld_key_map SEC(".maps");

/* A cache's page while its places are taken back: no page has that address. */
#define TLD_CACHE_RESETTING 1

/* Both found for one task by tld_object_init(); lives on the stack. */
struct tld_object {
	struct tld_map_value *data_map;
	struct tld_key_cache *key_map;
};

/*
 * The kernel's structures as far as they are used, under names of their own beside
 * those of vmlinux.h, if that is included; libbpf drops what follows "___".
 */
struct mm_struct___tld {
	unsigned long saved_auxv[2];
} __attribute__((preserve_access_index));

struct task_struct___tld {
	struct mm_struct___tld *mm;
	__u32 self_exec_id;
} __attribute__((preserve_access_index));

#define __tld_inline static inline __attribute__((always_inline, unused))
#define __tld_subprogram static __attribute__((noinline, unused))

enum __tld_verdict { __TLD_CURRENT, __TLD_STALE, __TLD_UNKNOWN };

/* 0 where the page was made by the kernel's user header, which has no stamp. */
__tld_inline __u64 __tld_stamp(tld_meta_page_t *meta)
{
	if (meta->magic != TLD_STAMP_MAGIC)
		return 0;
	return meta->stamp[0] | (__u64)meta->stamp[1] << 32;
}

/*
 * Whether the page was made by the image that the task runs now. The stamp is the
 * address of the image's AT_RANDOM bytes, which the kernel keeps in mm->saved_auxv,
 * an array whose length differs between kernels: hence its offset only.
 */
__tld_subprogram int __tld_judge_image(struct task_struct *task, __u64 stamp)
{
	struct mm_struct___tld *mm = ((struct task_struct___tld *)task)->mm;
	unsigned long pair[2];
	__u64 auxv;
	int i;

	if (!stamp)
		return __TLD_CURRENT;
	if (!mm)
		return __TLD_UNKNOWN; /* the task is about to end */
	auxv = (__u64)mm + __builtin_preserve_field_info(mm->saved_auxv, 0 /* byte offset */);

#pragma clang loop unroll(disable)
	for (i = 0; i < 24; i++) {
		if (bpf_probe_read_kernel(pair, sizeof(pair), (void *)(auxv + i * sizeof(pair))))
			break;
		if (pair[0] == 25 /* AT_RANDOM */)
			return pair[1] == stamp ? __TLD_CURRENT : __TLD_STALE;
		if (!pair[0])
			break;
	}
	return __TLD_UNKNOWN; /* in the middle of an execve() */
}

/*
 * Another data page than the cache was for, or another image than the one that it was
 * for: start the cache again, if the page is the current image's.
 */
__tld_subprogram int __tld_cache_reset(struct task_struct *task, struct tld_map_value *value,
				       struct tld_key_cache *cache)
{
	__u32 exec_id = ((struct task_struct___tld *)task)->self_exec_id;
	tld_meta_page_t *meta = value->meta;
	__u64 stamp, page = *(volatile __u64 *)&cache->page;
	int i, verdict;

	if (!meta)
		return -TLD_ENODATA;
	stamp = __tld_stamp(meta);
	/*
	 * The element, and the page in it, outlive execve(): this is the old image's data,
	 * unless the page has been stamped anew since, or a reader on another processor has
	 * just started the cache for the current one.
	 */
	if (page == (__u64)value->data && stamp == cache->stamp)
		return cache->exec_id == exec_id ? 0 : -TLD_ENODATA;
	verdict = __tld_judge_image(task, stamp);
	if (verdict == __TLD_UNKNOWN)
		return -TLD_ENODATA;
	/*
	 * A reader on another processor must not take a place for the new page's. In a new
	 * cache there is none, and what that reader may have found already stays.
	 */
	if (page) {
		cache->page = TLD_CACHE_RESETTING;
		barrier();
#pragma clang loop unroll(disable)
		for (i = 0; i < TLD_MAX_KEYS; i++)
			cache->place[i] = 0;
	}
	/* A stale page is remembered as one that an earlier image published. */
	cache->exec_id = verdict == __TLD_CURRENT ? exec_id : exec_id - 1;
	cache->stamp = stamp;
	barrier();
	cache->page = (__u64)value->data;
	return verdict == __TLD_CURRENT ? 0 : -TLD_ENODATA;
}

/* Making the element may fail while another program holds the storage's lock. */
__tld_subprogram struct tld_key_cache *__tld_cache_get(struct task_struct *task)
{
	struct tld_key_cache *cache = 0;
	int i;

#pragma clang loop unroll(disable)
	for (i = 0; i < TLD_KEY_MAP_CREATE_RETRY; i++) {
		cache = bpf_task_storage_get(&tld_key_map, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
		if (cache)
			break;
	}
	return cache;
}

/**
 * tld_object_init() - find what a task shares
 *
 * @task: the task, a pointer that bpf_task_storage_get() takes
 * @tld_obj: on the caller's stack; valid until the program returns
 *
 * Return: 0; -ENODATA if the task shares nothing, or what an image that it no
 * longer executes had shared; -ENOMEM if its key cache cannot be made.
 */
__tld_inline int tld_object_init(struct task_struct *task, struct tld_object *tld_obj)
{
	struct tld_map_value *value = bpf_task_storage_get(&tld_data_map, task, 0, 0);
	struct tld_key_cache *cache;

	tld_obj->data_map = value;
	if (!value || !value->data)
		return -TLD_ENODATA;
	cache = __tld_cache_get(task);
	tld_obj->key_map = cache;
	if (!cache)
		return -TLD_ENOMEM;
	if (cache->page != (__u64)value->data ||
	    cache->exec_id != ((struct task_struct___tld *)task)->self_exec_id)
		return __tld_cache_reset(task, value, cache);
	return 0;
}

/*
 * What is read after it was written before what was read before it: entries before
 * their count. Processors that keep the order of reads do not need it; for others an
 * exchange orders all, as far as -mcpu has one.
 */
__tld_inline void __tld_read_barrier(void)
{
#if defined(__BPF_CPU_VERSION__) && __BPF_CPU_VERSION__ >= 3
	__u64 word = 0;

	__sync_lock_test_and_set(&word, 1);
#endif
	barrier();
}

/* A walk through the entries for one name. */
struct __tld_search {
	tld_meta_page_t *meta;
	const char *name;
	__u64 first;			/* entries before it were compared before */
	__u64 cnt;
	__u64 off;			/* of the entry at hand */
	__u64 size;			/* of the TLD, 0: not found */
	__u64 searched;			/* entries known not to be it */
};

/* bpf_loop()'s callback: 1 ends the walk. */
static long __tld_search_entry(__u64 index, struct __tld_search *search)
{
	tld_meta_page_t *meta = search->meta;
	__u64 i = index, size;

	barrier_var(i);
	if (i >= search->cnt || i >= TLD_MAX_DATA_CNT)
		return 1;
	size = meta->metadata[i].size;
	if (!size)
		return 1; /* being written: its place, and that of those behind it, is not known yet */
	__tld_read_barrier(); /* the kernel's user header writes size after the name */
	if (i >= search->first &&
	    !bpf_strncmp(meta->metadata[i].name, TLD_NAME_LEN, search->name)) {
		search->size = size;
		return 1;
	}
	if (search->searched == i)
		search->searched = i + 1;
	/*
	 * Not compared here, though sums of hostile sizes leave the page: the verifier would
	 * tell the rounds apart by it. 64 bits hold all of them.
	 */
	search->off += TLD_ROUND_UP(size, 8);
	return 0;
}

/*
 * Look a name up in the metadata page and note in place what was found. The caller
 * reads it from there: a returned value would make the verifier follow, for the
 * bounds of a pointer, each round of the loop that it came from.
 */
__tld_subprogram int __tld_search_name(tld_meta_page_t *meta, const char *name, __u32 *place)
{
	__s16 noted = (__s16)*(volatile __u32 *)place;
	/* A reader on another processor may have found it meanwhile. */
	__u64 first = noted < 0 ? -noted : 0;
	struct __tld_search search = { .meta = meta, .name = name, .first = first, .searched = first };

	if (!meta)
		return 0;
	search.cnt = meta->cnt;
	__tld_read_barrier();
	bpf_loop(TLD_MAX_DATA_CNT, __tld_search_entry, &search, 0);
	if (search.size && search.off < TLD_BPF_PAGE_SIZE)
		*place = (__u32)search.size << 16 | (__u32)(search.off + 1);
	else
		*place = (__u16)-search.searched;
	return 0;
}

__tld_inline void *__tld_get(struct tld_object *tld_obj, __u32 place, const char *name, __u64 size)
{
	struct tld_map_value *value = tld_obj->data_map;
	struct tld_key_cache *cache = tld_obj->key_map;
	__u32 word = cache->place[place];
	char *data = (char *)value->data;
	tld_meta_page_t *meta;
	__u64 at;

	if (!data)
		return 0;
	if ((__s16)word <= 0) {
		meta = value->meta;
		if (!meta || meta->cnt <= -(__s16)word)
			return 0;
		__tld_search_name(meta, name, &cache->place[place]);
		word = *(volatile __u32 *)&cache->place[place];
		if ((__s16)word <= 0)
			return 0;
	}
	barrier();
	if (cache->page != (__u64)data || word >> 16 < size)
		return 0;
	/*
	 * The barriers keep the compiler from comparing another register, or half of one,
	 * than the one that it then adds.
	 */
	at = (word & 0xffff) - 1 + (__u64)value->start;
	barrier_var(at);
	if (at <= TLD_BPF_PAGE_SIZE - size) {
		barrier_var(at);
		return data + at;
	}
	return 0;
}

/**
 * tld_get_data() - one TLD of a task
 *
 * @tld_obj: filled by a tld_object_init() that returned 0
 * @key: the member of struct tld_keys in which the TLD's place is cached
 * @name: its name, a string literal
 * @size: how many bytes the program will use, a constant of at least 1
 *
 * Return: a pointer to the page that the task itself reads and writes, of which
 * @size bytes may be used; NULL if the task has no TLD of that name, or a smaller
 * one. A name that was not found costs no further search until the task defines
 * more TLDs. What is written through the pointer, the task sees.
 */
#define tld_get_data(tld_obj, key, name, size)						\
	({										\
		_Static_assert(__builtin_offsetof(struct tld_keys, key) / sizeof(tld_key_t) <	\
			       TLD_MAX_KEYS, "struct tld_keys has too many members");	\
		_Static_assert((size) > 0 && (size) < TLD_BPF_PAGE_SIZE,		\
			       "the size of a TLD: 1 byte to less than a page");	\
		__tld_get((tld_obj), __builtin_offsetof(struct tld_keys, key) /	\
				     sizeof(tld_key_t), (name), (size));		\
	})

/* A start behind every block: nothing is found until the element is replaced. */
#define TLD_START_NOWHERE 0xffff

/*
 * Remove what the task shared before its execve(). That fails while another program holds
 * the storage's lock, so what can be done without it comes first. The data before the
 * cache: a reader that makes a cache while they are there has it removed as well.
 */
__tld_subprogram int __tld_forget_image(struct task_struct *task)
{
	struct tld_map_value *value = bpf_task_storage_get(&tld_data_map, task, 0, 0);
	struct tld_key_cache *cache = bpf_task_storage_get(&tld_key_map, task, 0, 0);

	if (value)
		value->start = TLD_START_NOWHERE;
	if (cache)
		cache->page = TLD_CACHE_RESETTING;
	bpf_task_storage_delete(&tld_data_map, task);
	bpf_task_storage_delete(&tld_key_map, task);
	return 0;
}

/**
 * TLD_WATCH_EXEC() - forget what a task shares when it executes another program
 *
 * At file scope, once in an object, with a semicolon. Defines the program
 * tld_watch_exec on the tracepoint sched_process_exec, which the loader attaches as it
 * attaches the object's others.
 *
 * Optional. A task's element in the data map outlives execve(). Without this program,
 * tld_object_init() tells the images of a task apart by an address that the kernel
 * randomises; that says nothing about programs that run without address randomisation
 * (setarch -R), nor about those that use the kernel's own user header: what their old image
 * had shared is read until the new one shares something, unless BPF had looked at
 * the task before. With this program attached before the execve(), nothing is read once
 * the new image runs, until it shares something itself. An execve() that fails
 * changes nothing.
 */
#define TLD_WATCH_EXEC()								\
	SEC("tp_btf/sched_process_exec")						\
	int tld_watch_exec(unsigned long long *ctx)					\
	{										\
		return __tld_forget_image((struct task_struct *)ctx[0]);		\
	}										\
	int tld_watch_exec(unsigned long long *ctx)

#endif /* TLD_TASK_LOCAL_DATA_BPF_H */
