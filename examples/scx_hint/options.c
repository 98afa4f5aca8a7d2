// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* options.c - the loader's command line. */
#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <linux/magic.h>

#include "options.h"
#include "sched_hint.h"

static unsigned int number(const char *text, const char *what, unsigned int from, unsigned int to,
			   char **rest, struct argp_state *state)
{
	unsigned long value;
	char *end_of;

	errno = 0;
	value = strtoul(text, &end_of, 10);
	if (errno || end_of == text || *text == '-' || (*end_of && !rest) || value < from || value > to)
		argp_error(state, "%s is a number from %u to %u, not \"%s\"", what, from, to, text);
	if (rest)
		*rest = end_of;
	return value;
}

static void trust(struct options *options, const char *text, struct argp_state *state)
{
	struct statfs file_system;
	struct stat cgroup;
	__u64 id;

	if (options->trusts == TRUST_MAX)
		argp_error(state, "--trust may be given %d times", TRUST_MAX);
	if (!strncmp(text, "uid:", 4)) {
		id = number(text + 4, "a user's id", 0, 0xfffffffe, NULL, state);
	} else if (!strncmp(text, "cgroup:", 7)) {
		if (stat(text + 7, &cgroup) || statfs(text + 7, &file_system))
			argp_failure(state, 1, errno, "%s", text + 7);
		if (file_system.f_type != CGROUP2_SUPER_MAGIC || !S_ISDIR(cgroup.st_mode))
			argp_failure(state, 1, 0, "%s is not a cgroup's directory", text + 7);
		id = TRUST_CGROUP | cgroup.st_ino; /* a cgroup's id is its directory's inode */
	} else {
		argp_error(state, "--trust takes uid:NUMBER or cgroup:DIRECTORY, not \"%s\"", text);
		return;
	}
	options->trust[options->trusts++] = id;
}

static const struct argp_option argp_options[] = {
	{ "stats", 's', NULL, 0, "Print what it did, each second", 0 },
	{ "pin", 'p', "PATH", 0, "Pin the data map there (" SCHED_HINT_PIN ")", 0 },
	{ "mode", 'm', "OCTAL", 0, "The pin's mode: who may write it may hint (as it is; 0600 for a new one)", 0 },
	{ "group", 'g', "GROUP", 0, "The pin's group, a name or a number", 0 },
	{ "trust", 't', "WHO", 0, "Follow hints of this user (uid:NUMBER), or of this cgroup and those below it "
	  "(cgroup:DIRECTORY, 16 levels), only; may be repeated", 0 },
	{ "budget", 'b', "A[,B]", 0, "Per cent of the time that the interactive class (A), and it and the normal "
	  "one (B), may take while others wait (50,90)", 0 },
	{ "window", 'w', "MS", 0, "The longest, in ms, that they do so at a stretch (100)", 0 },
	{ "slice", 'S', "US", 0, "How long, in us, a task runs while others of its class wait (3000)", 0 },
	{ "no-hints", 'n', NULL, 0, "Take all threads for normal ones, to compare", 0 },
	{ "verbose", 'v', NULL, 0, "What libbpf says", 0 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;
	char *rest;

	switch (key) {
	case 's': options->stats = true; break;
	case 'n': options->no_hints = true; break;
	case 'v': options->verbose = true; break;
	case 'p': options->pin = arg; break;
	case 'g': options->group = arg; break;
	case 't': trust(options, arg, state); break;
	case 'w': options->window_ms = number(arg, "--window", 10, 1000, NULL, state); break;
	case 'S': options->slice_us = number(arg, "--slice", 100, 20000, NULL, state); break;
	case 'm':
		options->mode = strtoul(arg, &rest, 8);
		if (*rest || !options->mode || options->mode > 0777 || options->mode & S_IWOTH)
			argp_error(state, "--mode is an octal number up to 775, not \"%s\"; others may not write "
				   "the pin, for programs do not trust such a one", arg);
		break;
	case 'b':
		options->budget[INTERACTIVE] = number(arg, "--budget", 1, 99, &rest, state);
		if (*rest == ',')
			options->budget[NORMAL] = number(rest + 1, "--budget", 1, 99, NULL, state);
		else if (*rest)
			argp_error(state, "--budget takes one number or two, as in 50,90, not \"%s\"", arg);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp argp = {
	argp_options, parse, NULL,
	"A CPU scheduler that runs first the threads that say somebody waits for them, in the task "
	"local datum \"" SCHED_HINT_NAME "\"."
	"\vIt schedules this machine until Ctrl-C; however it ends, the kernel's own scheduler "
	"goes on. Exit status: 0 after Ctrl-C or SIGTERM, 1 if it failed or the kernel ended it, "
	"64 for wrong options->",
	NULL, NULL, NULL
};

void options_parse(struct options *options, int argc, char **argv)
{
	*options = (struct options){ .pin = SCHED_HINT_PIN, .budget = { 50, 90 }, .window_ms = 100, .slice_us = 3000 };
	argp_err_exit_status = 64;
	argp_parse(&argp, argc, argv, 0, NULL, options);
}
