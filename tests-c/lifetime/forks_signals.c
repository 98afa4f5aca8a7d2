// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * forks_signals.c - fork(2) in a signal handler, also in one that interrupted a call of
 * the library: that call goes on in both processes when the handlers return. The child
 * is held back until its parent has finished the call and stored a value, so that
 * whatever the child does then to its parent's element would show.
 *
 * A timer signals so often that it hits every stretch of the calls; it is mostly
 * at the end of a system call that a signal is taken.
 */
#include <time.h>
#include <unistd.h>

#include "tld.h"

#include "forks.h"
#include "maps.h"
#include "reader.h"
#include "threads.h"
#include "traps.h"

/* For each kind of call; with a sanitizer's memory to copy, each fork takes long. */
#define FORKS (UNDER_SANITIZER ? 20 : SOME(80))
#define TIMER_NS (53000 * SLOWER)

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static struct reader *reader, *second;
static tld_key_t key;
static uint64_t *data;

/* Shared by both processes. */
struct rendezvous {
	int go;			/* the parent has stored its value */
	uint64_t value;
};
static struct rendezvous *rendezvous;

static volatile sig_atomic_t armed, forked, is_child;
static volatile pid_t parent, child;
static unsigned int inside;	/* of the forks, those in a call of the library */

static uint64_t value_of(pid_t tid)
{
	return reader_u64(reader, tid, "value");
}

/* --- The handler ------------------------------------------------------------------- */

/* All calls but the fast path say EAGAIN in a handler that interrupted one. */
static bool interrupted_library(void)
{
	return tld_follow_status("/nothing") == -EAGAIN;
}

static void fork_and_hold_back(void)
{
	pid_t pid;

	forked = true;
	pid = fork();
	if (pid) {
		child = pid;
	} else {
		is_child = true;
		alarm(CHILD_SECONDS);
		check(eventually(__atomic_load_n(&rendezvous->go, __ATOMIC_ACQUIRE)));
	}
}

static void fork_here(int signal)
{
	int saved = errno;

	(void)signal;
	if (armed) {
		armed = false;
		inside += interrupted_library();
		fork_and_hold_back();
	}
	errno = saved;
}

static timer_t start_timer(void)
{
	struct sigaction action = { .sa_handler = fork_here, .sa_flags = SA_RESTART };
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
	struct itimerspec interval = { { 0, TIMER_NS }, { 0, TIMER_NS } };
	timer_t timer;

	event.sigev_notify_thread_id = gettid();
	if (sigaction(SIGUSR1, &action, NULL) || timer_create(CLOCK_MONOTONIC, &event, &timer) ||
	    timer_settime(timer, 0, &interval, NULL))
		tap_bail("a timer that signals this thread");
	return timer;
}

/* --- What it interrupts ---------------------------------------------------------------- */

static void free_and_get(void)
{
	tld_free();
	tld_get(key);
}

static void get_data_and_detach(void)
{
	tld_get_data(reader_map_fd(second), key);
	tld_detach(reader_map_fd(second));
}

static void attach_and_detach(void)
{
	tld_attach(reader_map_fd(second));
	tld_detach(reader_map_fd(second));
}

static void detach_and_attach(void)
{
	tld_detach(reader_map_fd(reader));
	tld_attach(reader_map_fd(reader));
	tld_publish();
}

static void create(void)
{
	static unsigned int count;
	char name[16];

	/* The budget is soon spent; asking goes on. */
	snprintf(name, sizeof(name), "key %u", count++ % 50);
	tld_create_key(name, 1);
}

static void refer(void)
{
	struct tld_thread_ref *ref = tld_ref_thread(gettid());

	if (ref)
		tld_unref_thread(ref);
}

static const struct interrupted {
	const char *name;
	void (*call)(void);
	bool clears;		/* the thread's values, at times */
	bool detaches;		/* the map in which it is looked at, at times */
} kinds[] = {
	{ "tld_free and tld_get", free_and_get, true, false },
	{ "tld_get_data", get_data_and_detach, false, false },
	{ "tld_attach and tld_detach", attach_and_detach, false, false },
	{ "tld_detach, tld_attach and tld_publish", detach_and_attach, false, true },
	{ "tld_create_key", create, false, false },
	{ "tld_ref_thread", refer, false, false },
};

/* --- What comes of it ------------------------------------------------------------------ */

/*
 * The handler has returned, and so has the call that it had interrupted, in the child maybe
 * with EAGAIN.
 */
