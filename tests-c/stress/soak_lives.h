/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * soak_lives.h - the threads that come and go in soak.c, long ones and short ones, and
 * where they are kept. Included by soak.c alone.
 */
#ifndef TESTS_C_SOAK_LIVES_H
#define TESTS_C_SOAK_LIVES_H

#include "soak_self.h"

#define STACK (UNDER_SANITIZER ? 512 * 1024 : 64 * 1024)

enum life_state { FREE, ALIVE, ENDED };

static struct life {
	pthread_t thread;
	enum life_state state;
	bool to_end, is_short, cancelled;
	pid_t tid;
	unsigned int number;	/* set while the thread has its memory */
} lives[2000];

static char *stacks;
static unsigned int alive;

/* Also where it is cancelled. Its memory is cleared from here on. */
static void end_life(void *life)
{
	set(((struct life *)life)->number, 0);
	expect_zeros();
	set(((struct life *)life)->state, ENDED);
}

static void one_step(struct fuzz *fuzz, struct life *life)
{
	switch (fuzz_below(fuzz, 16)) {
	case 0:
		expect_zeros();
		tld_free();
		return;
	case 1:
		/* Published there until a detach. */
		store(watchers[FLAPPING].map_fd);
		break;
	case 2:
		store(watchers[STEADY].map_fd);
		break;
	default:
		store(-1);
	}
	set(life->number, self.number);
	if (fuzz_one_in(fuzz, 4))
		must_be_read(STEADY, "a thread of a wave");
}

static void rest(struct fuzz *fuzz, const struct life *life)
{
	struct timespec pause = { .tv_nsec = 1 };

	if (!life->is_short)
		pause.tv_nsec += 20000000 + fuzz_below(fuzz, 300000000);
	nanosleep(&pause, NULL);
}

static void *live(void *arg)
{
	struct life *life = arg;
	int steps = -1;
	struct fuzz fuzz;

	pthread_cleanup_push(end_life, life);
	set(life->tid, gettid());
	introduce(life - lives);
	fuzz = fuzz_sequence(seed, 1000 + self.number);
	if (life->is_short)
		steps = fuzz_below(&fuzz, 4);
	while (steps-- && !load(life->to_end)) {
		one_step(&fuzz, life);
		rest(&fuzz, life);
	}
	pthread_cleanup_pop(1);
	if (fuzz_one_in(&fuzz, 4))
		pthread_exit(NULL);
	return NULL;
}

static pthread_t start_on(void *(*body)(void *), void *arg, unsigned int slot)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	/* Stacks of our own: those of glibc come and go with its cache. */
	pthread_attr_setstack(&attr, stacks + (size_t)slot * STACK, STACK);
	errno = pthread_create(&thread, &attr, body, arg);
	if (errno)
		tap_bail("a thread starts");
	pthread_attr_destroy(&attr);
	return thread;
}

static bool start_life(bool is_short)
{
	static unsigned int next;

	for (unsigned int i = 0; i < at_once; i++) {
		struct life *life = &lives[next++ % at_once];

		if (load(life->state) != FREE)
			continue;
		*life = (struct life){ .state = ALIVE, .is_short = is_short };
		life->thread = start_on(live, life, life - lives);
		totals->threads++;
		if (++alive > totals->most_alive)
			totals->most_alive = alive;
		return true;
	}
	return false;
}

static void end_one(struct fuzz *fuzz)
{
	struct life *life = &lives[fuzz_below(fuzz, at_once)];

	if (load(life->state) != ALIVE || life->to_end)
		return;
	set(life->to_end, true);
	if (fuzz_one_in(fuzz, 4)) {
		life->cancelled = true;
		pthread_cancel(life->thread);
	}
}

static void reap(void)
{
	for (unsigned int i = 0; i < at_once; i++) {
		if (load(lives[i].state) != ENDED)
			continue;
		end_thread(lives[i].thread);
		lives[i].state = FREE;
		alive--;
	}
}

#endif
