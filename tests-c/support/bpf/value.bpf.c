// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* value.bpf.c - reads two TLDs with either header. */
#include "bpf_kernel.h"
#include "value.h"

TLD_KEYS(value, other);

SEC("syscall")
int look_value(struct value_view *view)
{
	struct tld_object object;
	unsigned long long *number;

	view->err = tld_object_init(bpf_get_current_task_btf(), &object);
	if (view->err && !EITHER_GOES_ON)
		return 0;
	number = tld_get_data(&object, value, "value", sizeof(*number));
	if (number) {
		view->err = 0;
		view->value = *number;
		view->has_value = 1;
	}
	number = tld_get_data(&object, other, "other", sizeof(*number));
	if (number) {
		view->err = 0;
		view->other = *number;
		view->has_other = 1;
	}
	return 0;
}

SEC("iter/task")
int list_values(struct bpf_iter__task___test *ctx)
{
	struct task_struct *task = ctx->task;
	unsigned long long *value, *other;
	struct value_record record;
	struct tld_object object;

	if (!task || tld_object_init(task, &object))
		return 0;
	value = tld_get_data(&object, value, "value", sizeof(*value));
	other = tld_get_data(&object, other, "other", sizeof(*other));
	if (!value || !other)
		return 0;
	record.value = *value;
	record.other = *other;
	bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
