// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * options.c - the server's command line.
 */
#include <argp.h>
#include <stdlib.h>

#include "../scx_hint/sched_hint.h"
#include "options.h"

enum { KEY_ROUNDS = 256, KEY_TIMEOUT, KEY_PIN, KEY_NO_HINTS };

static const struct argp_option known[] = {
	{ "port", 'p', "N", 0, "listen on 127.0.0.1:N (default 0: any; it is printed)", 0 },
	{ "threads", 't', "N", 0, "work in N threads (default 8)", 0 },
	{ "rounds", KEY_ROUNDS, "N", 0,
	  "compute for N rounds in a look-up, 100 N in a report (default 150000: 0.2 ms, 20 ms)", 0 },
	{ "timeout", KEY_TIMEOUT, "SECONDS", 0,
	  "close a connection without a whole request for so long (default 10)", 0 },
	{ "pin", KEY_PIN, "PATH", 0,
	  "hint through the data map that is pinned at PATH (default " SCHED_HINT_PIN ")", 0 },
	{ "no-hints", KEY_NO_HINTS, NULL, 0, "hint through none", 0 },
	{ 0 },
};

static unsigned int number(const char *arg, unsigned int min, unsigned int max,
			   const struct argp_state *state)
{
	char *end;
	long n = strtol(arg, &end, 10);

	if (end == arg || *end || n < (long)min || n > (long)max)
		argp_error(state, "'%s' is no number from %u to %u", arg, min, max);
	return (unsigned int)n;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case 'p':
		options->port = (uint16_t)number(arg, 0, UINT16_MAX, state);
		return 0;
	case 't':
		options->threads = number(arg, 1, 256, state);
		return 0;
	case KEY_ROUNDS:
		options->rounds = number(arg, 1, UINT32_MAX, state);
		return 0;
	case KEY_TIMEOUT:
		options->timeout_s = number(arg, 1, 3600, state);
		return 0;
	case KEY_PIN:
		options->pin = arg;
		return 0;
	case KEY_NO_HINTS:
		options->pin = NULL;
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

struct options options_parse(int argc, char **argv)
{
	struct options options = {
		.threads = 8, .rounds = 150000, .timeout_s = 10, .pin = SCHED_HINT_PIN,
	};
	const struct argp argp = {
		.options = known,
		.parser = parse,
		.doc = "A small HTTP server on the loopback interface: GET /lookup computes briefly, "
		       "/report long, / says what the threads do. Ctrl-C or SIGTERM ends it.",
	};

	argp_err_exit_status = 2;
	argp_parse(&argp, argc, argv, 0, NULL, &options);
	return options;
}
