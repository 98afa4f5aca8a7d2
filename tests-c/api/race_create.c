// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * race_create.c - threads that create TLDs at once, while another walks the
 * metadata page as a BPF program would. Rounds are separated by the reset that
 * the kernel's own test does. "--soak SECONDS" goes on for that long.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <time.h>
#include "often.h"
#include "page.h"

#define CREATORS 8
#define SHARED 15		/* names that all creators want */
#define OWN 6			/* names of one creator alone: 15 + 8 * 6 = 63 */
#define NAMES (SHARED + CREATORS * OWN)
#define BUDGET 4088
#define JUNK 0xa5
#define FORKS OFTEN(150)
#define CANCELS OFTEN(800)

struct wanted {
	char name[PAGE_NAME_BYTES];	/* zero-padded, as it must be on the page */
	unsigned int size;		/* unique, so that it tells the name */
};

static struct wanted wanted[NAMES];
static int16_t result[CREATORS][NAMES];
static pthread_barrier_t walk_begins, round_begins, round_ends;
static int creating;
static bool walking, stop;
static unsigned long rounds, entries_seen;

/* What was wrong, summed over all rounds. */
static unsigned int unready, half, unpadded, going_back;
static unsigned int not_one_winner, wrong_refusal, own_refused, table_wrong, overlaps;

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

/* Names of lengths up to 61. */
static void make_names(void)
{
	for (int i = 0; i < NAMES; i++) {
		int length = snprintf(wanted[i].name, PAGE_NAME_BYTES, "%d.", i);

		for (; length < i % 62; length++)
			wanted[i].name[length] = 'a' + i % 26;
		wanted[i].size = 1 + i;
	}
}

static void judge_entry(const char *name, unsigned int size)
{
	if (!size)
		unready++;
	else if (size > NAMES || strncmp(name, wanted[size - 1].name, PAGE_NAME_BYTES))
		half++;
	else if (memcmp(name, wanted[size - 1].name, PAGE_NAME_BYTES))
		unpadded++;
}

/* The size last of all, as the writer may store it last. */
static void look_at_entry(unsigned int i)
{
	char name[PAGE_NAME_BYTES];

	memcpy(name, page_name(i), sizeof(name));
	judge_entry(name, page_entry_size(i));
	entries_seen++;
}

/* Entries are in danger when they have just been counted: look at those at once. */
static void walk_while_creating(void)
{
	unsigned int cnt, seen = 0;

	__atomic_store_n(&walking, true, __ATOMIC_RELEASE);
	while (__atomic_load_n(&creating, __ATOMIC_ACQUIRE)) {
		cnt = page_cnt();
		going_back += cnt < seen;
		for (; seen < cnt; seen++)
			look_at_entry(seen);
	}
}

static void *walker(void *unused)
{
	(void)unused;
	for (;;) {
		pthread_barrier_wait(&walk_begins);
		if (stop)
			return NULL;
		walk_while_creating();
		pthread_barrier_wait(&round_ends);
	}
}

static void create(int me, int i)
{
	result[me][i] = create_asking(wanted[i].name, wanted[i].size, BUDGET).off;
}

/* The shared names in the same order, so that all want the same at once. */
static void *creator(void *arg)
{
	int me = (intptr_t)arg;

	for (;;) {
		pthread_barrier_wait(&round_begins);
		if (stop)
			return NULL;
		for (int i = 0; i < SHARED; i++) {
			create(me, i);
			if (i < OWN)
				create(me, SHARED + me * OWN + i);
		}
		__atomic_sub_fetch(&creating, 1, __ATOMIC_RELEASE);
		pthread_barrier_wait(&round_ends);
	}
}

/* Entries that nobody has written yet hold junk, so that half a name shows. */
static void begin_round(void)
{
	struct tld_meta_u *meta = tld_meta_p;

	meta->cnt = 0;
	meta->size = BUDGET;
	for (unsigned int i = 0; i < page_entries(); i++) {
		memset(meta->metadata[i].name, JUNK, PAGE_NAME_BYTES);
		meta->metadata[i].size = 0;
	}
	memset(result, 0xff, sizeof(result));
	creating = CREATORS;
	walking = false;
}

/* Each offset is the sum of what precedes it in the table. */
static void check_table(void)
{
	unsigned int off = 0, size;

	table_wrong += page_cnt() != NAMES;
	for (unsigned int i = 0; i < page_cnt(); i++) {
		size = page_entry_size(i);
		if (size < 1 || size > NAMES || memcmp(page_name(i), wanted[size - 1].name, PAGE_NAME_BYTES)) {
			table_wrong++;
			continue;
		}
		table_wrong += tld_find_key(wanted[size - 1].name).off != (int)off;
		off += round_up_8(size);
	}
}

