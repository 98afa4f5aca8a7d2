// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * follow_thread.c - the library's thread that watches followed pins: when there is
 * one, what it takes and how often it wakes up; and what becomes of it in forked
 * children, at exit, and where it cannot be started.
 */
#include <limits.h>
#include <signal.h>
#include "follow.h"

/* So that a process limit concerns nobody else. */
#define WITHOUT_THREADS 65532
#define ROUNDS SOME(400)
#define FORKS SOME(50)
#define LEAST_SPARE_KIB 1024

static int map;

static int status(void)
{
	return tld_follow_status(PIN);
}

static void begin(void)
{
	map = data_map(V2_SIZE);
	make_place();
	make_key();
	store(1);
}

static bool attached(int map_fd)
{
	return published(map_fd) && !status();
}

static void begin_attached(void)
{
	begin();
	pin(map, PIN);
	must(tld_follow(PIN));
	if (!attached(map))
		tap_bail("a pin is attached");
}

/* --- When there is one ------------------------------------------------------------ */

static void from_first_to_last(void)
{
	begin();
	is(tasks(), 1, "without a followed path the library has no thread");
	must(tld_follow(PIN));
	ok(awaited(tasks() == 2), "with the first it has one");
	ok(awaited(follow_threads(NULL) == 1), "that is called tld-follow");
	must(tld_follow(OTHER_PIN));
	must(tld_follow(PIN));
	ok(awaited(tasks() == 2), "with the second it has no other");
	must(tld_unfollow(OTHER_PIN));
	must(tld_unfollow(PIN));
	is(follow_threads(NULL), 1, "while a path is followed it is there");
	must(tld_unfollow(PIN));
	ok(awaited(tasks() == 1), "after the last was unfollowed it has ended");
	must(tld_follow(PIN));
	ok(awaited(tasks() == 2), "it comes back with the next");
}

/* SIGKILL and SIGSTOP cannot be blocked; 32 and 33 are the C library's own. */
static unsigned long long all_signals(void)
{
	return ~(1ULL << (SIGKILL - 1) | 1ULL << (SIGSTOP - 1) | 1ULL << 31 | 1ULL << 32);
}

static void takes_no_signal(void)
{
	sigset_t mask;
	pid_t tid;

	begin_attached();
	tid = follow_thread();
	is(all_signals() & ~thread_field(tid, "SigBlk:", 16), 0, "tld-follow blocks all signals");
	must(tld_unfollow(PIN));
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR2);
	must(pthread_sigmask(SIG_SETMASK, &mask, NULL));
	must(tld_follow(PIN));
	is(thread_field(getpid(), "SigBlk:", 16), 1ULL << (SIGUSR2 - 1),
	   "who calls tld_follow() keeps its signal mask");
}

/* What it costs: a small stack, and nothing more each time. */
static void takes_little(void)
{
	int fds, maps;
	long size;

	begin();
	pin(map, PIN);
	fds = open_descriptors();
	size = status_kib("VmSize:");
	must(tld_follow(PIN));
	size = status_kib("VmSize:") - size;
	diag("%ld KiB of address space", size);
	if (UNDER_SANITIZER)
		tap_skip("its stack is small", "a sanitizer maps memory of its own");
#ifdef __aarch64__
	else
		tap_skip("its stack is small", "on this machine it has the default stack");
#else
	else
		ok(size < LEAST_SPARE_KIB,
		   "its stack is small: following takes less than 1 MiB of address space");
#endif
	must(tld_unfollow(PIN));
	ok(awaited(tasks() == 1), "it ends");
	is(open_descriptors(), fds, "no descriptor is left");
	maps = mappings();
	size = status_kib("VmSize:");
	for (int i = 0; i < ROUNDS; i++)
		if (tld_follow(PIN) || !published(map) || tld_unfollow(PIN) || published(map))
			tap_bail("a path is followed and unfollowed, round %d", i);
	await(tasks() == 1);
	is(open_descriptors(), fds, "nor after %d times", ROUNDS);
	if (UNDER_SANITIZER) {
		tap_skip("no memory is left", "a sanitizer maps memory of its own");
		return;
	}
	/* The C library keeps a few stacks; a page each time would be much more. */
	diag("mappings %+d, KiB %+ld", mappings() - maps, status_kib("VmSize:") - size);
	ok(mappings() - maps < ROUNDS / 20, "nor a mapping");
#ifdef __aarch64__
	tap_skip("no address space is left", "the stacks that the C library keeps are larger than that");
#else
	ok(status_kib("VmSize:") - size < ROUNDS * 4 / 2, "nor address space");
#endif
}

