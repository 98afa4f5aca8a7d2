// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * fault_repeats.c - faults that come several times, or stay: a kernel that is busy for a
 * moment is not noticed, one that stays busy gives EAGAIN; what cannot be withdrawn keeps
 * its page to itself; a map that may not be used costs the same each time; and a thread
 * that ends while it is published is none.
 */
#define TLD_DYN_DATA_SIZE 4088
#include "follow.h"
#include "inject.h"
#include "reader.h"
#include "worker.h"

#define WORKERS 3

static struct reader *reader;
static int map;
static struct worker workers[WORKERS];
static uint64_t *worker_data[WORKERS];

static void *get_in_worker(void *slot)
{
	*(uint64_t **)slot = tld_get(key);
	return NULL;
}

static void start_workers(void)
{
	for (int i = 0; i < WORKERS; i++) {
		worker_start(&workers[i]);
		worker_do(&workers[i], get_in_worker, &worker_data[i]);
	}
}

static void end_workers(void)
{
	for (int i = 0; i < WORKERS; i++)
		worker_end(&workers[i], WORKER_RETURNS);
}

static bool reads(pid_t tid, uint64_t *data)
{
	static uint64_t mark;

	if (!data)
		return false;
	*data = ++mark;
	return reader_u64(reader, tid, "value") == mark;
}

static int readable_workers(void)
{
	int count = 0;

	for (int i = 0; i < WORKERS; i++)
		count += reads(workers[i].tid, worker_data[i]);
	return count;
}

/* --- A kernel that is busy --------------------------------------------------------- */

#define UPDATE "bpf(BPF_MAP_UPDATE_ELEM)"
#define PROBE "bpf(BPF_MAP_UPDATE_ELEM, BPF_NOEXIST)"
#define DELETE "bpf(BPF_MAP_DELETE_ELEM)"

static const int transient[] = { EAGAIN, ETIMEDOUT, EDEADLK, EBUSY, EINTR };

#define TRANSIENTS (int)(sizeof(transient) / sizeof(transient[0]))
#define LONGEST_BURST 4
/* "retried a bounded number of times" */
#define MOST_CALLS 1000

static const char *busy_call;
static int busy_code, busy_times;
static unsigned int busy_calls;

/* From here on the kernel is busy for so many calls; to be followed by quiet(). */
static void busy(void)
{
	inject_begin((struct inject_rule){
		.kind = busy_call, .code = busy_code, .times = busy_times,
	});
}

static bool quiet(void)
{
	inject_end();
	busy_calls = inject_calls;
	return inject_failures > 0;
}

/* Each in a thread of its own; NULL: as it should be. */
static void *burst_in_get_data(void *unused)
{
	uint64_t *data;

	(void)unused;
	busy();
	data = tld_get_data(map, key);
	return quiet() && reads(0, data) ? NULL : &busy_code;
}

static void *burst_in_get(void *unused)
{
	uint64_t *data;

	tld_attach(map);
	busy();
	data = tld_get(key);
	unused = quiet() && reads(0, data) ? NULL : &busy_code;
	tld_detach(map);
	return unused;
}

static void *burst_in_publish(void *unused)
{
	int err;

	tld_attach(map);
	busy();
	err = tld_publish();
	unused = quiet() && !err && reads(0, tld_get(key)) ? NULL : &busy_code;
	tld_detach(map);
	return unused;
}

static void *burst_in_attach(void *unused)
{
	int err;

	busy();
	err = tld_attach(map);
	unused = quiet() && !err && readable_workers() == WORKERS ? NULL : &busy_code;
	tld_detach(map);
	return unused;
}

static void *burst_in_detach(void *unused)
{
	int err;

	(void)unused;
	tld_attach(map);
	busy();
	err = tld_detach(map);
	return quiet() && !err && !reader_elements(reader, NULL) ? NULL : &busy_code;
}

static void *burst_in_free(void *unused)
{
	(void)unused;
	tld_get_data(map, key);
	busy();
	tld_free();
	return quiet() && !reader_sees(reader, 0) ? NULL : &busy_code;
}

/* "no later look-up by BPF finds the thread" here means: before its task is gone. */
static bool gone_before_end;
static pthread_key_t last_key;

