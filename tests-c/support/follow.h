/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * follow.h - what the tests of tld_follow() share: BPF file systems that nobody else
 * sees, threads that have data, and who of them is in a map.
 *
 * Everything is mounted in a mount namespace of the test's own, over a directory that
 * every kernel with BPF has. So nothing is left behind, however a test ends.
 */
#ifndef TESTS_C_FOLLOW_H
#define TESTS_C_FOLLOW_H

#include <grp.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include "maps.h"
#include "threads.h"
#include "tld.h"

/* A tmpfs; in it a bpffs; in that a pin. No name there may have a dot. */
#define PLACE "/sys/fs/bpf"
#define BPFFS PLACE "/bpffs"
#define PIN BPFFS "/hints"
#define OTHER_PIN BPFFS "/others"

/* A step of the test itself, of the kind that returns 0, which has to work. */
#define must(call)					\
do {							\
	if (call)					\
		tap_bail("%s works", #call);		\
} while (0)

__attribute__((unused))
static void rest(void)
{
	struct timespec moment = { .tv_nsec = 1000000 };

	nanosleep(&moment, NULL);
}

/*
 * What may take a second, and no longer on a machine that has time: false if it takes
 * several. Who looks leaves the processor to others.
 */
#define AWAITED_SECONDS patience(5 * FEWER)
#define awaited(condition)						\
({									\
	double until__ = seconds_now() + AWAITED_SECONDS;		\
	bool met__;							\
	while (!(met__ = (condition)) && seconds_now() < until__)	\
		rest();							\
	met__;								\
})

/* The test's own step has to be seen before the next. */
#define await(condition)						\
do {									\
	if (!awaited(condition))					\
		tap_bail("%s at last", #condition);			\
} while (0)

/* --- Places and pins -------------------------------------------------------------- */

static void mount_bpffs(const char *directory)
{
	if (mount("tld-test", directory, "bpf", 0, "mode=0755"))
		tap_bail("a bpffs can be mounted at %s", directory);
}

static bool own_mounts(void)
{
	return !unshare(CLONE_NEWNS) && !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	       !mount("tld-test", PLACE, "tmpfs", 0, "mode=0755");
}

/* For main(), before the first point. */
static void need_place(void)
{
	int fd = data_map(V2_SIZE);

	close(fd);
	if (!own_mounts())
		tap_skip_all("kernel: no mounts of one's own over " PLACE);
}

/* For each case: nothing in it is another's. */
static void make_place(void)
{
	if (!own_mounts())
		tap_bail("a mount namespace of a case's own");
	must(mkdir(BPFFS, 0755));
	mount_bpffs(BPFFS);
}

static void pin(int map_fd, const char *path)
{
	if (bpf_obj_pin(map_fd, path))
		tap_bail("an object can be pinned at %s", path);
}

/* As a careful loader does: there is a pin at every moment. */
__attribute__((unused))
static void pin_over(int map_fd, const char *path)
{
	char new_path[PATH_MAX];

	snprintf(new_path, sizeof(new_path), "%s_new", path);
	pin(map_fd, new_path);
	must(rename(new_path, path));
}

__attribute__((unused))
static unsigned int map_id(int map_fd)
{
	struct bpf_map_info info = { 0 };
	unsigned int size = sizeof(info);

	must(bpf_obj_get_info_by_fd(map_fd, &info, &size));
	return info.id;
}

/* Nobody has the map any more: neither a descriptor nor a pin. */
__attribute__((unused))
static bool map_is_gone(unsigned int id)
{
	int fd = bpf_map_get_fd_by_id(id);

	if (fd >= 0)
		close(fd);
	return fd == -ENOENT;
}

/* --- Threads that have data ------------------------------------------------------- */

#define CREW 3
#define EVERYBODY (CREW + 1) /* the caller too */

static tld_key_t key;
static pid_t crew[CREW];
static pthread_barrier_t crew_has_data;

static void make_key(void)
{
	key = tld_create_key("value", sizeof(uint64_t));
	if (tld_key_is_err(key))
		tap_bail("a key can be created");
}

static void store(uint64_t value)
{
	uint64_t *data = tld_get(key);

	if (!data)
		tap_bail("a thread gets its TLD");
	*data = value;
}

/* Until the process ends. */
static void *crew_member(void *arg)
{
	intptr_t i = (intptr_t)arg;

	store(100 + i);
	crew[i] = gettid();
	pthread_barrier_wait(&crew_has_data);
	for (;;)
		pause();
	return NULL;
}

/* The caller's value is 1. */
__attribute__((unused))
static void start_crew(void)
{
	make_key();
	store(1);
	pthread_barrier_init(&crew_has_data, NULL, CREW + 1);
	for (intptr_t i = 0; i < CREW; i++)
		start_thread(crew_member, (void *)i);
	pthread_barrier_wait(&crew_has_data);
}

static bool has_element(int map_fd, pid_t tid)
{
	char value[256];
	int err = element_read(map_fd, tid, value);

	if (err && err != -ENOENT) {
		errno = -err;
		tap_bail("a thread's element can be looked up");
	}
	return !err;
}

/* How many of the caller and the crew are in the map. */
__attribute__((unused))
static int members(int map_fd)
{
	int count = has_element(map_fd, getpid());

	for (int i = 0; i < CREW; i++)
		count += has_element(map_fd, crew[i]);
	return count;
}

/* --- Cases that mostly wait ------------------------------------------------------- */

struct aside {
	pid_t pid;
	int from;
};

/* A function that runs cases by in_child(), in a process beside the caller. */
__attribute__((unused))
static struct aside start_aside(void (*cases)(void))
{
	struct aside aside;
	int ends[2];

	fflush(stdout);
	must(pipe2(ends, O_CLOEXEC));
	aside = (struct aside){ .pid = fork(), .from = ends[0] };
	if (aside.pid < 0)
		tap_bail("fork works");
	if (!aside.pid) {
		dup2(ends[1], STDOUT_FILENO);
		close(ends[0]);
		close(ends[1]);
		cases();
		fflush(stdout);
		_exit(0);
	}
	close(ends[1]);
	return aside;
}

/* Its points, as if they came from here. */
__attribute__((unused))
static void finish_aside(struct aside aside)
{
	int end;

	relay_points(aside.from);
	if (waitpid(aside.pid, &end, 0) != aside.pid || end)
		ok(false, "the cases beside the others run to their end");
}

/* --- The library's thread --------------------------------------------------------- */

/*
 * How many threads of this process are called tld-follow, and the id of one. They name
 * themselves, and some moment passes until one that has ended is gone: await it.
 */
__attribute__((unused))
static int follow_threads(pid_t *one)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	int count = 0;

	if (!dir)
		tap_bail("/proc/self/task can be read");
	while ((entry = readdir(dir))) {
		char path[64 + sizeof(entry->d_name)], name[32] = "";
		int fd;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (read(fd, name, sizeof(name) - 1) > 0 && !strcmp(name, "tld-follow\n")) {
			count++;
			if (one)
				*one = atoi(entry->d_name);
		}
		close(fd);
	}
	closedir(dir);
	return count;
}

/* One field of the thread's status in /proc; base as strtoull() takes it. */
__attribute__((unused))
static unsigned long long thread_field(pid_t tid, const char *field, int base)
{
	char path[64], text[4096];
	ssize_t length;
	char *at;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (length < 0)
		tap_bail("%s can be read", path);
	close(fd);
	text[length] = 0;
	at = strstr(text, field);
	if (!at)
		tap_bail("%s has %s", path, field);
	return strtoull(at + strlen(field), NULL, base);
}

/* The only one, and its id. */
__attribute__((unused))
static pid_t follow_thread(void)
{
	pid_t tid;

	if (!awaited(follow_threads(&tid) == 1))
		tap_bail("there is one tld-follow");
	return tid;
}

/* Until it sleeps: what happens from then on, it has to be woken up for. */
__attribute__((unused))
static void await_idle(void)
{
	unsigned long long before, after = 0;
	pid_t tid = follow_thread();

	do {
		struct timespec while_asleep = { .tv_nsec = 20000000 };

		before = after;
		nanosleep(&while_asleep, NULL);
		after = thread_field(tid, "\nvoluntary_ctxt_switches:", 10);
	} while (before != after);
}

/* How many threads this process has. */
__attribute__((unused))
static int tasks(void)
{
	DIR *dir = opendir("/proc/self/task");
	int count = -2; /* "." and ".." */

	if (!dir)
		tap_bail("/proc/self/task can be read");
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* --- A user without rights, and who has them -------------------------------------- */

__attribute__((unused))
static void become(uid_t user)
{
	must(setgroups(0, NULL));
	must(setresgid(user, user, user));
	must(setresuid(user, user, user));
}

/*
 * A process of root's beside the case, which does what it is told to: it is forked
 * from the case, so a function's address is the same in both.
 */
static int operator_ask, operator_answer;

__attribute__((noreturn, unused))
static void be_operator(int asked, int answer)
{
	void (*deed)(void);

	while (read(asked, &deed, sizeof(deed)) == sizeof(deed)) {
		deed();
		if (write(answer, "", 1) != 1)
			break;
	}
	_exit(0);
}

/* Before the first call to the library. It ends with the case. */
__attribute__((unused))
static void start_operator(void)
{
	int ask[2], answer[2];

	must(pipe2(ask, O_CLOEXEC));
	must(pipe2(answer, O_CLOEXEC));
	switch (fork()) {
	case -1:
		tap_bail("fork works");
	case 0:
		close(ask[1]);
		close(answer[0]);
		be_operator(ask[0], answer[1]);
	}
	close(ask[0]);
	close(answer[1]);
	operator_ask = ask[1];
	operator_answer = answer[0];
}

__attribute__((unused))
static void as_operator(void (*deed)(void))
{
	char done;

	if (write(operator_ask, &deed, sizeof(deed)) != sizeof(deed) ||
	    read(operator_answer, &done, 1) != 1)
		tap_bail("the operator does what he is told to");
}

#endif
