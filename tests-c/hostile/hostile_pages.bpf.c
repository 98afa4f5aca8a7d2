// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* hostile_pages.bpf.c - looks into hostile pages with either header. */
#include "hostile_pages_rounds.h"
#include "bpf_kernel.h"

TLD_KEYS(one, word, line, half, whole, longest);

#ifdef NATIVE
#define HOSTILE_OBJECT tld_view_t
#define HOSTILE_OPEN(task, view) \
	((*(view) = tld_view(task)).data ? 0 : -TLD_ENODATA)
#define HOSTILE_GET(view, key, name, size) tld_view_get_named(*(view), key, name, size)
#define HOSTILE_DATA(view) ((view)->data)
#define HOSTILE_META(view) ((view)->element->meta)
#else
#define HOSTILE_OBJECT struct tld_object
#define HOSTILE_OPEN tld_object_init
#define HOSTILE_GET tld_get_data
#define HOSTILE_DATA(object) ((object)->data_map->data)
#define HOSTILE_META(object) ((object)->data_map->meta)
#endif
#include "hostile_pages_look.h"
