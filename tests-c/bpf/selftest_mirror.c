// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * selftest_mirror.c - what the kernel's own selftest of task local data covers,
 * with either BPF header and the raw reader looking at the same threads:
 * creation, duplicates, the budget, a full table, many threads, racing creators,
 * dynamic sizes. Each case has a process of its own.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

/* The static TLD's constructor asks for 0, each case then for its own. */
static size_t dyn_size;
#define TLD_DYN_DATA_SIZE dyn_size
#include "task_local_data.h"

#include "either.h"
#include "process.h"
#include "reader.h"
#include "selftest_mirror.h"
#include "threads.h"

/* A page but for the 8 bytes before the data and the static value0. */
#define LARGEST ((size_t)getpagesize() - 16)
#define PAGE_ENTRIES ((int)TLD_MAX_DATA_CNT)

TLD_DEFINE_KEY(value0_key, "value0", sizeof(int));

static struct bpf_object *object;
static struct reader *reader;
static int map_fd, prog_fd;
static tld_key_t keys[64];

/* Ask BPF, with the header, about the calling thread. */
static struct mirror_view look(void)
{
	struct mirror_view view = { .err = 1 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &view, .ctx_size_in = sizeof(view));

	if (bpf_prog_test_run_opts(prog_fd, &opts))
		tap_bail("read_values runs");
	return view;
}

static void open_objects(void)
{
	object = reader_load(either_file("selftest_mirror"));
	map_fd = reader_object_map_fd(object, "tld_data_map");
	prog_fd = reader_prog_fd(object, "read_values");
	reader = reader_open_map(READER_V2, map_fd);
}

static void close_objects(void)
{
	reader_close(reader);
	bpf_object__close(object);
}

static void name_of(char name[TLD_NAME_LEN], int number)
{
	snprintf(name, TLD_NAME_LEN, "value%d", number);
}

/* value1, value2 and as many small ones as the table takes. */
static bool fill_table(void)
{
	char name[TLD_NAME_LEN];
	bool all = true;

	keys[0] = value0_key;
	for (int i = 1; i < PAGE_ENTRIES && i < 64; i++) {
		name_of(name, i);
		keys[i] = tld_create_key(name, i == 2 ? sizeof(struct mirror_quad) : sizeof(int));
		all = all && !tld_key_is_err(keys[i]);
	}
	return all;
}

/* What a thread stores, so that no two threads and no two rounds agree. */
static bool store_values(int base)
{
	int *value0 = tld_get_data(map_fd, keys[0]), *value1 = tld_get_data(map_fd, keys[1]);
	struct mirror_quad *value2 = tld_get_data(map_fd, keys[2]);
	int *last = tld_get_data(map_fd, keys[62]);

	if (!value0 || !value1 || !value2 || !last)
		return false;
	*value0 = base;
	*value1 = base + 1;
	*value2 = (struct mirror_quad){ base + 2, base + 3, base + 4, base + 5 };
	*last = base + 6;
	return true;
}

static bool header_reads(int base)
{
	struct mirror_view view = look();

	return !view.err && view.has_value0 && view.has_value1 && view.has_value2 &&
	       view.has_last && !view.has_missing && view.value0 == base &&
	       view.value1 == base + 1 && view.value2.a == base + 2ULL &&
	       view.value2.b == base + 3ULL && view.value2.c == base + 4ULL &&
	       view.value2.d == base + 5ULL && view.last == base + 6;
}

static bool reader_reads(int base)
{
	struct mirror_quad quad = { 0 };

	return reader_u32(reader, 0, "value0") == (uint32_t)base &&
	       reader_u32(reader, 0, "value1") == (uint32_t)base + 1 &&
	       !reader_read(reader, 0, "value2", &quad, sizeof(quad)) &&
	       quad.a == base + 2ULL && quad.d == base + 5ULL &&
	       reader_u32(reader, 0, "value62") == (uint32_t)base + 6 &&
	       reader_read(reader, 0, "missing", &quad, 1) == -ENOENT;
}

static pthread_barrier_t all_stored;

struct many {
	bool stored, header, raw, kept;
};

