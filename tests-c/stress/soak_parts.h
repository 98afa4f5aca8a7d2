/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * soak_parts.h - what goes on in soak.c beside the threads that come and go, each
 * part in a thread of its own. Included by soak.c alone.
 */
#ifndef TESTS_C_SOAK_PARTS_H
#define TESTS_C_SOAK_PARTS_H

#include <sys/mount.h>
#include "soak_lives.h"

#define ALL_SECONDS 1800.0
#define PROF_INTERVAL_NS 100000	/* 10 kHz */
#define PROF_SECONDS 30.0	/* in half an hour */

/* --- A thread that stores once, and makes no call after -------------------------------------- */

/* What happens to it, others do. */
static int resident_tid;

static void *reside(void *unused)
{
	struct timespec pause = { .tv_nsec = 20000000 };
	int tid = introduce(RESIDENT);

	store(-1);
	must_be_read(STEADY, "the resident thread");
	set(resident_tid, tid);
	while (!all_finished)
		nanosleep(&pause, NULL);
	expect_zeros();
	return unused;
}

/* --- Attach, detach -------------------------------------------------------------------------- */

static int detach_one_way(struct fuzz *fuzz, int map_fd)
{
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);
	int other, err;

	if (bpf_obj_get_info_by_fd(map_fd, &info, &size))
		tap_bail("a map's id can be had");
	if (fuzz_one_in(fuzz, 2))
		return tld_detach_id(info.id);
	other = fcntl(map_fd, F_DUPFD_CLOEXEC, 0);
	err = tld_detach(other);
	close(other);
	return err;
}

static void call_until(int (*call)(struct fuzz *, int), struct fuzz *fuzz, const char *what,
		       unsigned int *done)
{
	int err;

	for (int i = 0; i < 100 && (err = call(fuzz, watchers[FLAPPING].map_fd)) == -EAGAIN; i++)
		sched_yield();
	if (err)
		fault(bad_call, "%s: %s", what, strerror(-err));
	else
		add(*done);
}

static int attach_map(struct fuzz *unused, int map_fd)
{
	(void)unused;
	return tld_attach(map_fd);
}

static void *attach_and_detach(void *unused)
{
	struct fuzz fuzz = fuzz_sequence(seed, 1);
	struct timespec pause = { 0 };

	introduce(ATTACHER);
	while (!finish) {
		store(-1);
		call_until(attach_map, &fuzz, "tld_attach", &totals->attaches);
		must_be_read(FLAPPING, "after an attach");
		must_be_last(FLAPPING, resident_tid, "another thread, after an attach");
		pause.tv_nsec = fuzz_below(&fuzz, 40000000);
		nanosleep(&pause, NULL);
		store(-1);
		call_until(detach_one_way, &fuzz, "a detach", &totals->detaches);
		must_be_absent(FLAPPING, 0, "after a detach");
		must_be_absent(FLAPPING, resident_tid, "another thread, after a detach");
		must_be_last(STEADY, resident_tid, "another thread, where it is attached");
		pause.tv_nsec = fuzz_below(&fuzz, 20000000);
		nanosleep(&pause, NULL);
	}
	expect_zeros();
	return unused;
}

/* --- Follow ---------------------------------------------------------------------------------- */

#define BPFFS "/sys/fs/bpf"
#define PIN BPFFS "/hints"

/* A file system of this process's own, which goes with it. */
static void mount_bpffs(void)
{
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("bpf", BPFFS, "bpf", 0, "mode=0755"))
		tap_bail("a BPF file system can be mounted");
}

static void pin(void)
{
	if (bpf_obj_pin(watchers[PINNED].map_fd, PIN))
		tap_bail("a map can be pinned");
}

static void pinned_then_not(struct fuzz *fuzz)
{
	struct timespec pause = { .tv_nsec = 1000000 + fuzz_below(fuzz, 100000000) };

	pin();
	if (before_long(!tld_follow_status(PIN)))
		add(totals->follows);
	else
		fault(not_followed, "%s", strerror(-tld_follow_status(PIN)));
	must_be_read(PINNED, "after the pin was followed");
	must_be_last(PINNED, resident_tid, "another thread, after the pin was followed");
	nanosleep(&pause, NULL);
	store(-1);
	unlink(PIN);
	if (!before_long(look(PINNED, resident_tid) == SOAK_IS_ABSENT))
		fault(not_absent, "after the pin was gone");
}

