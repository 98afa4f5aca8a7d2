// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* reader_v2.bpf.c - the raw reader for a data map of format v2. */
#define RAW_FORMAT RAW_V2
#include "reader_raw.h"
