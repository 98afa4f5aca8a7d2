/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * dispatcher.h - what the program and its BPF programs (dispatcher.bpf.c) share;
 * below, what the program's two files do.
 */
#ifndef DISPATCHER_H
#define DISPATCHER_H

#include <linux/types.h>

/* The TLD: a __u64, which request its thread works on. 0 before the first. */
#define DISPATCHER_TLD_NAME "dispatcher.tag"
#define DISPATCHER_TAG(id, kind) ((__u64)(id) << 8 | (kind))

enum dispatcher_kind {
	DISPATCHER_LOOKUP,
	DISPATCHER_SEARCH,
	DISPATCHER_REPORT,
	DISPATCHER_KINDS
};

#define DISPATCHER_WORKERS_MAX 64

/*
 * An entry of the array map "dispatcher_notes", which the program has mmapped: what
 * BPF notes when a worker that slept comes onto a processor. A cache line each.
 */
struct dispatcher_note {
	__u64 wakes;		/* how often that was */
	__u64 tag;		/* what its tag said the last time; 0: none to be seen */
	__u64 wait_ns;		/* how long it had waited for the processor, woken */
	__u64 unused[5];
};

/*
 * The value of the task storage map "dispatcher_tasks". A worker puts its own element
 * in when it starts, so that BPF knows which tasks to look at.
 */
struct dispatcher_task {
	__u32 worker;		/* index into dispatcher_notes */
	__u32 asleep;
	__u64 woken_ns;
};

#ifndef __bpf__

#include <stdbool.h>
#include <stdint.h>

struct server_options {
	unsigned int workers;	/* 1 to DISPATCHER_WORKERS_MAX */
	bool tag_late;		/* the wrong order, to see that it is noticed */
};

/* What became of the requests of one kind. */
struct server_figures {
	uint64_t requests;
	uint64_t asleep;	/* of these, handed to a worker that slept */
	uint64_t seen;		/* of these, whose tag BPF saw in time */
	uint64_t wait_ns;	/* what the woken workers waited for a processor */
};

static inline void server_figures_add(struct server_figures *sum, const struct server_figures *part)
{
	sum->requests += part->requests;
	sum->asleep += part->asleep;
	sum->seen += part->seen;
	sum->wait_ns += part->wait_ns;
}

/*
 * Start one server: workers, an accept thread and clients, which inherit the caller's
 * signal mask. The data map must be attached (tld_attach()) before. Return: 0, or
 * a negative errno, which may be one of tld_ref_thread(); then the program has to end.
 */
int server_start(const struct server_options *options, int task_map_fd,
		 struct dispatcher_note *notes);

/* Answer what was asked, end all threads, and add up what became of the requests. */
void server_stop(struct server_figures figures[DISPATCHER_KINDS]);

/* A sentence on stderr. */
__attribute__((format(printf, 1, 2))) void complain(const char *format, ...);

#endif /* !__bpf__ */

#endif /* DISPATCHER_H */
