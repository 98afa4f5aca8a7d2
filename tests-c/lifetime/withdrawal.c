// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * withdrawal.c - after tld_free() and after a thread's end BPF finds nothing, a
 * thread that comes back is read at the right place, and a BPF program that still
 * holds a page never meets the data of the threads that come later.
 */
#include <malloc.h>
#include <unistd.h>

#define TLD_DYN_DATA_SIZE 200
#include "tld.h"

#include "either.h"
#include "hold.h"
#include "process.h"
#include "reader.h"
#include "threads.h"
#include "value.h"

static struct bpf_object *object;
static struct reader *reader;
static int map_fd, prog_fd;
static tld_key_t pad_key, key;

/* Once for all cases: what is in the map goes with a case's child. */
static void load_objects(void)
{
	object = reader_load(either_file("value"));
	map_fd = reader_object_map_fd(object, "tld_data_map");
	prog_fd = reader_prog_fd(object, "look_value");
	reader = reader_open_map(READER_V2, map_fd);
}

static void make_keys(void)
{
	pad_key = tld_create_key("pad", 40);
	key = tld_create_key("value", sizeof(uint64_t));
}

static void unload_objects(void)
{
	reader_close(reader);
	bpf_object__close(object);
}

static uint64_t *store(uint64_t value)
{
	uint64_t *data = tld_get_data(map_fd, key);

	if (!data)
		tap_bail("a thread gets its TLD");
	*data = value;
	return data;
}

/* A second thread's view: it looks while the first is between free and exit. */
static bool seen_by_others(pid_t tid)
{
	return reader_sees(reader, tid);
}

static void free_withdraws(void)
{
	make_keys();
	store(1);
	ok(header_reads_value(prog_fd, 1), "BPF reads a thread's value");
	tld_free();
	is(reader_sees(reader, 0), false, "after tld_free() no look-up finds the thread");
	is(look_value(prog_fd).err, -ENODATA, "the BPF header says that there are no data");
	tld_free();
	is(reader_sees(reader, 0), false, "a second tld_free() changes nothing");
}

/*
 * A withdrawal takes a descriptor of the thread. A process that has none left, or has
 * lowered its limit as sandboxes do, cannot have its threads withdrawn; tld_free() can
 * at least see to it that nothing is read.
 */
static void free_without_descriptors(void)
{
	rlim_t limit = soft_limit(RLIMIT_NOFILE);

	make_keys();
	store(1);
	ok(header_reads_value(prog_fd, 1), "BPF reads a thread's value");
	set_soft_limit(RLIMIT_NOFILE, 3);
	tld_free();
	set_soft_limit(RLIMIT_NOFILE, limit);
	ok(header_reads_value(prog_fd, 0), "after tld_free() without a descriptor BPF reads zeros");
	store(2);
	ok(header_reads_value(prog_fd, 2), "it can come back");
	tld_free();
	is(reader_sees(reader, 0), false, "and go again");
}

static void *store_and_end_without_descriptors(void *unused)
{
	(void)unused;
	store(7);
	set_soft_limit(RLIMIT_NOFILE, 3);
	return NULL;
}

static void exit_without_descriptors(void)
{
	rlim_t limit = soft_limit(RLIMIT_NOFILE);

	make_keys();
	in_thread(store_and_end_without_descriptors, NULL);
	set_soft_limit(RLIMIT_NOFILE, limit);
	/* It goes with the task, which ends a moment after the thread was joined. */
	ok(eventually(!reader_elements(reader, NULL)),
	   "a thread that ends while no descriptor is left leaves no element");
	store(8);
	ok(header_reads_value(prog_fd, 8), "other threads' data are shared as before");
}

static void comes_back(void)
{
	unsigned int start;
	struct reader_view view;
	int raw = 0, header = 0, moved = 0;

	make_keys();
	store(1);
	header_reads_value(prog_fd, 1);
	reader_look(reader, 0, &view);
	start = view.start;
	for (int i = 0; i < 50; i++) {
		tld_free();
		/* Whatever else takes memory in between must not be read as ours. */
		memset(malloc(64u << (i % 7)), 0x11, 64);
		store(100 + i);
		raw += reader_u64(reader, 0, "value") == 100u + i;
		header += header_reads_value(prog_fd, 100 + i);
		reader_look(reader, 0, &view);
		moved += view.start != start;
	}
	is(raw, 50, "a thread that comes back after tld_free() is read at the right place");
	is(header, 50, "also by the BPF header, which had cached where it was");
	is(moved, 0, "its data start at the same offset every time");
	tld_free();
}

