// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * soak.c - everything at once, for long: threads come and go in waves, maps are
 * attached and detached and a pin is followed, the process forks, a dispatcher writes
 * its workers' TLDs, a profiler's signal interrupts, and BPF reads all of it and judges
 * each reading: the thread's own last value, an earlier one of its own, or none.
 *
 * soak: one minute, or SOAK_TEST_S seconds. soak --soak SECONDS: the long form, of
 * 200,000 threads in half an hour. Ctrl-C ends it with the table so far.
 */
#include <malloc.h>
#include "soak_parts.h"

#define ALL_THREADS 200000.0	/* in half an hour */
/* A minute's share would be too few to show that memory is not theirs for ever. */
#define FEWEST_A_SECOND (UNDER_SANITIZER ? 33.0 : 333.0)
#define LONG_FORM 300.0		/* seconds: says how far it is */

/* --- The waves ------------------------------------------------------------------------------- */

/* What a wave lasts: its threads are twice as many as live at its crest. */
static double wave_seconds(void)
{
	return 2.0 * at_once * all_seconds / all_threads;
}

/* How many are to live: a tenth, more and more, all, fewer and fewer. */
static unsigned int wanted_alive(double now)
{
	double at = now / wave_seconds();

	at -= (unsigned int)at;
	if (at < 0.2)
		return at_once / 10;
	if (at < 0.6)
		return at_once / 10 + (at - 0.2) / 0.4 * (at_once - at_once / 10);
	if (at < 0.8)
		return at_once;
	return at_once - (at - 0.8) / 0.2 * (at_once - at_once / 10);
}

static unsigned int may_have_started(double now)
{
	return now >= all_seconds ? all_threads : all_threads * now / all_seconds;
}

/* A few milliseconds' worth of starts and ends. */
static void tick(struct fuzz *fuzz)
{
	double now = seconds_now() - begin;
	unsigned int wanted = wanted_alive(now), budget = may_have_started(now) - totals->threads;
	bool ebbing = wanted < wanted_alive(now - 0.01);

	reap();
	if (budget > 100)
		budget = 100;
	for (; budget && !ebbing && alive < wanted; budget--)
		start_life(fuzz_one_in(fuzz, 4));
	/* At the crest ones come for others that go, and some just come and go. */
	if (wanted == at_once)
		for (; budget; budget--)
			end_one(fuzz);
	for (unsigned int over = alive > wanted ? alive - wanted : 0; over--; )
		end_one(fuzz);
}

static void sample_memory(void)
{
	long kib = status_kib("VmData:");

	if (totals->peak_kib < kib)
		totals->peak_kib = kib;
}

static void say_how_far(double now)
{
	static double last;

	if (all_seconds < LONG_FORM || now - last < 10 || !isatty(STDERR_FILENO))
		return;
	last = now;
	fprintf(stderr, "# %4.0f s of %.0f: %u threads, %u alive, %u forks, %u attaches\n",
		now, all_seconds, totals->threads, alive, totals->forks, totals->attaches);
}

static void run_waves(void)
{
	struct fuzz fuzz = fuzz_sequence(seed, 5);
	struct timespec pause = { .tv_nsec = 4000000 };
	double now = 0;

	while (!interrupted && now < all_seconds) {
		tick(&fuzz);
		sample_memory();
		say_how_far(now);
		nanosleep(&pause, NULL);
		now = seconds_now() - begin;
	}
}

/* What a slow machine is behind with comes and goes at once. */
static void catch_up(void)
{
	while (!interrupted && totals->threads < all_threads) {
		reap();
		for (int i = 0; i < 100 && totals->threads < all_threads; i++)
			if (!start_life(true))
				break;
		sample_memory();
		sched_yield();
	}
}

static void end_all_lives(void)
{
	for (unsigned int i = 0; i < at_once; i++)
		set(lives[i].to_end, true);
	while (alive) {
		reap();
		sched_yield();
	}
}

/* --- From the beginning to the end ----------------------------------------------------------- */

struct footprint {
	int descriptors, mappings, threads;
	long data_kib, resident_kib;
};

static int count_threads(void)
{
	return status_kib("Threads:");
}

static struct footprint footprint(void)
{
	/* Stacks are the test's, and most have been used. */
	madvise(stacks, (size_t)SLOTS_END * STACK, MADV_DONTNEED);
	return (struct footprint){ open_descriptors(), mappings(), count_threads(),
				   status_kib("VmData:"), status_kib("RssAnon:") };
}

static void *(*const parts[])(void *) = {
	reside, list_tasks, attach_and_detach, follow, fork_often, dispatch_all, profile,
};
#define PARTS (sizeof(parts) / sizeof(*parts))

