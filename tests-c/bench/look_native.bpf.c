// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* look_native.bpf.c - looks by tld.bpf.h. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "tld.bpf.h"
#include "look.h"

TLD_KEYS(hint_0, hint_1, hint_2, hint_3, hint_4, hint_5, hint_6, hint_7, hint_8, hint_9,
	 hint_10, hint_11, hint_12, hint_13, hint_14, hint_15, hint_61, missing, missing_of_0);

#define READ(key) LOOK_ADD(tld_get(task, key, sizeof(__u64)))
#define READ_VIEW(key) LOOK_ADD(tld_view_get(view, key, sizeof(__u64)))
#define WITH_VIEW(body) tld_view_t view = tld_view(task); if (view.data) { body; }

LOOK_LOOP(present, READ(hint_0))
LOOK_LOOP(absent, READ(missing))
LOOK_LOOP(absent_of_0, READ(missing_of_0))
LOOK_ONCE(last, READ(hint_61))
LOOK_LOOP(one, WITH_VIEW(READ_VIEW(hint_0)))
LOOK_LOOP(four, WITH_VIEW(LOOK_FOUR(READ_VIEW)))
LOOK_LOOP(sixteen, WITH_VIEW(LOOK_SIXTEEN(READ_VIEW)))

char _license[] SEC("license") = "GPL";
