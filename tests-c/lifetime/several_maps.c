// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * several_maps.c - a thread is seen through every data map that it passes: at
 * once, one after the other, and after the BPF side was restarted.
 */
#include <fcntl.h>
#include <unistd.h>

#define TLD_DYN_DATA_SIZE 64
#include "tld.h"

#include "process.h"
#include "reader.h"
#include "threads.h"

static tld_key_t key;

static uint64_t *take(struct reader *reader)
{
	return tld_get_data(reader_map_fd(reader), key);
}

/* The thread passes the map, stores, and BPF reads it back. */
static bool served(struct reader *reader, uint64_t value)
{
	uint64_t *data = take(reader);

	if (!data)
		return false;
	*data = value;
	return reader_u64(reader, 0, "value") == value;
}

#define TOGETHER 3
#define RESTARTS SOME(20)
#define IN_TURN OFTEN(100)

static void at_once(void)
{
	struct reader *readers[TOGETHER];
	uint64_t *data[TOGETHER];
	int seen = 0, same = 0;

	key = tld_create_key("value", sizeof(uint64_t));
	for (int i = 0; i < TOGETHER; i++)
		readers[i] = reader_open(READER_V2);
	for (int i = 0; i < TOGETHER; i++) {
		is(reader_sees(readers[i], 0), false, "map %d does not see the thread before", i);
		data[i] = take(readers[i]);
	}
	if (!data[0])
		tap_bail("the thread gets its TLD");
	*data[0] = 77;
	for (int i = 0; i < TOGETHER; i++) {
		seen += reader_u64(readers[i], 0, "value") == 77;
		same += data[i] == data[0];
	}
	is(seen, TOGETHER, "each of %d maps sees the thread's one value", TOGETHER);
	is(same, TOGETHER, "the thread has one address for it, whichever map it passes");
	tld_free();
	seen = 0;
	for (int i = 0; i < TOGETHER; i++)
		seen += reader_sees(readers[i], 0);
	is(seen, 0, "tld_free() withdraws the thread from all of them");
	for (int i = 0; i < TOGETHER; i++)
		reader_close(readers[i]);
}

/* A descriptor with another number than any that was open before. */
static struct reader *open_elsewhere(struct reader *before)
{
	struct reader *reader = reader_open(READER_V2);

	if (before && reader_map_fd(reader) == reader_map_fd(before))
		tap_bail("two open maps have different descriptors");
	return reader;
}

/* As a scheduler does that is loaded anew while its clients keep running. */
static void *restart(void *arg)
{
	struct reader *old = open_elsewhere(NULL), *new;
	int *good = arg;

	for (int i = 0; i < RESTARTS; i++) {
		*good += served(old, 1000 + i);
		new = open_elsewhere(old);
		reader_close(old);
		old = new;
	}
	*good += served(old, 2000);
	reader_close(old);
	return NULL;
}

static void restarted(void)
{
	int good = 0;

	key = tld_create_key("value", sizeof(uint64_t));
	restart(&good);
	is(good, RESTARTS + 1,
	   "a thread that did nothing special is seen by each of %d restarted readers", RESTARTS);
	good = 0;
	in_thread(restart, &good);
	is(good, RESTARTS + 1, "so is one that starts later");
}

/* More maps than the library keeps: the one that is passed is always served. */
#define CROWD 12

static void crowd(void)
{
	struct reader *readers[CROWD];
	int good = 0, again = 0;

	key = tld_create_key("value", sizeof(uint64_t));
	for (int i = 0; i < CROWD; i++) {
		readers[i] = reader_open(READER_V2);
		good += served(readers[i], i + 1);
	}
	is(good, CROWD, "each of %d maps sees the thread right after it was passed", CROWD);
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < CROWD; i++)
			again += served(readers[i], round * CROWD + i + 100);
	is(again, 3 * CROWD, "and again when they take turns");
	tld_free();
	good = 0;
	for (int i = 0; i < CROWD; i++)
		good += reader_sees(readers[i], 0);
	is(good, 0, "tld_free() leaves the thread in none of them");
	for (int i = 0; i < CROWD; i++)
		reader_close(readers[i]);
}

