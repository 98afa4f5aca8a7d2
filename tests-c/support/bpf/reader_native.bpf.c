// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* reader_native.bpf.c - the raw reader for a data map of format native. */
#define RAW_FORMAT RAW_NATIVE
#include "reader_raw.h"
