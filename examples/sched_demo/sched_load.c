// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * sched_load.c - load for a scheduler, and what becomes of it.
 *
 *	sched_load calibrate [-t N]	prints how many rounds of work take 1 ms, while N threads work
 *	sched_load wake [OPTION...]	threads that wake up each few ms and compute for a moment
 *	sched_load burn [OPTION...]	threads that compute all the time
 *
 * Either prints one line of names and values; times in us. A latency is from when a thread was
 * to wake up, by its timer, to when its work was done, so that being late once does not hide
 * that the next time is late, too.
 */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <tld.h>

#include "sched_hint.h"

#define MS 1000000LL
#define THREADS_MAX 1024
#define SAMPLES_MAX 65536
#define WARM_UP (300 * MS)

/* A thread that wakes up sleeps that long in between. */
#define PAUSE_LEAST (3 * MS)
#define PAUSE_MOST (5 * MS)

TLD_DEFINE_KEY(hint_key, SCHED_HINT_NAME, sizeof(uint64_t));

enum mode { CALIBRATE, WAKE, BURN };

static struct {
	enum mode mode;
	unsigned int threads, ms, uid, gid;
	int nice;
	uint64_t rounds;		/* of work in a ms */
	uint64_t hint;			/* 0: none */
	const char *pin;
} options = { .threads = 1, .ms = 1000, .pin = SCHED_HINT_PIN };

static struct thread {
	pthread_t id;
	unsigned int seed, samples;
	uint64_t *latency;		/* ns */
	uint64_t rounds;		/* of work done while it counted */
	uint64_t cpu;			/* the processor's time for it, ns */
} threads[THREADS_MAX];

static int64_t counts_from, counts_to;	/* CLOCK_MONOTONIC, ns */

__attribute__((noreturn)) static void fail(const char *what, int err)
{
	fprintf(stderr, "sched_load: %s: %s\n", what, strerror(err));
	exit(1);
}

static int64_t read_clock(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec * 1000 * MS + time.tv_nsec;
}

