/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * threads.h - threads of a test: one that runs a function to its end, and waiting
 * for what another thread or BPF program does, with a deadline instead of a sleep.
 */
#ifndef TESTS_C_THREADS_H
#define TESTS_C_THREADS_H

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include "often.h"
#include "tap.h"

/* Long enough for a loaded machine; reached only by a test that fails. */
#define DEADLINE_SECONDS patience(10 * FEWER)

__attribute__((unused))
static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec * 1e-9;
}

/* Yield until the condition holds: false if that takes longer than the deadline. */
#define eventually(condition)						\
({									\
	double until__ = seconds_now() + DEADLINE_SECONDS;		\
	bool met__;							\
	while (!(met__ = (condition)) && seconds_now() < until__)	\
		sched_yield();						\
	met__;								\
})

/* For what is to happen at the same moment, or while a BPF program goes on. */
__attribute__((unused))
static bool have_two_processors(void)
{
	cpu_set_t processors;

	return !sched_getaffinity(0, sizeof(processors), &processors) &&
	       CPU_COUNT(&processors) >= 2;
}

__attribute__((unused))
static pthread_t start_thread(void *(*body)(void *), void *arg)
{
	pthread_t thread;

	errno = pthread_create(&thread, NULL, body, arg);
	if (errno)
		tap_bail("a thread starts");
	return thread;
}

__attribute__((unused))
static void *end_thread(pthread_t thread)
{
	void *result;

	errno = pthread_join(thread, &result);
	if (errno)
		tap_bail("a thread is joined");
	return result;
}

/* Run a function in a thread of its own, to the thread's end. */
__attribute__((unused))
static void *in_thread(void *(*body)(void *), void *arg)
{
	return end_thread(start_thread(body, arg));
}

#endif
