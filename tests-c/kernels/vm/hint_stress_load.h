/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * hint_stress_load.h - what hint_stress does to the scheduler, each kind in a process of its
 * own. They share one page: what was done, and when to end.
 */
#ifndef TESTS_C_VM_HINT_STRESS_LOAD_H
#define TESTS_C_VM_HINT_STRESS_LOAD_H

#include <bpf/bpf.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "sched_hint.h"
#include "tld.h"
#include "hostile_fill.h"
#include "process.h"
#include "threads.h"

#define AT_ONCE 2000		/* threads that are there at the same time */
#define HEARTS 7
#define CPUS_TRIED 64

/* Who makes the load: else it is the one that waits. */
#define URGENT sched_hint(SCHED_HINT_INTERACTIVE, 0, 0)

static struct shared {
	volatile bool ended;
	uint64_t seed;
	/* How often each was done. */
	uint64_t threads, hints, pages, offline, killed, forked, executed, pinned, policies, yields;
	struct heart {
		double last, worst;	/* beat, and pause between two, in seconds */
		uint64_t beats;
	} heart[HEARTS];
} *shared;

static void did(uint64_t *what)
{
	__atomic_add_fetch(what, 1, __ATOMIC_RELAXED);
}

TLD_DEFINE_KEY(hint_key, SCHED_HINT_NAME, sizeof(uint64_t));

static void give(uint64_t hint)
{
	uint64_t *mine = tld_get(hint_key);

	if (mine)
		__atomic_store_n(mine, hint, __ATOMIC_RELAXED);
}

static void pause_us(unsigned int us)
{
	const struct timespec time = { us / 1000000, us % 1000000 * 1000L };

	nanosleep(&time, NULL);
}

static void compute(unsigned int rounds)
{
	for (volatile unsigned int i = 0; i < rounds; i++)
		;
}

static struct fuzz numbers(uint64_t number)
{
	return fuzz_sequence(shared->seed, number + ((uint64_t)gettid() << 8));
}

/* One that is well formed, or any number. */
static uint64_t some_hint(struct fuzz *fuzz)
{
	return fuzz_one_in(fuzz, 4) ? fuzz_next(fuzz) :
	       sched_hint(fuzz_below(fuzz, 3), fuzz_below(fuzz, 101), fuzz_below(fuzz, 50000000));
}

/* A process of its own, which ends with this one. */
static pid_t start_process(void (*body)(void))
{
	pid_t pid = fork();

	if (pid < 0)
		tap_bail("a process can be started");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (tld_follow(SCHED_HINT_PIN))
		_exit(5);
	body();
	_exit(0);
}

/* --- Hearts: threads of every class that only want to run now and then --- */

static const struct {
	const char *name;
	uint64_t hint;
	int policy, nice;
} hearts[HEARTS] = {
	{ "without a hint", 0, SCHED_OTHER, 0 },
	{ "interactive", 1ULL << 60 | 1ULL << 48, SCHED_OTHER, 0 },
	{ "normal", 1ULL << 60, SCHED_OTHER, 0 },
	{ "background", 1ULL << 60 | 2ULL << 48, SCHED_OTHER, 0 },
	{ "background, nice 19, weight 1", 1ULL << 60 | 2ULL << 48 | 1ULL << 32, SCHED_OTHER, 19 },
	{ "SCHED_BATCH", 0, SCHED_BATCH, 0 },
	{ "SCHED_IDLE", 0, SCHED_IDLE, 0 },
};

static void *beat(void *number)
{
	struct heart *heart = &shared->heart[(uintptr_t)number];
	double now;

	sched_setscheduler(0, hearts[(uintptr_t)number].policy, &(struct sched_param){ 0 });
	setpriority(PRIO_PROCESS, 0, hearts[(uintptr_t)number].nice);
	give(hearts[(uintptr_t)number].hint);
	for (heart->last = seconds_now(); ; heart->last = now) {
		pause_us(10000);
		compute(1000);
		now = seconds_now();
		if (now - heart->last > heart->worst)
			heart->worst = now - heart->last;
		did(&heart->beats);
	}
	return NULL;
}

static void beat_all(void)
{
	for (uintptr_t i = 1; i < HEARTS; i++)
		start_thread(beat, (void *)i);
	beat(NULL);
}