static int64_t now(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

static void sleep_until(int64_t when)
{
	const struct timespec time = { when / (1000 * MS), when % (1000 * MS) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR)
		;
}

__attribute__((noinline)) static void work(uint64_t rounds)
{
	uint64_t value = rounds;

	while (rounds--)
		value = (value ^ rounds) * 0x100000001b3;
	__asm__ volatile("" : : "r"(value));
}

/* --- Threads --- */

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void give_hint(void)
{
	uint64_t *hint = tld_get(hint_key);

	if (!hint)
		fail("no hint can be given", errno);
	__atomic_store_n(hint, options.hint, __ATOMIC_RELAXED);
}

/* Rounds in a ms, of 20 equal parts the middle one: neither the luckiest nor what was disturbed. */
static void *calibrate(void *arg)
{
	enum { PARTS = 20 };
	const uint64_t rounds = 200000;
	struct thread *thread = arg;
	uint64_t took[PARTS];
	cpu_set_t one;

	/* The first moments are too short for threads to be spread. */
	CPU_ZERO(&one);
	CPU_SET(thread - threads, &one);
	pthread_setaffinity_np(pthread_self(), sizeof(one), &one);

	for (int i = 0; i < PARTS; i++) {
		int64_t from = now();

		work(rounds);
		took[i] = now() - from;
	}
	qsort(took, PARTS, sizeof(*took), compare);
	thread->rounds = rounds * MS / took[PARTS / 2];
	return NULL;
}

static void *wake(void *arg)
{
	struct thread *thread = arg;
	int64_t at = counts_from - WARM_UP, done;

	if (options.hint)
		give_hint();
	for (;;) {
		at += PAUSE_LEAST + rand_r(&thread->seed) % (PAUSE_MOST - PAUSE_LEAST);
		if (at >= counts_to || thread->samples == SAMPLES_MAX)
			return NULL;
		sleep_until(at);
		work(options.rounds / 5);
		done = now();
		if (at >= counts_from)
			thread->latency[thread->samples++] = done - at;
	}
}

static void *burn(void *arg)
{
	struct thread *thread = arg;
	int64_t at, before = 0;

	if (options.hint)
		give_hint();
	while ((at = now()) < counts_to) {
		if (at >= counts_from && !before)
			before = read_clock(CLOCK_THREAD_CPUTIME_ID);
		work(options.rounds / 10);
		if (at >= counts_from)
			thread->rounds += options.rounds / 10;
	}
	if (before)
		thread->cpu = read_clock(CLOCK_THREAD_CPUTIME_ID) - before;
	return NULL;
}

/* --- What became of it --- */

static void print_latencies(void)
{
	static uint64_t all[THREADS_MAX * 1024];
	size_t samples = 0;

	for (unsigned int i = 0; i < options.threads; i++)
		for (unsigned int j = 0; j < threads[i].samples && samples < THREADS_MAX * 1024; j++)
			all[samples++] = threads[i].latency[j];
	if (!samples)
		fail("nothing was measured", ETIME);
	qsort(all, samples, sizeof(*all), compare);
	printf("wakes %zu p50 %" PRIu64 " p90 %" PRIu64 " p99 %" PRIu64 " p999 %" PRIu64 " max %" PRIu64 "\n", samples,
	       all[samples / 2] / 1000, all[samples * 9 / 10] / 1000, all[samples * 99 / 100] / 1000,
	       all[samples * 999 / 1000] / 1000, all[samples - 1] / 1000);
}

static void print_calibration(void)
{
	uint64_t rounds = 0;

	for (unsigned int i = 0; i < options.threads; i++)
		rounds += threads[i].rounds;
	printf("%" PRIu64 "\n", rounds / options.threads);
}

/* What the work would have taken while calibrate looked, and what it took, of all, the mean and the least. */
static void print_work(void)
{
	uint64_t rounds = 0, cpu = 0, least = UINT64_MAX;

	for (unsigned int i = 0; i < options.threads; i++) {
		rounds += threads[i].rounds;
		cpu += threads[i].cpu;
		least = threads[i].cpu < least ? threads[i].cpu : least;
	}
	printf("work %" PRIu64 " cpu %" PRIu64 " mean %" PRIu64 " least %" PRIu64 "\n",
	       rounds * 1000 / options.rounds, cpu / 1000, cpu / options.threads / 1000, least / 1000);
}

static void run(void)
{
	static void *(*const of_mode[])(void *) = { calibrate, wake, burn };
	int err;

	counts_from = now() + WARM_UP;
	counts_to = counts_from + options.ms * MS;
	for (unsigned int i = 0; i < options.threads; i++) {
		threads[i].seed = i + 1;
		threads[i].latency = calloc(SAMPLES_MAX, sizeof(uint64_t));
		err = threads[i].latency ? pthread_create(&threads[i].id, NULL, of_mode[options.mode],
							  &threads[i]) : ENOMEM;
		if (err)
			fail("a thread cannot be started", err);
	}
	for (unsigned int i = 0; i < options.threads; i++)
		pthread_join(threads[i].id, NULL);
	if (options.mode == CALIBRATE)
		print_calibration();
	else if (options.mode == WAKE)
		print_latencies();
	else
		print_work();
}

/* --- Options --- */

static const struct argp_option argp_options[] = {
	{ "threads", 't', "N", 0, "How many (1)", 0 },
	{ "time", 'T', "MS", 0, "For how long (1000), after 300 ms that do not count", 0 },
	{ "rounds", 'r', "N", 0, "What calibrate said", 0 },
	{ "hint", 'H', "CLASS", 0, "interactive, normal or background; without it, no hint is given", 0 },
	{ "pin", 'p', "PATH", 0, "The scheduler's data map (" SCHED_HINT_PIN ")", 0 },
	{ "nice", 'n', "N", 0, "With that nice value", 0 },
	{ "uid", 'u', "UID", 0, "Become that user first", 0 },
	{ "gid", 'g', "GID", 0, "And of that group", 0 },
	{ 0 }
};

static uint64_t hint_of(const char *word, struct argp_state *state)
{
	static const char *const words[] = { "normal", "interactive", "background" };

	for (unsigned int i = 0; i < 3; i++)
		if (!strcmp(word, words[i]))
			return sched_hint(i, 0, 0);
	argp_error(state, "there is no class \"%s\"", word);
	return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	static const char *const modes[] = { "calibrate", "wake", "burn" };
	char *end = NULL;
	long long value = arg ? strtoll(arg, &end, 10) : 0;

	if (arg && key && strchr("tTrung", key) && (*end || end == arg))
		argp_error(state, "\"%s\" is no number", arg);
	switch (key) {
	case 't': options.threads = value; break;
	case 'T': options.ms = value; break;
	case 'r': options.rounds = value; break;
	case 'u': options.uid = value; break;
	case 'g': options.gid = value; break;
	case 'n': options.nice = value; break;
	case 'H': options.hint = hint_of(arg, state); break;
	case 'p': options.pin = arg; break;
	case ARGP_KEY_ARG:
		for (options.mode = CALIBRATE; strcmp(arg, modes[options.mode]); options.mode++)
			if (options.mode == BURN)
				argp_error(state, "\"%s\"?", arg);
		break;
	case ARGP_KEY_NO_ARGS:
		argp_usage(state);
		break;
	case ARGP_KEY_END:
		if (options.threads < 1 || options.threads > THREADS_MAX || options.ms < 1)
			argp_error(state, "1 to %d threads, at least 1 ms", THREADS_MAX);
		if (options.mode != CALIBRATE && !options.rounds)
			argp_error(state, "how many --rounds of work are there in a ms? \"calibrate\" tells");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp argp = {
	argp_options, parse, "calibrate|wake|burn", "Load for a scheduler, and what becomes of it.", NULL, NULL, NULL
};

int main(int argc, char **argv)
{
	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	prctl(PR_SET_TIMERSLACK, 1UL);
	if (setpriority(PRIO_PROCESS, 0, options.nice))
		fail("no such nice value", errno);
	if ((options.gid && setgid(options.gid)) || (options.uid && setuid(options.uid)))
		fail("cannot become that user", errno);
	if (options.hint) {
		int err = tld_follow(options.pin) ?: tld_follow_status(options.pin);

		if (err)
			fail(options.pin, -err);
	}
	run();
	return 0;
}
