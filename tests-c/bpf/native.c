// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * native.c - what bpf/tld.bpf.h promises beyond what both BPF headers do: what it notes
 * in the map's value, and when that is believed. The metadata page is changed by hand
 * where a note shall show itself, and elements are written by hand.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/personality.h>
#include <unistd.h>

#define TLD_DYN_DATA_SIZE 200
#include "task_local_data.h"

#include "follow.h"
#include "fuzz.h"
#include "hostile_pages.h"
#include "native.h"
#include "process.h"
#include "reader.h"
#include "threads.h"

#define VALUE 0xa1a1a1a1ULL

#define NATIVE_NAME(which, key, name) name,
static const char *const names[] = { NATIVE_LOOKS(NATIVE_NAME) };

static struct bpf_object *object;
static volatile struct hostile_cost *cost;
static int map_fd, look_fd;

static const struct native_view nothing;

static struct native_view run(int prog_fd, struct native_view view)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &view, .ctx_size_in = sizeof(view));

	if (bpf_prog_test_run_opts(prog_fd, &opts))
		tap_bail("a BPF program runs");
	return view;
}

static bool found(const struct native_view *view, int which, uint64_t value)
{
	return view->found[which].at && view->found[which].value == value;
}

static struct native_view look(void)
{
	return run(look_fd, nothing);
}

static bool finds(int which, uint64_t value)
{
	struct native_view view = look();

	return view.present && !view.differ && found(&view, which, value);
}

static bool misses(int which)
{
	struct native_view view = look();

	return view.present && !view.differ && !view.found[which].at;
}

static int finds_in_all(void)
{
	struct native_view view = look();
	int count = 0;

	for (int i = 0; i < NATIVE_COUNT; i++)
		count += !!view.found[i].at;
	return count;
}

/* Once for all cases: the verifier takes long. What it has of a case goes with the child. */
static void load_object(void)
{
	object = reader_load("native.bpf.o");
	map_fd = reader_object_map_fd(object, "tld_data_map");
	look_fd = reader_prog_fd(object, "native_look");
	cost = reader_memory(object, ".bss", sizeof(*cost));
}

static void begin_case(void)
{
	memset((void *)cost, 0, sizeof(*cost));
}

static uint64_t *make(int which, uint64_t value)
{
	uint64_t *data = tld_get_data(map_fd, tld_create_key(names[which], sizeof(*data)));

	if (!data)
		tap_bail("the thread gets a TLD %s", names[which]);
	*data = value;
	return data;
}

/* --- Looks ------------------------------------------------------------------------------ */

static void names_and_keys(void)
{
	struct native_view view;

	begin_case();
	view = look();
	ok(!view.present && !view.viewed && !finds_in_all(),
	   "of a thread that publishes nothing nothing is found, and tld_present() says so");
	for (int i = 0; i < NATIVE_COUNT; i++)
		make(i, VALUE + i);
	view = run(reader_prog_fd(object, "native_get"), nothing);
	ok(found(&view, PRIO, VALUE), "tld_get() finds the TLD of the key's own name");
	ok(finds(REQUEST, VALUE + REQUEST), "tld_get_named() finds one of another name");
	for (int i = 0; i < 3; i++)
		ok(finds(FIRST, VALUE + FIRST) && finds(SECOND, VALUE + SECOND),
		   "by one key with two names each is found rightly (%d)", i);
	view = look();
	ok(view.present && view.viewed && !view.differ,
	   "what is found by tld_view() is what is found without");
}

static void absent_is_noted(void)
{
	uint64_t searches;

	begin_case();
	make(PRIO, VALUE);
	ok(misses(LATE), "a TLD that nobody has made is absent");
	searches = cost->searches;
	for (int i = 0; i < 10; i++)
		ok(misses(LATE), "and stays so (%d)", i);
	is(cost->searches - searches, 10 * 2,
	   "neither that nor what was found takes a search; two names by one key take one each");
	strcpy(tld_meta_p->metadata[0].name, "late");
	ok(misses(LATE), "it is not looked for among what was searched");
	ok(finds(PRIO, VALUE), "nor is what was found looked for again");
	strcpy(tld_meta_p->metadata[0].name, "prio");
	make(LATE, 7);
	ok(finds(LATE, 7), "once the task defines it, it is found");
	ok(finds(PRIO, VALUE), "what was found before is where it was");
}

