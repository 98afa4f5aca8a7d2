/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * hostile_pages.h - what hostile_pages' BPF programs report of a task whose pages
 * hold anything. Included by both sides.
 */
#ifndef TESTS_C_HOSTILE_PAGES_H
#define TESTS_C_HOSTILE_PAGES_H

/* 61 bytes, the longest name. */
#define HOSTILE_LONG "a hostile name of sixty-one bytes, which leaves one for a NUL"

/* What BPF looks for: place, member of struct tld_keys, name, size in bytes. */
#define HOSTILE_LOOKS(LOOK)		\
	LOOK(0, one, "one", 1)		\
	LOOK(1, word, "word", 8)	\
	LOOK(2, line, "line", 64)	\
	LOOK(3, half, "half", 2048)	\
	LOOK(4, whole, "whole", 4088)	\
	LOOK(5, longest, HOSTILE_LONG, 8)

#define HOSTILE_COUNT 6

struct hostile_look {
	unsigned int found;
	unsigned int first, last;	/* the TLD's first and last byte */
	unsigned long long at;		/* the pointer that BPF got */
};

struct hostile_view {
	/* in */
	unsigned int write;		/* store mark in the first and the last byte */
	unsigned int mark;
	/* out */
	int err;			/* of finding what the task shares */
	unsigned long long page;	/* where BPF has the data page, 0: nowhere */
	unsigned int cnt_before, cnt_after; /* of the metadata page, 65536: none */
	unsigned long long ns;
	struct hostile_look look[HOSTILE_COUNT];
};

/* The programs' memory, mapped into the test: what look-ups by name cost. */
struct hostile_cost {
	unsigned long long searches;	/* loops over the entries */
	unsigned long long rounds;	/* of all of them */
	unsigned long long most_rounds;	/* of one of them */
	unsigned long long compared;	/* names */
};

#endif
