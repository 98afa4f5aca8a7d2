// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * hostile_self.c - the program overwrites its own metadata page, between the
 * library's calls and during them: no call writes outside of what is the library's,
 * gives a pointer that leads out of the thread's memory, or hangs.
 *
 * hostile_self --soak SECONDS goes on for so long.
 */
#include <pthread.h>

#define TLD_DYN_DATA_SIZE 400
#include "hostile_fill.h"
#include "maps.h"
#include "page.h"
#include "threads.h"

#define NEIGHBOURS 12
#define ROUNDS OFTEN(4000)
#define WORKERS 3
#define WORKER_ROUNDS OFTEN(1500)

static const char *const name_list[] = { "one", "word", "line", "many", "late" };
static const uint32_t size_list[] = { 1, 8, 64, 200, 120 };
static const struct fill_names names = { name_list, size_list, 5 };

/* That no page has by chance; and one that begins as a field without its NUL does. */
static const char unknown_name[] = "unknown";
static const char long_name[] =
	"onexxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

static uint64_t seed;
static double soak_seconds;
static int map_fd, second_fd;
static tld_key_t first_keys[4];

/* What must stay 0; counted, because one point a page would be too many. */
static struct {
	uint32_t calls, pointers, fresh, created, found, refused, references, children, threads;
	uint32_t astray, not_zero, clobbered, shared, page_written, undocumented, wrong_key,
		 wrong_entry, bad_children;
} seen;

#define count(field) __atomic_add_fetch(&seen.field, 1, __ATOMIC_RELAXED)

