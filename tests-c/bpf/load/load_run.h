/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * load_run.h - makes each program of load.bpf.c run with the chosen thread as its task,
 * which is the one that calls load_run_all(), by whatever its kind asks for. load.c owns it.
 */
#ifndef TESTS_C_LOAD_RUN_H
#define TESTS_C_LOAD_RUN_H

#include <arpa/inet.h>
#include <linux/perf_event.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static const char *const load_place_names[PLACES] = {
#define LOAD_NAME(name, words) #name,
	LOAD_PLACES(LOAD_NAME)
};
static const char *const load_place_words[PLACES] = {
#define LOAD_WORDS(name, words) words,
	LOAD_PLACES(LOAD_WORDS)
};
static const char *const load_shape_names[SHAPES] = { "plain", "loop", "subprogram", "callback" };

static const char *load_program_name(enum load_place place, enum load_shape shape)
{
	static char name[64];

	snprintf(name, sizeof(name), "%s_%s", load_place_names[place], load_shape_names[shape]);
	return name;
}

static struct bpf_program *load_program(struct bpf_object *of, enum load_place place,
					enum load_shape shape)
{
	const char *name = load_program_name(place, shape);
	struct bpf_program *program = bpf_object__find_program_by_name(of, name);

	if (!program)
		tap_bail("the object has %s", name);
	return program;
}

static struct bpf_map *load_ops_map(struct bpf_object *of, enum load_shape shape)
{
	char name[32];

	snprintf(name, sizeof(name), "ops_%s", load_shape_names[shape]);
	return bpf_object__find_map_by_name(of, name);
}

/* --- By test_run ------------------------------------------------------------------- */

static void load_test_run(struct bpf_program *program, bool packet)
{
	static char bytes[64];
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	if (packet) {
		opts.data_in = bytes;
		opts.data_size_in = sizeof(bytes);
	}
	if (bpf_prog_test_run_opts(bpf_program__fd(program), &opts))
		diag("  %s: test_run: %s", bpf_program__name(program), strerror(errno));
}

/* --- By a connection that changes its congestion control ----------------------------- */

/* One end of it; the listener, whose end would end the connection, into *listener. */
static int load_connection(int *listener)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(*listener, (void *)&address, size) || listen(*listener, 1) ||
	    getsockname(*listener, (void *)&address, &size) ||
	    connect(connection, (void *)&address, size))
		tap_bail("a connection to this machine itself");
	return connection;
}

/* The name belongs to the whole machine, and perhaps to another run of the test. */
static struct bpf_link *load_attach_ops(struct bpf_map *map)
{
	struct bpf_link *link;

	eventually((link = bpf_map__attach_struct_ops(map)) || errno != EEXIST);
	return link;
}

static void load_run_ops(struct bpf_object *of, const char *tag, enum load_shape shape)
{
	struct bpf_link *link = load_attach_ops(load_ops_map(of, shape));
	int listener, connection = load_connection(&listener);
	char name[16];

	snprintf(name, sizeof(name), "%.14s%c", tag, load_shape_names[shape][0]);
	if (!link || setsockopt(connection, IPPROTO_TCP, TCP_CONGESTION, name, strlen(name)))
		diag("  %s is not used: %s", name, strerror(errno));
	close(connection);
	close(listener);
	bpf_link__destroy(link);
}

/* --- By an event ------------------------------------------------------------------- */

static int load_cpu_clock(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.sample_period = 100000, /* ns */
	};

	return syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

/* What the uprobes wait for. */
__attribute__((noinline, used))
void load_probed(void)
{
	__asm__ volatile("");
}

static struct bpf_link *load_attach(enum load_place place, struct bpf_program *program)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = "load_probed");

	if (place == PLACE_perf_event)
		return bpf_program__attach_perf_event(program, load_cpu_clock());
	if (place == PLACE_kprobe || place == PLACE_kprobe_sleepable)
		return bpf_program__attach_uprobe_opts(program, 0, "/proc/self/exe", 0, &opts);
	return bpf_program__attach(program);
}

/* An iterator, by a thread that is not the chosen one. */
static void *load_read_iterator(void *link)
{
	int fd = bpf_iter_create(bpf_link__fd(link));
	char buffer[64];

	if (fd < 0)
		tap_bail("an iterator starts");
	while (read(fd, buffer, sizeof(buffer)) > 0)
		;
	close(fd);
	return NULL;
}

/* Do what makes the programs run on this thread. */
static void load_provoke(enum load_place place, struct bpf_link *link)
{
	struct timespec moment = { .tv_nsec = 1000 };

	if (place == PLACE_iter || place == PLACE_iter_sleepable)
		in_thread(load_read_iterator, link);
	else if (place == PLACE_perf_event)
		for (volatile int spin = 0; spin < 100000; spin++)
			;
	else if (place == PLACE_kprobe || place == PLACE_kprobe_sleepable)
		load_probed();
	else
		nanosleep(&moment, NULL); /* a switch away from this thread */
}

/* All shapes of one place at once: to attach and to detach takes a grace period. */
static void load_run_attached(struct bpf_object *of, volatile struct load_shared *shared,
			      enum load_place place)
{
	struct bpf_link *links[SHAPES];

	for (int shape = 0; shape < SHAPES; shape++)
		links[shape] = load_attach(place, load_program(of, place, shape));
	for (int shape = 0; shape < SHAPES; shape++)
		if (!links[shape] ||
		    !eventually((load_provoke(place, links[shape]), shared->result[place][shape].runs)))
			diag("  %s did not run", load_program_name(place, shape));
	for (int shape = 0; shape < SHAPES; shape++)
		bpf_link__destroy(links[shape]);
}

/* --- All ------------------------------------------------------------------------------ */

static void load_run_place(struct bpf_object *of, volatile struct load_shared *shared,
			   const char *tag, enum load_place place)
{
	for (int shape = 0; shape < SHAPES; shape++)
		switch (place) {
		case PLACE_syscall:
			load_test_run(load_program(of, place, shape), false);
			break;
		case PLACE_xdp:
		case PLACE_tc:
		case PLACE_socket:
		case PLACE_cgroup:
			load_test_run(load_program(of, place, shape), true);
			break;
		case PLACE_struct_ops:
			load_run_ops(of, tag, shape);
			break;
		default:
			load_run_attached(of, shared, place);
			return;
		}
}

/* Run each program that may be loaded at least once; their results say whether they were. */
static void load_run_all(struct bpf_object *of, volatile struct load_shared *shared,
			 const char *tag, const bool *may_load)
{
	for (int place = 0; place < PLACES; place++)
		if (may_load[place])
			load_run_place(of, shared, tag, place);
}

#endif
