// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * hint_budget.c - what scx_hint promises to each class, measured: who comes first, what the
 * others get nevertheless, and how long they wait.
 *
 * For a guest whose time is counted in instructions (qemu's -icount): a bound is missed by the
 * policy then, never for the host being busy, and figures differ by little each time.
 */
#include <limits.h>
#include "hint_loader.h"
#include "sched_hint.h"
#include "tld.h"

#define MS 0.001

/* scx_hint's own: --window, --slice, --budget. */
#define WINDOW (100 * MS)
#define SLICE (3 * MS)

/* A slice ends with a tick, 250 of which make a second. */
#define TICK (4 * MS)

/*
 * What the shares may miss: the kernel's own threads and this one run beside the measured ones,
 * and at either end of the time a window may be half over.
 */
#define TOLERANCE 0.04
#define SECONDS 2.0

/*
 * How long who must wait: a window, until the class has its turn; what runs when that is over; and,
 * where another thread of the class goes first, until the class with this share of the time has
 * had that turn, and has another.
 */
#define WAITS_AT_MOST(share) (WINDOW + (SLICE + TICK) + (SLICE + TICK) / (share))

#define THREADS_MAX 32

#define NO_HINT 0
#define INTERACTIVE sched_hint(SCHED_HINT_INTERACTIVE, 0, 0)
#define BACKGROUND sched_hint(SCHED_HINT_BACKGROUND, 0, 0)

TLD_DEFINE_KEY(hint_key, SCHED_HINT_NAME, sizeof(uint64_t));

static struct worker {
	pthread_t id;
	uint64_t hint;
	double started;
	double ran, waited;		/* in all, while it was measured; and the longest at a stretch */
	double latest;			/* LIGHT: from when it was to wake up to when it was done;
					 * CHANGES: from then to when it gave way */
	enum kind { BURNS, LIGHT, CHANGES, SLEEPS } kind;
} workers[THREADS_MAX];

static int count;
static volatile bool measuring, ended;

/* Of its own time, this is what a thread cannot have missed: it did not wait, but ran. */
#define RAN_AT_MOST (1 * MS)

/* Reads the clock all the time: where it jumps, somebody else ran. */
static void burn(struct worker *worker)
{
	double before = worker->started, now, passed;

	while (!ended) {
		now = seconds_now();
		passed = now - before;
		before = now;
		if (passed < RAN_AT_MOST)
			worker->ran += measuring ? passed : 0;
		else if (passed > worker->waited)
			worker->waited = passed;
	}
}

/* 0.2 ms of work each 4 ms. */
static void wake_up(struct worker *worker)
{
	double at = seconds_now(), from;

	while (!ended) {
		struct timespec time;

		at += 4 * MS;
		time = (struct timespec){ (time_t)at, (at - (time_t)at) * 1e9 };
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
		for (from = seconds_now(); seconds_now() < from + 0.2 * MS; )
			;
		from = seconds_now();
		if (measuring && from - at > worker->latest)
			worker->latest = from - at;
		if (from > at)
			at = from;
	}
}

static void give(uint64_t hint)
{
	uint64_t *mine = tld_get(hint_key);

	if (!mine)
		tap_bail("a thread can hint");
	__atomic_store_n(mine, hint, __ATOMIC_RELAXED);
}

static void sleep_for(double seconds)
{
	const struct timespec time = { (time_t)seconds, (seconds - (time_t)seconds) * 1e9 };

	nanosleep(&time, NULL);
}

/* It changes when its class still has all of its budget, but for 10 ms. */
static void change(struct worker *worker)
{
	double from, now, before;

	sleep_for(4 * WINDOW);
	for (from = seconds_now(); seconds_now() < from + 10 * MS; )
		;
	give(BACKGROUND);
	from = before = seconds_now();
	while ((now = seconds_now()) < before + RAN_AT_MOST)
		before = now;
	worker->latest = before - from;
}

/* And then wants all that it can get. */
static void sleep_long(struct worker *worker)
{
	sleep_for(SECONDS / 2);
	worker->started = seconds_now();
	burn(worker);
}

static void *work(void *arg)
{
	static void (*const body[])(struct worker *worker) = { burn, wake_up, change, sleep_long };
	struct worker *worker = arg;

	give(worker->hint);
	body[worker->kind](worker);
	return NULL;
}

/* --- Who runs --- */

static void add(int threads, uint64_t hint, enum kind kind)
{
	while (threads--)
		workers[count++] = (struct worker){ .hint = hint, .kind = kind };
}

static void start(struct worker *worker)
{
	worker->started = seconds_now();
	worker->id = start_thread(work, worker);
}

static void end_all(void)
{
	ended = true;
	for (int i = 0; i < count; i++)
		end_thread(workers[i].id);
}

static void measure(void)
{
	ended = false;
	for (int i = 0; i < count; i++)
		start(&workers[i]);
	sleep_for(0.5);
	measuring = true;
	sleep_for(SECONDS);
	measuring = false;
	end_all();
}

/* --- What they got --- */

static int processors(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN);
}

