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

#include "tld_page.bpf.h"

#ifndef TLD_KEY_MAP_CREATE_RETRY
#define TLD_KEY_MAP_CREATE_RETRY 10
#endif

typedef struct {
	__s16 off;
} tld_key_t;

/* Defined by the program: its members, each a tld_key_t, are names of cache places. */
struct tld_keys;

struct tld_map_value {
	__TLD_PUBLISHED;
};

/*
 * What was found of a TLD, one word, so that readers on several processors agree: its size
 * in the high half and its offset in the low one; or 0 and the number of entries that
 * were searched without finding it.
 */
typedef __u32 __tld_word_t;

/* No search helps: the task has no room for the TLD. */
#define TLD_NO_ROOM 0xffff

/* Programs keep a TLD's offset below that, whatever the page. */
#define TLD_OFF_LIMIT (TLD_BPF_PAGE_SIZE < 32768 ? TLD_BPF_PAGE_SIZE : 32768)

/* One task's key cache. */
struct tld_key_cache {
	__u64 page;			/* the data page that the places are for; 0: new */
	__u64 stamp;			/* of the metadata page with it, 0: none */
	__u32 exec_id;			/* of the image that published that page */
	__tld_word_t place[TLD_MAX_KEYS];
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

__tld_inline __u64 __tld_size(__tld_word_t word)
{
	return word >> 16;
}

/*
 * Look a name up in the metadata page and note in place what was found. The caller takes it
 * from word, because a reader on another processor may have taken place back.
 */
__tld_subprogram int __tld_search_name(struct tld_map_value *value, const char *name,
				       __tld_word_t *place, __tld_word_t *word)
{
	__tld_word_t before = *(volatile __tld_word_t *)place;
	tld_meta_page_t *meta = value->meta;
	struct __tld_found found = { 0 };

	if (!meta)
		return 0;
	/* A reader on another processor may have found it meanwhile. */
	__tld_search(&found, meta, name, __tld_size(before) ? 0 : before);
	if (!found.size)
		*word = found.searched;
	else if (found.off < TLD_OFF_LIMIT && found.off + found.size <= __TLD_ROOM(value))
		*word = (__u32)found.size << 16 | (__u32)found.off;
	else
		*word = TLD_NO_ROOM;
	*place = *word;
	return 0;
}

/* The bytes of a TLD that was found, and has size bytes. */
__tld_inline void *__tld_at(char *data, __u16 start, __tld_word_t word, __u64 size)
{
	__u64 at = (word & 0xffff) + (__u64)start;

	/* As in tld.bpf.h: aligned for atomic operations, and one register for the verifier. */
	barrier_var(at);
	if (at <= TLD_BPF_PAGE_SIZE - size) {
		barrier_var(at);
		at &= ~7ULL;
		return data + at;
	}
	return 0;
}

/* The slow way: the first look, and where there is no such TLD. */
__tld_inline __tld_word_t __tld_look(struct tld_map_value *value, __tld_word_t *place,
				     const char *name)
{
	__tld_word_t word = *place, found = 0;
	tld_meta_page_t *meta = value->meta;

	if (meta && !__tld_size(word) && __tld_has_more(meta, word))
		__tld_search_name(value, name, place, &found);
	return found;
}

__tld_inline void *__tld_get(struct tld_object *tld_obj, __u32 place, const char *name, __u64 size)
{
	struct tld_map_value *value = tld_obj->data_map;
	struct tld_key_cache *cache = tld_obj->key_map;
	__tld_word_t word = cache->place[place];
	char *data = (char *)value->data;

	if (!data)
		return 0;
	if (__tld_size(word) < size) {
		word = __tld_look(value, &cache->place[place], name);
		if (__tld_size(word) < size)
			return 0;
	}
	barrier();
	if (cache->page != (__u64)data)
		return 0;
	return __tld_at(data, value->start, word, size);
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

#endif /* TLD_TASK_LOCAL_DATA_BPF_H */
