// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * attach_many.c - a map that comes late finds 1,000 threads, while others start and end:
 * none is lost, none leaked; and many threads attach and detach at once.
 *
 * attach_many --soak SECONDS goes on for so long.
 */
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

static double soak_seconds;
/* Over a thousand threads are started at most three times. */
#define CASE_SECONDS (patience(60) + (unsigned int)soak_seconds)

#include "formats.h"
#include "often.h"
#include "threads.h"

#define LIVE OFTEN(1000)
/* More than there are later, so that all memory has been asked for once. */
#define LIVE_AT_FIRST (LIVE + 100)
#define STARTERS 3
#define STACK (64 * 1024)
/* A page for each of 64 threads at most is what may be missed. */
#define GROWTH_KIB 256

/* What a thread stores, which no other has. */
static uint64_t mark_of(pid_t tid)
{
	return UINT64_C(0x7a00000000000000) | (uint64_t)tid;
}

static bool store_mark(void)
{
	uint64_t *data = tld_get(key);

	if (data)
		*data = mark_of(gettid());
	return data;
}

/* --- Threads that live all the time ------------------------------------------------------ */

static char *stacks;
static pthread_t live[LIVE_AT_FIRST];
static pid_t live_tids[LIVE_AT_FIRST];
static pthread_barrier_t all_have_stored, let_go;
static unsigned int without_data;

/* Stacks of our own: those of glibc come and go with its cache. */
static pthread_t start_on_stack(int stack, void *(*body)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, stacks + (size_t)stack * STACK, STACK);
	errno = pthread_create(&thread, &attr, body, arg);
	if (errno)
		tap_bail("a thread starts");
	pthread_attr_destroy(&attr);
	return thread;
}

static void *live_on(void *tid)
{
	*(pid_t *)tid = gettid();
	if (!store_mark())
		__atomic_add_fetch(&without_data, 1, __ATOMIC_RELAXED);
	pthread_barrier_wait(&all_have_stored);
	pthread_barrier_wait(&let_go);
	return NULL;
}

static void start_live(int count)
{
	pthread_barrier_init(&all_have_stored, NULL, count + 1);
	pthread_barrier_init(&let_go, NULL, count + 1);
	for (int i = 0; i < count; i++)
		live[i] = start_on_stack(i, live_on, &live_tids[i]);
	pthread_barrier_wait(&all_have_stored);
}

static void end_live(int count)
{
	pthread_barrier_wait(&let_go);
	for (int i = 0; i < count; i++)
		end_thread(live[i]);
}

static int live_seen(int count)
{
	int right = 0;

	for (int i = 0; i < count; i++)
		right += reader_u64(reader, live_tids[i], "value") == mark_of(live_tids[i]);
	return right;
}

/* --- Threads that start and end meanwhile ------------------------------------------------ */

/* While this is held for reading, the map stays attached if it is. */
static pthread_rwlock_t detaching = PTHREAD_RWLOCK_INITIALIZER;
static bool attached, stop;
static unsigned int started, looked, lost;

static void pause_briefly(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
}

/* Stay until the map is attached; then BPF must read this thread. */
static void look_when_attached(void)
{
	bool done = false;

	while (!done && !__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		pthread_rwlock_rdlock(&detaching);
		done = attached;
		if (done && reader_u64(reader, 0, "value") != mark_of(gettid()))
			__atomic_add_fetch(&lost, 1, __ATOMIC_RELAXED);
		pthread_rwlock_unlock(&detaching);
		if (!done)
			pause_briefly();
	}
	if (done)
		__atomic_add_fetch(&looked, 1, __ATOMIC_RELAXED);
}

/* Five ways to live beside an attachment. */
static void *live_shortly(void *number)
{
	int way = (uintptr_t)number % 5;

	__atomic_add_fetch(&started, 1, __ATOMIC_RELAXED);
	if (way == 0)
		return NULL;
	if (!store_mark())
		__atomic_add_fetch(&without_data, 1, __ATOMIC_RELAXED);
	if (way == 1)
		look_when_attached();
	if (way == 2)
		tld_free();
	if (way == 3 && !UNDER_SANITIZER)
		syscall(SYS_exit, 0);
	return NULL;
}

static void *keep_starting(void *stack)
{
	for (uintptr_t i = 0; !__atomic_load_n(&stop, __ATOMIC_ACQUIRE); i++)
		end_thread(start_on_stack((intptr_t)stack, live_shortly, (void *)i));
	return NULL;
}

static pthread_t starters[STARTERS];

static void start_starters(void)
{
	stop = false;
	for (int i = 0; i < STARTERS; i++)
		starters[i] = start_thread(keep_starting, (void *)(intptr_t)(LIVE_AT_FIRST + i));
}

static void end_starters(void)
{
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	for (int i = 0; i < STARTERS; i++)
		end_thread(starters[i]);
}

/* --- Attach and detach among them --------------------------------------------------------- */

struct tally {
	int rounds, attached, all_seen, detached, empty;
};

static void one_round(struct tally *tally, int count)
{
	unsigned int before;

	tally->rounds++;
	tally->attached += !tld_attach(map_fd);
	pthread_rwlock_wrlock(&detaching);
	attached = true;
	pthread_rwlock_unlock(&detaching);
	tally->all_seen += live_seen(count) == count;
	/* Those that waited for it have looked. */
	before = __atomic_load_n(&looked, __ATOMIC_RELAXED);
	if (!eventually(__atomic_load_n(&looked, __ATOMIC_RELAXED) != before))
		tap_bail("threads start and end all the time");
	pthread_rwlock_wrlock(&detaching);
	attached = false;
	pthread_rwlock_unlock(&detaching);
	tally->detached += !tld_detach(map_fd);
	tally->empty += reader_elements(reader, NULL) == 0;
}

