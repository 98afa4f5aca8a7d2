// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * refs.c - one thread sets what another's TLDs say: tld_ref_thread(), tld_ref_get(),
 * tld_unref_thread(). BPF reads the value before the other thread has called anything; the
 * memory stays as long as the reference, and no longer. What is refused: refs_refused.c;
 * ids that come again: refs_ids.c.
 *
 * refs --soak SECONDS goes on for so long with those cases that repeat.
 */
#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

static double soak_seconds;
#define CASE_SECONDS (patience(60) + (unsigned int)soak_seconds)

#include "maps.h"
#include "refs.h"

#define CYCLES (SLOWER > 1 ? 300 : 10000)
#define WARM_UP SOME(200)
#define GROWTH_KIB 256

/* --- Before the thread has called anything --- */

static void store_before_it_calls(void)
{
	int other = data_map(V2_SIZE);
	struct tld_thread_ref *ref;
	struct worker worker;
	uint64_t *data;

	attach_or_bail();
	worker_start(&worker);
	ref = ref_to(&worker);
	is(value_of(&worker), 0, F("a thread without data gets some, readable at once, as zero"));
	data = data_of(ref);
	is((uintptr_t)data % 8, 0, F("its TLD is at a multiple of 8"));
	*data = 7;
	is(value_of(&worker), 7, F("BPF reads what is stored for it before it calls anything"));
	is(reader_elements(reader, NULL), 1,
	   F("nobody else is in the map, who refers to it neither"));
	ok(worker_do(&worker, get, NULL) == data && *data == 7,
	   F("the thread finds it by tld_get()"));
	ok(worker_do(&worker, get_by_map, (void *)(intptr_t)map_fd) == data,
	   F("and by tld_get_data() with that map"));
	ok(worker_do(&worker, get_by_map, (void *)(intptr_t)other) == data && *data == 7,
	   F("and with one that is not attached"));
	worker_do(&worker, store, (void *)8);
	ok(*data == 8 && data_of(ref) == data, F("who refers to it sees what it stores"));
	*data = 9;
	is(value_of(&worker), 9, F("and goes on storing for it"));
	unref(ref);
	ok(worker_do(&worker, get, NULL) == data && *data == 9 && value_of(&worker) == 9,
	   F("all stays when the reference is given back"));
	worker_end(&worker, WORKER_RETURNS);
	is(reader_elements(reader, NULL), 0, F("when the thread ends the map is empty"));
	close(other);
}

/* Its first call is by a map, which has to find the block that is there. */
static void passed_first(void)
{
	struct tld_thread_ref *ref;
	struct worker worker;
	uint64_t *data;

	worker_start(&worker);
	ref = ref_to(&worker);
	data = data_of(ref);
	*data = 7;
	ok(worker_do(&worker, get_by_map, (void *)(intptr_t)map_fd) == data && *data == 7,
	   F("a thread that only ever passes a map finds what was stored for it"));
	is(value_of(&worker), 7, F("and BPF reads it through that map"));
	unref(ref);
	worker_end(&worker, WORKER_RETURNS);
}

static void attached_later(void)
{
	struct tld_thread_ref *ref;
	struct worker worker;
	uint64_t *data;

	worker_start(&worker);
	ref = ref_to(&worker);
	data = data_of(ref);
	*data = 7;
	is(reader_elements(reader, NULL), 0, F("without a map a reference works the same"));
	is(quiet(tld_attach(map_fd)), 0, F("a map is attached later"));
	is(value_of(&worker), 7, F("it reads a thread that has called nothing but is referred to"));
	is(quiet(tld_detach(map_fd)), 0, F("it is detached"));
	is(reader_elements(reader, NULL), 0, F("and the thread withdrawn"));
	unref(ref);
	is(quiet(tld_attach(map_fd)), 0, F("it is attached again, nobody referring to the thread"));
	is(value_of(&worker), 7, F("which has its data still"));
	ok(worker_do(&worker, get, NULL) == data, F("and finds them"));
	worker_end(&worker, WORKER_RETURNS);
}

/* --- Any thread of the process --- */

static void *ref_main(void *unused)
{
	struct tld_thread_ref *ref = quiet(tld_ref_thread(getpid()));
	uint64_t *data = ref ? tld_ref_get(ref, key) : NULL;

	(void)unused;
	if (data)
		*data = 7;
	unref(ref);
	return data;
}

static void main_thread(void)
{
	struct worker worker;
	uint64_t *data;

	attach_or_bail();
	worker_start(&worker);
	data = worker_do(&worker, ref_main, NULL);
	ok(data && reader_u64(reader, 0, "value") == 7, F("a thread stores for the main thread"));
	ok(tld_get(key) == data && *data == 7, F("which finds it"));
	*data = 0;
	ok(worker_do(&worker, ref_main, NULL) == data && *data == 7,
	   F("it does so once more, now that the main thread has used its data"));
	worker_end(&worker, WORKER_RETURNS);
}

