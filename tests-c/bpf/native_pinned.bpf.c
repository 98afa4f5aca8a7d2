// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * native_pinned.bpf.c - looks three TLDs up in a pinned map. native_pinned_other.bpf.c
 * has the same names at other places of the same map, one of them by another key.
 */
#include <linux/bpf.h>
#define TLD_PINNED
#define TLD_MAP_NAME hints
#include "tld.bpf.h"
#include "native.h"

#ifndef PINNED_KEYS
#define PINNED_KEYS prio, request, late
#endif
TLD_KEYS(PINNED_KEYS);

#define LOOK(which, key, name)							\
	p = tld_get_named(bpf_get_current_task_btf(), key, name, sizeof(*p));	\
	NATIVE_REPORT(view, which, p);

SEC("syscall")
int pinned_look(struct native_view *view)
{
	unsigned long long *p;

	LOOK(PRIO, prio, "prio")
	LOOK(REQUEST, request, "app.request")
	LOOK(LATE, late, "late")
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
