/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * soak.h - what soak.c and its BPF programs know of each other. Every word that a
 * thread stores says whose it is, and which of its stores it comes from:
 *
 *	63..56	0x50 and the word's place among the thread's words
 *	55..28	the thread's number: given once in a run, never again
 *	27..0	which of the thread's stores
 *
 * so one word is enough to tell a thread's own from another's, and one store from the
 * next. What BPF believes of a task, it was told by that task itself, in task storage
 * that goes with it.
 */
#ifndef TESTS_C_SOAK_H
#define TESTS_C_SOAK_H

#define SOAK_SLOTS 2304

/* In the first TLD, in the last, and two that others store: a dispatcher, a handler. */
enum { SOAK_HEAD = 0, SOAK_TAIL = 4, SOAK_TAG = 8, SOAK_PROF = 9, SOAK_WORDS = 10 };
#define SOAK_AT_END 4	/* words in the first and in the last TLD */
#define SOAK_PAD 1700	/* bytes between them */

#define SOAK_SEQ_BITS 28
#define SOAK_SEQ_MASK ((1ULL << SOAK_SEQ_BITS) - 1)
#define SOAK_OWNER(place, number) (((0x50ULL | (place)) << 28 | (number)) << SOAK_SEQ_BITS)
#define SOAK_WORD(place, number, seq) (SOAK_OWNER(place, number) | ((seq) & SOAK_SEQ_MASK))

/*
 * What a thread says of itself, in memory that both sides have: one slot for each
 * that is alive. newest is written before a store, stored after it.
 */
struct soak_slot {
	unsigned int number;	/* of the thread that has the slot */
	unsigned int newest, stored;
	unsigned int zeros;	/* odd: its words may be zero */
	unsigned long long looks;
};

/* The same in task storage, where no other thread's can be met. */
struct soak_who {
	unsigned int number, slot;
};

struct soak_counts {
	unsigned long long last;	/* what the thread stored last */
	unsigned long long earlier;	/* an earlier store of its own */
	unsigned long long zero;	/* nothing stored yet, or cleared */
	unsigned long long absent;
	unsigned long long wrong;	/* another's, nobody's, or from the future */
};

enum soak_verdict { SOAK_IS_LAST, SOAK_IS_EARLIER, SOAK_IS_ZERO, SOAK_IS_ABSENT, SOAK_IS_WRONG };

/* At each switch, away from a task and to it, and over all tasks. */
enum soak_place { SOAK_PREV, SOAK_NEXT, SOAK_LIST, SOAK_PLACES };

/* The programs' memory, mapped into the test. */
struct soak_shared {
	struct soak_counts counts[SOAK_PLACES];
	unsigned long long wrong_word, wrong_number, wrong_place; /* the last one */
};

struct soak_self {
	/* in */
	struct soak_who who;	/* for soak_register */
	int tid;		/* for soak_look: of a thread, or 0 for the caller */
	/* out */
	int own_tid;		/* of soak_register: what BPF knows the caller by */
	unsigned int verdict;	/* of soak_look */
};

#endif
