// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * faults.c - faults of the kernel's user header that need nothing but this program:
 * 1, 2, 9 and 11 of docs/reference/wire.md. Each case is named after what is right.
 */
#include <pthread.h>
#include "maps.h"
#include "often.h"
#include "page.h"

#define NAME_61 "0123456789012345678901234567890123456789012345678901234567890"
#define RACERS 64
#define RACES OFTEN(25)

static int map_fd;

/* Fault 1 */
static void size_zero_blocks_nobody(void)
{
	is(tld_create_key("empty", 0).off, -EINVAL, "a key of size 0 is refused");
	is(tld_create_key("empty", 0).off, -EINVAL, "a second one too, without waiting for the first");
	is(tld_create_key("next", 8).off, 0, "and blocks nobody who creates another");
	is(tld_create_key("empty", 8).off, 8, "nor who creates that name with a size");
	is(page_cnt(), 2, "it leaves no entry");
}

/* Fault 1, were the entry made by someone else: it must not be waited for. */
static void unready_entry_blocks_nobody(void)
{
	int16_t off;

	is(tld_create_key("done", 8).off, 0, "a key is created");
	strcpy(tld_meta_p->metadata[1].name, "unready");
	tld_meta_p->cnt = 2;
	off = tld_create_key("next", 8).off;
	ok(off < 0 || off == 8, "a creator does not wait for an entry of size 0 in the page (key %d)", off);
	is(tld_find_key("unready").off, -ENOENT, "nor does who looks for it");
}

/* Fault 2 */
static void error_keys_give_no_address(void)
{
	tld_key_t key = tld_create_key("k", 64);
	unsigned int addresses = 0, wrong_errno = 0;

	ok(tld_get_data(map_fd, key) != NULL, "a key gives an address");
	for (int off = INT16_MIN; off < 0; off++) {
		errno = 0;
		addresses += tld_get_data(map_fd, (tld_key_t){ off }) != NULL;
		wrong_errno += errno != EINVAL;
		addresses += (tld_get_data)(map_fd, (tld_key_t){ off }) != NULL;
	}
	is(addresses, 0, "none of the 32768 error keys gives an address");
	is(wrong_errno, 0, "each gives EINVAL");
	errno = 0;
	ok(!tld_get_data(map_fd, tld_create_key("k", 8)) && errno == EINVAL,
	   "what a failed tld_create_key() returned gives no address");
}

static void error_keys_before_data(void)
{
	errno = 0;
	ok(!tld_get_data(map_fd, (tld_key_t){ -EEXIST }) && errno == EINVAL,
	   "an error key gives EINVAL in a process without keys");
	tld_create_key("k", 8);
	errno = 0;
	ok(!tld_get_data(map_fd, (tld_key_t){ -1 }) && errno == EINVAL,
	   "an error key gives EINVAL in a thread without data");
	ok(!published(map_fd), "and does not publish the thread");
}

/* Fault 9 */
static void long_names_are_not_cut(void)
{
	is(tld_create_key(NAME_61 "A", 8).off, -ENAMETOOLONG, "a name that would have to be cut is refused");
	is(tld_create_key(NAME_61 "B", 8).off, -ENAMETOOLONG, "so that two names cannot become one");
	is(tld_create_key(NAME_61, 8).off, 0, "the longest name is taken");
	is(tld_create_key(NAME_61, 8).off, -EEXIST, "and its duplicate noticed");
	is(tld_find_key(NAME_61 "A").off, -ENOENT, "a longer name does not find it");
	is(tld_create_key(NAME_61 + 1, 8).off, 8, "its last 60 bytes are another name");
}

/* Two longest names that differ in the last byte alone. */
static void last_byte_counts(void)
{
	char name[] = NAME_61;

	is(tld_create_key(name, 8).off, 0, "a name of 61 bytes is taken");
	name[60] = 'x';
	is(tld_create_key(name, 8).off, 8, "one that differs in the 61st byte is another");
	is(tld_find_key(name).off, 8, "and found as such");
}

/* Fault 11: another library's pthread key comes first, so it is number 0. */
static pthread_key_t foreign_key;
static pthread_barrier_t start;
static int foreign_values[RACERS];
static int destroyed[RACERS];
static int wrong_values, wrong_keys, no_data, not_zero;

static void foreign_destructor(void *value)
{
	intptr_t i = (int *)value - foreign_values;

	if (i < 0 || i >= RACERS)
		__atomic_add_fetch(&wrong_values, 1, __ATOMIC_RELAXED);
	else
		__atomic_add_fetch(&destroyed[i], 1, __ATOMIC_RELAXED);
}

static void *racer(void *arg)
{
	tld_key_t key, found;
	uint64_t *data;

	pthread_setspecific(foreign_key, arg);
	pthread_barrier_wait(&start);
	key = tld_create_key("race", sizeof(*data));
	found = tld_find_key("race");
	data = tld_get_data(map_fd, found);
	if (pthread_getspecific(foreign_key) != arg)
		__atomic_add_fetch(&wrong_values, 1, __ATOMIC_RELAXED);
	if (found.off != 0 || (key.off != 0 && key.off != -EEXIST))
		__atomic_add_fetch(&wrong_keys, 1, __ATOMIC_RELAXED);
	if (!data)
		__atomic_add_fetch(&no_data, 1, __ATOMIC_RELAXED);
	else if (*data)
		__atomic_add_fetch(&not_zero, 1, __ATOMIC_RELAXED);
	else
		*data = (uintptr_t)arg;
	return NULL;
}

/* How many pthread keys the process could still make. */
static int free_pthread_keys(void)
{
	static pthread_key_t keys[PTHREAD_KEYS_MAX];
	int made = 0;

	while (made < PTHREAD_KEYS_MAX && !pthread_key_create(&keys[made], NULL))
		made++;
	for (int i = 0; i < made; i++)
		pthread_key_delete(keys[i]);
	return made;
}

/* One process's first use, by 64 threads at once; prints only what is wrong. */
static void first_use_race(void)
{
	pthread_t threads[RACERS];
	int wrong_calls = 0, keys;

	if (pthread_key_create(&foreign_key, foreign_destructor))
		tap_bail("a pthread key can be made");
	keys = free_pthread_keys();
	pthread_barrier_init(&start, NULL, RACERS);
	for (int i = 0; i < RACERS; i++)
		if (pthread_create(&threads[i], NULL, racer, &foreign_values[i]))
			tap_bail("a thread can be started");
	for (int i = 0; i < RACERS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < RACERS; i++)
		wrong_calls += destroyed[i] != 1;
	keys -= free_pthread_keys();
	if (keys != 1)
		ok(false, "%d pthread keys were made", keys);
	if (wrong_values || wrong_calls || wrong_keys || no_data || not_zero)
		ok(false, "%d foreign values wrong, %d foreign destructors not called once, %d keys wrong, %d threads without data, %d with old data",
		   wrong_values, wrong_calls, wrong_keys, no_data, not_zero);
}

static void racing_first_use(void)
{
	int before = tap_failures;

	for (int i = 0; i < RACES; i++)
		in_child(first_use_race);
	is(tap_failures - before, 0,
	   "%d threads that use TLD first at once make one pthread key and leave another library's alone, %d times",
	   RACERS, RACES);
}

int main(void)
{
	map_fd = data_map(V2_SIZE);
	in_child(size_zero_blocks_nobody);
	in_child(unready_entry_blocks_nobody);
	in_child(error_keys_give_no_address);
	in_child(error_keys_before_data);
	in_child(long_names_are_not_cut);
	in_child(last_byte_counts);
	racing_first_use();
	close(map_fd);
	return tap_done();
}