static void look_at_end(void *rounds)
{
	if (rounds == (void *)3)
		gone_before_end = quiet() && !reader_sees(reader, 0);
	else
		pthread_setspecific(last_key, (char *)rounds + 1);
}

static void *end_busily(void *unused)
{
	tld_get_data(map, key);
	pthread_setspecific(last_key, (void *)1);
	busy();
	return unused;
}

static void *burst_at_end(void *unused)
{
	(void)unused;
	in_thread(end_busily, NULL);
	return gone_before_end ? NULL : &busy_code;
}

static void hides_bursts(const char *call, void *(*body)(void *), const char *where)
{
	int hidden = 0;

	busy_call = call;
	for (int i = 0; i < TRANSIENTS; i++) {
		busy_code = transient[i];
		for (busy_times = 1; busy_times <= LONGEST_BURST; busy_times++)
			hidden += !in_thread(body, NULL);
	}
	is(hidden, TRANSIENTS * LONGEST_BURST, "%s: %s that is busy 1 to %d times is not noticed",
	   where, call, LONGEST_BURST);
}

static void bursts(void)
{
	make_key();
	start_workers();
	pthread_key_create(&last_key, look_at_end);
	hides_bursts(PROBE, burst_in_get_data, "tld_get_data()");
	hides_bursts(UPDATE, burst_in_get_data, "tld_get_data()");
	hides_bursts(UPDATE, burst_in_get, "tld_get()");
	hides_bursts(UPDATE, burst_in_publish, "tld_publish()");
	hides_bursts(PROBE, burst_in_attach, "tld_attach()");
	hides_bursts(UPDATE, burst_in_attach, "tld_attach()");
	hides_bursts(DELETE, burst_in_detach, "tld_detach()");
	hides_bursts(DELETE, burst_in_free, "tld_free()");
	hides_bursts(DELETE, burst_at_end, "the end of a thread");
	end_workers();
}

/* --- One that stays busy ----------------------------------------------------------- */

static void *endless_get_data(void *unused)
{
	uint64_t *data;
	bool told;

	(void)unused;
	busy();
	data = tld_get_data(map, key);
	told = !data && errno == EAGAIN;
	return quiet() && told && !reader_sees(reader, 0) && reads(0, tld_get_data(map, key)) ?
	       NULL : &busy_code;
}

/* What is stored meanwhile is seen later. */
static void *endless_get(void *unused)
{
	uint64_t *data;

	tld_attach(map);
	busy();
	data = tld_get(key);
	unused = quiet() && data && !reader_sees(reader, 0) && tld_get(key) == data &&
		 reads(0, data) ? NULL : &busy_code;
	tld_detach(map);
	return unused;
}

static void *endless_publish(void *unused)
{
	int err;

	tld_attach(map);
	busy();
	err = tld_publish();
	unused = quiet() && err == -EAGAIN && !reader_sees(reader, 0) && !tld_publish() &&
		 reads(0, tld_get(key)) ? NULL : &busy_code;
	tld_detach(map);
	return unused;
}

static void *endless_attach(void *unused)
{
	int err;

	busy();
	err = tld_attach(map);
	unused = quiet() && err == -EAGAIN && !reader_elements(reader, NULL) && !tld_attach(map) &&
		 readable_workers() == WORKERS ? NULL : &busy_code;
	tld_detach(map);
	return unused;
}

static void *endless_detach(void *unused)
{
	int err;

	tld_attach(map);
	busy();
	err = tld_detach(map);
	unused = quiet() && err == -EAGAIN && readable_workers() == WORKERS && !tld_detach(map) &&
		 !reader_elements(reader, NULL) ? NULL : &busy_code;
	return unused;
}

/* "where the kernel refuses that BPF finds zeros" */
static void *endless_free(void *unused)
{
	uint64_t *data = tld_get_data(map, key);

	(void)unused;
	*data = 7;
	busy();
	tld_free();
	if (!quiet() || reader_u64(reader, 0, "value") != 0)
		return &busy_code;
	tld_free();
	return reader_sees(reader, 0) ? &busy_code : NULL;
}

