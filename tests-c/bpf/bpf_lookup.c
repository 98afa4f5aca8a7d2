// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * bpf_lookup.c - what either BPF header makes of a name: sizes, half-made
 * entries, TLDs that come later, long names, and metadata written by an enemy.
 * Each case is a process of its own, which writes to its metadata page itself.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#define TLD_DYN_DATA_SIZE 200
#include "task_local_data.h"

#include "bpf_lookup.h"
#include "either.h"
#include "process.h"
#include "reader.h"
#include "threads.h"

#define ALPHA 0xa1a1a1a1ULL
#define BETA 0xbebebebeULL
#define ROUNDS OFTEN(300)	/* of pages of noise */

static struct bpf_object *object;
static struct reader *reader;
static int map_fd;

/* Once for all cases: what is in the map goes with a case's child. */
static void load_object(void)
{
	object = reader_load(either_file("bpf_lookup"));
	map_fd = reader_object_map_fd(object, "tld_data_map");
	reader = reader_open_map(READER_V2, map_fd);
}

static struct lookup_view look_in(struct bpf_object *in, const char *program)
{
	struct lookup_view view = { .err = 1 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &view, .ctx_size_in = sizeof(view));

	if (bpf_prog_test_run_opts(reader_prog_fd(in, program), &opts))
		tap_bail("%s runs", program);
	return view;
}

static struct lookup_view look(const char *program)
{
	return look_in(object, program);
}

static bool finds(const char *program, unsigned long long value)
{
	struct lookup_view view = look(program);

	return !view.err && view.found && view.value == value;
}

/* The thread has data, but no TLD of that description. */
static bool misses(const char *program)
{
	struct lookup_view view = look(program);

	return !view.err && !view.found;
}

static void make(const char *name, size_t size, unsigned long long value)
{
	tld_key_t key = tld_create_key(name, size);
	unsigned long long *data = tld_get_data(map_fd, key);

	if (!data)
		tap_bail("the thread gets a TLD %s", name);
	*data = value;
}

static void size_is_checked(void)
{
	make("alpha", 8, ALPHA);
	make("beta", 8, BETA);
	ok(misses("look_alpha_16"), "BPF that asks for more bytes than the TLD has gets nothing");
	ok(finds("look_alpha", ALPHA), "after that, BPF that asks for what it has gets it");
	ok(misses("look_alpha_16"), "nor does it get more once the key is cached");
	ok(finds("look_alpha", ALPHA), "the cached key is still good for what the TLD has");
}

static void exact_size_in_a_larger_tld(void)
{
	make("alpha", 24, ALPHA);
	ok(finds("look_alpha", ALPHA), "BPF may ask for fewer bytes than the TLD has");
	ok(finds("look_alpha_16", ALPHA), "whichever size it asked for before");
}

/* An entry that its writer has counted but not finished. */
static void half_made(void)
{
	make("alpha", 8, ALPHA);
	tld_meta_p->metadata[0].size = 0;
	ok(misses("look_alpha"), "an entry without a size is absent");
	ok(misses("look_alpha"), "and stays absent");
	tld_meta_p->metadata[0].size = 8;
	ok(finds("look_alpha", ALPHA), "it is found once its size is there");
}

/* Where it will end is unknown, so what follows it has no offset yet. */
static void behind_half_made(void)
{
	make("alpha", 24, ALPHA);
	make("beta", 8, BETA);
	tld_meta_p->metadata[0].size = 0;
	ok(misses("look_beta"), "a TLD behind an entry without a size has no place yet");
	ok(misses("look_alpha"), "nor has the entry itself");
	tld_meta_p->metadata[0].size = 24;
	ok(finds("look_beta", BETA), "it is found at the right one once the size is there");
	ok(finds("look_alpha", ALPHA), "as is the entry");
}

