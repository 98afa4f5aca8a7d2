// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * bpf_header.c - the drop-in BPF header loads and reads rightly in each kind of
 * program, plain, in loops and in subprograms, whatever compiled it. The objects
 * and the list of them are from bpf_header.sh.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tld.h"

#include "bpf_header.h"
#include "process.h"
#include "reader.h"
#include "threads.h"

#define VARIANTS "bpf_header_variants/"
#define FIRST 0x1122334455667788ULL
#define LAST 0x99aabbccddeeff00ULL

static const char *const places[PLACES] = {
	"syscall", "tp_btf", "tracepoint", "raw_tp", "perf_event", "iter",
};
static const char *const shapes[SHAPES] = { "plain", "loop", "subprogram" };
static const unsigned int turns_a_run[SHAPES] = { 1, 2 * HEADER_TURNS, 1 };

TLD_DEFINE_KEY(pad_key, "pad", 24);
TLD_DEFINE_KEY(first_key, "first", sizeof(unsigned long long));
TLD_DEFINE_KEY(quad_key, "quad", sizeof(struct header_quad));

static char variant[256];
static struct bpf_object *object;
static volatile struct header_shared *shared;
static bool have_tracefs;

/* libbpf finds a tracepoint's number in tracefs: mount it, for this process alone. */
static bool mount_tracefs(void)
{
	if (!access("/sys/kernel/tracing/events", R_OK) ||
	    !access("/sys/kernel/debug/tracing/events", R_OK))
		return true;
	return !unshare(CLONE_NEWNS) && !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	       !mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
}

static const char *program_name(enum header_place place, enum header_shape shape)
{
	static char name[64];

	snprintf(name, sizeof(name), "%s_%s", places[place], shapes[shape]);
	return name;
}

static struct bpf_program *program_of(enum header_place place, enum header_shape shape)
{
	struct bpf_program *program =
		bpf_object__find_program_by_name(object, program_name(place, shape));

	if (!program)
		tap_bail("%s has %s", variant, program_name(place, shape));
	return program;
}

static void run_syscall(int prog_fd)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	if (bpf_prog_test_run_opts(prog_fd, &opts))
		tap_bail("%s: a syscall program runs", variant);
}

/* --- One link for each way to attach -------------------------------------- */

static int open_cpu_clock(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.sample_period = 100000, /* ns */
	};

	return syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static struct bpf_link *attach(enum header_place place, struct bpf_program *program)
{
	struct bpf_link *link;

	if (place == PLACE_PERF_EVENT)
		link = bpf_program__attach_perf_event(program, open_cpu_clock());
	else
		link = bpf_program__attach(program);
	return libbpf_get_error(link) ? NULL : link;
}

static void read_iterator(struct bpf_link *link)
{
	int fd = bpf_iter_create(bpf_link__fd(link));
	char buffer[64];

	if (fd < 0)
		tap_bail("%s: an iterator starts", variant);
	while (read(fd, buffer, sizeof(buffer)) > 0)
		;
	close(fd);
}

/* Do what makes the program run on this thread. */
static void provoke(enum header_place place, struct bpf_link *link)
{
	struct timespec moment = { .tv_nsec = 1000 };

	if (place == PLACE_ITER)
		read_iterator(link);
	else if (place == PLACE_PERF_EVENT)
		for (volatile int spin = 0; spin < 100000; spin++)
			;
	else
		nanosleep(&moment, NULL); /* a switch away from this thread */
}

static bool run_attached(enum header_place place, enum header_shape shape)
{
	volatile struct header_result *result = &shared->result[place][shape];
	struct bpf_link *link = attach(place, program_of(place, shape));
	bool ran;

	if (!link)
		return false;
	ran = eventually((provoke(place, link), result->runs > 1));
	bpf_link__destroy(link);
	return ran;
}

/* --- Reading what they found ---------------------------------------------- */

static bool result_is_right(enum header_place place, enum header_shape shape)
{
	volatile struct header_result *result = &shared->result[place][shape];

	return result->runs && !result->failures && !result->err &&
	       result->turns == result->runs * turns_a_run[shape] &&
	       result->first == FIRST && result->quad.a == FIRST + 1 && result->quad.d == LAST;
}

static void explain(enum header_place place, enum header_shape shape)
{
	volatile struct header_result *result = &shared->result[place][shape];

	diag("  %s: runs %u, failures %u, err %d, turns %u, first %llx, last %llx",
	     program_name(place, shape), result->runs, result->failures, result->err,
	     result->turns, result->first, result->quad.d);
}