static void followed_then_not(void)
{
	pin();
	if (tld_follow(PIN))
		fault(bad_call, "tld_follow");
	if (!tld_follow_status(PIN))
		add(totals->follows);
	else
		fault(not_followed, "at once: %s", strerror(-tld_follow_status(PIN)));
	must_be_read(PINNED, "after tld_follow()");
	if (tld_unfollow(PIN))
		fault(bad_call, "tld_unfollow");
	must_be_absent(PINNED, 0, "after tld_unfollow()");
	must_be_absent(PINNED, resident_tid, "another thread, after tld_unfollow()");
	unlink(PIN);
}

static void *follow(void *unused)
{
	struct fuzz fuzz = fuzz_sequence(seed, 2);

	introduce(FOLLOWER);
	while (!finish) {
		store(-1);
		if (tld_follow(PIN))
			fault(bad_call, "tld_follow");
		for (int i = 3; i-- && !finish; )
			pinned_then_not(&fuzz);
		if (tld_unfollow(PIN))
			fault(bad_call, "tld_unfollow");
		followed_then_not();
	}
	expect_zeros();
	return unused;
}

/* --- Fork ------------------------------------------------------------------------------------ */

/*
 * The child has its parent's pointers and values. It stores its own before it says
 * who it is, because from then on it is read.
 */
static void live_in_child(struct fuzz *fuzz, unsigned int number, bool stays)
{
	struct timespec pause = { .tv_nsec = 1000000 };
	unsigned int faults = totals->no_data + totals->not_last + totals->unpublished;

	introduce_child(number);
	store_words();
	must_be_read(STEADY, "in a child");
	for (int i = fuzz_below(fuzz, 20); i-- || stays; ) {
		store(fuzz_one_in(fuzz, 2) ? watchers[STEADY].map_fd : -1);
		if (fuzz_one_in(fuzz, 8)) {
			expect_zeros();
			tld_free();
			store(-1);
		}
		must_be_read(STEADY, "in a child");
		nanosleep(&pause, NULL);
	}
	_exit(totals->no_data + totals->not_last + totals->unpublished != faults);
}

static void fork_once(struct fuzz *fuzz)
{
	/* Above what the threads here will ever have. */
	unsigned int number = (1u << 27) + totals->forks;
	bool stays = fuzz_one_in(fuzz, 4);
	struct timespec pause = { .tv_nsec = 1000000 + fuzz_below(fuzz, 10000000) };
	pid_t child = fork();
	int status;

	if (!child)
		live_in_child(fuzz, number, stays);
	add(totals->forks);
	must_be_read(STEADY, "in the parent, after a fork");
	if (stays) {
		nanosleep(&pause, NULL);
		kill(child, SIGKILL);
	}
	if (child < 0 || waitpid(child, &status, 0) != child ||
	    (stays ? !WIFSIGNALED(status) : status != 0))
		fault(bad_child, "fork gives %d, status %#x", child, status);
}

static void *fork_often(void *unused)
{
	struct fuzz fuzz = fuzz_sequence(seed, 3);
	struct timespec pause = { .tv_nsec = 20000000 };

	introduce(FORKER);
	while (!finish) {
		store(-1);
		fork_once(&fuzz);
		nanosleep(&pause, NULL);
	}
	expect_zeros();
	return unused;
}

/* --- A dispatcher ---------------------------------------------------------------------------- */

#define HELD 64

static struct held {
	struct tld_thread_ref *ref;
	uint64_t *tag;
	unsigned int number;
	const struct life *life;
} held[HELD];

/*
 * A reference to the thread that the life is of. If the same thread has it afterwards, it
 * lived all the while, so its id was not another's.
 */
