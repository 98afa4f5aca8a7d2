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
 * What is noted behind that: whose element it is, TLD_IMAGE_..., and self_exec_id. The program
 * that publishes sets it, and all behind it, to 0. (The kernel's user header leaves garbage
 * there, which has no magic.)
 */
#define __TLD_NOTED __u64 image

#define TLD_IMAGE_KNOWN (0x4b444c54ULL << 32)	/* "TLDK": places are for this image */
#define TLD_IMAGE_STALE (0x53444c54ULL << 32)	/* "TLDS": of one that had gone */
#define TLD_IMAGE_KIND (~0ULL << 32)

/*
 * Where one TLD of a task is, one word, so that readers on several processors agree: the
 * __tld_tag() of its name (32 bits), how many bytes are wanted of it (16), and where in the
 * page they begin (16). If there are none: TLD_ABSENT and how many entries were searched
 * in vain. So one comparison tells that the word was noted for this name and size, and
 * that the bytes lie in the page; and a place serves another name rightly, if slowly, because
 * two objects may share a pinned map and not agree about names.
 */
typedef __u64 __tld_place_t;

#define TLD_ABSENT 0x8000
/* No search helps: the TLD is there, and smaller, or the task has no room for it. */
#define TLD_TOO_SMALL 0xffff

/* Programs begin a thread's TLDs below that, whatever the page. */
#define TLD_AT_LIMIT (TLD_BPF_PAGE_SIZE < TLD_ABSENT ? TLD_BPF_PAGE_SIZE : TLD_ABSENT)

/* What is known of a task's element; see tld_view(). */
struct __tld_element {
	__TLD_PUBLISHED;
	__TLD_NOTED;
	__tld_place_t place[];
};

/* What a task shares; see tld_view(). */
typedef struct {
	struct __tld_element *element;
	char *data;			/* the page; NULL: nothing */
} tld_view_t;

__tld_inline __u64 __tld_bytes(__tld_place_t place)
{
	return place >> 16 & 0xffff;
}

__tld_inline __u64 __tld_at(__tld_place_t place)
{
	return place & 0xffff;
}

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
__tld_subprogram int __tld_settle(struct task_struct *task, struct __tld_element *element, int places)
{
	__u64 image = TLD_IMAGE_KNOWN | ((struct task_struct___tld *)task)->self_exec_id;
	__u64 kind = *(volatile __u64 *)&element->image & TLD_IMAGE_KIND;
	tld_meta_page_t *meta = element->meta;
	int i, verdict;

	if (kind == TLD_IMAGE_KNOWN || kind == TLD_IMAGE_STALE || !meta)
		return 0;
	verdict = __tld_judge_image(task, __tld_stamp(meta));
	if (verdict == __TLD_UNKNOWN)
		return 0;
#pragma clang loop unroll(disable)
	for (i = 0; i < places; i++)
		element->place[i] = 0;
	barrier();
	element->image = verdict == __TLD_CURRENT ? image : TLD_IMAGE_STALE;
	return 0;
}

/* The caller reads image once more: a returned value says less to the verifier. */
__tld_inline char *__tld_admit(struct task_struct *task, struct __tld_element *element, int places)
{
	__u64 image;

	if (!element)
		return 0;
	image = TLD_IMAGE_KNOWN | ((struct task_struct___tld *)task)->self_exec_id;
	if (element->image != image) {
		__tld_settle(task, element, places);
		if (*(volatile __u64 *)&element->image != image)
			return 0;
	}
	return (char *)element->data;
}

/* What is to be noted of a name and a size; first entries are known not to be it. */
__tld_inline __tld_place_t __tld_find(struct __tld_element *element, tld_meta_page_t *meta,
				      const char *name, __tld_place_t wanted, __u64 first)
{
	__u64 size = __tld_bytes(wanted), at;
	struct __tld_found found = { 0 };

	__tld_search(&found, meta, name, first);
	if (!found.size)
		return wanted | TLD_ABSENT | found.searched;
	at = found.off + element->start;
	if (found.size < size || at > TLD_AT_LIMIT - size ||
	    found.off + found.size > __TLD_ROOM(element))
		return wanted | TLD_TOO_SMALL;
	return wanted | at;
}

/*
 * Look a name up in the metadata page and note the result in *place. The caller uses *found:
 * another CPU may have overwritten *place, with another name or, at its own first lookup, with
 * nothing.
 */
