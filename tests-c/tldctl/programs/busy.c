// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * busy.c - a library to preload, for which the kernel is busy: the first BUSY_LOADS programs of
 * tldctl that are loaded (libbpf's own probes not counted) end with EAGAIN.
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

static int is_ours(const char *name)
{
	return !strcmp(name, "read_task") || !strcmp(name, "set_value") || !strcmp(name, "on_switch");
}

long syscall(long number, ...)
{
	static long (*next)(long, ...);
	static int loads;
	const char *limit = getenv("BUSY_LOADS");
	unsigned long a[6];
	va_list args;

	if (!next)
		next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	va_start(args, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, unsigned long);
	va_end(args);
	if (number == SYS_bpf && a[0] == BPF_PROG_LOAD && is_ours(((union bpf_attr *)a[1])->prog_name) &&
	    limit && loads++ < atoi(limit)) {
		errno = EAGAIN;
		return -1;
	}
	return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
