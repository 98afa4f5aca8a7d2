// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * thread_exit.c - what user space sees of threads that end, and of tld_free(): the
 * thread is withdrawn, its memory reused, and who comes next finds zeros.
 * "--soak SECONDS" starts and ends threads for that long.
 */
#include <pthread.h>
#include <time.h>
#include "maps.h"
#include "page.h"

#define ERRNO_MARK 12345
#define THREADS 20000
#define AT_ONCE 50
#define WORDS 8

static int map_fd;
static tld_key_t key;
static unsigned int without_data, not_zero, wrong;

static void make_key(void)
{
	key = tld_create_key("words", WORDS * sizeof(uint64_t));
	if (tld_key_is_err(key))
		tap_bail("a key can be created");
}

/* So large that each thread has its page alone: what is lost shows at once. */
static void make_large_key(void)
{
	key = create_asking("words", page_capacity() - 88, page_capacity());
	if (tld_key_is_err(key))
		tap_bail("a key can be created");
}

static bool all_zero(const uint64_t *words)
{
	for (int i = 0; i < WORDS; i++)
		if (words[i])
			return false;
	return true;
}

/* Data must be zeros; then leave a mark for who would get it uncleared. */
static uint64_t *take(int fd)
{
	uint64_t *words = tld_get_data(fd, key);

	if (!words)
		__atomic_add_fetch(&without_data, 1, __ATOMIC_RELAXED);
	else if (!all_zero(words))
		__atomic_add_fetch(&not_zero, 1, __ATOMIC_RELAXED);
	if (words)
		memset(words, 0x5a, WORDS * sizeof(*words));
	return words;
}

static void *use_and_end(void *fd)
{
	take((intptr_t)fd);
	return NULL;
}

static void run_batch(void *(*body)(void *), int count)
{
	pthread_t threads[AT_ONCE];

	for (int i = 0; i < count; i++)
		if (pthread_create(&threads[i], NULL, body, (void *)(intptr_t)map_fd))
			tap_bail("a thread can be started");
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
}

struct footprint {
	long rss, size;
	int mappings, descriptors;
};

static struct footprint footprint(void)
{
	return (struct footprint){ status_kib("VmRSS:"), status_kib("VmSize:"), mappings(), open_descriptors() };
}

/* Blocks of 64 bytes that are lost would be 1.3 MB in 20,000 threads. */

