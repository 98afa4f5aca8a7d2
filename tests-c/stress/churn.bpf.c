// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* churn.bpf.c - watches threads that come and go, by either header. */
#include "bpf_kernel.h"
#include "churn.h"

TLD_KEYS(a, b);

static inline __attribute__((always_inline)) int churn_find(struct task_struct *task,
							    struct churn_words *words)
{
	struct tld_object object;
	int err = tld_object_init(task, &object);

	if (err)
		return err;
	words->a = tld_get_data(&object, a, "a", sizeof(*words->a));
	words->b = tld_get_data(&object, b, "b", sizeof(*words->b));
	return 0;
}
