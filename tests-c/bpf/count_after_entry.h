/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* count_after_entry.h - the memory of that test's BPF program, mapped into the test. */
#ifndef TESTS_C_COUNT_AFTER_ENTRY_H
#define TESTS_C_COUNT_AFTER_ENTRY_H

struct table_watch {
	unsigned int stop;			/* the test: end */
	unsigned int watching;			/* the program: begun */
	unsigned long long looks;		/* at the last entry that is counted */
	unsigned long long counts_seen;		/* how often the count had grown */
	unsigned long long half_made;		/* counted, but without size or name */
	unsigned long long changed;		/* counted, and then another size */
};

#endif