static void says_again(const char *call, void *(*body)(void *), const char *where, const char *what)
{
	unsigned int most = 0;
	int right = 0;

	busy_call = call;
	busy_times = -1;
	for (int i = 0; i < TRANSIENTS; i++) {
		busy_code = transient[i];
		right += !in_thread(body, NULL);
		most = busy_calls > most ? busy_calls : most;
	}
	is(right, TRANSIENTS, "%s: while %s stays busy, %s; and then all is well", where, call,
	   what);
	ok(most < MOST_CALLS, "it gives up after some tries: %u calls", most);
}

static void stays_busy(void)
{
	make_key();
	start_workers();
	says_again(PROBE, endless_get_data, "tld_get_data()", "EAGAIN, and nothing is published");
	says_again(UPDATE, endless_get_data, "tld_get_data()", "EAGAIN, and nothing is published");
	says_again(UPDATE, endless_get, "tld_get()", "one can store");
	says_again(UPDATE, endless_publish, "tld_publish()", "-EAGAIN");
	says_again(PROBE, endless_attach, "tld_attach()", "-EAGAIN");
	says_again(UPDATE, endless_attach, "tld_attach()", "-EAGAIN");
	says_again(DELETE, endless_detach, "tld_detach()", "-EAGAIN, and data stay readable");
	says_again(DELETE, endless_free, "tld_free()", "BPF finds zeros");
	end_workers();
}

/* --- What cannot be withdrawn ------------------------------------------------------ */

#define OWN_MARK UINT64_C(0x0badcafe0badcafe)
#define LATER_MARK UINT64_C(0x7a7a7a7a12121212)
/* More pages than libtld has to spare: a chunk of its memory has 64; and than two have. */
#define LATER 70
#define STILL_LATER 140

static tld_key_t large;
static unsigned int words_of_key;
static pthread_barrier_t left, may_end, later_stored, later_may_end;
static pid_t subject_tid;
static uint64_t *subject_data;
static char *later_data[STILL_LATER];
static pthread_t later_threads[STILL_LATER];
static int later_count;

static void fill(uint64_t *data, uint64_t value)
{
	for (unsigned int i = 0; i < words_of_key; i++)
		data[i] = value;
}

static uint64_t *take_large(void)
{
	uint64_t *data = tld_get_data(map, large);

	if (!data)
		tap_bail("a thread gets its TLD");
	return data;
}

/*
 * The library takes its block back in the second round of destructors at the latest;
 * in the third one the task is still there, and so is an element that was not deleted.
 */
static void stay_in_third_round(void *round)
{
	if (round != (void *)3) {
		pthread_setspecific(last_key, (char *)round + 1);
		return;
	}
	pthread_barrier_wait(&left);
	pthread_barrier_wait(&may_end);
}

static void *use_and_stay(void *unused)
{
	subject_tid = gettid();
	subject_data = take_large();
	fill(subject_data, OWN_MARK);
	pthread_setspecific(last_key, (void *)1);
	return unused;
}

static void *later(void *slot)
{
	uint64_t *data = take_large();

	fill(data, LATER_MARK);
	*(char **)slot = (char *)data;
	pthread_barrier_wait(&later_stored);
	pthread_barrier_wait(&later_may_end);
	return NULL;
}

static void start_later(int count)
{
	later_count = count;
	pthread_barrier_init(&later_stored, NULL, count + 1);
	pthread_barrier_init(&later_may_end, NULL, count + 1);
	for (int i = 0; i < count; i++)
		later_threads[i] = start_thread(later, &later_data[i]);
	pthread_barrier_wait(&later_stored);
}

static void end_later(void)
{
	pthread_barrier_wait(&later_may_end);
	for (int i = 0; i < later_count; i++)
		end_thread(later_threads[i]);
}

/* Deletions fail in all threads, so that nobody can do it for another. */
static void refuse_deletions(void)
{
	inject_begin((struct inject_rule){
		.kind = DELETE, .code = EPERM, .times = -1, .everybody = true,
	});
}

static void make_large_key(unsigned int words)
{
	words_of_key = words;
	large = tld_create_key("value", words * sizeof(uint64_t));
	if (tld_key_is_err(large))
		tap_bail("a key can be created");
	pthread_key_create(&last_key, stay_in_third_round);
	pthread_barrier_init(&left, NULL, 2);
	pthread_barrier_init(&may_end, NULL, 2);
}