/* It never grows. */
static void smaller_is_noted(void)
{
	uint64_t searches;

	begin_case();
	if (!tld_get_data(map_fd, tld_create_key(names[PRIO], 7)))
		tap_bail("the thread gets a TLD of 7 bytes");
	ok(misses(PRIO), "a TLD of 7 bytes is not found by a look for 8");
	searches = cost->searches;
	for (int i = 0; i < 10; i++)
		misses(PRIO);
	is(cost->searches - searches, 10 * 2, "nor is it searched for again");
}

/* A look for a part of what the others take is served by what they noted. */
static void part_of_it(void)
{
	struct native_view whole, part;
	uint64_t searches;
	int part_fd, same = 0;

	begin_case();
	part_fd = reader_prog_fd(object, "native_part");
	make(PRIO, VALUE);
	part = run(part_fd, nothing);
	ok(found(&part, PRIO, (uint32_t)VALUE), "a part of a TLD is found, if only that is asked for");
	ok(finds(PRIO, VALUE), "then the whole");
	searches = cost->searches;
	for (int i = 0; i < 10; i++) {
		whole = look();
		part = run(part_fd, nothing);
		same += part.found[PRIO].at == whole.found[PRIO].at;
	}
	is(same, 10, "the part is where the whole is");
	is(cost->searches - searches, 10 * 2, "neither searches for what the other has found");
}

static void part_that_there_is(void)
{
	struct native_view part;

	begin_case();
	if (!tld_get_data(map_fd, tld_create_key(names[PRIO], sizeof(uint32_t))))
		tap_bail("the thread gets a TLD of 4 bytes");
	for (int i = 0; i < 3; i++) {
		part = run(reader_prog_fd(object, "native_part"), nothing);
		ok(part.found[PRIO].at && misses(PRIO),
		   "of 4 bytes 4 are found, and 8 by the same key are not (%d)", i);
	}
}

/* Where an element points is all the same to the kernel, unless that crosses a page. */
static struct native_value own_element(void)
{
	uintptr_t base = (uintptr_t)tld_self.base, page = base & -getpagesize();

	return (struct native_value){ .data = page, .meta = (uintptr_t)tld_meta_p,
				      .start = base - page };
}

static void write_element(const struct native_value *value)
{
	errno = -element_write(map_fd, gettid(), value);
	if (errno)
		tap_bail("the thread's element can be written");
}

static void not_readable(void)
{
	struct native_value value;

	begin_case();
	make(PRIO, VALUE);
	value = own_element();
	write_element(&value);
	ok(finds(PRIO, VALUE), "an element that is written by hand is read");
	value.data = 0;
	write_element(&value);
	ok(!finds_in_all() && !look().present, "without a data page nothing is found nor present");
	value = own_element();
	value.meta = 0;
	write_element(&value);
	ok(!finds_in_all() && !look().present, "without a metadata page neither");
	value = own_element();
	value.start = getpagesize();
	write_element(&value);
	ok(misses(PRIO), "what starts behind the page is not found, but the task is present");
	value.start = getpagesize() - 7;
	write_element(&value);
	ok(misses(PRIO), "nor is what ends behind it");
	value.start = getpagesize() - 8;
	write_element(&value);
	ok(look().found[PRIO].at, "what ends with it is");
}

/* --- Notes, and their end ------------------------------------------------------------------ */

static uint64_t *words[2];

/*
 * Two TLDs that change places in the table once both are noted, and a third that takes a
 * name that was absent.
 */
static void notes_that_are_old(void)
{
	struct tld_metadata entry;

	begin_case();
	words[0] = make(PRIO, VALUE);
	words[1] = make(REQUEST, VALUE + 1);
	make(FIRST, 0);
	ok(finds(PRIO, VALUE) && finds(REQUEST, VALUE + 1) && misses(LATE),
	   "BPF notes two places, and that there is no third");
	entry = tld_meta_p->metadata[0];
	tld_meta_p->metadata[0] = tld_meta_p->metadata[1];
	tld_meta_p->metadata[1] = entry;
	strcpy(tld_meta_p->metadata[2].name, names[LATE]);
	ok(finds(PRIO, VALUE) && finds(REQUEST, VALUE + 1) && misses(LATE),
	   "its notes hold while the thread is published");
}