static void judge_growth(struct footprint before, unsigned int threads)
{
	struct footprint after = footprint();

	diag("%u threads: rss %+ld KiB, mapped %+ld KiB, mappings %+d", threads,
	     after.rss - before.rss, after.size - before.size, after.mappings - before.mappings);
	if (UNDER_SANITIZER) {
		tap_skip("memory does not grow", "a sanitizer's own memory does");
	} else {
		ok(after.rss - before.rss < 1024, "resident memory does not grow with %u threads", threads);
		ok(after.size - before.size < 1024, "mapped memory does not grow with %u threads", threads);
		ok(after.mappings - before.mappings < 50, "the number of mappings does not grow");
	}
	is(after.descriptors, before.descriptors, "no descriptor is left by a thread");
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static double soak_seconds;

static void many_threads(void)
{
	double end = seconds() + soak_seconds;
	struct footprint before;
	unsigned int ended = 0;

	alarm(CASE_SECONDS + (unsigned int)soak_seconds);
	make_key();
	for (int i = 0; i < 20; i++)
		run_batch(use_and_end, AT_ONCE);
	before = footprint();
	while (ended < THREADS || seconds() < end) {
		run_batch(use_and_end, AT_ONCE);
		ended += AT_ONCE;
	}
	is(without_data, 0, "of %u threads each has data", ended);
	is(not_zero, 0, "which is zero, whatever its predecessors wrote");
	judge_growth(before, ended);
}

static void many_threads_v1(void)
{
	struct footprint before;

	map_fd = data_map(V1_SIZE);
	make_large_key();
	for (int i = 0; i < 20; i++)
		run_batch(use_and_end, AT_ONCE);
	before = footprint();
	for (int i = 0; i < THREADS / 8; i += AT_ONCE)
		run_batch(use_and_end, AT_ONCE);
	is(without_data + not_zero, 0, "with a map of the first format each thread has data that is zero");
	judge_growth(before, THREADS / 8);
}

static void *end_by_pthread_exit(void *fd)
{
	take((intptr_t)fd);
	pthread_exit(NULL);
}

static void *free_and_end(void *fd)
{
	take((intptr_t)fd);
	tld_free();
	return NULL;
}

/* No destructor runs for such a thread: its id says that it is gone. */
static void *end_without_destructors(void *fd)
{
	take((intptr_t)fd);
	syscall(SYS_exit, 0);
	return NULL;
}

static void grows_not(void *(*body)(void *), unsigned int threads, const char *how)
{
	struct footprint before;

	for (int i = 0; i < 10; i++)
		run_batch(body, AT_ONCE);
	before = footprint();
	for (unsigned int i = 0; i < threads; i += AT_ONCE)
		run_batch(body, AT_ONCE);
	is(without_data + not_zero, 0, "threads that end %s have data that is zero", how);
	judge_growth(before, threads);
}

static void ended_by_pthread_exit(void)
{
	make_large_key();
	grows_not(end_by_pthread_exit, 2000, "by pthread_exit()");
}

static void ended_after_free(void)
{
	make_large_key();
	grows_not(free_and_end, 2000, "after tld_free()");
}

static void ended_without_destructors(void)
{
	if (UNDER_SANITIZER) {
		tap_skip("threads that end without destructors are reclaimed", "a sanitizer wants its own to run");
		return;
	}
	make_large_key();
	grows_not(end_without_destructors, 2000, "without destructors");
}

/*
 * A cancellation that is pending takes effect in the next function of the C library
 * that is a cancellation point, close() for instance, also if libtld calls it.
 */
static unsigned int came_back;

static void *cancelled_in_first_use(void *fd)
{
	pthread_cancel(pthread_self());
	take((intptr_t)fd);
	__atomic_add_fetch(&came_back, 1, __ATOMIC_RELAXED);
	pthread_testcancel();
	return NULL;
}

static void *cancelled_in_free(void *fd)
{
	take((intptr_t)fd);
	pthread_cancel(pthread_self());
	tld_free();
	__atomic_add_fetch(&came_back, 1, __ATOMIC_RELAXED);
	pthread_testcancel();
	return NULL;
}

static void cancelled_in_use(void)
{
	make_large_key();
	grows_not(cancelled_in_first_use, 1000, "cancelled in their first use");
	diag("%u were cancelled inside of tld_get_data()", 1000 + 10 * AT_ONCE - came_back);
	ok(take(map_fd) != NULL && published(map_fd), "other threads can go on");
}

static void cancelled_in_freeing(void)
{
	make_large_key();
	grows_not(cancelled_in_free, 1000, "cancelled in tld_free()");
	diag("%u were cancelled inside of tld_free()", 1000 + 10 * AT_ONCE - came_back);
	ok(take(map_fd) != NULL && published(map_fd), "other threads can go on");
}

/* Threads that take whatever memory is free, and keep it for a while. */
static pthread_barrier_t all_have_taken, let_go;

static void *take_and_keep(void *fd)
{
	take((intptr_t)fd);
	pthread_barrier_wait(&all_have_taken);
	pthread_barrier_wait(&let_go);
	return NULL;
}

static void start_takers(pthread_t *threads, int fd)
{
	pthread_barrier_init(&all_have_taken, NULL, AT_ONCE + 1);
	pthread_barrier_init(&let_go, NULL, AT_ONCE + 1);
	for (int i = 0; i < AT_ONCE; i++)
		if (pthread_create(&threads[i], NULL, take_and_keep, (void *)(intptr_t)fd))
			tap_bail("a thread can be started");
	pthread_barrier_wait(&all_have_taken);
}

static void end_takers(pthread_t *threads)
{
	pthread_barrier_wait(&let_go);
	for (int i = 0; i < AT_ONCE; i++)
		pthread_join(threads[i], NULL);
}

/*
 * A pthread key made after libtld's has its destructors called after libtld's: it
 * finds the thread withdrawn, uses it again, and is called again in the next
 * round, when libtld must have cleaned up again.
 */
static pthread_key_t later_key;
static unsigned int still_published, not_published_again, rounds_run;

static void use_in_destructor(void *left)
{
	intptr_t rounds = (intptr_t)left;

	__atomic_add_fetch(&rounds_run, 1, __ATOMIC_RELAXED);
	if (published(map_fd))
		__atomic_add_fetch(&still_published, 1, __ATOMIC_RELAXED);
	if (rounds > 1) {
		take(map_fd);
		if (!published(map_fd))
			__atomic_add_fetch(&not_published_again, 1, __ATOMIC_RELAXED);
		pthread_setspecific(later_key, (void *)(rounds - 1));
	}
}

static void *use_again_later(void *rounds)
{
	pthread_setspecific(later_key, rounds);
	take(map_fd);
	return NULL;
}

static void later_destructor(void)
{
	pthread_t thread;

	make_key();
	if (pthread_key_create(&later_key, use_in_destructor))
		tap_bail("a pthread key can be made");
	pthread_create(&thread, NULL, use_again_later, (void *)3);
	pthread_join(thread, NULL);
	is(rounds_run, 3, "a later destructor runs in three rounds");
	is(still_published, 0, "each time it finds the thread withdrawn");
	is(without_data, 0, "each time it gets data");
	is(not_zero, 0, "which is zero");
	is(not_published_again, 0, "and is published again");
}

/*
 * BPF caches where a task's data start, so a thread that comes back must find them
 * at the same offset, whatever blocks others have taken since.
 */
static unsigned int moved;

static unsigned int start_in_element(void)
{
	uint16_t value[V2_SIZE / 2] = { 0 };

	if (element_read(map_fd, gettid(), value))
		tap_bail("a thread that has data has an element");
	return value[8];
}

static void come_back(void *start)
{
	pthread_t takers[AT_ONCE];

	start_takers(takers, map_fd);
	take(map_fd);
	moved += start_in_element() != (uintptr_t)start;
	end_takers(takers);
}

static void *use_and_come_back(void *unused)
{
	take(map_fd);
	pthread_setspecific(later_key, (void *)(uintptr_t)start_in_element());
	return unused;
}

static void start_stays(void)
{
	pthread_t thread;

	make_key();
	if (pthread_key_create(&later_key, come_back))
		tap_bail("a pthread key can be made");
	for (int i = 0; i < 20; i++) {
		if (pthread_create(&thread, NULL, use_and_come_back, NULL))
			tap_bail("a thread can be started");
		pthread_join(thread, NULL);
	}
	is(moved, 0, "a thread that uses TLD again in a later destructor has its data at the same offset");
	is(without_data + not_zero, 0, "which are zero");
}

static void *use_until_the_end(void *fd)
{
	take((intptr_t)fd);
	pthread_setspecific(later_key, (void *)(intptr_t)(PTHREAD_DESTRUCTOR_ITERATIONS + 1));
	return NULL;
}

/* The use in the last round is one that no destructor cleans up after. */
static void destructor_in_every_round(void)
{
	make_large_key();
	if (pthread_key_create(&later_key, use_in_destructor))
		tap_bail("a pthread key can be made");
	grows_not(use_until_the_end, 1000, "having used TLD in every round of destructors");
	is(still_published + not_published_again, 0, "and are withdrawn and published as often");
	is(rounds_run, (1000 + 10 * AT_ONCE) * PTHREAD_DESTRUCTOR_ITERATIONS, "which are %d rounds each",
	   PTHREAD_DESTRUCTOR_ITERATIONS);
}

/* Here the other library's key is the older one, so its destructor comes first. */
static void use_in_earlier_destructor(void *unused)
{
	uint64_t *words = tld_get_data(map_fd, key);

	(void)unused;
	wrong += !words || words[0] != 7 || !published(map_fd);
}

static void *use_before(void *unused)
{
	uint64_t *words = tld_get_data(map_fd, key);

	if (words)
		words[0] = 7;
	pthread_setspecific(later_key, &wrong);
	return unused;
}

static void earlier_destructor(void)
{
	pthread_t thread;

	if (pthread_key_create(&later_key, use_in_earlier_destructor))
		tap_bail("a pthread key can be made");
	make_key();
	pthread_create(&thread, NULL, use_before, NULL);
	pthread_join(thread, NULL);
	is(wrong, 0, "a destructor that runs before libtld's still finds the thread's values");
}

/*
 * The physical page behind an address, as the kernel counts them; 0 if it does not
 * tell, which it does to root.
 */
static uint64_t frame_of(const void *address)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	if (fd < 0 || pread(fd, &entry, sizeof(entry), (uintptr_t)address / getpagesize() * 8) != sizeof(entry))
		entry = 0;
	close(fd);
	return entry & ((UINT64_C(1) << 55) - 1);
}