static void *ref_itself(void *unused)
{
	struct tld_thread_ref *ref = quiet(tld_ref_thread(gettid()));
	uint64_t *data = ref ? tld_ref_get(ref, key) : NULL;
	bool same;

	(void)unused;
	if (data)
		*data = 7;
	same = data && reader_u64(reader, 0, "value") == 7 && tld_get(key) == data && *data == 7;
	unref(ref);
	return (void *)(intptr_t)(same && tld_get(key) == data && *data == 7);
}

static void itself(void)
{
	struct worker worker;

	attach_or_bail();
	worker_start(&worker);
	ok(worker_do(&worker, ref_itself, NULL), F("a thread without data may refer to itself"));
	ok(worker_do(&worker, ref_itself, NULL), F("and with data"));
	worker_end(&worker, WORKER_RETURNS);
	is(reader_elements(reader, NULL), 0, F("its end withdraws it"));
}

static void *get_as_other(void *ref)
{
	uint64_t *data = quiet(tld_ref_get(ref, key));

	unref(ref);
	return data;
}

static void several(void)
{
	struct tld_thread_ref *first, *second, *third;
	struct worker worker, other;
	uint64_t *data;

	use_large_key();
	attach_or_bail();
	worker_start(&worker);
	worker_start(&other);
	first = ref_to(&worker);
	second = ref_to(&worker);
	data = data_of(first);
	ok(data_of(second) == data, F("two references lead to one TLD"));
	worker_do(&worker, store, (void *)7);
	third = ref_to(&worker);
	ok(data_of(third) == data, F("so does one that is taken when the thread has used it"));
	ok(worker_do(&other, get_as_other, third) == data,
	   F("another thread may use a reference, and give it back"));
	unref(first);
	worker_end(&worker, WORKER_RETURNS);
	*data = 9;
	is(given_to_others(data), false, F("the memory stays as long as one of them, also when the "
					   "thread has ended"));
	ok(data_of(second) == data && *data == 9, F("which still leads there"));
	unref(second);
	is(given_to_others(data), true, F("when the last is given back new threads may get it"));
	worker_end(&other, WORKER_RETURNS);
}

/* --- After the thread's end --- */

static void after_its_end(void)
{
	struct tld_thread_ref *ref;
	struct worker worker;
	uint64_t *data;

	use_large_key();
	attach_or_bail();
	worker_start(&worker);
	ref = ref_to(&worker);
	data = data_of(ref);
	live(&worker);
	*data = 7;
	worker_end(&worker, life->end);
	ok(*data == 7 || !*data, F("after the end of a thread %s its memory can be read: what was "
				   "stored last, or zero"), life->words);
	ok(data_of(ref) == data, F("the reference leads to it still"));
	*data = 9;
	ok(eventually(reader_elements(reader, NULL) == 0), F("BPF sees nothing of it"));
	is(given_to_others(data), false, F("none of %d new threads is given the memory"), OTHERS);
	is(*data, 9, F("which can be written, and nobody else does"));
	is(tld_attach(map_fd), 0, F("the map is attached once more"));
	is(reader_elements(reader, NULL), 0, F("nor is it seen then"));
	unref(ref);
	is(given_to_others(data), true, F("after tld_unref_thread() new threads may get it"));
	is(tld_detach(map_fd), 0, F("the map can be detached"));
}

/* --- Nothing piles up --- */

struct footprint {
	long kib, resident;
	int mappings, descriptors;
};

static struct footprint footprint(void)
{
	return (struct footprint){ status_kib("VmSize:"), status_kib("VmRSS:"), mappings(),
				   open_descriptors() };
}

/* Of 10,000 pages, 40 MB would be lost. */
static void judge_growth(struct footprint before, int cycles)
{
	struct footprint after = footprint();

	diag("%d cycles: KiB %+ld, resident %+ld, mappings %+d", cycles, after.kib - before.kib,
	     after.resident - before.resident, after.mappings - before.mappings);
	is(after.descriptors, before.descriptors, "as many descriptors are open as before");
	if (UNDER_SANITIZER) {
		tap_skip("memory is as before", "a sanitizer maps memory of its own");
		return;
	}
	ok(after.kib - before.kib <= GROWTH_KIB, "as much memory is mapped as before");
	ok(after.resident - before.resident <= 4 * GROWTH_KIB, "as much is resident");
	ok(after.mappings <= before.mappings + 4, "in as many mappings");
}

