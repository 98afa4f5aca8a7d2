// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * dispatcher.c - an example for libtld: one thread says what others will work on.
 *
 * The accept thread of a small server (server.c) stores in a TLD of a worker which
 * request it hands to it, and then wakes it. A BPF program (dispatcher.bpf.c) notes what
 * that TLD says when the worker comes onto a processor, before its first instruction; a
 * scheduler would do so to decide which worker runs first. The worker compares.
 *
 * This file loads the BPF side, attaches the map, and shows the figures.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <tld.h>

#include "dispatcher.h"

#define EXIT_USAGE	2
#define EXIT_SKIPPED	77	/* this machine cannot: what test harnesses expect */

#define SECONDS_MAX	86400

/* The BPF object is a part of the executable, so that one file runs. */
__asm__(".pushsection .rodata\n"
	".balign 8\n"
	"dispatcher_bpf_begin:\n"
	".incbin \"" DISPATCHER_BPF_OBJECT "\"\n"
	"dispatcher_bpf_end:\n"
	".popsection\n");
extern const char dispatcher_bpf_begin[] __attribute__((visibility("hidden")));
extern const char dispatcher_bpf_end[] __attribute__((visibility("hidden")));

static bool verbose;

void complain(const char *format, ...)
{
	char sentence[512];
	va_list args;

	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	fprintf(stderr, "dispatcher: %s\n", sentence);
}

/*
 * Say in one sentence why it cannot run here, and what to do. The version is looked at
 * only now: a kernel that works works, whatever it calls itself. Return: the exit status.
 */
static int explain(const char *what, int err)
{
	unsigned int major, minor;
	struct utsname uts;
	bool old;

	uname(&uts);
	old = sscanf(uts.release, "%u.%u", &major, &minor) == 2 &&
	      (major < 6 || (major == 6 && minor < 13));
	if ((err == EPERM || err == EACCES) && geteuid())
		complain("this needs root, to load BPF programs, and Linux 6.13 or newer (this is "
			 "%s): run it with sudo.", uts.release);
	else if (old || err == EOPNOTSUPP)
		complain("this kernel (%s) has no UPTR, through which BPF sees a thread's memory: "
			 "boot Linux 6.13 or newer.", uts.release);
	else if (err == EPERM || err == ENOSYS)
		complain("bpf(2) or pidfd_open(2) is refused even to root (a container, a sandbox, "
			 "or a locked down kernel): run it on the host, outside of these.");
	else if (access("/sys/kernel/btf/vmlinux", R_OK))
		complain("there is no /sys/kernel/btf/vmlinux to tell BPF programs the kernel's "
			 "types: mount sysfs, or boot a kernel built with CONFIG_DEBUG_INFO_BTF.");
	else {
		complain("cannot %s (%s): run it with --verbose to see why.", what, strerror(err));
		return EXIT_FAILURE;
	}
	return EXIT_SKIPPED;
}

static int print_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	return verbose && level != LIBBPF_DEBUG ? vfprintf(stderr, format, args) : 0;
}

/* The BPF side, loaded and attached until the program ends. Return: 0 or an errno. */
static int load_bpf(struct bpf_object **object)
{
	struct bpf_object_open_opts opts = { .sz = sizeof(opts), .object_name = "dispatcher" };
	struct bpf_program *program;

	*object = bpf_object__open_mem(dispatcher_bpf_begin,
				       (size_t)(dispatcher_bpf_end - dispatcher_bpf_begin), &opts);
	if (!*object || bpf_object__load(*object))
		return errno;
	bpf_object__for_each_program(program, *object)
		if (!bpf_program__attach(program))
			return errno;
	return 0;
}

static int map_fd(const struct bpf_object *object, const char *name)
{
	return bpf_map__fd(bpf_object__find_map_by_name(object, name));
}

/* The entries that BPF writes its notes to. */
static struct dispatcher_note *map_notes(const struct bpf_object *object)
{
	void *notes = mmap(NULL, DISPATCHER_WORKERS_MAX * sizeof(struct dispatcher_note), PROT_READ,
			   MAP_SHARED, map_fd(object, "dispatcher_notes"), 0);

