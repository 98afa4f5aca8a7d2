/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * reader_raw.h - the BPF half of reader.c. reader_v1.bpf.c, reader_v2.bpf.c and
 * reader_native.bpf.c are this file at one RAW_FORMAT each.
 *
 * The programs interpret nothing but the value: they copy both pages to the
 * caller, so that a fault in a look-up by name cannot hide one in the memory.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* The C library's stdint.h needs 32-bit stubs for the BPF target. */
typedef __u8 uint8_t;
typedef __u16 uint16_t;
typedef __u32 uint32_t;
typedef __u64 uint64_t;
typedef __s32 int32_t;

#include "reader_view.h"

#define RAW_V1 1
#define RAW_V2 2
#define RAW_NATIVE 3

/* Of errno.h, which needs those stubs too. */
#define RAW_ESRCH 3
#define RAW_ENODATA 61

struct task_struct {
	int pid;
	struct task_struct *group_leader;
} __attribute__((preserve_access_index));

/* A typedef of an anonymous struct: with a tag, clang 14 loses the "uptr". */
typedef struct {
	uint64_t word[READER_PAGE / 8];
} raw_page;

#define __raw_uptr __attribute__((btf_type_tag("uptr")))

struct raw_tail {
	uint8_t padding[6];
#if RAW_FORMAT == RAW_NATIVE
	uint8_t area[READER_NATIVE_AREA];
#endif
};

struct raw_value {
	raw_page __raw_uptr *data;
	raw_page __raw_uptr *meta;
#if RAW_FORMAT >= RAW_V2
	uint16_t start;
	struct raw_tail tail;
#endif
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct raw_value);
} reader_map SEC(".maps");

struct task_struct *bpf_task_from_pid(int32_t pid) __ksym;
struct task_struct *bpf_task_from_vpid(int32_t vpid) __ksym;
void bpf_task_release(struct task_struct *task) __ksym;

/*
 * Global functions on purpose: in them a syscall program's context is memory to
 * the verifier, so that helpers may write it. They name the page by its first
 * word only, because another object's map may promise less than a page.
 */
struct raw_word {
	uint64_t word;
};

__attribute__((noinline)) int raw_copy_data(struct reader_view *view, struct raw_word *page)
{
	if (!view || !page)
		return 0;
	return bpf_probe_read_kernel(view->data, sizeof(view->data), page);
}

__attribute__((noinline)) int raw_copy_meta(struct reader_view *view, struct raw_word *page)
{
	if (!view || !page)
		return 0;
	return bpf_probe_read_kernel(view->meta, sizeof(view->meta), page);
}

__attribute__((noinline)) int raw_copy_tail(struct reader_view *view, struct raw_tail *tail)
{
	if (!view || !tail)
		return 0;
	bpf_probe_read_kernel(view->padding, sizeof(view->padding), tail->padding);
#if RAW_FORMAT == RAW_NATIVE
	bpf_probe_read_kernel(view->area, sizeof(view->area), tail->area);
#endif
	return 0;
}

static __attribute__((always_inline)) int raw_look(struct task_struct *task,
						   struct reader_view *view)
{
	struct raw_value *value;
	raw_page *data, *meta;

	value = bpf_task_storage_get(&reader_map, task, 0, 0);
	if (!value)
		return -RAW_ENODATA;
	data = value->data;
	meta = value->meta;
#if RAW_FORMAT >= RAW_V2
	view->start = value->start;
	raw_copy_tail(view, &value->tail);
#endif
	if (data) {
		view->has_data = 1;
		/* A plain load: a kernel without UPTRs refuses the program. */
#if RAW_FORMAT == RAW_V1
		view->start = data->word[0];
#else
		*(volatile uint64_t *)&data->word[0];
#endif
		raw_copy_data(view, (struct raw_word *)data);
	}
	if (meta) {
		view->has_meta = 1;
		raw_copy_meta(view, (struct raw_word *)meta);
	}
	return 0;
}

SEC("syscall")
int look_current(struct reader_view *view)
{
	view->err = raw_look(bpf_get_current_task_btf(), view);
	return 0;
}

SEC("syscall")
int look_pid(struct reader_view *view)
{
	struct task_struct *task = bpf_task_from_pid(view->tid);

	if (!task) {
		view->err = -RAW_ESRCH;
		return 0;
	}
	view->err = raw_look(task, view);
	bpf_task_release(task);
	return 0;
}

/* The same for a caller in a pid namespace, since Linux 6.14. */
SEC("syscall")
int look_vpid(struct reader_view *view)
{
	struct task_struct *task = bpf_task_from_vpid(view->tid);

	if (!task) {
		view->err = -RAW_ESRCH;
		return 0;
	}
	view->err = raw_look(task, view);
	bpf_task_release(task);
	return 0;
}

struct bpf_iter_meta {
	struct seq_file *seq;
} __attribute__((preserve_access_index));

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} __attribute__((preserve_access_index));

/* Each task with an element: its thread id, 4 bytes. */
SEC("iter/task")
int list_elements(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	int tid;

	if (!task || !bpf_task_storage_get(&reader_map, task, 0, 0))
		return 0;
	tid = task->pid;
	bpf_seq_write(ctx->meta->seq, &tid, sizeof(tid));
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
