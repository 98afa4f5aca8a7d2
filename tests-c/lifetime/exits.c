// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * exits.c - processes that are killed at any moment or exit while their threads call,
 * and libraries that are closed. What they had shared goes with them; what they had
 * defined stays as long as the process does. (faults_plugins.c has threads that end
 * after the library that gave them data was closed, thread_exit.c the ends of threads.)
 */
#include <dlfcn.h>
#include <unistd.h>

#define TLD_DYN_DATA_SIZE 400
#include "tld.h"

#include "forks.h"
#include "maps.h"
#include "page.h"
#include "reader.h"
#include "thread_ids.h"

/* A sanitizer takes its time to start threads. */
#define KILLED (UNDER_SANITIZER ? 30 : 240)
#define EXITS (UNDER_SANITIZER ? 15 : 60)

static struct reader *reader, *second;
static tld_key_t key;

static uint64_t value_of(pid_t tid)
{
	return reader_u64(reader, tid, "value");
}

static uint64_t *store(uint64_t value)
{
	uint64_t *data = tld_get(key);

	if (data)
		*data = value;
	return data;
}

static void *store_number(void *number)
{
	return store((uintptr_t)number);
}

static void open_process(void)
{
	key = tld_create_key("value", sizeof(uint64_t));
	if (tld_attach(reader_map_fd(reader)))
		tap_bail("a map can be attached");
}

/* Any moment of the next so many microseconds. */
static void pass_time(unsigned int microseconds)
{
	struct timespec moment = { .tv_nsec = random() % microseconds * 1000 };

	nanosleep(&moment, NULL);
}

/* --- Calls that never end ------------------------------------------------------------ */

static void *get_and_free(void *unused)
{
	(void)unused;
	for (;;) {
		store(1);
		tld_free();
	}
	return NULL;
}

static void *attach_and_detach(void *unused)
{
	(void)unused;
	for (;;) {
		tld_attach(reader_map_fd(second));
		tld_get_data(reader_map_fd(second), key);
		tld_detach(reader_map_fd(second));
	}
	return NULL;
}

static void *create_and_refer(void *unused)
{
	char name[16];

	(void)unused;
	for (unsigned int i = 0;; i++) {
		snprintf(name, sizeof(name), "key %u", i % 20);
		tld_create_key(name, 1);
		tld_unref_thread(tld_ref_thread(getpid()));
	}
	return NULL;
}

static void *start_and_end(void *unused)
{
	for (;;)
		in_thread(store_number, (void *)2);
	return unused;
}

static void *(*const bodies[])(void *) = {
	get_and_free, attach_and_detach, create_and_refer, start_and_end,
};

static void start_threads(int count)
{
	for (int i = 0; i < count; i++)
		start_thread(bodies[i % 4], NULL);
}

/* --- Killed ----------------------------------------------------------------------------- */

static pid_t start_victim(void)
{
	pid_t child = fork();

	if (child < 0)
		tap_bail("fork works");
	if (child)
		return child;
	alarm(CHILD_SECONDS);
	start_threads(3);
	start_and_end(NULL);
	_exit(1);
}

static void killed(void)
{
	unsigned int survivors = 0, left = 0, disturbed = 0;

	open_process();
	store(7);
	srandom(1);
	for (int i = 0; i < KILLED; i++) {
		pid_t child = start_victim();

		pass_time(3000);
		survivors += kill(child, SIGKILL) || reap(child) != -SIGKILL;
		left += reader_elements(reader, NULL) != 1 || reader_elements(second, NULL);
		disturbed += value_of(0) != 7;
	}
	is(survivors, 0, "%d processes are killed while their threads call", KILLED);
	is(left, 0, "after each one's end no task has an element but the one that lives");
	is(disturbed, 0, "which is read as before");
	ok(in_thread(store_number, (void *)3) && tld_publish() == 0, "and goes on");
}

/* --- Ids that come again ------------------------------------------------------------------ */

#define ROUNDS 40
#define FEW_IDS 4

static void publish_and_wait(void)
{
	check(store(1000) && value_of(0) == 1000);
	__atomic_store_n(&report->word, 1, __ATOMIC_RELEASE);
	for (;;)
		pause();
}

/* Of what bore the id before, nothing; then its own. */
static void look_and_publish(void)
{
	alarm(CHILD_SECONDS);
	check(!reader_sees(reader, 0));
	check(store(2000) && value_of(0) == 2000);
	tld_free();
	check(!reader_sees(reader, 0));
	_exit(0);
}