static int later_in(const char *start, size_t bytes)
{
	int count = 0;

	for (int i = 0; i < later_count; i++)
		count += later_data[i] + words_of_key * sizeof(uint64_t) > start &&
			 later_data[i] < start + bytes;
	return count;
}

static void left_behind(const char *what, const char *forbidden, size_t bytes, pthread_t subject)
{
	struct reader_view view;

	start_later(LATER);
	is(reader_look(reader, subject_tid, &view), 0,
	   "the element of a thread that could not be withdrawn is still there");
	is(reader_view_words(&view, OWN_MARK), 0,
	   "BPF finds nothing of what the thread had stored");
	is(later_in(forbidden, bytes), 0, "of %d later threads none has a place in %s", LATER,
	   what);
	if (bytes == (size_t)getpagesize())
		is(reader_view_words(&view, LATER_MARK), 0,
		   "nor does BPF find anything of theirs there");
	inject_end();
	end_later();
	pthread_barrier_wait(&may_end);
	end_thread(subject);
}

static pthread_t leave_behind(void)
{
	pthread_t subject;

	take_large();
	refuse_deletions();
	subject = start_thread(use_and_stay, NULL);
	pthread_barrier_wait(&left);
	return subject;
}

static void page_stays_out_of_use(void)
{
	pthread_t subject;
	size_t page = getpagesize();
	char *forbidden;

	make_large_key(500);
	subject = leave_behind();
	forbidden = (char *)((uintptr_t)subject_data & ~(page - 1));
	left_behind("its page", forbidden, page, subject);
	start_later(STILL_LATER);
	is(later_in(forbidden, page), 1, "once the thread is gone its page is used again");
	end_later();
}

static void place_stays_out_of_use(void)
{
	make_large_key(4);
	left_behind("its place in a page that others have too", (char *)subject_data,
		    words_of_key * sizeof(uint64_t), leave_behind());
}

static void *use_and_end(void *unused)
{
	fill(take_large(), OWN_MARK);
	return unused;
}

/* Their tasks are gone, which is known when memory is next needed. */
static void many_are_left_behind(void)
{
	long settled = 0;

	make_large_key(500);
	take_large();
	refuse_deletions();
	for (int i = 0; i < 300; i++) {
		if (i == 100)
			settled = inject_mapped;
		in_thread(use_and_end, NULL);
	}
	is(inject_mapped, settled, "300 threads whose withdrawal fails take no more than 100 do");
	inject_end();
}

/* A thread that is served again, by a later destructor, after the library had given it up. */
static uint64_t *come_back_data;

static void come_back_in_third_round(void *round)
{
	if (round != (void *)3) {
		pthread_setspecific(last_key, (char *)round + 1);
		return;
	}
	inject_end();
	come_back_data = take_large();
	pthread_barrier_wait(&left);
	pthread_barrier_wait(&may_end);
}

static void *use_and_come_back(void *unused)
{
	subject_tid = gettid();
	fill(take_large(), OWN_MARK);
	pthread_setspecific(last_key, (void *)1);
	inject_begin((struct inject_rule){ .kind = DELETE, .code = EPERM, .times = -1 });
	return unused;
}

static void comes_back(void)
{
	pthread_t subject;

	words_of_key = 500;
	large = tld_create_key("value", words_of_key * sizeof(uint64_t));
	pthread_key_create(&last_key, come_back_in_third_round);
	pthread_barrier_init(&left, NULL, 2);
	pthread_barrier_init(&may_end, NULL, 2);
	subject = start_thread(use_and_come_back, NULL);
	pthread_barrier_wait(&left);
	ok(reads(subject_tid, come_back_data),
	   "a thread that could not be withdrawn and uses TLDs again is read");
	start_later(LATER);
	ok(reads(subject_tid, come_back_data),
	   "also after others have taken back what it had before");
	end_later();
	pthread_barrier_wait(&may_end);
	end_thread(subject);
	is(reader_elements(reader, NULL), 0, "nobody has an element at the end");
}

