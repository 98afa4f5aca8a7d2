/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * bench.h - what the programs of make bench share: the clock, how figures are printed
 * for bench.py, and peers that take turns.
 *
 * Each program is one round: it prints "name<TAB>value<TAB>unit" lines and exits with 0.
 * What cannot be measured here is "name<TAB>-<TAB>reason"; what goes wrong ends it.
 */
#ifndef TESTS_C_BENCH_H
#define TESTS_C_BENCH_H

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Both user headers get as much: 63 TLDs of 8 bytes, all that a 4 KiB page can define. */
#define BENCH_KEYS 63
#define BENCH_DYN_DATA_SIZE (8 * BENCH_KEYS)

static inline uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * UINT64_C(1000000000) + now.tv_nsec;
}

static inline void figure(const char *name, double value, const char *unit)
{
	printf("%s\t%.6g\t%s\n", name, value, unit);
}

static inline void no_figure(const char *name, const char *reason)
{
	printf("%s\t-\t%s\n", name, reason);
}

__attribute__((noreturn, format(printf, 1, 2), unused))
static void die(const char *format, ...)
{
	int err = errno;
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	if (err)
		fprintf(stderr, " (errno %d: %s)", err, strerror(err));
	fputc('\n', stderr);
	exit(1);
}

/* The @nth processor that this program may use, from 0; -1 if there are fewer. */
__attribute__((unused))
static int processor(int nth)
{
	cpu_set_t allowed;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		die("sched_getaffinity");
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &allowed) && !nth--)
			return cpu;
	return -1;
}

__attribute__((unused))
static void pin_to(int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		die("sched_setaffinity");
}

/*
 * Something done very often in a loop. run() gives the nanoseconds that @times took. The
 * shortest of many short turns counts: what the machine did beside only adds.
 */
struct contender {
	const char *name;
	uint64_t (*run)(const struct contender *self);
	const void *arg;	/* run()'s own */
	uint64_t times;
	uint64_t best;
};

__attribute__((unused))
static void take_turns(struct contender *contenders, int count, int turns)
{
	for (int i = 0; i < count; i++) {
		contenders[i].best = UINT64_MAX;
		contenders[i].run(&contenders[i]); /* warms caches up */
	}
	for (int turn = 0; turn < turns; turn++) {
		for (int i = 0; i < count; i++) {
			uint64_t ns = contenders[i].run(&contenders[i]);

			if (ns < contenders[i].best)
				contenders[i].best = ns;
		}
	}
	for (int i = 0; i < count; i++)
		figure(contenders[i].name, (double)contenders[i].best / contenders[i].times, "ns");
}

static int compare_samples(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* For what cannot be done over and over in a loop. Sorts the samples, nanoseconds. */
__attribute__((unused))
static void median_figure(const char *name, double *samples, int count)
{
	qsort(samples, count, sizeof(*samples), compare_samples);
	figure(name, samples[count / 2], "ns");
}

#endif