#define NUMBERS 1024

static void closes_on_exec(void)
{
	int kept = 0, count = 0;
	static bool open_before[NUMBERS];

	begin();
	pin(map, PIN);
	for (int fd = 0; fd < NUMBERS; fd++)
		open_before[fd] = fcntl(fd, F_GETFD) >= 0;
	must(tld_follow(PIN));
	must(tld_follow(OTHER_PIN));
	for (int fd = 0; fd < NUMBERS; fd++) {
		int flags = open_before[fd] ? -1 : fcntl(fd, F_GETFD);

		count += flags >= 0;
		kept += flags >= 0 && !(flags & FD_CLOEXEC);
	}
	ok(count > 0, "a followed map takes descriptors");
	is(kept, 0, "all are closed on exec");
}

/* The C library changes every thread's user by a signal that it does not block. */
static void changes_user(void)
{
	begin_attached();
	become(WITHOUT_THREADS);
	is(thread_field(follow_thread(), "Uid:", 10), WITHOUT_THREADS,
	   "a program that follows can change its user, in that thread too");
	ok(published(map), "what was attached stays so");
}

/* --- How often it wakes up -------------------------------------------------------- */

#define WATCH_SECONDS 3

static void in_no_directory(void)
{
	begin();
	must(tld_follow(BPFFS "/none/hints"));
}

static void without_pin(void)
{
	begin();
	must(tld_follow(PIN));
}

static void with_wrong_pin(void)
{
	begin();
	pin(map_create_plain(BPF_MAP_TYPE_HASH, 8), PIN);
	must(tld_follow(PIN));
}

static void with_detached_map(void)
{
	begin_attached();
	must(tld_detach(map));
}

static void with_several(void)
{
	begin_attached();
	must(tld_follow(OTHER_PIN));
	must(tld_follow(BPFFS "/none/hints"));
}

static const struct situation {
	void (*enter)(void);
	const char *words;
} situations[] = {
	{ in_no_directory, "where there is no directory" },
	{ without_pin, "where nothing is pinned" },
	{ with_wrong_pin, "where a hash map is pinned" },
	{ begin_attached, "while a map is attached" },
	{ with_detached_map, "while the map is detached by hand" },
	{ with_several, "while one of several paths has a map" },
};

#define SITUATIONS (sizeof(situations) / sizeof(situations[0]))

struct wakes {
	unsigned long long times;
	double seconds, busy; /* how long it was watched; on a processor meanwhile */
};

static double processor_seconds(pid_t tid)
{
	char path[64], text[128] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/schedstat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		tap_bail("%s can be read", path);
	close(fd);
	return strtoull(text, NULL, 10) * 1e-9;
}

/* Each time it wakes up it goes to sleep again of its own accord. */
static struct wakes watch(void)
{
	struct timespec window = { .tv_sec = WATCH_SECONDS };
	pid_t tid = follow_thread();
	struct wakes wakes;
	double start;

	/* Until it has begun to wait. */
	if (!awaited(thread_field(tid, "\nvoluntary_ctxt_switches:", 10) > 0))
		tap_bail("it waits");
	start = seconds_now();
	wakes.times = thread_field(tid, "\nvoluntary_ctxt_switches:", 10);
	wakes.busy = processor_seconds(tid);
	nanosleep(&window, NULL);
	wakes.times = thread_field(tid, "\nvoluntary_ctxt_switches:", 10) - wakes.times;
	wakes.busy = processor_seconds(tid) - wakes.busy;
	wakes.seconds = seconds_now() - start;
	return wakes;
}

