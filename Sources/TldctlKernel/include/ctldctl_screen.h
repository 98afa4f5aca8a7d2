/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * ctldctl_screen.h - the whole terminal for as long as a live view wants it.
 *
 * Between open and close it shows its alternate screen, without a cursor and without line
 * wrapping, and hands over keys as they are pressed. It is what it was before on every way
 * out: close, a signal that ends the process or is a fault of it, and, for as long as that
 * takes, a stop by Ctrl-Z. Only SIGKILL and SIGSTOP leave nobody the time for it. One screen
 * at a time; not for several threads.
 */
#ifndef CTLDCTL_SCREEN_H
#define CTLDCTL_SCREEN_H

#include <stddef.h>

/* -ENOTTY if standard output is not the terminal that this process is controlled by. */
int ctldctl_screen_open(void);
void ctldctl_screen_close(void);

/* Never less than 1. */
void ctldctl_screen_size(int *rows, int *columns);

/* All of it, though a slow terminal takes its time. */
int ctldctl_screen_write(const void *bytes, size_t count);

enum ctldctl_screen_event {
	CTLDCTL_SCREEN_KEYS = 1 << 0,	/* there is something to read */
	CTLDCTL_SCREEN_REDRAW = 1 << 1,	/* another size, or somebody else used it meanwhile */
	CTLDCTL_SCREEN_GONE = 1 << 2,	/* the terminal hung up */
};

/* Wait so many milliseconds at most, without end if negative. Events, 0 if there were none. */
int ctldctl_screen_wait(int milliseconds);

/* What was typed: bytes, 0 if nothing, or a negative errno. Does not wait. */
int ctldctl_screen_read(void *bytes, size_t capacity);

#endif
