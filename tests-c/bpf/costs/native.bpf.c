// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* One look-up through tld.bpf.h, and a bare one, which costs.sh counts. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "tld.bpf.h"

TLD_KEYS(cost);

__u64 value;

SEC("syscall")
int look_up(void *ctx)
{
	__u64 *cost = tld_get(bpf_get_current_task_btf(), cost, sizeof(*cost));

	if (cost)
		value = *cost;
	return 0;
}

SEC("syscall")
int bare(void *ctx)
{
	struct tld_map_value *element;

	element = bpf_task_storage_get(&tld_data_map, bpf_get_current_task_btf(), 0, 0);
	if (element)
		value = element->start;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
