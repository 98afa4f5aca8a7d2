// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* hostile_pages.bpf.c - looks into hostile pages with the drop-in header. */
#include "hostile_pages_rounds.h"
#include "bpf_kernel.h"

struct tld_keys {
	tld_key_t one;
	tld_key_t word;
	tld_key_t line;
	tld_key_t half;
	tld_key_t whole;
	tld_key_t longest;
};

#define HOSTILE_OBJECT struct tld_object
#define HOSTILE_OPEN tld_object_init
#define HOSTILE_GET tld_get_data
#define HOSTILE_DATA(object) ((object)->data_map->data)
#define HOSTILE_META(object) ((object)->data_map->meta)
#include "hostile_pages_look.h"
