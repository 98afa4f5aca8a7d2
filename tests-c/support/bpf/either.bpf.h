/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * either.bpf.h - one BPF header or the other under the drop-in's names, so that one
 * source X.bpf.c makes X.bpf.o and, with -DNATIVE, X.native.bpf.o: native.mk says of
 * which X. Its side in the tests is either.h.
 *
 *	TLD_KEYS(value, other);
 *	...
 *	struct tld_object object;
 *
 *	if (tld_object_init(task, &object))
 *		return 0;
 *	number = tld_get_data(&object, value, "value", sizeof(*number));
 */
#ifndef TESTS_C_EITHER_BPF_H
#define TESTS_C_EITHER_BPF_H

#ifdef NATIVE
#include "tld.bpf.h"

struct tld_object {
	struct task_struct *task;
};

/* Further look-ups are safe whatever the result: they find nothing. */
#define EITHER_GOES_ON 1
#define tld_object_init(of, object) \
	((object)->task = (of), tld_present((object)->task) ? 0 : -TLD_ENODATA)
#define tld_get_data(object, key, name, size) tld_get_named((object)->task, key, name, size)
#else
#include "task_local_data.bpf.h"

#define EITHER_GOES_ON 0
#define TLD_KEYS(...)					\
	struct tld_keys {				\
		tld_key_t __VA_ARGS__;			\
	}
#endif

#endif
