/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * table.h - the figures for people: a table, live on a terminal, and a verdict.
 */
#ifndef ONCPU_TABLE_H
#define ONCPU_TABLE_H

#include <stdbool.h>

#include "oncpu.h"
#include "server.h"

/* Whether standard output is a terminal on which a table can be redrawn. */
bool table_can_redraw(void);

/*
 * Draw a table that is to be redrawn, with a line of text below, and hide the
 * cursor; only where table_can_redraw().
 */
void table_draw(const struct oncpu_totals *bpf, const struct server_figures *own,
		const char *footer);

/* Print the last table, in the place of the one drawn before, if any. */
void table_finish(const struct oncpu_totals *bpf, const struct server_figures *own);

/*
 * Give the terminal back, below what was drawn: the cursor shown, and the next
 * table in a place of its own. Does nothing where nothing was drawn.
 */
void table_leave(void);

/*
 * Say whether BPF and the program agree, and what the tag changes cost.
 * Return: whether they agree and no tag change but a thread's first took a
 * system call.
 */
bool table_verdict(const struct oncpu_totals *bpf, const struct server_figures *own,
		   unsigned int threads);

#endif /* ONCPU_TABLE_H */
