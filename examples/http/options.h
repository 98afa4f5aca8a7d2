/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * options.h - the server's command line.
 */
#ifndef HTTP_OPTIONS_H
#define HTTP_OPTIONS_H

#include <stdint.h>

struct options {
	uint16_t port;		/* 0: any that is free */
	unsigned int threads;	/* workers, from 1 */
	unsigned int rounds;	/* of computing, for a look-up */
	unsigned int timeout_s;	/* for a request to arrive */
	const char *pin;	/* of the data map; NULL: no hints */
};

/* Ends the program by itself, with a sentence, for what makes no sense. */
struct options options_parse(int argc, char **argv);

#endif /* HTTP_OPTIONS_H */
