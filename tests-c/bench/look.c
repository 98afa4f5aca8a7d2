// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * look.c - what a look at a task costs a BPF program: libtld's two headers, the kernel's,
 * bare task storage and a hash by thread id. The task is this one, and BPF's clock counts.
 */
#include <pthread.h>

#include "objects.h"
#include "look.h"
#include "peer.h"

#define TLD_DYN_DATA_SIZE BENCH_DYN_DATA_SIZE
#include "task_local_data.h"

#define TIMES 40000
#define TURNS 80
#define FIRST_LOOKS 40

/* What is looked for, and how many values are read at a look. */
static const struct kind {
	const char *name;
	int reads;	/* -1: anything */
	bool of_none;	/* while no TLD is defined */
} kinds[] = {
	{ "present", 1, false },
	{ "absent", 0, false },
	{ "absent_of_0", 0, true },
	{ "one", 1, false },
	{ "four", 4, false },
	{ "sixteen", 16, false },
};
#define KINDS 6

static const struct kind bare_kinds[] = {
	{ "empty", -1, false },
	{ "bare", 1, false },
	{ "bare_sixteen", 16, false },
	{ "hash", 1, false },
};
#define BARE_KINDS 4

struct header {
	const char *name, *file;
	int programs[KINDS], last;
};

static struct header headers[] = {
	{ .name = "native", .file = "look_native.bpf.o" },
	{ .name = "dropin", .file = "look_dropin.bpf.o" },
	{ .name = "kernel", .file = "look_kernel.bpf.o" },
};
#define HEADERS 3
static int headers_here = HEADERS, nothing;

struct run {
	int program;
	const struct kind *kind;
};

static uint64_t run_program(const struct run *run, uint64_t times)
{
	struct look look = { .times = times };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &look, .ctx_size_in = sizeof(look));
	__u16 cnt = tld_meta_p->cnt;

	if (run->kind->of_none)
		tld_meta_p->cnt = 0;
	if (bpf_prog_test_run_opts(run->program, &opts))
		die("a program runs");
	tld_meta_p->cnt = cnt;
	if (run->kind->reads >= 0 && look.sum != times * run->kind->reads)
		die("BPF read %llu in %llu looks", look.sum, (unsigned long long)times);
	return look.ns;
}

static uint64_t run_contender(const struct contender *self)
{
	return run_program(self->arg, self->times);
}

/* --- The thread that is looked at --------------------------------------------------------- */

static tld_key_t keys[LOOK_TLDS];

static void create_keys(void)
{
	char name[16];

	for (int i = 0; i < LOOK_TLDS; i++) {
		snprintf(name, sizeof(name), "hint_%d", i);
		keys[i] = tld_create_key(name, sizeof(uint64_t));
		if (tld_key_is_err(keys[i]))
			die("key %d can be made", i);
	}
}

static void store_hints(void)
{
	for (int i = 0; i < LOOK_TLDS; i++) {
		uint64_t *hint = tld_get(keys[i]);

		if (!hint)
			die("TLD %d can be had", i);
		*hint = 1;
	}
	if (tld_publish())
		die("the thread can be published");
}

/* The hash is as full as one of a machine with a thousand threads. */
static void fill_bare_maps(struct bpf_object *bare)
{
	int pidfd = thread_pidfd(gettid()), hash_fd = object_map_fd(bare, "hash_map");
	__u64 one = 1, ones[16];

	for (int i = 0; i < 16; i++)
		ones[i] = 1;
	if (bpf_map_update_elem(object_map_fd(bare, "bare_map"), &pidfd, ones, BPF_ANY))
		die("task storage takes a value");
	for (__u32 pid = gettid(); pid < (__u32)gettid() + 1000; pid++)
		if (bpf_map_update_elem(hash_fd, &pid, &one, BPF_ANY))
			die("a hash takes a value");
	close(pidfd);
}

static void open_header(struct header *header)
{
	struct bpf_object *object = object_load(header->file);

	for (int i = 0; i < KINDS; i++)
		header->programs[i] = object_prog_fd(object, kinds[i].name);
	header->last = object_prog_fd(object, "last");
	if (tld_attach(object_map_fd(object, "tld_data_map")))
		die("%s: the map is attached", header->name);
}

/* --- Figures ------------------------------------------------------------------------------- */

static void measure_loops(struct bpf_object *bare)
{
	static char names[HEADERS * KINDS][32];
	static struct run runs[BARE_KINDS + HEADERS * KINDS];
	static struct contender contenders[BARE_KINDS + HEADERS * KINDS];
	int count = 0;

	for (int i = 0; i < BARE_KINDS; i++, count++) {
		contenders[count].name = bare_kinds[i].name;
		runs[count].program = object_prog_fd(bare, bare_kinds[i].name);
		runs[count].kind = &bare_kinds[i];
	}
	for (int h = 0; h < headers_here; h++) {
		for (int i = 0; i < KINDS; i++, count++) {
			char *name = names[h * KINDS + i];

			snprintf(name, sizeof(names[0]), "%s_%s", headers[h].name, kinds[i].name);
			contenders[count].name = name;
			runs[count].program = headers[h].programs[i];
			runs[count].kind = &kinds[i];
		}
	}
	for (int i = 0; i < count; i++) {
		contenders[i].run = run_contender;
		contenders[i].arg = &runs[i];
		contenders[i].times = TIMES;
	}
	take_turns(contenders, count, TURNS);
}

/* A new thread's first look by each header: the last of the names is searched for. */
static double first_looks[HEADERS][FIRST_LOOKS];

static void *look_first(void *number)
{
	int n = (intptr_t)number;
	struct run empty = { nothing, &bare_kinds[0] };
	uint64_t none;

	store_hints();
	run_program(&empty, 1);
	none = run_program(&empty, 1);
	for (int h = 0; h < headers_here; h++) {
		struct run last = { headers[h].last, &kinds[0] };
		uint64_t ns = run_program(&last, 1);

		first_looks[h][n] = ns > none ? ns - none : 0;
	}
	return NULL;
}

static void measure_first_looks(void)
{
	pthread_t thread;
	char name[32];

	for (int n = 0; n < FIRST_LOOKS; n++) {
		errno = pthread_create(&thread, NULL, look_first, (void *)(intptr_t)n);
		if (errno || pthread_join(thread, NULL))
			die("a thread starts");
	}
	for (int h = 0; h < headers_here; h++) {
		snprintf(name, sizeof(name), "%s_first_look", headers[h].name);
		median_figure(name, first_looks[h], FIRST_LOOKS);
	}
}

static void say_what_is_missing(void)
{
	char name[32];

	for (int i = 0; i < KINDS; i++) {
		snprintf(name, sizeof(name), "kernel_%s", kinds[i].name);
		no_figure(name, peer_missing);
	}
	no_figure("kernel_first_look", peer_missing);
}

int main(void)
{
	struct bpf_object *bare = object_load("look_bare.bpf.o");

	nothing = object_prog_fd(bare, "nothing");
	if (peer_missing) {
		headers_here = HEADERS - 1;
		say_what_is_missing();
	}
	create_keys();
	for (int h = 0; h < headers_here; h++)
		open_header(&headers[h]);
	store_hints();
	fill_bare_maps(bare);
	measure_loops(bare);
	measure_first_looks();
	return 0;
}
