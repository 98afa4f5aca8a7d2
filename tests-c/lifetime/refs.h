/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * refs.h - what the tests of tld_ref_thread() share: steps of workers, ways in which the
 * thread that is referred to lives and ends, and whether its memory was given away.
 */
#ifndef TESTS_C_REFS_H
#define TESTS_C_REFS_H

#include "formats.h"
#include "page.h"
#include "threads.h"
#include "worker.h"

/* Threads that would be given the memory if it were free. */
#define OTHERS 150

/* --- Steps of workers --- */

__attribute__((unused))
static void *get(void *unused)
{
	(void)unused;
	return tld_get(key);
}

__attribute__((unused))
static void *errno_of_own_get(void *unused)
{
	(void)unused;
	errno = 0;
	return (void *)(intptr_t)(tld_get(key) ? 0 : errno);
}

__attribute__((unused))
static void *store(void *value)
{
	uint64_t *data = tld_get(key);

	if (data)
		*data = (uintptr_t)value;
	return data;
}

__attribute__((unused))
static void *get_by_map(void *fd)
{
	return tld_get_data((intptr_t)fd, key);
}

__attribute__((unused))
static void *free_data(void *unused)
{
	tld_free();
	return unused;
}

__attribute__((unused))
static struct tld_thread_ref *ref_to(const struct worker *worker)
{
	struct tld_thread_ref *ref = quiet(tld_ref_thread(worker->tid));

	if (!ref)
		tap_bail("a thread of this process can be referred to");
	return ref;
}

__attribute__((unused))
static uint64_t *data_of(const struct tld_thread_ref *ref)
{
	uint64_t *data = quiet(tld_ref_get(ref, key));

	if (!data)
		tap_bail("a reference gives a TLD");
	return data;
}

__attribute__((unused))
static void unref(struct tld_thread_ref *ref)
{
	errno = ERRNO_MARK;
	tld_unref_thread(ref);
	errno_changed += errno != ERRNO_MARK;
}

__attribute__((unused))
static uint64_t value_of(const struct worker *worker)
{
	return reader_u64(reader, worker->tid, "value");
}

__attribute__((unused))
static bool seen(const struct worker *worker)
{
	return reader_sees(reader, worker->tid);
}

/* --- Memory that must not be given away --- */

/* A page to each thread, so that a page that is given away shows. */
__attribute__((unused))
static void use_large_key(void)
{
	key = create_asking("large", page_capacity() - 88, page_capacity());
	if (tld_key_is_err(key))
		tap_bail("a large key can be created");
}

static pthread_barrier_t all_have_stored, let_go;
static void *others_data[OTHERS];

__attribute__((unused))
static void *store_and_stay(void *slot)
{
	*(void **)slot = store((void *)0x5a5a);
	pthread_barrier_wait(&all_have_stored);
	pthread_barrier_wait(&let_go);
	return NULL;
}

/* Whether any of many new threads gets memory in that page. */
__attribute__((unused))
static bool given_to_others(const void *data)
{
	uintptr_t page = ~(uintptr_t)(getpagesize() - 1);
	pthread_t threads[OTHERS];
	bool given = false;

	pthread_barrier_init(&all_have_stored, NULL, OTHERS + 1);
	pthread_barrier_init(&let_go, NULL, OTHERS + 1);
	for (int i = 0; i < OTHERS; i++)
		threads[i] = start_thread(store_and_stay, &others_data[i]);
	pthread_barrier_wait(&all_have_stored);
	for (int i = 0; i < OTHERS; i++)
		given |= !(((uintptr_t)others_data[i] ^ (uintptr_t)data) & page);
	pthread_barrier_wait(&let_go);
	for (int i = 0; i < OTHERS; i++)
		end_thread(threads[i]);
	return given;
}

/* What the thread does before it ends, and how it ends. */
struct life {
	bool uses_tlds, frees;
	enum worker_end end;
	const char *words;
};

static const struct life lives[] = {
	{ true, false, WORKER_RETURNS, "that used its TLDs" },
	{ false, false, WORKER_RETURNS, "that never called libtld" },
	{ true, true, WORKER_RETURNS, "that called tld_free()" },
	{ true, false, WORKER_ENDS_WITHOUT_DESTRUCTORS, "whose destructors did not run" },
	{ false, false, WORKER_ENDS_WITHOUT_DESTRUCTORS,
		      "that never called libtld nor ran destructors" },
};

#define LIVES (sizeof(lives) / sizeof(*lives))

static const struct life *life;

__attribute__((unused))
static void live(struct worker *worker)
{
	if (life->uses_tlds)
		worker_do(worker, get, NULL);
	if (life->frees)
		worker_do(worker, free_data, NULL);
}

#define REPEATED 100

__attribute__((unused))
static void refused(pid_t tid, int want, const char *what)
{
	int descriptors = open_descriptors(), wrong = 0;

	for (int i = 0; i < REPEATED; i++) {
		struct tld_thread_ref *ref;

		errno = 0;
		ref = tld_ref_thread(tid);
		wrong += ref || errno != want;
		if (wrong == 1)
			diag("  %p, errno %d: %s", (void *)ref, errno, strerror(errno));
	}
	is(wrong, 0, "%s: NULL and %s, as often as one tries", what, strerror(want));
	is(open_descriptors(), descriptors, "%s: no descriptor stays open", what);
}

#endif