/* What any thread needs once, so that the beginning can be compared with the end. */
static void *warm_up(void *unused)
{
	introduce(ATTACHER);
	store(-1);
	must_be_read(STEADY, "the first thread");
	expect_zeros();
	/* The first call loads libgcc_s. */
	pthread_exit(unused);
}

static void soak(struct footprint *before, struct footprint *after)
{
	pthread_t threads[PARTS];

	end_thread(start_on(warm_up, NULL, ATTACHER));
	*before = footprint();
	begin = seconds_now();
	for (size_t i = 0; i < PARTS; i++) {
		threads[i] = start_on(parts[i], NULL, SLOTS_END + i);
		/* The first is whom the others look at. */
		if (!eventually(load(resident_tid)))
			tap_bail("the resident thread stores");
	}
	run_waves();
	catch_up();
	finish = true;
	for (size_t i = 1; i < PARTS; i++)
		end_thread(threads[i]);
	all_finished = true;
	end_thread(threads[0]);
	end_all_lives();
	tld_detach(watchers[FLAPPING].map_fd);
	*after = footprint();
}

/* @seldom: how often the program that did so least has read a last value. */
static struct soak_counts all_counts(int which, uint64_t *seldom)
{
	struct soak_counts sum = { 0 };

	*seldom = UINT64_MAX;
	for (int place = 0; place < SOAK_PLACES; place++) {
		volatile struct soak_counts *counts = &watchers[which].shared->counts[place];

		sum.last += counts->last;
		sum.earlier += counts->earlier;
		sum.zero += counts->zero;
		sum.absent += counts->absent;
		sum.wrong += counts->wrong;
		if (*seldom > counts->last)
			*seldom = counts->last;
	}
	return sum;
}

static void print_readings(const char *name, int which)
{
	uint64_t seldom;
	struct soak_counts sum = all_counts(which, &seldom);

	diag("%-22s %11llu %9llu %9llu %11llu %7llu", name, sum.last, sum.earlier, sum.zero,
	     sum.absent, sum.wrong);
}

static void print_table(const struct footprint *before, const struct footprint *after)
{
	diag("%-22s %11.0f", "seconds", seconds_now() - begin);
	diag("%-22s %11u", "threads", totals->threads);
	diag("%-22s %11u", "alive at the peak", totals->most_alive);
	diag("%-22s %11u", "forks", totals->forks);
	diag("%-22s %11u", "attaches", totals->attaches);
	diag("%-22s %11u", "detaches", totals->detaches);
	diag("%-22s %11u", "pins followed", totals->follows);
	diag("%-22s %11u", "references", totals->references);
	diag("%-22s %11u", "tags to ended threads", totals->tags_to_the_dead);
	diag("%-22s %11u", "signals served", totals->prof_served);
	diag("%-22s %11u", "signals, EAGAIN", totals->prof_refused);
	diag("%-22s %11u", "looks by a program", totals->looks);
	diag("%-22s %11ld", "peak KiB above start", totals->peak_kib - before->data_kib);
	diag("%-22s %11ld", "KiB resident, at end", after->resident_kib - before->resident_kib);
	diag("%-22s %11d", "mappings, at end", after->mappings - before->mappings);
	diag("%-22s %11s %9s %9s %11s %7s", "readings", "last", "earlier", "no value", "absent",
	     "wrong");
	print_readings("  map always attached", STEADY);
	print_readings("  the same, native", NATIVE);
	print_readings("  map that comes, goes", FLAPPING);
	print_readings("  map that is followed", PINNED);
}

static void judge_what_was_done(void)
{
	if (interrupted) {
		tap_skip("as many threads as planned have come and gone", "interrupted");
		return;
	}
	is(totals->threads, all_threads, "as many threads as planned have come and gone");
	is(totals->most_alive, at_once, "%u of them were alive at once", at_once);
	ok(totals->forks && totals->attaches && totals->detaches && totals->follows &&
	   totals->references && totals->tags_to_the_dead,
	   "there were forks, attaches, detaches, pins and references, also to ended threads");
	ok(totals->prof_served && totals->prof_refused,
	   "signals came while threads were in the library, and while they were not");
}

static void judge_map(int which, const char *name)
{
	uint64_t seldom;
	struct soak_counts sum = all_counts(which, &seldom);
	volatile struct soak_shared *shared = watchers[which].shared;

	ok(seldom && sum.absent,
	   "%s: BPF at switches and over all tasks reads last values, and none", name);
	if (!is(sum.wrong, 0, "%s: it never reads another's, garbage, nor what was not stored",
		name))
		diag("thread %llu, word %llu: %#llx", shared->wrong_number, shared->wrong_place,
		     shared->wrong_word);
}

