// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * startup.c - how long a program takes that does nothing, from its start to its end:
 * linked with nothing, with libtld, with a library that has nothing in it (the floor), and
 * with libtld.a.
 */
#include <libgen.h>
#include <limits.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define STARTS 150

static const struct program {
	const char *figure, *file;
} programs[] = {
	{ "start_plain", "nothing_plain" },
	{ "start_linked", "nothing_linked" },
	{ "start_empty_library", "nothing_floor" },
	{ "start_static_libtld", "nothing_archive" },
};
#define PROGRAMS 4

static char directory[PATH_MAX];

static uint64_t start_and_end(const char *file)
{
	char path[PATH_MAX + 32], *argv[] = { path, NULL }, *environment[] = { NULL };
	uint64_t start;
	int status;
	pid_t child;

	snprintf(path, sizeof(path), "%s/%s", directory, file);
	start = now_ns();
	errno = posix_spawn(&child, path, NULL, NULL, argv, environment);
	if (errno || waitpid(child, &status, 0) < 0 || status)
		die("%s runs", path);
	return now_ns() - start;
}

int main(int argc, char **argv)
{
	static double samples[PROGRAMS][STARTS];

	(void)argc;
	snprintf(directory, sizeof(directory), "%s", dirname(argv[0]));
	for (int i = -5; i < STARTS; i++)
		for (int p = 0; p < PROGRAMS; p++)
			samples[p][i < 0 ? 0 : i] = start_and_end(programs[p].file);
	for (int p = 0; p < PROGRAMS; p++)
		median_figure(programs[p].figure, samples[p], STARTS);
	return 0;
}