/* Of all processors' time. */
static double share(uint64_t hint)
{
	double ran = 0;

	for (int i = 0; i < count; i++)
		if (workers[i].hint == hint && workers[i].kind == BURNS)
			ran += workers[i].ran;
	return ran / SECONDS / processors();
}

static double longest_wait(uint64_t hint)
{
	double longest = 0;

	for (int i = 0; i < count; i++)
		if (workers[i].hint == hint && workers[i].waited > longest)
			longest = workers[i].waited;
	return longest;
}

static double latest(uint64_t hint)
{
	double worst = 0;

	for (int i = 0; i < count; i++)
		if (workers[i].hint == hint && workers[i].latest > worst)
			worst = workers[i].latest;
	return worst;
}

static void gets(const char *name, uint64_t hint, double least, double most)
{
	double got = share(hint);

	diag("  %s: %.1f %% of the time, waits for %.1f ms at most", name, 100 * got, longest_wait(hint) / MS);
	ok(got >= least - TOLERANCE && got <= most + TOLERANCE, "%s threads get %.0f to %.0f %% of the time", name,
	   100 * least, 100 * most);
}

static void waits(const char *name, uint64_t hint, double most)
{
	ok(longest_wait(hint) <= most, "no %s thread waits for more than %.0f ms", name, most / MS);
}

static void is_done(const char *name, uint64_t hint, double within)
{
	diag("  %s: done %.1f ms after it was to wake up, at the latest", name, latest(hint) / MS);
	ok(latest(hint) > 0 && latest(hint) <= within, "a light %s thread is done within %.0f ms", name, within / MS);
}

static void begin(const char *subject)
{
	tap_subject = subject;
	count = 0;
}

/* --- Cases --- */

static void interactive_beside_normal(void)
{
	begin("one interactive, one normal thread a processor: ");
	add(processors(), INTERACTIVE, BURNS);
	add(processors(), NO_HINT, BURNS);
	measure();
	gets("interactive", INTERACTIVE, 0.5, 0.5);
	gets("normal", NO_HINT, 0.5, 0.5);
	waits("normal", NO_HINT, WAITS_AT_MOST(0.5));
}

static void background_beside_both(void)
{
	begin("one thread of each class a processor: ");
	add(processors(), INTERACTIVE, BURNS);
	add(processors(), NO_HINT, BURNS);
	add(processors(), BACKGROUND, BURNS);
	measure();
	gets("interactive", INTERACTIVE, 0.4, 0.5);
	gets("normal", NO_HINT, 0.4, 0.5);
	gets("background", BACKGROUND, 0.1, 0.1);
	waits("normal", NO_HINT, WAITS_AT_MOST(0.4));
	waits("background", BACKGROUND, WAITS_AT_MOST(0.1));
}

/* The dishonest ones, and as many that are not, leave somebody short who is in earnest. */
static void light_beside_dishonest(void)
{
	begin("a light interactive thread beside two dishonest and two normal ones a processor: ");
	add(1, INTERACTIVE, LIGHT);
	add(2 * processors(), INTERACTIVE, BURNS);
	add(2 * processors(), NO_HINT, BURNS);
	measure();
	gets("normal", NO_HINT, 0.5, 0.5);
	/* When the budget is spent, it waits for a slice of a normal thread, and for one of its own class. */
	is_done("interactive", INTERACTIVE, 2 * (SLICE + TICK));
}

/* It stops who runs, at once: no slice has to end. */
static void light_beside_normal(void)
{
	begin("a light interactive thread beside two normal ones a processor: ");
	add(1, INTERACTIVE, LIGHT);
	add(2 * processors(), NO_HINT, BURNS);
	measure();
	is_done("interactive", INTERACTIVE, 1 * MS);
	begin("a light normal thread beside two background ones a processor: ");
	add(1, NO_HINT, LIGHT);
	add(2 * processors(), BACKGROUND, BURNS);
	measure();
	is_done("normal", NO_HINT, 1 * MS);
}

/* It hinted that somebody waits for it, and says while it computes that nobody does. */
static void changed_while_it_runs(void)
{
	begin("a thread that becomes a background one while it computes: ");
	add(1, INTERACTIVE, CHANGES);
	add(2 * processors(), NO_HINT, BURNS);
	measure();
	/* Sooner than its old class would have had to, after a window. */
	diag("  it gave way after %.1f ms", workers[0].latest / MS);
	ok(workers[0].latest > 0 && workers[0].latest <= 3 * TICK, "it gives way within three ticks");
}

