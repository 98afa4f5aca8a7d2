// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * first_value_is_zero.c - a thread's TLDs start as zeros, for the thread and for
 * BPF, whatever earlier threads, tld_free() and the heap have left behind.
 */
#include <malloc.h>
#include <unistd.h>

#define TLD_DYN_DATA_SIZE 500
#include "tld.h"

#include "process.h"
#include "reader.h"
#include "threads.h"

#define SMALL 20
#define LARGE 472	/* with SMALL rounded up to 24: 496 of the 500 */
#define THREADS 24
#define GARBAGE 0xa5

static struct reader *reader;
static tld_key_t small_key, large_key;
static pthread_barrier_t together;

static bool all_zero(const void *bytes, size_t size)
{
	const unsigned char *byte = bytes;

	while (size--)
		if (*byte++)
			return false;
	return true;
}

/* What the C library's heap holds, in case a block should come from there. */
static void dirty_heap(void)
{
	void *chunks[64];

	for (int i = 0; i < 64; i++) {
		chunks[i] = malloc(64u << (i % 8));
		memset(chunks[i], GARBAGE, malloc_usable_size(chunks[i]));
	}
	for (int i = 0; i < 64; i++)
		free(chunks[i]);
}

static bool take(unsigned char **small, unsigned char **large)
{
	int fd = reader_map_fd(reader);

	*small = tld_get_data(fd, small_key);
	*large = tld_get_data(fd, large_key);
	return *small && *large;
}

static bool bpf_sees_zeros(void)
{
	unsigned char small[SMALL], large[LARGE];

	return !reader_read(reader, 0, "small", small, SMALL) &&
	       !reader_read(reader, 0, "large", large, LARGE) &&
	       all_zero(small, SMALL) && all_zero(large, LARGE);
}

struct first {
	bool user, bpf;
};

/* Note what is there at first, then leave garbage in every byte. */
static void *look_then_dirty(void *arg)
{
	struct first *first = arg;
	unsigned char *small, *large;

	dirty_heap();
	if (take(&small, &large)) {
		first->user = all_zero(small, SMALL) && all_zero(large, LARGE);
		first->bpf = bpf_sees_zeros();
		memset(small, GARBAGE, SMALL);
		memset(large, GARBAGE, LARGE);
	}
	/* Nobody's memory is reused within a round, all of it in the next. */
	pthread_barrier_wait(&together);
	return NULL;
}

static void round_of_threads(const char *which)
{
	pthread_t threads[THREADS];
	struct first first[THREADS] = { { 0 } };
	int user = 0, bpf = 0;

	pthread_barrier_init(&together, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		threads[i] = start_thread(look_then_dirty, &first[i]);
	for (int i = 0; i < THREADS; i++) {
		end_thread(threads[i]);
		user += first[i].user;
		bpf += first[i].bpf;
	}
	is(user, THREADS, "%s: %s threads find zeros", reader_format_name(reader_format(reader)), which);
	is(bpf, THREADS, "%s: BPF finds zeros of %s threads",
	   reader_format_name(reader_format(reader)), which);
}

static void after_free(void)
{
	unsigned char *small, *large;
	const char *format = reader_format_name(reader_format(reader));

	if (!take(&small, &large))
		tap_bail("%s: a thread gets its TLDs", format);
	memset(small, GARBAGE, SMALL);
	memset(large, GARBAGE, LARGE);
	tld_free();
	if (!take(&small, &large))
		tap_bail("%s: a thread gets its TLDs after tld_free", format);
	ok(all_zero(small, SMALL) && all_zero(large, LARGE),
	   "%s: a thread that called tld_free() finds zeros when it asks again", format);
	ok(bpf_sees_zeros(), "%s: so does BPF", format);
	tld_free();
}

static void one_format(enum reader_format format)
{
	dirty_heap();
	reader = reader_open(format);
	small_key = tld_create_key("small", SMALL);
	large_key = tld_create_key("large", LARGE);
	round_of_threads("first");
	round_of_threads("later");
	round_of_threads("still later");
	after_free();
	reader_close(reader);
}

static void v1(void)
{
	one_format(READER_V1);
}

static void v2(void)
{
	one_format(READER_V2);
}

static void native(void)
{
	one_format(READER_NATIVE);
}

int main(void)
{
	reader_need_kernel();
	in_child(v1);
	in_child(v2);
	in_child(native);
	return tap_done();
}