/* Every way to live, and the reference given back after the end or before. */
static bool one_cycle(int number)
{
	struct tld_thread_ref *ref;
	struct worker worker;
	uint64_t *data;
	bool zero;

	life = &lives[number % (UNDER_SANITIZER ? 3 : LIVES)];
	worker_start(&worker);
	ref = ref_to(&worker);
	data = data_of(ref);
	zero = !*data;
	*data = 0x5a5a;
	live(&worker);
	if (number % 2)
		unref(ref);
	worker_end(&worker, life->end);
	if (number % 2 == 0)
		unref(ref);
	return zero;
}

static void given_back(void)
{
	double until = seconds_now() + soak_seconds;
	struct footprint before;
	int cycles = 0, zero = 0;

	mallopt(M_ARENA_MAX, 1);
	use_large_key();
	attach_or_bail();
	for (int i = 0; i < WARM_UP; i++)
		one_cycle(i);
	before = footprint();
	while (cycles < CYCLES || seconds_now() < until)
		zero += one_cycle(cycles++);
	is(zero, cycles, "every thread that is referred to has memory that is zero");
	judge_growth(before, cycles);
	/* One who was only referred to leaves the map with its task, which is after its join. */
	ok(eventually(!reader_elements(reader, NULL)), "no element is left, once the last task is gone");
}

static void of_one_thread(void)
{
	struct footprint before;
	struct worker worker;
	uint64_t *data;
	int same = 0;

	worker_start(&worker);
	data = worker_do(&worker, store, (void *)7);
	unref(ref_to(&worker));
	before = footprint();
	for (int i = 0; i < CYCLES; i++) {
		struct tld_thread_ref *ref = ref_to(&worker);

		same += data_of(ref) == data && *data == 7;
		unref(ref);
	}
	is(same, CYCLES, "each of %d references to a thread leads to its data", CYCLES);
	judge_growth(before, CYCLES);
	worker_end(&worker, WORKER_RETURNS);
}

/* The thread's first use and the first reference at the same time: one block. */
static pthread_barrier_t race;

static void *get_in_race(void *unused)
{
	pthread_barrier_wait(&race);
	return get(unused);
}

struct racer {
	pid_t tid;
	void *data;
};

static void *race_to_use(void *arg)
{
	struct racer *racer = arg;

	racer->tid = gettid();
	pthread_barrier_wait(&race);
	racer->data = get_in_race(NULL);
	pthread_barrier_wait(&race);
	return NULL;
}

static void first_use_and_reference(void)
{
	double until = seconds_now() + soak_seconds;
	int rounds = 0, same = 0;

	pthread_barrier_init(&race, NULL, 2);
	attach_or_bail();
	for (; rounds < CYCLES / 10 || seconds_now() < until; rounds++) {
		struct racer racer = { 0 };
		pthread_t thread = start_thread(race_to_use, &racer);
		struct tld_thread_ref *ref;

		pthread_barrier_wait(&race);
		pthread_barrier_wait(&race);
		ref = tld_ref_thread(racer.tid);
		pthread_barrier_wait(&race);
		same += ref && tld_ref_get(ref, key) == racer.data;
		end_thread(thread);
		unref(ref);
	}
	is(same, rounds, "a thread that is referred to while it first uses a TLD has one memory");
	is(reader_elements(reader, NULL), 0, "no element is left");
}

/* --- tld_free() --- */

static void freed_before(void)
{
	struct tld_thread_ref *ref;
	struct worker worker;
	uint64_t *data;

	attach_or_bail();
	worker_start(&worker);
	worker_do(&worker, store, (void *)7);
	worker_do(&worker, free_data, NULL);
	ref = ref_to(&worker);
	data = data_of(ref);
	is(*data, 0, F("the data of a thread that called tld_free() are zero"));
	is(seen(&worker), false, F("to refer to it does not share them again"));
	*data = 8;
	is(tld_attach(map_fd), 0, F("a map is attached again"));
	is(seen(&worker), false, F("nor does that"));
	ok(worker_do(&worker, get, NULL) == data,
	   F("the thread's next tld_get() does, where they are"));
	is(value_of(&worker), *data, F("and BPF reads what is there"));
	unref(ref);
	worker_end(&worker, WORKER_RETURNS);
}

