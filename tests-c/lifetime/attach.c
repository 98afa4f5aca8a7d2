// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * attach.c - tld_get() needs no map; tld_attach() makes what it stored readable, of all
 * threads that have data, and of every other from its first use on; tld_detach() ends
 * that. In each of the three formats. What is refused: attach_refused.c.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "formats.h"
#include "maps.h"
#include "threads.h"
#include "worker.h"

static bool seen(const struct worker *worker)
{
	return reader_sees(reader, worker->tid);
}

static uint64_t value_of(const struct worker *worker)
{
	return reader_u64(reader, worker->tid, "value");
}

/* --- Steps of workers, and of the main thread -------------------------------------- */

static void *store(void *value)
{
	uint64_t *data = quiet(tld_get(key));

	if (data)
		*data = (uintptr_t)value;
	return data;
}

static void *get(void *unused)
{
	(void)unused;
	return quiet(tld_get(key));
}

/* By the map, as a program does that has only one. */
static void *store_by_map(void *value)
{
	uint64_t *data = quiet(tld_get_data(map_fd, key));

	if (data)
		*data = (uintptr_t)value;
	return data;
}

static void *free_data(void *unused)
{
	errno = ERRNO_MARK;
	tld_free();
	errno_changed += errno != ERRNO_MARK;
	return unused;
}

static void *publish(void *unused)
{
	(void)unused;
	return (void *)(intptr_t)quiet(tld_publish());
}

/* --- Attaching ------------------------------------------------------------------------ */

static void before_any_map(void)
{
	struct worker user, other;
	uint64_t *own = quiet(tld_get(key));

	worker_start(&user);
	worker_start(&other);
	if (!ok(own && !*own && (uintptr_t)own % 8 == 0,
		F("without any map a thread has its TLD, zero, at a multiple of 8")))
		return;
	*own = 1;
	worker_do(&user, store, (void *)2);
	ok(get(NULL) == own && *own == 1, F("the next call finds what was stored"));
	is(reader_elements(reader, NULL), 0, F("a map that is not attached has no thread"));
	is(quiet(tld_attach(map_fd)), 0, F("the map can be attached then"));
	is(own_value(), 1, F("what the caller had stored before can be read"));
	is(value_of(&user), 2, F("so can what another thread had stored, which slept"));
	is(seen(&other), false, F("a thread without data is not there"));
	is(reader_elements(reader, NULL), 2, F("nor is anybody else"));
	*own = 3;
	is(own_value(), 3, F("what is stored later can be read without a call"));
	ok(get(NULL) == own && tld_get_data(map_fd, key) == own,
	   F("the TLD is where it was, whoever is asked"));
	worker_do(&other, store, (void *)4);
	is(value_of(&other), 4, F("a thread that uses a TLD after the attachment is there"));
	is(value_of(&user), 2, F("and the others are as before"));
	worker_end(&user, WORKER_RETURNS);
	worker_end(&other, WORKER_RETURNS);
	is(reader_elements(reader, NULL), 1, F("those that end leave the map"));
}

static void threads_that_start_later(void)
{
	struct worker worker;
	uint64_t *data;

	is(quiet(tld_attach(map_fd)), 0, F("a map can be attached before anything is stored"));
	is(reader_elements(reader, NULL), 0, F("then it has no thread"));
	store((void *)1);
	is(own_value(), 1, F("the caller is there from its first use on"));
	worker_start(&worker);
	is(seen(&worker), false, F("a thread that starts is not there"));
	data = worker_do(&worker, get, NULL);
	is(value_of(&worker), 0, F("its first call makes it readable, as zero"));
	*data = 5;
	is(value_of(&worker), 5, F("it is its own memory that is read"));
	worker_end(&worker, WORKER_RETURNS);
}

/* With no TLD in the process there is not even a page to point to. */
static void before_any_key(void)
{
	is(quiet(tld_attach(map_fd)), 0, F("a map can be attached before there is any TLD"));
	is(reader_elements(reader, NULL), 0, F("it has no thread then"));
	key = tld_create_key("value", sizeof(uint64_t));
	store((void *)1);
	is(own_value(), 1, F("a TLD that is created later is readable from its first use on"));
	is(errno_changed, 0, F("errno was left alone"));
}

