// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * attach_blocks.c - which memory suits which map. Threads that had data before any map was
 * known are readable in every format; those that come while only maps with a start field are
 * known share pages, and a map of Linux 6.18 to 7.0 that comes later cannot describe
 * them: EXDEV. It serves all others, and they stay readable where they were.
 */
#include <unistd.h>

#include "tld.h"

#include "maps.h"
#include "process.h"
#include "reader.h"
#include "threads.h"
#include "worker.h"

#define ERRNO_MARK 12345
#define THREADS 6

static struct reader *v1, *v2, *native;
static tld_key_t key;
static struct worker workers[THREADS];
static int errno_changed;

/* What a worker stores, which nothing else in its page looks like. */
static uint64_t mark_of(const struct worker *worker)
{
	return UINT64_C(0x7a00000000000000) | (uint64_t)worker->tid;
}

static void *store(void *arg)
{
	uint64_t *data = tld_get(key);

	if (data)
		*data = mark_of(arg);
	return data;
}

static bool reads(struct reader *reader, const struct worker *worker)
{
	return reader_u64(reader, worker->tid, "value") == mark_of(worker);
}

static void start_workers(void)
{
	for (int i = 0; i < THREADS; i++)
		worker_start(&workers[i]);
}

static void store_all(void)
{
	for (int i = 0; i < THREADS; i++)
		if (!worker_do(&workers[i], store, &workers[i]))
			tap_bail("a thread has data");
}

static void end_workers(void)
{
	for (int i = 0; i < THREADS; i++)
		worker_end(&workers[i], WORKER_RETURNS);
}

static int attach(struct reader *reader)
{
	int err;

	errno = ERRNO_MARK;
	err = tld_attach(reader_map_fd(reader));
	errno_changed += errno != ERRNO_MARK;
	return err;
}

static int read_rightly(struct reader *reader)
{
	int count = 0;

	for (int i = 0; i < THREADS; i++)
		count += reads(reader, &workers[i]);
	return count;
}

/* Pairs of workers of which BPF finds the one's data in the other's page. */
static int pairs_in_a_page(struct reader *reader)
{
	struct reader_view view;
	int pairs = 0;

	for (int i = 0; i < THREADS; i++) {
		if (reader_look(reader, workers[i].tid, &view))
			tap_bail("a worker is readable");
		for (int j = 0; j < THREADS; j++)
			pairs += j != i && reader_view_words(&view, mark_of(&workers[j]));
	}
	return pairs;
}

/* --- Universal blocks ------------------------------------------------------------------- */

static void for_all_formats(struct reader *const order[3])
{
	struct reader_view view;
	int right = 0, at_8 = 0;

	start_workers();
	store_all();
	for (int i = 0; i < 3; i++)
		right += !attach(order[i]);
	is(right, 3, "threads that had data before any map can be attached to %s, %s and %s",
	   reader_format_name(reader_format(order[0])), reader_format_name(reader_format(order[1])),
	   reader_format_name(reader_format(order[2])));
	for (int i = 0; i < 3; i++)
		is(read_rightly(order[i]), THREADS, "%s reads each of them rightly",
		   reader_format_name(reader_format(order[i])));
	is(pairs_in_a_page(v2), 0, "each has a page to itself");
	for (int i = 0; i < THREADS; i++)
		at_8 += !reader_look(v2, workers[i].tid, &view) && view.start == 8 &&
			*(uint64_t *)view.data == 8;
	is(at_8, THREADS, "its data start at 8, which the page's first 8 bytes say");
	end_workers();
}

static void v1_first(void)
{
	for_all_formats((struct reader *[]){ v1, v2, native });
}

static void v1_last(void)
{
	for_all_formats((struct reader *[]){ native, v2, v1 });
}

/* --- Packed blocks ------------------------------------------------------------------------ */

