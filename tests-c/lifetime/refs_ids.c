// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * refs_ids.c - a thread that is referred to ends, and its id comes again: who has it now, a
 * new thread or another process, gets nothing of the old one's data.
 */
#include <unistd.h>

#include "refs.h"
#include "thread_ids.h"

/* A thread that is referred to ends, and its id goes to whom? */
static struct tld_thread_ref *ref_to_ended(struct worker *worker, uint64_t **data)
{
	struct tld_thread_ref *ref;

	worker_start(worker);
	ref = ref_to(worker);
	*data = data_of(ref);
	live(worker);
	**data = 7;
	worker_end(worker, life->end);
	/* What a thread's end leaves there is not promised. */
	**data = 9;
	return ref;
}

static void id_of_a_new_thread(void)
{
	struct tld_thread_ref *ref, *new_ref;
	struct worker old, new;
	uint64_t *data, *new_data;

	attach_or_bail();
	ref = ref_to_ended(&old, &data);
	worker_start_as(&new, old.tid);
	is(seen(&new), false, F("a thread with the id of one %s is not seen"), life->words);
	is(tld_attach(map_fd), 0, F("a map is attached again"));
	is(seen(&new), false, F("which does not change that"));
	new_data = worker_do(&new, get, NULL);
	ok(new_data && new_data != data && !*new_data, F("its data are its own, and zero"));
	is(value_of(&new), 0, F("so BPF reads them"));
	worker_do(&new, store, (void *)8);
	is(value_of(&new), 8, F("and then what it stores"));
	is(*data, 9, F("the old memory stays, for who refers to it"));
	new_ref = ref_to(&new);
	ok(data_of(new_ref) == new_data && data_of(ref) == data,
	   F("a new reference leads to the new thread, the old one to the old memory"));
	unref(ref);
	unref(new_ref);
	is(value_of(&new), 8, F("when both are given back BPF reads the new thread still"));
	worker_end(&new, WORKER_RETURNS);
	is(reader_elements(reader, NULL), 0, F("whose end empties the map"));
}

/* The reference is the new thread's first, too: nobody has called for either. */
static void id_of_a_new_thread_unused(void)
{
	struct tld_thread_ref *ref, *new_ref;
	struct worker old, new;
	uint64_t *data, *new_data;

	attach_or_bail();
	ref = ref_to_ended(&old, &data);
	worker_start_as(&new, old.tid);
	new_ref = ref_to(&new);
	new_data = data_of(new_ref);
	ok(new_data != data && !*new_data,
	   F("a reference to a thread with the id of one %s leads to new data"), life->words);
	*new_data = 8;
	is(value_of(&new), 8, F("which BPF reads"));
	ok(worker_do(&new, get, NULL) == new_data, F("and the new thread finds"));
	is(*data, 9, F("the old ones stay"));
	unref(ref);
	unref(new_ref);
	worker_end(&new, WORKER_RETURNS);
}

static void stay_on(void)
{
	for (;;)
		pause();
}

static void id_of_a_stranger(void)
{
	struct tld_thread_ref *ref;
	struct worker old;
	uint64_t *data;

	attach_or_bail();
	ref = ref_to_ended(&old, &data);
	start_process_as(old.tid, stay_on);
	refused(old.tid, ESRCH, "the id of a thread that is referred to, now another process's");
	is(tld_attach(map_fd), 0, F("a map is attached again"));
	is(reader_elements(reader, NULL), 0, F("the stranger gets no element"));
	unref(ref);
	is(tld_attach(map_fd), 0, F("and again when the reference is given back"));
	is(reader_elements(reader, NULL), 0, F("nor then"));
	end_process(old.tid);
}

/* Whose thread it was the library could not learn, for want of a descriptor. */
static void id_never_identified(void)
{
	rlim_t limit = soft_limit(RLIMIT_NOFILE);
	struct tld_thread_ref *ref;
	struct worker old, new;
	uint64_t *data;

	attach_or_bail();
	worker_start(&old);
	set_soft_limit(RLIMIT_NOFILE, 3);
	worker_do(&old, store, (void *)7);
	set_soft_limit(RLIMIT_NOFILE, limit);
	worker_end(&old, WORKER_ENDS_WITHOUT_DESTRUCTORS);
	worker_start_as(&new, old.tid);
	errno = 0;
	ref = tld_ref_thread(new.tid);
	ok(ref ? !*data_of(ref) : errno == EAGAIN,
	   F("a thread with the id of one never identified has new data, or there is EAGAIN"));
	unref(ref);
	data = worker_do(&new, get, NULL);
	ok(data && !*data, F("it finds none of the old thread's data"));
	ref = ref_to(&new);
	ok(data_of(ref) == data, F("from then on it can be referred to"));
	*data = 8;
	is(value_of(&new), 8, F("and BPF reads what is stored for it"));
	unref(ref);
	worker_end(&new, WORKER_RETURNS);
}

/* --- Cases --- */

#define in_ids_of_its_own(body) in_ids_of_its_own_named(#body, body)

static void in_ids_of_its_own_named(const char *what, void (*body)(void))
{
	body_of_case = body;
	in_pid_namespace_named(what, with_key);
}

static void all_cases(void)
{
	if (!UNDER_SANITIZER)
		in_ids_of_its_own(id_never_identified);
	for (size_t i = 0; i < LIVES; i++) {
		life = &lives[i];
		if (UNDER_SANITIZER && life->end == WORKER_ENDS_WITHOUT_DESTRUCTORS) {
			tap_skip("a thread whose destructors do not run",
				 "a sanitizer wants its own to run");
			continue;
		}
		in_ids_of_its_own(id_of_a_new_thread);
		in_ids_of_its_own(id_of_a_new_thread_unused);
		in_ids_of_its_own(id_of_a_stranger);
	}
}

int main(void)
{
	open_readers();
	for_each_format(all_cases);
	close_readers();
	return tap_done();
}