/* Count a fault, and show the first of its kind. */
#define fault(field, ...)					\
do {								\
	if (count(field) == 1)					\
		diag("  " #field ": " __VA_ARGS__);		\
} while (0)

/* --- Threads that must not notice ------------------------------------------------------------ */

static struct neighbour {
	pthread_t thread;
	pid_t tid;
	uint8_t *data, *end;	/* its TLDs, all of one byte */
} neighbours[NEIGHBOURS];

static pthread_barrier_t have_stored, may_end;

static void *be_neighbour(void *arg)
{
	struct neighbour *self = arg;

	self->data = tld_get_data(map_fd, first_keys[0]);
	self->end = (uint8_t *)tld_get_data(map_fd, first_keys[3]) + size_list[3];
	self->tid = gettid();
	if (!self->data)
		tap_bail("a thread gets its TLDs");
	memset(self->data, 0x40 + (self - neighbours), self->end - self->data);
	pthread_barrier_wait(&have_stored);
	pthread_barrier_wait(&may_end);
	return NULL;
}

static void start_neighbours(void)
{
	pthread_barrier_init(&have_stored, NULL, NEIGHBOURS + 1);
	pthread_barrier_init(&may_end, NULL, NEIGHBOURS + 1);
	for (int i = 0; i < NEIGHBOURS; i++)
		neighbours[i].thread = start_thread(be_neighbour, &neighbours[i]);
	pthread_barrier_wait(&have_stored);
}

static void end_neighbours(void)
{
	pthread_barrier_wait(&may_end);
	for (int i = 0; i < NEIGHBOURS; i++)
		end_thread(neighbours[i].thread);
}

static void check_neighbours(void)
{
	for (int i = 0; i < NEIGHBOURS; i++)
		for (uint8_t *at = neighbours[i].data; at < neighbours[i].end; at++)
			if (*at != 0x40 + i) {
				fault(clobbered, "thread %d, byte %ld is %#x", i,
				      at - neighbours[i].data, *at);
				*at = 0x40 + i;
			}
}

/* --- The pages around the table -------------------------------------------------------------- */

#define HOLES 8

/*
 * Leave the library places of one page to map its table, with pages between them that
 * nobody may touch: mappings come one below the other, so whatever fits higher is
 * filled first.
 */
static bool fence_table(void)
{
	size_t size = getpagesize();
	uint8_t *page = NULL, *next;
	int row = 0;

	for (int i = 0; i < 1000 && row < 2 * HOLES + 1; i++) {
		next = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (next == MAP_FAILED)
			tap_bail("a page can be mapped");
		row = next + size == page ? row + 1 : 1;
		page = next;
	}
	for (int i = 1; i < row; i += 2)
		munmap(page + i * size, size);
	first_keys[0] = tld_create_key(name_list[0], size_list[0]);
	next = (uint8_t *)page_start();
	return next > page && next < page + row * size;
}

static void set_up(void)
{
	if (fence_table())
		ok(true, "the pages beside the table are nobody's: to touch them is fatal");
	else
		tap_skip("the pages beside the table are nobody's",
			 "the kernel maps in another order");
	for (int i = 1; i < 4; i++)
		first_keys[i] = tld_create_key(name_list[i], size_list[i]);
	if (tld_key_is_err(first_keys[3]))
		tap_bail("the TLDs can be created");
	start_neighbours();
}

/* --- Judging what a call gives --------------------------------------------------------------- */

static uint8_t *meta(void)
{
	return (uint8_t *)page_start();
}

static uint8_t *page_of(const void *at)
{
	return (uint8_t *)((uintptr_t)at & ~(uintptr_t)(getpagesize() - 1));
}

/* Bytes that are the thread's: in one page, and none of them a neighbour's. */
static bool harmless(const uint8_t *at, uint32_t size, const uint8_t *base)
{
	if (at < base || page_of(at) != page_of(base) || page_of(at + size - 1) != page_of(base))
		return false;
	for (int i = 0; i < NEIGHBOURS; i++)
		if (base != neighbours[i].data && neighbours[i].data < neighbours[i].end &&
		    at < neighbours[i].end && at + size > neighbours[i].data)
			return false;
	return true;
}

/* The TLD at an offset, by the walk through a page that nobody writes. */
static struct fill_tld tld_at(int off)
{
	struct fill_tld tld = { 0 };

	for (uint32_t i = 0; i < page_entries(); i++) {
		tld = fill_walk(meta(), page_entries(), NULL, i);
		if (!tld.found || (int64_t)tld.off >= off)
			break;
	}
	tld.found = tld.found && (int64_t)tld.off == off;
	return tld;
}

static bool documented(int error, const int *list)
{
	while (*list && *list != error)
		list++;
	return *list == error;
}

#define DOCUMENTED(...) ((const int[]){ __VA_ARGS__, 0 })

/* --- One call after another, nobody else writing --------------------------------------------- */

/* Keys that were good once, that the page has now, that nobody ever gave out. */
static tld_key_t some_key(struct fuzz *fuzz)
{
	struct fill_tld tld;

	switch (fuzz_below(fuzz, 4)) {
	case 0:
		return fuzz_pick(fuzz, first_keys);
	case 1:
		return (tld_key_t){ fuzz_next(fuzz) };
	default:
		tld = fill_walk(meta(), page_entries(), NULL,
				fuzz_below(fuzz, fuzz_one_in(fuzz, 4) ? page_entries() : 3));
		return (tld_key_t){ tld.found ? tld.off : fuzz_below(fuzz, 64) * 8 };
	}
}

/*
 * @checked: the library looked at the table rather than at the thread's limit, so the
 * TLD is one that the table has, and all of it must be the thread's to write. @fresh:
 * nobody has written it, so it is zero.
 */
static void judge_pointer(uint8_t *at, tld_key_t key, bool checked, bool fresh)
{
	uint8_t *base = (uint8_t *)tld_self.base;
	struct fill_tld tld = tld_at(key.off);
	uint32_t size = checked ? tld.size : 1;

	if (!at) {
		if (!documented(errno, DOCUMENTED(EINVAL, E2BIG, EAGAIN)))
			fault(undocumented, "no pointer for key %d: %s", key.off, strerror(errno));
		return;
	}
	count(pointers);
	if (checked && !tld.found) {
		fault(astray, "key %d, which the table does not have, gives a pointer", key.off);
		return;
	}
	if (at != base + key.off || !harmless(at, size, base)) {
		fault(astray, "key %d, %u bytes: %p, the thread's begin at %p", key.off, size,
		      (void *)at, (void *)base);
		return;
	}
	if (fresh)
		count(fresh);
	for (uint32_t i = 0; fresh && i < size; i++)
		if (at[i])
			fault(not_zero, "key %d, byte %u", key.off, i);
	memset(at, 0x99, size);
}

static void judge_find(const char *name, tld_key_t key)
{
	struct fill_tld tld = fill_walk(meta(), page_entries(), name, 0);

	/* What does not end in a page is nobody's to find. */
	if (tld.found && tld.off + tld.size <= page_capacity() && name != long_name) {
		count(found);
		if (key.off != (int)tld.off)
			fault(wrong_key, "%s: %d, not %u", name, key.off, tld.off);
	} else if (key.off != -ENOENT) {
		fault(wrong_key, "%s: %d, where there is none", name, key.off);
	}
}

static void judge_create(const char *name, uint32_t size, tld_key_t key, const uint8_t *before)
{
	uint32_t cnt = fill_u16(before);
	struct fill_tld tld = fill_walk(meta(), page_entries(), name, 0);

	if (key.off < 0) {
		count(refused);
		if (!documented(-key.off, DOCUMENTED(EEXIST, E2BIG, ENOSPC, EBUSY)))
			fault(undocumented, "%s cannot be created: %s", name, strerror(-key.off));
		if (memcmp(before, meta(), FILL_PAGE))
			fault(page_written, "%s was not created", name);
		return;
	}
	count(created);
	/* A static TLD may be one that was there. */
	if (!tld.found || tld.size != size || (int)tld.off != key.off ||
	    page_cnt() - cnt > 1 || tld.off + size > page_capacity())
		fault(wrong_entry, "%s, %u bytes: key %d, cnt %u", name, size, key.off, cnt);
	if (memcmp(before + 4, meta() + 4, 64 * tld.index) ||
	    memcmp(before + 4 + 64 * (tld.index + 1), meta() + 4 + 64 * (tld.index + 1),
		   FILL_PAGE - 4 - 64 * (tld.index + 1)))
		fault(page_written, "more than the entry of %s", name);
}

static void call_create(struct fuzz *fuzz)
{
	uint32_t which = fuzz_below(fuzz, names.count);
	uint32_t size = fuzz_one_in(fuzz, 2) ? size_list[which] : 1 + fuzz_below(fuzz, 5000);
	const char *name = fuzz_one_in(fuzz, 2) ? unknown_name : name_list[which];
	uint8_t before[FILL_PAGE];
	tld_key_t key;

	memcpy(before, meta(), FILL_PAGE);
	key = tld_create_key_opt(name, size, fuzz_below(fuzz, 5000),
				 fuzz_one_in(fuzz, 2) ? TLD_KEY_STATIC : 0);
	judge_create(name, size, key, before);
}

static void call_get(struct fuzz *fuzz, bool fresh)
{
	tld_key_t key = some_key(fuzz);
	bool checked = (uint16_t)key.off >= tld_self.limit;
	int fd = fuzz_one_in(fuzz, 2) ? map_fd : second_fd;
	void *data;

	if (fuzz_one_in(fuzz, 2)) {
		data = tld_get(key);
	} else {
		checked |= fd != tld_self.map_fd;
		data = tld_get_data(fd, key);
	}
	judge_pointer(data, key, checked, fresh);
}

static void call_ref(struct fuzz *fuzz)
{
	const struct neighbour *neighbour = &fuzz_pick(fuzz, neighbours);
	struct tld_thread_ref *ref = tld_ref_thread(neighbour->tid);
	int err = ref ? 0 : errno;
	tld_key_t key = some_key(fuzz);
	struct fill_tld tld = tld_at(key.off);
	uint8_t *at = tld_ref_get(ref, key);

	/* EINVAL while the page says that there is no TLD. */
	if (!ref && err != EINVAL)
		fault(undocumented, "no reference to a thread with data: %s", strerror(err));
	else if (at && (!tld.found || at != neighbour->data + key.off ||
			!harmless(at, tld.size, neighbour->data)))
		fault(astray, "a reference gives key %d, %u bytes, at %p", key.off, tld.size,
		      (void *)at);
	count(references);
	tld_unref_thread(ref);
}

static void call_map(struct fuzz *fuzz)
{
	int err;

	switch (fuzz_below(fuzz, 3)) {
	case 0:
		err = tld_attach(second_fd);
		break;
	case 1:
		err = tld_detach(second_fd);
		break;
	default:
		err = tld_publish();
	}
	if (err && !documented(-err, DOCUMENTED(ENOENT, EAGAIN, EINVAL)))
		fault(undocumented, "a map: %s", strerror(-err));
}

/* A call of the library's; none but the creation of a key writes the table. */
static void one_call(struct fuzz *fuzz)
{
	uint8_t before[FILL_PAGE];
	const char *name;

	count(calls);
	if (fuzz_one_in(fuzz, 6)) {
		call_create(fuzz);
		return;
	}
	memcpy(before, meta(), FILL_PAGE);
	switch (fuzz_below(fuzz, 8)) {
	case 0:
		name = fuzz_one_in(fuzz, 8) ? long_name : fuzz_pick(fuzz, name_list);
		judge_find(name, tld_find_key(name));
		break;
	case 1:
		call_map(fuzz);
		break;
	case 2:
		call_ref(fuzz);
		break;
	case 3:
		tld_free();
		break;
	default:
		call_get(fuzz, false);
	}
	if (memcmp(before, meta(), FILL_PAGE))
		fault(page_written, "by another call than one that creates a key");
}

static void *live_and_end(void *sequence)
{
	struct fuzz *fuzz = sequence;

	count(threads);
	call_get(fuzz, true);
	for (int i = fuzz_below(fuzz, 6); i--; )
		one_call(fuzz);
	return NULL;
}

static uint32_t faults(void)
{
	return seen.astray + seen.not_zero + seen.page_written + seen.undocumented +
	       seen.wrong_key + seen.wrong_entry;
}

/* In a child the other threads' memory is free, so it is no neighbour any more. */
static void live_in_child(struct fuzz *fuzz)
{
	uint32_t before = faults();
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		alarm(CASE_SECONDS);
		for (int i = 0; i < NEIGHBOURS; i++)
			neighbours[i].end = neighbours[i].data;
		for (int i = 0; i < 10; i++) {
			fill_page(fuzz, meta(), &names, 8);
			call_get(fuzz, false);
			call_create(fuzz);
			call_map(fuzz);
		}
		_exit(faults() != before);
	}
	count(children);
	if (child < 0 || waitpid(child, &status, 0) != child || status)
		fault(bad_children, "%#x", status);
}

