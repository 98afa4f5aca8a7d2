// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * attach_ids.c - thread ids that come again: what an ended thread left behind in the library
 * is never written to who has its id now, be it another process or a new thread.
 *
 * attach_ids --soak SECONDS has ids change hands for so long.
 */
#include <unistd.h>

static double soak_seconds;
#define CASE_SECONDS (patience(20) + (unsigned int)soak_seconds)

#include "formats.h"
#include "maps.h"
#include "often.h"
#include "thread_ids.h"
#include "threads.h"
#include "worker.h"

/* --- Ids that go to another process --- */

static void *store(void *value)
{
	uint64_t *data = tld_get(key);

	if (data)
		*data = (uintptr_t)value;
	return data;
}

static void *get(void *unused)
{
	(void)unused;
	return tld_get(key);
}

static bool has_element(int fd, pid_t tid)
{
	char value[256];
	int err = element_read(fd, tid, value);

	if (err && err != -ENOENT)
		tap_bail("an element can be looked up");
	return !err;
}

/* A thread that had data and of whose end nobody told the library. Returns its id. */
static pid_t leave_a_record(uint64_t value)
{
	struct worker worker;

	worker_start(&worker);
	if (!worker_do(&worker, store, (void *)value))
		tap_bail("a thread has data");
	worker_end(&worker, WORKER_ENDS_WITHOUT_DESTRUCTORS);
	return worker.tid;
}

/* Somebody else's process, also by its user. */
static void stranger(void)
{
	if (setresuid(65534, 65534, 65534))
		_exit(1);
	for (;;)
		pause();
}

static void id_of_a_stranger(void)
{
	pid_t tid;

	make_key();
	store((void *)1);
	tid = leave_a_record(7);
	start_process_as(tid, stranger);
	is(tld_attach(map_fd), 0,
	   F("a map is attached after a thread's id went to another process"));
	is(has_element(map_fd, tid), false, F("the stranger gets no element"));
	is(reader_u64(reader, 0, "value"), 1, F("the process's own thread does"));
	is(reader_elements(reader, NULL), 1, F("and nobody else"));
	is(tld_detach(map_fd), 0, F("the map can be detached"));
	end_process(tid);
}

#define STRANGERS SOME(40)

static void ids_of_many_strangers(void)
{
	struct worker workers[STRANGERS];
	int published_strangers = 0;

	make_key();
	store((void *)1);
	for (int i = 0; i < STRANGERS; i++) {
		worker_start(&workers[i]);
		worker_do(&workers[i], store, (void *)7);
	}
	for (int i = 0; i < STRANGERS; i++)
		worker_end(&workers[i], WORKER_ENDS_WITHOUT_DESTRUCTORS);
	for (int i = 0; i < STRANGERS; i++)
		start_process_as(workers[i].tid, stranger);
	is(tld_attach(map_fd), 0, F("a map is attached after %d ids went to other processes"),
	   STRANGERS);
	for (int i = 0; i < STRANGERS; i++)
		published_strangers += has_element(map_fd, workers[i].tid);
	is(published_strangers, 0, F("none of them gets an element"));
	is(reader_elements(reader, NULL), 1, F("there is one, of the process's own thread"));
	for (int i = 0; i < STRANGERS; i++)
		end_process(workers[i].tid);
}

/* The stranger uses libtld itself: the attached map came with fork(). */
static int ready[2];

