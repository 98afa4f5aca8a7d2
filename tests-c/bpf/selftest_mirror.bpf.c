// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* selftest_mirror.bpf.c - reads the calling thread's TLDs with either header. */
#include "bpf_kernel.h"
#include "selftest_mirror.h"

TLD_KEYS(value0, value1, value2, last, missing);

#define copy_out(object, view, key, name)						\
({											\
	__typeof__((view)->key) *copy_from = tld_get_data(object, key, name, sizeof(*copy_from)); \
	if (copy_from) {								\
		(view)->key = *copy_from;						\
		(view)->has_##key = 1;							\
	}										\
})

SEC("syscall")
int read_values(struct mirror_view *view)
{
	struct tld_object object;

	view->err = tld_object_init(bpf_get_current_task_btf(), &object);
	if (view->err)
		return 0;
	copy_out(&object, view, value0, "value0");
	copy_out(&object, view, value1, "value1");
	copy_out(&object, view, value2, "value2");
	copy_out(&object, view, last, "value62");
	copy_out(&object, view, missing, "missing");
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