/* The same map under two descriptors, as of two libraries that opened a pin. */
static void two_descriptors(void)
{
	struct reader *reader = reader_open(READER_V2);
	int other = fcntl(reader_map_fd(reader), F_DUPFD_CLOEXEC, 100);
	uint64_t *data, *same;

	key = tld_create_key("value", sizeof(uint64_t));
	data = take(reader);
	same = tld_get_data(other, key);
	ok(data && data == same, "two descriptors of a map lead to one TLD");
	if (!data)
		return;
	*data = 5;
	is(reader_u64(reader, 0, "value"), 5, "BPF reads it");
	close(other);
	is(served(reader, 6), true, "closing one leaves the other working");
	tld_free();
	is(reader_sees(reader, 0), false, "tld_free() withdraws it");
	reader_close(reader);
}

/* One number, two maps: what the header asks for is tld_free() in between. */
static void number_used_again(void)
{
	struct reader *first = reader_open(READER_V2), *second = reader_open(READER_V2);
	int number = fcntl(reader_map_fd(first), F_DUPFD_CLOEXEC, 200);
	uint64_t *data;

	key = tld_create_key("value", sizeof(uint64_t));
	ok(tld_get_data(number, key) != NULL, "a thread passes a map by a number");
	tld_free();
	if (dup3(reader_map_fd(second), number, O_CLOEXEC) != number)
		tap_bail("dup3 works");
	data = tld_get_data(number, key);
	if (data)
		*data = 9;
	is(reader_u64(second, 0, "value"), 9,
	   "the number's new map sees the thread, if tld_free() was called in between");
	is(reader_sees(first, 0), false, "the old one does not");
	close(number);
	reader_close(first);
	reader_close(second);
}

/* Formats take turns, and each reads the one value: start is where it says. */
static void formats_in_order(const enum reader_format order[3])
{
	struct reader *readers[3];
	int good = 0;

	key = tld_create_key("value", sizeof(uint64_t));
	for (int i = 0; i < 3; i++) {
		readers[i] = reader_open(order[i]);
		good += served(readers[i], 10 + i);
	}
	is(good, 3, "%s, then %s, then %s: each map sees the thread",
	   reader_format_name(order[0]), reader_format_name(order[1]), reader_format_name(order[2]));
	good = 0;
	for (int i = 0; i < 3; i++)
		good += reader_u64(readers[i], 0, "value") == 12;
	is(good, 3, "all three keep seeing its one value");
	for (int i = 0; i < 3; i++)
		reader_close(readers[i]);
}

static void v1_v2_native(void)
{
	formats_in_order((enum reader_format[]){ READER_V1, READER_V2, READER_NATIVE });
}

static void v1_native_v2(void)
{
	formats_in_order((enum reader_format[]){ READER_V1, READER_NATIVE, READER_V2 });
}

/* Maps that come and go take nothing with them, neither when the process is idle. */
static void nothing_left(void)
{
	struct reader *reader;
	int fds, good = 0;

	key = tld_create_key("value", sizeof(uint64_t));
	reader = reader_open(READER_V2);
	served(reader, 1);
	tld_free();
	reader_close(reader);
	fds = open_descriptors();
	for (int i = 0; i < IN_TURN; i++) {
		reader = reader_open(READER_V2);
		good += served(reader, i + 1);
		tld_free();
		reader_close(reader);
	}
	is(good, IN_TURN, "%d maps, one after the other, see the thread", IN_TURN);
	is(open_descriptors(), fds, "none of them is kept open");
}

int main(void)
{
	reader_need_kernel();
	in_child(at_once);
	in_child(restarted);
	in_child(crowd);
	in_child(two_descriptors);
	in_child(number_used_again);
	in_child(v1_v2_native);
	in_child(v1_native_v2);
	in_child(nothing_left);
	return tap_done();
}
