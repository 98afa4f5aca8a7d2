/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * process.h - what a test asks of its own process: what is open and mapped, and
 * cases in children of their own, because the key table and the pthread key are
 * made once per process.
 */
#ifndef TESTS_C_PROCESS_H
#define TESTS_C_PROCESS_H

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "often.h"
#include "tap.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNDER_SANITIZER 1
#endif
#endif
#ifndef UNDER_SANITIZER
#define UNDER_SANITIZER 0
#endif

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

/* A case that waits for ever is killed after so long, and is then a failure. */
#ifndef CASE_SECONDS
#define CASE_SECONDS patience(20 * FEWER)
#endif

__attribute__((unused))
static int open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = -3; /* ".", ".." and the directory itself */

	if (!dir)
		tap_bail("/proc/self/fd can be read");
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* Lines of /proc/self/maps; read without stdio, whose buffers are mapped too. */
__attribute__((unused))
static int mappings(void)
{
	static char buffer[1 << 16];
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC), lines = 0;
	ssize_t n;

	if (fd < 0)
		tap_bail("/proc/self/maps can be read");
	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		for (ssize_t i = 0; i < n; i++)
			lines += buffer[i] == '\n';
	close(fd);
	return lines;
}

/* One field of /proc/self/status in KiB, "VmSize:" for instance. */
__attribute__((unused))
static long status_kib(const char *field)
{
	static char buffer[1 << 13];
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buffer, sizeof(buffer) - 1);
	char *at;

	if (n < 0)
		tap_bail("/proc/self/status can be read");
	close(fd);
	buffer[n] = 0;
	at = strstr(buffer, field);
	if (!at)
		tap_bail("/proc/self/status has %s", field);
	return atol(at + strlen(field));
}

__attribute__((unused))
static void set_soft_limit(int resource, rlim_t value)
{
	struct rlimit limit;

	if (getrlimit(resource, &limit))
		tap_bail("getrlimit works");
	limit.rlim_cur = value;
	if (setrlimit(resource, &limit))
		tap_bail("setrlimit works");
}

__attribute__((unused))
static rlim_t soft_limit(int resource)
{
	struct rlimit limit;

	if (getrlimit(resource, &limit))
		tap_bail("getrlimit works");
	return limit.rlim_cur;
}

/* A child's test point, with the caller's next number: children run beside each other. */
static void relay_point(const char *line, bool failed)
{
	const char *sentence = strchr(line, '-');

	tap_failures += failed;
	printf("%sok %d %s", failed ? "not " : "", ++tap_points, sentence ? sentence : "\n");
}

/* Pass a child's test points on, and count them. */
__attribute__((unused))
static void relay_points(int from)
{
	FILE *stream = fdopen(from, "r");
	char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, stream) > 0) {
		bool failed = !strncmp(line, "not ok ", 7);

		if (failed || !strncmp(line, "ok ", 3))
			relay_point(line, failed);
		else if (strncmp(line, "1..", 3))
			fputs(line, stdout);
	}
	fflush(stdout);
	free(line);
	fclose(stream);
}

/*
 * Run a case in a child; the child's points count as the caller's. The name is
 * printed if the child crashes or hangs.
 */
#define in_child(body) in_child_named(#body, body)

__attribute__((unused))
static void in_child_named(const char *name, void (*body)(void))
{
	int ends[2], status, failures = tap_failures;
	pid_t child;

	fflush(stdout);
	if (pipe2(ends, O_CLOEXEC))
		tap_bail("pipe works");
	child = fork();
	if (child < 0)
		tap_bail("fork works");
	if (!child) {
		dup2(ends[1], STDOUT_FILENO);
		close(ends[0]);
		close(ends[1]);
		alarm(CASE_SECONDS);
		body();
		fflush(stdout);
		_exit(0);
	}
	close(ends[1]);
	relay_points(ends[0]);
	waitpid(child, &status, 0);
	if (WIFSIGNALED(status)) {
		ok(false, "case %s runs to its end", name);
		diag("  %s", WTERMSIG(status) == SIGALRM ? "it hung" : strsignal(WTERMSIG(status)));
	} else if (WEXITSTATUS(status) > 1 || (WEXITSTATUS(status) && tap_failures == failures)) {
		/* 1 is tap_bail(), which has printed its point; or a sanitizer, which has not. */
		ok(false, "case %s ends by itself, not with status %d", name, WEXITSTATUS(status));
	}
}

#endif
