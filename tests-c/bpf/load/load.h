/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* load.h - what the BPF programs of the loading matrix and their test share. */
#ifndef TESTS_C_LOAD_H
#define TESTS_C_LOAD_H

/* How a program reaches the TLD ... */
enum load_shape { SHAPE_PLAIN, SHAPE_LOOP, SHAPE_SUBPROGRAM, SHAPE_CALLBACK, SHAPES };

/* ... and where it runs. Programs are called NAME_SHAPE. */
#define LOAD_PLACES(place)							\
	place(syscall, "syscall") place(tp_btf, "tp_btf")			\
	place(raw_tp, "raw_tp") place(tracepoint, "tracepoint")		\
	place(perf_event, "perf_event") place(iter, "iter/task")		\
	place(iter_sleepable, "sleepable iter/task")				\
	place(kprobe, "kprobe") place(kprobe_sleepable, "sleepable kprobe")	\
	place(xdp, "xdp") place(tc, "tc") place(socket, "socket filter")	\
	place(cgroup, "cgroup_skb") place(struct_ops, "tcp_congestion_ops")

#define LOAD_ENUM(name, words) PLACE_##name,
enum load_place { LOAD_PLACES(LOAD_ENUM) PLACES };

/*
 * What else the headers do, each a program use_NAME of type syscall and what it has to
 * give. From named on of tld.bpf.h alone, from pid on run by another thread.
 */
#define LOAD_USES(use)								\
	use(object_loop, "an object made once, in a bpf_for", LOAD_TURNS * FIRST) \
	use(object_callback, "an object made once, in a callback", LOAD_TURNS * FIRST) \
	use(object_several, "several TLDs of one object", FIRST)		\
	use(named, "tld_get_named() and tld_view_get_named()", REQUEST)	\
	use(present, "tld_present()", 1)					\
	use(absent, "a name that the task does not define", 2)		\
	use(small, "more bytes than the TLD has", 2)				\
	use(write, "a store through the pointer", WRITTEN)			\
	use(rcu, "under bpf_rcu_read_lock()", FIRST)				\
	use(kept, "a pointer kept across helpers, one of which sleeps", FIRST) \
	use(each, "a callback of bpf_for_each_map_elem()", LOAD_TURNS)		\
	use(pid, "a task of bpf_task_from_pid()", FIRST)			\
	use(tasks, "a walk over all tasks, bpf_for_each(task)", FIRST)

#define LOAD_USE_ENUM(name, words, value) USE_##name,
enum load_use { LOAD_USES(LOAD_USE_ENUM) USES };

/* Values of TLDs. */
#define FIRST 0x1122334455667788ULL
#define LAST 0x99aabbccddeeff00ULL
#define REQUEST 0x7265717565737421ULL
#define WRITTEN 0x77726974746e21ULL

/* Turns of each loop, and elements of a map. */
#define LOAD_TURNS 5

struct load_quad {
	unsigned long long a, b, c, d;
};

struct load_result {
	unsigned int runs;		/* on the chosen thread */
	unsigned int turns;		/* in which a TLD was found */
	struct load_quad quad;		/* the TLD "quad" */
};

struct load_shared {
	unsigned long long task;	/* whose data the programs read */
	unsigned int pid;		/* its id, for bpf_task_from_pid() */
	const char *bytes;		/* of user space, for a helper that sleeps */
	struct load_result result[PLACES][SHAPES];
	unsigned long long use[USES];	/* what that use read */
};

#endif
