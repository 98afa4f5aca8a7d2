// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * recorder.c - loads record.bpf.c over somebody's data maps, and empties its ring buffer.
 *
 * Nothing is pinned, so whatever ends this process leaves nothing loaded or attached.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ctldctl.h"
#include "ctldctl_recorder.h"
#include "record.skel.h"

struct ctldctl_recorder {
	struct record_bpf *bpf;
	struct ring_buffer *ring;
	struct bpf_link **samplers;	/* one a processor; NULL: none */
	int processors;
	struct ctldctl_stretch *space;	/* of ctldctl_recorder_take() */
	size_t count, taken;
};

/* --- Loading -------------------------------------------------------------------- */

static int put_maps(struct record_bpf *bpf, const struct ctldctl_recorder_request *request)
{
	struct bpf_map *maps[CTLDCTL_RECORDED_MAPS] = {
		bpf->maps.tldctl_data_map, bpf->maps.tldctl_map_1, bpf->maps.tldctl_map_2,
		bpf->maps.tldctl_map_3, bpf->maps.tldctl_map_4, bpf->maps.tldctl_map_5,
		bpf->maps.tldctl_map_6, bpf->maps.tldctl_map_7,
	};
	int err = 0;

	for (__u32 i = 0; i < CTLDCTL_RECORDED_MAPS && !err; i++) {
		if (i >= request->map_count) {
			err = bpf_map__set_autocreate(maps[i], false);
			continue;
		}
		bpf->rodata->map_value_bytes[i] = request->value_sizes[i];
		err = bpf_map__reuse_fd(maps[i], request->map_fds[i]);
	}
	return err;
}

static int shape(struct record_bpf *bpf, const struct ctldctl_recorder_request *request)
{
	size_t length = strlen(request->name);

	if (!request->map_count || request->map_count > CTLDCTL_RECORDED_MAPS || length >= CTLDCTL_NAME)
		return -EINVAL;
	memcpy(bpf->rodata_name->wanted_name, request->name, length + 1);
	bpf->rodata->page_bytes = getpagesize();
	bpf->rodata->map_count = request->map_count;
	bpf->rodata->wanted_tgid = request->tgid;
	bpf->rodata->keeps_nothing = request->keeps_nothing;
	bpf->rodata->wake_at = request->ring_bytes / 4;
	return put_maps(bpf, request) ?: bpf_map__set_max_entries(bpf->maps.events, request->ring_bytes);
}

/* libbpf's callback: an error ends the reading behind this one, which counts. */
static int keep(void *context, void *data, size_t size)
{
	struct ctldctl_recorder *recorder = context;

	if (size >= sizeof(*recorder->space))
		memcpy(&recorder->space[recorder->taken++], data, sizeof(*recorder->space));
	return recorder->taken == recorder->count ? -EAGAIN : 0;
}

static int open_recorder(struct ctldctl_recorder *recorder, const struct ctldctl_recorder_request *request)
{
	int err;

	recorder->bpf = record_bpf__open();
	if (!recorder->bpf)
		return -errno;
	err = shape(recorder->bpf, request);
	if (!err)
		err = record_bpf__load(recorder->bpf);
	if (err)
		return err;
	recorder->processors = libbpf_num_possible_cpus();
	if (recorder->processors < 0)
		return recorder->processors;
	recorder->samplers = calloc(recorder->processors, sizeof(*recorder->samplers));
	recorder->ring = ring_buffer__new(bpf_map__fd(recorder->bpf->maps.events), keep, recorder, NULL);
	if (!recorder->samplers || !recorder->ring)
		return -errno;
	return 0;
}

int ctldctl_recorder_open(const struct ctldctl_recorder_request *request, struct ctldctl_recorder **recorder)
{
	int err;

	*recorder = calloc(1, sizeof(**recorder));
	if (!*recorder)
		return -ENOMEM;
	err = open_recorder(*recorder, request);
	if (err) {
		ctldctl_recorder_close(*recorder);
		*recorder = NULL;
	}
	return err;
}

static void stop_sampling(struct ctldctl_recorder *recorder)
{
	for (int cpu = 0; recorder->samplers && cpu < recorder->processors; cpu++) {
		bpf_link__destroy(recorder->samplers[cpu]);
		recorder->samplers[cpu] = NULL;
	}
}

void ctldctl_recorder_close(struct ctldctl_recorder *recorder)
{
	if (!recorder)
		return;
	stop_sampling(recorder);
	free(recorder->samplers);
	ring_buffer__free(recorder->ring);
	record_bpf__destroy(recorder->bpf);
	free(recorder);
}

/* --- Running ----------------------------------------------------------------------- */