/* Every key that somebody got has its bytes alone. */
static void check_overlaps(void)
{
	static char taken[BUDGET + NAMES];

	memset(taken, 0, sizeof(taken));
	for (int me = 0; me < CREATORS; me++)
		for (int i = 0; i < NAMES; i++)
			for (unsigned int b = 0; result[me][i] >= 0 && b < wanted[i].size; b++)
				overlaps += taken[result[me][i] % BUDGET + b]++;
}

static void check_results(void)
{
	for (int i = 0; i < SHARED; i++) {
		int winners = 0;

		for (int me = 0; me < CREATORS; me++) {
			winners += result[me][i] >= 0;
			wrong_refusal += result[me][i] < 0 && result[me][i] != -EEXIST;
		}
		not_one_winner += winners != 1;
	}
	for (int i = SHARED; i < NAMES; i++)
		own_refused += result[(i - SHARED) / OWN][i] < 0;
}

/* Entries looked at while they are made, below which a race was none. */
#define SEEN_LEAST OFTEN(1000)

/*
 * A round can be over before a walker that starts with it is on a processor. Where much else runs
 * it takes longer until enough was seen.
 */
static void run_rounds(double duration)
{
	double end = seconds() + duration, last = end + CASE_SECONDS / 2;

	do {
		begin_round();
		pthread_barrier_wait(&walk_begins);
		while (!__atomic_load_n(&walking, __ATOMIC_ACQUIRE))
			sched_yield();
		pthread_barrier_wait(&round_begins);
		pthread_barrier_wait(&round_ends);
		check_results();
		check_overlaps();
		check_table();
		rounds++;
	} while (seconds() < (entries_seen > SEEN_LEAST ? end : last));
}

static void race(double duration)
{
	pthread_t threads[CREATORS + 1];

	make_names();
	/* The page, so that the first round can be prepared like the others. */
	if (tld_key_is_err(create_asking("make the page", 1, BUDGET)))
		tap_bail("a key can be created");
	pthread_barrier_init(&walk_begins, NULL, 2);
	pthread_barrier_init(&round_begins, NULL, CREATORS + 1);
	pthread_barrier_init(&round_ends, NULL, CREATORS + 2);
	for (intptr_t i = 0; i <= CREATORS; i++)
		if (pthread_create(&threads[i], NULL, i < CREATORS ? creator : walker, (void *)i))
			tap_bail("a thread can be started");
	run_rounds(duration);
	stop = true;
	pthread_barrier_wait(&walk_begins);
	pthread_barrier_wait(&round_begins);
	for (int i = 0; i <= CREATORS; i++)
		pthread_join(threads[i], NULL);
}

static void creation_race(double duration)
{
	alarm(CASE_SECONDS + (unsigned int)duration);
	race(duration);
	diag("%lu rounds, %lu entries looked at while they were made", rounds, entries_seen);
	is(not_one_winner, 0, "of %d threads that create one name at once exactly one gets it", CREATORS);
	is(wrong_refusal, 0, "all others are told that it exists");
	is(own_refused, 0, "names of one thread alone are all created");
	is(overlaps, 0, "no two keys share a byte");
	is(table_wrong, 0, "each key is the sum of the sizes before it in the table");
	ok(entries_seen > SEEN_LEAST, "a walker looks at entries while they are made");
	is(unready, 0, "it never sees an entry of size 0 counted");
	is(half, 0, "nor half a name");
	is(unpadded, 0, "nor a name without its padding");
	is(going_back, 0, "nor the count going back");
	alarm(0);
}

/* One instruction after the other: what a race may miss, this does not. */
static unsigned long steps;

static void stepped_child(void)
{
	if (ptrace(PTRACE_TRACEME, 0, 0, 0))
		_exit(2);
	raise(SIGSTOP);
	create_asking(wanted[60].name, wanted[60].size, BUDGET);
	memset(&tld_meta_p->metadata[1], JUNK, PAGE_NAME_BYTES);
	memset(&tld_meta_p->metadata[2], JUNK, PAGE_NAME_BYTES);
	create_asking(wanted[5].name, wanted[5].size, BUDGET);
	create_static(wanted[40].name, wanted[40].size);
	raise(SIGSTOP);
	_exit(0);
}

static bool peek(pid_t child, const void *address, void *bytes, size_t count)
{
	struct iovec here = { bytes, count }, there = { (void *)address, count };

	return process_vm_readv(child, &here, 1, &there, 1, 0) == (ssize_t)count;
}

