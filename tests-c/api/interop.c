// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * interop.c - libtld beside what it has to live with: programs with the kernel's
 * user header (of which standin.h is a stand-in), read by the same BPF programs;
 * and maps of several formats in one process.
 */
#include <sys/wait.h>
#include <unistd.h>

#define TLD_DYN_DATA_SIZE 64
#include "tld.h"

#include "either.h"
#include "process.h"
#include "reader.h"
#include "standin.h"
#include "threads.h"
#include "value.h"

/* --- Two programs, one BPF object --------------------------------------------- */

#define THREADS 8
#define OURS 1000
#define THEIRS 2000

static struct bpf_object *object;
static struct reader *reader;
static int map_fd, prog_fd;
static tld_key_t value_key, other_key;
static int pad_off, value_off, other_off;
static pthread_barrier_t together;
static int good_header[THREADS], good_reader[THREADS];

static bool store_ours(uint64_t value)
{
	uint64_t *ours = tld_get_data(map_fd, value_key), *other = tld_get_data(map_fd, other_key);

	if (!ours || !other)
		return false;
	*ours = value;
	*other = value + 1;
	return true;
}

static bool store_theirs(uint64_t value)
{
	uint64_t *theirs = standin_get_data(map_fd, value_off);
	uint64_t *other = standin_get_data(map_fd, other_off);

	if (!theirs || !other)
		return false;
	memset(standin_get_data(map_fd, pad_off), 0xdd, 40);
	*theirs = value;
	*other = value + 1;
	return true;
}

static void look_at_myself(int number, uint64_t value)
{
	struct value_view view = look_value(prog_fd);

	good_header[number] = !view.err && view.has_value && view.value == value &&
			      view.has_other && view.other == value + 1;
	good_reader[number] = reader_u64(reader, 0, "value") == value &&
			      reader_u64(reader, 0, "other") == value + 1;
}

/* Stays, with its values, until the other program has been listed too. */
static void *our_thread(void *arg)
{
	int number = (intptr_t)arg;

	if (store_ours(OURS + number * 2))
		look_at_myself(number, OURS + number * 2);
	pthread_barrier_wait(&together);
	pthread_barrier_wait(&together);
	return NULL;
}

static void *their_thread(void *arg)
{
	int number = (intptr_t)arg;

	if (store_theirs(THEIRS + number * 2))
		look_at_myself(number, THEIRS + number * 2);
	pthread_barrier_wait(&together);
	pthread_barrier_wait(&together);
	return NULL;
}

static int sum(const int good[THREADS])
{
	int count = 0;

	for (int i = 0; i < THREADS; i++)
		count += good[i];
	return count;
}

static void start_all(pthread_t threads[THREADS], void *(*body)(void *))
{
	pthread_barrier_init(&together, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++)
		threads[i] = start_thread(body, (void *)(intptr_t)i);
	pthread_barrier_wait(&together);
}

static void end_all(pthread_t threads[THREADS])
{
	pthread_barrier_wait(&together);
	for (int i = 0; i < THREADS; i++)
		end_thread(threads[i]);
}

/* What the child found of itself, sent over a pipe. */
struct report {
	int header, reader;
};

static void standin_program(int to_test, int from_test)
{
	pthread_t threads[THREADS];
	struct report report;
	char byte;

	pad_off = standin_create_key("pad", 40);
	other_off = standin_create_key("other", 8);
	value_off = standin_create_key("value", 8);
	start_all(threads, their_thread);
	report = (struct report){ sum(good_header), sum(good_reader) };
	if (write(to_test, &report, sizeof(report)) != sizeof(report) ||
	    read(from_test, &byte, 1) != 1)
		_exit(1);
	end_all(threads);
	_exit(0);
}

/* One iterator over all tasks: how many records are of one or the other program. */
static void list_values(int *ours, int *theirs)
{
	struct bpf_program *program = bpf_object__find_program_by_name(object, "list_values");
	struct bpf_link *link = bpf_program__attach_iter(program, NULL);
	int fd = link ? bpf_iter_create(bpf_link__fd(link)) : -1;
	struct value_record record;

	if (fd < 0)
		tap_bail("an iterator over the tasks starts");
	*ours = *theirs = 0;
	while (read(fd, &record, sizeof(record)) == sizeof(record)) {
		uint64_t base = record.value >= THEIRS ? THEIRS : OURS;

		if (record.value - base < THREADS * 2 && record.other == record.value + 1)
			++*(base == OURS ? ours : theirs);
	}
	close(fd);
	bpf_link__destroy(link);
}

static void beside_the_kernels_header(void)
{
	int to_test[2], from_test[2], ours, theirs;
	pthread_t threads[THREADS];
	struct report report;
	pid_t child;

	object = reader_load(either_file("value"));
	map_fd = reader_object_map_fd(object, "tld_data_map");
	prog_fd = reader_prog_fd(object, "look_value");
	reader = reader_open_map(READER_V2, map_fd);
	if (pipe(to_test) || pipe(from_test))
		tap_bail("pipes");
	child = fork();
	if (!child)
		standin_program(to_test[1], from_test[0]);
	/* So that the child's end, should it crash, is the pipe's. */
	close(to_test[1]);
	value_key = tld_create_key("value", 8);
	other_key = tld_create_key("other", 8);
	start_all(threads, our_thread);
	if (read(to_test[0], &report, sizeof(report)) != sizeof(report))
		tap_bail("the program with the stand-in reports");
	is(sum(good_header), THREADS, "the BPF header reads the threads of a program with libtld");
	is(report.header, THREADS, "and those of a program with the kernel's user header (a stand-in)");
	is(sum(good_reader), THREADS, "the raw reader reads the former");
	is(report.reader, THREADS, "and the latter");
	list_values(&ours, &theirs);
	is(ours, THREADS, "one BPF program reads all threads of the one");
	is(theirs, THREADS, "and of the other, where the names have other offsets");
	if (write(from_test[1], "", 1) != 1)
		tap_bail("the program with the stand-in listens");
	end_all(threads);
	waitpid(child, NULL, 0);
	is(reader_elements(reader, NULL), 0, "both programs' threads have left the map");
	reader_close(reader);
	bpf_object__close(object);
}

