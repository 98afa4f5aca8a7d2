// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* native_pinned_other.bpf.c - native_pinned.bpf.c with its keys in another order. */
#define PINNED_KEYS late, prio, request
#include "native_pinned.bpf.c"
