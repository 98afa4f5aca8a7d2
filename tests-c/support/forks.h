/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * forks.h - children that may not print, because they share their parent's memory or were
 * made while other threads held the C library's locks: what one of them finds wrong first
 * is left in a shared page, and is a test point of its parent's.
 */
#ifndef TESTS_C_FORKS_H
#define TESTS_C_FORKS_H

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include "process.h"

/* A child that waits for ever ends with SIGALRM. */
#define CHILD_SECONDS patience(10)

struct report {
	const char *text;	/* of this image, so at the same address in the parent */
	int line, err;
	int word;		/* for what a case wants to tell */
};

static struct report *report;

__attribute__((unused))
static void report_open(void)
{
	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (report == MAP_FAILED)
		tap_bail("a page to report in");
}

/* In a child: false, and the first one is reported. */
#define check(condition) report_check((condition), #condition, __LINE__)

__attribute__((unused))
static bool report_check(bool holds, const char *text, int line)
{
	if (!holds && !report->text) {
		report->err = errno;
		report->line = line;
		report->text = text;
	}
	return holds;
}

/* How a process ended: its status, or minus the signal. */
__attribute__((unused))
static int reap(pid_t child)
{
	int status;

	if (waitpid(child, &status, 0) != child)
		tap_bail("a child can be waited for");
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* Whether a child found all that it checked to be so, and ended by itself. */
__attribute__((unused))
static bool was_right(pid_t child)
{
	int status = reap(child);
	struct report found = *report;

	memset(report, 0, sizeof(*report));
	if (found.text)
		diag("  in the child, not true: %s (line %d, errno %d: %s)", found.text, found.line,
		     found.err, strerror(found.err));
	if (status)
		diag("  the child ended with %s", status == -SIGALRM ? "a deadlock" :
		     status < 0 ? strsignal(-status) : "a status that is not 0");
	return !found.text && !status;
}

#endif