/* --- A v1 map that comes late -------------------------------------------------- */

static struct reader *v1, *v2;
static tld_key_t key;

struct late {
	bool v2_before, v1_served, v1_right, v1_sees, v2_after;
	int err;
};

static uint64_t *store(struct reader *through, uint64_t value)
{
	uint64_t *data = tld_get_data(reader_map_fd(through), key);

	if (data)
		*data = value;
	return data;
}

/* Through v2, when no other format is known; then through v1. */
static void *packed_then_v1(void *arg)
{
	struct late *late = arg;

	late->v2_before = store(v2, gettid()) && reader_u64(v2, 0, "value") == (uint64_t)gettid();
	pthread_barrier_wait(&together);
	errno = 0;
	late->v1_served = tld_get_data(reader_map_fd(v1), key) != NULL;
	late->err = late->v1_served ? 0 : errno;
	late->v1_sees = reader_sees(v1, 0);
	late->v1_right = reader_u64(v1, 0, "value") == (uint64_t)gettid();
	late->v2_after = store(v2, gettid() + 1) &&
			 reader_u64(v2, 0, "value") == (uint64_t)gettid() + 1;
	pthread_barrier_wait(&together);
	return NULL;
}

static void *v1_then_v2(void *arg)
{
	struct late *late = arg;

	late->v1_served = store(v1, gettid()) != NULL;
	late->v1_right = reader_u64(v1, 0, "value") == (uint64_t)gettid();
	pthread_barrier_wait(&together);
	late->v2_after = store(v2, gettid() + 1) &&
			 reader_u64(v2, 0, "value") == (uint64_t)gettid() + 1;
	late->v1_right = late->v1_right && reader_u64(v1, 0, "value") == (uint64_t)gettid() + 1;
	pthread_barrier_wait(&together);
	return NULL;
}

static void run_late(void *(*body)(void *), struct late late[THREADS])
{
	pthread_t threads[THREADS];

	pthread_barrier_init(&together, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		threads[i] = start_thread(body, &late[i]);
	for (int i = 0; i < THREADS; i++)
		end_thread(threads[i]);
}

static void v1_after_packed_blocks(void)
{
	int before = 0, refused = 0, honest = 0, after = 0;
	struct late late[THREADS] = { { 0 } };

	v1 = reader_open(READER_V1);
	v2 = reader_open(READER_V2);
	key = tld_create_key("value", 8);
	run_late(packed_then_v1, late);
	for (int i = 0; i < THREADS; i++) {
		before += late[i].v2_before;
		refused += late[i].err == EXDEV;
		honest += late[i].v1_served ? late[i].v1_right : !late[i].v1_sees;
		after += late[i].v2_after;
	}
	is(before, THREADS, "%d threads share their data through a v2 map", THREADS);
	ok(refused > 0, "blocks that share a page cannot be described to a v1 map: EXDEV");
	is(honest, THREADS, "a thread is either read rightly through v1 or not seen there at all");
	is(after, THREADS, "through v2 all are read as before");
	memset(late, 0, sizeof(late));
	run_late(v1_then_v2, late);
	before = after = 0;
	for (int i = 0; i < THREADS; i++) {
		before += late[i].v1_served && late[i].v1_right;
		after += late[i].v2_after;
	}
	is(before, THREADS, "threads that start later are read rightly through v1");
	is(after, THREADS, "and through v2");
	reader_close(v1);
	reader_close(v2);
}

/* One thread, three formats, one value that each reads where its format says. */
static void *three_formats(void *unused)
{
	static const enum reader_format order[] = { READER_V1, READER_V2, READER_NATIVE };
	struct reader *readers[3];
	int right = 0;

	(void)unused;
	for (int i = 0; i < 3; i++) {
		readers[i] = reader_open(order[i]);
		if (!store(readers[i], 40 + i))
			tap_bail("a thread passes a %s map", reader_format_name(order[i]));
	}
	for (int i = 0; i < 3; i++)
		right += reader_u64(readers[i], 0, "value") == 42;
	tld_free();
	for (int i = 0; i < 3; i++)
		right += !reader_sees(readers[i], 0);
	for (int i = 0; i < 3; i++)
		reader_close(readers[i]);
	return (void *)(intptr_t)right;
}

static void formats_together(void)
{
	key = tld_create_key("value", 8);
	is((intptr_t)three_formats(NULL), 6,
	   "a thread that passes v1, v2 and native maps is read, then withdrawn, through each");
	is((intptr_t)in_thread(three_formats, NULL), 6, "so is another one");
}

static void beside(void)
{
	in_child(beside_the_kernels_header);
}

int main(void)
{
	reader_need_kernel();
	with_each_header(beside);
	in_child(v1_after_packed_blocks);
	in_child(formats_together);
	return tap_done();
}