static void freed_after(void)
{
	struct tld_thread_ref *ref;
	struct worker worker;
	uint64_t *data;

	attach_or_bail();
	worker_start(&worker);
	worker_do(&worker, store, (void *)7);
	ref = ref_to(&worker);
	data = data_of(ref);
	worker_do(&worker, free_data, NULL);
	is(seen(&worker), false, F("tld_free() withdraws a thread that is referred to"));
	is(*data, 0, F("whose memory stays, as zero"));
	*data = 8;
	is(seen(&worker), false, F("what is stored by the reference is not seen"));
	unref(ref);
	is(seen(&worker), false, F("nor when it is given back"));
	ok(worker_do(&worker, store, (void *)9) == data && value_of(&worker) == 9,
	   F("the thread may use its data again"));
	worker_end(&worker, WORKER_RETURNS);
}

/* The thread itself has never called anything before. */
static void freed_first_of_all(void)
{
	struct tld_thread_ref *ref;
	struct worker worker;
	uint64_t *data;

	attach_or_bail();
	worker_start(&worker);
	ref = ref_to(&worker);
	data = data_of(ref);
	*data = 7;
	worker_do(&worker, free_data, NULL);
	is(seen(&worker), false,
	   F("tld_free() withdraws a thread that has data only because it is referred to"));
	is(*data, 0, F("and clears them"));
	unref(ref);
	worker_end(&worker, WORKER_RETURNS);
}

/* --- fork() --- */

struct child_report {
	bool kept, led_there, stayed, led_there_later;
};

static void in_forked_child(struct child_report *report, struct tld_thread_ref *ref, uint64_t *data)
{
	report->kept = *data == 7;
	report->led_there = tld_ref_get(ref, key) == data;
	*data = 9;
	/* The parent's other threads' memory is free here, but for this. */
	report->stayed = !given_to_others(data) && *data == 9;
	report->led_there_later = tld_ref_get(ref, key) == data;
	tld_unref_thread(ref);
	_exit(0);
}

static void over_a_fork(void)
{
	struct child_report *report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE,
					   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct tld_thread_ref *ref;
	struct worker worker;
	uint64_t *data;
	int status;
	pid_t child;

	key = create_asking("value", 8, page_capacity());
	attach_or_bail();
	worker_start(&worker);
	worker_do(&worker, store, (void *)7);
	ref = ref_to(&worker);
	data = data_of(ref);
	child = fork_for_case();
	if (!child)
		in_forked_child(report, ref, data);
	waitpid(child, &status, 0);
	is(status, 0, F("a forked child uses a reference and gives it back"));
	is(report->kept, true, F("it finds what was stored"));
	is(report->led_there, true, F("where it was"));
	is(report->stayed, true, F("none of its new threads is given the memory"));
	is(report->led_there_later, true, F("to which the reference leads still"));
	is(*data, 7, F("what it stores is not its parent's"));
	is(value_of(&worker), 7, F("BPF reads the parent's thread as before"));
	ok(worker_do(&worker, store, (void *)8) == data && data_of(ref) == data && *data == 8,
	   F("in the parent the reference is as before"));
	unref(ref);
	worker_end(&worker, WORKER_RETURNS);
}

/* --- In a signal handler --- */

static uint64_t *in_handler;
static struct tld_thread_ref *handlers_ref;

static void look_in_handler(int signal)
{
	(void)signal;
	in_handler = quiet(tld_ref_get(handlers_ref, key));
}

static void signal_handler(void)
{
	struct worker worker;

	worker_start(&worker);
	handlers_ref = ref_to(&worker);
	signal(SIGUSR1, look_in_handler);
	raise(SIGUSR1);
	ok(in_handler && in_handler == data_of(handlers_ref),
	   "a signal handler may use a reference");
	unref(handlers_ref);
	worker_end(&worker, WORKER_RETURNS);
}

/* --- Cases --- */

static void all_ends(void)
{
	for (size_t i = 0; i < LIVES; i++) {
		life = &lives[i];
		if (UNDER_SANITIZER && life->end == WORKER_ENDS_WITHOUT_DESTRUCTORS)
			tap_skip("a thread whose destructors do not run",
				 "a sanitizer wants its own to run");
		else
			in_child(after_its_end);
	}
}

static void all_cases(void)
{
	in_child_with_key(store_before_it_calls);
	in_child_with_key(passed_first);
	in_child_with_key(attached_later);
	in_child_with_key(main_thread);
	in_child_with_key(itself);
	in_child_with_key(several);
	in_child_with_key(freed_before);
	in_child_with_key(freed_after);
	in_child_with_key(freed_first_of_all);
	in_child(over_a_fork);
	all_ends();
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--soak"))
		soak_seconds = atof(argv[2]) / 2;
	open_readers();
	for_each_format(all_cases);
	use_format(READER_V2);
	in_child_with_key(signal_handler);
	in_child_with_key(of_one_thread);
	in_child_with_key(first_use_and_reference);
	in_child(given_back);
	close_readers();
	return tap_done();
}
