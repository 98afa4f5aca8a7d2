// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * bpf_lookup.bpf.c - one program a name and size. Programs that share a member of
 * TLD_KEYS() find each other's cached keys.
 */
#include "bpf_kernel.h"
#include "bpf_lookup.h"

TLD_KEYS(alpha, beta, long_a, long_b, long_too_much);

#define LOOKUP(program, key, name, size)				\
SEC("syscall")								\
int program(struct lookup_view *view)					\
{									\
	struct tld_object object;					\
	unsigned long long *tld;					\
									\
	view->err = tld_object_init(bpf_get_current_task_btf(), &object); \
	if (view->err)							\
		return 0;						\
	tld = tld_get_data(&object, key, name, size);			\
	if (!tld)							\
		return 0;						\
	view->value = *tld;						\
	view->found = 1;						\
	return 0;							\
}

LOOKUP(look_alpha, alpha, "alpha", 8)
LOOKUP(look_alpha_16, alpha, "alpha", 16)
LOOKUP(look_beta, beta, "beta", 8)
LOOKUP(look_long_a, long_a, LONG_A, 8)
LOOKUP(look_long_b, long_b, LONG_B, 8)
#ifndef NATIVE /* does not compile there */
LOOKUP(look_long_too_much, long_too_much, LONG_TOO_MUCH, 8)
#endif

/* Variables of every name that a macro might use for its own. */
SEC("syscall")
int look_with_busy_names(struct lookup_view *view)
{
	unsigned long long *data, *p, *value = 0, *tld = 0;
	struct tld_object object, *tld_obj = &object, *obj = tld_obj;
	long off = 1, cnt = 2, i = 3, size = 8, start = 4, u = 5, err;

	err = tld_object_init(bpf_get_current_task_btf(), obj);
	view->err = err;
	if (err)
		return 0;
	data = tld_get_data(tld_obj, alpha, "alpha", sizeof(*data));
	p = tld_get_data(obj, beta, "beta", sizeof(*p));
	if (!data || !p || value || tld)
		return 0;
	view->value = *data + *p;
	view->found = off == 1 && cnt == 2 && i == 3 && size == 8 && start == 4 && u == 5;
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
