// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * look_two_maps.c - looks by task_local_data.bpf.h, libtld's or the kernel's: compiled for
 * BPF once with each.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "task_local_data.bpf.h"
#include "look.h"

struct tld_keys {
	tld_key_t hint_0, hint_1, hint_2, hint_3, hint_4, hint_5, hint_6, hint_7;
	tld_key_t hint_8, hint_9, hint_10, hint_11, hint_12, hint_13, hint_14, hint_15;
	tld_key_t hint_61, missing, missing_of_0;
};

#define READ(key) LOOK_ADD(tld_get_data(&object, key, #key, sizeof(__u64)))
#define WITH_OBJECT(body)							\
	struct tld_object object; if (!tld_object_init(task, &object)) { body; }

LOOK_LOOP(present, WITH_OBJECT(READ(hint_0)))
LOOK_LOOP(absent, WITH_OBJECT(READ(missing)))
LOOK_LOOP(absent_of_0, WITH_OBJECT(READ(missing_of_0)))
LOOK_ONCE(last, WITH_OBJECT(READ(hint_61)))
LOOK_LOOP(one, WITH_OBJECT(READ(hint_0)))
LOOK_LOOP(four, WITH_OBJECT(LOOK_FOUR(READ)))
LOOK_LOOP(sixteen, WITH_OBJECT(LOOK_SIXTEEN(READ)))

char _license[] SEC("license") = "GPL";