static void judge_page_of(pid_t child)
{
	struct { uint16_t cnt, size; struct { char name[PAGE_NAME_BYTES]; uint16_t size; } entry[3]; } copy;
	void *page;

	if (!peek(child, (void *)&tld_meta_p, &page, sizeof(page)))
		tap_bail("a child's memory can be read");
	if (!page || !peek(child, page, &copy, sizeof(copy)))
		return;
	for (int i = 0; i < copy.cnt && i < 3; i++, entries_seen++)
		judge_entry(copy.entry[i].name, copy.entry[i].size);
}

/* 0, or the errno of why a child cannot be stepped. */
static int step_through(pid_t child)
{
	int status;

	waitpid(child, &status, 0);
	if (!WIFSTOPPED(status))
		return EPERM;
	do {
		if (ptrace(PTRACE_SINGLESTEP, child, 0, 0))
			return errno;
		waitpid(child, &status, 0);
		judge_page_of(child);
		steps++;
	} while (WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
	ok(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP, "creating keys ends, stepped through");
	return 0;
}

static void creation_stepped(void)
{
	const char *sentence = "after no instruction of tld_create_key() is a half-made entry counted";
	pid_t child;
	int err;

#ifdef __aarch64__
	/* Between its exclusive load and store a lock must not be stopped: it would begin anew. */
	tap_skip(sentence, "no lock can be taken instruction by instruction");
	return;
#endif
	make_names();
	child = fork();
	if (!child)
		stepped_child();
	err = step_through(child);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	if (err) {
		tap_skip(sentence, "kernel: ptrace(2) is refused");
		return;
	}
	diag("%lu instructions, %u unready, %u half, %u unpadded", steps, unready, half, unpadded);
	ok(entries_seen > 1000, "the page was looked at after each");
	is(unready + half + unpadded, 0, "%s", sentence);
}

static bool running;

static void *create_for_ever(void *unused)
{
	(void)unused;
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	__atomic_store_n(&running, true, __ATOMIC_RELEASE);
	for (;;)
		tld_create_key("held", 8);
	return NULL;
}

/* The name is the last of many alike, so that creators are busy for a while. */
static void make_full_table(void)
{
	char name[62];

	for (int i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "%057d %d", 0, i);
		create_asking(name, 1, BUDGET);
	}
	if (tld_create_key("held", 8).off != 480)
		tap_bail("61 keys can be created");
}

/* The child must be able to create whatever its siblings were doing. */
static int create_in_child(void)
{
	pid_t child = fork();
	int status;

	if (child < 0)
		tap_bail("fork works");
	if (!child) {
		alarm(CASE_SECONDS / 2);
		_exit(tld_create_key("child's", 8).off == 488 &&
		      tld_create_key("held", 8).off == -EEXIST ? 0 : 1);
	}
	waitpid(child, &status, 0);
	return status;
}

static void fork_while_creating(void)
{
	int failed = 0, status = 0;
	pthread_t threads[2];

	make_full_table();
	for (int i = 0; i < 2; i++)
		if (pthread_create(&threads[i], NULL, create_for_ever, NULL))
			tap_bail("a thread can be started");
	for (int i = 0; i < FORKS && !failed; i++) {
		status = create_in_child();
		failed += status != 0;
	}
	is(failed, 0, "a child forked while others create can create, %d times (status %x)", FORKS, status);
}

/*
 * glibc ends such a thread in the middle of anything; where, is left to chance, so
 * it takes many.
 */
static void cancel_while_creating(void)
{
	unsigned int wrong = 0;
	pthread_t thread;

	make_full_table();
	for (int i = 0; i < CANCELS; i++) {
		running = false;
		if (pthread_create(&thread, NULL, create_for_ever, NULL))
			tap_bail("a thread can be started");
		while (!__atomic_load_n(&running, __ATOMIC_ACQUIRE))
			sched_yield();
		for (volatile int spin = 0; spin < i % 100 * 100; spin++)
			;
		pthread_cancel(thread);
		pthread_join(thread, NULL);
		wrong += tld_create_key("held", 8).off != -EEXIST;
	}
	is(wrong, 0, "a thread cancelled in the middle of creating leaves no lock held, %d times", CANCELS);
}

int main(int argc, char **argv)
{
	double duration = BRIEFLY(1.0);

	if (argc == 3 && !strcmp(argv[1], "--soak"))
		duration = atof(argv[2]);
	else if (argc != 1)
		tap_bail("usage: race_create [--soak SECONDS]");
	in_child(creation_stepped);
	in_child(fork_while_creating);
	in_child(cancel_while_creating);
	creation_race(duration);
	return tap_done();
}
