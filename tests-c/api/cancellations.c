// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * cancellations.c - pthread_cancel() in the middle of calls, of the deferred and of the
 * asynchronous type: whoever calls next finds no lock held, and nothing of the thread
 * is left. thread_exit.c has cancellations that are pending when a call begins.
 */
#include "maps.h"
#include "often.h"
#include "page.h"
#include "reader.h"
#include "threads.h"
#include "tld.h"

/* A page for each thread, so that what is lost shows. */
#define LARGE (page_capacity() / 4 * 3)
#define GROWTH_KIB (getpagesize() / 1024 * (long)rounds() * 5 / 8)

static struct reader *reader, *second;
static tld_key_t key;

/* --- The calls that are cancelled ---------------------------------------------------- */

struct cancelled {
	const char *name;
	void (*call)(void);
	/* Cancelled asynchronously between the call's end and what undoes it, it is not undone. */
	bool keeps_what_it_got;
};

static void get(void)
{
	tld_get(key);
	tld_free();
}

static void attach(void)
{
	tld_attach(reader_map_fd(second));
	tld_get(key);
	tld_detach(reader_map_fd(second));
}

static void create(void)
{
	static unsigned int count;
	char name[16];

	snprintf(name, sizeof(name), "key %u", count++ % 55);
	tld_create_key(name, 8);
}

static void refer(void)
{
	struct tld_thread_ref *ref = tld_ref_thread(gettid());

	if (ref)
		tld_unref_thread(ref);
}

static const struct cancelled kinds[] = {
	{ "tld_get", get, false }, { "tld_attach", attach, false },
	{ "tld_create_key", create, false }, { "tld_ref_thread", refer, true },
};

static const struct cancelled *kind;
static int type;
static unsigned int begun;

static void *call_until_cancelled(void *unused)
{
	int old;

	(void)unused;
	pthread_setcanceltype(type, &old);
	__atomic_store_n(&begun, 1, __ATOMIC_RELEASE);
	while (1) {
		kind->call();
		pthread_testcancel();
	}
	return NULL;
}

/*
 * What references keep is taken back as soon as a chunk of 64 pages is full, which is so
 * among these rounds.
 */
static unsigned int warm_up(void)
{
	return kind->keeps_what_it_got ? 20 : SOME(20);
}

static unsigned int rounds(void)
{
	return kind->keeps_what_it_got ? 60 : SOME(60);
}

/* Later from round to round, from the thread's first call on. */
static void pass_time(unsigned int round)
{
	for (volatile unsigned int i = 0; i < round % 50 * 200; i++)
		;
}

/* What nobody but the kernel removes goes with the task, a moment after the thread was joined. */
static bool is_alone(void)
{
	if (kind->keeps_what_it_got)
		return eventually(reader_elements(reader, NULL) == 1);
	return reader_elements(reader, NULL) == 1;
}

/* A thread is cancelled; then another one makes calls that take every lock. */
static bool cancel_and_call(unsigned int round)
{
	pthread_t thread;
	uint64_t *data;
	void *result;

	begun = 0;
	thread = start_thread(call_until_cancelled, NULL);
	if (!eventually(__atomic_load_n(&begun, __ATOMIC_ACQUIRE)))
		tap_bail("a thread begins");
	pass_time(round);
	pthread_cancel(thread);
	result = end_thread(thread);
	tld_detach(reader_map_fd(second));
	tld_free();
	data = tld_get(key);
	if (data)
		*data = round;
	return result == PTHREAD_CANCELED && data && reader_u64(reader, 0, "value") == round &&
	       tld_create_key("value", 8).off == -EEXIST && is_alone();
}

/* Every entry that is counted is whole; then there is room for new ones. */
static bool page_is_whole(void)
{
	bool whole = page_cnt() > 0;

	for (unsigned int i = 0; i < page_cnt(); i++)
		whole = whole && page_entry_size(i) && !tld_key_is_err(tld_find_key(page_name(i)));
	page_reset(1, page_size_field());
	return whole;
}

static void cancel_many(unsigned int count, unsigned int *wrong, unsigned int *torn)
{
	for (unsigned int round = 0; round < count; round++) {
		*wrong += !cancel_and_call(round);
		*torn += !page_is_whole();
	}
}

static void judge_memory(const char *words, long kib, int maps)
{
	diag("%s: KiB %ld, before %ld; mappings %d, before %d", words, status_kib("RssAnon:"), kib,
	     mappings(), maps);
	if (UNDER_SANITIZER)
		tap_skip("no memory is lost", "a sanitizer maps memory of its own");
	else
		ok(status_kib("RssAnon:") - kib < GROWTH_KIB && mappings() <= maps + 4,
		   "%s: no memory is lost", words);
}

static void cancelled_in_call(void)
{
	unsigned int wrong = 0, torn = 0;
	char words[64];
	int descriptors, maps;
	long kib;

	key = create_asking("value", 8, LARGE);
	if (tld_attach(reader_map_fd(reader)) || !tld_get(key))
		tap_bail("a thread is seen through a map");
	snprintf(words, sizeof(words), "%s, %s", kind->name,
		 type == PTHREAD_CANCEL_DEFERRED ? "deferred" : "asynchronous");
	cancel_many(warm_up(), &wrong, &torn);
	descriptors = open_descriptors();
	maps = mappings();
	kib = status_kib("RssAnon:");
	cancel_many(rounds(), &wrong, &torn);
	is(wrong, 0, "%s: threads are cancelled and seen no more, and others can call on", words);
	is(torn, 0, "%s: no half of a TLD is left", words);
	is(reader_elements(second, NULL), 0, "%s: nor an element in the map that came and went",
	   words);
	is(open_descriptors(), descriptors, "%s: no descriptor is left open", words);
	if (!kind->keeps_what_it_got || type == PTHREAD_CANCEL_DEFERRED)
		judge_memory(words, kib, maps);
}

int main(void)
{
	reader_need_kernel();
	reader = reader_open(READER_V2);
	second = reader_open(READER_V2);
	for (size_t i = 0; i < 2 * sizeof(kinds) / sizeof(kinds[0]); i++) {
		kind = &kinds[i / 2];
		type = i % 2 ? PTHREAD_CANCEL_ASYNCHRONOUS : PTHREAD_CANCEL_DEFERRED;
		if (UNDER_SANITIZER && type == PTHREAD_CANCEL_ASYNCHRONOUS)
			tap_skip("threads are cancelled asynchronously",
				 "a sanitizer's functions are not prepared for it");
		else
			in_child(cancelled_in_call);
	}
	reader_close(second);
	reader_close(reader);
	return tap_done();
}
