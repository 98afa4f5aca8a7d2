// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* tld_at_page_end.bpf.c - reads and writes the last TLD of a page, by either header. */
#include "bpf_kernel.h"
#include "tld_at_page_end.h"

TLD_KEYS(all, tail, byte);

#define END_OF(type) (sizeof(((type *)0)->word) / 8 - 1)

#define look_at(view, type, key, name)						\
({										\
	struct tld_object object;						\
	type *data;								\
										\
	(view)->err = tld_object_init(bpf_get_current_task_btf(), &object);	\
	if ((view)->err)							\
		return 0;							\
	data = tld_get_data(&object, key, name, sizeof(type));			\
	if (!data)								\
		return 0;							\
	(view)->found = 1;							\
	(view)->first = data->word[0];						\
	(view)->last = data->word[END_OF(type)];				\
	if ((view)->write)							\
		data->word[END_OF(type)] = (view)->write;			\
})

SEC("syscall")
int look_all(struct page_end_view *view)
{
	look_at(view, struct page_end_all, all, "all");
	return 0;
}

SEC("syscall")
int look_tail(struct page_end_view *view)
{
	look_at(view, struct page_end_tail, tail, "tail");
	return 0;
}

/* The last byte as a TLD of its own. */
SEC("syscall")
int look_byte(struct page_end_view *view)
{
	struct tld_object object;
	unsigned char *data;

	view->err = tld_object_init(bpf_get_current_task_btf(), &object);
	if (view->err)
		return 0;
	data = tld_get_data(&object, byte, "byte", 1);
	if (!data)
		return 0;
	view->found = 1;
	view->first = view->last = *data;
	if (view->write)
		*data = (unsigned char)view->write;
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
