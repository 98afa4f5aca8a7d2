/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * iterate.h - a task iterator's descriptor, for the reader and the setter.
 */
#ifndef CTLDCTL_ITERATE_H
#define CTLDCTL_ITERATE_H

#include <bpf/libbpf.h>
#include <linux/types.h>

/* Over all tasks, or over that one unless @tid is 0. A descriptor, or a negative errno. */
int ctldctl_iterate(struct bpf_program *program, __u32 tid);

#endif