/* --- Threads that start and end, 2,000 at a time --- */

static void *short_life(void *number)
{
	struct fuzz fuzz = numbers((uintptr_t)number);

	for (int i = 0; i < 3; i++) {
		give(some_hint(&fuzz));
		compute(500);
		pause_us(fuzz_below(&fuzz, 2000));
	}
	did(&shared->threads);
	return NULL;
}

static void start_and_end(void)
{
	static pthread_t threads[AT_ONCE];
	pthread_attr_t attr;
	int started;

	give(URGENT);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 10);
	while (!shared->ended) {
		for (started = 0; started < AT_ONCE; started++)
			if (pthread_create(&threads[started], &attr, short_life, (void *)(uintptr_t)started))
				break;
		while (started--)
			end_thread(threads[started]);
	}
}

/* --- Hints that change at full speed, while their threads compute --- */

static void *change_hints(void *number)
{
	struct fuzz fuzz = numbers((uintptr_t)number);

	while (!shared->ended) {
		give(some_hint(&fuzz));
		compute(fuzz_below(&fuzz, 100));
		did(&shared->hints);
	}
	return NULL;
}

static void change_all_hints(void)
{
	for (uintptr_t i = 1; i < 3; i++)
		start_thread(change_hints, (void *)i);
	change_hints(NULL);
}

/* --- Garbage in both pages, published by hand --- */

static const char *const hint_names[] = { SCHED_HINT_NAME };
static const uint32_t hint_sizes[] = { sizeof(uint64_t) };
static const struct fill_names fill_names = { hint_names, hint_sizes, 1 };

struct published {
	uint64_t data, meta;
	uint16_t start;
	uint8_t rest[1024];	/* as much of it as the map's value has */
};

static void publish_garbage(struct fuzz *fuzz, int map_fd, int pidfd, uint8_t *data, uint8_t *meta)
{
	struct published value = { (uintptr_t)data, (uintptr_t)meta, fill_start(fuzz), { 0 } };

	fill_page(fuzz, meta, &fill_names, value.start);
	fuzz_bytes(fuzz, data, FILL_PAGE);
	fuzz_bytes(fuzz, value.rest, sizeof(value.rest));
	if (fuzz_one_in(fuzz, 50))
		value.data = 0;
	if (!bpf_map_update_elem(map_fd, &pidfd, &value, BPF_ANY))
		did(&shared->pages);
	for (int i = 0; i < 500; i++) {
		fill_poke(fuzz, meta, &fill_names);
		fuzz_bytes(fuzz, data, 64);
	}
	pause_us(fuzz_below(fuzz, 3) * 100);
}

