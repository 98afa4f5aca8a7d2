// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* native.bpf.c - looks by every way that the native header has, and counts its searches. */
#include "hostile_pages_rounds.h"
#include "tld.bpf.h"
#include "native.h"

TLD_KEYS(prio, request, late, shared);
TLD_WATCH_EXEC();

#define LOOK(which, key, name)							\
	p = tld_get_named(task, key, name, sizeof(*p));				\
	NATIVE_REPORT(view, which, p);						\
	if (p && view->write)							\
		*p = view->write + which;					\
	if (of.data && p != tld_view_get_named(of, key, name, sizeof(*p)))		\
		view->differ++;

SEC("syscall")
int native_look(struct native_view *view)
{
	struct task_struct *task = bpf_get_current_task_btf();
	tld_view_t of = tld_view(task);
	unsigned long long *p;

	view->present = tld_present(task);
	view->viewed = !!of.data;
	view->page = (unsigned long long)of.data;
	NATIVE_LOOKS(LOOK)
	return 0;
}

/* Complete, else libbpf does not find the functions below to be the kernel's. */
struct task_struct {
	int pid;
} __attribute__((preserve_access_index));

extern struct task_struct *bpf_task_from_pid(int pid) __ksym;
extern void bpf_task_release(struct task_struct *task) __ksym;

/* By the one name; another program may look by the other one, with the same key. */
struct times {
	tld_view_t of;
	unsigned long long want;
	int by_second;
	unsigned int misses;
};

static long look_once_more(__u64 unused, struct times *times)
{
	unsigned long long *p;

	if (times->by_second)
		p = tld_view_get_named(times->of, shared, "second of two", sizeof(*p));
	else
		p = tld_view_get_named(times->of, shared, "first of two", sizeof(*p));
	if (!p || *p != times->want)
		times->misses++;
	return 0;
}

SEC("syscall")
int native_look_often(struct native_view *view)
{
	struct task_struct *task = bpf_task_from_pid(view->tid);
	struct times times = { .want = view->want, .by_second = view->by_second };

	if (!task)
		return 1;
	times.of = tld_view(task);
	if (times.of.data)
		bpf_loop(NATIVE_TIMES, look_once_more, &times, 0);
	view->viewed = !!times.of.data;
	view->misses = times.misses;
	bpf_task_release(task);
	return 0;
}

SEC("syscall")
int native_self(struct native_view *view)
{
	view->tid = bpf_get_current_task_btf()->pid;
	return 0;
}

/* The name is the key's own. */
SEC("syscall")
int native_get(struct native_view *view)
{
	struct task_struct *task = bpf_get_current_task_btf();
	unsigned long long *p = tld_get(task, prio, sizeof(*p));

	NATIVE_REPORT(view, PRIO, p);
	return 0;
}

/* Fewer bytes than the other looks by that key take. */
SEC("syscall")
int native_part(struct native_view *view)
{
	unsigned int *part = tld_get(bpf_get_current_task_btf(), prio, sizeof(*part));

	NATIVE_REPORT(view, PRIO, part);
	return 0;
}

struct adding {
	unsigned long long *word;
};

static long add_one(__u64 unused, struct adding *adding)
{
	__sync_fetch_and_add(adding->word, 1);
	return 0;
}

SEC("syscall")
int native_add(struct native_view *view)
{
	struct task_struct *task = bpf_task_from_pid(view->tid);
	struct adding adding;

	if (!task)
		return 1;
	adding.word = tld_get(task, prio, sizeof(__u64));
	view->viewed = !!adding.word;
	if (adding.word)
		bpf_loop(NATIVE_TIMES, add_one, &adding, 0);
	bpf_task_release(task);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
