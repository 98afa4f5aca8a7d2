/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * either.h - cases that run once for each BPF header, with the object that it made of
 * one source: either.bpf.h says how.
 */
#ifndef TESTS_C_EITHER_H
#define TESTS_C_EITHER_H

#include <limits.h>
#include "tap.h"

static const struct either {
	const char *subject;	/* of the points */
	const char *suffix;	/* of the objects */
} eithers[] = {
	{ "drop-in header: ", ".bpf.o" },
	{ "native header: ", ".native.bpf.o" },
};

/* The header in question. */
static const struct either *either = eithers;

/* The object of @name.bpf.c, for reader_load() and the like, in a static buffer. */
__attribute__((unused))
static const char *either_file(const char *name)
{
	static char file[NAME_MAX];

	snprintf(file, sizeof(file), "%s%s", name, either->suffix);
	return file;
}

__attribute__((unused))
static bool either_is_native(void)
{
	return either != eithers;
}

__attribute__((unused))
static void with_each_header(void (*cases)(void))
{
	for (size_t i = 0; i < sizeof(eithers) / sizeof(*eithers); i++) {
		either = &eithers[i];
		tap_subject = either->subject;
		cases();
	}
	tap_subject = "";
}

#endif
