/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * fault_points.h - runs a path through libtld once for each of its system calls and
 * each errno of that call, and judges what comes of it.
 *
 *	path	what is called, in which state, and what must then be seen
 *	round	prepare, call with the fault, judge, call without, judge, finish
 *	point	a call's number and one of its errnos: a process of its own with one or
 *		two rounds, of which the first finds the library as new
 *		(once more with the calls behind it failing too)
 *	soak	many rounds in one process, all with the same call failing: what is
 *		lost in each of them shows as memory
 *
 * Each round is run by a thread of its own, so that each begins as a new thread does.
 */
#ifndef TESTS_C_FAULT_POINTS_H
#define TESTS_C_FAULT_POINTS_H

#include <malloc.h>
#include "inject.h"
#include "maps.h"
#include "threads.h"
#include "tld.h"

#define ERRNO_MARK 12345
#define POINT_SECONDS patience(30)
#define POINT_ROUNDS 2
#define MAPS_OF_A_PATH 2
/* A chunk of libtld's memory has 64 pages: that many are lost before it shows. */
#define SOAK_THREADS 90
#define SOAK_SETTLES 20
/* A path in which all waits for its deadline would take too long. */
#define ENOUGH_SLOW 2
#define REPORTED_NOTES 6

struct fault_path {
	const char *name;
	const short *documented;	/* errnos, up to 0 */
	unsigned int flags;
	void (*prepare)(void);
	int (*call)(void);		/* 0 or a positive errno */
	bool (*agrees)(int err);	/* what is seen after a call with that result */
	int (*again)(int err);		/* once the fault is gone; NULL: call, if it failed */
	bool (*reads)(void);		/* what is seen at the end */
	void (*finish)(void);
};

/* A map in which something fails must not be noticed. */
#define PATH_HIDES_MAPS 1u
/* Nothing may be noticed. */
#define PATH_HIDES_ALL 2u
/* errno says what failed; it is left alone otherwise. */
#define PATH_SETS_ERRNO 4u
/* Call and judgement are a child's, by fork() or _Fork(). */
#define PATH_FORK 8u
#define PATH_BARE_FORK 16u
/* What fails are calls of other threads. */
#define PATH_OTHERS 32u
/* What it makes cannot be undone: not to be done many times. */
#define PATH_ONCE 64u
/* A few rounds show what is lost: each has several threads; or takes no blocks, and then the
 * second is as the first. */
#define PATH_CROWDED 128u
#define PATH_WITHOUT_BLOCKS 256u

enum fault_check {
	CHECK_RESULT, CHECK_ERRNO, CHECK_AGREES, CHECK_LOCKS, CHECK_AGAIN, CHECK_READS, CHECK_GONE,
	CHECK_DESCRIPTORS, CHECK_MEMORY, CHECK_ENDS, CHECKS,
};

static const char *const fault_sentences[CHECKS] = {
	[CHECK_RESULT] = "each fault gives a documented result, or none that shows",
	[CHECK_ERRNO] = "errno is as documented",
	[CHECK_AGREES] = "what BPF sees agrees with the result",
	[CHECK_LOCKS] = "other threads can use the library",
	[CHECK_AGAIN] = "the same call succeeds once the fault is gone",
	[CHECK_READS] = "and BPF sees what it should",
	[CHECK_GONE] = "no element is left by threads that ended",
	[CHECK_DESCRIPTORS] = "no descriptor is left",
	[CHECK_MEMORY] = "many times the same fault take no more memory than a few",
	[CHECK_ENDS] = "nothing waits for ever",
};

/* Shared with the process of a point. */
struct fault_outcome {
	unsigned int calls;		/* of libtld, the most in a round */
	unsigned int fired;
	bool no_such_choice;
	unsigned int broken;		/* 1 << check */
	char note[CHECKS][200];
	char fault[120];		/* of each round */
	const char *stage;
	int descriptors;
	unsigned char record[INJECT_RECORDED];
};

static struct fault_outcome *outcome;
static const struct fault_path *path;
/* Shared too: of all paths. */
static unsigned int *points_failed;
static int baseline_descriptors;
static bool soaking, shows_calls;
/* Of the program: what each process begins with; whether ended threads left nothing; and a
 * result that is asked for in some other way, to be told when it is wrong. */
static void (*at_start)(void);
static bool (*all_gone)(void);
static int (*other_result)(void);