static void judge_readings(void)
{
	judge_map(STEADY, "map always attached");
	judge_map(NATIVE, "map always attached, of the native header");
	judge_map(FLAPPING, "map that comes and goes");
	judge_map(PINNED, "map that is followed");
	is(totals->not_last, 0,
	   "where a map is attached, BPF at once reads what a thread, or another, stored last");
	is(totals->not_absent, 0, "where it is detached, neither is found");
	is(totals->wrong_tag, 0, "what is stored through a reference is met by its thread only");
	is(totals->wrong_address, 0, "a signal handler gets its own thread's memory");
}

static void judge_calls(void)
{
	is(totals->no_data, 0, "every thread gets what it asks for");
	is(totals->unpublished, 0, "and can be published");
	is(totals->bad_call, 0, "attach, detach, follow, unfollow and references do not fail");
	is(totals->not_followed, 0, "a pin that is made is followed");
	is(totals->bad_child, 0, "every child ends as it should");
}

static void judge_elements(void)
{
	int elements = 0;

	for (int which = 0; which < WATCHERS; which++) {
		struct reader *reader = reader_open_map(READER_V2, watchers[which].map_fd);

		elements += reader_elements(reader, NULL);
		reader_close(reader);
	}
	is(elements, 0, "no element is left in the maps");
}

/* Data pages, records, and what glibc keeps of a thread: five KiB each. */
#define KIB_A_THREAD 5
#define KIB_OF_ITS_OWN 1024
#define PAGES_A_MAPPING 60

static void judge_footprint(const struct footprint *before, const struct footprint *after)
{
	is(after->descriptors, before->descriptors,
	   "at the end as many descriptors are open as at the start");
	ok(before_long(count_threads() == before->threads), "and as many threads live");
	if (UNDER_SANITIZER) {
		tap_skip("memory is bounded by live threads", "a sanitizer maps memory of its own");
		return;
	}
	ok(totals->peak_kib - before->data_kib <=
	   (long)totals->most_alive * KIB_A_THREAD + KIB_OF_ITS_OWN,
	   "at its peak memory is bounded by the threads that are alive");
	ok(after->mappings <= before->mappings + 2 + (int)totals->most_alive / PAGES_A_MAPPING,
	   "at the end no more is mapped than those may have needed");
	ok(after->resident_kib - before->resident_kib <= KIB_OF_ITS_OWN,
	   "at the end no more memory is in use than at the start, but for what is kept in stock");
}

static void on_interrupt(int signal)
{
	(void)signal;
	interrupted = 1;
}

static void set_up(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_interrupt, .sa_flags = SA_RESTART };
	const char *asked = getenv("SOAK_TEST_S");
	bool is_long = argc == 3 && !strcmp(argv[1], "--soak");
	double threads;

	all_seconds = is_long ? atof(argv[2]) : asked ? atof(asked) : 60;
	threads = all_seconds * ALL_THREADS / ALL_SECONDS;
	if (threads < all_seconds * FEWEST_A_SECOND && all_seconds < LONG_FORM)
		threads = all_seconds * FEWEST_A_SECOND;
	all_threads = threads;
	at_once = threads / 3 < MOST_AT_ONCE ? threads / 3 : MOST_AT_ONCE;
	seed = fuzz_seed();
	alarm((unsigned int)all_seconds * 2 + 60);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	/* Threads' malloc arenas would hide what the library maps. */
	mallopt(M_ARENA_MAX, 1);
	mount_bpffs();
	totals = mmap(NULL, sizeof(*totals), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	stacks = mmap(NULL, (SLOTS_END + PARTS) * STACK, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (totals == MAP_FAILED || stacks == MAP_FAILED)
		tap_bail("memory for stacks");
}

static void create_keys(void)
{
	head_key = tld_create_key("head", SOAK_AT_END * sizeof(uint64_t));
	pad_key = tld_create_key("pad", SOAK_PAD);
	tail_key = tld_create_key("tail", SOAK_AT_END * sizeof(uint64_t));
	tag_key = tld_create_key("tag", sizeof(uint64_t));
	prof_key = tld_create_key("prof", sizeof(uint64_t));
	if (tld_key_is_err(prof_key))
		tap_bail("the TLDs can be created");
}

int main(int argc, char **argv)
{
	struct footprint before, after;

	reader_need_kernel();
	set_up(argc, argv);
	add_watchers();
	create_keys();
	if (tld_attach(watchers[STEADY].map_fd) || tld_attach(watchers[NATIVE].map_fd))
		tap_bail("a map can be attached");
	soak(&before, &after);
	print_table(&before, &after);
	judge_what_was_done();
	judge_readings();
	judge_calls();
	judge_elements();
	judge_footprint(&before, &after);
	remove_watchers();
	return tap_done();
}
