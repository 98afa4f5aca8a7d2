// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * load_keys.bpf.c - the limits of TLD_KEYS() and the names of the map: with -DONE_KEY one
 * name, else 63; -DTLD_MAP_NAME=... and -DTLD_PINNED as the compilation says.
 */
#include "bpf_kernel.h"

#ifdef ONE_KEY
TLD_KEYS(key_62);
#define FIRST_OF(task) 0
#else
#define TEN(n) key_##n##0, key_##n##1, key_##n##2, key_##n##3, key_##n##4, \
	key_##n##5, key_##n##6, key_##n##7, key_##n##8, key_##n##9
TLD_KEYS(key_0, key_1, key_2, key_3, key_4, key_5, key_6, key_7, key_8, key_9,
	 TEN(1), TEN(2), TEN(3), TEN(4), TEN(5), key_60, key_61, key_62);
#define FIRST_OF(task) value_of(tld_get(task, key_0, sizeof(__u64)))
#endif

__u64 keys_sum;

static inline __attribute__((always_inline, unused)) __u64 value_of(__u64 *p)
{
	return p ? *p : 0;
}

SEC("syscall")
int sum_keys(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();

	keys_sum = FIRST_OF(task) + value_of(tld_get(task, key_62, sizeof(__u64)));
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
