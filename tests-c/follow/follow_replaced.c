// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * follow_replaced.c - the pin is replaced while the library opens it, at each system
 * call of a look: by one that belongs to somebody else, whose map is never attached. Root's
 * process beside the program traces tld-follow and holds it at every system call.
 */
#include <signal.h>
#include <sys/ptrace.h>
#include "follow.h"

#define STRANGER 12345
/* More than a look can take. */
#define MOST_CALLS 200

/* Written by the operator, read by the case. */
static struct look {
	pid_t program, thread;
	int right;		/* the map that is pinned to begin with, of two */
	int step;		/* at which system call the pins change places */
	int calls;		/* how many the look made */
	int attached;		/* at how many of the stops the program was in the stranger's map */
	bool replaced;
} *look;

static int right_maps[2], strangers_map;

/* --- The operator -------------------------------------------------------------------- */

static void exchange_pins(void)
{
	must(renameat2(AT_FDCWD, PIN, AT_FDCWD, OTHER_PIN, RENAME_EXCHANGE));
}

/* True at a system call's begin or end; false where the thread stopped for another reason. */
static bool run_to_call(struct __ptrace_syscall_info *call)
{
	int state;

	if (ptrace(PTRACE_SYSCALL, look->thread, 0, 0) ||
	    waitpid(look->thread, &state, __WALL) != look->thread || !WIFSTOPPED(state))
		tap_bail("tld-follow can be traced");
	if (WSTOPSIG(state) != (SIGTRAP | 0x80))
		return false;
	if (ptrace(PTRACE_GET_SYSCALL_INFO, look->thread, sizeof(*call), call) <= 0)
		tap_bail("a traced system call can be looked at");
	return true;
}

static bool begins(const struct __ptrace_syscall_info *call)
{
	return call->op == PTRACE_SYSCALL_INFO_ENTRY;
}

static bool waits(const struct __ptrace_syscall_info *call)
{
	return call->entry.nr == SYS_ppoll || call->entry.nr == SYS_restart_syscall;
}

/* From the event that wakes it up until it waits again. */
static void follow_a_look(void)
{
	struct __ptrace_syscall_info call;

	while (look->calls < MOST_CALLS) {
		if (!run_to_call(&call))
			continue;
		look->attached += has_element(strangers_map, look->program);
		if (!begins(&call))
			continue;
		if (waits(&call)) {
			if (look->calls)
				return;
			continue;
		}
		if (look->calls++ == look->step) {
			exchange_pins();
			look->replaced = true;
		}
	}
}

static void replace_during_look(void)
{
	int state;

	look->calls = 0;
	look->attached = 0;
	look->replaced = false;
	if (ptrace(PTRACE_SEIZE, look->thread, 0, PTRACE_O_TRACESYSGOOD) ||
	    ptrace(PTRACE_INTERRUPT, look->thread, 0, 0) ||
	    waitpid(look->thread, &state, __WALL) != look->thread)
		tap_bail("tld-follow can be traced");
	pin_over(right_maps[look->right], PIN);
	follow_a_look();
	ptrace(PTRACE_DETACH, look->thread, 0, 0);
}

static void put_strangers_pin(void)
{
	pin(strangers_map, OTHER_PIN);
	must(chown(OTHER_PIN, STRANGER, 0));
}

/* --- The program ----------------------------------------------------------------------- */

static bool in_right_map(void)
{
	return !tld_follow_status(PIN) && published(right_maps[look->right]) &&
	       !published(right_maps[!look->right]);
}

static bool refused(void)
{
	return tld_follow_status(PIN) == -EPERM &&
	       !published(right_maps[0]) && !published(right_maps[1]);
}

/* At the beginning of every round a right pin is at the path, the stranger's beside it. */
static void begin(void)
{
	look = mmap(NULL, sizeof(*look), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (look == MAP_FAILED)
		tap_bail("memory can be shared");
	right_maps[0] = data_map(V2_SIZE);
	right_maps[1] = data_map(NATIVE_SIZE);
	strangers_map = data_map(V2_SIZE);
	make_place();
	start_operator();
	make_key();
	store(1);
	pin(right_maps[0], PIN);
	put_strangers_pin();
	must(tld_follow(PIN));
	look->program = getpid();
	look->thread = follow_thread();
}

static struct tally {
	int rounds, attached, refused, back;
} tally;

/* False when the look has no such step. */
static bool replace_at(int step)
{
	look->step = step;
	look->right = !look->right;
	await_idle();
	as_operator(replace_during_look);
	tally.attached += look->attached;
	if (!look->replaced)
		return false;
	tally.rounds++;
	tally.refused += awaited(refused());
	exchange_pins();
	tally.back += awaited(in_right_map());
	return true;
}

static void replaced_at_each_call(void)
{
	int step = 0;

	begin();
	while (replace_at(step))
		step++;
	diag("%d system calls in a look that attaches another map", look->calls);
	ok(tally.rounds > 8, "a pin is replaced by a stranger's at each of %d system calls", tally.rounds);
	is(tally.attached, 0, "at none of the calls that follow is the stranger's map attached");
	is(tally.refused, tally.rounds, "the status is -EPERM each time, with no map attached");
	is(tally.back, tally.rounds, "the right pin is attached when it is back");
	ok(awaited(in_right_map()), "and in a look in which nothing is replaced");
}

int main(void)
{
	need_place();
	in_child(replaced_at_each_call);
	return tap_done();
}
