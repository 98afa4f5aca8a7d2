// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * follow_signals.c - tld_follow(), tld_unfollow() and tld_follow_status() in a handler
 * that interrupted one of them: they say -EAGAIN wherever the library is busy, and
 * work elsewhere. The processor's trap flag makes a signal after every instruction.
 */
#include <signal.h>
#include <ucontext.h>
#include "follow.h"

#ifdef __x86_64__

#define ERRNO_MARK 12345
#define TRAP_FLAG 0x100

static bool trapping;
static unsigned long traps, busy, worked, wrong, wrong_errno;

/* The red zone of the function that this is inlined in is stepped over. */
static inline __attribute__((always_inline)) void trap_on(void)
{
	trapping = true;
	__asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; orq %0, (%%rsp); popfq; "
			 "lea 128(%%rsp), %%rsp" : : "i"(TRAP_FLAG) : "memory", "cc");
}

static inline __attribute__((always_inline)) void trap_off(void)
{
	trapping = false;
}

static void count(int result)
{
	busy += result == -EAGAIN;
	worked += !result;
	wrong += result && result != -EAGAIN;
}

/* No first follow and no last unfollow: those of a thread's start and end are too many. */
static void follow_in_handler(void)
{
	int followed;

	errno = ERRNO_MARK;
	count(tld_follow_status(PIN));
	followed = tld_follow(PIN);
	count(followed);
	if (!followed)
		count(tld_unfollow(PIN));
	else
		busy += tld_unfollow(PIN) == -EAGAIN;
	wrong_errno += errno != ERRNO_MARK;
}

/* Without the flag in the interrupted context the next instruction does not trap. */
static void trapped(int signal, siginfo_t *info, void *context)
{
	ucontext_t *interrupted = context;
	int err = errno;

	(void)signal;
	(void)info;
	if (trapping) {
		traps++;
		follow_in_handler();
	} else {
		interrupted->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
	}
	errno = err;
}

static int map;

static void begin(void)
{
	struct sigaction action = { .sa_sigaction = trapped, .sa_flags = SA_SIGINFO };

	map = data_map(V2_SIZE);
	make_place();
	start_crew();
	pin(map, PIN);
	must(tld_follow(PIN));
	must(sigaction(SIGTRAP, &action, NULL));
}

static void judge(const char *call, int result)
{
	diag("%lu instructions, %lu calls told -EAGAIN, %lu that worked", traps, busy, worked);
	is(result, 0, "%s works where it is interrupted after each instruction", call);
	ok(traps > 50, "a handler runs after each instruction of %s", call);
	ok(busy > 0, "its calls are told -EAGAIN while %s is inside the library", call);
	ok(worked > 0, "they work while it is not");
	is(wrong, 0, "they say nothing else");
	is(wrong_errno, 0, "errno is left alone");
	is(tld_follow_status(PIN), 0, "the path is followed");
	is(members(map), EVERYBODY, "its map is attached");
	/* Every call of a handler that worked was undone by it. */
	is(tld_unfollow(PIN), 0, "it is unfollowed as often as it was followed");
}

static void last_unfollow(void)
{
	is(members(map), 0, "that detaches the map");
	is(tld_unfollow(PIN), -ENOENT, "it is not followed any more");
}

static void interrupted_follow(void)
{
	int result;

	begin();
	trap_on();
	result = tld_follow(PIN);
	trap_off();
	judge("tld_follow()", result);
	must(tld_unfollow(PIN));
	last_unfollow();
}

static void interrupted_unfollow(void)
{
	int result;

	begin();
	must(tld_follow(PIN));
	trap_on();
	result = tld_unfollow(PIN);
	trap_off();
	judge("tld_unfollow()", result);
	last_unfollow();
}

static void interrupted_status(void)
{
	int result;

	begin();
	trap_on();
	result = tld_follow_status(PIN);
	trap_off();
	judge("tld_follow_status()", result);
	last_unfollow();
}

int main(void)
{
	need_place();
	in_child(interrupted_follow);
	in_child(interrupted_unfollow);
	in_child(interrupted_status);
	return tap_done();
}

#else

int main(void)
{
	tap_skip_all("a processor whose trap flag this test does not know");
}

#endif
