// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * forks.c - fork(2) with the library's handlers: a child is published at its next call,
 * wherever the parent was, with the values that it had; from then on neither sees the
 * other. forks_bare.c has what makes a child without handlers, forks_signals.c what
 * forks in a signal handler. fork_publishes.c is the shortest form of this.
 *
 * "--soak SECONDS" forks beside busy threads for so long, and 10,000 times at least.
 */
#include <unistd.h>

#define TLD_DYN_DATA_SIZE 900
#include "tld.h"

#define CASE_SECONDS patience(60)
#include "forks.h"
#include "maps.h"
#include "often.h"
#include "reader.h"
#include "threads.h"

/* The program attaches the first map; the second is for what a case says. */
static struct reader *reader, *second;
static tld_key_t key;
static uint64_t *data;
static pid_t parent;

static const enum reader_format formats[] = { READER_V1, READER_V2, READER_NATIVE };
static struct reader *readers[3][2];
static int format;

static uint64_t value_of(pid_t tid)
{
	return reader_u64(reader, tid, "value");
}

static void open_process(void)
{
	reader = readers[format][0];
	second = readers[format][1];
	parent = gettid();
	key = tld_create_key("value", sizeof(*data));
	if (tld_attach(reader_map_fd(reader)))
		tap_bail("a map can be attached");
	data = tld_get(key);
	if (!data)
		tap_bail("a thread gets its TLD");
	*data = 7;
}

/* --- The child's next call ------------------------------------------------------- */

struct call {
	const char *name;
	bool (*make)(void);
};

static bool by_get(void)
{
	return tld_get(key) == data;
}

static bool by_get_data(void)
{
	return tld_get_data(reader_map_fd(reader), key) == data;
}

static bool by_publish(void)
{
	return !tld_publish();
}

static bool by_attach(void)
{
	return !tld_attach(reader_map_fd(reader));
}

static const struct call calls[] = {
	{ "tld_get", by_get }, { "tld_get_data", by_get_data },
	{ "tld_publish", by_publish }, { "tld_attach", by_attach },
};
static const struct call *call;

static void child_calls(void)
{
	ok(!reader_sees(reader, 0), "%s: BPF does not see a child that has not called", call->name);
	is(*data, 7, "%s: the child has its parent's value", call->name);
	ok(call->make(), "%s: the call works in the child", call->name);
	is(value_of(0), 7, "%s: it publishes the child, with that value", call->name);
	*data = 8;
	is(value_of(0), 8, "%s: BPF sees what the child writes", call->name);
	is(value_of(parent), 7, "%s: not in its parent's data", call->name);
	ok(tld_get(key) == data && tld_get_data(reader_map_fd(reader), key) == data,
	   "%s: the child's TLD is where it was", call->name);
}

static void next_call_publishes(void)
{
	struct reader_view before, after;

	open_process();
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		uint16_t limit = tld_self.limit;

		call = &calls[i];
		*data = 7;
		reader_look(reader, 0, &before);
		in_child(child_calls);
		is(*data, 7, "%s: the parent has the value that it had", call->name);
		reader_look(reader, 0, &after);
		ok(!memcmp(&before, &after, sizeof(before)), "%s: BPF sees of it what it saw",
		   call->name);
		is(tld_self.limit, limit, "%s: its fast path works on", call->name);
		*data = 9;
		is(value_of(0), 9, "%s: BPF sees what it writes now", call->name);
	}
	is(reader_elements(reader, NULL), 1, "no element is left of the children");
}

/* Maps that a thread passed on the way: "those that the thread passed to tld_get_data()". */
static void child_publishes_everywhere(void)
{
	ok(!reader_sees(reader, 0) && !reader_sees(second, 0), "a child is in no map");
	is(tld_publish(), 0, "tld_publish() works in it");
	is(value_of(0), 7, "and publishes it in the map that is attached");
	is(reader_u64(second, 0, "value"), 7,
	   "and in the one that its thread had passed to tld_get_data()");
	tld_free();
	ok(!reader_sees(reader, 0) && !reader_sees(second, 0), "tld_free() withdraws it from both");
	is(value_of(parent), 7, "but not its parent");
	is(reader_u64(second, parent, "value"), 7, "from neither");
}