static void sharing_stranger(void)
{
	store((void *)99);
	if (write(ready[1], "", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static bool others_value_stays(pid_t tid)
{
	return reader_u64(reader, tid, "value") == 99;
}

static void element_of_a_stranger(void)
{
	int other = data_map(V2_SIZE);
	char byte;
	pid_t tid;

	make_key();
	store((void *)1);
	if (tld_attach(map_fd) || pipe(ready))
		tap_bail("a map can be attached and a pipe made");
	tid = leave_a_record(7);
	start_process_as(tid, sharing_stranger);
	if (read(ready[0], &byte, 1) != 1 || !others_value_stays(tid))
		tap_bail("another process with the thread's id shares data in the same map");
	is(tld_attach(map_fd), 0,
	   F("the map is attached again after an id went to a process in it"));
	is(others_value_stays(tid), true, F("the stranger's element is not replaced"));
	is(tld_attach(other), 0, F("another map is attached"));
	is(has_element(other, tid), false, F("where the stranger gets none"));
	is(tld_detach(map_fd), 0, F("the first one is detached"));
	is(others_value_stays(tid), true, F("the stranger's element is not deleted"));
	is(reader_elements(reader, NULL), 1, F("the process's own are"));
	end_process(tid);
}

/* --- The same by new threads of the process ------------------------------------------------- */

static void id_of_a_thread_without_data(void)
{
	struct worker worker;
	uint64_t *data;
	pid_t tid;

	make_key();
	store((void *)1);
	tid = leave_a_record(7);
	worker_start_as(&worker, tid);
	is(tld_attach(map_fd), 0, F("a map is attached after a thread's id went to a new thread"));
	is(has_element(map_fd, tid), false, F("which has no data and gets no element"));
	is(reader_elements(reader, NULL), 1, F("nobody else does but the caller"));
	data = worker_do(&worker, get, NULL);
	ok(data && !*data, F("its data, when it asks for some, are zero"));
	is(reader_u64(reader, tid, "value"), 0, F("so BPF reads them"));
	worker_do(&worker, store, (void *)8);
	is(reader_u64(reader, tid, "value"), 8, F("and then what it stores"));
	worker_end(&worker, WORKER_RETURNS);
	is(reader_elements(reader, NULL), 1, F("when it ends it leaves the map"));
}

static void id_of_a_thread_with_data(void)
{
	struct worker worker;
	uint64_t *data;
	pid_t tid;

	make_key();
	tid = leave_a_record(7);
	worker_start_as(&worker, tid);
	data = worker_do(&worker, get, NULL);
	ok(data && !*data, F("a thread whose id was another's has data that are zero"));
	worker_do(&worker, store, (void *)8);
	is(tld_attach(map_fd), 0, F("a map is attached"));
	is(reader_u64(reader, tid, "value"), 8, F("it reads the new thread's value"));
	is(reader_elements(reader, NULL), 1, F("and nothing else"));
	*data = 9;
	is(reader_u64(reader, tid, "value"), 9, F("also what is stored later"));
	is(tld_detach(map_fd), 0, F("the map is detached"));
	is(reader_elements(reader, NULL), 0, F("and has no thread"));
	worker_end(&worker, WORKER_RETURNS);
}

/* The ended thread had been in the map, whose element went with it. */
static void id_of_a_thread_once_published(void)
{
	struct worker worker;
	pid_t tid;

	make_key();
	store((void *)1);
	if (tld_attach(map_fd))
		tap_bail("a map can be attached");
	tid = leave_a_record(7);
	worker_start_as(&worker, tid);
	is(has_element(map_fd, tid), false, F("a new thread has nothing of who had its id"));
	is(tld_attach(map_fd), 0, F("the map is attached again"));
	is(has_element(map_fd, tid), false, F("which changes nothing"));
	worker_do(&worker, store, (void *)8);
	is(reader_u64(reader, tid, "value"), 8, F("when it stores, that is read"));
	is(tld_attach(map_fd), 0, F("the map is attached once more"));
	is(reader_u64(reader, tid, "value"), 8, F("still the new thread's value is read"));
	is(tld_detach(map_fd), 0, F("the map is detached"));
	is(reader_elements(reader, NULL), 0, F("and has no thread"));
	worker_end(&worker, WORKER_RETURNS);
}

/*
 * Whose thread a record is, the library learns at its first use, which takes a descriptor.
 * Without one it must not take the next thread of that id for it.
 */
static pid_t leave_a_record_without_descriptors(uint64_t value)
{
	rlim_t limit = soft_limit(RLIMIT_NOFILE);
	struct worker worker;

	worker_start(&worker);
	set_soft_limit(RLIMIT_NOFILE, 3);
	if (!worker_do(&worker, store, (void *)value))
		tap_bail("a thread has data");
	set_soft_limit(RLIMIT_NOFILE, limit);
	worker_end(&worker, WORKER_ENDS_WITHOUT_DESTRUCTORS);
	/* Joined, it may be there for the kernel a moment longer. */
	if (!eventually(syscall(SYS_tgkill, getpid(), worker.tid, 0)))
		tap_bail("a thread ends");
	return worker.tid;
}

static void *attach(void *unused)
{
	(void)unused;
	tld_attach(map_fd);
	return NULL;
}

static void end_of_a_thread_never_identified(void)
{
	pid_t tid;

	make_key();
	store((void *)1);
	tid = leave_a_record_without_descriptors(7);
	is(tld_attach(map_fd), 0, F("a thread that has ended fails no attachment"));
	is(reader_elements(reader, NULL), 1, F("the map has who lives"));
	start_process_as(tid, stranger);
	is(tld_attach(map_fd), 0, F("nor when another process has its id"));
	is(has_element(map_fd, tid), false, F("which gets no element"));
	end_process(tid);
}

static void id_of_a_thread_never_identified(void)
{
	struct worker worker;
	uint64_t *data;
	pid_t tid;

	make_key();
	tid = leave_a_record_without_descriptors(7);
	worker_start_as(&worker, tid);
	worker_do(&worker, attach, NULL);
	is(has_element(map_fd, tid), false,
	   F("a new thread that attaches a map itself gets nothing of who had its id"));
	worker_do(&worker, store, (void *)8);
	is(reader_u64(reader, tid, "value"), 8, F("when it stores, that is read"));
	tld_detach(map_fd);
	worker_do(&worker, attach, NULL);
	is(reader_u64(reader, tid, "value"), 8, F("so it is when it attaches the map again"));
	data = worker_do(&worker, store, (void *)9);
	ok(*data == 9 && reader_u64(reader, tid, "value") == 9, F("and when it stores again"));
	worker_end(&worker, WORKER_RETURNS);
}

/* --- Ids that come again all the time -------------------------------------------------------- */

/* Threads leave ids behind, processes take them, a map comes and goes. */
#define IDS 100

static bool stop;
static unsigned int strangers, strangers_written;

static void pause_briefly(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
}

static void *keep_leaving(void *unused)
{
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
		leave_a_record(7);
	return unused;
}

/* A process that lives for a moment and says whether it ever saw itself in the map. */
static void live_as_stranger(void)
{
	bool written = false;

	for (int i = 0; i < 5; i++) {
		written |= reader_sees(reader, 0);
		pause_briefly();
	}
	_exit(written);
}

static void *keep_forking(void *unused)
{
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		pid_t child = fork_for_case();
		int status = 0;

		if (!child)
			live_as_stranger();
		if (waitpid(child, &status, 0) != child)
			tap_bail("a process starts and ends");
		strangers++;
		strangers_written += status != 0;
	}
	return unused;
}

static void storm_of_ids(void)
{
	double until = seconds_now() + (soak_seconds ? soak_seconds : BRIEFLY(0.7));
	int rounds = 0, good = 0, empty = 0;
	pthread_t leaver, forker;

	if (!ids_limit(FIRST_ID_AGAIN + IDS)) {
		tap_skip("ids of a small range that come again all the time",
			 "kernel: pid_max is not a pid namespace's own (Linux before 6.14)");
		return;
	}
	make_key();
	store((void *)1);
	stop = false;
	leaver = start_thread(keep_leaving, NULL);
	forker = start_thread(keep_forking, NULL);
	for (; seconds_now() < until; rounds++) {
		good += !tld_attach(map_fd);
		good += !tld_detach(map_fd);
		empty += reader_elements(reader, NULL) == 0;
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	end_thread(leaver);
	end_thread(forker);
	diag("%d rounds, %u processes among %d ids", rounds, strangers, IDS);
	is(good, 2 * rounds, F("a map comes and goes while ids change hands"));
	ok(strangers > 0, F("other processes take them"));
	is(strangers_written, 0, F("none of these finds itself in the map"));
	is(empty, rounds, F("nor is anybody left there after a detachment"));
}

static void all_cases(void)
{
	in_pid_namespace(id_of_a_stranger);
	in_pid_namespace(ids_of_many_strangers);
	in_pid_namespace(element_of_a_stranger);
	in_pid_namespace(id_of_a_thread_without_data);
	in_pid_namespace(id_of_a_thread_with_data);
	in_pid_namespace(id_of_a_thread_once_published);
	in_pid_namespace(end_of_a_thread_never_identified);
	in_pid_namespace(id_of_a_thread_never_identified);
	in_pid_namespace(storm_of_ids);
}

int main(int argc, char **argv)
{
	if (UNDER_SANITIZER)
		tap_skip_all("threads end without destructors; a sanitizer wants its own to run");
	if (argc == 3 && !strcmp(argv[1], "--soak"))
		soak_seconds = atof(argv[2]) / FORMATS;
	open_readers();
	for_each_format(all_cases);
	close_readers();
	return tap_done();
}
