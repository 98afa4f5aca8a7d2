// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * sharing.c - a thread stores without pause on one processor while BPF reads another
 * thread's TLD on the other one: blocks that are neighbours in a page, and blocks in
 * different pages. To see whether this machine would show false sharing, the same with
 * atomic additions to words in one cache line and far apart.
 */
#include <pthread.h>

#include "objects.h"
#include "look.h"
#include "tld.h"

#define TIMES 40000
#define TURNS 60
/* More blocks than a page has. */
#define OTHERS 130
/* The smallest blocks: two share what a processor fetches at a time, two cache lines. */
#define BUDGET 8

static tld_key_t key;

/* --- Threads that only own blocks ---------------------------------------------------------- */

static uint64_t *blocks[OTHERS];
static pthread_barrier_t all_have_blocks;

static void *own_block(void *block)
{
	*(uint64_t **)block = tld_get(key);
	pthread_barrier_wait(&all_have_blocks);
	pause(); /* to the end of the process */
	return NULL;
}

static void start_owners(void)
{
	pthread_t thread;

	pthread_barrier_init(&all_have_blocks, NULL, OTHERS + 1);
	for (int i = 0; i < OTHERS; i++) {
		errno = pthread_create(&thread, NULL, own_block, &blocks[i]);
		if (errno)
			die("a thread starts");
	}
	pthread_barrier_wait(&all_have_blocks);
}

static uintptr_t page_of(const uint64_t *block)
{
	return (uintptr_t)block / getpagesize();
}

/* The block nearest to @own in its page, or any in another page. */
static uint64_t *find_block(const uint64_t *own, bool in_page)
{
	uint64_t *found = NULL;

	for (int i = 0; i < OTHERS; i++) {
		if (!blocks[i] || (page_of(blocks[i]) == page_of(own)) != in_page)
			continue;
		if (!found || labs(blocks[i] - own) < labs(found - own))
			found = blocks[i];
	}
	if (!found)
		die("%d threads have blocks in %s", OTHERS, in_page ? "one page" : "two pages");
	return found;
}

/* --- The one that stores ------------------------------------------------------------------- */

/* Each on cache lines of its own. */
static struct {
	uint64_t *where __attribute__((aligned(256)));	/* told */
	uint64_t *stores_at __attribute__((aligned(256))); /* where it does */
	uint64_t count;
} storer;

