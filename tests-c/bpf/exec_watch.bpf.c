// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * exec_watch.bpf.c - value.bpf.c in an object that watches execve(), and a look at one
 * task whenever it leaves a processor.
 */
#include "value.bpf.c"
#include <bpf/bpf_core_read.h>
#include "exec_watch.h"

TLD_WATCH_EXEC();

struct task_struct___storm {
	unsigned int self_exec_id;
	unsigned int in_execve : 1;
} __attribute__((preserve_access_index));

struct exec_storm storm;

SEC("syscall")
int storm_is_me(void *ctx)
{
	struct task_struct___storm *fields = (void *)bpf_get_current_task_btf();

	storm.first_id = fields->self_exec_id;
	storm.task = (unsigned long long)fields;
	return 0;
}

static inline __attribute__((always_inline)) void judge(struct task_struct___storm *fields,
							unsigned long long number)
{
	unsigned int image = fields->self_exec_id - storm.first_id;

	if (!number) {
		storm.zero++;
	} else if (number == image + 1) {
		storm.own++;
	} else if (BPF_CORE_READ_BITFIELD(fields, in_execve)) {
		storm.during++;
	} else {
		storm.wrong++;
		storm.wrong_image = image;
		storm.wrong_value = number;
	}
}

/* bool preempt, struct task_struct *prev, ... */
SEC("tp_btf/sched_switch")
int storm_switch(unsigned long long *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx[1];
	struct tld_object object;
	unsigned long long *number;

	if ((unsigned long long)task != storm.task)
		return 0;
	storm.looks++;
	if (tld_object_init(task, &object)) {
		storm.absent++;
		return 0;
	}
	number = tld_get_data(&object, value, "value", sizeof(*number));
	if (number)
		judge((struct task_struct___storm *)task, *number);
	else
		storm.absent++;
	return 0;
}