static void notes_are_new(const char *how)
{
	*words[0] = VALUE + 3;
	*words[1] = VALUE + 4;
	ok(finds(PRIO, VALUE + 4) && finds(REQUEST, VALUE + 3), "%s resets what was found", how);
	ok(finds(LATE, 0), "%s resets what was absent", how);
}

static void freed_and_back(void)
{
	tld_key_t key;

	notes_that_are_old();
	tld_free();
	ok(!finds_in_all() && !look().present, "after tld_free() nothing is found nor present");
	key = tld_find_key("prio");
	if (!tld_get_data(map_fd, key))
		tap_bail("the thread comes back");
	notes_are_new("tld_free() with another use");
}

static void detached_and_attached(void)
{
	notes_that_are_old();
	if (tld_detach(map_fd))
		tap_bail("the map can be detached");
	ok(!finds_in_all() && !look().present, "after tld_detach() nothing is found nor present");
	if (tld_attach(map_fd))
		tap_bail("the map can be attached");
	notes_are_new("tld_detach() with tld_attach()");
}

/* --- What others leave behind what is published --------------------------------------------- */

/* The thread's element as BPF has left it, to be written again. */
static struct native_value noted_element(void)
{
	struct native_value value, own = own_element();

	look();
	errno = -element_read(map_fd, gettid(), &value);
	if (errno)
		tap_bail("the thread's element can be read");
	value.data = own.data;
	value.meta = own.meta;
	return value;
}

/* Noise; one byte over and over; or notes of another place, but for nobody's image. */
static void fill_with_garbage(struct native_value *value, int i, struct fuzz *fuzz)
{
	size_t size = sizeof(*value) - offsetof(struct native_value, reserved);

	if (i % 3 == 0)
		fuzz_bytes(fuzz, value->reserved, size);
	else if (i % 3 == 1)
		memset(value->reserved, i, size);
	else
		for (int place = 0; place < NATIVE_PLACES; place++)
			value->place[place] ^= 16 << i / 3 % 8;
	value->image = i % 2 ? 0 : fuzz_next(fuzz);
}

static void judge_garbage(const char *what)
{
	struct native_value value, noted = noted_element();
	struct fuzz fuzz = fuzz_sequence(1, 1);
	int right = 0;

	for (int i = 0; i < 300; i++) {
		value = noted;
		fill_with_garbage(&value, i, &fuzz);
		write_element(&value);
		right += finds(PRIO, VALUE) && finds(REQUEST, VALUE + 1) && misses(LATE);
	}
	is(right, 300, "%s: garbage behind the first 24 bytes is not believed", what);
}

static void garbage(void)
{
	begin_case();
	make(PRIO, VALUE);
	make(REQUEST, VALUE + 1);
	judge_garbage("a page with a stamp");
	memset((char *)tld_meta_p + getpagesize() - 60, 0, 60);
	judge_garbage("a page without, as the kernel's user header makes them");
}

static bool astray(const struct native_view *view, int which)
{
	uint64_t at = view->found[which].at;

	return at && (at < view->page || at > view->page + getpagesize() - sizeof(uint64_t));
}

/* As valid as BPF's own, but for the place and the size in each note. */
static void forged(void)
{
	static const uint16_t edges[] = { 0, 1, 2, 8, 4088, 4089, 4096, 32767, 32768, 65535 };
	static const uint16_t starts[] = { 0, 8, 4088, 4095, 32767, 65535 };
	int strays = 0, believed = 0;
	struct native_value value;
	struct native_view view;

	begin_case();
	make(PRIO, VALUE);
	value = noted_element();
	for (size_t i = 0; i < 10 * 10 * 6; i++) {
		uint32_t word = (uint32_t)edges[i % 10] << 16 | edges[i / 10 % 10];

		value.start = starts[i / 100];
		for (int place = 0; place < NATIVE_PLACES; place++)
			value.place[place] = value.place[place] >> 32 << 32 | word;
		write_element(&value);
		view = look();
		for (int which = 0; which < NATIVE_COUNT; which++) {
			strays += astray(&view, which);
			believed += which == LATE && view.found[which].at;
		}
	}
	ok(believed > 0, "notes that a process has forged are believed, at its own cost");
	is(strays, 0, "they never lead out of its page");
}

