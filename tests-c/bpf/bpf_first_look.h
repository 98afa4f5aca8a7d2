/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* bpf_first_look.h - the names that bpf_first_look's two sides agree on. */
#ifndef TESTS_C_BPF_FIRST_LOOK_H
#define TESTS_C_BPF_FIRST_LOOK_H

#define FIRST_TENS(EACH, tens)							\
	EACH(tens##0) EACH(tens##1) EACH(tens##2) EACH(tens##3) EACH(tens##4)	\
	EACH(tens##5) EACH(tens##6) EACH(tens##7) EACH(tens##8) EACH(tens##9)

/* Sixty: nearly as many as a page defines. */
#define FIRST_NAMES(EACH)							\
	FIRST_TENS(EACH, a) FIRST_TENS(EACH, b) FIRST_TENS(EACH, c)		\
	FIRST_TENS(EACH, d) FIRST_TENS(EACH, e) FIRST_TENS(EACH, f)
#define FIRST_COUNT 60

struct first_view {
	int tid;	/* first_look: of the thread to look at. first_self says the caller's */
};

/* The programs' memory, mapped into the test. */
struct first_shared {
	unsigned int found;	/* TLDs, by all looks since the test set it to 0 */
};

#endif