static void child_goes_on(const struct interrupted *kind, uint64_t value)
{
	check(value_of(parent) == rendezvous->value);
	check(kind->clears || *data == value);
	check(!kind->detaches || !tld_attach(reader_map_fd(reader)));
	errno = -tld_publish();
	check(!errno);
	check(tld_get(key) == data);
	*data = 8;
	check(value_of(0) == 8);
	check(value_of(parent) == rendezvous->value);
	tld_free();
	check(!reader_sees(reader, 0));
	check(!tld_attach(reader_map_fd(second)) && tld_get(key) == data && reader_sees(second, 0));
	check(!tld_detach(reader_map_fd(second)) && !tld_detach(reader_map_fd(reader)));
	check(!reader_sees(reader, 0) && !reader_sees(second, 0));
	check(value_of(parent) == rendezvous->value);
	_exit(0);
}

/* One fork. False if the parent is not as it should be, with or without its child. */
static bool parent_goes_on(uint64_t value, unsigned int *children_wrong)
{
	bool good = tld_get(key) == data;

	*data = value;
	good = good && value_of(0) == value;
	rendezvous->value = value;
	__atomic_store_n(&rendezvous->go, 1, __ATOMIC_RELEASE);
	*children_wrong += !was_right(child);
	good = good && value_of(0) == value && !tld_publish() && tld_get(key) == data;
	*data = value + 1;
	return good && value_of(0) == value + 1;
}

static void fork_in(const struct interrupted *kind)
{
	unsigned int wrong = 0, children_wrong = 0, before = inside;

	for (uint64_t value = 1000; value < 1000 + 2 * FORKS; value += 2) {
		*data = value;
		rendezvous->go = 0;
		forked = false;
		armed = true;
		while (!forked)
			kind->call();
		if (is_child)
			child_goes_on(kind, value);
		wrong += !parent_goes_on(value + 1, &children_wrong);
	}
	diag("%s: %u of %u forks were in a call", kind->name, inside - before, FORKS);
	ok(inside - before > 0, "%s: calls are interrupted by handlers that fork", kind->name);
	is(children_wrong, 0, "%s: each child is seen from its next call on, as itself",
	   kind->name);
	is(wrong, 0, "%s: each parent is seen on, whatever the child does", kind->name);
}

