/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * tap.h - Test Anything Protocol for the C tests: one test point a sentence.
 *
 * main() calls ok() for each sentence and returns tap_done(). A test that the
 * machine cannot run calls tap_skip_all() before any ok(); the reason starts with
 * "kernel:" where the kernel lacks something, which STRICT=1 turns into a failure.
 */
#ifndef TESTS_C_TAP_H
#define TESTS_C_TAP_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tap_points, tap_failures;

/* What the points are about, in front of each sentence. */
static const char *tap_subject = "";

/* Count one test point; what follows is the sentence, as for printf. */
#define ok(condition, ...) tap_ok((condition), #condition, __FILE__, __LINE__, __VA_ARGS__)

/* Two integers are equal; a failure shows both. */
#define is(got, want, ...) tap_is((long long)(got), (long long)(want), __FILE__, __LINE__, __VA_ARGS__)

static inline void tap_sentence(bool passed, const char *format, va_list args)
{
	printf("%sok %d - %s", passed ? "" : "not ", ++tap_points, tap_subject);
	vprintf(format, args);
	putchar('\n');
	tap_failures += !passed;
}

__attribute__((format(printf, 5, 6), unused))
static bool tap_ok(bool passed, const char *text, const char *file, int line, const char *format, ...)
{
	int err = errno;
	va_list args;

	va_start(args, format);
	tap_sentence(passed, format, args);
	va_end(args);
	if (!passed)
		printf("#   not true: %s (%s:%d, errno %d: %s)\n", text, file, line, err, strerror(err));
	fflush(stdout);
	errno = err;
	return passed;
}

__attribute__((format(printf, 5, 6), unused))
static bool tap_is(long long got, long long want, const char *file, int line, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	tap_sentence(got == want, format, args);
	va_end(args);
	if (got != want)
		printf("#   got %lld, want %lld (%s:%d)\n", got, want, file, line);
	fflush(stdout);
	return got == want;
}

/* A remark that is no test point. */
#define diag(...) (printf("# " __VA_ARGS__), putchar('\n'), fflush(stdout))

/* Skip one point, with the reason. */
__attribute__((unused))
static void tap_skip(const char *sentence, const char *reason)
{
	printf("ok %d - %s%s # SKIP %s\n", ++tap_points, tap_subject, sentence, reason);
	fflush(stdout);
}

/* The whole program cannot run here. */
__attribute__((noreturn, unused))
static void tap_skip_all(const char *reason)
{
	printf("1..0 # SKIP %s\n", reason);
	exit(0);
}

/* The test cannot go on: a setup step that has to work did not. */
__attribute__((noreturn, format(printf, 1, 2), unused))
static void tap_bail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	tap_sentence(false, format, args);
	va_end(args);
	printf("#   errno %d: %s\n1..%d\n", errno, strerror(errno), tap_points);
	fflush(stdout);
	exit(1);
}

__attribute__((unused))
static int tap_done(void)
{
	printf("1..%d\n", tap_points);
	return tap_failures ? 1 : 0;
}

#endif
