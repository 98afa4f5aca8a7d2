/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * ctldctl_record.h - what tldctl's BPF programs hand to user space. Included by the BPF programs
 * and by C, imported by Swift.
 */
#ifndef CTLDCTL_RECORD_H
#define CTLDCTL_RECORD_H

#include <linux/types.h>

#define CTLDCTL_COMM 16		/* TASK_COMM_LEN */
#define CTLDCTL_NAME 62		/* a TLD's name in the metadata page, see docs/reference/wire.md */
#define CTLDCTL_ENTRY 64

/* What a record says of its thread. */
#define CTLDCTL_STALE (1 << 0)		/* published by an image that the task no longer runs */
#define CTLDCTL_ENDED (1 << 1)		/* the task has no memory any more: it is ending, or a zombie */
#define CTLDCTL_NO_DATA (1 << 2)	/* the data page could not be read */
#define CTLDCTL_NO_META (1 << 3)	/* the metadata page could not be read */
#define CTLDCTL_BAD_START (1 << 4)	/* the first data byte is not in the page */
#define CTLDCTL_CHANGED (1 << 5)	/* words of the data changed while they were read */
#define CTLDCTL_SAME_META (1 << 6)	/* as in the record before: meta_bytes is 0 */
#define CTLDCTL_STAMPED (1 << 7)	/* the page tells its image: not CTLDCTL_STALE means current */

/*
 * One thread. Behind it in the stream, each padded to 8 bytes: data_bytes of its data, from
 * start on; if CTLDCTL_CHANGED, a bit for each of their 8-byte words, in words of 64; and
 * meta_bytes of the metadata page, from its beginning.
 */
struct ctldctl_record {
	__u32 flags;
	__u32 tid, tgid;	/* in the PID namespace of the reader */
	__u32 uid;
	__u64 start_boottime;	/* ns; with tid it names a thread for ever */
	__u64 data, meta;	/* kernel addresses: who has the same has the same page */
	__u32 start;		/* of the first data byte in the page */
	__u32 capacity;		/* bytes from there, where libtld says so; else 0 */
	__u32 data_bytes;
	__u32 meta_bytes;
	char comm[CTLDCTL_COMM], leader_comm[CTLDCTL_COMM];
};

/* The reader's own: a metadata page that it has copied. */
struct ctldctl_meta {
	__u64 address;
	__u64 sum;	/* of the TLDs' sizes */
	__u32 bytes;
	__u32 padding;
};

/* What became of a request to set a value. */
enum ctldctl_set_result {
	CTLDCTL_SET_NO_TASK,	/* no such thread, or another one has its id now */
	CTLDCTL_SET_NO_ELEMENT,	/* it publishes nothing any more */
	CTLDCTL_SET_STALE,	/* it executed another program */
	CTLDCTL_SET_MOVED,	/* the TLD is not where it was */
	CTLDCTL_SET_UNALIGNED,	/* cannot be written at once */
	CTLDCTL_SET_DONE,
};

#define CTLDCTL_SET_MAX 4096	/* bytes of the largest value */

/* A request to set one value of one thread, and what became of it. */
struct ctldctl_set {
	/* in */
	__u32 tid;		/* as the record has it */
	__u32 start;
	__u64 start_boottime;
	__u64 data;		/* as the record has it */
	__u32 entry;		/* index in the metadata page */
	__u32 off;		/* the TLD's key */
	__u32 size;
	__u32 dry_run;
	__u64 name[CTLDCTL_ENTRY / 8];	/* the entry as it was read, name and size */
	/* out */
	__u32 result;
	__u32 padding;
};

#endif