/* --- At the same time ------------------------------------------------------------------------ */

static void *add_in_bpf(void *tid)
{
	struct native_view view = run(reader_prog_fd(object, "native_add"),
				      (struct native_view){ .tid = (intptr_t)tid });

	return view.viewed ? tid : NULL;
}

static void added_on_both_sides(void)
{
	uint64_t *counter, mine = 0;
	pthread_t adder;

	begin_case();
	counter = make(PRIO, 0);
	adder = start_thread(add_in_bpf, (void *)(intptr_t)gettid());
	while (!__atomic_load_n(counter, __ATOMIC_RELAXED))
		;
	for (; mine < NATIVE_TIMES; mine++)
		__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
	ok(end_thread(adder), "BPF adds to a TLD of another thread");
	is(*counter, NATIVE_TIMES + mine, "and loses nothing that the thread itself adds");
}

/* --- Another object, with the same map ------------------------------------------------------- */

static struct bpf_object *load_pinned(const char *file)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .pin_root_path = BPFFS);
	struct bpf_object *opened = bpf_object__open_file(reader_beside(file), &opts);

	if (!opened || bpf_object__load(opened))
		tap_bail("%s loads", file);
	return opened;
}

static int found_in_pinned(struct bpf_object *by, uint64_t value)
{
	struct native_view view = run(reader_prog_fd(by, "pinned_look"), nothing);

	return found(&view, PRIO, value) + found(&view, REQUEST, value + REQUEST) +
	       found(&view, LATE, value + LATE);
}

static void *in_new_thread(void *objects)
{
	struct bpf_object **pair = objects;
	int right = 0;

	for (int i = 0; i <= LATE; i++)
		*(uint64_t *)tld_get_data(map_fd, tld_find_key(names[i])) = VALUE + i;
	for (int i = 0; i < 3; i++)
		right += found_in_pinned(pair[1], VALUE) + found_in_pinned(pair[0], VALUE);
	return (void *)(intptr_t)right;
}

static void pinned_by_two(void)
{
	struct bpf_object *pair[2];
	struct bpf_map_info info[2] = { 0 };
	__u32 size = sizeof(*info);

	make_place();
	pair[0] = load_pinned("native_pinned.bpf.o");
	pair[1] = load_pinned("native_pinned_other.bpf.o");
	for (int i = 0; i < 2; i++) {
		map_fd = reader_object_map_fd(pair[i], "hints");
		must(bpf_obj_get_info_by_fd(map_fd, &info[i], &size));
	}
	is(info[0].id, info[1].id, "two objects with TLD_PINNED have one map TLD_MAP_NAME");
	for (int i = 0; i <= LATE; i++)
		make(i, VALUE + i);
	for (int i = 0; i < 3; i++) {
		is(found_in_pinned(pair[0], VALUE), 3, "the one reads all by its keys (%d)", i);
		is(found_in_pinned(pair[1], VALUE), 3, "so does the other by other keys (%d)", i);
	}
	is((intptr_t)in_thread(in_new_thread, pair), 18, "also where the other looked first");
}

static pthread_barrier_t begin;
static int self_tid;

static void *look_often(void *second)
{
	struct native_view view = { .tid = self_tid, .by_second = !!second,
				    .want = VALUE + !!second };

	pthread_barrier_wait(&begin);
	view = run(reader_prog_fd(object, "native_look_often"), view);
	return (void *)(uintptr_t)(view.viewed ? view.misses : NATIVE_TIMES);
}

/* What the one notes, the other replaces at once, and searches for its own. */
static void two_names_at_once(void)
{
	uintptr_t misses = 0;
	pthread_t thread;

	begin_case();
	make(FIRST, VALUE);
	make(SECOND, VALUE + 1);
	self_tid = run(reader_prog_fd(object, "native_self"), nothing).tid;
	pthread_barrier_init(&begin, NULL, 2);
	/* On a busy machine the two seldom run at the same time. */
	ok(eventually((thread = start_thread(look_often, (void *)1),
		       misses += (uintptr_t)look_often(NULL),
		       misses += (uintptr_t)end_thread(thread),
		       cost->searches > NATIVE_TIMES / 100)),
	   "two programs look by two names with the same key, and take it from each other");
	is(misses, 0, "each always finds its own");
}

