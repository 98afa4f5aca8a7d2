/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * task.bpf.h - what tldctl's BPF programs share: the kernel's structures as far as they are
 * used, the data map of any format, and what tells a task's image.
 *
 * The loader puts somebody else's map in the place of tldctl_data_map. Its value may have 16
 * bytes or more, so what lies behind is read only where value_bytes, known to the verifier,
 * says that it is there.
 */
#ifndef TASK_BPF_H
#define TASK_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

typedef struct {
	unsigned int val;
} __attribute__((preserve_access_index)) kuid_t;

struct cred {
	kuid_t uid;
} __attribute__((preserve_access_index));

struct pid_namespace;

struct upid {
	int nr;
	struct pid_namespace *ns;
} __attribute__((preserve_access_index));

struct pid {
	unsigned int level;
	struct upid numbers[1];
} __attribute__((preserve_access_index));

struct mm_struct;

struct task_struct {
	int pid;
	int tgid;
	__u64 start_boottime;
	char comm[16];
	struct task_struct *group_leader;
	struct pid *thread_pid;
	struct cred *cred;
	struct mm_struct *mm;
} __attribute__((preserve_access_index));

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
} __attribute__((preserve_access_index));

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} __attribute__((preserve_access_index));

#include "tld.bpf.h"
#include "ctldctl_record.h"

/* Set before loading. */
const volatile __u32 value_bytes = 24;
const volatile __u32 page_bytes = 4096;

/* The native value as far as anybody's is known: behind 32 bytes it is its owner's affair. */
struct tldctl_value {
	tld_data_page_t __tld_uptr *data;
	tld_meta_page_t __tld_uptr *meta;
	__u16 start;
	__u16 room;
	__u32 room_magic;
	__u64 image;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct tldctl_value);
} tldctl_data_map SEC(".maps");

/* As plain numbers, which the verifier leaves alone; helpers read through them. */
struct addresses {
	__u64 data, meta;
};

/* Until the program returns, RCU keeps the pages that the addresses lead to. */
static __always_inline struct addresses tldctl_addresses(struct tldctl_value *value)
{
	struct addresses at = { 0 };

	bpf_probe_read_kernel(&at, sizeof(at), value);
	return at;
}

static __always_inline int tldctl_read(void *to, __u32 bytes, __u64 from)
{
	return bpf_probe_read_kernel(to, bytes, (const void *)from);
}

/* Where in the page the thread's data begin; 0 if that cannot be. */
static __always_inline __u32 tldctl_start(struct tldctl_value *value, __u64 data)
{
	__u64 start = 0;

	if (value_bytes >= 24)
		start = value->start;
	else
		tldctl_read(&start, sizeof(start), data);
	return start < page_bytes && start < TLD_ABSENT ? start : 0;
}

/* Whether the image that published has gone; stamp is that of its page, or 0. */
static __always_inline int tldctl_is_stale(struct task_struct *task, struct tldctl_value *value,
					   __u64 stamp)
{
	__u64 image = 0;

	if (value_bytes >= 32)
		image = value->image;
	if (image == TLD_IMAGE_STALE)
		return 1;
	if ((image & TLD_IMAGE_KIND) == TLD_IMAGE_KNOWN &&
	    (__u32)image != ((struct task_struct___tld *)task)->self_exec_id)
		return 1;
	return stamp && __tld_judge_image(task, stamp) == __TLD_STALE;
}

/* The stamp of a metadata page at a kernel address, or 0. */
static __always_inline __u64 tldctl_stamp(__u64 meta)
{
	struct {
		__u32 magic, reserved;
		__u64 stamp;
	} tail = { 0 };

	/* tld_meta_page_t has it there, but for pages of another size than this object's. */
	tldctl_read(&tail, sizeof(tail), meta + page_bytes - 60);
	return tail.magic == TLD_STAMP_MAGIC ? tail.stamp : 0;
}

/* A PID namespace. */
struct tldctl_namespace {
	__u64 address;
	__u32 level;
};

/* Where a task's id in the namespaces of a level is. */
static __always_inline __u64 tldctl_number(struct pid *pid, __u32 level)
{
	return (__u64)pid + bpf_core_field_offset(struct pid, numbers) + level * bpf_core_type_size(struct upid);
}

/* That of the current task, which reads. */
static __always_inline struct tldctl_namespace tldctl_own_namespace(void)
{
	struct pid *pid = BPF_CORE_READ(bpf_get_current_task_btf(), thread_pid);
	struct tldctl_namespace own = { .level = BPF_CORE_READ(pid, level) };

	tldctl_read(&own.address, sizeof(own.address),
		    tldctl_number(pid, own.level) + bpf_core_field_offset(struct upid, ns));
	return own;
}

/* A task's id as a namespace has it; 0 where that does not know the task. */
static __always_inline __u32 tldctl_tid(struct task_struct *task, const struct tldctl_namespace *own)
{
	struct pid *pid;
	__u64 number, address = 0;
	int nr = 0;

	if (!own->level)
		return task->pid;
	pid = BPF_CORE_READ(task, thread_pid);
	if (!pid || BPF_CORE_READ(pid, level) < own->level)
		return 0;
	number = tldctl_number(pid, own->level);
	tldctl_read(&address, sizeof(address), number + bpf_core_field_offset(struct upid, ns));
	if (address != own->address)
		return 0;
	tldctl_read(&nr, sizeof(nr), number + bpf_core_field_offset(struct upid, nr));
	return nr;
}

#endif
