/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * reader_view.h - what the reader's BPF programs hand to user space. Included by
 * both; fixed-size types come from whoever includes it.
 */
#ifndef TESTS_C_READER_VIEW_H
#define TESTS_C_READER_VIEW_H

/*
 * How large a page can be that a view has room for: for BPF the page of the machine that
 * the object is built for; else the largest one, of which reader_page() is in use. Two of
 * 64 KiB are more than a program's context can be.
 */
#define READER_PAGE_MOST 16384
#if defined(__bpf__) && !defined(TLD_BPF_PAGE_SIZE)
#define READER_PAGE 4096
#elif defined(__bpf__)
#define READER_PAGE (TLD_BPF_PAGE_SIZE < READER_PAGE_MOST ? TLD_BPF_PAGE_SIZE : READER_PAGE_MOST)
#elif defined(__x86_64__)
#define READER_PAGE 4096
#else
#define READER_PAGE READER_PAGE_MOST
#endif

/* What the native format has behind the 24 bytes that v2 has. */
#define READER_NATIVE_AREA 72

struct reader_view {
	/* in */
	int32_t tid;		/* 0: the calling thread */
	/* out */
	int32_t err;		/* 0, -ESRCH, -ENODATA */
	uint32_t has_data;	/* UPTR data is not NULL */
	uint32_t has_meta;
	uint32_t start;		/* from where the format keeps it */
	uint8_t padding[6];	/* behind start in the value, v2 and native */
	uint8_t area[READER_NATIVE_AREA];	/* native */
	uint8_t data[READER_PAGE] __attribute__((aligned(8)));
	uint8_t meta[READER_PAGE];	/* for BPF, behind as much of data as its page has */
};

#endif
