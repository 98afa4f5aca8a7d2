// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * v1_start.c - through a map of the format of Linux 6.18 to 7.0, where the start
 * of the data stands at the page's beginning and nowhere else, every thread is
 * read rightly at every dynamic size.
 */
#include <unistd.h>

static size_t dyn_size;
#define TLD_DYN_DATA_SIZE dyn_size
#include "tld.h"

#include "process.h"
#include "reader.h"
#include "threads.h"

TLD_DEFINE_KEY(fixed_key, "fixed", 12);

#define THREADS 16

static struct reader *v1;
static tld_key_t first_key, last_key;
static size_t last_size;
static pthread_barrier_t together;

struct seen {
	bool served, first, last, fixed, start;
};

/* Two TLDs that spend the dynamic size: 8 bytes, and all that is left. */
static void create_keys(void)
{
	if (dyn_size < 16)
		return;
	first_key = tld_create_key("first", 8);
	last_size = dyn_size / 8 * 8 - 8;
	last_key = tld_create_key("last", last_size);
	if (tld_key_is_err(first_key) || tld_key_is_err(last_key))
		tap_bail("TLDs of 8 and %zu bytes fit into %zu", last_size, dyn_size);
}

static bool bytes_are(const char *name, size_t size, int byte)
{
	unsigned char bytes[READER_PAGE];

	if (reader_read(v1, 0, name, bytes, size))
		return false;
	while (size--)
		if (bytes[size] != byte)
			return false;
	return true;
}

static void store(int byte, struct seen *seen)
{
	void *fixed = tld_get_data(reader_map_fd(v1), fixed_key), *first, *last;

	seen->served = fixed != NULL;
	if (fixed)
		memset(fixed, byte, 12);
	if (dyn_size < 16)
		return;
	first = tld_get_data(reader_map_fd(v1), first_key);
	last = tld_get_data(reader_map_fd(v1), last_key);
	seen->served = fixed && first && last;
	if (!seen->served)
		return;
	memset(first, byte + 1, 8);
	memset(last, byte + 2, last_size);
}

/* All threads have stored before the first one looks, so that one may overwrite another. */
static void *thread(void *arg)
{
	struct seen *seen = arg;
	struct reader_view view;
	int byte = (gettid() % 50) * 4 + 1;

	store(byte, seen);
	pthread_barrier_wait(&together);
	seen->fixed = bytes_are("fixed", 12, byte);
	seen->first = dyn_size < 16 || bytes_are("first", 8, byte + 1);
	seen->last = dyn_size < 16 || bytes_are("last", last_size, byte + 2);
	reader_look(v1, 0, &view);
	seen->start = view.has_data && view.start >= 8 && view.start % 8 == 0 &&
		      view.start + reader_view_size(&view) <= reader_page();
	pthread_barrier_wait(&together);
	return NULL;
}

static void count_seen(const struct seen seen[THREADS], const char *who)
{
	int served = 0, fixed = 0, first = 0, last = 0, start = 0;

	for (int i = 0; i < THREADS; i++) {
		served += seen[i].served;
		fixed += seen[i].fixed;
		first += seen[i].first;
		last += seen[i].last;
		start += seen[i].start;
	}
	is(served, THREADS, "%zu bytes: %s threads get their TLDs", dyn_size, who);
	is(fixed, THREADS, "%zu bytes: BPF reads %s threads' static TLD", dyn_size, who);
	is(first, THREADS, "%zu bytes: and their first dynamic one, if there is room", dyn_size);
	is(last, THREADS, "%zu bytes: and their last one, to the last byte", dyn_size);
	is(start, THREADS, "%zu bytes: at the page's beginning stands where the data are", dyn_size);
}

static void run_threads(const char *who)
{
	pthread_t threads[THREADS];
	struct seen seen[THREADS] = { { 0 } };

	pthread_barrier_init(&together, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		threads[i] = start_thread(thread, &seen[i]);
	for (int i = 0; i < THREADS; i++)
		end_thread(threads[i]);
	count_seen(seen, who);
}

static void read_back(void)
{
	v1 = reader_open(READER_V1);
	create_keys();
	run_threads("new");
	run_threads("later");
	reader_close(v1);
}

static void size_0(void)
{
	dyn_size = 0;
	read_back();
}

static void size_64(void)
{
	dyn_size = 64;
	read_back();
}

static void size_500(void)
{
	dyn_size = 500;
	read_back();
}

/* A page, but for the start of the data and the static TLD. */
static void size_largest(void)
{
	dyn_size = reader_page() - 8 - 16;
	read_back();
}

/* The static TLD alone must not count on a dynamic one's making the table. */
static void no_dynamic_key(void)
{
	int *fixed;

	v1 = reader_open(READER_V1);
	fixed = tld_get_data(reader_map_fd(v1), fixed_key);
	if (!fixed)
		tap_bail("a thread gets its static TLD through a v1 map");
	*fixed = 4711;
	is(reader_u32(v1, 0, "fixed"), 4711, "BPF reads a static TLD where there is no other");
	reader_close(v1);
}

int main(void)
{
	reader_need_kernel();
	in_child(size_0);
	in_child(size_64);
	in_child(size_500);
	in_child(size_largest);
	in_child(no_dynamic_key);
	return tap_done();
}