__attribute__((format(printf, 3, 4)))
static void judge(enum fault_check check, bool right, const char *format, ...)
{
	va_list args;

	if (right || outcome->broken & 1u << check)
		return;
	outcome->broken |= 1u << check;
	va_start(args, format);
	vsnprintf(outcome->note[check], sizeof(outcome->note[check]), format, args);
	va_end(args);
}

/* --- Results ----------------------------------------------------------------------- */

static bool is_documented(int err)
{
	for (const short *code = path->documented; *code; code++)
		if (*code == err)
			return true;
	return false;
}

static const struct inject_errno *injected(void)
{
	const struct inject_errno *entry = inject_kinds[inject_failed_kind].errnos;

	while (entry->code && entry->code != inject_failed_code)
		entry++;
	return entry;
}

/* A success is judged by what is then seen. */
static bool may_result(int err)
{
	const struct inject_kind *kind = &inject_kinds[inject_failed_kind];
	const struct inject_errno *entry = injected();
	int want = entry->as ? entry->as : entry->code;

	if (!err)
		return true;
	if (inject_rule.following)
		return is_documented(err);
	if (!inject_failures || path->flags & PATH_HIDES_ALL)
		return false;
	if (path->flags & PATH_HIDES_MAPS && !(kind->flags & INJECT_MEMORY))
		return false;
	if (!is_documented(err))
		return false;
	if (err == want || (entry->other && err == entry->other))
		return true;
	return want != INJECT_HIDDEN && !is_documented(want);
}

static void note_fault(void)
{
	size_t at;

	if (outcome->calls < inject_calls)
		outcome->calls = inject_calls;
	outcome->no_such_choice |= inject_no_such_choice;
	memcpy(outcome->record, inject_record, sizeof(outcome->record));
	if (!inject_failures)
		return;
	outcome->fired++;
	at = strlen(outcome->fault);
	snprintf(outcome->fault + at, sizeof(outcome->fault) - at, "%s%s %s%s", at ? ", then " : "",
		 inject_kinds[inject_failed_kind].name, strerrorname_np(inject_failed_code),
		 inject_rule.following ? ", last of several" : "");
}

static void judge_result(int err, int errno_after)
{
	bool tells = err && path->flags & PATH_SETS_ERRNO;

	judge(CHECK_RESULT, may_result(err), "%s: result %s", outcome->fault,
	      strerrorname_np(err));
	if (path->flags & PATH_OTHERS)
		return;
	judge(CHECK_ERRNO, errno_after == (tells ? err : ERRNO_MARK), "%s: result %d, errno %d",
	      outcome->fault, err, errno_after);
}

/* --- A round ----------------------------------------------------------------------- */

static int other_map = -1;

/* Each room of the library: the table of keys, blocks, maps. */
static void *use_library(void *arg)
{
	static unsigned int names;
	char name[16];
	tld_key_t key;

	(void)arg;
	snprintf(name, sizeof(name), "other%u", names++);
	key = tld_create_key(name, 1);
	if (tld_key_is_err(key) || !tld_get(key))
		return "a key";
	if (tld_detach(other_map) != -ENOENT)
		return "maps";
	return NULL;
}

static void judge_locks(void)
{
	const char *failed;

	outcome->stage = "another thread's calls";
	failed = in_thread(use_library, NULL);
	judge(CHECK_LOCKS, !failed, "%s: another thread and %s", outcome->fault, failed);
}

static int call_with_fault(struct inject_rule rule)
{
	int err, errno_after;

	outcome->stage = "the call";
	errno = ERRNO_MARK;
	inject_begin(rule);
	err = path->call();
	errno_after = errno;
	inject_end();
	note_fault();
	if (err != -1)
		judge_result(err, errno_after);
	return err;
}

static void judge_again(int err)
{
	outcome->stage = "the call without the fault";
	err = path->again ? path->again(err) : err ? path->call() : 0;
	judge(CHECK_AGAIN, !err, "%s: then %s", outcome->fault, strerrorname_np(err));
	outcome->stage = "what is seen then";
	judge(CHECK_READS, path->reads(), "%s", outcome->fault);
}

static void call_and_judge(const struct inject_rule *rule)
{
	int err = call_with_fault(*rule);
	bool agrees;

	outcome->stage = "what is seen";
	/* A withdrawal that fails as well leaves what should have gone, until there is an end. */
	agrees = path->agrees(err) || (err && rule->following);
	judge(CHECK_AGREES, agrees, "%s: result %s, %s", outcome->fault, strerrorname_np(err),
	      other_result ? strerrorname_np(other_result()) : "no more is known");
	if (!soaking)
		judge_locks();
	judge_again(err);
}