/* Who slept has not saved that up. */
static void after_sleep(void)
{
	begin("a thread a processor that computes after it slept, beside two of its class: ");
	add(2 * processors(), NO_HINT, BURNS);
	add(processors(), NO_HINT, SLEEPS);
	measure();
	waits("normal", NO_HINT, 2 * 3 * (SLICE + TICK));
}

static void weights(void)
{
	const uint64_t quarter = sched_hint(SCHED_HINT_NORMAL, 25, 0), more = sched_hint(SCHED_HINT_NORMAL, 10000, 0);

	begin("a thread a processor that hints a weight of 25 %, beside one that does not: ");
	add(processors(), NO_HINT, BURNS);
	add(processors(), quarter, BURNS);
	measure();
	gets("full-weight", NO_HINT, 0.8, 0.8);
	gets("quarter-weight", quarter, 0.2, 0.2);
	begin("a thread a processor that hints a weight of 10,000 %, beside one that does not: ");
	add(processors(), NO_HINT, BURNS);
	add(processors(), more, BURNS);
	measure();
	gets("greedy", more, 0.5, 0.5);
}

/* Who has time lets others go first. */
static void deadlines(void)
{
	const uint64_t patient = sched_hint(SCHED_HINT_NORMAL, 0, 20000000), hasty = sched_hint(SCHED_HINT_NORMAL, 0, 1000000);

	begin("light threads with deadlines, beside three normal ones a processor: ");
	add(1, hasty, LIGHT);
	add(1, patient, LIGHT);
	add(3 * processors(), NO_HINT, BURNS);
	measure();
	is_done("hasty", hasty, SLICE + TICK + 1 * MS);
	diag("  patient: done %.1f ms after it was to wake up, at the latest", latest(patient) / MS);
	/* In virtual time: each of the three others may run for as long first. */
	ok(latest(patient) > 20 * MS && latest(patient) <= 3 * (20 * MS + SLICE + TICK),
	   "a patient one is done later, by its deadline for each of the others at most");
}

/* Who had the machine alone for long is not made to wait for that later. */
static void alone_for_long(void)
{
	begin("a background thread that ran alone, and then four a processor of it and the interactive class: ");
	add(1, BACKGROUND, BURNS);
	ended = false;
	start(&workers[0]);
	sleep_for(5);
	add(4 * processors(), BACKGROUND, BURNS);
	add(4 * processors(), INTERACTIVE, BURNS);
	for (int i = 1; i < count; i++)
		start(&workers[i]);
	sleep_for(SECONDS);
	end_all();
	diag("  it waits for %.1f ms at most", workers[0].waited / MS);
	/* A window; then half of the time is theirs, and each of the others goes before it once or twice. */
	ok(workers[0].waited <= WINDOW + 2 * 2 * 4 * (SLICE + TICK), "it waits for two turns of the others at most");
}

/* A turn is a slice then, and longer than what the background class may save up or lose. */
static void short_window(void)
{
	begin("one thread of each class a processor, a window of 10 ms: ");
	add(processors(), INTERACTIVE, BURNS);
	add(processors(), NO_HINT, BURNS);
	add(processors(), BACKGROUND, BURNS);
	measure();
	gets("interactive", INTERACTIVE, 0.4, 0.5);
	gets("normal", NO_HINT, 0.2, 0.5);
	gets("background", BACKGROUND, 0.1, 0.3);
}

/* With an option of scx_hint, or NULL. */
static void with_scheduler(char *option, char *value, void (*const cases[])(void))
{
	struct loader loader = loader_start(SCX_HINT, "--stats", option, value);

	if (!eventually(loader_said(&loader, "scheduling;")) || tld_follow(SCHED_HINT_PIN)) {
		loader_show(&loader);
		tap_bail("it schedules the machine");
	}
	while (*cases)
		(*cases++)();
	tap_subject = "";
	ok(hint_schedules(), "it is still the scheduler");
	is(loader_end(&loader, SIGINT), 0, "it ends when it is told to");
	loader_forget(&loader);
}

int main(void)
{
	/* What a machine does when it has just been started disturbs. */
	sleep_for(8);
	with_scheduler(NULL, NULL, (void (*const[])(void)){
		interactive_beside_normal, background_beside_both, light_beside_dishonest, light_beside_normal,
		changed_while_it_runs, after_sleep, weights, deadlines, alone_for_long, NULL });
	with_scheduler("--window", "10", (void (*const[])(void)){ short_window, NULL });
	return tap_done();
}