static void refer(struct fuzz *fuzz, struct held *to)
{
	const struct life *life = &lives[fuzz_below(fuzz, at_once)];
	unsigned int number = load(life->number);
	pid_t tid = load(life->tid);
	struct tld_thread_ref *ref;

	if (!number || !tid)
		return;
	ref = tld_ref_thread(tid);
	if (!ref && errno != ESRCH)
		fault(bad_call, "tld_ref_thread: %s", strerror(errno));
	if (!ref || load(life->number) != number) {
		tld_unref_thread(ref);
		return;
	}
	*to = (struct held){ ref, tld_ref_get(ref, tag_key), number, life };
	add(totals->references);
	if (!to->tag)
		fault(bad_call, "tld_ref_get: %s", strerror(errno));
}

/* The memory stays, also when its thread has ended, and is then nobody else's. */
static void dispatch(struct held *to, unsigned int seq)
{
	if (!to->tag)
		return;
	if (load(to->life->number) != to->number)
		add(totals->tags_to_the_dead);
	set(*to->tag, SOAK_WORD(SOAK_TAG, (uint64_t)to->number, seq));
}

static void *dispatch_all(void *unused)
{
	struct fuzz fuzz = fuzz_sequence(seed, 4);
	struct timespec pause = { .tv_nsec = 2000000 };
	unsigned int seq = 0;

	introduce(DISPATCHER);
	store(-1);
	while (!finish) {
		struct held *one = &fuzz_pick(&fuzz, held);

		tld_unref_thread(one->ref);
		*one = (struct held){ 0 };
		refer(&fuzz, one);
		seq++;
		for (int i = 0; i < HELD; i++)
			dispatch(&held[i], seq);
		nanosleep(&pause, NULL);
	}
	for (int i = 0; i < HELD; i++)
		tld_unref_thread(held[i].ref);
	expect_zeros();
	return unused;
}

/* --- A profiler ------------------------------------------------------------------------------ */

static volatile bool profiling;

/* Wherever the thread is, its own memory, or the word that the library is busy. */
static void on_prof(int signal)
{
	int err = errno;
	uint64_t *word = (errno = 0, tld_get(prof_key));

	(void)signal;
	if (!word) {
		add(totals->prof_refused);
		if (errno != EAGAIN)
			add(totals->bad_call);
	} else if ((char *)word != tld_self.base + prof_key.off) {
		add(totals->wrong_address);
	} else {
		add(totals->prof_served);
		set(*word, SOAK_WORD(SOAK_PROF, (uint64_t)self.number, 1));
	}
	errno = err;
}

static timer_t start_timer(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGPROF };
	struct itimerspec every = { { 0, PROF_INTERVAL_NS }, { 0, PROF_INTERVAL_NS } };
	timer_t timer;

	event._sigev_un._tid = gettid();
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &every, NULL))
		tap_bail("a timer can be started");
	return timer;
}

static void *be_profiled(void *slot)
{
	struct fuzz fuzz = fuzz_sequence(seed, 100 + (uintptr_t)slot);
	struct life life = { .is_short = true };
	timer_t timer;

	introduce((uintptr_t)slot);
	store(-1);
	timer = start_timer();
	while (load(profiling)) {
		one_step(&fuzz, &life);
		check_gift(get(-1, prof_key), SOAK_PROF);
		if (fuzz_one_in(&fuzz, 8)) {
			expect_zeros();
			tld_free();
		}
	}
	timer_delete(timer);
	expect_zeros();
	return NULL;
}

static void *profile(void *unused)
{
	struct sigaction action = { .sa_handler = on_prof, .sa_flags = SA_RESTART };
	double until, seconds = PROF_SECONDS * all_seconds / ALL_SECONDS;
	struct timespec pause = { .tv_nsec = 10000000 };
	pthread_t threads[PROF_THREADS];

	while (!finish && seconds_now() - begin < all_seconds / 4)
		nanosleep(&pause, NULL);
	until = seconds_now() + (seconds > PROF_SECONDS ? PROF_SECONDS : seconds);
	sigaction(SIGPROF, &action, NULL);
	profiling = true;
	for (int i = 0; i < PROF_THREADS; i++)
		threads[i] = start_on(be_profiled, (void *)(intptr_t)(PROF + i), PROF + i);
	while (!finish && seconds_now() < until)
		nanosleep(&pause, NULL);
	set(profiling, false);
	for (int i = 0; i < PROF_THREADS; i++)
		end_thread(threads[i]);
	return unused;
}

#endif
