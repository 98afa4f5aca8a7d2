// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * traced.c - BPF programs of the kinds fentry, fexit and lsm read the running task's TLD,
 * with both headers. The kernel of a guest lets them load; others refuse them.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <unistd.h>
#include "tld.h"
#include "either.h"
#include "reader.h"
#include "traced.h"

#define VALUE 0x7472616365642121ULL

TLD_DEFINE_KEY(word_key, "word", sizeof(unsigned long long));

#define PROGRAM_NAME(place, section, shape) #place "_" #shape,
#define PROGRAM_NAMES(place, section) TRACED_SHAPES(place, section, PROGRAM_NAME)
static const char *const names[] = { TRACED_PLACES(PROGRAM_NAMES) };

/* Running a fentry program calls the function that it, and its siblings, are attached to. */
static void come_by(int fentry_fd)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || bpf_prog_test_run_opts(fentry_fd, &opts))
		tap_bail("a file is opened, and bpf_fentry_test1() called");
	close(fd);
}

static void choose_me(struct bpf_object *object)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	if (bpf_prog_test_run_opts(reader_prog_fd(object, "choose_me"), &opts))
		tap_bail("a syscall program runs");
}

static void one_reads(struct bpf_object *object, volatile struct traced *traced, int i)
{
	struct bpf_program *program = bpf_object__find_program_by_name(object, names[i]);
	struct bpf_link *link = bpf_program__attach(program);

	if (!ok(link, "%s is attached", names[i]))
		return;
	traced->read[i] = 0;
	come_by(reader_prog_fd(object, "fentry_plain"));
	is(traced->read[i], VALUE, "%s reads the TLD", names[i]);
	bpf_link__destroy(link);
}

static void all_read(void)
{
	struct bpf_object *object = reader_load(either_file("traced"));
	volatile struct traced *traced = reader_memory(object, ".bss", sizeof(*traced));
	int map_fd = reader_object_map_fd(object, "tld_data_map");
	unsigned long long *data;

	if (tld_attach(map_fd) || !(data = tld_get(word_key)))
		tap_bail("this thread is published");
	*data = VALUE;
	choose_me(object);
	for (int i = 0; i < TRACED_PROGRAMS; i++)
		one_reads(object, traced, i);
	tld_detach(map_fd);
	bpf_object__close(object);
}

int main(void)
{
	with_each_header(all_read);
	return tap_done();
}