/* Two rounds: the second finds the BPF header's cached keys. */
static void *one_of_many(void *arg)
{
	struct many *result = arg;
	int base = gettid() * 16;

	*result = (struct many){ true, true, true, true };
	for (int round = 0; round < 2; round++, base += 8) {
		result->stored &= store_values(base);
		pthread_barrier_wait(&all_stored);
		result->header &= header_reads(base);
		result->raw &= reader_reads(base);
		result->kept &= *(int *)tld_get_data(map_fd, keys[1]) == base + 1;
		pthread_barrier_wait(&all_stored);
	}
	return NULL;
}

#define MANY 32

static void many_threads(void)
{
	struct many results[MANY], all = { true, true, true, true };
	pthread_t threads[MANY];

	pthread_barrier_init(&all_stored, NULL, MANY);
	for (int i = 0; i < MANY; i++)
		threads[i] = start_thread(one_of_many, &results[i]);
	for (int i = 0; i < MANY; i++) {
		end_thread(threads[i]);
		all.stored &= results[i].stored;
		all.header &= results[i].header;
		all.raw &= results[i].raw;
		all.kept &= results[i].kept;
	}
	ok(all.stored, "each of %d threads gets its TLDs", MANY);
	ok(all.header, "the BPF header reads each thread's own values, also from cached keys");
	ok(all.raw, "the raw reader reads the same");
	ok(all.kept, "what BPF does leaves the threads' values alone");
}

static void basic(void)
{
	tld_key_t key;

	dyn_size = LARGEST;
	open_objects();
	is(look().err, -ENODATA, "a thread that has not asked for its data is unknown to BPF");
	ok(!tld_key_is_err(value0_key), "a static TLD exists when main starts");
	ok(fill_table(), "TLDs can be created until the page has %d", PAGE_ENTRIES);
	key = tld_create_key("value1", sizeof(int));
	is(tld_key_err_or_zero(key), -EEXIST, "a name can be used once");
	key = tld_create_key("one too many", sizeof(int));
	is(tld_key_err_or_zero(key), -ENOSPC, "a full table refuses one more");
	many_threads();
	close_objects();
}

static void budget(void)
{
	struct reader_view view;
	tld_key_t key;

	dyn_size = LARGEST;
	open_objects();
	key = tld_create_key("too large", LARGEST + 1);
	is(tld_key_err_or_zero(key), -E2BIG, "a TLD that exceeds the page is refused");
	key = tld_create_key("just fits", LARGEST);
	is(tld_key_err_or_zero(key), 0, "a TLD of all that is left is made");
	key = tld_create_key("no byte left", 1);
	is(tld_key_err_or_zero(key), -E2BIG, "a spent budget refuses a single byte");
	ok(tld_get_data(map_fd, value0_key) != NULL, "a thread gets its data");
	is(reader_look(reader, 0, &view), 0, "BPF sees the thread");
	is(reader_view_cnt(&view), 2, "BPF counts the TLDs that were made, not the refused ones");
	is(reader_view_size(&view), LARGEST + 8, "BPF sees the budget and the static TLD");
	close_objects();
}

/* Each racer competes for two names and makes one of its own. */
#define RACERS 60
static pthread_barrier_t race_start;

struct racer {
	int id;
	tld_key_t shared[2], own, refused;
};

static void *race(void *arg)
{
	struct racer *racer = arg;
	char name[TLD_NAME_LEN];

	name_of(name, racer->id);
	pthread_barrier_wait(&race_start);
	racer->refused = tld_create_key("refused", (size_t)getpagesize() + 1);
	racer->shared[0] = tld_create_key("value1", sizeof(int));
	racer->shared[1] = tld_create_key("value2", sizeof(struct mirror_quad));
	racer->own = tld_create_key(name, sizeof(int));
	return NULL;
}

static int count_wins(const struct racer racers[RACERS], int which)
{
	int wins = 0;

	for (int i = 0; i < RACERS; i++) {
		int err = tld_key_err_or_zero(racers[i].shared[which]);

		if (err && err != -EEXIST)
			return err;
		if (!err) {
			keys[which + 1] = racers[i].shared[which];
			wins++;
		}
	}
	return wins;
}

