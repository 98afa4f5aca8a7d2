/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * tld_page.bpf.h - what the pages of a task hold, and how BPF finds a TLD in them.
 *
 * The part that tld.bpf.h and task_local_data.bpf.h have in common; a program includes
 * one of those two. All that a page holds is the program's to write at any time and
 * is treated as hostile here.
 */
#ifndef TLD_PAGE_BPF_H
#define TLD_PAGE_BPF_H

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

/* errno.h would bring in the C library's headers for a machine that is not there. */
#define TLD_ENOMEM 12
#define TLD_ENODATA 61

#define TLD_ROUND_MASK(x, y) ((__typeof__(x))((y) - 1))
#define TLD_ROUND_UP(x, y) ((((x) - 1) | TLD_ROUND_MASK(x, y)) + 1)

#define TLD_MAX_DATA_CNT (TLD_BPF_PAGE_SIZE / 64 - 1)

/* TLDs whose places a program can cache: as many as a 4 KiB page can define. */
#define TLD_MAX_KEYS 63

#define __tld_inline static inline __attribute__((always_inline, unused))
#define __tld_subprogram static __attribute__((noinline, unused))

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

/*
 * The beginning of the data map's value. libtld says for how many bytes there is room from
 * start on, because the rest of the page is other threads'; the kernel's user header has one
 * thread in a page, and garbage where libtld has the room.
 */
#define __TLD_PUBLISHED									\
	tld_data_page_t __tld_uptr *data;						\
	tld_meta_page_t __tld_uptr *meta;						\
	__u16 start;			/* offset of the first data byte in the page */	\
	__u16 room;									\
	__u32 room_magic		/* TLD_ROOM_MAGIC: room is valid */

#define TLD_ROOM_MAGIC 0x52444c54 /* "TLDR" */
#define TLD_ROOM_UNKNOWN (1 << 20) /* behind all offsets and sizes */
#define __TLD_ROOM(value) \
	((value)->room_magic == TLD_ROOM_MAGIC ? (value)->room : TLD_ROOM_UNKNOWN)

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

enum page_size_enum___tld { __PAGE_SIZE___tld = 1 };

/*
 * An object for larger pages is refused with its map (E2BIG); one for smaller pages would not
 * see the rest of each page, and say nothing. libbpf puts the kernel's size in here, and the
 * verifier, which looks only at what can be reached, shows the line that it refuses.
 */
#define __tld_kernels_page_size(kind) \
	__builtin_preserve_enum_value(*(enum page_size_enum___tld *)__PAGE_SIZE___tld, kind)

__tld_inline void __tld_check_page_size(void)
{
	if (!__tld_kernels_page_size(0 /* whether it says so */))
		return;
	if (__tld_kernels_page_size(1 /* its value */) == TLD_BPF_PAGE_SIZE)
		return;
	asm volatile("r0 = *(u64 *)(r10 + 8)" ::: "r0"); /* TLD_BPF_PAGE_SIZE is not this kernel's page size */
}

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

	__tld_check_page_size();
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
 * Acquire: read the entries only after their count. Processors that keep the order of reads
 * do not need it. For others an exchange orders all reads, if -mcpu has one.
 */
__tld_inline void __tld_read_barrier(void)
{
#if defined(__BPF_CPU_VERSION__) && __BPF_CPU_VERSION__ >= 3
	__u64 word = 0;

	__sync_lock_test_and_set(&word, 1);
#endif
	barrier();
}

struct __tld_found {
	__u64 off;			/* of the entry at hand */
	__u64 size;			/* of the TLD, 0: not found */
	__u64 searched;			/* entries known not to be it */
};

/* A walk through the entries for one name. */
struct __tld_search {
	tld_meta_page_t *meta;
	const char *name;
	__u64 first;			/* entries before it were compared before */
	__u64 cnt;
	struct __tld_found found;
};

/*
 * What a walk makes of entry @i, which has @size bytes; @is_it: it has the name. 1 ends the walk.
 * tldctl, which has only the addresses of pages, goes its own walk by this.
 */
__tld_inline long __tld_pass_entry(struct __tld_found *found, __u64 i, __u64 size, int is_it)
{
	if (is_it) {
		found->size = size;
		return 1;
	}
	if (found->searched == i)
		found->searched = i + 1;
	/*
	 * Not compared here, though sums of hostile sizes leave the page: the verifier would
	 * tell the rounds apart by it. 64 bits hold all of them.
	 */
	found->off += TLD_ROUND_UP(size, 8);
	return 0;
}

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
	return __tld_pass_entry(&search->found, i, size, i >= search->first &&
				!bpf_strncmp(meta->metadata[i].name, TLD_NAME_LEN, search->name));
}

/*
 * Search the entries for a name, from the first one that was not compared before. A helper
 * copies what is found: else the verifier would follow, for whatever it is compared with,
 * each round of the loop that it came from.
 */
__tld_inline void __tld_search(struct __tld_found *found, tld_meta_page_t *meta,
			       const char *name, __u64 first)
{
	struct __tld_search search = {
		.meta = meta, .name = name, .first = first, .found.searched = first,
	};

	search.cnt = meta->cnt;
	__tld_read_barrier();
	bpf_loop(TLD_MAX_DATA_CNT, __tld_search_entry, &search, 0);
	if (bpf_probe_read_kernel(found, sizeof(*found), &search.found))
		found->size = 0;
}

/* Whether there are entries behind those that were searched. */
__tld_inline int __tld_has_more(tld_meta_page_t *meta, __u64 searched)
{
	return searched < meta->cnt && searched < TLD_MAX_DATA_CNT;
}

/**
 * TLD_WATCH_EXEC() - forget what a task shares when it executes another program
 *
 * At file scope, once in an object, with a semicolon. Defines the program
 * tld_watch_exec on the tracepoint sched_process_exec, which the loader attaches as it
 * attaches the object's others.
 *
 * Optional. A task's element in the data map outlives execve(). Without this program,
 * a lookup tells the images of a task apart by an address that the kernel
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

#endif /* TLD_PAGE_BPF_H */
