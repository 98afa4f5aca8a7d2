/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* selftest_mirror.h - what selftest_mirror's BPF program reports of one thread. */
#ifndef TESTS_C_SELFTEST_MIRROR_H
#define TESTS_C_SELFTEST_MIRROR_H

struct mirror_quad {
	unsigned long long a, b, c, d;
};

struct mirror_view {
	int err;		/* of tld_object_init() */
	unsigned int has_value0, has_value1, has_value2, has_last, has_missing;
	int value0, value1, last, missing;
	struct mirror_quad value2;
};

#endif
