/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * worker.h - a thread that does what the test tells it, one step after the other: what
 * it has called so far, and when, is the test's choice.
 */
#ifndef TESTS_C_WORKER_H
#define TESTS_C_WORKER_H

#include <semaphore.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "threads.h"

/* How a worker ends. Without destructors, nothing tells libtld of it. */
enum worker_end { WORKER_RETURNS, WORKER_ENDS_WITHOUT_DESTRUCTORS };

struct worker {
	pthread_t thread;
	pid_t tid;
	sem_t told, done;
	void *(*step)(void *);	/* NULL: end */
	void *arg, *result;
	enum worker_end end;
};

/* A signal that a handler takes may end a wait early. */
static void worker_wait(sem_t *semaphore)
{
	while (sem_wait(semaphore))
		;
}

static void *worker_body(void *arg)
{
	struct worker *worker = arg;

	worker->tid = gettid();
	sem_post(&worker->done);
	for (;;) {
		worker_wait(&worker->told);
		if (!worker->step)
			break;
		worker->result = worker->step(worker->arg);
		sem_post(&worker->done);
	}
	if (worker->end == WORKER_ENDS_WITHOUT_DESTRUCTORS)
		syscall(SYS_exit, 0);
	return NULL;
}

/* When this returns the worker waits; it has called nothing of libtld. */
__attribute__((unused))
static void worker_start(struct worker *worker)
{
	sem_init(&worker->told, 0, 0);
	sem_init(&worker->done, 0, 0);
	worker->thread = start_thread(worker_body, worker);
	worker_wait(&worker->done);
}

/* Have the worker call a function; returns when that has, with its result. */
__attribute__((unused))
static void *worker_do(struct worker *worker, void *(*step)(void *), void *arg)
{
	worker->step = step;
	worker->arg = arg;
	sem_post(&worker->told);
	worker_wait(&worker->done);
	return worker->result;
}

__attribute__((unused))
static void worker_end(struct worker *worker, enum worker_end end)
{
	worker->step = NULL;
	worker->end = end;
	sem_post(&worker->told);
	end_thread(worker->thread);
	sem_destroy(&worker->told);
	sem_destroy(&worker->done);
}

#endif