/* BPF programs that still hold such a page would meet the next thread's data in it. */
static void page_that_is_not_replaced(void)
{
	size_t page = getpagesize();
	pthread_t subject;
	char *forbidden;

	make_large_key(500);
	inject_begin((struct inject_rule){
		.kind = "madvise(MADV_DONTNEED", .code = EINVAL, .times = -1, .everybody = true,
	});
	subject = start_thread(use_and_stay, NULL);
	pthread_barrier_wait(&left);
	pthread_barrier_wait(&may_end);
	end_thread(subject);
	ok(inject_failures > 0, "the page of a thread that ended cannot be replaced");
	inject_end();
	forbidden = (char *)((uintptr_t)subject_data & ~(page - 1));
	start_later(STILL_LATER);
	is(later_in(forbidden, page), 0, "it is never used again");
	end_later();
}

/* --- Without access ---------------------------------------------------------------- */

#define TIMES 1000

struct refusal {
	const char *what;
	int (*map)(void);
	const char *call;	/* NULL: it is the kernel that refuses */
	int code, want;
};

static int read_only_map(void)
{
	union bpf_attr attr = { .pathname = (uintptr_t)PIN, .file_flags = BPF_F_RDONLY };
	int fd;

	pin(map, PIN);
	fd = syscall(SYS_bpf, BPF_OBJ_GET, &attr, sizeof(attr));
	if (fd < 0)
		tap_bail("a pinned map can be opened for reading");
	return fd;
}

static int the_map(void)
{
	return map;
}

static int no_map(void)
{
	return map_create_plain(BPF_MAP_TYPE_HASH, V2_SIZE);
}

static const struct refusal refusals[] = {
	{ "a descriptor that only reads", read_only_map, NULL, 0, EPERM },
	{ "a map of another kind", no_map, NULL, 0, EINVAL },
	{ "bpf(2) refused", the_map, "bpf(BPF_OBJ_GET_INFO_BY_FD)", EPERM, EPERM },
	{ "no bpf(2)", the_map, "bpf(BPF_OBJ_GET_INFO_BY_FD)", ENOSYS, ENOSYS },
	{ "updates refused", the_map, "bpf(BPF_MAP_UPDATE_ELEM, BPF_NOEXIST)", EPERM, EPERM },
	{ "pidfd_open(2) refused", the_map, "pidfd_open", EPERM, EPERM },
	{ "no pidfd_open(2)", the_map, "pidfd_open", ENOSYS, ENOSYS },
};

#define REFUSALS (sizeof(refusals) / sizeof(refusals[0]))

static const struct refusal *refusal;
static int refused_map;

struct costs {
	unsigned int first, tenth, last;	/* system calls */
	int wrong;				/* other results than the errno */
	int descriptors;
	long mapped;
};

static int refused_get_data(void)
{
	return tld_get_data(refused_map, key) ? 0 : errno;
}

static int refused_attach(void)
{
	return -tld_attach(refused_map);
}

static void count_costs(int (*call)(void), struct costs *costs)
{
	for (int i = 1; i <= TIMES; i++) {
		int err;

		inject_begin((struct inject_rule){ .kind = refusal->call, .code = refusal->code,
						   .times = refusal->call ? -1 : 0 });
		err = call();
		inject_end();
		costs->wrong += err != refusal->want;
		if (i == 1)
			costs->first = inject_calls;
		if (i == 10) {
			costs->tenth = inject_calls;
			costs->descriptors = -open_descriptors();
			costs->mapped = -inject_mapped;
		}
		costs->last = inject_calls;
	}
	costs->descriptors += open_descriptors();
	costs->mapped += inject_mapped;
}

static void *costs_of_thread_without_data(void *costs)
{
	count_costs(refused_get_data, costs);
	return NULL;
}

static void *costs_of_thread_with_data(void *costs)
{
	if (!tld_get(key))
		tap_bail("a thread gets its TLD");
	count_costs(refused_get_data, costs);
	return NULL;
}

static void *costs_of_attach(void *costs)
{
	count_costs(refused_attach, costs);
	return NULL;
}

static void judge_costs(void *(*body)(void *), const char *call)
{
	struct costs costs = { 0 };

	/* What the library does only once has been done. */
	in_thread(body, &costs);
	costs = (struct costs){ 0 };
	in_thread(body, &costs);
	is(costs.wrong, 0, "%s, %s: %d times %s", call, refusal->what, TIMES,
	   strerrorname_np(refusal->want));
	ok(costs.first && costs.first == costs.tenth && costs.tenth == costs.last,
	   "each at the same cost: %u system calls, then %u, then %u", costs.first, costs.tenth,
	   costs.last);
	is(costs.descriptors, 0, "with no further descriptor");
	is(costs.mapped, 0, "and no further memory");
}