/* All at the same time, each in a process of its own. */
static void wakes_seldom(void)
{
	struct wakes wakes[SITUATIONS];
	int ends[SITUATIONS][2];

	for (size_t i = 0; i < SITUATIONS; i++) {
		must(pipe2(ends[i], O_CLOEXEC));
		if (fork())
			continue;
		alarm(CASE_SECONDS);
		situations[i].enter();
		wakes[i] = watch();
		_exit(write(ends[i][1], &wakes[i], sizeof(wakes[i])) != sizeof(wakes[i]));
	}
	for (size_t i = 0; i < SITUATIONS; i++) {
		close(ends[i][1]);
		if (read(ends[i][0], &wakes[i], sizeof(wakes[i])) != sizeof(wakes[i]))
			tap_bail("tld-follow is watched %s", situations[i].words);
		diag("%llu times in %.2f s, %.6f s of processor time", wakes[i].times,
		     wakes[i].seconds, wakes[i].busy);
		ok(wakes[i].times <= wakes[i].seconds + 1,
		   "%s it wakes up no more than once a second",
		   situations[i].words);
		ok(wakes[i].busy < wakes[i].seconds / 10, "and sleeps in between");
	}
	while (wait(NULL) > 0)
		;
}

/* --- In forked children ----------------------------------------------------------- */

static int fds_before;
static int new_map;
static pid_t parent;

/* What a fork without handlers copies, the child must see through by itself. */
static void in_forked(pid_t (*fork_how)(void), void (*body)(void))
{
	int ends[2], end;

	fflush(stdout);
	must(pipe2(ends, O_CLOEXEC));
	switch (fork_how()) {
	case -1:
		tap_bail("fork works");
	case 0:
		alarm(CASE_SECONDS);
		dup2(ends[1], STDOUT_FILENO);
		close(ends[0]);
		close(ends[1]);
		body();
		fflush(stdout);
		_exit(0);
	}
	close(ends[1]);
	relay_points(ends[0]);
	wait(&end);
	is(end, 0, "the child ends by itself");
}

static void child_follows(void)
{
	int fds;

	is(tasks(), 1, "a forked child has one thread, no tld-follow");
	is(status(), -ECHILD, "the path's status is -ECHILD");
	is(published(map), false, "it is not in the parent's map before it calls");
	store(2);
	ok(published(map), "its next call puts it there: it keeps the maps that were attached");
	pin_over(new_map, PIN);
	ok(awaited(has_element(new_map, parent) && !has_element(map, parent)),
	   "when another map is pinned, the parent goes there");
	ok(published(map) && !published(new_map), "the child does not: it watches nothing");
	is(status(), -ECHILD, "its status is -ECHILD still");
	is(tld_follow(PIN), 0, "it follows the path itself");
	ok(published(new_map), "then it is in the new map");
	is(published(map), false, "and no longer in the old one");
	is(status(), 0, "its status is 0");
	ok(awaited(follow_threads(NULL) == 1), "it has a tld-follow");
	pin_over(map, PIN);
	ok(awaited(attached(map) && !published(new_map)), "which watches");
	is(tld_unfollow(PIN), 0, "it unfollows the path");
	is(published(map), false, "it is in no map then");
	ok(awaited(tasks() == 1), "and has no tld-follow");
	is(status(), -ENOENT, "the status is -ENOENT");
	/* Its standard output is another, but as many. */
	fds = open_descriptors();
	is(fds, fds_before, "no descriptor of the parent's watch is left");
}

static void child_stays(void)
{
	is(tld_follow(PIN), 0, "a child follows the path while the same map is pinned there");
	is(status(), 0, "the status is 0");
	ok(published(map), "it is in the map");
	is(tld_unfollow(PIN), 0, "it unfollows the path");
	is(published(map), false, "then it is not");
	ok(has_element(map, parent), "the parent is, as before");
}