static void packed(struct reader *known)
{
	const char *name = reader_format_name(reader_format(known));

	is(attach(known), 0, "%s: the only map known", name);
	start_workers();
	store_all();
	is(read_rightly(known), THREADS, "%s reads each thread that comes then", name);
	ok(pairs_in_a_page(known) > 0, "%s: from BPF's view several share a page", name);
}

static void packed_for_v2(void)
{
	packed(v2);
	is(attach(native), 0, "a native map can be attached as well");
	is(read_rightly(native), THREADS, "and reads each of them");
	end_workers();
}

static void packed_for_native(void)
{
	packed(native);
	is(attach(v2), 0, "a v2 map can be attached as well");
	is(read_rightly(v2), THREADS, "and reads each of them");
	end_workers();
}

/* A map that is known from tld_get_data() only says as much. */
static void *pass_v2(void *arg)
{
	uint64_t *data = tld_get_data(reader_map_fd(v2), key);

	if (data)
		*data = mark_of(arg);
	return data;
}

static void packed_for_a_passed_map(void)
{
	start_workers();
	for (int i = 0; i < THREADS; i++)
		worker_do(&workers[i], pass_v2, &workers[i]);
	is(read_rightly(v2), THREADS, "threads that pass a v2 map are read");
	ok(pairs_in_a_page(v2) > 0, "and share pages");
	end_workers();
}

/* --- A v1 map beside packed blocks ----------------------------------------------------------- */

static void *pass_v1(void *arg)
{
	uint64_t *data;

	errno = 0;
	data = tld_get_data(reader_map_fd(v1), key);
	if (data)
		*data = mark_of(arg);
	return (void *)(intptr_t)(data ? 0 : errno);
}

static void *publish(void *unused)
{
	int err;

	(void)unused;
	errno = ERRNO_MARK;
	err = tld_publish();
	errno_changed += errno != ERRNO_MARK;
	return (void *)(intptr_t)err;
}

static int errno_of_passing(struct worker *worker)
{
	return (intptr_t)worker_do(worker, pass_v1, worker);
}

static int error_of_publishing(struct worker *worker)
{
	return (intptr_t)worker_do(worker, publish, NULL);
}

/*
 * Who is in a shared page is refused by every call that would bring it into the map; who is
 * in the map is read rightly.
 */
static void judge_packed_beside_v1(void)
{
	int absent = 0, wrong = 0, exdev = 0, reported = 0;

	for (int i = 0; i < THREADS; i++) {
		bool seen = reader_sees(v1, workers[i].tid);

		absent += !seen;
		wrong += seen && !reads(v1, &workers[i]);
		if (seen)
			continue;
		exdev += errno_of_passing(&workers[i]) == EXDEV;
		reported += error_of_publishing(&workers[i]) == -EXDEV;
	}
	ok(absent > 0, "threads in shared pages are not in the v1 map");
	is(wrong, 0, "none is read wrongly there");
	is(exdev, absent, "tld_get_data() with that map gives each of them EXDEV");
	is(reported, absent, "so does tld_publish()");
	is(read_rightly(v2), THREADS, "the v2 map reads all of them as before");
}

static void start_new_ones_beside_v1(void)
{
	start_workers();
	store_all();
	is(read_rightly(v1), THREADS, "threads that come then are read through the v1 map");
	is(read_rightly(v2), THREADS, "and through the v2 map");
	is(pairs_in_a_page(v2), 0, "each has a page to itself");
}

static void v1_comes_later(void)
{
	uint64_t *data;

	packed(v2);
	is(attach(v1), -EXDEV, "a v1 map that comes then cannot describe them");
	judge_packed_beside_v1();
	data = worker_do(&workers[1], store, &workers[1]);
	ok(data && *data == mark_of(&workers[1]), "they go on storing");
	is(attach(v1), -EXDEV, "trying again changes nothing while they live");
	end_workers();
	is(attach(v1), 0, "when they have ended the map serves all there are");
	start_new_ones_beside_v1();
	is(tld_detach(reader_map_fd(v1)), 0, "it was attached all the time");
	is(reader_elements(v1, NULL), 0, "and is empty when it is detached");
	is(read_rightly(v2), THREADS, "where the v2 map has all");
	end_workers();
}