/* The child is one thread of its own; it shares the outcome. */
static void in_forked_child(const struct inject_rule *rule)
{
	pid_t child = path->flags & PATH_BARE_FORK ? _Fork() : fork();
	int status = -1;

	if (child < 0)
		tap_bail("fork works");
	if (!child) {
		alarm(POINT_SECONDS / 2);
		call_and_judge(rule);
		_exit(0);
	}
	if (waitpid(child, &status, 0) != child || status)
		judge(CHECK_ENDS, false, "%s: the child's status is %#x", outcome->fault, status);
}

static void *run_round(void *rule)
{
	outcome->stage = "preparation";
	if (path->prepare)
		path->prepare();
	if (path->flags & (PATH_FORK | PATH_BARE_FORK))
		in_forked_child(rule);
	else
		call_and_judge(rule);
	outcome->stage = "the end of the round";
	if (path->finish)
		path->finish();
	return NULL;
}

/* --- A point, a soak --------------------------------------------------------------- */

static int left_open(int before)
{
	return open_descriptors() - before - baseline_descriptors;
}

static void run_rounds(const struct inject_rule *rule)
{
	/* A map in which something could not be withdrawn is kept while its threads are. */
	int may_stay = rule->following ? MAPS_OF_A_PATH : 0;
	int before = open_descriptors();
	int rounds = path->flags & PATH_WITHOUT_BLOCKS ? 1 : POINT_ROUNDS;

	for (int i = 0; i < rounds; i++) {
		in_thread(run_round, (void *)rule);
		outcome->stage = "the end of the threads";
		judge(CHECK_GONE, eventually(all_gone()), "%s", outcome->fault);
	}
	outcome->descriptors = open_descriptors() - before;
	if (rule->call)
		judge(CHECK_DESCRIPTORS, eventually(left_open(before) <= may_stay), "%s: %+d",
		      outcome->fault, left_open(before));
}

/* How much is mapped and open. */
struct footprint {
	long library, all;
	int descriptors;
};

static struct footprint footprint(void)
{
	return (struct footprint){ inject_mapped, status_kib("VmSize:"), open_descriptors() };
}

static void run_soak(const struct inject_rule *rule)
{
	int threads = path->flags & PATH_WITHOUT_BLOCKS ? 18 : path->flags & PATH_CROWDED ? 3 : 1;
	struct inject_rule one = *rule;
	struct footprint settled = { 0 }, end;

	for (int i = 0; i < SOAK_THREADS / threads; i++) {
		if (i == SOAK_SETTLES / threads)
			settled = footprint();
		one.choice = i % 4;
		outcome->fault[0] = '\0';
		in_thread(run_round, &one);
	}
	end = footprint();
	judge(CHECK_MEMORY, end.library <= settled.library, "call %d, %s: libtld's %+ld bytes",
	      rule->call, outcome->fault, end.library - settled.library);
	if (!UNDER_SANITIZER)
		judge(CHECK_MEMORY, end.all - settled.all < 256, "call %d, %s: mapped %+ld KiB",
		      rule->call, outcome->fault, end.all - settled.all);
	judge(CHECK_DESCRIPTORS, end.descriptors == settled.descriptors,
	      "many times call %d, %s: %+d", rule->call, outcome->fault,
	      end.descriptors - settled.descriptors);
}

/* In a process of its own, because of what libtld makes only once. */
static void in_process(void (*run)(const struct inject_rule *), const struct inject_rule *rule)
{
	int status;
	pid_t child;

	memset(outcome, 0, sizeof(*outcome));
	outcome->stage = "the start";
	fflush(stdout);
	child = fork();
	if (child < 0)
		tap_bail("fork works");
	if (!child) {
		alarm(POINT_SECONDS);
		/* Each arena of malloc would reserve 64 MiB. */
		mallopt(M_ARENA_MAX, 1);
		at_start();
		run(rule);
		fflush(stdout);
		_exit(0);
	}
	waitpid(child, &status, 0);
	if (status)
		judge(CHECK_ENDS, false, "%s: %s in %s", outcome->fault,
		      WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "an early end",
		      outcome->stage);
}

/* --- A path ------------------------------------------------------------------------ */

struct path_sum {
	unsigned int points, broken, slow, reported[CHECKS];
};

