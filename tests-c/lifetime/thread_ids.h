/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * thread_ids.h - thread ids that come again when the test wants them to: cases in a pid
 * namespace of their own, in which the next id can be chosen.
 *
 * Both settings, the last id and the largest one, are the namespace's own and go with
 * it. Elements are listed with the machine's ids, so compare counts only.
 */
#ifndef TESTS_C_THREAD_IDS_H
#define TESTS_C_THREAD_IDS_H

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include "process.h"
#include "worker.h"

/* The kernel starts again here when it reaches the largest id, to leave daemons alone. */
#define FIRST_ID_AGAIN 300

static bool ids_write(const char *path, long value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), length;
	char text[24];
	bool done;

	length = snprintf(text, sizeof(text), "%ld", value);
	done = fd >= 0 && write(fd, text, length) == length;
	if (fd >= 0)
		close(fd);
	return done;
}

/* The next thread or process of this namespace gets this id, if it is free. */
static bool ids_choose_next(pid_t id)
{
	return ids_write("/proc/sys/kernel/ns_last_pid", id - 1);
}

/* A namespace has its own largest id since Linux 6.14; before, it is the machine's. */
__attribute__((unused))
static bool ids_limit(pid_t below)
{
	struct utsname name;
	int major, minor;

	if (uname(&name) || sscanf(name.release, "%d.%d", &major, &minor) != 2)
		return false;
	return (major > 6 || (major == 6 && minor >= 14)) &&
	       ids_write("/proc/sys/kernel/pid_max", below);
}

static void (*ids_body)(void);
static const char *ids_name;

/*
 * The namespace's first process, with which all others end. No signal from inside ends it,
 * so the case is its child's, which an alarm ends.
 */
static void ids_as_init(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!ids_choose_next(FIRST_ID_AGAIN)) {
		tap_skip(ids_name, "kernel: ns_last_pid cannot be written");
		return;
	}
	in_child_named(ids_name, ids_body);
}

static void ids_in_namespace(void)
{
	if (unshare(CLONE_NEWPID)) {
		tap_skip(ids_name, "kernel: no pid namespace for this user");
		return;
	}
	in_child_named(ids_name, ids_as_init);
}

/* As in_child(), with thread ids of its own. */
#define in_pid_namespace(body) in_pid_namespace_named(#body, body)

__attribute__((unused))
static void in_pid_namespace_named(const char *name, void (*body)(void))
{
	ids_body = body;
	ids_name = name;
	in_child_named(name, ids_in_namespace);
}

/* A thread that was joined keeps its id for another moment. */
__attribute__((unused))
static void worker_start_as(struct worker *worker, pid_t tid)
{
	if (!eventually(({
		ids_choose_next(tid);
		worker_start(worker);
		if (worker->tid != tid)
			worker_end(worker, WORKER_RETURNS);
		worker->tid == tid;
	})))
		tap_bail("a thread gets the id %d", tid);
}

static pid_t try_process_as(pid_t pid, void (*body)(void))
{
	pid_t child;

	ids_choose_next(pid);
	child = fork();
	if (child < 0)
		tap_bail("fork works");
	if (!child) {
		/* Else whoever relays the case's points would wait for this process. */
		close(STDOUT_FILENO);
		if (getpid() == pid)
			body();
		_exit(0);
	}
	if (child == pid)
		return child;
	waitpid(child, NULL, 0);
	return 0;
}

/* A process with this id, of which the body is not to return. */
__attribute__((unused))
static pid_t start_process_as(pid_t pid, void (*body)(void))
{
	if (!eventually(try_process_as(pid, body)))
		tap_bail("a process gets the id %d", pid);
	return pid;
}

__attribute__((unused))
static void end_process(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

#endif
