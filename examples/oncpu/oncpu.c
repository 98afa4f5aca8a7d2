// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * oncpu.c - a demonstration of libtld: on-CPU time by kind of request.
 *
 * A small server (server.c) stores in a TLD which kind of request each of its
 * threads works on. A BPF program (oncpu.bpf.c) reads that variable whenever a
 * thread leaves the processor and sums the time by kind. This file loads the
 * one, starts the other and shows both sides' figures.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
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

#include "oncpu.h"
#include "server.h"
#include "table.h"
#include "work.h"

#define EXIT_USAGE	2
#define EXIT_SKIPPED	77	/* this machine cannot: what test harnesses expect */

#define REDRAW_NS	200000000

#define DURATION_MAX	86400.0

/* The BPF object is a part of the executable, so that one file runs. */
__asm__(".pushsection .rodata\n"
	".balign 8\n"
	"oncpu_bpf_begin:\n"
	".incbin \"" ONCPU_BPF_OBJECT "\"\n"
	"oncpu_bpf_end:\n"
	".popsection\n");
extern const char oncpu_bpf_begin[] __attribute__((visibility("hidden")));
extern const char oncpu_bpf_end[] __attribute__((visibility("hidden")));

struct options {
	double duration;
	unsigned int threads;
	bool verbose;
};

/* The BPF side, loaded and attached. */
struct bpf {
	struct bpf_object *object;
	struct bpf_link *links[2];
	int data_map_fd, task_map_fd;
	struct oncpu_totals *totals;
};

__attribute__((format(printf, 1, 2))) static void complain(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "oncpu: ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
}

/* Whether this kernel is older than the first with UPTR. */
static bool kernel_before_6_13(const struct utsname *uts)
{
	unsigned int major, minor;

	return sscanf(uts->release, "%u.%u", &major, &minor) == 2 &&
	       (major < 6 || (major == 6 && minor < 13));
}

static int no_uptr(const char *release)
{
	complain("this kernel (%s) has no UPTR, through which BPF sees a thread's memory: "
		 "boot Linux 6.13 or newer.", release);
	return EXIT_SKIPPED;
}

/*
 * Say in one sentence why the BPF programs could not be loaded, and what to do.
 * The version is looked at only now: a kernel that works works, whatever it
 * calls itself. Return: the exit status.
 */
static int explain_bpf(int err)
{
	struct utsname uts;
	bool old;

	uname(&uts);
	old = kernel_before_6_13(&uts);
	if (err == ENOSYS)
		complain("this kernel (%s) or sandbox has no bpf(2): run it on a Linux 6.13 or "
			 "newer that is built with CONFIG_BPF_SYSCALL.", uts.release);
	else if ((err == EPERM || err == EACCES) && geteuid() && old)
		complain("this needs root, to load BPF programs, and Linux 6.13 or newer (this is "
			 "%s): boot a newer kernel and run 'sudo make demo'.", uts.release);
	else if ((err == EPERM || err == EACCES) && geteuid())
		complain("this needs root, to load BPF programs: run 'sudo make demo'.");
	else if (old)
		no_uptr(uts.release);
	else if (err == EPERM)
		complain("BPF is refused even to root (a container, a sandbox, or a locked down "
			 "kernel): run it on the host, outside of these.");
	else if (access("/sys/kernel/btf/vmlinux", R_OK))
		complain("there is no /sys/kernel/btf/vmlinux to tell BPF programs the kernel's "
			 "types: mount sysfs, or boot a kernel built with CONFIG_DEBUG_INFO_BTF.");
	else {
		complain("cannot load the BPF programs (%s): run it with --verbose to see why.",
			 strerror(err));
		return EXIT_FAILURE;
	}
	return EXIT_SKIPPED;
}

