/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * tld.bpf.h - task local data for BPF programs, at the price of one task storage look-up.
 *
 *	#include "tld.bpf.h"
 *
 *	TLD_KEYS(prio, request);	// file scope: the TLDs that are read
 *	...
 *	__u32 *p = tld_get(task, prio, sizeof(*p));
 *
 *	if (p)
 *		...
 *
 * What the kernel's header keeps in a second map, where each TLD of a task was found, is
 * kept in the data map itself, behind what the program publishes; publishing again
 * resets it.
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
 *	TLD_MAP_NAME - the data map's name (default tld_data_map)
 *	TLD_PINNED - libbpf pins the map by its name, or takes the one that is pinned
 */
#ifndef TLD_BPF_H
#define TLD_BPF_H

#ifdef TLD_TASK_LOCAL_DATA_BPF_H
#error "include either tld.bpf.h or task_local_data.bpf.h: both declare the data map"
#endif

#include "tld_page.bpf.h"

#ifndef TLD_MAP_NAME
#define TLD_MAP_NAME tld_data_map
#endif

#ifdef TLD_PINNED
#define __TLD_PINNING __uint(pinning, LIBBPF_PIN_BY_NAME);
#else
#define __TLD_PINNING
#endif

/*
 * The beginning of the map's value. The program that publishes sets what comes before
 * image, and all behind that to 0. (The kernel's user header leaves garbage there, which
 * has no magic.)
 */
#define __TLD_PUBLISHED									\
	tld_data_page_t __tld_uptr *data;						\
	tld_meta_page_t __tld_uptr *meta;						\
	__u16 start;			/* offset of the first data byte in the page */	\
	__u16 reserved[3];								\
	__u64 image			/* whose it is: TLD_IMAGE_..., and self_exec_id */

#define TLD_IMAGE_KNOWN (0x4b444c54ULL << 32)	/* "TLDK": places are for this image */
#define TLD_IMAGE_STALE (0x53444c54ULL << 32)	/* "TLDS": of one that had gone */
#define TLD_IMAGE_KIND (~0ULL << 32)

/*
 * Where one TLD of a task is: __tld_word_t in the low half, __tld_tag() of the name for
 * which that was found in the high half. So a place serves another name rightly, if
 * slowly: two objects may share a pinned map and not agree about the names.
 */
typedef __u64 __tld_place_t;

/* What a task publishes; see tld_view(). */
typedef struct {
	__TLD_PUBLISHED;
	__tld_place_t place[];
} tld_view_t;

/* FNV-1a. Of a string literal the compiler computes it. */
__tld_inline __u32 __tld_tag(const char *name, __u32 length)
{
	__u32 tag = 2166136261U;

#pragma clang loop unroll(full)
	for (__u32 i = 0; i < TLD_NAME_LEN; i++)
		if (i < length)
			tag = (tag ^ (unsigned char)name[i]) * 16777619U;
	return tag;
}

/*
 * At the first look at what was published: whose is it? An element, and the pages in it,
 * outlive execve(); what was found to be an image's is never another's.
 */
__tld_subprogram int __tld_settle(struct task_struct *task, tld_view_t *view, int places)
{
	__u64 image = TLD_IMAGE_KNOWN | ((struct task_struct___tld *)task)->self_exec_id;
	__u64 kind = *(volatile __u64 *)&view->image & TLD_IMAGE_KIND;
	tld_meta_page_t *meta = view->meta;
	int i, verdict;

	if (kind == TLD_IMAGE_KNOWN || kind == TLD_IMAGE_STALE || !meta)
		return 0;
	verdict = __tld_judge_image(task, __tld_stamp(meta));
	if (verdict == __TLD_UNKNOWN)
		return 0;
#pragma clang loop unroll(disable)
	for (i = 0; i < places; i++)
		view->place[i] = 0;
	barrier();
	view->image = verdict == __TLD_CURRENT ? image : TLD_IMAGE_STALE;
	return 0;
}

/* The caller reads image once more: a returned value says less to the verifier. */
__tld_inline tld_view_t *__tld_admit(struct task_struct *task, tld_view_t *view, int places)
{
	__u64 image;

	if (!view)
		return 0;
	image = TLD_IMAGE_KNOWN | ((struct task_struct___tld *)task)->self_exec_id;
	if (view->image != image) {
		__tld_settle(task, view, places);
		if (*(volatile __u64 *)&view->image != image)
			return 0;
	}
	return view;
}

/* Look a name up in the metadata page and note in place what was found. */
__tld_subprogram int __tld_search_name(tld_meta_page_t *meta, const char *name, __u32 tag,
				       __tld_place_t *place)
{
	__tld_place_t noted = *(volatile __tld_place_t *)place;

	if (meta)
		*place = (__u64)tag << 32 |
			 __tld_find(meta, name, noted >> 32 == tag ? (__tld_word_t)noted : 0);
	return 0;
}

/* Whether a TLD of that name and of at least size bytes was found: one comparison for both. */
__tld_inline int __tld_holds(__tld_place_t noted, __u32 tag, __u64 size)
{
	return ((noted ^ (__u64)tag << 32) >> 16) - size < 0x10000 - size;
}

