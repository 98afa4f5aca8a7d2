// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * scx_hint.c - loads the scheduler, says what it does, and ends it.
 *
 * The scheduler is the kernel's as long as this process lives: however it ends, the kernel's
 * own scheduler takes over. The data map stays pinned, so that programs go on publishing in it,
 * and their hints are in effect at once when the scheduler is started again.
 */
#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <tld_pin.h>

#include "options.h"
#include "scx_hint.h"
#include "scx_hint.skel.h"
#include "topology.h"

/* linux/bpf.h has them since 6.4. */
#define LINK_FLAG (1U << 13)	/* BPF_F_LINK */
#define LINK_STRUCT_OPS 44	/* BPF_STRUCT_OPS */

/* From there on, scx_exit_kind is errors. */
#define EXIT_ERROR 1024

static struct options options;
static struct tld_pin pin;
static bool is_pinned;	/* by an earlier run, or another loader */
static volatile sig_atomic_t ended;

static void end(int signal)
{
	(void)signal;
	ended = 1;
}

__attribute__((format(printf, 1, 2))) static void complain(const char *format, ...)
{
	va_list args;

	fputs("scx_hint: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

/* --- The scheduler --- */

static int print_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	return options.verbose || level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

/* Whether a map that is there is of the shape that the programs were compiled for. */
static bool is_same_shape(int fd, const struct bpf_map *map)
{
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);

	return !bpf_obj_get_info_by_fd(fd, &info, &size) && info.type == bpf_map__type(map) &&
	       info.key_size == bpf_map__key_size(map) && info.value_size == bpf_map__value_size(map) &&
	       info.max_entries == bpf_map__max_entries(map) && info.map_flags == bpf_map__map_flags(map);
}

static int complain_of_pin(int err)
{
	complain("%s: %s%s", options.pin, tld_pin_error(&pin, err), err == -ENOENT ?
		 ". Is the BPF file system mounted (mount -t bpf bpf /sys/fs/bpf)?" : "");
	return err;
}

/* The map that is pinned, if one is. Nothing is made yet: loading may fail. */
static int take_pinned(struct bpf_map *map)
{
	int err = tld_pin_open(&pin, options.pin, 0), fd = -1;

	if (!err)
		err = fd = tld_pin_get(&pin);
	if (err == -ENOENT)
		return 0;
	if (err < 0)
		return complain_of_pin(err);
	is_pinned = true;
	err = is_same_shape(fd, map) ? bpf_map__reuse_fd(map, fd) : -EINVAL;
	close(fd);
	if (err)
		complain("%s: %s. Is the pin another map? Then remove it, or choose --pin", options.pin,
			 strerror(-err));
	return err;
}

/* A name, or a number. */
static int find_group(gid_t *gid)
{
	struct group *group = getgrnam(options.group);
	unsigned long number;
	char *rest;

	errno = 0;
	number = group ? group->gr_gid : strtoul(options.group, &rest, 10);
	*gid = number;
	if (group || (isdigit(*options.group) && !*rest && !errno && number < (gid_t)-1))
		return 0;
	complain("there is no group %s", options.group);
	return -ENOENT;
}

static int put_pin(const struct bpf_map *map, gid_t gid)
{
	tld_pin_close(&pin);
	return tld_pin_open(&pin, options.pin, TLD_PIN_MAKE) ?:
	       tld_pin_put(&pin, bpf_map__fd(map), gid, options.mode);
}

static int pin_map(const struct bpf_map *map)
{
	gid_t gid = -1;
	int err = options.group ? find_group(&gid) : 0;

	if (err)
		return err;
	if (!is_pinned)
		err = put_pin(map, gid);
	else if (options.group || options.mode)
		err = tld_pin_give(&pin, gid, options.mode);
	return err ? complain_of_pin(err) : 0;
}

static void configure(struct scx_hint *skel)
{
	struct topology topology;
	unsigned int i;

	topology_read(&topology);
	skel->rodata->nr_cpus = topology.cpus;
	skel->rodata->nr_domains = topology.domains;
	memcpy((void *)skel->rodata->cpu_order, topology.order, sizeof(topology.order));
	memcpy((void *)skel->rodata->domain_cpus, topology.of, sizeof(topology.of));
	for (i = 0; i < topology.cpus; i++)
		skel->bss->cpus[i].domain = topology.domain[i];
	skel->rodata->use_hints = !options.no_hints;
	skel->rodata->use_trust = options.trusts;
	skel->rodata->slice_ns = options.slice_us * 1000ULL;
	skel->rodata->window_ns = options.window_ms * 1000000ULL;
	for (i = 0; i < BUDGETS; i++)
		skel->rodata->budget_percent[i] = options.budget[i];
	/* So that the scheduler ends with this process, whatever ends that. */
	bpf_map__set_map_flags(skel->maps.hint_ops, bpf_map__map_flags(skel->maps.hint_ops) | LINK_FLAG);
	/* These sleep. Older libbpfs have no section name to say so. */
	bpf_program__set_flags(skel->progs.hint_init, BPF_F_SLEEPABLE);
	bpf_program__set_flags(skel->progs.hint_init_task, BPF_F_SLEEPABLE);
}

/*
 * Kernels from 7.1 on that were built with an old pahole tell of some functions an argument
 * that nobody passes, and then no scheduler loads that makes queues.
 */
static bool has_malformed_btf(void)
{
	struct btf *btf = btf__load_vmlinux_btf();
	const struct btf_type *type;
	bool is_malformed = false;

	if (!btf)
		return false;
	type = btf__type_by_id(btf, btf__find_by_name_kind(btf, "scx_bpf_create_dsq", BTF_KIND_FUNC));
	if (type)
		is_malformed = btf_vlen(btf__type_by_id(btf, type->type)) != 2;
	btf__free(btf);
	return is_malformed;
}

static void complain_of_load(int err)
{
	if (err == -EPERM)
		complain("cannot be loaded: it takes root");
	else if (has_malformed_btf())
		complain("cannot be loaded: this kernel has malformed BTF, for it was built with pahole before "
			 "1.26; no scheduler that makes queues loads. Take another build of it");
	else
		complain("cannot be loaded: %s", strerror(-err));
}

static int trust(struct scx_hint *skel)
{
	int fd = bpf_map__fd(skel->maps.trusted), err = 0;
	const __u8 yes = 1;
	unsigned int i;

	for (i = 0; i < options.trusts && !err; i++)
		err = bpf_map_update_elem(fd, &options.trust[i], &yes, BPF_ANY);
	if (err)
		complain("cannot note who is trusted: %s", strerror(-err));
	return err;
}

static int load_prepared(struct scx_hint *skel)
{
	int err = take_pinned(skel->maps.tld_data_map);

	if (!err) {
		err = scx_hint__load(skel);
		if (err)
			complain_of_load(err);
	}
	err = err ?: trust(skel) ?: pin_map(skel->maps.tld_data_map);
	tld_pin_close(&pin);
	return err;
}

static struct scx_hint *load(void)
{
	struct scx_hint *skel;

	if (access("/sys/kernel/sched_ext", F_OK)) {
		complain("this kernel has no sched_ext (CONFIG_SCHED_CLASS_EXT; Linux 6.17 for this scheduler)");
		return NULL;
	}
	if (libbpf_num_possible_cpus() > CPUS_MAX) {
		complain("this machine may have more than %d processors: raise CPUS_MAX", CPUS_MAX);
		return NULL;
	}
	skel = scx_hint__open();
	if (!skel) {
		complain("cannot be opened: %s", strerror(errno));
		return NULL;
	}
	configure(skel);
	if (load_prepared(skel)) {
		scx_hint__destroy(skel);
		return NULL;
	}
	return skel;
}

/* libbpf before 1.2 puts the scheduler in place, but does not start it. */
static struct bpf_link *start(struct scx_hint *skel, int *link_fd)
{
	struct bpf_link *link = bpf_map__attach_struct_ops(skel->maps.hint_ops);

	*link_fd = -1;
	if (link && libbpf_major_version() == 1 && libbpf_minor_version() < 2) {
		*link_fd = bpf_link_create(bpf_map__fd(skel->maps.hint_ops), 0, LINK_STRUCT_OPS, NULL);
		if (*link_fd < 0) {
			int err = errno;

			bpf_link__destroy(link);
			errno = err;
			return NULL;
		}
	}
	return link;
}

static void print_stats(struct scx_hint *skel, __u64 before[STATS])
{
	int cpu, cpus = libbpf_num_possible_cpus();
	__u64 values[CPUS_MAX], now[STATS] = { 0 };
	__u32 i;

	for (i = 0; i < STATS; i++) {
		if (cpus > CPUS_MAX || bpf_map_lookup_elem(bpf_map__fd(skel->maps.stats), &i, values))
			return;
		for (cpu = 0; cpu < cpus; cpu++)
			now[i] += values[cpu];
	}
#define SINCE(stat) (unsigned long long)(now[STAT_##stat] - before[STAT_##stat])
	printf("interactive %llu normal %llu background %llu hinted %llu refused %llu idle %llu "
	       "preempted %llu migrated %llu stolen %llu budget %llu\n",
	       SINCE(INTERACTIVE), SINCE(NORMAL), SINCE(BACKGROUND), SINCE(HINTED), SINCE(REFUSED), SINCE(IDLE),
	       SINCE(PREEMPTED), SINCE(MIGRATED), SINCE(STOLEN), SINCE(BUDGET));
	memcpy(before, now, sizeof(now));
}

static int run(struct scx_hint *skel)
{
	const struct timespec tenth = { .tv_nsec = 100000000 };
	const struct scx_hint_exit *exited = &skel->bss->exited;
	__u64 before[STATS] = { 0 };
	struct bpf_link *link;
	int link_fd, i;

	link = start(skel, &link_fd);
	if (!link) {
		complain("cannot be started: %s%s", strerror(errno),
			 errno == EBUSY ? ": another sched_ext scheduler runs" : "");
		return 1;
	}
	printf("scheduling; data map %s; Ctrl-C ends it\n", options.pin);
	for (i = 1; !ended && !exited->kind; i++) {
		nanosleep(&tenth, NULL);
		if (options.stats && i % 10 == 0)
			print_stats(skel, before);
	}
	if (link_fd >= 0)
		close(link_fd);
	bpf_link__destroy(link);
	if (ended && exited->kind < EXIT_ERROR)
		return 0;
	complain("the kernel ended the scheduler: %s%s%s (kind %d, code %lld). Its own goes on.", exited->reason,
		 *exited->message ? ": " : "", exited->message, exited->kind, (long long)exited->code);
	return 1;
}

int main(int argc, char **argv)
{
	const struct sigaction action = { .sa_handler = end };
	struct scx_hint *skel;
	int status;

	options_parse(&options, argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	libbpf_set_print(print_libbpf);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	skel = load();
	if (!skel)
		return 1;
	status = run(skel);
	scx_hint__destroy(skel);
	return status;
}
