// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* calls.bpf.c - see calls.h. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "calls.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct calls);
} calls_map SEC(".maps");

SEC("raw_tp/sys_enter")
int count_calls(void *ctx)
{
	__u32 zero = 0;
	struct calls *calls = bpf_map_lookup_elem(&calls_map, &zero);

	if (calls && calls->tid && calls->tid == (__u32)bpf_get_current_pid_tgid())
		calls->count++;
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
