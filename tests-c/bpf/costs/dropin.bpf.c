// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* One look-up through task_local_data.bpf.h, which costs.sh counts. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "task_local_data.bpf.h"

struct tld_keys {
	tld_key_t cost;
};

__u64 value;

SEC("syscall")
int look_up(void *ctx)
{
	struct tld_object task;
	__u64 *cost;

	if (tld_object_init(bpf_get_current_task_btf(), &task))
		return 0;
	cost = tld_get_data(&task, cost, "cost", sizeof(*cost));
	if (cost)
		value = *cost;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
