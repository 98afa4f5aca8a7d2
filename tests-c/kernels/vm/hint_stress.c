// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * hint_stress.c - scx_hint stays the scheduler, and lets everybody run, while everything
 * happens at once that hint_stress_load.h knows: threads, hints and processors come and go.
 *
 *	hint_stress SECONDS DOMAINS RESTARTS
 *
 * DOMAINS: how many sets of processors with a cache there are, so that no guest tries one
 * for two.
 */
#include <bpf/libbpf.h>
#include "hint_loader.h"
#include "hint_stress_load.h"
#include "scx_hint.h"
#include "topology.h"

/*
 * The longest that anybody may wait: much longer than any figure of the policy, for an
 * emulated processor stands still now and then; much less than the 30 s after which the
 * kernel's watchdog throws a scheduler out.
 */
#define PATIENCE 10.0

/* --- What the kernel says meanwhile --- */

static int kernel_log = -1;

static void listen_to_kernel(void)
{
	kernel_log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kernel_log < 0 || lseek(kernel_log, 0, SEEK_END) < 0)
		tap_bail("/dev/kmsg can be read");
}

static bool is_alarming(const char *line)
{
	static const char *const words[] = {
		"WARNING", "BUG", "Oops", "stall", "lockup", "Call Trace", "runtime error", "blocked for more",
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (strstr(line, words[i]))
			return true;
	return false;
}

/* How many alarming lines there are since the last call. */
static int alarming_lines(void)
{
	char line[2048];
	ssize_t n;
	int found = 0;

	/* EPIPE: some lines were overwritten before they were read; the next ones follow. */
	while ((n = read(kernel_log, line, sizeof(line) - 1)) > 0 || (n < 0 && errno == EPIPE)) {
		line[n > 0 ? n : 0] = 0;
		if (is_alarming(line)) {
			found++;
			diag("  kernel: %.120s", strchr(line, ';') ?: line);
		}
	}
	return found;
}

/* --- The scheduler --- */

static struct loader start_scheduler(void)
{
	struct loader loader = loader_start(SCX_HINT, "--stats");

	/* The kernel counts it later than it says that it is enabled. */
	if (!eventually(loader_said(&loader, "scheduling;") || loader_has_ended(&loader)) || !hint_schedules()) {
		loader_show(&loader);
		tap_bail("it schedules the machine");
	}
	return loader;
}

static void still_schedules(struct loader *loader, long seq)
{
	if (!ok(!loader_has_ended(loader) && hint_schedules(), "it is still the scheduler"))
		loader_show(loader);
	is(scx_enable_seq(), seq, "and has been all the time");
	is(alarming_lines(), 0, "the kernel says nothing alarming");
}

/* Of the scheduler that runs: its map has the highest id of that name. */
static int stats_map(void)
{
	struct bpf_map_info info;
	__u32 id = 0, size;
	int found = -1;

	while (!bpf_map_get_next_id(id, &id)) {
		int fd = bpf_map_get_fd_by_id(id);

		size = sizeof(info);
		memset(&info, 0, sizeof(info));
		if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &size) && !strcmp(info.name, "stats")) {
			close(found);
			found = fd;
		} else {
			close(fd);
		}
	}
	return found;
}

static __u64 counted(int map_fd, __u32 stat)
{
	__u64 values[CPUS_MAX] = { 0 }, sum = 0;

	if (!bpf_map_lookup_elem(map_fd, &stat, values))
		for (int cpu = 0; cpu < processors(); cpu++)
			sum += values[cpu];
	return sum;
}

/* --- Everything at once --- */

static void judge_hearts(void)
{
	for (int i = 0; i < HEARTS; i++) {
		struct heart *heart = &shared->heart[i];
		double silent = seconds_now() - heart->last;

		diag("  %s: %llu beats, at least every %.2f s", hearts[i].name, (unsigned long long)heart->beats,
		     heart->worst);
		ok(heart->beats > 10 && heart->worst < PATIENCE && silent < PATIENCE,
		   "a thread that is %s was never forgotten", hearts[i].name);
	}
}

/* What is to be done how often, at least. */
#define DONE(what, least, sentence) { offsetof(struct shared, what), least, sentence }
static const struct {
	size_t at;
	uint64_t least;
	const char *sentence;
} wanted[] = {
	DONE(threads, AT_ONCE + 100, "threads started and ended"),
	DONE(hints, 1000, "hints changed"),
	DONE(pages, 100, "pages of garbage were published"),
	DONE(offline, 4, "processors went away and came back"),
	DONE(killed, 4, "hinting programs were killed"),
	DONE(forked, 4, "hinting programs forked"),
	DONE(executed, 4, "hinting programs executed another"),
	DONE(pinned, 100, "threads were moved"),
	DONE(policies, 100, "policies changed"),
	DONE(yields, 1000, "yields"),
};
#define WANTED (sizeof(wanted) / sizeof(*wanted))