/* What the kernel's own test does between its cases, and worse. */
static void overwrite(struct fuzz *fuzz)
{
	if (fuzz_one_in(fuzz, 8))
		page_reset(0, 64);
	else
		fill_page(fuzz, meta(), &names, 8 + 8 * fuzz_below(fuzz, 64));
}

static bool go_on(double until, uint32_t done, uint32_t wanted)
{
	return soak_seconds > 0 ? seconds_now() < until : done < wanted;
}

static void run_between_calls(void)
{
	struct fuzz fuzz = fuzz_sequence(seed, 1);
	double until = seconds_now() + soak_seconds / 2;

	for (uint32_t i = 0; go_on(until, i, ROUNDS); i++) {
		overwrite(&fuzz);
		for (int calls = 1 + fuzz_below(&fuzz, 4); calls--; )
			one_call(&fuzz);
		if (fuzz_one_in(&fuzz, 2))
			in_thread(live_and_end, &fuzz);
		if (fuzz_one_in(&fuzz, 50))
			live_in_child(&fuzz);
		check_neighbours();
	}
}

/* --- During calls ---------------------------------------------------------------------------- */

static volatile bool stop_writing;
static uint64_t pokes;
static uint8_t good_page[FILL_PAGE];

/* So that the library finds something, too: an entry as it was, or the first few counted. */
static void put_something_right(struct fuzz *fuzz)
{
	uint32_t at = 4 + 64 * fuzz_below(fuzz, 4);

	if (fuzz_one_in(fuzz, 4))
		fill_store(meta(), fill_u16(good_page));
	else
		memcpy(meta() + at, good_page + at, 64);
	fill_store(meta() + 2, fuzz_one_in(fuzz, 2) ? fill_u16(good_page + 2) : fill_size(fuzz));
}

