// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * record_checks.c - a thread that came on its processor unseen, as where a kernel does not tell
 * of a switch, is recorded all the same: its stretches, its value and its time. So is one of
 * which nothing can be kept; only how long it waited is not known, and that is counted.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <time.h>

#include "ctldctl.h"
#include "ctldctl_recorder.h"
#include "maps.h"

#define TIMES 300
#define WORK_NS 200000

enum how { SEEN, UNSEEN, NOTHING_KEPT };

static int map_fd, processors_fd;
static __u32 row_bytes, tid;
static int row_count;
static unsigned char *data, *meta;
static __u64 spent;

static __u64 clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

/* The recorder's own map, by its name among our descriptors. */
static void find_processors(void)
{
	for (processors_fd = 3; processors_fd < 256; processors_fd++) {
		struct bpf_map_info info = { 0 };
		__u32 size = sizeof(info);

		if (!bpf_obj_get_info_by_fd(processors_fd, &info, &size) && !strcmp(info.name, "processors")) {
			row_bytes = (info.value_size + 7) & ~7u;
			return;
		}
	}
	tap_bail("the recorder has a map of processors");
}

/* As if the switch to this thread had not been seen: another one is noted as the last. */
static void come_unseen(void)
{
	__u32 zero = 0;
	__u64 *rows = calloc(row_count, row_bytes);

	if (!rows || bpf_map_lookup_elem(processors_fd, &zero, rows))
		tap_bail("the processors can be read");
	for (int cpu = 0; cpu < row_count; cpu++)
		rows[cpu * row_bytes / 8 + sizeof(struct ctldctl_lost) / 8] = 1;
	if (bpf_map_update_elem(processors_fd, &zero, rows, 0))
		tap_bail("the processors can be changed");
	free(rows);
}

static void *work(void *how)
{
	struct timespec instant = { .tv_nsec = 1000 };
	uintptr_t value[3] = { (uintptr_t)data, (uintptr_t)meta, 8 };
	__u64 from, end;

	tid = gettid();
	if (element_write(map_fd, tid, value))
		tap_bail("this thread publishes");
	nanosleep(&instant, NULL);
	from = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	for (int i = 0; i < TIMES; i++) {
		if (*(enum how *)how == UNSEEN)
			come_unseen();
		end = clock_ns(CLOCK_THREAD_CPUTIME_ID) + WORK_NS;
		while (clock_ns(CLOCK_THREAD_CPUTIME_ID) < end)
			;
		nanosleep(&instant, NULL);
	}
	spent = clock_ns(CLOCK_THREAD_CPUTIME_ID) - from;
	return NULL;
}

static struct ctldctl_recorder *record(enum how how)
{
	struct ctldctl_recorder_request wish = {
		.name = "kind", .map_fds = { map_fd }, .value_sizes = { V2_SIZE }, .map_count = 1,
		.tgid = getpid(), .ring_bytes = 1 << 20, .keeps_nothing = how == NOTHING_KEPT,
	};
	struct ctldctl_recorder *recorder;
	int sampling_error;
	pthread_t thread;

	if (ctldctl_recorder_open(&wish, &recorder))
		tap_bail("the recorder loads: %s", ctldctl_log());
	find_processors();
	row_count = ctldctl_recorder_processors(recorder);
	if (ctldctl_recorder_begin(recorder, 0, &sampling_error))
		tap_bail("the recorder begins: %s", ctldctl_log());
	if (pthread_create(&thread, NULL, work, &how) || pthread_join(thread, NULL))
		tap_bail("a thread runs");
	if (ctldctl_recorder_end(recorder))
		tap_bail("the recorder ends");
	return recorder;
}

static __u64 lost_wakeups(const struct ctldctl_recorder *recorder)
{
	struct ctldctl_lost lost[1024];
	__u64 wakeups = 0;

	if (row_count > 1024 || ctldctl_recorder_lost(recorder, lost) < 0)
		tap_bail("what was lost can be read");
	for (int i = 0; i < row_count; i++)
		wakeups += lost[i].wakeups;
	return wakeups;
}

/* What a recording has of the thread. */
struct recorded {
	int stretches, right, overlapping, unknown;
	__u64 ran, lost;
};

static struct recorded count(enum how how)
{
	struct ctldctl_recorder *recorder = record(how);
	struct ctldctl_stretch *all = calloc(8192, sizeof(*all));
	struct recorded found = { .lost = lost_wakeups(recorder) };
	int taken = ctldctl_recorder_take(recorder, all, 8192);
	__u64 last = 0;

	for (int i = 0; i < taken; i++) {
		if (all[i].tid != tid)
			continue;
		found.stretches++;
		found.right += all[i].after.size == 4 && all[i].after.bytes[0] == 77;
		found.overlapping += all[i].begin < last || all[i].end < all[i].begin;
		found.unknown += !all[i].before.size;
		found.ran += all[i].ran;
		last = all[i].end;
	}
	free(all);
	ctldctl_recorder_close(recorder);
	return found;
}

static bool is_known_as_meant(enum how how, const struct recorded *found)
{
	return how == UNSEEN ? found->unknown >= TIMES : found->unknown <= found->stretches / 50;
}

/*
 * Kernels were found that do not tell of some switches, where other threads come in between: the
 * more others run, the more. And a thread that is to come unseen is seen where another one takes
 * its processor just before. Then it is tried again.
 */
static struct recorded count_quietly(enum how how)
{
	struct recorded found = count(how);

	for (int i = 0; i < 9 && !is_known_as_meant(how, &found); i++) {
		diag("%d of %d came unseen: once more", found.unknown, found.stretches);
		found = count(how);
	}
	return found;
}

static void check(enum how how, const char *who)
{
	struct recorded found = count_quietly(how);
	int stretches = found.stretches, right = found.right;
	__u64 ran = found.ran, lost = found.lost;

	ok(stretches >= TIMES, "%s has a stretch before each of %d sleeps", who, TIMES);
	ok(right >= TIMES && stretches - right <= 2, "%s: with its value", who);
	is(found.overlapping, 0, "%s: one after the other", who);
	ok(is_known_as_meant(how, &found), "%s: the value at the beginning is %s", who,
	   how == UNSEEN ? "unknown" : "known");
	ok(ran > spent * 95 / 100 && ran < spent * 105 / 100, "%s: with the time it ran, within 5 %%", who);
	/* A sleep so short may be over before it began: then there is no wake-up. */
	if (how == NOTHING_KEPT)
		ok(lost >= TIMES * 9 / 10 && lost <= TIMES + 10, "%s: each wake-up is counted as lost, once", who);
	else
		ok(lost <= 2, "%s: no wake-up is lost", who);
	diag("%d stretches, %d right, ran %llu of %llu us, %llu wake-ups lost", stretches, right, ran / 1000, spent / 1000, lost);
}

int main(void)
{
	libbpf_set_print(NULL);
	map_fd = data_map(V2_SIZE);
	data = mmap(NULL, 2 * getpagesize(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	meta = data + getpagesize();
	meta[0] = 1;
	strcpy((char *)meta + 4, "kind");
	meta[4 + 62] = 4;
	data[8] = 77;
	check(SEEN, "a thread that is seen");
	check(UNSEEN, "a thread that comes unseen");
	check(NOTHING_KEPT, "a thread of which nothing can be kept");
	return tap_done();
}