struct place {
	uint64_t *address, frame;
};

static void *note_place(void *arg)
{
	struct place *place = arg;

	place->address = take(map_fd);
	place->frame = frame_of(place->address);
	return NULL;
}

/*
 * A BPF program that runs may hold the old page for a while after the thread has
 * ended. The kernel cannot give it out meanwhile, so a frame that comes again at
 * once was never let go.
 */
static void page_is_replaced(const char *format)
{
	struct place before = { 0 }, now;
	int reused = 0, same_frame = 0;
	pthread_t thread;

	make_large_key();
	for (int i = 0; i < 200; i++, before = now) {
		if (pthread_create(&thread, NULL, note_place, &now))
			tap_bail("a thread can be started");
		pthread_join(thread, NULL);
		if (!now.frame) {
			tap_skip("a page is replaced before it is given to another thread", "kernel: pagemap tells no frames");
			return;
		}
		reused += now.address == before.address;
		same_frame += now.frame == before.frame;
	}
	is(same_frame, 0, "%s: of %d pages given to the next thread each was replaced before", format, reused);
	is(without_data + not_zero, 0, "%s: all are zero", format);
}

static void page_is_replaced_v1(void)
{
	map_fd = data_map(V1_SIZE);
	page_is_replaced("first format");
}

static void page_is_replaced_v2(void)
{
	page_is_replaced("second format");
}