static pthread_key_t late_key;
static bool seen_late, value_late;

/*
 * POSIX calls every destructor once before it calls one a second time: in the
 * second round libtld's has run.
 */
static void look_in_second_round(void *round)
{
	if (round == (void *)1)
		pthread_setspecific(late_key, (void *)2);
	else
		seen_late = seen_by_others(gettid());
}

static void *store_and_exit(void *unused)
{
	(void)unused;
	store(7);
	value_late = reader_u64(reader, 0, "value") == 7;
	seen_late = true;
	pthread_setspecific(late_key, (void *)1);
	return NULL;
}

static void exit_withdraws(void)
{
	make_keys();
	pthread_key_create(&late_key, look_in_second_round);
	in_thread(store_and_exit, NULL);
	ok(value_late, "BPF reads a thread's value while it runs");
	is(seen_late, false, "a thread that ends is withdrawn before it is gone");
	is(reader_elements(reader, NULL), 0, "no task has an element then");
}

static pthread_key_t again_key;
static uint64_t again_value;
static bool seen_after_again;

/* Another library's destructor, which uses its TLD once libtld's has run. */
static void use_again(void *round)
{
	intptr_t number = (intptr_t)round;

	if (number == 2) {
		store(8);
		again_value = reader_u64(reader, 0, "value");
	}
	if (number == 4)
		seen_after_again = reader_sees(reader, 0);
	/* glibc makes PTHREAD_DESTRUCTOR_ITERATIONS, 4, rounds. */
	if (number < 4)
		pthread_setspecific(again_key, (void *)(number + 1));
}

static void *store_and_leave_destructor(void *unused)
{
	(void)unused;
	store(7);
	seen_after_again = true;
	pthread_setspecific(again_key, (void *)1);
	return NULL;
}

static void late_use_is_cleaned_again(void)
{
	make_keys();
	pthread_key_create(&again_key, use_again);
	in_thread(store_and_leave_destructor, NULL);
	is(again_value, 8, "a destructor that uses a TLD again is read by BPF");
	is(seen_after_again, false, "and the thread is withdrawn once more");
	is(reader_elements(reader, NULL), 0, "no task has an element at the end");
}

/* --- A program that holds a page ----------------------------------------- */

static struct bpf_object *holder;
static volatile struct hold_shared *shared;
static struct hold_view hold_view;

#define OWN_MARK UINT64_C(0x0badcafe0badcafe)
#define LATER_MARK UINT64_C(0x7a7a7a7a12121212)
#define PAD_WORDS 5
/* What a page of 4 KiB has for TLD_DYN_DATA_SIZE. */
#define PAGE_MATES 16
#define LATER 24

static void *run_holder(void *unused)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &hold_view, .ctx_size_in = sizeof(hold_view));

	(void)unused;
	if (bpf_prog_test_run_opts(reader_prog_fd(holder, "hold"), &opts))
		tap_bail("hold runs");
	return NULL;
}

static void fill(uint64_t mark)
{
	uint64_t *pad = tld_get_data(map_fd, pad_key), *data = tld_get_data(map_fd, key);

	if (!pad || !data)
		tap_bail("a thread gets its TLDs");
	for (int i = 0; i < PAD_WORDS; i++)
		pad[i] = mark;
	*data = mark;
}

static pthread_barrier_t stored, may_end;
static pid_t mate_tids[PAGE_MATES];

/* Threads that exist at the same time: several may share a page. */
static void *mate(void *arg)
{
	fill(OWN_MARK);
	mate_tids[(intptr_t)arg] = gettid();
	pthread_barrier_wait(&stored);
	pthread_barrier_wait(&may_end);
	return NULL;
}

static pthread_barrier_t later_stored, later_end;

static void *later(void *unused)
{
	(void)unused;
	fill(LATER_MARK);
	pthread_barrier_wait(&later_stored);
	pthread_barrier_wait(&later_end);
	return NULL;
}

/*
 * All later threads live at once, so as to take every block there is, and while the
 * program looks again, so that nothing has been cleared after them.
 */
static void let_go_beside_later_threads(pthread_t holding)
{
	pthread_t threads[LATER];

	pthread_barrier_init(&later_stored, NULL, LATER + 1);
	pthread_barrier_init(&later_end, NULL, LATER + 1);
	for (int i = 0; i < LATER; i++)
		threads[i] = start_thread(later, NULL);
	pthread_barrier_wait(&later_stored);
	shared->let_go = 1;
	end_thread(holding);
	pthread_barrier_wait(&later_end);
	for (int i = 0; i < LATER; i++)
		end_thread(threads[i]);
}

