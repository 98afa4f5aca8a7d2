// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * sched.c - a sched_ext scheduler schedules this machine and reads a TLD at each enqueue,
 * with both headers.
 */
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <unistd.h>
#include "tld.h"
#include "either.h"
#include "reader.h"
#include "sched.h"
#include "threads.h"

TLD_DEFINE_KEY(hint_key, "hint", sizeof(struct sched_hint));

static volatile struct sched_seen *seen;
static volatile unsigned int number;	/* that all threads give as their hint */
static volatile bool ending;

/* Gives its hint, and is enqueued again and again. */
static void *wake_up_often(void *arg)
{
	struct timespec moment = { .tv_nsec = 200000 };
	volatile struct sched_hint *hint = tld_get(hint_key);

	if (!hint)
		return "no TLD";
	hint->thread = (uintptr_t)arg;
	while (!ending) {
		hint->number = number;
		nanosleep(&moment, NULL);
	}
	return NULL;
}

static bool all_seen(unsigned int wanted)
{
	for (int i = 0; i < SCHED_THREADS; i++)
		if (seen->number[i] != wanted)
			return false;
	return true;
}

static bool state_is(const char *wanted)
{
	int fd = open("/sys/kernel/sched_ext/state", O_RDONLY | O_CLOEXEC);
	char state[32] = "";
	ssize_t n = fd < 0 ? -1 : read(fd, state, sizeof(state) - 1);

	close(fd);
	return n > 0 && !strcmp(strtok(state, "\n"), wanted);
}

static void schedule_threads(void)
{
	pthread_t threads[SCHED_THREADS];
	bool well = true;

	ending = false;
	number = 1;
	for (uintptr_t i = 0; i < SCHED_THREADS; i++)
		threads[i] = start_thread(wake_up_often, (void *)i);
	ok(eventually(all_seen(1)), "it reads each thread's hint at an enqueue");
	number = 2;
	ok(eventually(all_seen(2)), "and the next one");
	ok(eventually(seen->without > 0), "and finds none where there is none");
	ok(state_is("enabled"), "the kernel has not thrown it out");
	ending = true;
	for (int i = 0; i < SCHED_THREADS; i++)
		well = !end_thread(threads[i]) && well;
	ok(well, "every thread had its TLD");
	diag("%llu enqueued, %llu without a hint", seen->enqueued, seen->without);
}

static void scheduler_reads(void)
{
	struct bpf_object *object = reader_load(either_file("sched"));
	struct bpf_map *ops = bpf_object__find_map_by_name(object, "sched_ops");
	int map_fd = reader_object_map_fd(object, "tld_data_map");
	struct bpf_link *link;

	seen = reader_memory(object, ".bss", sizeof(*seen));
	if (tld_attach(map_fd))
		tap_bail("the map can be attached");
	link = bpf_map__attach_struct_ops(ops);
	if (!ok(link, "a scheduler that looks up TLDs is attached"))
		return;
	ok(eventually(state_is("enabled")), "and schedules the machine");
	schedule_threads();
	bpf_link__destroy(link);
	ok(eventually(state_is("disabled")), "it goes");
	tld_detach(map_fd);
	bpf_object__close(object);
}

int main(void)
{
	with_each_header(scheduler_reads);
	return tap_done();
}
