// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * races.c - threads that create and find TLDs, use them, give them up, end, and use them in
 * the destructors of others, all at once and without a map. drd.sh runs it under DRD, for
 * which each access that nothing orders counts, whether it does harm or not. "--race": two
 * threads store in one thread's TLD, as no program may.
 */
#include <sched.h>

#define TLD_DYN_DATA_SIZE 1024
#include "tld.h"

#include "threads.h"

#define CREATORS 3
#define OWN 6			/* names of each creator alone; all want as many more */
#define USERS 6
#define ROUNDS 3

TLD_DEFINE_KEY(count_key, "count", sizeof(uint64_t));

static pthread_key_t destructor_key;
static unsigned int wrong_keys, wrong_values, lost_values, not_served, late_not_served;

static void count(unsigned int *what, bool condition)
{
	__atomic_fetch_add(what, condition, __ATOMIC_RELAXED);
}

static tld_key_t create(const char *kind, int creator, int i)
{
	char name[32];
	tld_key_t key;

	snprintf(name, sizeof(name), "%s %d %d", kind, creator, i);
	key = tld_create_key(name, sizeof(uint32_t));
	if (key.off == -EEXIST)
		key = tld_find_key(name);
	count(&wrong_keys, tld_key_is_err(key));
	return key;
}

/* Others create what this one uses, so that its keys are found, too. */
static void *creator(void *arg)
{
	int me = (intptr_t)arg;

	for (int i = 0; i < OWN; i++) {
		uint32_t *own = tld_get(create("own", me, i)), *shared = tld_get(create("shared", 0, i));

		count(&not_served, !own || !shared);
		if (!own || !shared)
			continue;
		count(&wrong_values, *own != 0 || *shared != 0);
		*own = *shared = me + 1;
	}
	return NULL;
}

/* Takes no lock, and waits for nobody: what it sees is ordered by cnt alone. */
static void *finder(void *unused)
{
	char name[32];

	(void)unused;
	snprintf(name, sizeof(name), "own %d %d", CREATORS - 1, OWN - 1);
	return eventually(!tld_key_is_err(tld_find_key(name))) ? (void *)"found" : NULL;
}

/* More than once, because pages are given to others as a whole. */
static void *user(void *arg)
{
	uint64_t mark = (intptr_t)arg, *count_here;

	for (int i = 0; i < 3; i++) {
		count_here = tld_get(count_key);
		count(&not_served, !count_here);
		if (!count_here)
			return NULL;
		count(&wrong_values, *count_here != 0);
		*count_here = mark;
		sched_yield();
		count(&lost_values, *(uint64_t *)tld_get(count_key) != mark);
		if (i < 2)
			tld_free();
	}
	pthread_setspecific(destructor_key, count_here);
	return NULL;
}

static void use_in_destructor(void *unused)
{
	uint64_t *count_here = tld_get(count_key);

	(void)unused;
	count(&late_not_served, !count_here);
	if (count_here)
		++*count_here;
}

static void run_users(void)
{
	pthread_t threads[USERS];

	for (int round = 0; round < ROUNDS; round++) {
		for (intptr_t i = 0; i < USERS; i++)
			threads[i] = start_thread(user, (void *)(i + 1));
		for (int i = 0; i < USERS; i++)
			end_thread(threads[i]);
	}
}

static void run_creators(void)
{
	pthread_t threads[CREATORS], finds = start_thread(finder, NULL);

	for (intptr_t i = 0; i < CREATORS; i++)
		threads[i] = start_thread(creator, (void *)i);
	for (int i = 0; i < CREATORS; i++)
		end_thread(threads[i]);
	ok(end_thread(finds), "a key that another thread creates is found");
}

/* Writes what is not its own. */
static void *intruder(void *data)
{
	*(uint64_t *)data = 1;
	return NULL;
}

static void race_with_intruder(void)
{
	uint64_t *own = tld_get(count_key);
	pthread_t thread;

	if (!own)
		tap_bail("a thread gets its TLD");
	thread = start_thread(intruder, own);
	*own = 2;
	end_thread(thread);
	ok(*own, "one of them was the last");
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--race")) {
		race_with_intruder();
		return tap_done();
	}
	if (argc != 1)
		tap_bail("usage: races [--race]");
	if (pthread_key_create(&destructor_key, use_in_destructor))
		tap_bail("a pthread key can be created");
	run_creators();
	run_users();
	is(wrong_keys, 0, "whatever is created by many at once can be created or found");
	is(not_served, 0, "every thread gets its TLDs, without a map");
	is(late_not_served, 0, "in another library's destructor, too");
	is(wrong_values, 0, "a first value is zero, also where other threads had theirs");
	is(lost_values, 0, "a value stays until its thread changes it");
	return tap_done();
}
