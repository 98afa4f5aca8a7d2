// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * churn.c - 1,000 threads start and end while BPF reads them from every processor:
 * what it sees of a thread is the thread's own, or zero, or nothing. At the end
 * nothing is left, neither in the maps nor in the process.
 *
 * churn --soak SECONDS goes on for so long.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

/* A block of 1 KiB, so that a few that are lost show in the process's size. */
#define TLD_DYN_DATA_SIZE 900
#include "tld.h"

#include "churn.h"
#include "often.h"
#include "process.h"
#include "reader.h"
#include "threads.h"

#define THREADS SOME(1000)
#define AT_ONCE 128
#define STACK (64 * 1024)
/* What the process may grow by: some pages of the runtime's own, no 64 blocks. */
#define GROWTH_KIB 64

/* Each case goes on for so long, and for 1,000 threads at least. */
static double case_seconds = BRIEFLY(1.0);
static tld_key_t key_a, key_b, rest_key;
static pthread_key_t late_key;

/* A watcher for each format; each thread passes all their maps. */
struct watcher {
	struct bpf_object *object;
	struct bpf_link *on_switch, *on_list;
	struct reader *reader;
	enum reader_format format;
	volatile struct churn_shared *shared;
	int map_fd;
};

static struct watcher watchers[3];
static int watcher_count, self_fd;
static char *stacks;

/* --- The threads ----------------------------------------------------------------- */

static int tid_for_bpf(void)
{
	struct churn_self self = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &self, .ctx_size_in = sizeof(self));

	return bpf_prog_test_run_opts(self_fd, &opts) ? -1 : self.tid;
}

/* Leave the processor, so that sched_switch has this thread as its task. */
static void be_switched_out(int times)
{
	struct timespec moment = { .tv_nsec = 1 };

	while (times--)
		nanosleep(&moment, NULL);
}

static bool store(void)
{
	unsigned int tid = tid_for_bpf();

	for (int i = 0; i < watcher_count; i++) {
		uint64_t *a = tld_get_data(watchers[i].map_fd, key_a);
		uint64_t *b = tld_get_data(watchers[i].map_fd, key_b);
		void *rest = tld_get_data(watchers[i].map_fd, rest_key);

		if (!a || !b || !rest)
			return false;
		__atomic_store_n(a, CHURN_A | tid, __ATOMIC_RELAXED);
		be_switched_out(1);
		__atomic_store_n(b, CHURN_B | tid, __ATOMIC_RELAXED);
		/* No word of this may be taken for another thread's a or b. */
		memset(rest, 0x99, 800);
	}
	return true;
}

/*
 * In the second round of destructors: withdrawn, still running, while others may
 * have been given the memory. A number that a use again would take back.
 */
static void linger(void *round)
{
	if (round == (void *)1)
		pthread_setspecific(late_key, (void *)2);
	else
		be_switched_out(3);
}

/* Six ways to live; the result says whether the thread got what it asked for. */
static void *live(void *arg)
{
	int way = (intptr_t)arg % 6;
	bool good = true;

	if (way != 0)
		good = store();
	be_switched_out(way == 1 ? 4 : 1);
	if (way == 2 || way == 3) {
		tld_free();
		be_switched_out(2);
	}
	if (way == 3)
		good = good && store();
	if (way >= 4)
		pthread_setspecific(late_key, (void *)1);
	if (way == 5)
		pthread_exit((void *)(intptr_t)good);
	return (void *)(intptr_t)good;
}

static pthread_t start(int slot, int number)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	/* Stacks of our own: those of glibc come and go with its cache. */
	pthread_attr_setstack(&attr, stacks + (size_t)slot * STACK, STACK);
	errno = pthread_create(&thread, &attr, live, (void *)(intptr_t)number);
	if (errno)
		tap_bail("a thread starts");
	pthread_attr_destroy(&attr);
	return thread;
}