static void *keep_overwriting(void *unused)
{
	struct fuzz fuzz = fuzz_sequence(seed, 2);

	while (!stop_writing) {
		if (fuzz_one_in(&fuzz, 1000))
			overwrite(&fuzz);
		else if (fuzz_one_in(&fuzz, 4))
			fill_poke(&fuzz, meta(), &names);
		else
			put_something_right(&fuzz);
		__atomic_add_fetch(&pokes, 1, __ATOMIC_RELAXED);
	}
	return unused;
}

/* Eight bytes that this thread alone writes, if no other has the same memory. */
static void store_and_find_again(uint64_t *at, uint64_t own)
{
	if ((uintptr_t)at % sizeof(*at))
		return;
	__atomic_store_n(at, own, __ATOMIC_RELAXED);
	sched_yield();
	if (__atomic_load_n(at, __ATOMIC_RELAXED) != own)
		fault(shared, "%p", (void *)at);
}

static void get_while_it_changes(struct fuzz *fuzz)
{
	tld_key_t key = some_key(fuzz);
	uint8_t *at = fuzz_one_in(fuzz, 2) ? tld_get(key) :
		      tld_get_data(fuzz_one_in(fuzz, 2) ? map_fd : second_fd, key);

	if (!at) {
		if (!documented(errno, DOCUMENTED(EINVAL, E2BIG, EAGAIN)))
			fault(undocumented, "no pointer for key %d: %s", key.off, strerror(errno));
		return;
	}
	count(pointers);
	if (at != (uint8_t *)tld_self.base + key.off ||
	    !harmless(at, 1, (uint8_t *)tld_self.base))
		fault(astray, "key %d: %p, the thread's begin at %p", key.off, (void *)at,
		      (void *)tld_self.base);
	else
		store_and_find_again((uint64_t *)at, fuzz_next(fuzz));
}