/* The v1 map is attached though it cannot serve all: who comes meanwhile is in it. */
static void new_one_beside_packed(void)
{
	struct worker late;

	packed(v2);
	worker_start(&late);
	is(attach(v1), -EXDEV, "a v1 map comes to threads that share pages");
	worker_do(&late, store, &late);
	ok(reads(v1, &late) && reads(v2, &late),
	   "a thread that has data later is read through both");
	worker_end(&late, WORKER_RETURNS);
	worker_start(&late);
	is(errno_of_passing(&late), 0, "one that passes the v1 map to tld_get_data() gets its TLD");
	ok(reads(v1, &late) && reads(v2, &late), "and is read as well");
	is(error_of_publishing(&late), 0, "where there is nothing that fails");
	worker_end(&late, WORKER_RETURNS);
	end_workers();
}

/* Nobody told the library that they ended, but they did: they fail nothing any more. */
static void packed_ones_ended(void)
{
	packed(v2);
	for (int i = 0; i < THREADS; i++)
		worker_end(&workers[i], WORKER_ENDS_WITHOUT_DESTRUCTORS);
	/* A thread that was joined is there for another moment. */
	ok(eventually(attach(v1) == 0),
	   "a v1 map serves all when those that share pages have ended, "
					"without destructors");
	start_new_ones_beside_v1();
	end_workers();
}

/* One thread's passing it to tld_get_data() is enough for a map to be known. */
static void passed_v1_beside_v2(void)
{
	struct worker passing;

	is(attach(v2), 0, "a v2 map is attached");
	worker_start(&passing);
	is(errno_of_passing(&passing), 0, "a thread passes a v1 map to tld_get_data()");
	start_workers();
	store_all();
	is(pairs_in_a_page(v2), 0, "threads that come then have a page each");
	is(attach(v1), 0, "so the v1 map can be attached");
	is(read_rightly(v1), THREADS, "and reads each of them");
	end_workers();
	worker_end(&passing, WORKER_RETURNS);
}

/* The v1 map goes: what comes then is packed again. */
static void v1_goes(void)
{
	if (attach(v2) || attach(v1))
		tap_bail("two maps can be attached");
	start_new_ones_beside_v1();
	end_workers();
	is(tld_detach(reader_map_fd(v1)), 0, "the v1 map is detached");
	start_workers();
	store_all();
	is(read_rightly(v2), THREADS, "threads that come then are read through the v2 map");
	ok(pairs_in_a_page(v2) > 0, "and share pages again");
	end_workers();
}

static void (*body_of_case)(void);

static void with_key(void)
{
	key = tld_create_key("value", sizeof(uint64_t));
	if (tld_key_is_err(key))
		tap_bail("a key can be created");
	body_of_case();
	is(errno_changed, 0, "errno was left alone");
}

#define case_with_key(body) case_with_key_named(#body, body)

static void case_with_key_named(const char *name, void (*body)(void))
{
	body_of_case = body;
	in_child_named(name, with_key);
}

int main(void)
{
	reader_need_kernel();
	v1 = reader_open(READER_V1);
	v2 = reader_open(READER_V2);
	native = reader_open(READER_NATIVE);
	case_with_key(v1_first);
	case_with_key(v1_last);
	case_with_key(packed_for_v2);
	case_with_key(packed_for_native);
	case_with_key(packed_for_a_passed_map);
	case_with_key(v1_comes_later);
	case_with_key(new_one_beside_packed);
	if (UNDER_SANITIZER)
		tap_skip("threads that ended without destructors",
			 "a sanitizer wants its own to run");
	else
		case_with_key(packed_ones_ended);
	case_with_key(passed_v1_beside_v2);
	case_with_key(v1_goes);
	reader_close(v1);
	reader_close(v2);
	reader_close(native);
	return tap_done();
}