__tld_subprogram int __tld_note(struct __tld_element *element, const char *name, __tld_place_t wanted,
				__tld_place_t *place, __tld_place_t *found)
{
	__tld_place_t before = *(volatile __tld_place_t *)place, noted;
	int is_same = before >> 32 == wanted >> 32, is_there = is_same && __tld_at(before) < TLD_ABSENT;
	tld_meta_page_t *meta = element->meta;

	if (!meta)
		return 0;
	if (is_there && __tld_bytes(before) >= __tld_bytes(wanted)) {
		*found = wanted | __tld_at(before); /* a part of what others read */
		return 0;
	}
	noted = __tld_find(element, meta, name, wanted,
			   is_same && !is_there && __tld_at(before) != TLD_TOO_SMALL ?
			   __tld_at(before) - TLD_ABSENT : 0);
	if (!is_there || __tld_at(noted) != TLD_TOO_SMALL)
		*place = noted;
	*found = noted;
	return 0;
}

/* The slow way: the first look, and where there is no such TLD. */
__tld_inline __u64 __tld_look(struct __tld_element *element, __u32 place, const char *name,
			      __tld_place_t wanted)
{
	__u64 searched = (element->place[place] ^ wanted) - TLD_ABSENT;
	tld_meta_page_t *meta = element->meta;
	__tld_place_t found = 0;

	if (!meta || (searched < TLD_ABSENT && !__tld_has_more(meta, searched)))
		return TLD_ABSENT;
	__tld_note(element, name, wanted, &element->place[place], &found);
	return found ^ wanted;
}

/* The view's members: clang 14 copies a view byte by byte, which no pointer survives. */
__tld_inline void *__tld_read(struct __tld_element *element, char *data, __u32 place,
			      const char *name, __tld_place_t wanted)
{
	__u64 at = element->place[place] ^ wanted, limit = TLD_AT_LIMIT - __tld_bytes(wanted);

	if (at > limit) {
		at = __tld_look(element, place, name, wanted);
		if (at > limit)
			return 0;
	}
	/*
	 * TLDs are aligned; where they are not, somebody is hostile. The verifier wants to see
	 * that they are before atomic operations. The barrier keeps the compiler from comparing
	 * another register, or half of one, than the one that is added.
	 */
	barrier_var(at);
	at &= ~7ULL;
	return data + at;
}

/* What no later look finds again, even where the element cannot be deleted. */
__tld_inline void __tld_spoil(struct __tld_element *element)
{
	if (element)
		element->image = TLD_IMAGE_STALE;
}

/**
 * TLD_KEYS() - declare the TLDs that the object reads, and the data map
 *
 * At file scope, once in an object, with a semicolon. 1 to 63 names, by which tld_get()
 * and the others know where to keep what they found; what they are called in the
 * program that defines them, unless tld_get_named() says otherwise.
 *
 * tld_view() - what a task shares
 *
 * @task: a pointer that bpf_task_storage_get() takes
 *
 * Return: what tld_view_get() takes, until the program returns, so that several TLDs of one
 * task are read with one look-up; data is NULL, and must not be taken, where the task shares
 * nothing, or what an image that it no longer executes had shared.
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
		__TLD_NOTED;								\
		struct tld_places place;						\
	};										\
	struct {									\
		__uint(type, BPF_MAP_TYPE_TASK_STORAGE);				\
		__uint(map_flags, BPF_F_NO_PREALLOC);					\
		__TLD_PINNING								\
		__type(key, int);							\
		__type(value, struct tld_map_value);					\
	} TLD_MAP_NAME SEC(".maps");							\
	__tld_inline tld_view_t tld_view(struct task_struct *task)			\
	{										\
		tld_view_t view = { bpf_task_storage_get(&TLD_MAP_NAME, task, 0, 0), 0 }; \
											\
		view.data = __tld_admit(task, view.element,				\
					sizeof(struct tld_places) / sizeof(__tld_place_t)); \
		return view;								\
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
		tld_view_t __tld_in = (view);						\
		__tld_read(__tld_in.element, __tld_in.data,				\
			   __builtin_offsetof(struct tld_places, key) / sizeof(__tld_place_t), \
			   (name), (__u64)__tld_tag((name), sizeof(name) - 1) << 32 |	\
				   (__u64)(size) << 16);				\
	})

#define __TLD_GET(task, key, name, size)						\
	({										\
		tld_view_t __tld_of = tld_view(task);					\
		__tld_of.data ? __TLD_READ(__tld_of, key, name, size) : 0;		\
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
 * the task defines more TLDs; one that is smaller than @size, though another place of the object
 * reads it as what it is, costs one each time.
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
 * @view: from tld_view(), its data not NULL
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
#define tld_present(task) (!!tld_view(task).data)

#endif /* TLD_BPF_H */