static void start_and_kill(pid_t pid)
{
	report->word = 0;
	start_process_as(pid, publish_and_wait);
	if (!eventually(__atomic_load_n(&report->word, __ATOMIC_ACQUIRE)))
		tap_bail("a process publishes itself");
	end_process(pid);
}

static void *seen_already(void *unused)
{
	(void)unused;
	return (void *)(uintptr_t)reader_sees(reader, 0);
}

static void *read_own(void *unused)
{
	(void)unused;
	return (void *)(uintptr_t)(store(3000) && value_of(0) == 3000);
}

/* Also a thread of a process that lives. */
static bool thread_with_id(pid_t tid)
{
	struct worker worker = { 0 };
	bool good;

	worker_start_as(&worker, tid);
	good = !worker_do(&worker, seen_already, NULL) && worker_do(&worker, read_own, NULL);
	worker_end(&worker, WORKER_RETURNS);
	return good;
}

static void ids_again(void)
{
	unsigned int wrong = 0, wrong_threads = 0;

	report_open();
	open_process();
	store(7);
	for (int i = 0; i < ROUNDS; i++) {
		pid_t id = 2 * FIRST_ID_AGAIN + i % FEW_IDS;

		start_and_kill(id);
		wrong += !was_right(start_process_as(id, look_and_publish));
		start_and_kill(id);
		wrong_threads += !thread_with_id(id);
	}
	is(wrong, 0,
	   "a process with a killed one's id is absent until it publishes, then read as itself");
	is(wrong_threads, 0, "so is a thread with such an id");
	is(value_of(0), 7, "the process that lives on is read as before");
	is(reader_elements(reader, NULL), 1, "and alone in the map");
}

/* --- exit() -------------------------------------------------------------------------------- */

/* Whatever comes last may use TLDs as well. */
static void use_at_exit(void)
{
	uint64_t *data = store(5);

	check(data && value_of(0) == 5);
	tld_create_key("at exit", 8);
	check(!tld_key_is_err(tld_find_key("at exit")));
	check(!tld_publish());
}

static void *exit_here(void *unused)
{
	(void)unused;
	exit(42);
	return NULL;
}

static void exit_by_main(void)
{
	exit(42);
}

static void exit_by_thread(void)
{
	in_thread(exit_here, NULL);
}

static void *exit_later(void *unused)
{
	pass_time(1000);
	return exit_here(unused);
}

/* The first thread ends, and with it its data; the process goes on. */
static void exit_after_main(void)
{
	start_thread(exit_later, NULL);
	pthread_exit(NULL);
}

static const struct {
	const char *name;
	void (*leave)(void);
} leavers[] = {
	{ "exit() in the first thread", exit_by_main },
	{ "exit() in another thread", exit_by_thread },
	{ "exit() after the first thread's end", exit_after_main },
};

static void leave_with_threads(int i)
{
	alarm(CHILD_SECONDS);
	atexit(use_at_exit);
	open_process();
	store(1);
	if (i % 2)
		tld_follow("/nothing/here");
	start_threads(8);
	pass_time(2000);
	leavers[i % 3].leave();
}

/* Statuses other than 42 are crashes or hangs. */
static void exits_beside_threads(void)
{
	int bad_status[3] = { 0 }, wrong[3] = { 0 }, left = 0;

	report_open();
	srandom(2);
	for (int i = 0; i < EXITS; i++) {
		pid_t child = fork();

		if (!child) {
			leave_with_threads(i);
			_exit(1);
		}
		bad_status[i % 3] += reap(child) != 42;
		if (report->text)
			diag("  in the child, not true: %s (line %d)", report->text, report->line);
		wrong[i % 3] += report->text != NULL;
		report->text = NULL;
		left += reader_elements(reader, NULL) + reader_elements(second, NULL);
	}
	for (int i = 0; i < 3; i++) {
		is(bad_status[i], 0, "%s, while 8 threads call, ends the process", leavers[i].name);
		is(wrong[i], 0, "%s: functions that run then use TLDs as ever", leavers[i].name);
	}
	is(left, 0, "nothing is left of the processes");
}

/* --- Libraries that are closed ---------------------------------------------------------------- */

