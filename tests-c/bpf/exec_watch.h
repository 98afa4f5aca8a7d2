/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* exec_watch.h - what exec_watch's BPF programs and their test share. */
#ifndef TESTS_C_EXEC_WATCH_H
#define TESTS_C_EXEC_WATCH_H

/*
 * One task that executes itself over and over. Each image stores its number, and
 * task->self_exec_id counts them, so whose value it is that BPF reads is known.
 */
struct exec_storm {
	unsigned long long task;	/* as a number; 0: look at nobody */
	unsigned int first_id;		/* its self_exec_id in image 0 */
	unsigned int looks;
	unsigned int absent;		/* no data */
	unsigned int zero;		/* data, nothing stored yet */
	unsigned int own;		/* the value of the image that runs */
	unsigned int during;		/* another's, while the kernel loads the image */
	unsigned int wrong;		/* another's, in an image that runs */
	/* What was wrong last: the image that ran, and the value. */
	unsigned int wrong_image;
	unsigned long long wrong_value;
};

#endif
