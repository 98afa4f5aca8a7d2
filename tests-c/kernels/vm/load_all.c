// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * load_all.c - loads BPF objects, a test point for each program in them.
 *
 *	load_all [--refused] OBJECT...
 *
 * --refused: this kernel has no UPTR. Then each object must be refused by the verifier.
 */
#include <bpf/libbpf.h>
#include <libgen.h>
#include "tap.h"

/* The end of what libbpf said since open_object(): there, or in the verifier's log, is why. */
static char *said;
#define EXCERPT 2000

static int listen(enum libbpf_print_level level, const char *format, va_list args)
{
	char *text, *all;

	if (level > LIBBPF_WARN || vasprintf(&text, format, args) < 0)
		return 0;
	if (asprintf(&all, "%s%s", said ? said : "", text) > 0) {
		free(said);
		said = all;
	}
	free(text);
	return 0;
}

static struct bpf_object *open_object(const char *path)
{
	struct bpf_object *object = bpf_object__open(path);

	if (!object)
		tap_bail("%s can be opened", path);
	free(said);
	said = NULL;
	return object;
}

/* One program, and what it cannot do without; libbpf finds out which maps those are. */
static int load_alone(const char *path, const char *name)
{
	struct bpf_object *object = open_object(path);
	struct bpf_program *program;
	int err;

	bpf_object__for_each_program(program, object)
		bpf_program__set_autoload(program, !strcmp(bpf_program__name(program), name));
	err = bpf_object__load(object);
	bpf_object__close(object);
	return err;
}

static void show_why(void)
{
	size_t length = said ? strlen(said) : 0;
	char *text = length > EXCERPT ? said + length - EXCERPT : said, *line;

	while ((line = strsep(&text, "\n")))
		diag("  %s", line);
}

/* The object is tried whole, and only a refusal program by program: to load takes long. */
static void must_load(const char *path, const char *object_name)
{
	struct bpf_object *object = open_object(path);
	int err = bpf_object__load(object);
	struct bpf_program *program;

	bpf_object__for_each_program(program, object) {
		const char *name = bpf_program__name(program);

		if (err && !is(load_alone(path, name), 0, "%s: %s loads", object_name, name))
			show_why();
		else if (!err)
			ok(true, "%s: %s loads", object_name, name);
	}
	bpf_object__close(object);
}

static void must_be_refused(const char *path, const char *object_name)
{
	struct bpf_object *object = open_object(path);

	if (!is(bpf_object__load(object), -EACCES, "%s is refused", object_name) ||
	    !ok(said && strstr(said, "invalid mem access 'scalar'"), "by the verifier"))
		show_why();
	bpf_object__close(object);
}

int main(int argc, char **argv)
{
	bool refused = argc > 1 && !strcmp(argv[1], "--refused");

	libbpf_set_print(listen);
	diag("libbpf %s", libbpf_version_string());
	for (int i = 1 + refused; i < argc; i++)
		(refused ? must_be_refused : must_load)(argv[i], basename(argv[i]));
	return tap_done();
}