static void without_access(void)
{
	make_place();
	make_key();
	start_workers();
	refused_map = refusal->map();
	judge_costs(costs_of_thread_without_data, "tld_get_data() in a thread without data");
	judge_costs(costs_of_thread_with_data, "tld_get_data() in a thread with data");
	judge_costs(costs_of_attach, "tld_attach()");
	is(reader_elements(reader, NULL), 0, "nobody is in the map");
	ok(reads(0, tld_get_data(map, key)), "with access the same thread is read");
	end_workers();
}

/* A sandbox that came after tld_attach(): each tld_get() tries again, and stores. */
static void *get_without_access(void *costs)
{
	count_costs(refused_get_data, costs);
	return NULL;
}

static int get_anyhow(void)
{
	uint64_t *data = tld_get(key);

	if (!data)
		return errno;
	*data = 1;
	return EPERM;
}

static void *costs_of_get(void *costs)
{
	count_costs(get_anyhow, costs);
	return NULL;
}

static void without_access_any_more(void)
{
	static const struct refusal later_refusal = {
		"updates refused after tld_attach()", the_map, UPDATE, EPERM, EPERM
	};
	struct costs costs = { 0 };

	make_key();
	if (tld_attach(map))
		tap_bail("a map can be attached");
	refusal = &later_refusal;
	refused_map = map;
	in_thread(costs_of_get, &costs);
	costs = (struct costs){ 0 };
	in_thread(costs_of_get, &costs);
	is(costs.wrong, 0, "tld_get(), %s: a thread can store %d times", refusal->what, TIMES);
	ok(costs.tenth == costs.last, "each at the same cost: %u system calls, then %u",
	   costs.tenth, costs.last);
	is(costs.descriptors, 0, "with no further descriptor");
	is(costs.mapped, 0, "and no further memory");
	costs = (struct costs){ 0 };
	in_thread(get_without_access, &costs);
	is(costs.wrong, 0, "tld_get_data() says EPERM each time");
}

/* --- A thread that ends meanwhile -------------------------------------------------- */

/* Its pidfd is open already: the kernel says ENOENT of the update. */
static int updates;

static bool thread_is_gone(pid_t tid)
{
	return syscall(SYS_tgkill, getpid(), tid, 0) && errno == ESRCH;
}

static void end_workers_at_third_update(const char *call)
{
	if (strcmp(call, UPDATE) || updates++)
		return;
	for (int i = 0; i < WORKERS; i++)
		worker_end(&workers[i], WORKER_ENDS_WITHOUT_DESTRUCTORS);
	for (int i = 0; i < WORKERS; i++)
		if (!awaited(thread_is_gone(workers[i].tid)))
			tap_bail("a thread that ended is gone");
}

static void ends_while_published(void)
{
	int err;

	make_key();
	tld_get(key);
	start_workers();
	inject_hook = end_workers_at_third_update;
	err = tld_attach(map);
	inject_hook = NULL;
	ok(updates > 0, "threads end in the middle of tld_attach()");
	is(err, 0, "that is no failure");
	ok(reads(0, tld_get(key)), "the threads that live are read");
	is(reader_elements(reader, NULL), 1, "and nobody else has an element");
	is(tld_attach(map), 0, "the map can be attached again");
	is(tld_detach(map), 0, "and detached");
}

int main(void)
{
	need_place();
	reader = reader_open(READER_V2);
	map = reader_map_fd(reader);
	in_child(bursts);
	in_child(stays_busy);
	in_child(page_stays_out_of_use);
	in_child(place_stays_out_of_use);
	in_child(many_are_left_behind);
	in_child(comes_back);
	in_child(page_that_is_not_replaced);
	for (size_t i = 0; i < REFUSALS; i++) {
		refusal = &refusals[i];
		in_child_named(refusal->what, without_access);
	}
	in_child(without_access_any_more);
	in_child(ends_while_published);
	return tap_done();
}