/* The same for the server, whose threads publish their TLDs when they start. */
static int explain_server(int err)
{
	struct utsname uts;

	uname(&uts);
	if (err == EOPNOTSUPP)
		return no_uptr(uts.release);
	if (err == EPERM || err == ENOSYS) {
		complain("a sandbox refuses bpf(2) or pidfd_open(2) to the threads (%s): run it "
			 "outside.", strerror(err));
		return EXIT_SKIPPED;
	}
	complain("cannot start the threads: %s.", strerror(err));
	return EXIT_FAILURE;
}

static bool verbose;

static int print_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	return verbose && level != LIBBPF_DEBUG ? vfprintf(stderr, format, args) : 0;
}

static int map_fd(const struct bpf_object *object, const char *name)
{
	const struct bpf_map *map = bpf_object__find_map_by_name(object, name);

	return map ? bpf_map__fd(map) : -ENOENT;
}

/* The page that BPF counts in. */
static struct oncpu_totals *map_totals(const struct bpf_object *object)
{
	void *page = mmap(NULL, sizeof(struct oncpu_totals), PROT_READ | PROT_WRITE, MAP_SHARED,
			  map_fd(object, "oncpu_totals"), 0);

	return page == MAP_FAILED ? NULL : page;
}

static void bpf_close(struct bpf *bpf)
{
	size_t i;

	for (i = 0; i < sizeof(bpf->links) / sizeof(bpf->links[0]); i++)
		bpf_link__destroy(bpf->links[i]);
	if (bpf->totals)
		munmap(bpf->totals, sizeof(*bpf->totals));
	bpf_object__close(bpf->object);
}