/* BPF finds every number by its name, so no two TLDs share a byte. */
static int count_read_back(void)
{
	char name[TLD_NAME_LEN];
	int good = 0;

	for (int i = 0; i < 63; i++) {
		int *value = tld_get_data(map_fd, keys[i]);

		if (value)
			*value = i + 1000;
	}
	for (int i = 0; i < 63; i++) {
		name_of(name, i);
		good += reader_u32(reader, 0, name) == (uint32_t)i + 1000;
	}
	return good;
}

static struct racer racers[RACERS];
static int race_refused, race_own, race_wins[2];

static void race_once(void)
{
	pthread_t threads[RACERS];

	pthread_barrier_init(&race_start, NULL, RACERS);
	for (int i = 0; i < RACERS; i++) {
		racers[i].id = i + 3;
		threads[i] = start_thread(race, &racers[i]);
	}
	for (int i = 0; i < RACERS; i++)
		end_thread(threads[i]);
	keys[0] = value0_key;
	race_wins[0] = count_wins(racers, 0);
	race_wins[1] = count_wins(racers, 1);
	race_refused = race_own = 0;
	for (int i = 0; i < RACERS; i++) {
		race_refused += tld_key_err_or_zero(racers[i].refused) == -E2BIG;
		race_own += !tld_key_is_err(racers[i].own);
		keys[racers[i].id] = racers[i].own;
	}
}

static void creation_races(void)
{
	struct mirror_view view;

	dyn_size = LARGEST;
	open_objects();
	race_once();
	is(race_refused, RACERS, "each racer's impossible TLD is refused");
	is(race_wins[0], 1, "one of %d racing creators of a name wins, the rest get EEXIST", RACERS);
	is(race_wins[1], 1, "the same for a second name");
	is(race_own, RACERS, "each racer makes its own TLD");
	is(count_read_back(), 63, "BPF reads 63 distinct values under the 63 names");
	view = look();
	ok(!view.err && view.has_value0 && view.value0 == 1000 && view.has_value1 &&
	   view.value1 == 1001 && view.has_last && view.last == 1062 && !view.has_missing,
	   "the BPF header agrees");
	close_objects();
}

/* As many small TLDs as the dynamic size has room for, and not one more. */
static void dynamic_size(size_t size)
{
	int room = (int)(size / 8) < PAGE_ENTRIES - 1 ? (int)(size / 8) : PAGE_ENTRIES - 1;
	int made = 0, stored = 0, good = 0, *value;
	char name[TLD_NAME_LEN];

	dyn_size = size;
	open_objects();
	for (int i = 1; i <= room; i++) {
		name_of(name, i);
		keys[i] = tld_create_key(name, sizeof(int));
		made += !tld_key_is_err(keys[i]);
		value = tld_get_data(map_fd, keys[i]);
		if (value)
			*value = i;
		stored += value != NULL;
	}
	is(made, room, "a dynamic size of %zu bytes takes %d TLDs of 4 bytes", size, room);
	is(stored, room, "the thread can store in each, though made one by one");
	is(tld_key_err_or_zero(tld_create_key("overflow", sizeof(int))),
	   size / 8 < (size_t)PAGE_ENTRIES - 1 ? -E2BIG : -ENOSPC, "one more is refused");
	value = tld_get_data(map_fd, value0_key);
	ok(value != NULL, "the static TLD has room beside them");
	if (value)
		*value = (int)0xdeadbeef;
	for (int i = 1; i <= room; i++) {
		name_of(name, i);
		good += reader_u32(reader, 0, name) == (uint32_t)i;
	}
	is(good, room, "BPF reads each by its name");
	is((unsigned int)look().value0, 0xdeadbeef, "the BPF header reads the static one");
	is(reader_u32(reader, 0, "value0"), 0xdeadbeef, "the raw reader too");
	close_objects();
}

static void dynamic_size_zero(void)
{
	dynamic_size(0);
}

static void dynamic_size_default(void)
{
	dynamic_size(64);
}

static void dynamic_size_largest(void)
{
	dynamic_size(LARGEST);
}

static void cases(void)
{
	in_child(basic);
	in_child(budget);
	/* Racing once says little: many processes, each with an empty table. */
	for (int i = 0; i < 10; i++)
		in_child(creation_races);
	in_child(dynamic_size_zero);
	in_child(dynamic_size_default);
	in_child(dynamic_size_largest);
}

int main(void)
{
	reader_need_kernel();
	with_each_header(cases);
	return tap_done();
}
