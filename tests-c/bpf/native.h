/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * native.h - what native.bpf.c reports of the calling thread, and the map's value as
 * bpf/tld.bpf.h lays it out. Included by both sides.
 */
#ifndef TESTS_C_NATIVE_H
#define TESTS_C_NATIVE_H

#include "often.h"

/* Each look, by tld_get_named(), at 8 bytes: which, key, name. */
#define NATIVE_LOOKS(LOOK)			\
	LOOK(PRIO, prio, "prio")		\
	LOOK(REQUEST, request, "app.request")	\
	LOOK(LATE, late, "late")		\
	LOOK(FIRST, shared, "first of two")	\
	LOOK(SECOND, shared, "second of two")

#define NATIVE_WHICH(which, key, name) which,
enum { NATIVE_LOOKS(NATIVE_WHICH) NATIVE_COUNT };
#define NATIVE_PLACES 4	/* keys */
#define NATIVE_TIMES OFTEN(500000)

struct native_found {
	unsigned long long at;		/* the pointer, 0: none */
	unsigned long long value;
};

struct native_view {
	/* in */
	unsigned long long write;	/* store this, plus which, in what is found; 0: nothing */
	unsigned long long want;	/* the value to be found many times */
	int by_second;			/* by the name of SECOND, not FIRST */
	int tid;			/* of the thread to look at, where it is another one */
	/* out */
	unsigned int present;		/* tld_present() */
	unsigned int viewed;		/* tld_view() has data */
	unsigned int misses;		/* of NATIVE_TIMES looks that should find it */
	unsigned int differ;		/* TLDs that tld_view_get_named() has elsewhere */
	unsigned long long page;	/* where BPF has the data page, 0: nowhere */
	struct native_found found[NATIVE_COUNT];
};

#ifdef __bpf__
/* One way to the context: the verifier takes no pointer into it that is computed. */
#define NATIVE_REPORT(view, which, pointer)					\
({										\
	unsigned long long native_value = 0;					\
										\
	if (pointer)								\
		native_value = *(pointer);					\
	barrier_var(native_value);						\
	(view)->found[which].at = (unsigned long long)(pointer);		\
	(view)->found[which].value = native_value;				\
})
#endif

/* The map's value, with the UPTRs as user space writes them. */
struct native_value {
	unsigned long long data, meta;
	unsigned short start, reserved[3];
	unsigned long long image, place[NATIVE_PLACES];
};

#endif