static void ref_while_it_changes(struct fuzz *fuzz)
{
	const struct neighbour *neighbour = &fuzz_pick(fuzz, neighbours);
	struct tld_thread_ref *ref = tld_ref_thread(neighbour->tid);
	uint8_t *at;

	if (!ref && errno != EINVAL)
		fault(undocumented, "no reference to a thread with data: %s", strerror(errno));
	at = tld_ref_get(ref, some_key(fuzz));
	if (at && !harmless(at, 1, neighbour->data))
		fault(astray, "a reference gives %p", (void *)at);
	count(references);
	tld_unref_thread(ref);
}

static void create_while_it_changes(struct fuzz *fuzz)
{
	const char *name = fuzz_one_in(fuzz, 2) ? unknown_name : fuzz_pick(fuzz, name_list);
	tld_key_t key = tld_create_key_opt(name, 1 + fuzz_below(fuzz, 5000),
					   fuzz_below(fuzz, 5000), fuzz_below(fuzz, 2));

	if (key.off >= 0)
		count(created);
	else if (!documented(-key.off, DOCUMENTED(EEXIST, E2BIG, ENOSPC, EBUSY)))
		fault(undocumented, "a key cannot be created: %s", strerror(-key.off));
	if (key.off >= (int)page_capacity())
		fault(wrong_entry, "key %d", key.off);
	key = tld_find_key(fuzz_pick(fuzz, name_list));
	if (key.off != -ENOENT && (key.off < 0 || key.off >= (int)page_capacity()))
		fault(wrong_key, "%d", key.off);
}

static void one_call_while_it_changes(struct fuzz *fuzz)
{
	count(calls);
	switch (fuzz_below(fuzz, 8)) {
	case 0:
		create_while_it_changes(fuzz);
		break;
	case 1:
		ref_while_it_changes(fuzz);
		break;
	case 2:
		call_map(fuzz);
		break;
	case 3:
		tld_free();
		break;
	default:
		get_while_it_changes(fuzz);
	}
}

static void *live_while_it_changes(void *sequence)
{
	struct fuzz *fuzz = sequence;

	count(threads);
	for (int i = 1 + fuzz_below(fuzz, 10); i--; )
		one_call_while_it_changes(fuzz);
	return NULL;
}

/* The thread that writes the page, and the others that have memory, are not in the child. */
static void fork_while_it_changes(struct fuzz *fuzz)
{
	uint32_t before = faults();
	int status;
	pid_t child = fork();

	if (!child) {
		alarm(CASE_SECONDS);
		for (int i = 0; i < NEIGHBOURS; i++)
			neighbours[i].end = neighbours[i].data;
		for (int i = 0; i < 4; i++) {
			fill_poke(fuzz, meta(), &names);
			get_while_it_changes(fuzz);
			create_while_it_changes(fuzz);
		}
		_exit(faults() != before);
	}
	count(children);
	if (child < 0 || waitpid(child, &status, 0) != child || status)
		fault(bad_children, "%#x", status);
}