__tld_inline void *__tld_read(tld_view_t *view, __u32 place, const char *name, __u32 tag, __u64 size)
{
	__tld_place_t noted = view->place[place];
	char *data = (char *)view->data;
	tld_meta_page_t *meta;

	if (!data)
		return 0;
	if (!__tld_holds(noted, tag, size)) {
		meta = view->meta;
		if (!meta || (noted >> 32 == tag && !__tld_is_worth_search((__tld_word_t)noted, meta)))
			return 0;
		__tld_search_name(meta, name, tag, &view->place[place]);
		noted = *(volatile __tld_place_t *)&view->place[place];
		if (!__tld_holds(noted, tag, size))
			return 0;
	}
	return __tld_at(data, view->start, (__tld_word_t)noted, size);
}

/* What no later look finds again, even where the element cannot be deleted. */
__tld_inline void __tld_spoil(tld_view_t *view)
{
	if (!view)
		return;
	view->start = TLD_START_NOWHERE;
	view->image = TLD_IMAGE_STALE;
}

/**
 * TLD_KEYS() - declare the TLDs that the object reads, and the data map
 *
 * At file scope, once in an object, with a semicolon. 1 to 63 names, by which tld_get()
 * and the others know where to keep what they found; what they are called in the
 * program that defines them, unless tld_get_named() says otherwise.
 *
 * tld_view() - what a task publishes
 *
 * @task: a pointer that bpf_task_storage_get() takes
 *
 * Return: NULL where nothing, or what an image that the task no longer executes had
 * published. Otherwise for tld_view_get(), until the program returns; several TLDs of one
 * task are read with one look-up.
 */
#define TLD_KEYS(...)									\
	struct tld_places {								\
		__tld_place_t __VA_ARGS__;						\
	};										\
	_Static_assert(sizeof(struct tld_places) >= sizeof(__tld_place_t) &&		\
		       sizeof(struct tld_places) <= TLD_MAX_KEYS * sizeof(__tld_place_t), \
		       "TLD_KEYS() takes 1 to 63 names");				\
	struct tld_map_value {								\
		__TLD_PUBLISHED;							\
		struct tld_places place;						\
	};										\
	struct {									\
		__uint(type, BPF_MAP_TYPE_TASK_STORAGE);				\
		__uint(map_flags, BPF_F_NO_PREALLOC);					\
		__TLD_PINNING								\
		__type(key, int);							\
		__type(value, struct tld_map_value);					\
	} TLD_MAP_NAME SEC(".maps");							\
	__tld_inline tld_view_t *tld_view(struct task_struct *task)			\
	{										\
		return __tld_admit(task, bpf_task_storage_get(&TLD_MAP_NAME, task, 0, 0), \
				   sizeof(struct tld_places) / sizeof(__tld_place_t));	\
	}										\
	__tld_inline int __tld_forget_image(struct task_struct *task)			\
	{										\
		__tld_spoil(bpf_task_storage_get(&TLD_MAP_NAME, task, 0, 0));		\
		bpf_task_storage_delete(&TLD_MAP_NAME, task);				\
		return 0;								\
	}										\
	struct tld_places

#define __TLD_READ(view, key, name, size)						\
	({										\
		_Static_assert((size) > 0 && (size) < TLD_BPF_PAGE_SIZE,		\
			       "the size of a TLD: 1 byte to less than a page");	\
		_Static_assert(sizeof(name) > 1 && sizeof(name) <= TLD_NAME_LEN,	\
			       "the name of a TLD: a literal of 1 to 61 bytes");	\
		__tld_read((view), __builtin_offsetof(struct tld_places, key) /		\
				   sizeof(__tld_place_t), (name),			\
			   __tld_tag((name), sizeof(name) - 1), (size));		\
	})

#define __TLD_GET(task, key, name, size)						\
	({										\
		tld_view_t *__tld_of = tld_view(task);					\
		__tld_of ? __TLD_READ(__tld_of, key, name, size) : 0;			\
	})

/**
 * tld_get() - one TLD of a task, of the key's own name
 * tld_get_named() - one TLD of a task, of any name
 *
 * @task: a pointer that bpf_task_storage_get() takes
 * @key: one of TLD_KEYS()
 * @name: a string literal
 * @size: how many bytes the program will use, a constant of at least 1
 *
 * Return: a pointer to the page that the task itself reads and writes, of which @size
 * bytes may be used until the program returns; NULL if the task has no TLD of that name, or
 * a smaller one, or shares nothing. A name that was not found costs no further search until
 * the task defines more TLDs.
 *
 * What is written through the pointer, the task sees at once, as another thread's store: who
 * writes and reads words that others write uses accesses that are not torn, or atomic ones.
 */
#define tld_get(task, key, size) __TLD_GET(task, key, #key, size)
#define tld_get_named(task, key, name, size) __TLD_GET(task, key, "" name, size)

/**
 * tld_view_get() - one TLD of a task that tld_view() found, of the key's own name
 * tld_view_get_named() - the same, of any name
 *
 * @view: from tld_view(), not NULL
 *
 * The rest as with tld_get().
 */
#define tld_view_get(view, key, size) __TLD_READ(view, key, #key, size)
#define tld_view_get_named(view, key, name, size) __TLD_READ(view, key, "" name, size)

/**
 * tld_present() - whether a task publishes at all
 *
 * @task: a pointer that bpf_task_storage_get() takes
 */
#define tld_present(task)								\
	({										\
		tld_view_t *__tld_of = tld_view(task);					\
		__tld_of && __tld_of->data;						\
	})

#endif /* TLD_BPF_H */