static void publish_publishes_everywhere(void)
{
	open_process();
	if (tld_get_data(reader_map_fd(second), key) != data)
		tap_bail("a second map takes the thread");
	in_child(child_publishes_everywhere);
	is(value_of(0), 7, "the parent is where it was");
	is(reader_u64(second, 0, "value"), 7, "in both maps");
}

/* --- Both write ------------------------------------------------------------------ */

#define TURNS 500

/* Whose turn it is, and who is to be looked at: shared by both. */
struct game {
	int turn;
	pid_t child;
};
static struct game *game;

static int whose_turn(void)
{
	return __atomic_load_n(&game->turn, __ATOMIC_ACQUIRE);
}

/* One's own write, then a look at both; who comes first finds the other with 7. */
static void play(pid_t other, int me, uint64_t base, uint64_t others)
{
	for (int i = 0; i < TURNS; i++) {
		if (!check(eventually(whose_turn() == 2 * i + me)))
			return;
		*data = base + i;
		check(value_of(0) == base + i);
		check(value_of(other) == (me ? others + i : i ? others + i - 1 : 7));
		__atomic_store_n(&game->turn, 2 * i + me + 1, __ATOMIC_RELEASE);
	}
}

static void both_write(void)
{
	pid_t child;

	open_process();
	report_open();
	game = mmap(NULL, sizeof(*game), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	child = fork();
	if (!child) {
		alarm(CHILD_SECONDS);
		check(!tld_publish());
		game->child = gettid();
		play(parent, 1, 20000, 10000);
		_exit(0);
	}
	if (!eventually(__atomic_load_n(&game->child, __ATOMIC_ACQUIRE)))
		tap_bail("the child runs");
	play(game->child, 0, 10000, 20000);
	ok(!report->text,
	   "of a parent and its child, taking %d turns to write, BPF sees each one's own", TURNS);
	ok(was_right(child), "also when the child looks");
}

/* The parent is in the map at every moment, however many children come and go. */
static volatile bool stop_watching;

static void *watch_parent(void *missed)
{
	while (!stop_watching)
		*(unsigned int *)missed += value_of(parent) != 7;
	return NULL;
}

static void fork_children(int count)
{
	while (count--) {
		pid_t child = fork();

		if (!child) {
			*data = 8;
			check(!tld_publish() && value_of(0) == 8);
			if (count % 3)
				tld_free();
			_exit(0);
		}
		if (!was_right(child))
			ok(false, "a child publishes itself");
	}
}

static void parent_stays_readable(void)
{
	unsigned int missed = 0;
	pthread_t watcher;

	open_process();
	report_open();
	watcher = start_thread(watch_parent, &missed);
	fork_children(200);
	stop_watching = true;
	end_thread(watcher);
	is(missed, 0, "while 200 children come and go, each look finds the parent's value");
}

/* --- Generations ------------------------------------------------------------------- */

#define GENERATIONS 4
static pid_t generation[GENERATIONS + 1];
static int age;

static void descend(void)
{
	int wrong = 0;

	age++;
	generation[age] = gettid();
	ok(!reader_sees(reader, 0), "generation %d is not seen before it calls", age);
	ok(tld_get(key) == data && *data == 6u + age, "it has what the one before had");
	*data = 7 + age;
	if (age < GENERATIONS)
		in_child(descend);
	for (int i = 0; i <= age; i++)
		wrong += value_of(generation[i]) != 7u + i;
	is(wrong, 0, "generation %d and all before it are read rightly", age);
}

static void child_of_a_child(void)
{
	open_process();
	generation[0] = parent;
	in_child(descend);
	is(value_of(0), 7, "the first one is as it was");
	is(reader_elements(reader, NULL), 1, "and alone in the map");
}

/* --- A thread that forks -------------------------------------------------------------- */

static pthread_barrier_t ready, done;
static pid_t bystander_tid;

static void *stand_by(void *unused)
{
	uint64_t *mine = tld_get(key);

	(void)unused;
	*mine = 77;
	bystander_tid = gettid();
	pthread_barrier_wait(&ready);
	pthread_barrier_wait(&done);
	return NULL;
}

static void *first_value(void *seen)
{
	uint64_t *mine = tld_get(key);

	*(uint64_t *)seen = mine ? *mine : READER_NOTHING;
	if (mine)
		*mine = 99;
	return (void *)(uintptr_t)(value_of(0) == 99);
}

static void child_of_a_thread(void)
{
	uint64_t value = READER_NOTHING;
	int wrong = 0;

	ok(!reader_sees(reader, 0), "a child that a thread forks is not seen before it calls");
	ok(tld_get(key) == data && *data == 70, "it has that thread's value");
	is(value_of(0), 70, "BPF sees that");
	is(value_of(bystander_tid), 77, "and the parent's other threads as before");
	for (int i = 0; i < 50; i++) {
		if (!in_thread(first_value, &value) || value)
			wrong++;
	}
	is(wrong, 0, "threads that the child starts have zeros, and are seen, one after the other");
	is(value_of(0), 70, "the child's own value stays");
	is(tld_detach(reader_map_fd(reader)), 0, "the child can detach the map");
	ok(!reader_sees(reader, 0), "and is not seen any more");
}

static void *fork_here(void *unused)
{
	(void)unused;
	parent = gettid();
	data = tld_get(key);
	*data = 70;
	in_child(child_of_a_thread);
	is(value_of(0), 70, "the thread that forked is read as before");
	*data = 71;
	is(value_of(0), 71, "also what it writes now");
	return NULL;
}

static void thread_forks(void)
{
	pthread_t bystander;
	pid_t first;

	open_process();
	first = parent;
	pthread_barrier_init(&ready, NULL, 2);
	pthread_barrier_init(&done, NULL, 2);
	bystander = start_thread(stand_by, NULL);
	pthread_barrier_wait(&ready);
	in_thread(fork_here, NULL);
	is(value_of(bystander_tid), 77, "so is another thread");
	is(value_of(first), 7, "and the first");
	pthread_barrier_wait(&done);
	end_thread(bystander);
	is(reader_elements(reader, NULL), 1, "the first is left when the others have ended");
}

/* --- Maps that are attached -------------------------------------------------------------- */

static void child_with_maps(void)
{
	uint64_t value;

	is(open_descriptors(), report->word, "a child has the descriptors that its parent had");
	ok(in_thread(first_value, &value),
	   "a thread that a child starts is seen through the attached map");
	ok(!reader_sees(reader, 0), "which the child itself has still to be published in");
	is(tld_detach(reader_map_fd(reader)), 0,
	   "a child detaches a map before it was ever seen there");
	is(value_of(parent), 7, "its parent stays there");
	*data = 8;
	ok(tld_get(key) == data && !reader_sees(reader, 0),
	   "the child's next call does not publish it there");
	is(tld_attach(reader_map_fd(second)), 0, "it attaches another map");
	is(reader_u64(second, 0, "value"), 8, "and is seen through that");
	ok(!reader_sees(second, parent), "while its parent is not");
	is(tld_detach(reader_map_fd(second)), 0, "and detaches it");
	is(reader_elements(second, NULL), 0, "which leaves nothing");
	is(open_descriptors(), report->word - 1,
	   "the library's descriptor of each is closed by then");
}

static void maps_in_the_child(void)
{
	open_process();
	report_open();
	report->word = open_descriptors();
	in_child(child_with_maps);
	is(open_descriptors(), report->word, "the parent has the descriptors that it had");
	is(value_of(0), 7, "and is seen");
	ok(in_thread(first_value, &(uint64_t){ 0 }), "its new threads too");
}

/* The parent's detaching is the parent's. */
static void parent_detaches(void)
{
	int ends[2], back[2];
	pid_t child;
	char byte = 0;

	open_process();
	report_open();
	if (pipe(ends) || pipe(back))
		tap_bail("pipes");
	child = fork();
	if (!child) {
		alarm(CHILD_SECONDS);
		check(!tld_publish() && write(ends[1], &byte, 1) == 1);
		check(read(back[0], &byte, 1) == 1);
		*data = 8;
		check(value_of(0) == 8);
		check(!tld_detach(reader_map_fd(reader)) && !reader_sees(reader, 0));
		_exit(0);
	}
	if (read(ends[0], &byte, 1) != 1)
		tap_bail("the child runs");
	is(reader_elements(reader, NULL), 2, "parent and child are in the map");
	is(tld_detach(reader_map_fd(reader)), 0, "the parent detaches it");
	is(reader_elements(reader, NULL), 1, "the child stays");
	is(write(back[1], &byte, 1), 1, "the child goes on");
	ok(was_right(child), "it is seen through the map until it detaches it itself");
	is(reader_elements(reader, NULL), 0, "nobody is left then");
}

/* --- Forks beside threads that are busy ---------------------------------------------- */

#define BUSY_THREADS 16
#define PARENTS_NAMES 40

static double busy_seconds = BRIEFLY(4.0);
static unsigned int least_forks;
static volatile bool stop_threads;
static unsigned int created, came, used, attached, failed;

/* In bursts: with all of them running all the time, whoever forks gets no processor. */
#define BURST 16

static void count_call(bool good, unsigned int *counter)
{
	const struct timespec moment = { .tv_nsec = 500000 };
	static __thread unsigned int calls;

	__atomic_add_fetch(good ? counter : &failed, 1, __ATOMIC_RELAXED);
	if (++calls % BURST == 0)
		nanosleep(&moment, NULL);
}

/* New keys as long as there are names, existing ones after that: both take the lock. */
static void *create_keys(void *unused)
{
	char name[16];

	(void)unused;
	for (unsigned int i = 0; !stop_threads; i++) {
		snprintf(name, sizeof(name), "parent %u", i % PARENTS_NAMES);
		tld_create_key(name, 8);
		count_call(tld_find_key(name).off > 0, &created);
	}
	return NULL;
}

static void *come_and_go(void *unused)
{
	uint64_t value;

	(void)unused;
	while (!stop_threads) {
		in_thread(first_value, &value);
		count_call(!value, &came);
	}
	return NULL;
}

static void *use_and_free(void *unused)
{
	(void)unused;
	while (!stop_threads) {
		count_call(tld_get(key) != NULL, &used);
		tld_free();
	}
	return NULL;
}

static void *attach_and_detach(void *unused)
{
	(void)unused;
	while (!stop_threads) {
		tld_attach(reader_map_fd(second));
		tld_detach(reader_map_fd(second));
		count_call(true, &attached);
	}
	return NULL;
}

static void *(*const busy_bodies[])(void *) = {
	create_keys, come_and_go, use_and_free, attach_and_detach,
};

/* The child is a process like any other: it finds its value, is seen, and makes a key. */
static void busy_child(uint64_t number)
{
	alarm(CHILD_SECONDS);
	check(*data == number);
	check(tld_get(key) == data);
	check(value_of(0) == number);
	*data = ~number;
	check(value_of(0) == ~number);
	check(tld_create_key("child", 8).off > 0 && !tld_key_is_err(tld_find_key("child")));
	if (number % 4 == 0)
		check(!tld_attach(reader_map_fd(second)) && !tld_detach(reader_map_fd(second)));
	/* A sanitizer's allocator may be locked by a thread that is not here. */
	if (number % 4 == 1 && !UNDER_SANITIZER)
		check(in_thread(first_value, &(uint64_t){ 0 }));
	if (number % 4 == 2)
		tld_free();
	_exit(0);
}

static unsigned int fork_beside_threads(void)
{
	double until = seconds_now() + busy_seconds;
	unsigned int forks = 0, wrong = 0;
	uint64_t number = 1;

	for (; seconds_now() < until || forks < least_forks; number++, forks++) {
		pid_t child;

		*data = number;
		child = fork();
		if (child < 0)
			tap_bail("fork works");
		if (!child)
			busy_child(number);
		wrong += !was_right(child);
		if (*data != number || value_of(0) != number)
			wrong++;
	}
	is(wrong, 0,
	   "each child beside %d busy threads calls rightly and ends, and its parent is read on",
	   BUSY_THREADS);
	return forks;
}

struct holdings {
	int descriptors, mappings, elements;
	long kib;
};

static struct holdings holdings(void)
{
	return (struct holdings){ open_descriptors(), mappings(), reader_elements(reader, NULL),
				  status_kib("RssAnon:") };
}

static void run_busy_threads(unsigned int (*meanwhile)(void), unsigned int *forks)
{
	pthread_t threads[BUSY_THREADS];

	stop_threads = false;
	for (int i = 0; i < BUSY_THREADS; i++)
		threads[i] = start_thread(busy_bodies[i % 4], NULL);
	*forks = meanwhile();
	stop_threads = true;
	for (int i = 0; i < BUSY_THREADS; i++)
		end_thread(threads[i]);
	/* Whoever was last may have left it. */
	tld_detach(reader_map_fd(second));
}

/* What threads and the C library keep, they keep after a few hundred forks already. */
static unsigned int warm_up(void)
{
	double seconds = busy_seconds;
	unsigned int forks;

	busy_seconds = least_forks ? 5 : BRIEFLY(1.0);
	forks = fork_beside_threads();
	busy_seconds = seconds;
	return forks;
}

static void busy_threads(void)
{
	struct holdings before, after;
	unsigned int forks;

	alarm(busy_seconds * 4 + 600 * !!least_forks + CASE_SECONDS);
	open_process();
	report_open();
	run_busy_threads(warm_up, &forks);
	before = holdings();
	run_busy_threads(fork_beside_threads, &forks);
	after = holdings();
	diag("%u forks beside %u keys created or found, %u threads, %u uses, %u attachments", forks,
	     created,
	     came, used, attached);
	is(failed, 0, "all that the threads ask for meanwhile they get");
	ok(created && came && used && attached, "they were busy in all four ways");
	is(after.elements, 1, "at the end the map has the one thread that is left");
	is(reader_elements(second, NULL), 0, "the other map none");
	is(after.descriptors, before.descriptors, "no descriptor was leaked");
	diag("mappings %d, before %d; KiB %ld, before %ld", after.mappings, before.mappings,
	     after.kib, before.kib);
	if (UNDER_SANITIZER) {
		tap_skip("no memory was leaked", "a sanitizer maps memory of its own");
		return;
	}
	/* glibc keeps stacks and arenas; blocks that were lost would be 1 KiB a thread. */
	ok(after.mappings <= before.mappings + 16 && after.kib - before.kib < 1024,
	   "no memory was leaked");
}

static void every_format(void)
{
	for (format = 0; format < 3; format++) {
		diag("format %s", reader_format_name(formats[format]));
		in_child(next_call_publishes);
		in_child(publish_publishes_everywhere);
		in_child(both_write);
		in_child(thread_forks);
	}
	format = 1;
}

int main(int argc, char **argv)
{
	reader_need_kernel();
	if (argc == 3 && !strcmp(argv[1], "--soak")) {
		busy_seconds = atof(argv[2]);
		least_forks = 10000;
	} else if (argc != 1) {
		tap_bail("usage: forks [--soak SECONDS]");
	}
	for (int i = 0; i < 6; i++)
		readers[i / 2][i % 2] = reader_open(formats[i / 2]);
	every_format();
	in_child(parent_stays_readable);
	in_child(child_of_a_child);
	in_child(maps_in_the_child);
	in_child(parent_detaches);
	in_child(busy_threads);
	for (int i = 0; i < 6; i++)
		reader_close(readers[i / 2][i % 2]);
	return tap_done();
}