static void *load_plugin(void)
{
	void *plugin = dlopen(reader_beside("plugins/beta.so"), RTLD_NOW | RTLD_LOCAL);

	if (!plugin)
		tap_bail("a plugin can be loaded: %s", dlerror());
	return plugin;
}

static tld_key_t plugins_key(void *plugin)
{
	tld_key_t (*own_key)(void) = (tld_key_t (*)(void))dlsym(plugin, "plugin_own_key");

	if (!own_key)
		tap_bail("the plugin has a key");
	return own_key();
}

/* Into the plugin's TLD, of which no code is in the process. */
static void *store_in_closed(void *unused)
{
	uint64_t *data = tld_get(tld_find_key("beta"));

	(void)unused;
	if (!data)
		return NULL;
	*data = 6;
	return (void *)(uintptr_t)(reader_u64(reader, 0, "beta") == 6);
}

static void closed_library(void)
{
	uint64_t *data;
	void *plugin;
	tld_key_t own;

	open_process();
	store(7);
	plugin = load_plugin();
	own = plugins_key(plugin);
	data = tld_get(own);
	if (!data)
		tap_bail("a thread gets a plugin's TLD");
	*data = 5;
	dlclose(plugin);
	ok(!dlopen(reader_beside("plugins/beta.so"), RTLD_NOW | RTLD_NOLOAD),
	   "a library that defined a TLD is closed");
	is(tld_find_key("beta").off, own.off, "the TLD is still found");
	ok(tld_get(own) == data && *data == 5, "a thread's data are where they were");
	is(reader_u64(reader, 0, "beta"), 5, "BPF reads them");
	*data = 4;
	is(reader_u64(reader, 0, "beta"), 4, "also what is stored now");
	is(tld_create_key("beta", 16).off, -EEXIST, "the name is taken");
	ok(in_thread(store_in_closed, NULL), "new threads have it");
	is(value_of(0), 7, "other TLDs are not affected");
}

#define LOADS 1000

/* What the first loads map stays mapped, in glibc as well. */
static void load_and_close(uint64_t loads, tld_key_t want, unsigned int *other_key,
			   unsigned int *other_data)
{
	for (uint64_t i = 0; i < loads; i++) {
		void *plugin = load_plugin();
		uint64_t *data = tld_get(want);

		*other_key += plugins_key(plugin).off != want.off;
		*other_data += !data || *data != i || reader_u64(reader, 0, "beta") != i;
		if (data)
			*data = i + 1;
		if (i % 10 == 0)
			*other_data += !in_thread(store_in_closed, NULL);
		dlclose(plugin);
	}
}

static void loaded_a_thousand_times(void)
{
	unsigned int other_key = 0, other_data = 0, cnt, size;
	void *plugin = load_plugin();
	tld_key_t own = plugins_key(plugin);
	int descriptors, maps;
	long rss, mapped;

	dlclose(plugin);
	open_process();
	cnt = page_cnt();
	size = page_size_field();
	load_and_close(50, own, &other_key, &other_data);
	descriptors = open_descriptors();
	maps = mappings();
	rss = status_kib("RssAnon:");
	mapped = status_kib("VmSize:");
	*(uint64_t *)tld_get(own) = 0;
	load_and_close(LOADS, own, &other_key, &other_data);
	is(other_key, 0, "a plugin that is loaded and closed %d times has the same key each time",
	   LOADS);
	is(other_data, 0, "and finds what was stored when it was loaded before, as does BPF");
	is(page_cnt(), cnt, "its TLD is counted once");
	is(page_size_field(), size, "and takes its bytes once");
	is(open_descriptors(), descriptors, "no descriptor is left open");
	diag("KiB %ld, before %ld; mapped %ld, before %ld; mappings %d, before %d",
	     status_kib("RssAnon:"), rss,
	     status_kib("VmSize:"), mapped, mappings(), maps);
	if (UNDER_SANITIZER)
		tap_skip("no memory is lost", "a sanitizer maps memory of its own");
	else
		ok(mappings() == maps && status_kib("VmSize:") == mapped &&
		   status_kib("RssAnon:") - rss < 64,
		   "no memory is lost");
}

int main(void)
{
	reader_need_kernel();
	reader = reader_open(READER_V2);
	second = reader_open(READER_V2);
	in_child(killed);
	in_pid_namespace(ids_again);
	in_child(exits_beside_threads);
	in_child(closed_library);
	in_child(loaded_a_thousand_times);
	reader_close(second);
	reader_close(reader);
	return tap_done();
}