/* Return: 0 or the errno of what the kernel refused. */
static int bpf_open(struct bpf *bpf)
{
	struct bpf_object_open_opts opts = { .sz = sizeof(opts), .object_name = "oncpu" };
	struct bpf_program *program;
	size_t n = 0;

	bpf->object = bpf_object__open_mem(oncpu_bpf_begin,
					   (size_t)(oncpu_bpf_end - oncpu_bpf_begin), &opts);
	if (!bpf->object || bpf_object__load(bpf->object))
		return errno;
	bpf->data_map_fd = map_fd(bpf->object, "tld_data_map");
	bpf->task_map_fd = map_fd(bpf->object, "oncpu_tasks");
	bpf->totals = map_totals(bpf->object);
	if (!bpf->totals)
		return errno;
	bpf_object__for_each_program(program, bpf->object) {
		bpf->links[n] = bpf_program__attach(program);
		if (!bpf->links[n++])
			return errno;
	}
	return 0;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Ctrl-Z. The shell must get a terminal with a cursor. */
static void suspend(void)
{
	table_leave();
	raise(SIGSTOP);
}

/*
 * Wait for the end of the demonstration or for a signal that asks for it, and
 * show on the way how it goes. The signals of @ends are blocked in all threads.
 */
static void watch(const struct options *options, const struct bpf *bpf,
		  const struct server *server, const sigset_t *ends)
{
	double begin = now(), left, wait;
	struct server_figures own;
	struct timespec t;
	char footer[64];
	int signal;

	while ((left = begin + options->duration - now()) > 0) {
		if (table_can_redraw()) {
			server_read(server, &own);
			snprintf(footer, sizeof(footer), "%.0f s to go; Ctrl-C ends it now.", left);
			table_draw(bpf->totals, &own, footer);
		}
		wait = left < REDRAW_NS / 1e9 ? left : REDRAW_NS / 1e9;
		t = (struct timespec){ .tv_nsec = (long)(wait * 1e9) };
		signal = sigtimedwait(ends, NULL, &t);
		if (signal == SIGTSTP)
			suspend();
		else if (signal > 0)
			return;
	}
}

/* Signals that end the demonstration wait for watch(), whichever thread they hit. */
static void block_signals(sigset_t *ends)
{
	sigemptyset(ends);
	sigaddset(ends, SIGINT);
	sigaddset(ends, SIGTERM);
	sigaddset(ends, SIGHUP);
	sigaddset(ends, SIGQUIT);
	if (table_can_redraw())
		sigaddset(ends, SIGTSTP);
	sigprocmask(SIG_BLOCK, ends, NULL);
}

static int demonstrate(const struct options *options, struct bpf *bpf)
{
	struct server_figures own;
	struct server *server;
	sigset_t ends;
	bool agree;
	int err;

	block_signals(&ends);
	server = server_start(options->threads, bpf->data_map_fd, bpf->task_map_fd, bpf->totals);
	if (!server)
		return explain_server(errno);
	watch(options, bpf, server, &ends);
	/* BPF hears of a thread's last stretch when it is switched out: end all first. */
	err = server_stop(server);
	server_read(server, &own);
	server_free(server);
	table_finish(bpf->totals, &own);
	if (err) {
		complain("a worker could not go on: %s.", strerror(-err));
		return EXIT_FAILURE;
	}
	agree = table_verdict(bpf->totals, &own, options->threads);
	if (fflush(stdout) || ferror(stdout)) {
		complain("cannot write the table: %s.", strerror(errno));
		return EXIT_FAILURE;
	}
	return agree ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void usage(void)
{
	printf("Usage: oncpu [OPTION]...\n"
	       "A small server tells BPF what each of its threads works on, through libtld;\n"
	       "BPF sums the on-CPU time of each kind of request.\n"
	       "\n"
	       "  -d, --duration=SECONDS  end after SECONDS (default 5)\n"
	       "  -t, --threads=N         serve with N threads, 1 to %d (default 4)\n"
	       "  -v, --verbose           show what libbpf says\n"
	       "  -h, --help              show this and exit\n"
	       "      --version           show the version and exit\n"
	       "\n"
	       "Exit status: 0 if BPF and the program agree, 1 if not or on an error, 2 for\n"
	       "options that make no sense, 77 where the kernel cannot (stderr says why).\n",
	       ONCPU_WORKERS_MAX);
}

static double parse_duration(const char *arg)
{
	char *end;
	double seconds = strtod(arg, &end);

	if (end == arg || *end || !(seconds > 0 && seconds <= DURATION_MAX)) {
		complain("the duration must be a number of seconds from more than 0 to %g, not "
			 "'%s'.", DURATION_MAX, arg);
		exit(EXIT_USAGE);
	}
	return seconds;
}

static unsigned int parse_threads(const char *arg)
{
	char *end;
	long n = strtol(arg, &end, 10);

	if (end == arg || *end || n < 1 || n > ONCPU_WORKERS_MAX) {
		complain("the number of threads must be from 1 to %d, not '%s'.",
			 ONCPU_WORKERS_MAX, arg);
		exit(EXIT_USAGE);
	}
	return (unsigned int)n;
}

static void parse_options(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{ "duration", required_argument, NULL, 'd' },
		{ "threads", required_argument, NULL, 't' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "d:t:vh", known, NULL)) != -1) {
		switch (c) {
		case 'd':
			options->duration = parse_duration(optarg);
			break;
		case 't':
			options->threads = parse_threads(optarg);
			break;
		case 'v':
			options->verbose = true;
			break;
		case 'h':
			usage();
			exit(EXIT_SUCCESS);
		case 'V':
			printf("oncpu, a demonstration of libtld %s\n", tld_version());
			exit(EXIT_SUCCESS);
		default:
			fprintf(stderr, "Try 'oncpu --help'.\n");
			exit(EXIT_USAGE);
		}
	}
	if (optind < argc) {
		complain("'%s' is no option, and there are no other arguments.", argv[optind]);
		exit(EXIT_USAGE);
	}
}

int main(int argc, char **argv)
{
	struct options options = { .duration = 5, .threads = 4 };
	struct bpf bpf = { 0 };
	int err, status;

	parse_options(argc, argv, &options);
	verbose = options.verbose;
	libbpf_set_print(print_libbpf);
	if (work_prepare()) {
		complain("not enough memory.");
		return EXIT_FAILURE;
	}
	err = bpf_open(&bpf);
	status = err ? explain_bpf(err) : demonstrate(&options, &bpf);
	bpf_close(&bpf);
	return status;
}