static uint64_t was_done(size_t i)
{
	return __atomic_load_n((uint64_t *)((char *)shared + wanted[i].at), __ATOMIC_RELAXED);
}

static bool all_was_done(void)
{
	for (size_t i = 0; i < WANTED; i++)
		if (was_done(i) < wanted[i].least)
			return false;
	return true;
}

static void judge_load(void)
{
	for (size_t i = 0; i < WANTED; i++)
		ok(was_done(i) >= wanted[i].least, "%llu %s", (unsigned long long)was_done(i), wanted[i].sentence);
}

static void end_processes(pid_t *pids, int count)
{
	shared->ended = true;
	pause_us(500000);
	for (int i = 0; i < count; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	for (int cpu = 1; cpu < processors(); cpu++)
		set_online(cpu, true);
	shared->ended = false;
}

/* Beside those whose hints change. As long as it takes: a thread costs milliseconds here. */
static void start_and_end_threads(void)
{
	pid_t pids[] = { start_process(beat_all), start_process(change_all_hints), start_process(start_and_end) };
	double from = seconds_now();

	while (shared->threads < AT_ONCE && seconds_now() < from + 6 * PATIENCE)
		pause_us(10000);
	diag("  %llu threads in %.1f s", (unsigned long long)shared->threads, seconds_now() - from);
	ok(shared->threads >= AT_ONCE, "%d threads start and end", AT_ONCE);
	end_processes(pids, sizeof(pids) / sizeof(*pids));
}

static void everything_at_once(unsigned int seconds)
{
	static void (*const loads[])(void) = {
		beat_all, start_and_end, change_all_hints, be_all_hostile, come_and_go, kill_fork_execute,
		move_all, yield_all,
	};
	enum { LOADS = sizeof(loads) / sizeof(*loads) };
	struct loader loader = start_scheduler();
	long seq = scx_enable_seq();
	pid_t pids[LOADS];
	double from;

	tap_subject = "everything at once: ";
	start_and_end_threads();
	for (int i = 0; i < LOADS; i++)
		pids[i] = start_process(loads[i]);
	/* On a busy host longer, until there was enough of each. */
	for (from = seconds_now(); seconds_now() < from + seconds ||
	     (!all_was_done() && seconds_now() < from + 6 * PATIENCE); )
		pause_us(100000);
	judge_hearts();
	judge_load();
	still_schedules(&loader, seq);
	end_processes(pids, LOADS);
	still_schedules(&loader, seq);
	is(loader_end(&loader, SIGINT), 0, "it ends when it is told to");
	loader_forget(&loader);
	tap_subject = "";
}

/* --- Processors go, and tasks are queued there --- */

#define BURNERS 24

static uint64_t burnt[BURNERS];

static void *burn(void *number)
{
	struct fuzz fuzz = numbers((uintptr_t)number);
	cpu_set_t cpus;

	/* Some may run only where no processor will be. */
	if ((uintptr_t)number % 4 == 0) {
		CPU_ZERO(&cpus);
		for (int cpu = processors() / 2; cpu < processors(); cpu++)
			CPU_SET(cpu, &cpus);
		sched_setaffinity(0, sizeof(cpus), &cpus);
	}
	give(sched_hint((uintptr_t)number / 4 % 3, 0, 0));
	while (!shared->ended) {
		compute(1000 + fuzz_below(&fuzz, 100));
		did(&burnt[(uintptr_t)number]);
	}
	return NULL;
}

/* The first that has not gone on, or -1. */
static int who_waits(const uint64_t *since)
{
	for (int i = 0; i < BURNERS; i++)
		if (__atomic_load_n(&burnt[i], __ATOMIC_RELAXED) <= since[i])
			return i;
	return -1;
}

/* Every one makes progress from now on. */
static void all_go_on(const char *when)
{
	uint64_t since[BURNERS];
	double from = seconds_now();
	int waits, last = 0;

	memcpy(since, burnt, sizeof(since));
	while ((waits = who_waits(since)) >= 0 && seconds_now() < from + PATIENCE) {
		last = waits;
		pause_us(10000);
	}
	diag("  all run within %.2f s, thread %d last", seconds_now() - from, last);
	is(waits, -1, "every thread goes on %s", when);
}

static void set_half_online(bool online)
{
	double from = seconds_now();
	bool done = true;

	for (int cpu = processors() / 2; cpu < processors(); cpu++)
		done = set_online(cpu, online) && done;
	/* A processor that goes waits for RCU, and that for a thread that the scheduler may forget. */
	ok(done && seconds_now() < from + PATIENCE, "half of the processors %s, in %.2f s",
	   online ? "come back" : "go away", seconds_now() - from);
}

static void lose_processors(void)
{
	struct loader loader = start_scheduler();
	long seq = scx_enable_seq();
	pthread_t threads[BURNERS];

	tap_subject = "half of the processors: ";
	tld_follow(SCHED_HINT_PIN);
	for (uintptr_t i = 0; i < BURNERS; i++)
		threads[i] = start_thread(burn, (void *)i);
	all_go_on("beside the others");
	for (int i = 0; i < 3; i++) {
		set_half_online(false);
		all_go_on("on the other half");
		set_half_online(true);
		all_go_on("on all of them");
	}
	still_schedules(&loader, seq);
	shared->ended = true;
	for (int i = 0; i < BURNERS; i++)
		end_thread(threads[i]);
	shared->ended = false;
	is(loader_end(&loader, SIGINT), 0, "it ends when it is told to");
	loader_forget(&loader);
	tap_subject = "";
}

/* --- Processors that have nothing to do, while others have too much --- */

static volatile bool ran_in_other_half;

/* Of all threads of this process, in seconds; a processor that stands still counts as running. */
static double processor_time(void)
{
	struct timespec time;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void confine(pid_t tid, int below)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	for (int cpu = 0; cpu < below; cpu++)
		CPU_SET(cpu, &cpus);
	sched_setaffinity(tid, sizeof(cpus), &cpus);
}

/* It never sleeps, so nothing but the scheduler's own balance moves it. */
static void *stay(void *tid)
{
	confine(0, processors() / 2);
	*(volatile pid_t *)tid = gettid();
	while (!shared->ended) {
		compute(1000);
		if (sched_getcpu() >= processors() / 2)
			ran_in_other_half = true;
	}
	return NULL;
}

static void share_work(void)
{
	enum { BUSY = 4 };
	struct loader loader = start_scheduler();
	pthread_t threads[BUSY];
	volatile pid_t tids[BUSY] = { 0 };
	double from, ran;

	tap_subject = "half of the processors have nothing to do: ";
	for (int i = 0; i < BUSY; i++)
		threads[i] = start_thread(stay, (void *)&tids[i]);
	for (int i = 0; i < BUSY; i++)
		eventually(tids[i]);
	pause_us(500000);
	ok(!ran_in_other_half, "threads stay where they must");
	for (int i = 0; i < BUSY; i++)
		confine(tids[i], processors());
	ok(eventually(ran_in_other_half), "and run there, when they may");
	from = seconds_now();
	ran = -processor_time();
	pause_us(1000000);
	ran = (ran + processor_time()) / (seconds_now() - from);
	diag("they have %.2f processors", ran);
	ok(ran > 3, "and have all four processors");
	shared->ended = true;
	for (int i = 0; i < BUSY; i++)
		end_thread(threads[i]);
	shared->ended = false;
	is(loader_end(&loader, SIGINT), 0, "it ends when it is told to");
	loader_forget(&loader);
	tap_subject = "";
}

/* --- Started again and again under load --- */

/* Return: how long hints took to be in effect, in seconds. */
static double restart(int signal)
{
	struct loader loader = start_scheduler();
	double from = seconds_now(), took;
	int map_fd = stats_map();

	while (!counted(map_fd, STAT_INTERACTIVE) && seconds_now() < from + PATIENCE)
		pause_us(10000);
	took = seconds_now() - from;
	close(map_fd);
	loader_end(&loader, signal);
	loader_forget(&loader);
	if (!eventually(scx_is("state", "disabled")))
		took = PATIENCE;
	return took;
}

static void restart_often(int times)
{
	pid_t pids[] = { start_process(beat_all), start_process(change_all_hints), start_process(yield_all) };
	double worst = 0, from = seconds_now(), took;

	tap_subject = "started again: ";
	for (int i = 0; i < times; i++) {
		took = restart(i % 2 ? SIGKILL : SIGINT);
		worst = took > worst ? took : worst;
	}
	diag("  hints are in effect %.3f s after the scheduler, at the latest; a restart takes %.1f s", worst,
	     (seconds_now() - from) / times);
	ok(worst < 1, "hints are in effect within a second, %d times", times);
	is(alarming_lines(), 0, "the kernel says nothing alarming");
	end_processes(pids, sizeof(pids) / sizeof(*pids));
	tap_subject = "";
}

int main(int argc, char **argv)
{
	struct topology topology;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		tap_bail("memory");
	if (argc > 1 && !strcmp(argv[1], HINTING)) {
		tld_follow(SCHED_HINT_PIN);
		hint_and_compute();
		return 0;
	}
	if (argc < 4 || atoi(argv[3]) < 1)
		tap_bail("it is called with three numbers");
	shared->seed = fuzz_seed();
	topology_read(&topology);
	is(topology.domains, atoi(argv[2]), "sets of processors that share a cache");
	listen_to_kernel();
	share_work();
	lose_processors();
	everything_at_once(atoi(argv[1]));
	restart_often(atoi(argv[3]));
	return tap_done();
}
