// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * table.c - the figures for people: a table, live on a terminal, and a verdict.
 *
 * BPF's counts are read from memory that it is still writing to; every number
 * is one aligned word, so it is either the old or the new one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "table.h"

/*
 * How far apart BPF and the program may be in one kind. Both read the same
 * clock; what remains are the microseconds in which a worker that comes back
 * with a new request still has the old tag. On a machine of its own that makes
 * less than 1%. A virtual processor that its host stops for milliseconds at
 * just that point has made 3%; one wrong tag in 20 makes more than 5%.
 */
#define TOLERANCE_PERCENT	5.0
#define TOLERANCE_MS		5.0

#define COLUMNS	72			/* no line of the table is longer */
#define LINES	(2 + ONCPU_KINDS - 1 + 2)	/* heading, kinds, total, footer */

static const char *const names[ONCPU_KINDS] = {
	[ONCPU_STATIC] = "static",
	[ONCPU_SEARCH] = "search",
	[ONCPU_CHECKOUT] = "checkout",
	[ONCPU_REPORT] = "report",
};

/* Lines to go up to draw in the same place again; 0 if nothing was drawn. */
static unsigned int drawn;

bool table_can_redraw(void)
{
	const char *term = getenv("TERM");
	struct winsize size;

	return isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") &&
	       !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col >= COLUMNS &&
	       size.ws_row > LINES;
}

static double ms(uint64_t ns)
{
	return (double)ns / 1e6;
}

static double percent(double part, double whole)
{
	return whole > 0 ? 100 * part / whole : 0;
}

/* The end of a line, and of what was there before. */
static const char *eol(void)
{
	return drawn ? "\033[K\n" : "\n";
}

static void print_row(const char *name, uint64_t requests, uint64_t bpf_ns, uint64_t own_ns,
		      uint64_t all_ns)
{
	double difference = percent(ms(bpf_ns) - ms(own_ns), ms(own_ns));

	/* "-0.00%" would make people wonder. */
	if (difference < 0 && difference > -0.005)
		difference = 0;
	printf("%-8s  %9" PRIu64 "  %13.1f  %6.1f%%  %13.1f  %+9.2f%%%s", name, requests,
	       ms(bpf_ns), percent(ms(bpf_ns), ms(all_ns)), ms(own_ns), difference, eol());
}

static void print_table(const struct oncpu_totals *bpf, const struct server_figures *own)
{
	uint64_t bpf_ns[ONCPU_KINDS], requests = 0, bpf_all = 0, own_all = 0;
	unsigned int kind;

	for (kind = ONCPU_STATIC; kind < ONCPU_KINDS; kind++) {
		bpf_ns[kind] = __atomic_load_n(&bpf->ns[kind], __ATOMIC_RELAXED);
		bpf_all += bpf_ns[kind];
		own_all += own->ns[kind];
		requests += own->requests[kind];
	}
	printf("%-8s  %9s  %13s  %7s  %13s%s", "", "", "on-CPU ms", "", "on-CPU ms", eol());
	printf("%-8s  %9s  %13s  %7s  %13s  %10s%s", "kind", "requests", "seen by BPF", "share",
	       "own clock", "difference", eol());
	for (kind = ONCPU_STATIC; kind < ONCPU_KINDS; kind++)
		print_row(names[kind], own->requests[kind], bpf_ns[kind], own->ns[kind], bpf_all);
	print_row("total", requests, bpf_all, own_all, bpf_all);
}

static void go_back(void)
{
	if (drawn)
		printf("\033[%uA\r", drawn);
}

void table_draw(const struct oncpu_totals *bpf, const struct server_figures *own,
		const char *footer)
{
	static char buffer[8192];

	/* A frame is one write(2): a terminal then never shows half of one. */
	if (!drawn) {
		fflush(stdout);
		setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
		printf("\033[?25l");
	}
	go_back();
	drawn = LINES;
	print_table(bpf, own);
	printf("%s%s", footer, eol());
	fflush(stdout);
}

void table_leave(void)
{
	if (!drawn)
		return;
	drawn = 0;
	printf("\033[?25h");
	fflush(stdout);
}

void table_finish(const struct oncpu_totals *bpf, const struct server_figures *own)
{
	/* After the window was made too small, nobody knows where the table is. */
	if (!table_can_redraw())
		table_leave();
	go_back();
	print_table(bpf, own);
	if (drawn)
		printf("\033[J");
	table_leave();
}

/* The kind in which BPF and the program differ most, as a multiple of what is allowed. */
static double worst_difference(const struct oncpu_totals *bpf, const struct server_figures *own,
			       unsigned int *worst)
{
	double allowed, ratio, most = -1;
	unsigned int kind;

	for (kind = ONCPU_STATIC; kind < ONCPU_KINDS; kind++) {
		allowed = ms(own->ns[kind]) * TOLERANCE_PERCENT / 100;
		if (allowed < TOLERANCE_MS)
			allowed = TOLERANCE_MS;
		ratio = (ms(bpf->ns[kind]) - ms(own->ns[kind])) / allowed;
		if (ratio < 0)
			ratio = -ratio;
		if (ratio > most) {
			most = ratio;
			*worst = kind;
		}
	}
	return most;
}

static bool agreement(const struct oncpu_totals *bpf, const struct server_figures *own)
{
	unsigned int kind = ONCPU_STATIC;
	bool agree = worst_difference(bpf, own, &kind) <= 1;
	double difference = ms(bpf->ns[kind]) - ms(own->ns[kind]);

	printf("\nBPF and the program %s: \"%s\" differs most, by %.2f ms (%.2f%%);\n"
	       "allowed are %g%% or %g ms for each kind, whichever is more.\n",
	       agree ? "agree" : "DISAGREE", names[kind], difference < 0 ? -difference : difference,
	       percent(difference < 0 ? -difference : difference, ms(own->ns[kind])),
	       TOLERANCE_PERCENT, TOLERANCE_MS);
	return agree;
}

bool table_verdict(const struct oncpu_totals *bpf, const struct server_figures *own,
		   unsigned int threads)
{
	uint64_t calls = 0, tagging_calls = 0;
	bool agree = agreement(bpf, own);
	unsigned int i;

	for (i = 0; i < threads; i++) {
		calls += bpf->workers[i].calls;
		tagging_calls += bpf->workers[i].tagging_calls;
	}
	printf("\n%" PRIu64 " tag changes took %" PRIu64 " system calls, counted by BPF:\n"
	       "%" PRIu64 " in the threads' first changes, %" PRIu64 " in the %" PRIu64
	       " after those.\n"
	       "The same threads made %" PRIu64 " system calls in all.\n",
	       own->tag_changes, tagging_calls, own->first_calls,
	       tagging_calls - own->first_calls, own->tag_changes - threads, calls);
	if (tagging_calls == own->first_calls)
		return agree;
	printf("Tag changes after a thread's first should take none: this is a FAULT.\n");
	return false;
}
