// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * churn_v1.bpf.c - watches threads that come and go through a v1 map, from the wire
 * formats: the offset of the data is the page's first word, "a" the first TLD.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "churn.h"

#define CHURN_PAGE 4096

typedef struct {
	unsigned long long word[CHURN_PAGE / 8];
} churn_page;

#define __churn_uptr __attribute__((btf_type_tag("uptr")))

struct churn_value {
	churn_page __churn_uptr *data;
	churn_page __churn_uptr *meta;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct churn_value);
} tld_data_map SEC(".maps");

static inline __attribute__((always_inline)) int churn_find(struct task_struct *task,
							    struct churn_words *words)
{
	struct churn_value *value = bpf_task_storage_get(&tld_data_map, task, 0, 0);
	unsigned long long start;
	churn_page *data;

	if (!value)
		return -1;
	data = value->data;
	if (!data)
		return -1;
	/* In this order the verifier can follow it. */
	start = data->word[0] & (CHURN_PAGE - 8);
	if (start > CHURN_PAGE - 16)
		return -1;
	words->a = (void *)data + start;
	words->b = words->a + 1;
	return 0;
}