static void *be_hostile(void *number)
{
	struct fuzz fuzz = numbers((uintptr_t)number);
	int map_fd = bpf_obj_get(SCHED_HINT_PIN);
	int pidfd = syscall(SYS_pidfd_open, gettid(), PIDFD_THREAD);
	uint8_t *pages = mmap(NULL, 2 * FILL_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	while (!shared->ended)
		publish_garbage(&fuzz, map_fd, pidfd, pages, pages + FILL_PAGE);
	return NULL;
}

static void be_all_hostile(void)
{
	start_thread(be_hostile, (void *)1);
	be_hostile(NULL);
}

/* --- Processors that come and go --- */

static bool set_online(int cpu, bool online)
{
	char path[64];
	bool done;
	int fd;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	done = fd >= 0 && write(fd, online ? "1" : "0", 1) == 1;
	if (fd >= 0)
		close(fd);
	return done;
}

static int processors(void)
{
	return sysconf(_SC_NPROCESSORS_CONF);
}

/* One, or all but those of the first half. */
static void come_and_go(void)
{
	struct fuzz fuzz = numbers(0);

	while (!shared->ended) {
		int from = processors() / 2, to = processors();

		if (fuzz_one_in(&fuzz, 2)) {
			from = 1 + fuzz_below(&fuzz, processors() - 1);
			to = from + 1;
		}
		for (int cpu = from; cpu < to; cpu++)
			if (set_online(cpu, false))
				did(&shared->offline);
		pause_us(fuzz_below(&fuzz, 200000));
		for (int cpu = from; cpu < to; cpu++)
			set_online(cpu, true);
		pause_us(fuzz_below(&fuzz, 200000));
	}
}

/* --- Programs that are killed, fork, and execute another --- */

#define HINTING "--hinting"

static void hint_and_compute(void)
{
	struct fuzz fuzz = numbers(0);

	for (int i = 0; i < 20; i++) {
		give(some_hint(&fuzz));
		compute(2000);
	}
}

static void *hint_for_ever(void *unused)
{
	for (;;)
		hint_and_compute();
	return unused;
}

static void be_killed(void)
{
	start_thread(hint_for_ever, NULL);
	hint_for_ever(NULL);
}

static void fork_and_hint(void)
{
	pid_t pid;

	hint_and_compute();
	pid = fork();
	hint_and_compute();
	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
	did(&shared->forked);
}

static void execute_and_hint(void)
{
	hint_and_compute();
	execl("/proc/self/exe", "hint_stress", HINTING, NULL);
	_exit(1);
}

static void kill_fork_execute(void)
{
	struct fuzz fuzz = numbers(0);
	int status;

	give(URGENT);
	while (!shared->ended) {
		pid_t killed = start_process(be_killed), forks = start_process(fork_and_hint);
		pid_t executes = start_process(execute_and_hint);

		pause_us(fuzz_below(&fuzz, 100000));
		kill(killed, SIGKILL);
		if (waitpid(killed, &status, 0) == killed && WIFSIGNALED(status))
			did(&shared->killed);
		waitpid(forks, NULL, 0);
		if (waitpid(executes, &status, 0) == executes && !status)
			did(&shared->executed);
	}
}

/* --- Threads that are moved, and change their policies, whatever they do --- */

#define MOVED 6

static pid_t moved[MOVED];

static void *be_moved(void *number)
{
	struct fuzz fuzz = numbers((uintptr_t)number);

	moved[(uintptr_t)number] = gettid();
	while (!shared->ended) {
		give(some_hint(&fuzz));
		compute(fuzz_below(&fuzz, 20000));
		if (fuzz_one_in(&fuzz, 4))
			pause_us(fuzz_below(&fuzz, 1000));
	}
	return NULL;
}

static void move(struct fuzz *fuzz, pid_t tid)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	for (int i = fuzz_one_in(fuzz, 2) ? 1 : CPUS_TRIED; i--; )
		CPU_SET(fuzz_below(fuzz, processors()), &cpus);
	/* Only processors that are gone: the kernel says no. */
	if (!sched_setaffinity(tid, sizeof(cpus), &cpus))
		did(&shared->pinned);
}

/* The real-time ones for a moment only: they come before every other. */
static void change_policy(struct fuzz *fuzz, pid_t tid)
{
	static const int policies[] = { SCHED_OTHER, SCHED_BATCH, SCHED_IDLE, SCHED_FIFO, SCHED_RR };
	int policy = fuzz_pick(fuzz, policies);
	bool real_time = policy == SCHED_FIFO || policy == SCHED_RR;

	setpriority(PRIO_PROCESS, tid, (int)fuzz_below(fuzz, 40) - 20);
	if (!sched_setscheduler(tid, policy, &(struct sched_param){ .sched_priority = real_time }))
		did(&shared->policies);
	if (real_time) {
		pause_us(2000);
		sched_setscheduler(tid, SCHED_OTHER, &(struct sched_param){ 0 });
	}
}

/* Before those that it makes real-time ones, so that it can end that. */
static void move_all(void)
{
	struct fuzz fuzz = numbers(0);

	for (uintptr_t i = 0; i < MOVED; i++)
		start_thread(be_moved, (void *)i);
	sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){ .sched_priority = 2 });
	while (!shared->ended) {
		pid_t tid = moved[fuzz_below(&fuzz, MOVED)];

		if (tid && fuzz_one_in(&fuzz, 2))
			move(&fuzz, tid);
		else if (tid)
			change_policy(&fuzz, tid);
		pause_us(fuzz_below(&fuzz, 3000));
	}
}

/* --- Threads that yield all the time --- */

static void *yield_often(void *number)
{
	struct fuzz fuzz = numbers((uintptr_t)number);

	give(some_hint(&fuzz));
	while (!shared->ended) {
		sched_yield();
		did(&shared->yields);
	}
	return NULL;
}

static void yield_all(void)
{
	start_thread(yield_often, (void *)1);
	yield_often(NULL);
}

#endif
