/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* options.h - the loader's command line. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <sys/types.h>

#include "scx_hint.h"

#define TRUST_MAX 256

struct options {
	bool stats, no_hints, verbose;
	const char *pin, *group;	/* group: NULL, as it is */
	mode_t mode;			/* of the pin; 0: as it is */
	unsigned int budget[BUDGETS], window_ms, slice_us;
	__u64 trust[TRUST_MAX];		/* keys of the map "trusted" */
	unsigned int trusts;
};

/* Ends the process where they are wrong, or ask for help. */
void options_parse(struct options *options, int argc, char **argv);

#endif
