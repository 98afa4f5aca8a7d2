/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * formats.h - cases that run once for each format of a data map, with a reader of it.
 *
 * The readers are loaded once; the cases run in children, to which the maps come with
 * fork() and are always empty at first.
 */
#ifndef TESTS_C_FORMATS_H
#define TESTS_C_FORMATS_H

#include <signal.h>
#include <sys/prctl.h>

#include "process.h"
#include "reader.h"
#include "tld.h"

#define FORMATS 3
#define ERRNO_MARK 12345

static struct reader *readers[FORMATS];

/* Those of the case that runs, and its TLD "value" of 8 bytes. */
static enum reader_format format;
static struct reader *reader;
static int map_fd;
static tld_key_t key;

/* How often errno was changed where it must not be. */
static int errno_changed;

/* A call that succeeds, or says all by its result: errno must stay. */
#define quiet(call)						\
({								\
	errno = ERRNO_MARK;					\
	__typeof__(call) got__ = (call);			\
	errno_changed += errno != ERRNO_MARK;			\
	got__;							\
})

__attribute__((unused))
static const char *name(void)
{
	return reader_format_name(format);
}

/* The sentence of a point that is about the case's format. */
#define F(sentence) "%s: " sentence, name()

__attribute__((unused))
static void use_format(enum reader_format of)
{
	format = of;
	reader = readers[of];
	map_fd = reader_map_fd(reader);
}

__attribute__((unused))
static void for_each_format(void (*cases)(void))
{
	for (int i = 0; i < FORMATS; i++) {
		use_format((enum reader_format)i);
		cases();
	}
}

__attribute__((unused))
static void open_readers(void)
{
	reader_need_kernel();
	for (int i = 0; i < FORMATS; i++)
		readers[i] = reader_open((enum reader_format)i);
}

__attribute__((unused))
static void close_readers(void)
{
	for (int i = 0; i < FORMATS; i++)
		reader_close(readers[i]);
}

__attribute__((unused))
static void make_key(void)
{
	key = tld_create_key("value", sizeof(uint64_t));
	if (tld_key_is_err(key))
		tap_bail("a key can be created");
}

static void (*body_of_case)(void);

__attribute__((unused))
static void with_key(void)
{
	make_key();
	body_of_case();
	is(errno_changed, 0, F("errno was left alone by all that succeeded"));
}

/* As in_child(), with the key, and a point about errno at the end. */
#define in_child_with_key(body) in_child_with_key_named(#body, body)

__attribute__((unused))
static void in_child_with_key_named(const char *what, void (*body)(void))
{
	body_of_case = body;
	in_child_named(what, with_key);
}

/* A child that ends with the case, should that fail or hang. */
__attribute__((unused))
static pid_t fork_for_case(void)
{
	pid_t child = fork();

	if (child < 0)
		tap_bail("fork works");
	if (!child)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return child;
}

__attribute__((unused))
static uint64_t own_value(void)
{
	return reader_u64(reader, 0, "value");
}

__attribute__((unused))
static void attach_or_bail(void)
{
	if (tld_attach(map_fd))
		tap_bail("a map can be attached");
}

#endif
