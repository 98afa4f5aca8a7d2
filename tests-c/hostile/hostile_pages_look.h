/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * hostile_pages_look.h - the program of hostile_pages, whatever the format: included
 * after hostile_pages_rounds.h and a BPF header, with
 *
 *	HOSTILE_OBJECT			the type that a task's data are found through
 *	HOSTILE_OPEN(task, object)	find them: 0 or a negative errno
 *	HOSTILE_GET(object, key, name, size)
 *	HOSTILE_DATA(object), HOSTILE_META(object)  the two pages, or NULL
 */
#ifndef TESTS_C_HOSTILE_PAGES_LOOK_H
#define TESTS_C_HOSTILE_PAGES_LOOK_H

static inline __attribute__((always_inline)) unsigned int hostile_cnt(const void *meta)
{
	return meta ? *(volatile const unsigned short *)meta : 65536;
}

#define LOOK(place, key, name, size)						\
	data = HOSTILE_GET(&object, key, name, size);				\
	if (data) {								\
		view->look[place].found = 1;					\
		view->look[place].at = (unsigned long long)data;		\
		view->look[place].first = data[0];				\
		view->look[place].last = data[(size) - 1];			\
		if (view->write) {						\
			data[0] = view->mark;					\
			data[(size) - 1] = view->mark;				\
		}								\
	}

SEC("syscall")
int hostile_look(struct hostile_view *view)
{
	unsigned long long begin = bpf_ktime_get_ns();
	HOSTILE_OBJECT object;
	unsigned char *data;

	view->err = HOSTILE_OPEN(bpf_get_current_task_btf(), &object);
	if (!view->err) {
		view->page = (unsigned long long)HOSTILE_DATA(&object);
		view->cnt_before = hostile_cnt(HOSTILE_META(&object));
		HOSTILE_LOOKS(LOOK)
		view->cnt_after = hostile_cnt(HOSTILE_META(&object));
	}
	view->ns = bpf_ktime_get_ns() - begin;
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";

#endif