static void check_place(enum header_place place)
{
	int right = 0;

	if (place == PLACE_TRACEPOINT && !have_tracefs) {
		tap_skip("a tracepoint program reads the thread's TLDs", "kernel: no tracefs");
		return;
	}
	for (int shape = 0; shape < SHAPES; shape++) {
		if (place == PLACE_SYSCALL)
			run_syscall(bpf_program__fd(program_of(place, shape)));
		else if (!run_attached(place, shape))
			diag("  %s did not run", program_name(place, shape));
		if (result_is_right(place, shape))
			right++;
		else
			explain(place, shape);
	}
	is(right, SHAPES, "%s: %s programs, plain, in loops and in a subprogram, read the TLDs",
	   variant, places[place]);
}

/* --- The map has UPTRs ------------------------------------------------------ */

struct value_v2 {
	uint64_t data, meta, start;
};

/* What a look-up from user space gives of this thread's element. */
static struct value_v2 look_up(int map_fd)
{
	int key = syscall(SYS_pidfd_open, gettid(), PIDFD_THREAD);
	struct value_v2 value = { 1, 1, 0 };

	if (key < 0 || bpf_map_lookup_elem(map_fd, &key, &value))
		tap_bail("%s: the thread's element can be looked up", variant);
	close(key);
	return value;
}

static int update_error(int map_fd, void *data)
{
	int key = syscall(SYS_pidfd_open, gettid(), PIDFD_THREAD), err;
	struct value_v2 value = { (uintptr_t)data, (uintptr_t)data, 8 };

	err = bpf_map_update_elem(map_fd, &key, &value, 0) ? -errno : 0;
	close(key);
	return err;
}

/* Without UPTRs the kernel would show the addresses, and take any address. */
static void check_uptrs(int map_fd)
{
	struct value_v2 value = look_up(map_fd);
	char *page = mmap(NULL, 2 * getpagesize(), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ok(!value.data && !value.meta && value.start,
	   "%s: the map hides the addresses, so it has UPTRs", variant);
	is(update_error(map_fd, page + 64), -EOPNOTSUPP, "%s: each names a whole page", variant);
	munmap(page, 2 * getpagesize());
	is(update_error(map_fd, page), -EFAULT, "%s: the kernel pins what they name", variant);
}

static bool store(int map_fd)
{
	unsigned long long *first = tld_get_data(map_fd, first_key);
	struct header_quad *quad = tld_get_data(map_fd, quad_key);

	if (!first || !quad)
		return false;
	*first = FIRST;
	*quad = (struct header_quad){ .a = FIRST + 1, .d = LAST };
	return true;
}

static void no_data_yet(void)
{
	run_syscall(bpf_program__fd(program_of(PLACE_SYSCALL, SHAPE_PLAIN)));
	is(shared->result[PLACE_SYSCALL][SHAPE_PLAIN].err, -ENODATA,
	   "%s: a thread without data is reported as such", variant);
	memset((void *)shared, 0, sizeof(*shared));
}

static void check_variant(void)
{
	char file[sizeof(VARIANTS) + sizeof(variant)];
	int map_fd;

	snprintf(file, sizeof(file), VARIANTS "%s", variant);
	object = reader_load(file);
	ok(object != NULL, "%s loads", variant);
	shared = reader_memory(object, ".bss", sizeof(*shared));
	map_fd = reader_object_map_fd(object, "tld_data_map");
	run_syscall(reader_prog_fd(object, "choose_me"));
	no_data_yet();
	run_syscall(reader_prog_fd(object, "choose_me"));
	if (!store(map_fd))
		tap_bail("%s: the library serves the object's map", variant);
	for (int place = 0; place < PLACES; place++)
		check_place(place);
	check_uptrs(map_fd);
	bpf_object__close(object);
}

/* --- The list ---------------------------------------------------------------- */

static void check_line(const char *verdict, const char *what)
{
	snprintf(variant, sizeof(variant), "%s", what);
	if (!strcmp(verdict, "load"))
		in_child(check_variant);
	else if (!strcmp(verdict, "skip"))
		tap_skip("the header compiled in a further way", what);
	else if (!strcmp(verdict, "refused") || !strcmp(verdict, "accepted"))
		ok(!strcmp(verdict, "refused"), "%s is refused when it is compiled", what);
	else
		ok(false, "the header compiles: %s", what);
}

int main(void)
{
	FILE *list;
	char verdict[16], what[256];

	reader_need_kernel();
	have_tracefs = mount_tracefs();
	list = fopen(reader_beside(VARIANTS "variants"), "r");
	if (!list)
		tap_bail("bpf_header.sh has left a list of objects");
	while (fscanf(list, "%15s %255[^\n]", verdict, what) == 2)
		check_line(verdict, what);
	fclose(list);
	return tap_done();
}
