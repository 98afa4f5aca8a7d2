/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * ctldctl_recorder.h - what tldctl record's BPF programs hand to user space, and, for Swift,
 * how they are loaded and read. The first part is included by both.
 */
#ifndef CTLDCTL_RECORDER_H
#define CTLDCTL_RECORDER_H

#include "ctldctl_record.h"

#define CTLDCTL_RECORDED_MAPS 8		/* data maps that are looked into at a time */
#define CTLDCTL_RECORDED_VALUE 32	/* bytes of a value that are recorded */

/* A stretch had no wake-up before it: its thread was on the processor, or preempted. */
#define CTLDCTL_NO_WAKEUP (~0ULL)

/* One reading of the TLD. */
struct ctldctl_reading {
	__u32 size;		/* of the TLD; 0: there was none to be read */
	__u32 map;		/* in which of the recorded maps */
	__u8 bytes[CTLDCTL_RECORDED_VALUE];
};

/*
 * A thread was on a processor from begin to end: until it was switched out, or until the value
 * was read in between (is_sample), after which another stretch goes on.
 */
struct ctldctl_stretch {
	__u64 begin, end;	/* ns, CLOCK_MONOTONIC */
	__u64 ran;		/* ns by the scheduler's clock, without time that was stolen */
	__u64 wakeup;		/* ns from its wake-up to begin, or CTLDCTL_NO_WAKEUP */
	__u64 start_boottime;	/* ns; with tid it names a thread for ever */
	__u32 tid, tgid;	/* in the PID namespace of the recorder */
	__u32 cpu;
	__u32 is_sample;
	char comm[CTLDCTL_COMM], leader_comm[CTLDCTL_COMM];
	struct ctldctl_reading before, after;	/* at begin, at end */
};

/* What a processor found no space for. */
struct ctldctl_lost {
	__u64 stretches;	/* in the ring buffer */
	__u64 ran;		/* ns in them */
	__u64 wakeups;		/* the kernel had no memory at hand to note when */
};

#ifndef __bpf__

#include <stdbool.h>
#include <stddef.h>

struct ctldctl_recorder;

struct ctldctl_recorder_request {
	const char *name;	/* of the TLD */
	int map_fds[CTLDCTL_RECORDED_MAPS];
	__u32 value_sizes[CTLDCTL_RECORDED_MAPS];
	__u32 map_count;
	__u32 tgid;		/* only this process; 0: all */
	__u32 ring_bytes;	/* a power of 2, and of pages */
	__u32 keeps_nothing;	/* for tests: as where the kernel has no memory for what is known of tasks */
};

/* Load the programs. Nothing runs yet. */
int ctldctl_recorder_open(const struct ctldctl_recorder_request *request, struct ctldctl_recorder **recorder);

/*
 * Begin to record; sample_hz times a second each processor's thread is looked at in between,
 * unless that is 0. Where the kernel refuses only that, sampling_error has its errno.
 */
int ctldctl_recorder_begin(struct ctldctl_recorder *recorder, __u32 sample_hz, int *sampling_error);

/* What is in the ring buffer, at most @count; how many they were. */
int ctldctl_recorder_take(struct ctldctl_recorder *recorder, struct ctldctl_stretch *stretches, size_t count);

/* A descriptor that becomes readable when the ring buffer is a quarter full. */
int ctldctl_recorder_descriptor(const struct ctldctl_recorder *recorder);

/* End stretches that go on, and record no more. What is in the ring buffer stays there. */
int ctldctl_recorder_end(struct ctldctl_recorder *recorder);

/* What each processor lost, and how often the kernel left the programs out. */
int ctldctl_recorder_processors(const struct ctldctl_recorder *recorder);
int ctldctl_recorder_lost(const struct ctldctl_recorder *recorder, struct ctldctl_lost *lost);
__u64 ctldctl_recorder_missed(const struct ctldctl_recorder *recorder);

void ctldctl_recorder_close(struct ctldctl_recorder *recorder);

/*
 * From now on the signals that ask a program to end do not; the descriptor becomes readable by
 * them.
 */
int ctldctl_end_descriptor(void);

__u64 ctldctl_monotonic_ns(void);
__u64 ctldctl_realtime_ns(void);

#endif
#endif