static void forked(pid_t (*fork_how)(void))
{
	begin();
	new_map = data_map(V2_SIZE);
	parent = getpid();
	fds_before = open_descriptors();
	pin(map, PIN);
	must(tld_follow(PIN));
	/* Descriptors that it uses for a moment would be copied. */
	await_idle();
	in_forked(fork_how, child_stays);
	in_forked(fork_how, child_follows);
	ok(awaited(attached(map)), "the parent has followed what the child did to the pin");
	pin_over(new_map, PIN);
	ok(awaited(attached(new_map) && !published(map)),
	   "and goes on following after the child's end");
	is(follow_threads(NULL), 1, "with its one tld-follow");
}

static void forked_with_handlers(void)
{
	forked(fork);
}

static void forked_without_handlers(void)
{
	forked(_Fork);
}

static void child_after_the_pin(void)
{
	store(3);
	ok(published(map), "a forked child is in the map");
	must(unlink(PIN));
	ok(awaited(!has_element(map, parent)), "the pin goes, and the parent leaves the map");
	ok(published(map), "the child does not, as it watches nothing");
	is(tld_follow(PIN), 0, "it follows the path itself");
	is(published(map), false, "then it leaves the map");
	is(status(), -ENOENT, "with the status -ENOENT");
}

static void forked_then_unpinned(void)
{
	parent = getpid();
	begin_attached();
	in_forked(fork, child_after_the_pin);
}

/* Said by parent or child, heard by the thread that makes pins change places. */
static struct flips {
	volatile bool pause, end;
	volatile bool paused;
} *flips;

static void *flip(void *unused)
{
	(void)unused;
	while (!flips->end) {
		must(renameat2(AT_FDCWD, PIN, AT_FDCWD, OTHER_PIN, RENAME_EXCHANGE));
		sched_yield();
		while ((flips->paused = flips->pause) && !flips->end)
			rest();
	}
	return NULL;
}

static pthread_t start_flips(void)
{
	flips = mmap(NULL, sizeof(*flips), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		     -1, 0);
	if (flips == MAP_FAILED)
		tap_bail("memory can be shared");
	new_map = data_map(V2_SIZE);
	pin(new_map, OTHER_PIN);
	return start_thread(flip, NULL);
}

static void end_flips(pthread_t flipper)
{
	flips->end = true;
	end_thread(flipper);
}

/* What may go wrong in a child: a bit each of its exit status. */
static const char *const child_words[] = {
	"the status is -ECHILD",
	"the path can be followed, with one tld-follow",
	"the child is in one of the two maps when it has stored, with the status 0",
	"it can be unfollowed",
	"the child is in none of the maps then",
};

#define CHILD_WORDS (sizeof(child_words) / sizeof(child_words[0]))

/* Whatever the parent's thread was doing at the fork; then the pins stay for a while. */
static void follow_in_child(void)
{
	int wrong = 0;

	alarm(CASE_SECONDS);
	flips->pause = true;
	while (!flips->paused)
		rest();
	wrong |= (status() != -ECHILD) << 0;
	wrong |= (tld_follow(PIN) || !awaited(tasks() == 2)) << 1;
	store(5);
	wrong |= (status() || published(map) + published(new_map) != 1) << 2;
	wrong |= (tld_unfollow(PIN) || status() != -ENOENT) << 3;
	wrong |= (published(map) || published(new_map)) << 4;
	exit(wrong);
}

static void forks_that_follow(pid_t (*fork_how)(void), const char *how)
{
	int good[CHILD_WORDS] = { 0 }, end;

	for (int i = 0; i < FORKS; i++) {
		pid_t child;

		flips->pause = false;
		do
			rest();
		while (flips->paused);
		child = fork_how();
		if (!child)
			follow_in_child();
		waitpid(child, &end, 0);
		for (size_t k = 0; k < CHILD_WORDS; k++)
			good[k] += WIFEXITED(end) && !(WEXITSTATUS(end) & 1 << k);
	}
	for (size_t k = 0; k < CHILD_WORDS; k++)
		is(good[k], FORKS, "%s at any moment: %s", how, child_words[k]);
}

static void forked_at_any_moment(void)
{
	pthread_t flipper;

	begin_attached();
	flipper = start_flips();
	forks_that_follow(fork, "fork()");
	forks_that_follow(_Fork, "_Fork()");
	flips->pause = false;
	end_flips(flipper);
	must(unlink(PIN));
	must(unlink(OTHER_PIN));
	ok(awaited(status() == -ENOENT), "the parent goes on following");
	is(published(map) + published(new_map), 0, "and is in no map when the pins have gone");
}