/* --- BPF that writes -------------------------------------------------------------------------- */

static void written_by_bpf(void)
{
	uint64_t *data[NATIVE_COUNT];
	int right = 0;

	begin_case();
	for (int i = 0; i < NATIVE_COUNT; i++)
		data[i] = make(i, 0);
	run(look_fd, (struct native_view){ .write = 1000 });
	for (int i = 0; i < NATIVE_COUNT; i++)
		right += *data[i] == 1000u + i;
	is(right, NATIVE_COUNT, "what BPF writes through the pointers the program sees");
	for (int i = 0; i < NATIVE_COUNT; i++)
		ok(finds(i, 1000 + i), "and BPF that looks again (%s)", names[i]);
}

/* --- Another image --------------------------------------------------------------------------- */

#define MAP_FD 50
#define LOOK_FD 51
#define LINK_FD 52
#define LOOKED "looked"

static bool looks_before, randomised;

/* Arguments: which image it will be, whether BPF looks at the old one, what this is about. */
static void exec_image(const char *step)
{
	execl("/proc/self/exe", "native", step, looks_before ? LOOKED : "", tap_subject, NULL);
	tap_bail("a program executes itself");
}

/* This program once more: the old image, which executes the new one. */
static int old_image(void)
{
	make(PRIO, VALUE);
	if (looks_before)
		ok(finds(PRIO, VALUE), "BPF finds a TLD of the old image");
	exec_image("new");
	return 1;
}

static int new_image(void)
{
	struct native_view view = look();

	ok(!view.present, "tld_present() says no");
	ok(!view.viewed, "tld_view() gives no data");
	is(finds_in_all(), 0, "tld_get() and tld_get_named() give NULL");
	make(LATE, VALUE + 1);
	make(PRIO, VALUE + 2);
	ok(finds(PRIO, VALUE + 2) && finds(LATE, VALUE + 1), "the new image's own are found");
	return tap_done();
}

static int image_main(char **argv)
{
	map_fd = MAP_FD;
	look_fd = LOOK_FD;
	looks_before = !strcmp(argv[2], LOOKED);
	tap_subject = argv[3];
	return strcmp(argv[1], "old") ? new_image() : old_image();
}

static void execute(void)
{
	static char subject[100];
	struct bpf_program *program;
	struct bpf_link *link;

	begin_case();
	must(dup2(map_fd, MAP_FD) < 0 || dup2(look_fd, LOOK_FD) < 0);
	if (!randomised) {
		must(personality(ADDR_NO_RANDOMIZE) < 0);
		program = bpf_object__find_program_by_name(object, "tld_watch_exec");
		link = bpf_program__attach(program);
		/* It is to outlive the exec. */
		must(!link || dup2(bpf_link__fd(link), LINK_FD) < 0);
	}
	snprintf(subject, sizeof(subject), "another image, %s, of a task %s: ",
		 randomised ? "randomised" : "watched for",
		 looks_before ? "looked at" : "not looked at");
	tap_subject = subject;
	exec_image("old");
}

static void every_exec(void)
{
	for (int i = 0; i < 4; i++) {
		looks_before = i & 1;
		randomised = i & 2;
		in_child(execute);
	}
}

int main(int argc, char **argv)
{
	if (argc == 4)
		return image_main(argv);
	reader_need_kernel();
	need_place();
	load_object();
	in_child(names_and_keys);
	in_child(absent_is_noted);
	in_child(smaller_is_noted);
	in_child(part_of_it);
	in_child(part_that_there_is);
	in_child(added_on_both_sides);
	in_child(not_readable);
	in_child(freed_and_back);
	in_child(detached_and_attached);
	in_child(garbage);
	in_child(forged);
	in_child(pinned_by_two);
	if (have_two_processors())
		in_child(two_names_at_once);
	else
		tap_skip("two programs look at once", "needs a second processor");
	in_child(written_by_bpf);
	every_exec();
	return tap_done();
}
