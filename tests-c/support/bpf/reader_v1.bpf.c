// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* reader_v1.bpf.c - the raw reader for a data map of format v1. */
#define RAW_FORMAT RAW_V1
#include "reader_raw.h"
