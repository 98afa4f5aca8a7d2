// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * first.c - what is done once: making a key, once a process; and a thread's first use,
 * with the system calls that it takes. libtld and the kernel's header take turns.
 */
#include <pthread.h>
#include <sys/wait.h>

#include "calls.h"
#include "peer.h"

#define TLD_DYN_DATA_SIZE BENCH_DYN_DATA_SIZE
#include "tld.h"

#define PROCESSES 60
#define THREADS 250
#define STACK (64 * 1024)

struct side {
	const char *name;
	int (*create_key)(const char *name);
	void *(*get_data)(int map_fd, int key);
	int map_fd;
	int key;
};

static int our_create_key(const char *name)
{
	return tld_create_key(name, sizeof(uint64_t)).off;
}

static void *our_get_data(int map_fd, int key)
{
	return tld_get_data(map_fd, (tld_key_t){ key });
}

static struct side sides[] = {
	{ .name = "tld", .create_key = our_create_key, .get_data = our_get_data },
	{ .name = "kernel", .create_key = peer_create_key, .get_data = peer_get_data },
};
static int sides_here = 2;

/* --- Keys: 0, 30 and 62 exist ------------------------------------------------------------ */

static const int keys_before[] = { 0, 30, 62 };

static void create_all(const struct side *side, uint64_t *took)
{
	char name[16];

	for (int i = 0, next = 0; i < BENCH_KEYS; i++) {
		uint64_t start;
		int key;

		snprintf(name, sizeof(name), "hint.%d", i);
		start = now_ns();
		key = side->create_key(name);
		if (key < 0)
			die("%s: key %d can be made: %d", side->name, i, key);
		if (i == keys_before[next])
			took[next++] = now_ns() - start;
	}
}

/* In a child: the first key is the first in its process. */
static void create_in_child(const struct side *side, uint64_t *took)
{
	int ends[2], status;
	pid_t child;

	if (pipe(ends))
		die("pipe");
	fflush(stdout);
	child = fork();
	if (child < 0)
		die("fork");
	if (!child) {
		create_all(side, took);
		_exit(write(ends[1], took, 3 * sizeof(*took)) != 3 * sizeof(*took));
	}
	close(ends[1]);
	if (read(ends[0], took, 3 * sizeof(*took)) != 3 * sizeof(*took) ||
	    waitpid(child, &status, 0) < 0 || status)
		die("%s: a child makes keys", side->name);
	close(ends[0]);
}

static void measure_keys(void)
{
	static double samples[2][3][PROCESSES];
	uint64_t took[3];
	char name[32];

	for (int i = 0; i < PROCESSES * sides_here; i++) {
		int side = i % sides_here;

		create_in_child(&sides[side], took);
		for (int n = 0; n < 3; n++)
			samples[side][n][i / sides_here] = took[n];
	}
	for (int side = 0; side < sides_here; side++) {
		for (int n = 0; n < 3; n++) {
			snprintf(name, sizeof(name), "%s_create_%d", sides[side].name,
				 keys_before[n]);
			median_figure(name, samples[side][n], PROCESSES);
		}
	}
}

/* --- Threads ------------------------------------------------------------------------------ */

static bool count_calls, stay;
static pthread_barrier_t used, all_may_end;

struct visit {
	const struct side *side;
	uint64_t result;	/* nanoseconds, or system calls */
};

static void *use_first(void *arg)
{
	struct visit *visit = arg;
	const struct side *side = visit->side;
	uint64_t start;
	void *data;

	/* Nearly every thread has: the kernel's header pays for no first malloc(). */
	free(malloc(100));
	if (count_calls)
		calls_begin();
	start = now_ns();
	data = side->get_data(side->map_fd, side->key);
	visit->result = now_ns() - start;
	if (count_calls)
		visit->result = calls_end();
	if (!data)
		die("%s: a thread gets data", side->name);
	if (stay) {
		pthread_barrier_wait(&used);
		pthread_barrier_wait(&all_may_end);
	}
	return NULL;
}

static pthread_t start_user(struct visit *visit)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	errno = pthread_create(&thread, &attr, use_first, visit);
	if (errno)
		die("a thread starts");
	return thread;
}

/* Threads of both sides alternately, one at a time; they stay until all have come, or not. */
static void visit_all(struct visit *visits, int count)
{
	static pthread_t threads[2 * THREADS];

	pthread_barrier_init(&used, NULL, 2);
	pthread_barrier_init(&all_may_end, NULL, count + 1);
	for (int i = 0; i < count; i++) {
		visits[i].side = &sides[i % sides_here];
		threads[i] = start_user(&visits[i]);
		if (stay)
			pthread_barrier_wait(&used);
		else
			pthread_join(threads[i], NULL);
	}
	if (stay) {
		pthread_barrier_wait(&all_may_end);
		for (int i = 0; i < count; i++)
			pthread_join(threads[i], NULL);
	}
}

static void measure_threads(const char *what)
{
	static struct visit visits[2 * THREADS];
	double samples[THREADS];
	char name[32];

	visit_all(visits, sides_here * THREADS);
	for (int side = 0; side < sides_here; side++) {
		for (int i = 0; i < THREADS; i++)
			samples[i] = visits[i * sides_here + side].result;
		snprintf(name, sizeof(name), "%s_first_%s", sides[side].name, what);
		median_figure(name, samples, THREADS);
	}
}

/* The most that any of ten threads needed. */
static void count_system_calls(void)
{
	static struct visit visits[20];
	char name[32];

	calls_open();
	count_calls = true;
	visit_all(visits, 10 * sides_here);
	count_calls = false;
	calls_close();
	for (int side = 0; side < sides_here; side++) {
		uint64_t most = 0;

		for (int i = side; i < 10 * sides_here; i += sides_here)
			most = visits[i].result > most ? visits[i].result : most;
		snprintf(name, sizeof(name), "%s_first_calls", sides[side].name);
		figure(name, most, "system calls");
	}
}

/* The main thread comes first: what the process does once is not a thread's first use. */
static void prepare(struct side *side)
{
	side->map_fd = data_map_v2();
	side->key = side->create_key("hint");
	if (side->key < 0 || !side->get_data(side->map_fd, side->key))
		die("%s: the main thread gets data", side->name);
}

int main(void)
{
	static const char *const kernels[] = { "kernel_create_0", "kernel_create_30",
		"kernel_create_62", "kernel_first_staying", "kernel_first_passing",
		"kernel_first_calls" };

	if (peer_missing) {
		sides_here = 1;
		for (size_t i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++)
			no_figure(kernels[i], peer_missing);
	}
	measure_keys();
	for (int side = 0; side < sides_here; side++)
		prepare(&sides[side]);
	stay = true;
	measure_threads("staying");
	count_system_calls();
	stay = false;
	measure_threads("passing");
	return 0;
}
