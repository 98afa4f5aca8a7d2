// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * layout.c - what the stream of records wants of their layout, beside what the header says.
 */
#include "ctldctl_record.h"

_Static_assert(sizeof(struct ctldctl_record) % 8 == 0, "what follows a record in the stream is aligned");
_Static_assert(sizeof(struct ctldctl_record) == 88, "the compiler puts nothing between the fields");