/* --- At exit ---------------------------------------------------------------------- */

#define EXIT_STATUS 7

/* The exit status of a child that calls exit(), or -1. */
static int exits(pid_t (*fork_how)(void), void (*body)(void))
{
	int end;
	pid_t child;

	fflush(stdout);
	child = fork_how();
	if (!child) {
		alarm(CASE_SECONDS);
		body();
		exit(EXIT_STATUS);
	}
	if (child < 0 || waitpid(child, &end, 0) != child)
		tap_bail("a child runs");
	if (!WIFEXITED(end))
		diag("  %s", WTERMSIG(end) == SIGALRM ? "it hung" : strsignal(WTERMSIG(end)));
	return WIFEXITED(end) ? WEXITSTATUS(end) : -1;
}

static int exit_report;

/* The C library writes out what streams hold when all destructors have run. */
static ssize_t count_threads(void *unused, const char *bytes, size_t count)
{
	char threads = awaited(tasks() == 1) ? 'n' : 'y';

	(void)unused;
	(void)bytes;
	return write(exit_report, &threads, 1) == 1 ? (ssize_t)count : -1;
}

static void follow_and_hold_bytes(void)
{
	FILE *last = fopencookie(NULL, "w", (cookie_io_functions_t){ .write = count_threads });

	fputs("held until exit", last);
	must(tld_follow(PIN));
	await_idle();
}

static void ended_at_exit(void)
{
	int ends[2];
	char threads = 0;

	begin();
	pin(map, PIN);
	must(pipe2(ends, O_CLOEXEC));
	exit_report = ends[1];
	is(exits(fork, follow_and_hold_bytes), EXIT_STATUS,
	   "a program that follows ends with exit()");
	if (read(ends[0], &threads, 1) != 1)
		tap_bail("streams are written out at exit");
	is(threads, 'n', "its tld-follow has ended when the C library writes out its streams");
}

static void follow_pin(void)
{
	must(tld_follow(PIN));
}

static void *exit_in_thread(void *unused)
{
	(void)unused;
	exit(EXIT_STATUS);
}

static void follow_and_exit_elsewhere(void)
{
	follow_pin();
	in_thread(exit_in_thread, NULL);
}

static void do_nothing(void)
{
}

static void exit_follows(void)
{
	/* Whether it may be followed so late is the library's affair. */
	tld_follow(OTHER_PIN);
	tld_follow_status(PIN);
	tld_unfollow(PIN);
}

static void follow_then_use_at_exit(void)
{
	atexit(exit_follows);
	follow_pin();
}

static void child_exits(void)
{
	is(exits(fork, do_nothing), EXIT_STATUS,
	   "a child of fork() that does not follow ends with exit()");
	is(exits(_Fork, do_nothing), EXIT_STATUS, "so does a child of _Fork()");
	is(exits(fork, follow_pin), EXIT_STATUS, "a child of fork() that follows ends with exit()");
	is(exits(_Fork, follow_pin), EXIT_STATUS, "so does a child of _Fork()");
}

static void ends_with_exit(void)
{
	begin_attached();
	is(exits(fork, follow_and_exit_elsewhere), EXIT_STATUS,
	   "a program that follows ends with exit() by another thread");
	is(exits(fork, follow_then_use_at_exit), EXIT_STATUS,
	   "a program whose exit handler follows and unfollows ends with exit()");
	child_exits();
	is(status(), 0, "the parent follows as before");
	ok(published(map), "and is in its map");
}

static void *follow_for_ever(void *unused)
{
	(void)unused;
	for (;;) {
		tld_follow(PIN);
		tld_unfollow(PIN);
	}
	return NULL;
}

static unsigned int exit_delay;

static void exit_meanwhile(void)
{
	struct timespec delay = { .tv_nsec = exit_delay };

	start_thread(follow_for_ever, NULL);
	nanosleep(&delay, NULL);
}