/* At any time AT_ONCE of them; returns how many got what they asked for. */
static int run_threads(int count)
{
	pthread_t threads[AT_ONCE];
	int good = 0;

	for (int i = 0; i < count; i++) {
		if (i >= AT_ONCE)
			good += end_thread(threads[i % AT_ONCE]) != NULL;
		threads[i % AT_ONCE] = start(i % AT_ONCE, i);
	}
	for (int i = 0; i < AT_ONCE && i < count; i++)
		good += end_thread(threads[i]) != NULL;
	return good;
}

static pthread_barrier_t all_have_data;

static void *hold_data(void *unused)
{
	bool good = store();

	(void)unused;
	pthread_barrier_wait(&all_have_data);
	/* The first call loads libgcc_s. */
	pthread_exit((void *)(intptr_t)good);
}

/* As many threads with data as there ever will be, so that what is mapped is mapped. */
static void warm_up(void)
{
	pthread_t threads[AT_ONCE];
	pthread_attr_t attr;

	pthread_barrier_init(&all_have_data, NULL, AT_ONCE);
	for (int i = 0; i < AT_ONCE; i++) {
		pthread_attr_init(&attr);
		pthread_attr_setstack(&attr, stacks + (size_t)i * STACK, STACK);
		if (pthread_create(&threads[i], &attr, hold_data, NULL))
			tap_bail("a thread starts");
		pthread_attr_destroy(&attr);
	}
	for (int i = 0; i < AT_ONCE; i++)
		if (!end_thread(threads[i]))
			tap_bail("a thread gets its TLDs");
}

/* --- The watchers ------------------------------------------------------------------ */

static struct bpf_link *attach(struct bpf_object *object, const char *name)
{
	struct bpf_program *program = bpf_object__find_program_by_name(object, name);
	struct bpf_link *link = program ? bpf_program__attach(program) : NULL;

	if (!link || libbpf_get_error(link))
		tap_bail("%s attaches", name);
	return link;
}

static void add_watcher(const char *file, enum reader_format format)
{
	struct watcher *watcher = &watchers[watcher_count++];
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	watcher->object = reader_load(file);
	watcher->map_fd = reader_object_map_fd(watcher->object, "tld_data_map");
	watcher->format = format;
	/* The area behind those 24 bytes is the header's own. */
	watcher->reader = reader_open_map(format == READER_NATIVE ? READER_V2 : format,
					  watcher->map_fd);
	watcher->shared = reader_memory(watcher->object, ".bss", sizeof(*watcher->shared));
	watcher->on_switch = attach(watcher->object, "on_switch");
	watcher->on_list = attach(watcher->object, "on_list");
	self_fd = reader_prog_fd(watcher->object, "who_am_i");
	if (bpf_prog_test_run_opts(reader_prog_fd(watcher->object, "watch_my_process"), &opts))
		tap_bail("watch_my_process runs");
}

static void remove_watcher(struct watcher *watcher)
{
	bpf_link__destroy(watcher->on_switch);
	bpf_link__destroy(watcher->on_list);
	munmap((void *)watcher->shared, sizeof(*watcher->shared));
	reader_close(watcher->reader);
	bpf_object__close(watcher->object);
}

static volatile bool stop_listing;

/* Reads every task's TLDs over and over, from whatever processor is free. */
static void *list_tasks(void *unused)
{
	char buffer[64];

	(void)unused;
	while (!stop_listing) {
		for (int i = 0; i < watcher_count; i++) {
			int fd = bpf_iter_create(bpf_link__fd(watchers[i].on_list));

			while (fd >= 0 && read(fd, buffer, sizeof(buffer)) > 0)
				;
			close(fd);
		}
	}
	return NULL;
}

