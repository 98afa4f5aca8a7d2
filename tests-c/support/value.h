/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * value.h - what value.bpf.c reports: two TLDs of 8 bytes, "value" and "other", by
 * the drop-in BPF header, of the calling thread or of all threads of the machine.
 */
#ifndef TESTS_C_VALUE_H
#define TESTS_C_VALUE_H

struct value_view {
	int err;			/* of tld_object_init() */
	unsigned int has_value, has_other;
	unsigned long long value, other;
};

/* A record of the iterator list_values, for each thread that has both. */
struct value_record {
	unsigned long long value, other;
};

#ifndef __bpf__
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "tap.h"

/* Run look_value() of a loaded value.bpf.o on the calling thread. */
__attribute__((unused))
static struct value_view look_value(int prog_fd)
{
	struct value_view view = { .err = 1 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &view, .ctx_size_in = sizeof(view));

	if (bpf_prog_test_run_opts(prog_fd, &opts))
		tap_bail("look_value runs");
	return view;
}

/* BPF finds "value", and it is this. */
__attribute__((unused))
static bool header_reads_value(int prog_fd, unsigned long long value)
{
	struct value_view view = look_value(prog_fd);

	return !view.err && view.has_value && view.value == value;
}
#endif

#endif