static void *store_without_pause(void *cpu)
{
	pin_to((intptr_t)cpu);
	for (;;) {
		uint64_t *where = __atomic_load_n(&storer.where, __ATOMIC_ACQUIRE);

		for (int i = 0; i < 1024; i++)
			__atomic_store_n(where, 1, __ATOMIC_RELAXED);
		__atomic_store_n(&storer.count, storer.count + 1024, __ATOMIC_RELAXED);
		__atomic_store_n(&storer.stores_at, where, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void store_at(uint64_t *where)
{
	__atomic_store_n(&storer.where, where, __ATOMIC_RELEASE);
	while (__atomic_load_n(&storer.stores_at, __ATOMIC_ACQUIRE) != where)
		sched_yield();
}

/* --- Figures ------------------------------------------------------------------------------- */

/* Not the least of all turns: in that one the other thread may not have run. */
struct place {
	const char *name;
	uint64_t *where;
	double look_ns[TURNS], store_ns[TURNS], add_ns[TURNS];
};

static void look_while_stored(int program, struct place *place, int turn)
{
	struct look look = { .times = TIMES };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &look, .ctx_size_in = sizeof(look));
	uint64_t count, start;

	store_at(place->where);
	count = __atomic_load_n(&storer.count, __ATOMIC_RELAXED);
	start = now_ns();
	if (bpf_prog_test_run_opts(program, &opts))
		die("a program runs");
	start = now_ns() - start;
	count = __atomic_load_n(&storer.count, __ATOMIC_RELAXED) - count;
	if (look.sum != TIMES)
		die("BPF read %llu instead of %d", look.sum, TIMES);
	place->look_ns[turn] = (double)look.ns / TIMES;
	place->store_ns[turn] = (double)start / (count + 1);
}

/* No BPF: this processor adds to a word of its own. */
static void add_while_stored(uint64_t *own, struct place *place, int turn)
{
	uint64_t start;

	store_at(place->where);
	start = now_ns();
	for (int i = 0; i < TIMES; i++)
		__atomic_fetch_add(own, 1, __ATOMIC_SEQ_CST);
	place->add_ns[turn] = (double)(now_ns() - start) / TIMES;
}

static void print(const char *what, const struct place *place, double *samples)
{
	char name[32];

	snprintf(name, sizeof(name), "%s_%s", what, place->name);
	median_figure(name, samples, TURNS);
}

static void measure_looks(int program, const uint64_t *own)
{
	struct place places[] = {
		{ .name = "neighbour", .where = find_block(own, true) },
		{ .name = "alone", .where = find_block(own, false) },
	};

	for (int turn = 0; turn < 2 * TURNS; turn++)
		look_while_stored(program, &places[turn % 2], turn / 2);
	for (int i = 0; i < 2; i++) {
		print("look", &places[i], places[i].look_ns);
		print("store", &places[i], places[i].store_ns);
	}
}

/* What processors do that share nothing but memory: a line that both want goes to and fro. */
static void measure_the_machine(void)
{
	static uint64_t words[512] __attribute__((aligned(256)));
	struct place places[] = {
		{ .name = "beside", .where = &words[1] },
		{ .name = "apart", .where = &words[256] },
	};

	for (int turn = 0; turn < 2 * TURNS; turn++)
		add_while_stored(&words[0], &places[turn % 2], turn / 2);
	for (int i = 0; i < 2; i++)
		print("add", &places[i], places[i].add_ns);
}

/* --- Two processors ------------------------------------------------------------------------ */

static long topology(int cpu, const char *what)
{
	char path[96];
	long id = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/topology/%s", cpu, what);
	file = fopen(path, "re");
	if (file && fscanf(file, "%ld", &id) != 1)
		id = -1;
	if (file)
		fclose(file);
	return id;
}

static bool of_one_core(int a, int b)
{
	return topology(a, "core_id") == topology(b, "core_id") &&
	       topology(a, "physical_package_id") == topology(b, "physical_package_id");
}

/* Another than @first, of another core; -1 if there is none. */
static int other_core(int first)
{
	int cpu, nth = 1;

	while ((cpu = processor(nth++)) >= 0)
		if (!of_one_core(first, cpu))
			return cpu;
	return -1;
}

static void say_what_is_missing(void)
{
	static const char *const names[] = { "look_neighbour", "look_alone", "store_neighbour",
		"store_alone", "add_beside", "add_apart" };

	for (int i = 0; i < 6; i++)
		no_figure(names[i], "this program may use the processors of one core only");
}

static void start_storer(int cpu)
{
	pthread_t thread;

	errno = pthread_create(&thread, NULL, store_without_pause, (void *)(intptr_t)cpu);
	if (errno)
		die("a thread starts");
}

int main(void)
{
	int here = processor(0), there = other_core(here);
	struct bpf_object *object;
	uint64_t *own;

	if (there < 0) {
		say_what_is_missing();
		return 0;
	}
	object = object_load("look_native.bpf.o");
	key = tld_create_key_opt("hint_0", sizeof(uint64_t), BUDGET, 0);
	if (tld_attach(object_map_fd(object, "tld_data_map")))
		die("the map is attached");
	own = tld_get(key);
	if (!own)
		die("a TLD can be had");
	*own = 1;
	start_owners();
	storer.where = own;
	start_storer(there);
	pin_to(here);
	measure_looks(object_prog_fd(object, "present"), own);
	measure_the_machine();
	fflush(stdout);
	_exit(0); /* threads wait and store still */
}