/* A clock of the kernel's, which every machine has. */
static int sample(struct ctldctl_recorder *recorder, int cpu, __u32 hz)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr), .type = PERF_TYPE_SOFTWARE, .config = PERF_COUNT_SW_CPU_CLOCK,
		.freq = 1, .sample_freq = hz,
	};
	int fd = syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC), err;

	if (fd < 0)
		return errno == ENODEV ? 0 : -errno; /* a processor that is not online */
	recorder->samplers[cpu] = bpf_program__attach_perf_event(recorder->bpf->progs.on_sample, fd);
	if (recorder->samplers[cpu])
		return 0;
	err = -errno;
	close(fd);
	return err;
}

static int sample_all(struct ctldctl_recorder *recorder, __u32 hz)
{
	int err = 0;

	for (int cpu = 0; hz && !err && cpu < recorder->processors; cpu++)
		err = sample(recorder, cpu, hz);
	if (err)
		stop_sampling(recorder);
	return err;
}

static int run(struct bpf_program *program, int cpu)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .flags = cpu < 0 ? 0 : BPF_F_TEST_RUN_ON_CPU,
		    .cpu = cpu < 0 ? 0 : cpu);

	return bpf_prog_test_run_opts(bpf_program__fd(program), &opts) ? -errno : 0;
}

/* Cut the stretch that each processor is in. One that is not online is in none. */
static int cut_all(struct ctldctl_recorder *recorder)
{
	int err = 0;

	for (int cpu = 0; !err && cpu < recorder->processors; cpu++) {
		err = run(recorder->bpf->progs.on_request, cpu);
		if (err == -ENXIO)
			err = 0;
	}
	return err;
}

static int attach(struct bpf_program *program, struct bpf_link **link)
{
	*link = bpf_program__attach(program);
	return *link ? 0 : -errno;
}

int ctldctl_recorder_begin(struct ctldctl_recorder *recorder, __u32 sample_hz, int *sampling_error)
{
	struct record_bpf *bpf = recorder->bpf;
	int err = run(bpf->progs.begin_recording, -1);

	if (!err)
		err = attach(bpf->progs.on_wakeup, &bpf->links.on_wakeup);
	if (!err)
		err = attach(bpf->progs.on_wakeup_new, &bpf->links.on_wakeup_new);
	if (!err)
		err = attach(bpf->progs.on_switch, &bpf->links.on_switch);
	if (!err)
		err = cut_all(recorder);
	*sampling_error = err ? 0 : sample_all(recorder, sample_hz);
	return err;
}

int ctldctl_recorder_end(struct ctldctl_recorder *recorder)
{
	int err = cut_all(recorder);

	recorder->bpf->bss->recording = false;
	stop_sampling(recorder);
	return err;
}

int ctldctl_recorder_take(struct ctldctl_recorder *recorder, struct ctldctl_stretch *stretches, size_t count)
{
	int err;

	recorder->space = stretches;
	recorder->count = count;
	recorder->taken = 0;
	err = ring_buffer__consume(recorder->ring);
	return err < 0 && err != -EAGAIN ? err : (int)recorder->taken;
}

int ctldctl_recorder_descriptor(const struct ctldctl_recorder *recorder)
{
	return ring_buffer__epoll_fd(recorder->ring);
}

/* --- What was lost ------------------------------------------------------------------- */

int ctldctl_recorder_processors(const struct ctldctl_recorder *recorder)
{
	return recorder->processors;
}

int ctldctl_recorder_lost(const struct ctldctl_recorder *recorder, struct ctldctl_lost *lost)
{
	/* Of each processor a row, which begins with this; rows are made multiples of 8. */
	size_t row = (bpf_map__value_size(recorder->bpf->maps.processors) + 7) & ~7;
	char *all = calloc(recorder->processors, row);
	__u32 zero = 0;
	int err = 0;

	if (!all)
		return -ENOMEM;
	if (bpf_map_lookup_elem(bpf_map__fd(recorder->bpf->maps.processors), &zero, all))
		err = -errno;
	for (int cpu = 0; !err && cpu < recorder->processors; cpu++)
		memcpy(&lost[cpu], all + cpu * row, sizeof(*lost));
	free(all);
	return err;
}

static __u64 missed(const struct bpf_program *program)
{
	struct bpf_prog_info info = { 0 };
	__u32 size = sizeof(info);

	return bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size) ? 0 : info.recursion_misses;
}

__u64 ctldctl_recorder_missed(const struct ctldctl_recorder *recorder)
{
	return missed(recorder->bpf->progs.on_switch) + missed(recorder->bpf->progs.on_wakeup) +
	       missed(recorder->bpf->progs.on_wakeup_new);
}

/* --- Signals and clocks ---------------------------------------------------------------- */

int ctldctl_end_descriptor(void)
{
	sigset_t signals;
	int fd;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &signals, NULL))
		return -errno;
	fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static __u64 clock_ns(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec * 1000000000ULL + time.tv_nsec;
}

__u64 ctldctl_monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

__u64 ctldctl_realtime_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}