static struct tally rounds(int count, double seconds)
{
	double until = seconds_now() + seconds;
	struct tally tally = { 0 };

	start_live(count);
	start_starters();
	do
		one_round(&tally, count);
	while (seconds_now() < until);
	return tally;
}

/* Nobody starts or ends any more: who is in the map is who lives. */
static void judge_last_attachment(void)
{
	is(tld_attach(map_fd), 0, F("the map is attached once more"));
	is(live_seen(LIVE), LIVE, F("it has every thread that lives"));
	is(reader_elements(reader, NULL), LIVE, F("and no other"));
	end_live(LIVE);
	is(reader_elements(reader, NULL), 0, F("when they end the map is empty"));
	is(tld_detach(map_fd), 0, F("it can be detached then"));
}

static void judge(const struct tally *tally)
{
	diag("%d rounds, %u threads started meanwhile, %u looked", tally->rounds, started, looked);
	is(without_data, 0, F("every thread has data"));
	is(tally->attached, tally->rounds,
	   F("a map is attached while threads start and end, each time"));
	is(tally->all_seen, tally->rounds, "%s: all of %d threads are readable then", name(), LIVE);
	is(lost, 0, F("so is every thread that started meanwhile"));
	is(tally->detached, tally->rounds, F("it is detached among them, each time"));
	is(tally->empty, tally->rounds, F("and then has no thread"));
}

struct footprint {
	long kib;
	int mappings, descriptors;
};

static struct footprint footprint(void)
{
	return (struct footprint){ status_kib("VmSize:"), mappings(), open_descriptors() };
}

static void judge_footprint(struct footprint before)
{
	struct footprint after = footprint();

	diag("KiB %+ld, mappings %+d", after.kib - before.kib, after.mappings - before.mappings);
	is(after.descriptors, before.descriptors, F("as many descriptors are open as before"));
	if (UNDER_SANITIZER) {
		tap_skip("the process has not grown", "a sanitizer maps memory of its own");
		return;
	}
	ok(after.mappings <= before.mappings + 4, F("as many mappings as before"));
	ok(after.kib - before.kib <= GROWTH_KIB, F("the process has not grown"));
}

static void late_among_many(void)
{
	struct footprint before;
	struct tally tally;

	/* Threads' malloc arenas would hide what the library maps. */
	mallopt(M_ARENA_MAX, 1);
	make_key();
	stacks = mmap(NULL, (size_t)(LIVE_AT_FIRST + STARTERS) * STACK, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (stacks == MAP_FAILED)
		tap_bail("memory for %d stacks", LIVE_AT_FIRST + STARTERS);
	rounds(LIVE_AT_FIRST, 0);
	end_starters();
	end_live(LIVE_AT_FIRST);
	before = footprint();
	started = looked = 0;
	tally = rounds(LIVE, soak_seconds ? soak_seconds : BRIEFLY(0.5));
	end_starters();
	judge(&tally);
	judge_last_attachment();
	judge_footprint(before);
}

/* --- Many hands at the same maps ----------------------------------------------------------- */

#define HANDS 6

static unsigned int calls, surprises;

/* One of what any thread may do at any time, with any of three maps. */
static void do_something(unsigned int number, int fd)
{
	int err = 0;

	switch (number % 5) {
	case 0:
		err = tld_attach(fd);
		break;
	case 1:
		err = tld_detach(fd);
		break;
	case 2:
		if (!tld_get_data(fd, key))
			err = -errno;
		break;
	case 3:
		err = store_mark() ? tld_publish() : -errno;
		break;
	default:
		tld_free();
	}
	/* Not attached just now; or this thread's memory shares a page. */
	if (err && err != -ENOENT && err != -EXDEV &&
	    !__atomic_fetch_add(&surprises, 1, __ATOMIC_RELAXED))
		diag("call %u gives %d", number % 5, err);
}

static void *keep_doing(void *seed)
{
	unsigned int random = (uintptr_t)seed, number = 0;
	double until = seconds_now() + (soak_seconds ? soak_seconds : 0.3);

	while (seconds_now() < until) {
		random = random * 1103515245 + 12345;
		do_something(random >> 16, reader_map_fd(readers[(random >> 8) % FORMATS]));
		number++;
	}
	__atomic_add_fetch(&calls, number, __ATOMIC_RELAXED);
	return NULL;
}

static void many_hands(void)
{
	int descriptors = open_descriptors(), left = 0;
	pthread_t hands[HANDS];

	make_key();
	for (uintptr_t i = 0; i < HANDS; i++)
		hands[i] = start_thread(keep_doing, (void *)(i + 1));
	for (int i = 0; i < HANDS; i++)
		end_thread(hands[i]);
	diag("%u calls", calls);
	is(surprises, 0,
	   "%d threads attach, detach, pass and free at once: all as documented", HANDS);
	for (int i = 0; i < FORMATS; i++) {
		tld_detach(reader_map_fd(readers[i]));
		left += reader_elements(readers[i], NULL);
	}
	is(left, 0, "when they have ended and the maps are detached, these are empty");
	is(open_descriptors(), descriptors, "and as many descriptors are open as before");
}

static void all_cases(void)
{
	in_child(late_among_many);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--soak"))
		soak_seconds = atof(argv[2]) / (FORMATS + 1);
	open_readers();
	for_each_format(all_cases);
	in_child(many_hands);
	close_readers();
	return tap_done();
}