/*
 * BPF programs that run may go on using a block after its withdrawal, so as long as
 * another thread keeps the page from being replaced, its bytes are used once.
 */
#define ONE_BY_ONE 300
static void *addresses[ONE_BY_ONE];

static void *note_address(void *slot)
{
	*(void **)slot = take(map_fd);
	return NULL;
}

static void bytes_are_used_once(void)
{
	uintptr_t page = ~(uintptr_t)(getpagesize() - 1), mine;
	int beside = 0, again = 0;
	pthread_t thread;

	make_key();
	mine = (uintptr_t)take(map_fd) & page;
	for (int i = 0; i < ONE_BY_ONE; i++) {
		if (pthread_create(&thread, NULL, note_address, &addresses[i]))
			tap_bail("a thread can be started");
		pthread_join(thread, NULL);
		if (((uintptr_t)addresses[i] & page) != mine)
			continue;
		beside++;
		for (int j = 0; j < i; j++)
			again += addresses[j] == addresses[i];
	}
	is(without_data + not_zero, 0, "%d threads that follow each other have zeroed data", ONE_BY_ONE);
	is(again, 0, "none of the %d in a living thread's page has a predecessor's bytes", beside);
}

static void freeing(__u32 value_size)
{
	unsigned char before[256] = { 0 }, after[256] = { 0 };
	pthread_t takers[AT_ONCE];
	int fd = data_map(value_size), other = data_map(V2_SIZE);
	uint64_t *words, *again;

	make_key();
	words = take(fd);
	ok(words && tld_get_data(other, key) == words, "a thread is published in two maps");
	ok(published(fd) && published(other), "both of which have it");
	element_read(fd, gettid(), before);
	tld_free();
	ok(!published(fd) && !published(other), "after tld_free() neither has it");
	start_takers(takers, fd);
	again = tld_get_data(fd, key);
	end_takers(takers);
	ok(again == words, "used again, the address is the same, whatever others took meanwhile");
	ok(again && all_zero(again), "and the data zero");
	ok(published(fd), "the map that was passed has the thread");
	ok(!published(other), "the other has not");
	element_read(fd, gettid(), after);
	ok(!memcmp(before, after, sizeof(before)), "its element says the same start");
	tld_free();
	tld_free();
	ok(!published(fd), "tld_free() twice is once");
	close(fd);
	close(other);
}