static void several_maps(void)
{
	struct worker early, late;
	int attached = 0, right = 0;

	worker_start(&early);
	worker_start(&late);
	worker_do(&early, store, (void *)7);
	for (int i = 0; i < FORMATS; i++)
		attached += !quiet(tld_attach(reader_map_fd(readers[i])));
	is(attached, FORMATS, "maps of all formats can be attached at once");
	worker_do(&late, store, (void *)8);
	for (int i = 0; i < FORMATS; i++)
		right += reader_u64(readers[i], early.tid, "value") == 7 &&
			 reader_u64(readers[i], late.tid, "value") == 8;
	is(right, FORMATS, "each reads threads that have data before, and those that come after");
	is(quiet(tld_detach(reader_map_fd(readers[1]))), 0, "one of them can be detached");
	is(reader_elements(readers[1], NULL), 0, "it has no thread any more");
	ok(reader_elements(readers[0], NULL) == 2 && reader_elements(readers[2], NULL) == 2,
	   "the others have them all");
	worker_end(&early, WORKER_RETURNS);
	worker_end(&late, WORKER_RETURNS);
}

/* An element of which BPF could tell that it was replaced. */
#define OTHER_START 128

static void replace_own_element(void)
{
	void *pages = mmap(NULL, 2 * getpagesize(), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t value[32] = { (uintptr_t)pages, (uintptr_t)pages + getpagesize(), OTHER_START };

	*(uint64_t *)pages = OTHER_START;
	if (element_write(map_fd, gettid(), value))
		tap_bail("a thread's element can be replaced");
}

static void twice(void)
{
	int other = fcntl(map_fd, F_DUPFD_CLOEXEC, 100), descriptors;
	struct reader_view view;

	store((void *)1);
	is(quiet(tld_attach(map_fd)), 0, F("a map is attached"));
	descriptors = open_descriptors();
	replace_own_element();
	is(quiet(tld_attach(map_fd)), 0, F("attaching it again gives 0"));
	is(quiet(tld_attach(other)), 0, F("also by another descriptor of the map"));
	is(open_descriptors(), descriptors, F("no further descriptor is kept"));
	reader_look(reader, 0, &view);
	is(view.start, OTHER_START, F("who was readable is not published once more"));
	is(quiet(tld_detach(map_fd)), 0, F("one detachment is enough"));
	is(reader_elements(reader, NULL), 0, F("no thread is left in the map"));
	is(quiet(tld_detach(map_fd)), -ENOENT, F("a second one has nothing to detach"));
	close(other);
}

/* Descriptors from 3 on that a program which is executed would inherit. */
static int inheritable(void)
{
	int count = 0;

	for (int fd = 3; fd < 1024; fd++) {
		int flags = fcntl(fd, F_GETFD);

		count += flags >= 0 && !(flags & FD_CLOEXEC);
	}
	return count;
}

/* The number of a descriptor that was attached says nothing once it is closed. */
static void descriptor_is_closed(void)
{
	int number = fcntl(map_fd, F_DUPFD_CLOEXEC, 200), other = data_map(V2_SIZE);
	int inherited = inheritable();
	struct worker worker;

	worker_start(&worker);
	store((void *)1);
	is(quiet(tld_attach(number)), 0, F("a map is attached"));
	is(inheritable(), inherited, F("what libtld keeps open is close-on-exec"));
	close(number);
	worker_do(&worker, store, (void *)2);
	is(value_of(&worker), 2, F("the descriptor may be closed: new threads are readable"));
	if (dup3(other, number, O_CLOEXEC) != number)
		tap_bail("dup3 works");
	ok(!published(other) && tld_get_data(number, key) && published(other),
	   F("another map may have its number: tld_get_data() serves that one"));
	is(own_value(), 1, F("and the attached one is served as before"));
	is(quiet(tld_detach(number)), 0, F("to detach by the number concerns the other map"));
	ok(!published(other) && own_value() == 1, F("only that"));
	is(quiet(tld_detach(map_fd)), 0, F("the attached one is detached by any descriptor of it"));
	is(reader_elements(reader, NULL), 0, F("then no thread is left in it"));
	worker_end(&worker, WORKER_RETURNS);
}

/* --- Detaching ------------------------------------------------------------------------ */

static __u32 map_id(int fd)
{
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		tap_bail("a map has an id");
	return info.id;
}

static int read_only(int fd)
{
	LIBBPF_OPTS(bpf_get_fd_by_id_opts, opts, .open_flags = BPF_F_RDONLY);
	int other = bpf_map_get_fd_by_id_opts(map_id(fd), &opts);

	if (other < 0)
		tap_bail("a map can be opened for reading");
	return other;
}

static int detach_same(void)
{
	return quiet(tld_detach(map_fd));
}

static int detach_duplicate(void)
{
	int other = dup(map_fd), err = quiet(tld_detach(other));

	close(other);
	return err;
}

static int detach_read_only(void)
{
	int other = read_only(map_fd), err = quiet(tld_detach(other));

	close(other);
	return err;
}

static int detach_id(void)
{
	return quiet(tld_detach_id(map_id(map_fd)));
}

struct detachment {
	int (*detach)(void);
	const char *what;
};

static const struct detachment detachments[] = {
	{ detach_same, "by the descriptor that was attached" },
	{ detach_duplicate, "by a duplicate" },
	{ detach_read_only, "by a descriptor that can only read" },
	{ detach_id, "by the map's id" },
};

#define DETACHMENTS (sizeof(detachments) / sizeof(*detachments))

static const struct detachment *way;

static void detached(void)
{
	uint64_t *own = store((void *)1), *others;
	int descriptors = open_descriptors();
	struct worker user, late;

	worker_start(&user);
	worker_start(&late);
	others = worker_do(&user, store, (void *)2);
	if (tld_attach(map_fd) || reader_elements(reader, NULL) != 2)
		tap_bail("a map is attached");
	is(way->detach(), 0, F("a map is detached %s"), way->what);
	is(reader_elements(reader, NULL), 0, F("no thread is left in it"));
	is(open_descriptors(), descriptors, F("nor a descriptor"));
	ok(*own == 1 && *others == 2, F("pointers and values stay as they were"));
	ok(get(NULL) == own && worker_do(&user, get, NULL) == others && *others == 2,
	   F("and are found again"));
	worker_do(&late, store, (void *)3);
	is(quiet(tld_publish()), 0, F("a thread may publish itself, where there is no map"));
	is(reader_elements(reader, NULL), 0, F("no use of a TLD brings a thread back"));
	*own = 4;
	is(quiet(tld_attach(map_fd)), 0, F("the map can be attached again"));
	ok(own_value() == 4 && value_of(&user) == 2 && value_of(&late) == 3,
	   F("with the newest value of each thread"));
	worker_end(&user, WORKER_RETURNS);
	worker_end(&late, WORKER_RETURNS);
}

/* Maps that nobody attached: threads passed them to tld_get_data(). */
static void known_by_use(void)
{
	uint64_t *own = store_by_map((void *)1);
	int descriptors;
	struct worker user;

	tld_free();
	descriptors = open_descriptors();
	own = store_by_map((void *)1);
	worker_start(&user);
	worker_do(&user, store_by_map, (void *)2);
	is(reader_elements(reader, NULL), 2, F("two threads passed a map to tld_get_data()"));
	is(way->detach(), 0, F("it is detached %s"), way->what);
	is(reader_elements(reader, NULL), 0, F("both are withdrawn"));
	is(open_descriptors(), descriptors, F("no descriptor is kept"));
	ok(get(NULL) == own && *own == 1, F("the caller's data stay"));
	is(reader_elements(reader, NULL), 0, F("tld_get() does not publish it again"));
	ok(store_by_map((void *)3) == own && own_value() == 3,
	   F("tld_get_data() with that map publishes the caller again"));
	is(seen(&user), false, F("but not the other thread"));
	worker_do(&user, store_by_map, (void *)4);
	is(value_of(&user), 4, F("until that calls it as well"));
	worker_end(&user, WORKER_RETURNS);
}

/* What is attached stays when nobody is published there, unlike what is only known. */
static void known_then_attached(void)
{
	struct worker passed, user, late;

	worker_start(&passed);
	worker_start(&user);
	worker_start(&late);
	worker_do(&passed, store_by_map, (void *)1);
	worker_do(&user, store, (void *)2);
	is(seen(&user), false, F("a map that one thread passed does not see another"));
	is(quiet(tld_attach(map_fd)), 0, F("it can be attached"));
	ok(value_of(&passed) == 1 && value_of(&user) == 2, F("then it sees both"));
	worker_end(&passed, WORKER_RETURNS);
	worker_end(&user, WORKER_RETURNS);
	is(reader_elements(reader, NULL), 0, F("when they have ended it sees nobody"));
	worker_do(&late, store, (void *)3);
	is(value_of(&late), 3, F("but serves who comes then"));
	worker_do(&late, store_by_map, (void *)4);
	is(detach_same(), 0, F("it is detached once"));
	is(seen(&late), false, F("also from a thread that passed it"));
	is(detach_same(), -ENOENT, F("and is then unknown"));
	worker_end(&late, WORKER_RETURNS);
}

/* --- tld_free(), tld_publish(), handlers, fork ------------------------------------------ */

static void freed_threads(void)
{
	struct worker freed, freed_later;
	uint64_t *again;

	worker_start(&freed);
	worker_start(&freed_later);
	store((void *)1);
	worker_do(&freed, store, (void *)2);
	worker_do(&freed_later, store, (void *)3);
	worker_do(&freed, free_data, NULL);
	is(quiet(tld_attach(map_fd)), 0, F("a map is attached"));
	ok(own_value() == 1 && value_of(&freed_later) == 3, F("threads with data are there"));
	is(seen(&freed), false, F("one that called tld_free() is not"));
	worker_do(&freed_later, free_data, NULL);
	is(seen(&freed_later), false, F("tld_free() withdraws from an attached map"));
	is(quiet(tld_attach(map_fd)), 0, F("to attach once more"));
	is(reader_elements(reader, NULL), 1, F("brings none of them back"));
	again = worker_do(&freed, get, NULL);
	is(value_of(&freed), 0, F("its next tld_get() does, as zero"));
	*again = 4;
	is(value_of(&freed), 4, F("and it is read as before"));
	is((intptr_t)worker_do(&freed_later, publish, NULL), 0, F("so does tld_publish()"));
	is(value_of(&freed_later), 0, F("with nothing of what was stored before"));
	worker_end(&freed, WORKER_RETURNS);
	worker_end(&freed_later, WORKER_RETURNS);
}

static void published_on_request(void)
{
	struct worker worker;

	is(quiet(tld_publish()), 0, F("without any map tld_publish() gives 0"));
	if (tld_attach(map_fd))
		tap_bail("a map is attached");
	worker_start(&worker);
	is((intptr_t)worker_do(&worker, publish, NULL), 0, F("a thread publishes itself"));
	is(value_of(&worker), 0, F("it is there before it has asked for any TLD, as zero"));
	worker_do(&worker, store, (void *)6);
	is(value_of(&worker), 6, F("and is read when it has"));
	is((intptr_t)worker_do(&worker, publish, NULL), 0, F("publishing once more is no error"));
	is(value_of(&worker), 6, F("and changes nothing"));
	worker_end(&worker, WORKER_RETURNS);
}

static int in_handler[5];
static uint64_t read_in_handler;
static bool seen_in_handler;

static void use_all(int signal)
{
	uint64_t *data = quiet(tld_get(key));

	(void)signal;
	in_handler[0] = data ? 0 : -1;
	if (data)
		*data = 5;
	in_handler[1] = quiet(tld_attach(map_fd));
	in_handler[2] = quiet(tld_publish());
	read_in_handler = own_value();
	in_handler[3] = quiet(tld_detach(map_fd));
	seen_in_handler = reader_sees(reader, 0);
	tld_attach(map_fd);
	in_handler[4] = quiet(tld_detach_id(map_id(map_fd)));
}

static void signal_handler(void)
{
	static const char *const calls[] = {
		"tld_get()", "tld_attach()", "tld_publish()", "tld_detach()", "tld_detach_id()",
	};

	for (int i = 0; i < 5; i++)
		in_handler[i] = 1;
	signal(SIGUSR1, use_all);
	raise(SIGUSR1);
	for (int i = 0; i < 5; i++)
		is(in_handler[i], 0, "%s: %s works in a handler that interrupts nothing of libtld",
		   name(), calls[i]);
	is(read_in_handler, 5, F("BPF reads there what was stored"));
	is(seen_in_handler, false, F("and nothing after the detachment"));
	store((void *)6);
	is(reader_sees(reader, 0), false, F("what the handler detached last stays so"));
}

/* What a child of fork() found; the points are its parent's. */
struct child_report {
	bool before, kept, value, alone, detached;
};

static struct child_report *report;
static int told[2], done[2];

static void pass_on(int end)
{
	if (write(end, "", 1) != 1)
		tap_bail("parent and child can talk");
}

static void await(int end)
{
	char byte;

	if (read(end, &byte, 1) != 1)
		tap_bail("parent and child can talk");
}

static void child(uint64_t *data)
{
	report->before = reader_sees(reader, 0);
	report->kept = tld_get(key) == data && *data == 1;
	*data = 2;
	report->value = own_value() == 2;
	pass_on(done[1]);
	await(told[0]);
	report->alone = own_value() == 2;
	report->detached = !tld_detach(map_fd) && !reader_sees(reader, 0);
	_exit(0);
}

static void forked_child(void)
{
	uint64_t *data = store((void *)1);
	pid_t pid;

	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (pipe(told) || pipe(done) || tld_attach(map_fd))
		tap_bail("pipes can be made and a map attached");
	report->before = true;
	pid = fork_for_case();
	if (!pid)
		child(data);
	await(done[0]);
	is(report->before, false, F("a forked child is not there at first"));
	is(report->kept, true, F("it keeps its parent's data"));
	is(report->value, true,
	   F("from its next tld_get() on it is readable through the attached map"));
	is(own_value(), 1, F("its parent's value is read as before"));
	is(quiet(tld_detach(map_fd)), 0, F("the parent detaches the map"));
	is(reader_sees(reader, 0), false, F("and is gone from it"));
	pass_on(told[1]);
	waitpid(pid, NULL, 0);
	is(report->alone, true, F("the child is not, being a process of its own"));
	is(report->detached, true, F("it can detach for itself"));
}

static void child_publishes(void)
{
	int other = data_map(V2_SIZE), status;
	pid_t pid;

	store_by_map((void *)1);
	if (tld_attach(other))
		tap_bail("a map is attached");
	pid = fork_for_case();
	if (!pid)
		_exit(tld_publish() || own_value() != 1 || !published(other));
	waitpid(pid, &status, 0);
	is(status, 0, F("in a forked child tld_publish() makes the data readable through attached "
	   "maps and those that the thread passed to tld_get_data()"));
}

/* --- Cases --- */

static void all_cases(void)
{
	in_child_with_key(before_any_map);
	in_child_with_key(threads_that_start_later);
	in_child(before_any_key);
	in_child_with_key(twice);
	in_child_with_key(descriptor_is_closed);
	for (size_t i = 0; i < DETACHMENTS; i++) {
		way = &detachments[i];
		in_child_with_key(detached);
		in_child_with_key(known_by_use);
	}
	in_child_with_key(known_then_attached);
	in_child_with_key(freed_threads);
	in_child_with_key(published_on_request);
	in_child_with_key(signal_handler);
	in_child_with_key(forked_child);
	in_child_with_key(child_publishes);
}

int main(void)
{
	open_readers();
	for_each_format(all_cases);
	in_child_with_key(several_maps);
	close_readers();
	return tap_done();
}