static void *start_threads(void *number)
{
	struct fuzz fuzz = fuzz_sequence(seed, 10 + (uintptr_t)number);
	double until = seconds_now() + soak_seconds / 2;

	for (uint32_t i = 0; go_on(until, i, WORKER_ROUNDS); i++) {
		in_thread(live_while_it_changes, &fuzz);
		if (fuzz_one_in(&fuzz, 50))
			fork_while_it_changes(&fuzz);
		check_neighbours();
	}
	return NULL;
}

static void run_during_calls(void)
{
	pthread_t writer, workers[WORKERS];

	memcpy(good_page, meta(), FILL_PAGE);
	writer = start_thread(keep_overwriting, NULL);
	eventually(__atomic_load_n(&pokes, __ATOMIC_RELAXED) > 0);
	for (uintptr_t i = 0; i < WORKERS; i++)
		workers[i] = start_thread(start_threads, (void *)i);
	for (int i = 0; i < WORKERS; i++)
		end_thread(workers[i]);
	stop_writing = true;
	end_thread(writer);
}

/* --- The verdict ----------------------------------------------------------------------------- */

static void judge(const char *when)
{
	diag("%s: %u calls, %u pointers, %u keys made, %u found, %u refused, %u references, "
	     "%u threads, %u children", when, seen.calls, seen.pointers, seen.created, seen.found,
	     seen.refused, seen.references, seen.threads, seen.children);
	ok(seen.calls && seen.pointers && seen.created && seen.references && seen.threads &&
	   seen.children, "%s: a page of anything leaves the library something to do", when);
	is(seen.astray, 0, "%s: every pointer leads into the thread's own memory", when);
	is(seen.clobbered, 0, "%s: no thread's values change but by its own hand", when);
	is(seen.undocumented, 0, "%s: what fails does so as documented", when);
	is(seen.bad_children, 0, "%s: so it is in forked children", when);
}

static void judge_between(void)
{
	is(seen.page_written, 0, "between calls: the library writes no entry but the one it makes");
	is(seen.wrong_entry, 0, "between calls: a key that is made is in the table, as asked for");
	is(seen.wrong_key, 0, "between calls: what is found is what the table has within a page");
	is(seen.not_zero, 0, "between calls: a new thread's memory is zero, whatever size it has");
	ok(seen.found && seen.refused && seen.fresh,
	   "between calls: some keys are found, some refused, some used by a new thread");
}

static void judge_during(void)
{
	diag("%llu changes of the page", (unsigned long long)pokes);
	is(seen.shared, 0, "during calls: no two threads have the same memory");
	is(seen.wrong_entry + seen.wrong_key, 0, "during calls: every key lies in a page's bounds");
}

static void *use_after_reset(void *unused)
{
	tld_key_t key = tld_create_key("after", 8);
	uint64_t *data = tld_get_data(map_fd, key);

	(void)unused;
	ok(data && !*data && published(map_fd),
	   "after a reset of the page the library works as before");
	return NULL;
}

static void put_right(int descriptors)
{
	tld_detach(second_fd);
	page_reset(0, 64);
	in_thread(use_after_reset, NULL);
	end_neighbours();
	tld_free();
	is(open_descriptors(), descriptors, "and no descriptor is left open");
}

static void between_calls(void)
{
	int descriptors = open_descriptors();

	alarm((unsigned int)soak_seconds + CASE_SECONDS);
	set_up();
	run_between_calls();
	judge("between calls");
	judge_between();
	put_right(descriptors);
}

static void during_calls(void)
{
	int descriptors = open_descriptors();

	alarm((unsigned int)soak_seconds + CASE_SECONDS);
	set_up();
	run_during_calls();
	judge("during calls");
	judge_during();
	put_right(descriptors);
}

int main(int argc, char **argv)
{
	if (getpagesize() != (int)FILL_PAGE)
		tap_skip_all("the pages that this test makes have 4096 bytes");
	map_fd = data_map(V2_SIZE);
	second_fd = data_map(NATIVE_SIZE);
	seed = fuzz_seed();
	if (argc == 3 && !strcmp(argv[1], "--soak"))
		soak_seconds = atof(argv[2]);
	in_child(between_calls);
	in_child(during_calls);
	return tap_done();
}
