// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * profiler.c - what a sampling profiler does: SIGPROF, 10,000 times a second in each of
 * 8 threads, whose handler counts its samples in a TLD while the threads make calls
 * of every kind. BPF reads the counts. 2 seconds; "--soak SECONDS" goes on for so long.
 */
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "maps.h"
#include "often.h"
#include "reader.h"
#include "threads.h"
#include "tld.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define THREADS 8
#define INTERVAL_NS (100000 * SLOWER)
#define HANDLER_STACK 65536

static struct reader *reader, *second;
static tld_key_t samples_key, tag_key, own_key;
static double seconds = SLOWER > 1 ? 1 : 2;
static volatile bool stop;

struct profiled {
	uint64_t tag;
	uint64_t *tags;			/* where it was when the thread had it first */
	uint64_t samples;		/* what the TLD is to say */
	uint64_t missed, wrong;		/* in the handler */
	uint64_t calls, failed, seen;	/* in the thread */
	pid_t tid;
};
static struct profiled threads[THREADS];
static __thread struct profiled *self;

/* --- The profiler -------------------------------------------------------------------- */

/* The thread has used both keys before, so the fast path serves them, whatever it is at. */
static void sample(int signal)
{
	struct profiled *mine = self;
	int err = errno;
	uint64_t *samples = tld_get(samples_key), *tag = tld_get(tag_key);

	(void)signal;
	if (!samples || !tag) {
		mine->missed++;
	} else if (tag != mine->tags || *tag != mine->tag || *samples != mine->samples) {
		mine->wrong++;
	} else {
		++*samples;
		mine->samples++;
	}
	errno = err;
}

static timer_t start_sampling(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGPROF };
	struct itimerspec interval = { { 0, INTERVAL_NS }, { 0, INTERVAL_NS } };
	timer_t timer;

	event.sigev_notify_thread_id = gettid();
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) ||
	    timer_settime(timer, 0, &interval, NULL))
		tap_bail("a timer that signals a thread");
	return timer;
}

static void handle_samples(void)
{
	struct sigaction action = { .sa_handler = sample, .sa_flags = SA_RESTART | SA_ONSTACK };

	if (sigaction(SIGPROF, &action, NULL))
		tap_bail("a handler can be set");
}

/* --- The threads ------------------------------------------------------------------------- */

static bool create_key(void)
{
	return tld_create_key("own", 8).off == -EEXIST && tld_find_key("own").off == own_key.off;
}

static bool get_in_second(void)
{
	return tld_get_data(reader_map_fd(second), own_key) != NULL;
}

static bool get_in_first(void)
{
	return tld_get_data(reader_map_fd(reader), own_key) != NULL;
}

static bool publish(void)
{
	return !tld_publish();
}

/* The threads' detaching crosses: whose map it is at the end is open. */
static bool attach_second(void)
{
	return !tld_attach(reader_map_fd(second));
}

static bool detach_second(void)
{
	int err = tld_detach(reader_map_fd(second));

	return !err || err == -ENOENT;
}

static bool refer(void)
{
	struct tld_thread_ref *ref = tld_ref_thread(threads[0].tid);
	bool good = ref && tld_ref_get(ref, tag_key) == threads[0].tags;

	tld_unref_thread(ref);
	return good;
}

static bool status(void)
{
	return tld_follow_status("/nothing") == -ENOENT;
}

static bool (*const calls[])(void) = {
	create_key, get_in_second, get_in_first, publish, attach_second, detach_second, refer,
	status,
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

static bool share(struct profiled *mine)
{
	uint64_t *samples = tld_get(samples_key);

	mine->tid = gettid();
	mine->tags = tld_get(tag_key);
	if (!samples || !mine->tags || !tld_get(own_key))
		return false;
	*mine->tags = mine->tag;
	return true;
}

static pthread_barrier_t all_share, all_are_read;

static void *run_profiled(void *arg)
{
	static char stacks[THREADS][HANDLER_STACK];
	struct profiled *mine = self = arg;
	stack_t stack = { .ss_sp = stacks[mine - threads], .ss_size = HANDLER_STACK }, old;
	timer_t timer;

	if (sigaltstack(&stack, &old) || !share(mine))
		tap_bail("a thread has TLDs and a signal stack");
	pthread_barrier_wait(&all_share);
	timer = start_sampling();
	for (; !stop || mine->calls < CALLS; mine->calls++)
		mine->failed += !calls[(mine->calls + mine->tag) % CALLS]();
	timer_delete(timer);
	/* One that was sent before may still come. */
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	sigaltstack(&old, NULL);
	mine->seen = reader_u64(reader, 0, "samples");
	pthread_barrier_wait(&all_are_read);
	return NULL;
}

static void profile(void)
{
	pthread_t running[THREADS];
	struct profiled all = { 0 };
	int miscounted = 0, idle = 0;

	alarm((unsigned int)seconds + CASE_SECONDS);
	samples_key = tld_create_key("samples", 8);
	tag_key = tld_create_key("tag", 8);
	own_key = tld_create_key("own", 8);
	if (tld_attach(reader_map_fd(reader)))
		tap_bail("a map can be attached");
	handle_samples();
	pthread_barrier_init(&all_share, NULL, THREADS);
	pthread_barrier_init(&all_are_read, NULL, THREADS);
	for (int i = 0; i < THREADS; i++) {
		threads[i].tag = 0x7a90000 + i;
		running[i] = start_thread(run_profiled, &threads[i]);
	}
	sleep((unsigned int)seconds);
	stop = true;
	for (int i = 0; i < THREADS; i++) {
		end_thread(running[i]);
		all.samples += threads[i].samples;
		all.missed += threads[i].missed;
		all.wrong += threads[i].wrong;
		all.calls += threads[i].calls;
		all.failed += threads[i].failed;
		miscounted += threads[i].seen != threads[i].samples;
		idle += !threads[i].samples;
	}
	diag("%lu samples, %.0f a second and thread; %lu calls", all.samples,
	     all.samples / seconds / THREADS, all.calls);
	is(idle, 0, "%d threads are sampled and make calls", THREADS);
	is(all.missed, 0, "in the handler tld_get always has the thread's TLDs");
	is(all.wrong, 0, "which hold what the thread and earlier samples stored");
	is(all.failed, 0, "the calls that are interrupted have their results");
	is(miscounted, 0, "BPF reads of each thread as many samples as were taken");
	is(reader_elements(reader, NULL), 0, "nothing is left of the threads");
}

int main(int argc, char **argv)
{
	reader_need_kernel();
	if (argc == 3 && !strcmp(argv[1], "--soak"))
		seconds = atof(argv[2]);
	else if (argc != 1)
		tap_bail("usage: profiler [--soak SECONDS]");
	reader = reader_open(READER_V2);
	second = reader_open(READER_V2);
	in_child(profile);
	reader_close(second);
	reader_close(reader);
	return tap_done();
}