static void open_holder(void)
{
	holder = reader_load("hold.bpf.o");
	map_fd = reader_object_map_fd(holder, "hold_map");
	shared = reader_memory(holder, ".bss", sizeof(*shared));
	pad_key = tld_create_key("pad", PAD_WORDS * sizeof(uint64_t));
	key = tld_create_key("value", sizeof(uint64_t));
}

static pthread_t start_holding(pid_t tid)
{
	pthread_t thread;

	hold_view = (struct hold_view){ .tid = tid, .mark = LATER_MARK };
	thread = start_thread(run_holder, NULL);
	if (!eventually(shared->holding || hold_view.err))
		tap_bail("the program takes hold of the page");
	return thread;
}

/* The page of so many threads, which end, is held while others come. */
static void hold_page_of(int count)
{
	pthread_t mates[PAGE_MATES], thread;

	open_holder();
	pthread_barrier_init(&stored, NULL, count + 1);
	pthread_barrier_init(&may_end, NULL, count + 1);
	for (int i = 0; i < count; i++)
		mates[i] = start_thread(mate, (void *)(intptr_t)i);
	pthread_barrier_wait(&stored);
	thread = start_holding(mate_tids[0]);
	pthread_barrier_wait(&may_end);
	for (int i = 0; i < count; i++)
		end_thread(mates[i]);
	let_go_beside_later_threads(thread);
	is(hold_view.err, 0, "a BPF program takes hold of a thread's page");
	is(hold_view.timed_out, false, "it holds it until the thread has ended and others have come");
	is(hold_view.before, OWN_MARK, "it saw the thread's value");
	bpf_object__close(holder);
}

static void held_page_stays_alone(void)
{
	hold_page_of(PAGE_MATES);
	is(hold_view.marks, 0, "in the page that it holds it meets nothing of a later thread");
}

static void held_block_stays_alone(void)
{
	hold_page_of(PAGE_MATES - 2);
	ok(hold_view.after == 0 || hold_view.after == OWN_MARK,
	   "where the value was there is the value or zero");
	is(hold_view.marks, 2 * (PAD_WORDS + 1),
	   "later threads have the two blocks of its page that nobody had, and no other");
}

static void *mate_that_frees(void *arg)
{
	fill(OWN_MARK);
	mate_tids[(intptr_t)arg] = gettid();
	pthread_barrier_wait(&stored);
	pthread_barrier_wait(&may_end);
	tld_free();
	/* What others store now must not show, while this thread lives on. */
	pthread_barrier_wait(&stored);
	pthread_barrier_wait(&may_end);
	return NULL;
}

static void held_page_of_a_freed_thread(void)
{
	pthread_t subject, thread;

	open_holder();
	pthread_barrier_init(&stored, NULL, 2);
	pthread_barrier_init(&may_end, NULL, 2);
	subject = start_thread(mate_that_frees, (void *)0);
	pthread_barrier_wait(&stored);
	thread = start_holding(mate_tids[0]);
	pthread_barrier_wait(&may_end);
	pthread_barrier_wait(&stored);
	let_go_beside_later_threads(thread);
	pthread_barrier_wait(&may_end);
	end_thread(subject);
	is(hold_view.err, 0, "a BPF program takes hold of a thread's page");
	is(hold_view.timed_out, false, "it holds it until the thread has called tld_free()");
	is(hold_view.before, OWN_MARK, "it saw the thread's value");
	/* Later threads may share the page, but the place stays the thread's. */
	ok(hold_view.after == 0 || hold_view.after == OWN_MARK,
	   "where the value was there is the value or zero");
	bpf_object__close(holder);
}

static void cases(void)
{
	load_objects();
	in_child(free_withdraws);
	in_child(free_without_descriptors);
	in_child(exit_without_descriptors);
	in_child(comes_back);
	in_child(exit_withdraws);
	in_child(late_use_is_cleaned_again);
	unload_objects();
}

int main(void)
{
	reader_need_kernel();
	with_each_header(cases);
	/* The program that holds a page need not let others onto its processor. */
	if (!have_two_processors()) {
		tap_skip("a BPF program that holds a page meets nothing of later threads",
			 "needs a second processor");
		return tap_done();
	}
	in_child(held_page_stays_alone);
	in_child(held_block_stays_alone);
	in_child(held_page_of_a_freed_thread);
	return tap_done();
}