static void freeing_v1(void)
{
	freeing(V1_SIZE);
}

static void freeing_v2(void)
{
	freeing(V2_SIZE);
}

static void freeing_native(void)
{
	freeing(NATIVE_SIZE);
}

static void freeing_nothing(void)
{
	errno = ERRNO_MARK;
	tld_free();
	is(errno, ERRNO_MARK, "tld_free() in a process without keys does nothing");
	make_key();
	tld_free();
	ok(errno == ERRNO_MARK && !published(map_fd), "nor in a thread without data");
	ok(take(map_fd) != NULL && !not_zero, "which can have some afterwards");
	ok(published(map_fd), "and is published");
}

/* One thread's tld_free() concerns nobody else. */
static pthread_barrier_t step;

static void *stays(void *fd)
{
	uint64_t *words = take((intptr_t)fd);

	pthread_barrier_wait(&step);
	pthread_barrier_wait(&step);
	if (!words || words[0] != 0x5a5a5a5a5a5a5a5a || !published((intptr_t)fd) ||
	    tld_get_data((intptr_t)fd, key) != words)
		wrong++;
	return NULL;
}

static void freeing_is_ones_own(void)
{
	pthread_t thread;
	uint64_t *words;

	make_key();
	pthread_barrier_init(&step, NULL, 2);
	words = take(map_fd);
	pthread_create(&thread, NULL, stays, (void *)(intptr_t)map_fd);
	pthread_barrier_wait(&step);
	tld_free();
	pthread_barrier_wait(&step);
	pthread_join(thread, NULL);
	is(wrong, 0, "tld_free() leaves other threads' data and their elements alone");
	ok(tld_get_data(map_fd, key) == words && all_zero(words), "and clears the caller's");
	pthread_create(&thread, NULL, use_and_end, (void *)(intptr_t)map_fd);
	words[0] = 9;
	pthread_join(thread, NULL);
	ok(words[0] == 9 && published(map_fd) && tld_get_data(map_fd, key) == words,
	   "so does the end of another thread");
}

/* Maps that were passed on the way are let go when nobody is published there. */
static void maps_are_let_go(void)
{
	int before, most = 0, fd, now;
	pthread_t thread;

	make_key();
	pthread_create(&thread, NULL, use_and_end, (void *)(intptr_t)map_fd);
	pthread_join(thread, NULL);
	before = open_descriptors();
	for (int i = 0; i < 1000; i++) {
		struct map_shape shape = { BPF_MAP_TYPE_TASK_STORAGE, i % 2 ? V1_SIZE : V2_SIZE, 2 };

		fd = map_create(&shape);
		if (fd < 0)
			tap_bail("map %d can be made", i);
		if (pthread_create(&thread, NULL, use_and_end, (void *)(intptr_t)fd))
			tap_bail("a thread can be started");
		pthread_join(thread, NULL);
		close(fd);
		now = open_descriptors();
		most = now > most ? now : most;
	}
	is(without_data, 0, "of 1,000 maps that come and go each is served");
	is(open_descriptors(), before, "each is let go when the last thread published there has ended");
	ok(most <= before + 1, "not later");
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--soak"))
		soak_seconds = atof(argv[2]);
	else if (argc != 1)
		tap_bail("usage: thread_exit [--soak SECONDS]");
	map_fd = data_map(V2_SIZE);
	in_child(many_threads);
	in_child(many_threads_v1);
	in_child(ended_by_pthread_exit);
	in_child(ended_after_free);
	in_child(ended_without_destructors);
	in_child(cancelled_in_use);
	in_child(cancelled_in_freeing);
	in_child(later_destructor);
	in_child(start_stays);
	in_child(destructor_in_every_round);
	in_child(earlier_destructor);
	in_child(page_is_replaced_v1);
	in_child(page_is_replaced_v2);
	in_child(bytes_are_used_once);
	in_child(freeing_v1);
	in_child(freeing_v2);
	in_child(freeing_native);
	in_child(freeing_nothing);
	in_child(freeing_is_ones_own);
	in_child(maps_are_let_go);
	close(map_fd);
	return tap_done();
}
