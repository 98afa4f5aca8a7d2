// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * threads.c - 10,000 threads that all have a TLD: the memory that it takes, and the time
 * to attach and to detach them all, beside the three system calls a thread that the kernel
 * wants for it.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "calls.h"
#include "tld.h"

#define THREADS 10000
#define STACK (32 * 1024)
#define TURNS 3

static tld_key_t key;
static pid_t tids[THREADS];
static pthread_barrier_t all_there, may_use, all_used;

/* As deep as the library goes: the pages of the stack are no memory of its. */
__attribute__((noinline))
static void touch_stack(void)
{
	char room[8 * 1024];

	memset(room, 0, sizeof(room));
	__asm__ volatile("" :: "r"(room) : "memory");
}

static void *live(void *tid)
{
	uint64_t *data;

	*(pid_t *)tid = gettid();
	touch_stack();
	pthread_barrier_wait(&all_there);
	pthread_barrier_wait(&may_use);
	data = tld_get(key);
	if (!data)
		die("a thread gets data");
	*data = 1;
	pthread_barrier_wait(&all_used);
	pause(); /* to the end of the process */
	return NULL;
}

/* Stacks of our own, in one mapping: thousands of them are more than many systems allow. */
static void start_threads(void)
{
	char *stacks = mmap(NULL, (size_t)THREADS * STACK, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	pthread_attr_t attr;
	pthread_t thread;

	if (stacks == MAP_FAILED || madvise(stacks, (size_t)THREADS * STACK, MADV_NOHUGEPAGE))
		die("stacks can be mapped");
	pthread_attr_init(&attr);
	for (int i = 0; i < THREADS; i++) {
		pthread_attr_setstack(&attr, stacks + (size_t)i * STACK, STACK);
		errno = pthread_create(&thread, &attr, live, &tids[i]);
		if (errno)
			die("thread %d starts", i);
	}
}

/* What only this process has, in bytes. */
static double own_memory(void)
{
	FILE *file = fopen("/proc/self/smaps_rollup", "re");
	char line[256];
	long kib, sum = 0;

	if (!file)
		die("/proc/self/smaps_rollup can be read");
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "Private_Clean: %ld", &kib) == 1 ||
		    sscanf(line, "Private_Dirty: %ld", &kib) == 1)
			sum += kib;
	fclose(file);
	return sum * 1024.0;
}

/* The threads, with what their first use adds to the process. */
static double memory_per_thread(void)
{
	double before;

	pthread_barrier_init(&all_there, NULL, THREADS + 1);
	pthread_barrier_init(&may_use, NULL, THREADS + 1);
	pthread_barrier_init(&all_used, NULL, THREADS + 1);
	start_threads();
	pthread_barrier_wait(&all_there);
	before = own_memory();
	pthread_barrier_wait(&may_use);
	pthread_barrier_wait(&all_used);
	return (own_memory() - before) / THREADS;
}

/* --- Attaching and detaching --------------------------------------------------------------- */

static int map_fd, bare_map_fd;
static void *bare_page;

/* pidfd_open, update or delete, close for each: what the kernel asks for. */
static void bare_all(bool attach)
{
	uint64_t value[V2_SIZE / 8] = { (uintptr_t)bare_page, (uintptr_t)bare_page, 8 };

	for (int i = 0; i < THREADS; i++)
		if (attach ? element_write(bare_map_fd, tids[i], value)
			   : element_delete(bare_map_fd, tids[i]))
			die("the kernel takes an element of every thread");
}

static void tld_all(bool attach)
{
	if (attach ? tld_attach(map_fd) : tld_detach(map_fd))
		die("all threads can be attached and detached");
}

static uint64_t timed(void (*what)(bool), bool attach)
{
	uint64_t start = now_ns();

	what(attach);
	return now_ns() - start;
}

/* Attached at first. */
static void measure_times(void)
{
	uint64_t best[4] = { UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX };
	static const char *const names[] = {
		"bare_attach", "tld_detach", "bare_detach", "tld_attach"
	};

	for (int turn = 0; turn < TURNS; turn++) {
		for (int i = 0; i < 4; i++) {
			uint64_t ns = timed(i % 2 ? tld_all : bare_all, i == 0 || i == 3);

			best[i] = ns < best[i] ? ns : best[i];
		}
	}
	for (int i = 0; i < 4; i++)
		figure(names[i], best[i] / 1e6, "ms");
}

static void count_system_calls(void)
{
	calls_open();
	calls_begin();
	tld_all(false);
	figure("tld_detach_calls", (double)calls_end() / THREADS, "system calls a thread");
	calls_begin();
	tld_all(true);
	figure("tld_attach_calls", (double)calls_end() / THREADS, "system calls a thread");
	calls_close();
}

static void measure_attaching(void)
{
	bare_map_fd = data_map_v2();
	bare_page = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (bare_page == MAP_FAILED)
		die("a page can be mapped");
	measure_times();
	count_system_calls();
}

/* --- Ways to begin ---------------------------------------------------------------------------- */

struct beginning {
	const char *name;
	bool map_known;		/* before any thread has data */
	size_t budget;		/* TLD_DYN_DATA_SIZE */
	bool attaching;
};

static void run(const struct beginning *beginning)
{
	key = tld_create_key_opt("hint", sizeof(uint64_t), beginning->budget, 0);
	map_fd = data_map_v2();
	if (beginning->map_known && tld_attach(map_fd))
		die("a map is attached");
	if (!tld_get(key))
		die("the main thread gets data");
	figure(beginning->name, memory_per_thread(), "bytes");
	if (beginning->attaching)
		measure_attaching();
	fflush(stdout);
	_exit(0); /* the threads wait still */
}

int main(void)
{
	static const struct beginning beginnings[] = {
		{ "memory", true, TLD_DYN_DATA_SIZE, true },
		{ "memory_smallest", true, sizeof(uint64_t), false },
		{ "memory_no_map", false, TLD_DYN_DATA_SIZE, false },
	};
	int status;

	for (int i = 0; i < 3; i++) {
		pid_t child = fork();

		if (child < 0)
			die("fork");
		if (!child) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			run(&beginnings[i]);
		}
		if (waitpid(child, &status, 0) < 0 || status)
			return 1; /* it has said why */
	}
	return 0;
}
