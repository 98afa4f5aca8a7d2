// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * only_blocks_in_page.c - the pages that BPF is given hold TLDs and nothing else:
 * not a word of the heap, of stacks or of other threads' malloc arenas.
 */
#include <malloc.h>
#include <unistd.h>

#define TLD_DYN_DATA_SIZE 64
#include "tld.h"

#include "often.h"
#include "process.h"
#include "reader.h"
#include "threads.h"

/* Which no address, counter or size is by accident. */
#define HEAP_WORD UINT64_C(0x9e3779b97f4a7c15)
#define TLD_WORD UINT64_C(0x00000000d1d2d3d4)

#define THREADS 12
#define CHUNKS SOME(400)

static struct reader *reader;
static tld_key_t key;
static pthread_barrier_t together;

/* Chunks of every size class, the large ones whole pages, all full of the word. */
static void fill_heap(uint64_t **chunks)
{
	for (int i = 0; i < CHUNKS; i++) {
		size_t size = (size_t)16 << (i % 11);

		chunks[i] = malloc(size);
		if (!chunks[i])
			tap_bail("memory for the heap's pattern");
		for (size_t word = 0; word < malloc_usable_size(chunks[i]) / 8; word++)
			chunks[i][word] = HEAP_WORD;
	}
}

static void empty_heap(uint64_t **chunks, int step)
{
	for (int i = 0; i < CHUNKS; i += step) {
		free(chunks[i]);
		chunks[i] = NULL;
	}
}

struct page {
	bool seen;
	unsigned int heap_data, heap_meta, foreign;
};

/* Words that no TLD and no format explains: v1 wants in the page's first where data start. */
static unsigned int foreign_words(const struct reader_view *view)
{
	const uint64_t *word = (const uint64_t *)view->data;
	unsigned int count = 0;

	for (int i = 0; i < (int)reader_page() / 8; i++)
		count += word[i] && word[i] >> 16 != TLD_WORD >> 16 && (i || word[i] != 8);
	return count;
}

static void look(struct page *page)
{
	struct reader_view view;
	const uint64_t *meta = (const uint64_t *)view.meta;

	page->seen = !reader_look(reader, 0, &view) && view.has_data && view.has_meta;
	page->heap_data = reader_view_words(&view, HEAP_WORD);
	page->foreign = foreign_words(&view);
	page->heap_meta = 0;
	for (int i = 0; i < (int)reader_page() / 8; i++)
		page->heap_meta += meta[i] == HEAP_WORD;
}

/* Before, between and after: the heap is full, half empty, full again. */
static void *thread(void *arg)
{
	struct page *page = arg;
	uint64_t *chunks[CHUNKS], *more[CHUNKS], *data;

	fill_heap(chunks);
	empty_heap(chunks, 2);
	pthread_barrier_wait(&together);
	data = tld_get_data(reader_map_fd(reader), key);
	if (data)
		*data = TLD_WORD;
	fill_heap(more);
	pthread_barrier_wait(&together);
	look(page);
	empty_heap(chunks, 1);
	empty_heap(more, 1);
	pthread_barrier_wait(&together);
	return NULL;
}

static void count_pages(const struct page pages[THREADS], const char *when)
{
	unsigned int seen = 0, heap_data = 0, heap_meta = 0, foreign = 0;

	for (int i = 0; i < THREADS; i++) {
		seen += pages[i].seen;
		heap_data += pages[i].heap_data;
		heap_meta += pages[i].heap_meta;
		foreign += pages[i].foreign;
	}
	is(seen, THREADS, "%s, %s: BPF has the pages of all threads",
	   reader_format_name(reader_format(reader)), when);
	is(heap_data, 0, "no data page has a word of the heap");
	is(foreign, 0, "none has anything but TLDs");
	is(heap_meta, 0, "no metadata page has a word of the heap");
}

static void run_threads(const char *when)
{
	pthread_t threads[THREADS];
	struct page pages[THREADS] = { { 0 } };

	pthread_barrier_init(&together, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		threads[i] = start_thread(thread, &pages[i]);
	for (int i = 0; i < THREADS; i++)
		end_thread(threads[i]);
	count_pages(pages, when);
}

static void neighbours(enum reader_format format)
{
	uint64_t *chunks[CHUNKS];

	reader = reader_open(format);
	fill_heap(chunks);
	empty_heap(chunks, 3);
	key = tld_create_key("value", sizeof(uint64_t));
	run_threads("first");
	run_threads("in memory that was used before");
	for (int i = 0; i < CHUNKS; i++)
		free(chunks[i]);
	reader_close(reader);
}

static void v1(void)
{
	neighbours(READER_V1);
}

static void v2(void)
{
	neighbours(READER_V2);
}

static void native(void)
{
	neighbours(READER_NATIVE);
}

/* The memory that the value has behind what the format defines. */
static void value_is_clean(void)
{
	struct reader_view view;
	uint16_t room;
	bool area = true;

	reader = reader_open(READER_NATIVE);
	key = tld_create_key("value", sizeof(uint64_t));
	if (!tld_get_data(reader_map_fd(reader), key))
		tap_bail("a thread gets its TLD");
	reader_look(reader, 0, &view);
	memcpy(&room, view.padding, sizeof(room));
	for (size_t i = 0; i < sizeof(view.area); i++)
		area = area && !view.area[i];
	ok(!memcmp(view.padding + 2, "TLDR", 4), "the value's padding says what room there is");
	ok(room >= 64 && view.start + room <= (size_t)getpagesize(), "as much as the budget, and no more than the page has");
	ok(area, "the BPF program's own area is zero at registration");
	reader_close(reader);
}

int main(void)
{
	reader_need_kernel();
	in_child(v1);
	in_child(v2);
	in_child(native);
	in_child(value_is_clean);
	return tap_done();
}