#define EXITS SOME(40)

static void exit_during_follow(void)
{
	int good = 0;

	begin();
	pin(map, PIN);
	for (int i = 0; i < EXITS; i++) {
		exit_delay = i * 50000;
		good += exits(i % 2 ? _Fork : fork, exit_meanwhile) == EXIT_STATUS;
	}
	is(good, EXITS,
	   "exit() while another thread is in tld_follow() ends each of %d programs", EXITS);
}

static void exit_during_replacement(void)
{
	int good = 0;
	pthread_t flipper;

	begin_attached();
	flipper = start_flips();
	for (int i = 0; i < EXITS; i++)
		good += exits(fork, follow_pin) == EXIT_STATUS;
	end_flips(flipper);
	is(good, EXITS, "exit() while the pin is replaced ends each of %d programs", EXITS);
}

/* --- Where it cannot be started --------------------------------------------------- */

static void works_now(void)
{
	is(status(), -ENOENT, "the path is not followed");
	ok(awaited(tasks() == 1), "there is no tld-follow");
	is(open_descriptors(), fds_before, "no descriptor is left");
	is(tld_follow(PIN), 0, "without the limit it can be followed");
	ok(awaited(attached(map)), "and its pin is attached");
}

static void give_pin(void)
{
	pin(map, PIN);
	must(chown(PIN, WITHOUT_THREADS, 0));
}

static void no_thread(void)
{
	rlim_t limit;
	long size;
	int got;

	map = data_map(V2_SIZE);
	make_place();
	start_operator();
	as_operator(give_pin);
	become(WITHOUT_THREADS);
	make_key();
	store(1);
	fds_before = open_descriptors();
	limit = soft_limit(RLIMIT_NPROC);
	set_soft_limit(RLIMIT_NPROC, 0);
	got = tld_follow(PIN);
	size = status_kib("VmSize:");
	for (int i = 0; i < ROUNDS; i++)
		tld_follow(PIN);
	size = status_kib("VmSize:") - size;
	set_soft_limit(RLIMIT_NPROC, limit);
	is(got, -EAGAIN, "where no thread can be started tld_follow() says -EAGAIN");
	ok(size < ROUNDS * 4 / 2, "no memory is left by %d such calls", ROUNDS);
	works_now();
}

/* It could not be told to end. */
static void no_descriptor(void)
{
	rlim_t limit = soft_limit(RLIMIT_NOFILE);
	int got;

	begin();
	pin(map, PIN);
	fds_before = open_descriptors();
	set_soft_limit(RLIMIT_NOFILE, 3);
	got = tld_follow(PIN);
	set_soft_limit(RLIMIT_NOFILE, limit);
	is(got, -EAGAIN, "where no descriptor is left tld_follow() says -EAGAIN");
	works_now();
}

static void no_memory(void)
{
	rlim_t limit;
	int got;

	if (UNDER_SANITIZER) {
		tap_skip("without memory for a stack tld_follow() says so",
			 "a sanitizer needs address space");
		return;
	}
	begin();
	pin(map, PIN);
	fds_before = open_descriptors();
	limit = soft_limit(RLIMIT_AS);
	set_soft_limit(RLIMIT_AS, 1);
	got = tld_follow(PIN);
	set_soft_limit(RLIMIT_AS, limit);
	ok(got == -ENOMEM || got == -EAGAIN,
	   "without memory for a stack it says -ENOMEM or -EAGAIN");
	works_now();
}

int main(void)
{
	need_place();
	in_child(from_first_to_last);
	in_child(takes_no_signal);
	in_child(takes_little);
	in_child(closes_on_exec);
	in_child(changes_user);
	in_child(wakes_seldom);
	in_child(forked_with_handlers);
	in_child(forked_without_handlers);
	in_child(forked_then_unpinned);
	in_child(forked_at_any_moment);
	in_child(ended_at_exit);
	in_child(ends_with_exit);
	in_child(exit_during_follow);
	in_child(exit_during_replacement);
	in_child(no_thread);
	in_child(no_descriptor);
	in_child(no_memory);
	return tap_done();
}
