/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * Runs the cases of the kernel's test_task_local_data.c, or one of them, and
 * counts. The last line on stdout is for kselftest.sh.
 *
 *   (no argument)   run all cases in this process
 *   CASE            run that case alone
 *   --list          print the names of the cases
 */
#include <stdarg.h>
#include <stdatomic.h>

#include "test_progs.h"

/* Far above any real duration (a second or two), so only what hangs meets it. */
#define TIME_LIMIT_SECONDS 120

/* A broken library fails tens of thousands of assertions; these tell enough. */
#define FAILURES_SHOWN 20

void test_task_local_data(void);

static const char *only_case;
static bool listing;
static unsigned int cases_run;
static atomic_ulong passed, failed;

bool test__start_subtest(const char *name)
{
	if (listing) {
		puts(name);
		return false;
	}
	if (only_case && strcmp(name, only_case))
		return false;
	cases_run++;
	return true;
}

bool test__assert(bool ok, const char *where, int line, const char *name,
		  const char *format, ...)
{
	int saved_errno = errno;
	char reason[256];
	va_list args;

	if (ok) {
		atomic_fetch_add(&passed, 1);
	} else if (atomic_fetch_add(&failed, 1) < FAILURES_SHOWN) {
		va_start(args, format);
		vsnprintf(reason, sizeof(reason), format, args);
		va_end(args);
		fprintf(stderr, "%s:%d: %s: %s\n", where, line, name, reason);
	}
	errno = saved_errno;
	return ok;
}

int main(int argc, char **argv)
{
	if (argc > 2) {
		fprintf(stderr, "usage: %s [--list | CASE]\n", argv[0]);
		return 2;
	}
	if (argc == 2 && !strcmp(argv[1], "--list"))
		listing = true;
	else if (argc == 2)
		only_case = argv[1];

	alarm(TIME_LIMIT_SECONDS);
	test_task_local_data();
	if (listing)
		return 0;
	if (!cases_run) {
		fprintf(stderr, "no case of this name: %s\n", only_case);
		return 2;
	}
	printf("%lu passed %lu failed\n", atomic_load(&passed), atomic_load(&failed));
	return atomic_load(&failed) ? 1 : 0;
}
