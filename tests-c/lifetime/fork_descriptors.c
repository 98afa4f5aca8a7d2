// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * fork_descriptors.c - programs that close the library's descriptors, as daemons close
 * all that they inherited: files of their own by the same numbers are neither closed nor
 * read, and with a descriptor of the map everything can be had again.
 */
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "follow.h"
#include "forks.h"

#define FILES 40

static pid_t by_clone(void)
{
	return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static const struct copier {
	const char *name;
	pid_t (*make)(void);
	bool is_noticed; /* at the fork, before anything is closed */
} copiers[] = { { "fork", fork, true }, { "_Fork", _Fork, false }, { "clone", by_clone, false } };

static const struct copier *copier;
static int map;

static void begin(void)
{
	map = data_map(V2_SIZE);
	make_place();
	make_key();
	pin(map, PIN);
	report_open();
}

/* Connected in pairs, each with a byte to be read: whoever reads or writes one changes it. */
static int files[FILES];

static void replace_descriptors(void)
{
	must(close_range(3, ~0U, 0));
	for (int i = 0; i < FILES; i += 2)
		must(socketpair(AF_UNIX, SOCK_STREAM, 0, &files[i]));
	for (int i = 0; i < FILES; i++)
		must(write(files[i], "x", 1) != 1);
}

static bool are_mine(void)
{
	for (int i = 0; i < FILES; i++) {
		int bytes = 0;

		if (ioctl(files[i], FIONREAD, &bytes) || bytes != 1)
			return false;
	}
	return true;
}

static int open_map(void)
{
	int fd = bpf_obj_get(PIN);

	if (fd < 0)
		tap_bail("the map can be opened again");
	return fd;
}

static void child_that_replaced(void)
{
	int said, fd;

	alarm(CHILD_SECONDS);
	replace_descriptors();
	said = tld_publish();
	check(copier->is_noticed ? said == -EINVAL || said == -EBADF : !said);
	check(are_mine());
	fd = open_map();
	check(!published(fd));
	check(!tld_attach(fd) && published(fd));
	check(!tld_publish());
	check(!tld_detach(fd) && !published(fd));
	check(tld_follow_status(PIN) == -ECHILD);
	check(!tld_follow(PIN) && !tld_follow_status(PIN) && published(fd));
	check(!tld_unfollow(PIN) && !published(fd));
	check(are_mine());
	_exit(0);
}

static void attached_or_followed(int (*serve)(void))
{
	pid_t child;

	begin();
	store(1);
	must(serve());
	child = copier->make();
	if (!child)
		child_that_replaced();
	ok(was_right(child),
	   "%s: a child that closed all descriptors keeps its own, and can attach and follow again",
	   copier->name);
	ok(published(map), "%s: its parent is in the map as before", copier->name);
	is(tld_publish(), 0, "%s: and has nothing to complain of", copier->name);
}

static int follow(void)
{
	return tld_follow(PIN);
}

static int attach_and_follow(void)
{
	return tld_attach(map) || tld_follow(PIN);
}

static void followed(void)
{
	attached_or_followed(follow);
}

static void attached_and_followed(void)
{
	attached_or_followed(attach_and_follow);
}

static void child_that_passes(void)
{
	int fd;

	alarm(CHILD_SECONDS);
	replace_descriptors();
	fd = open_map();
	check(tld_get_data(fd, key) && published(fd));
	tld_free();
	check(!published(fd) && are_mine());
	_exit(0);
}

static void passed(void)
{
	pid_t child;

	begin();
	if (!tld_get_data(map, key))
		tap_bail("a map can be passed");
	child = copier->make();
	if (!child)
		child_that_passes();
	ok(was_right(child), "%s: it can pass the map by another number", copier->name);
	ok(published(map), "%s: of its parent nothing is touched", copier->name);
}

/* --- Without a fork --------------------------------------------------------------- */

#define WATCH_SECONDS 3

static void replaced_under_the_watcher(void)
{
	unsigned long long times;
	pid_t tid;

	begin();
	store(1);
	must(tld_follow(PIN));
	await((tid = follow_thread()) > 0);
	replace_descriptors();
	times = thread_field(tid, "\nvoluntary_ctxt_switches:", 10);
	nanosleep(&(struct timespec){ .tv_sec = WATCH_SECONDS }, NULL);
	times = thread_field(tid, "\nvoluntary_ctxt_switches:", 10) - times;
	ok(are_mine(), "files by the numbers of tld-follow's descriptors are not read");
	ok(times <= WATCH_SECONDS + 2, "nor does it spin where they are always ready");
	map = open_map();
	is(tld_attach(map), 0, "the map is attached again");
	is(tld_publish(), 0, "and serves");
	is(tld_detach(map), 0, "and is detached");
	ok(!published(map), "the thread is not there then");
	is(tld_unfollow(PIN), 0, "the path is unfollowed");
	ok(awaited(tasks() == 1), "tld-follow ends");
	ok(are_mine(), "and closes none of those files");
}

int main(void)
{
	need_place();
	for (size_t i = 0; i < sizeof(copiers) / sizeof(copiers[0]); i++) {
		copier = &copiers[i];
		in_child(followed);
		in_child(attached_and_followed);
		in_child(passed);
	}
	in_child(replaced_under_the_watcher);
	return tap_done();
}