	return notes == MAP_FAILED ? NULL : notes;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Wait for one of @ends, which are blocked in all threads, or for @seconds. */
static void wait_for_end(double seconds, const sigset_t *ends)
{
	double left, until = now() + seconds;
	struct timespec t;

	while ((left = until - now()) > 0) {
		t = (struct timespec){ .tv_sec = (time_t)left,
				       .tv_nsec = (long)((left - (double)(time_t)left) * 1e9) };
		if (sigtimedwait(ends, NULL, &t) > 0)
			return;
	}
}

static void print_row(const char *name, const struct server_figures *f)
{
	printf("%-6s  %9" PRIu64 "  %8" PRIu64 "  %9" PRIu64 "  %12" PRIu64 "  %9.1f us\n", name,
	       f->requests, f->requests - f->asleep, f->asleep, f->seen,
	       f->asleep ? (double)f->wait_ns / 1e3 / (double)f->asleep : 0.0);
}

/* The table. Return: whether BPF saw all that it should have seen, and that was something. */
static bool report(const struct server_figures figures[DISPATCHER_KINDS])
{
	static const char *const names[DISPATCHER_KINDS] = {
		[DISPATCHER_LOOKUP] = "lookup",
		[DISPATCHER_SEARCH] = "search",
		[DISPATCHER_REPORT] = "report",
	};
	struct server_figures all = { 0 };
	unsigned int kind;

	printf("%-6s  %9s  %19s  %12s  %12s\n", "", "", "handed to a worker", "seen by BPF",
	       "wait for a");
	printf("%-6s  %9s  %8s  %9s  %12s  %12s\n", "kind", "requests", "awake", "asleep",
	       "in time", "processor");
	for (kind = 0; kind < DISPATCHER_KINDS; kind++) {
		print_row(names[kind], &figures[kind]);
		server_figures_add(&all, &figures[kind]);
	}
	print_row("total", &all);
	printf("\n");
	if (all.seen < all.asleep)
		printf("For %" PRIu64 " of %" PRIu64 " requests BPF did not see the tag before the "
		       "worker ran:\nthis is a FAULT.\n", all.asleep - all.seen, all.asleep);
	else if (all.asleep)
		printf("BPF saw the tag of each request that woke a worker before the worker "
		       "ran.\n");
	else
		printf("No request was handed to a sleeping worker: this shows nothing.\n");
	return all.asleep && all.seen == all.asleep;
}

static int run(const struct server_options *options, unsigned int seconds)
{
	struct server_figures figures[DISPATCHER_KINDS] = { 0 };
	struct dispatcher_note *notes;
	struct bpf_object *object;
	sigset_t ends;
	bool right;
	int err;

	err = load_bpf(&object);
	if (err)
		return explain("load the BPF programs", err);
	notes = map_notes(object);
	if (!notes)
		return explain("map BPF's notes", errno);
	/*
	 * The map is this program's own, and loaded before any thread starts. Where a
	 * scheduler comes and goes, tld_follow() does this with the map that it pins.
	 */
	err = tld_attach(map_fd(object, "tld_data_map"));
	if (err)
		return explain("attach the data map", -err);

	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGHUP);
	sigaddset(&ends, SIGQUIT);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	err = server_start(options, map_fd(object, "dispatcher_tasks"), notes);
	if (err)
		return explain("start the server", -err);
	wait_for_end(seconds, &ends);
	server_stop(figures);

	right = report(figures);
	if (fflush(stdout) || ferror(stdout)) {
		complain("cannot write the table: %s.", strerror(errno));
		return EXIT_FAILURE;
	}
	return right ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void usage(void)
{
	printf("Usage: dispatcher [OPTION]...\n"
	       "A server whose accept thread tags its workers through libtld and then wakes them;\n"
	       "each worker checks that BPF saw the tag before the worker ran.\n"
	       "\n"
	       "  -s, --seconds=SECONDS  end after SECONDS (default 3); Ctrl-C ends it now\n"
	       "  -w, --workers=N        serve with N workers, 1 to %d (default 4)\n"
	       "      --tag-late         tag a worker after it was woken, to see the check fail\n"
	       "  -v, --verbose          show what libbpf says\n"
	       "  -h, --help             show this and exit\n"
	       "      --version          show the version and exit\n"
	       "\n"
	       "Exit status: 0 if BPF saw each tag in time, 1 if not or on an error, 2 for\n"
	       "options that make no sense, 77 where the kernel cannot (stderr says why).\n",
	       DISPATCHER_WORKERS_MAX);
}

static unsigned int parse_number(const char *arg, const char *what, unsigned int max)
{
	char *end;
	long n = strtol(arg, &end, 10);

	if (end == arg || *end || n < 1 || n > (long)max) {
		complain("the number of %s must be from 1 to %u, not '%s'.", what, max, arg);
		exit(EXIT_USAGE);
	}
	return (unsigned int)n;
}

int main(int argc, char **argv)
{
	static const struct option known[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "workers", required_argument, NULL, 'w' },
		{ "tag-late", no_argument, NULL, 'l' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	struct server_options options = { .workers = 4 };
	unsigned int seconds = 3;
	int c;

	while ((c = getopt_long(argc, argv, "s:w:vh", known, NULL)) != -1) {
		switch (c) {
		case 's':
			seconds = parse_number(optarg, "seconds", SECONDS_MAX);
			break;
		case 'w':
			options.workers = parse_number(optarg, "workers", DISPATCHER_WORKERS_MAX);
			break;
		case 'l':
			options.tag_late = true;
			break;
		case 'v':
			verbose = true;
			break;
		case 'h':
			usage();
			return EXIT_SUCCESS;
		case 'V':
			printf("dispatcher, an example for libtld %s\n", tld_version());
			return EXIT_SUCCESS;
		default:
			fprintf(stderr, "Try 'dispatcher --help'.\n");
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		complain("'%s' is no option, and there are no other arguments.", argv[optind]);
		return EXIT_USAGE;
	}
	libbpf_set_print(print_libbpf);
	return run(&options, seconds);
}