static void add_outcome(struct path_sum *sum)
{
	const unsigned int waited = 1u << CHECK_ENDS | 1u << CHECK_GONE | 1u << CHECK_DESCRIPTORS;

	sum->broken += outcome->broken != 0;
	sum->slow += (outcome->broken & waited) != 0;
	for (int i = 0; i < CHECKS; i++)
		if (outcome->broken & 1u << i && sum->reported[i]++ < REPORTED_NOTES)
			diag("%s: not so: %s: %s", path->name, fault_sentences[i],
			     outcome->note[i]);
}

/* A call and those behind it; of other threads, which go on for ever, only the next. */
static void fail_several(struct path_sum *sum, int call)
{
	bool others = path->flags & PATH_OTHERS;
	struct inject_rule rule = {
		.others = others, .call = call, .choice = call, .following = others ? 1 : -1,
	};

	in_process(run_rounds, &rule);
	add_outcome(sum);
	sum->points += outcome->fired != 0;
}

/* Every errno of one call; false where no round makes that many calls. */
static bool fail_call(struct path_sum *sum, int call)
{
	struct inject_rule rule = { .others = path->flags & PATH_OTHERS, .call = call };

	for (;; rule.choice++) {
		in_process(run_rounds, &rule);
		add_outcome(sum);
		if (!outcome->fired)
			return outcome->calls >= (unsigned int)call || outcome->no_such_choice;
		sum->points++;
		if (sum->slow >= ENOUGH_SLOW)
			return false;
	}
}

static void print_calls(void)
{
	diag("%s makes %u calls:", path->name, outcome->calls);
	for (unsigned int i = 0; i < outcome->calls && i < INJECT_RECORDED; i++)
		diag("  %s", inject_kinds[outcome->record[i]].name);
}

/* Without a fault all must be well, or nothing is learnt from faults. */
static bool path_works(struct path_sum *sum)
{
	struct inject_rule none = { .others = path->flags & PATH_OTHERS };

	in_process(run_rounds, &none);
	add_outcome(sum);
	baseline_descriptors = outcome->descriptors;
	if (shows_calls)
		print_calls();
	return ok(!sum->broken, "%s: all is well without a fault", path->name);
}

static void soak_calls(struct path_sum *sum, int calls)
{
	struct inject_rule rule = { .others = path->flags & PATH_OTHERS, .call = 1 };

	soaking = true;
	for (; rule.call <= calls && sum->slow < ENOUGH_SLOW; rule.call++) {
		in_process(run_soak, &rule);
		add_outcome(sum);
	}
	soaking = false;
}

static void run_path(const struct fault_path *the_path)
{
	struct path_sum sum = { 0 };
	int call = 1;

	path = the_path;
	if (!path_works(&sum))
		return;
	for (; fail_call(&sum, call); call++)
		fail_several(&sum, call);
	if (!sum.points) {
		ok(!sum.broken, "%s: makes no call that can fail", path->name);
		return;
	}
	if (!(path->flags & PATH_ONCE))
		soak_calls(&sum, call - 1);
	for (int i = 0; i < CHECKS; i++)
		if (i != CHECK_MEMORY || !(path->flags & PATH_ONCE))
			is(sum.reported[i], 0, "%s, %u faults: %s", path->name, sum.points,
			   fault_sentences[i]);
	__atomic_add_fetch(points_failed, sum.points, __ATOMIC_RELAXED);
}

static void *shared_memory(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		tap_bail("memory can be shared");
	return memory;
}

/* First of all. Paths may also be run by processes side by side, each with its outcome. */
static void share_outcome(void)
{
	outcome = shared_memory(sizeof(*outcome));
	if (!points_failed)
		points_failed = shared_memory(sizeof(*points_failed));
}

/*
 * At the end: every kind of call that libtld made was failed: of those that were made in the
 * paths' calls, or of all.
 */
static void judge_kinds(const unsigned int *made)
{
	const struct inject_totals *totals = inject_totals;

	diag("%u faults", *points_failed);
	ok(*points_failed > 0, "faults were made");
	is(inject_strangers(), 0, "libtld imports nothing that could make system calls unseen");
	is(totals->unknown, 0, "each system call that libtld made has its errnos in inject.h");
	if (totals->unknown)
		diag("system call %ld, first argument %ld", totals->unknown_number,
		     totals->unknown_arg);
	for (int i = 0; i < INJECT_KINDS; i++) {
		if (!made[i] || inject_kinds[i].flags & INJECT_CERTAIN)
			continue;
		ok(totals->failed[i] > 0, "%s was failed, %u times of %u", inject_kinds[i].name,
		   totals->failed[i], made[i]);
	}
}

#endif