static void open_process(void)
{
	report_open();
	rendezvous = mmap(NULL, sizeof(*rendezvous), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (rendezvous == MAP_FAILED)
		tap_bail("a page to meet in");
	parent = gettid();
	key = tld_create_key("value", sizeof(*data));
	if (tld_attach(reader_map_fd(reader)))
		tap_bail("a map can be attached");
	data = tld_get(key);
	if (!data)
		tap_bail("a thread gets its TLD");
}

static void leave_nothing(int descriptors)
{
	tld_detach(reader_map_fd(second));
	is(reader_elements(reader, NULL), 1, "of all of them the parent is left in the map");
	is(reader_elements(second, NULL), 0, "none in the other");
	is(open_descriptors(), descriptors, "no descriptor was leaked");
}

static void one_thread(void)
{
	timer_t timer;
	int descriptors;

	open_process();
	descriptors = open_descriptors();
	timer = start_timer();
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		fork_in(&kinds[i]);
	timer_delete(timer);
	leave_nothing(descriptors);
}

/* --- ... and another thread has the lock ------------------------------------------------- */

static volatile bool stop_thread;

static void *hold_locks(void *unused)
{
	uint64_t *mine;

	(void)unused;
	while (!stop_thread) {
		tld_free();
		mine = tld_get(key);
		if (mine)
			*mine = 5;
		create();
	}
	return NULL;
}

static void beside_a_thread(void)
{
	pthread_t thread;
	timer_t timer;

	open_process();
	thread = start_thread(hold_locks, NULL);
	timer = start_timer();
	for (int i = 0; i < 3; i++)
		fork_in(&kinds[i]);
	timer_delete(timer);
	stop_thread = true;
	end_thread(thread);
	is(reader_elements(reader, NULL), 1, "beside another thread that calls, too");
}

/* --- ... and what it interrupts is a fork ------------------------------------------------ */

#ifdef __x86_64__

/*
 * The library's handlers of fork are between ours: of those that prepare, the ones
 * registered last come first, of the others the first ones.
 */
enum stretch { NOWHERE, PREPARING, IN_PARENT, IN_CHILD };
static const char *const stretch_names[] = {
	"", "before it forks", "in its parent", "in its child",
};
static enum stretch stretch;
static unsigned long instructions, fork_at;

static void enter_stretch(enum stretch here)
{
	if (stretch == here)
		trap_on();
}

static void leave_stretch(enum stretch here)
{
	if (stretch != here || !trapping)
		return;
	trap_off();
	rendezvous->value = traps; /* of the child's stretch, only the child knows */
}

static void late_prepare(void) { enter_stretch(PREPARING); }
static void early_prepare(void) { leave_stretch(PREPARING); }
static void early_parent(void) { enter_stretch(IN_PARENT); }
static void late_parent(void) { leave_stretch(IN_PARENT); }
static void early_child(void) { enter_stretch(IN_CHILD); }
static void late_child(void) { leave_stretch(IN_CHILD); }

/* Before any library's constructor, and with it before libtld's own. */
static void register_early(void)
{
	pthread_atfork(early_prepare, early_parent, early_child);
}

__attribute__((section(".preinit_array"), used))
static void (*const early)(void) = register_early;

/* The fork inside is not stepped through. */
static void fork_at_trap(unsigned long number)
{
	if (number != fork_at)
		return;
	trap_off();
	stretch = NOWHERE;
	fork_and_hold_back();
}

/* The process that called fork(), each copy of it, and their children all end up here. */
static void check_itself(uint64_t value)
{
	errno = -tld_publish();
	check(!errno);
	check(tld_get(key) == data);
	*data = value;
	check(value_of(0) == value);
	check(tld_key_is_err(tld_create_key("value", sizeof(*data))));
}

/* Let the process that the handler made go on, to its end. */
static void wait_for_inner(void)
{
	int status = -1;

	__atomic_store_n(&rendezvous->go, 1, __ATOMIC_RELEASE);
	check(waitpid(child, &status, 0) == child && !status);
}

/* What the outer fork made, or, forked in its child, a copy of that. */
static void outer_child(enum stretch where)
{
	alarm(CHILD_SECONDS);
	check_itself(10);
	if (where == IN_CHILD && forked && !is_child)
		wait_for_inner();
	_exit(0);
}

/* A copy of the process that called fork(): it has a child of its own if it was made before. */
static void copied_caller(enum stretch where, pid_t pid)
{
	int status = 0;

	check_itself(9);
	if (where == PREPARING)
		check(waitpid(pid, &status, 0) == pid && !status);
	_exit(0);
}

/* Fork, and at one instruction of the library's handlers fork in a signal handler. */
static bool fork_in_fork(enum stretch where)
{
	pid_t pid, outer = getpid();

	rendezvous->go = 0;
	child = 0;
	forked = is_child = false;
	stretch = where;
	pid = fork();
	stretch = NOWHERE;
	if (!pid)
		outer_child(where);
	if (getpid() != outer)
		copied_caller(where, pid);
	check_itself(7);
	if (child)
		wait_for_inner();
	if (!was_right(pid))
		return false;
	return value_of(0) == 7 && reader_elements(reader, NULL) == 1;
}

#define PLACES (UNDER_SANITIZER ? 10 : SOME(40))

static void interrupt_fork(enum stretch where)
{
	int wrong = 0;

	fork_at = -1;
	if (!fork_in_fork(where))
		tap_bail("a fork that is traced works");
	instructions = rendezvous->value;
	for (fork_at = 0; fork_at < instructions; fork_at += instructions / PLACES + 1)
		wrong += !fork_in_fork(where);
	diag("%lu instructions %s", instructions, stretch_names[where]);
	ok(instructions > 50, "the library's handlers of fork are interrupted %s",
	   stretch_names[where]);
	is(wrong, 0,
	   "if that forks too, all the processes are seen from their next call on, as themselves");
}

static void fork_in_a_fork(void)
{
	open_process();
	pthread_atfork(late_prepare, late_parent, late_child);
	trap_with(fork_at_trap);
	interrupt_fork(PREPARING);
	interrupt_fork(IN_PARENT);
	interrupt_fork(IN_CHILD);
}

#else

static void fork_in_a_fork(void)
{
	tap_skip("a fork is interrupted by a handler that forks",
		 "this processor's trap flag is not known to the test");
}

#endif

int main(void)
{
	reader_need_kernel();
	reader = reader_open(READER_V2);
	second = reader_open(READER_V2);
	in_child(one_thread);
	in_child(beside_a_thread);
	in_child(fork_in_a_fork);
	reader_close(second);
	reader_close(reader);
	return tap_done();
}