static void judge_place(const struct watcher *watcher, enum churn_place place)
{
	volatile struct churn_counts *counts = &watcher->shared->counts[place];
	const char *words = place == CHURN_SWITCH ? "at each switch" : "over all tasks";
	const char *format = reader_format_name(watcher->format);

	diag("%s, %s: %llu looks, %llu absent, %llu zero, %llu own, %llu wrong", format, words,
	     counts->looks, counts->absent, counts->zero, counts->own, counts->wrong);
	ok(counts->own > 0, "%s: BPF that looks %s reads the threads' own values", format, words);
	ok(counts->absent > 0, "%s: it also meets threads without data", format);
	if (!is(counts->wrong, 0, "%s: it never reads another's, nor garbage", format))
		diag("thread %llu: a %llx, b %llx", watcher->shared->wrong_tid,
		     watcher->shared->wrong_a, watcher->shared->wrong_b);
}

/* --- A run -------------------------------------------------------------------------- */

static void run_all(const char *name)
{
	double until = seconds_now() + case_seconds;
	int good = 0, count = 0;

	do {
		good += run_threads(THREADS);
		count += THREADS;
	} while (seconds_now() < until);
	is(good, count, "%s: all of so many threads get what they ask for", name);
	diag("%d threads", count);
}

static void churn(const char *name)
{
	int fds, maps;
	pthread_t lister;
	long size;

	alarm((unsigned int)case_seconds + CASE_SECONDS);
	/* Threads' malloc arenas would hide what the library maps. */
	mallopt(M_ARENA_MAX, 1);
	key_a = tld_create_key("a", sizeof(uint64_t));
	key_b = tld_create_key("b", sizeof(uint64_t));
	rest_key = tld_create_key("rest", 800);
	pthread_key_create(&late_key, linger);
	stacks = mmap(NULL, (size_t)AT_ONCE * STACK, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (stacks == MAP_FAILED)
		tap_bail("memory for %d stacks", AT_ONCE);
	lister = start_thread(list_tasks, NULL);
	warm_up();
	stop_listing = true;
	end_thread(lister);
	fds = open_descriptors();
	maps = mappings();
	size = status_kib("VmSize:");
	stop_listing = false;
	lister = start_thread(list_tasks, NULL);
	run_all(name);
	stop_listing = true;
	end_thread(lister);
	is(open_descriptors(), fds, "%s: as many descriptors are open as before", name);
	diag("mappings %d, before %d; KiB %ld, before %ld", mappings(), maps,
	     status_kib("VmSize:"), size);
	if (UNDER_SANITIZER) {
		tap_skip("the process has not grown", "a sanitizer maps memory of its own");
		return;
	}
	ok(mappings() <= maps + 4, "%s: as many mappings as before", name);
	ok(status_kib("VmSize:") - size <= GROWTH_KIB,
	   "%s: the process has not grown", name);
}

static void finish(void)
{
	for (int i = 0; i < watcher_count; i++) {
		for (int place = 0; place < CHURN_PLACES; place++)
			judge_place(&watchers[i], place);
		is(reader_elements(watchers[i].reader, NULL), 0, "no element is left in the map");
		remove_watcher(&watchers[i]);
	}
}

static void v2(void)
{
	add_watcher("churn.bpf.o", READER_V2);
	churn("v2");
	finish();
}

static void v1(void)
{
	add_watcher("churn_v1.bpf.o", READER_V1);
	churn("v1");
	finish();
}

static void native(void)
{
	add_watcher("churn.native.bpf.o", READER_NATIVE);
	churn("native");
	finish();
}

static void all(void)
{
	add_watcher("churn_v1.bpf.o", READER_V1);
	add_watcher("churn.bpf.o", READER_V2);
	add_watcher("churn.native.bpf.o", READER_NATIVE);
	churn("v1, v2 and native");
	finish();
}

int main(int argc, char **argv)
{
	reader_need_kernel();
	if (argc == 3 && !strcmp(argv[1], "--soak"))
		case_seconds = atof(argv[2]) / 4;
	in_child(v2);
	in_child(v1);
	in_child(native);
	in_child(all);
	return tap_done();
}