static void made_later(void)
{
	char name[TLD_NAME_LEN];

	make("pad", 16, 0);
	ok(misses("look_alpha"), "a TLD that nobody has made is not found");
	for (int i = 0; i < 5; i++) {
		snprintf(name, sizeof(name), "other%d", i);
		make(name, 8, 0);
		ok(misses("look_alpha"), "nor while others are made (%d)", i);
	}
	make("alpha", 8, ALPHA);
	ok(finds("look_alpha", ALPHA), "it is found as soon as it is made, after BPF had missed it");
	ok(misses("look_beta"), "one that is missing stays missing");
	make("beta", 8, BETA);
	ok(finds("look_beta", BETA), "until it is made");
	ok(finds("look_alpha", ALPHA), "the first is where it was");
}

static void long_names(void)
{
	make(LONG_A, 8, ALPHA);
	ok(misses("look_long_b"), "a name of 61 bytes is not taken for one that differs in the last");
	make(LONG_B, 8, BETA);
	ok(finds("look_long_a", ALPHA), "names of 61 bytes are found");
	ok(finds("look_long_b", BETA), "each its own");
	if (!either_is_native())
		ok(misses("look_long_too_much"),
		   "a name of 62 bytes is no TLD's, and not cut to one");
}

static void busy_names(void)
{
	make("alpha", 8, 40);
	make("beta", 8, 2);
	ok(finds("look_with_busy_names", 42), "the header's macros capture no name of the caller's");
}

/* Two objects with one data map: the keys that each has cached are its own. */
static void two_objects(void)
{
	struct bpf_object *second;

	reader_need_kernel();
	second = bpf_object__open_file(reader_beside(either_file("bpf_lookup")), NULL);
	if (!second ||
	    bpf_map__reuse_fd(bpf_object__find_map_by_name(second, "tld_data_map"), map_fd) ||
	    bpf_object__load(second))
		tap_bail("a second object loads with the first one's data map");
	make("pad", 16, 0);
	make("alpha", 8, ALPHA);
	ok(finds("look_alpha", ALPHA), "the object that owns the data map reads it");
	is(look_in(second, "look_alpha").value, ALPHA, "so does another that shares it");
	tld_free();
	is(look_in(second, "look_alpha").err, -ENODATA, "after tld_free() it finds nothing");
	make("beta", 8, BETA);
	is(look_in(second, "look_beta").value, BETA, "it reads a thread that came back");
	bpf_object__close(second);
}

/* --- A metadata page written by an enemy ------------------------------------- */

static tld_key_t alpha_key, beta_key;

static void hostile_start(void)
{
	make("alpha", 8, ALPHA);
	make("beta", 8, BETA);
	alpha_key = tld_find_key("alpha");
	beta_key = tld_find_key("beta");
}

static void *look_from_new_thread(void *unused)
{
	unsigned long long *alpha = tld_get_data(map_fd, alpha_key);
	unsigned long long *beta = tld_get_data(map_fd, beta_key);

	(void)unused;
	if (!alpha || !beta)
		return NULL;
	*alpha = ALPHA + 1;
	*beta = BETA + 1;
	return (void *)(uintptr_t)(finds("look_alpha", ALPHA + 1) && finds("look_beta", BETA + 1));
}

/* The enemy may have spoilt what BPF remembers of its own thread, nobody else's. */
static void recovers(void)
{
	struct tld_meta_u *meta = tld_meta_p;

	meta->cnt = 2;
	memset(meta->metadata, 0, sizeof(meta->metadata[0]) * TLD_MAX_DATA_CNT);
	strcpy(meta->metadata[0].name, "alpha");
	strcpy(meta->metadata[1].name, "beta");
	meta->metadata[0].size = meta->metadata[1].size = 8;
	ok(in_thread(look_from_new_thread, NULL) != NULL,
	   "BPF reads another thread rightly once the page is right");
}

static void count_too_large(void)
{
	hostile_start();
	tld_meta_p->cnt = 65535;
	ok(misses("look_long_a"), "a count of 65535 leads to no TLD that is not there");
	ok(finds("look_beta", BETA), "nor away from one that is");
	recovers();
}

