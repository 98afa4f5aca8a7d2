// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * follow_large_tls.c - a program whose thread-local variables take much of a small
 * stack, or more than it has: every thread's stack begins with room for them. Whatever
 * their size, tld-follow has stack enough to attach what is pinned.
 *
 * The C library is asked for room beyond the program's own variables by a tunable, so
 * this executes itself with one size after the other. "--soak SECONDS" (some 10, however
 * many are asked for) goes further.
 */
#include "follow.h"
#include "often.h"

#define STEP_BYTES (512 * SLOWER)
/* From half of a stack of so many bytes to more than all of it. */
#define STACK_BYTES (64 * 1024)
#define LEAST_BYTES (STACK_BYTES / 2 - 4 * 1024)

static int map;

static bool attaches_and_detaches(void)
{
	pin(map, PIN);
	if (!awaited(!tld_follow_status(PIN) && published(map)))
		return false;
	must(unlink(PIN));
	return awaited(tld_follow_status(PIN) == -ENOENT && !published(map));
}

/*
 * How much of a large stack is taken when a thread begins. Not by trying small ones: on
 * arm64 glibc starts threads that have too little left for its own functions.
 */
static void *bytes_taken(void *unused)
{
	pthread_attr_t attr;
	void *stack;
	size_t size;

	(void)unused;
	must(pthread_getattr_np(pthread_self(), &attr));
	must(pthread_attr_getstack(&attr, &stack, &size));
	pthread_attr_destroy(&attr);
	return (void *)((char *)stack + size - (char *)__builtin_frame_address(0));
}

enum { WORKS, HAS_ROOM, WRONG };

/* In a program of its own: whether the room is larger than the stack, and all is well. */
static int follow_here(void)
{
	alarm(CASE_SECONDS);
	map = data_map(V2_SIZE);
	make_place();
	make_key();
	store(1);
	must(tld_follow(PIN));
	for (int i = 0; i < 2; i++)
		if (!attaches_and_detaches())
			return WRONG;
	return (uintptr_t)in_thread(bytes_taken, NULL) > STACK_BYTES ? HAS_ROOM : WORKS;
}

/* How a program with so much room ends, as by waitpid(). */
static int run_with(size_t bytes)
{
	char tunable[64];
	pid_t child;
	int end;

	fflush(stdout);
	child = fork();
	if (!child) {
		snprintf(tunable, sizeof(tunable), "glibc.rtld.optional_static_tls=%zu", bytes);
		setenv("GLIBC_TUNABLES", tunable, 1);
		execl("/proc/self/exe", "follow_large_tls", "--here", NULL);
		_exit(WRONG);
	}
	if (child < 0 || waitpid(child, &end, 0) != child)
		tap_bail("a program runs");
	return end;
}

int main(int argc, char **argv)
{
	int good = 0, runs = 0, large = 0;
	size_t most = STACK_BYTES + 4 * 1024 + STEP_BYTES - 512, least = LEAST_BYTES;

	if (argc == 2 && !strcmp(argv[1], "--here"))
		return follow_here();
	if (UNDER_SANITIZER)
		tap_skip_all("a sanitizer has thread-local variables of its own");
	need_place();
	if (argc == 3 && !strcmp(argv[1], "--soak")) {
		least = 0;
		most *= 4;
	}
	for (size_t bytes = least; bytes < most; bytes += STEP_BYTES, runs++) {
		int end = run_with(bytes);
		bool fine = WIFEXITED(end) && WEXITSTATUS(end) != WRONG;

		good += fine;
		large += fine && WEXITSTATUS(end) == HAS_ROOM;
		if (!fine)
			diag("%zu bytes: %s", bytes,
			     WIFSIGNALED(end) ? strsignal(WTERMSIG(end)) : "wrong");
	}
	is(good, runs, "with thread-local variables of %d sizes a followed pin is attached", runs);
	ok(large > 0 && large < runs, "some are larger than a stack of %d KiB", STACK_BYTES / 1024);
	return tap_done();
}
