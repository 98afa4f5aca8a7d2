// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * load_refused.bpf.c - one look-up, made wrong by a macro on the command line: the compiler
 * has to turn each down with the header's own words, of which load.sh has a part.
 */
#include "bpf_kernel.h"
#ifdef OTHER_HEADER
#include OTHER_HEADER
#endif

#ifndef NAME
#define NAME "key"
#endif

#ifndef SIZE
#define SIZE 1
#endif

#ifdef NATIVE

#ifdef KEYS
TLD_KEYS(KEYS);
#else
TLD_KEYS(key);

SEC("syscall")
int look(void *ctx)
{
	return tld_get_named(bpf_get_current_task_btf(), key, NAME, SIZE) != 0;
}
#endif

#else

struct tld_keys {
#ifdef MEMBERS
	tld_key_t others[MEMBERS];
#endif
	tld_key_t key;
};

SEC("syscall")
int look(void *ctx)
{
	struct tld_object object;

	if (tld_object_init(bpf_get_current_task_btf(), &object))
		return 0;
	return tld_get_data(&object, key, NAME, SIZE) != 0;
}

#endif

char _license[] SEC("license") = "Dual BSD/GPL";