static void sizes_too_large(void)
{
	hostile_start();
	tld_meta_p->metadata[0].size = 65535;
	ok(misses("look_beta"), "a TLD behind one of 65535 bytes is out of reach");
	recovers();
}

/* 63 entries of 65535 bytes add up beyond any 16-bit offset. */
static void every_size_too_large(void)
{
	struct lookup_view view;

	hostile_start();
	for (int i = 0; i < (int)TLD_MAX_DATA_CNT; i++) {
		memset(tld_meta_p->metadata[i].name, 'A', TLD_NAME_LEN);
		tld_meta_p->metadata[i].size = i == 62 ? 8 : 65535;
	}
	strcpy(tld_meta_p->metadata[62].name, "beta");
	tld_meta_p->cnt = 65535;
	view = look("look_beta");
	ok(!view.found, "sizes that wrap around 16 bits lead nowhere");
	recovers();
}

/* Sums that come back into the page modulo 2^16. */
static void sizes_that_wrap(void)
{
	hostile_start();
	tld_meta_p->metadata[0].size = 65528;
	strcpy(tld_meta_p->metadata[1].name, "middle");
	tld_meta_p->metadata[1].size = 16;
	strcpy(tld_meta_p->metadata[2].name, "beta");
	tld_meta_p->metadata[2].size = 8;
	tld_meta_p->cnt = 3;
	ok(misses("look_beta"), "an offset of 65544 is not taken for 8");
	recovers();
}

static void names_without_end(void)
{
	hostile_start();
	for (int i = 0; i < (int)TLD_MAX_DATA_CNT; i++) {
		memset(tld_meta_p->metadata[i].name, 'A', TLD_NAME_LEN);
		tld_meta_p->metadata[i].size = 8;
	}
	tld_meta_p->cnt = TLD_MAX_DATA_CNT;
	ok(misses("look_alpha"), "names that do not end match nothing");
	/* All 62 bytes, and what would follow. */
	memcpy(tld_meta_p->metadata[0].name, LONG_TOO_MUCH, TLD_NAME_LEN);
	ok(misses("look_long_a"), "one that begins with a TLD's name is not that TLD");
	recovers();
}

/* The cached key outlives the table, but leads to the same place only. */
static void cached_then_hostile(void)
{
	struct lookup_view view;

	hostile_start();
	ok(finds("look_beta", BETA), "a key is cached");
	tld_meta_p->metadata[0].size = 65535;
	tld_meta_p->cnt = 0;
	view = look("look_beta");
	ok(!view.found || view.value == BETA, "a table that changes under it leads to no other place");
	recovers();
}

/* Every byte of the page at random, many times: no crash, nothing that fails to end. */
static void random_pages(void)
{
	unsigned char *page;
	unsigned int seed = 20260101;
	int looked = 0;

	hostile_start();
	page = (unsigned char *)tld_meta_p;
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < getpagesize(); i++)
			page[i] = rand_r(&seed) >> 7;
		look("look_alpha");
		look("look_long_b");
		look("look_with_busy_names");
		looked++;
	}
	is(looked, ROUNDS, "BPF looks into %d pages of noise (seed 20260101) and comes back", ROUNDS);
}

static void cases(void)
{
	load_object();
	in_child(size_is_checked);
	in_child(exact_size_in_a_larger_tld);
	in_child(half_made);
	in_child(behind_half_made);
	in_child(made_later);
	in_child(long_names);
	in_child(busy_names);
	in_child(two_objects);
	in_child(count_too_large);
	in_child(sizes_too_large);
	in_child(every_size_too_large);
	in_child(sizes_that_wrap);
	in_child(names_without_end);
	in_child(cached_then_hostile);
	in_child(random_pages);
	reader_close(reader);
	bpf_object__close(object);
}

int main(void)
{
	reader_need_kernel();
	with_each_header(cases);
	return tap_done();
}
