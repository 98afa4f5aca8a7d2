// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * kinds.c - threads whose TLD says what they work at, and that know by their own clocks how
 * long they did.
 *
 *	kinds [-s VALUE-SIZE]... [-o PIN] [-p PIN]... [-t THREADS] [-w BYTES] [-n NAME]
 *
 * -s makes a data map with that value size, which -o pins; -p takes a pinned one. The TLD NAME
 * (kind) has BYTES (4). Prints "ready". Commands on standard input:
 *
 *	run MS		each thread works at kinds 1, 2 and 3 in turn, for 2, 4 and 8 ms, and
 *			sleeps in between; then "KIND NANOSECONDS" each, and "done"
 *	spin MS		each thread works at kinds 1 and 2 in turn for 30 ms, and never sleeps
 *	chat TIMES [US]	each thread sleeps for an instant (50 us) so many times
 *	flood TIMES [US] each thread but the first stores a value that nobody had before each of
 *			so many instants; the first works at kind 1 until they are done; then
 *			as "run"
 *	drop MS		makes data maps, each of which is gone in a moment
 *	exec		becomes this program with -x, which shares nothing
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <time.h>
#include <tld.h>

#include "maps.h"

#define KINDS 4
#define MS 1000000ULL

static int maps[8], map_count, threads = 2, bytes = 4;
static const char *name = "kind";
static tld_key_t key;
static uint64_t spent[KINDS];
static atomic_int flooding, workers_begun;

enum command { RUN, SPIN, CHAT, FLOOD };

struct job {
	enum command command;
	unsigned long long count, instant_us;
};

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "kinds: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec * 1000000000ULL + time.tv_nsec;
}

static void say(uint64_t kind)
{
	char *data = tld_get(key);

	if (!data)
		die("tld_get");
	/* At once, as the kernel reads it. */
	if (bytes == 8)
		*(volatile uint64_t *)data = kind;
	else if (bytes == 4)
		*(volatile uint32_t *)data = kind;
	else
		*data = kind;
}

/* From one word to the next, by the thread's own clock. */
static void work(uint64_t kind, uint64_t time)
{
	static __thread uint64_t since, last;
	uint64_t here = now(CLOCK_THREAD_CPUTIME_ID);

	if (last)
		__atomic_fetch_add(&spent[last], here - since, __ATOMIC_RELAXED);
	since = here;
	last = kind;
	if (!kind)
		return;
	say(kind);
	while (now(CLOCK_THREAD_CPUTIME_ID) - here < time)
		;
}

/* Fresh in the bytes behind the first, which says whose it is. */
static void flood(int worker, const struct job *job)
{
	const struct timespec instant = { 0, job->instant_us * 1000 };
	char *data = tld_get(key);

	if (!data || bytes < 8)
		die("flood");
	prctl(PR_SET_TIMERSLACK, 1);
	for (uint32_t i = 1; i <= job->count; i++) {
		data[0] = 100 + worker;
		memcpy(data + 4, &i, sizeof(i));
		nanosleep(&instant, NULL);
	}
	flooding--;
}

static void *live(void *argument)
{
	const struct timespec pause = { 0, 3000000 };
	struct job *job = argument;
	struct timespec instant = { 0, job->instant_us * 1000 };
	uint64_t end = now(CLOCK_MONOTONIC) + job->count * MS;

	if (job->command == FLOOD) {
		int worker = workers_begun++;

		if (worker)
			flood(worker, job);
		while (!worker && flooding)
			work(1, MS);
		if (!worker)
			work(0, 0);
		return NULL;
	}
	if (job->command == CHAT) {
		say(1);
		for (unsigned long long i = 0; i < job->count; i++)
			nanosleep(&instant, NULL);
		return NULL;
	}
	for (uint64_t kind = 1; now(CLOCK_MONOTONIC) < end; kind = kind % (job->command == RUN ? 3 : 2) + 1) {
		work(kind, job->command == RUN ? MS << kind : 30 * MS);
		if (job->command == RUN)
			nanosleep(&pause, NULL);
	}
	work(0, 0);
	return NULL;
}

static void run(struct job *job)
{
	pthread_t workers[64];

	memset(spent, 0, sizeof(spent));
	workers_begun = 0;
	flooding = threads - 1;
	for (int i = 0; i < threads; i++)
		if (pthread_create(&workers[i], NULL, live, job))
			die("pthread_create");
	for (int i = 0; i < threads; i++)
		pthread_join(workers[i], NULL);
	for (int kind = 1; kind < KINDS; kind++)
		printf("%d %llu\n", kind, (unsigned long long)spent[kind]);
	printf("done\n");
	fflush(stdout);
}

static void take_map(int fd)
{
	if (fd < 0 || map_count == 8)
		die("map");
	maps[map_count++] = fd;
	if (tld_attach(fd))
		die("tld_attach");
}

static void drop_maps(uint64_t ms)
{
	const struct map_shape shape = { BPF_MAP_TYPE_TASK_STORAGE, 24, 2 };
	const struct timespec moment = { 0, 2000000 };
	uint64_t end = now(CLOCK_MONOTONIC) + ms * MS;

	while (now(CLOCK_MONOTONIC) < end) {
		int fd = map_create(&shape);

		if (fd < 0)
			die("map");
		nanosleep(&moment, NULL);
		close(fd);
		nanosleep(&moment, NULL);
	}
}

static void obey(char **argv, const char *line)
{
	char word[16] = "";
	struct job job = { RUN, 0, 50 };

	sscanf(line, "%15s %llu %llu", word, &job.count, &job.instant_us);
	if (!strcmp(word, "exec")) {
		execl("/proc/self/exe", argv[0], "-x", NULL);
		die("execl");
	}
	if (!strcmp(word, "drop")) {
		drop_maps(job.count);
		return;
	}
	job.command = !strcmp(word, "spin") ? SPIN : !strcmp(word, "chat") ? CHAT : !strcmp(word, "flood") ? FLOOD : RUN;
	run(&job);
}

int main(int argc, char **argv)
{
	struct map_shape shape = { BPF_MAP_TYPE_TASK_STORAGE, 24, 2 };
	int option, shares = 1;
	char line[128];

	libbpf_set_print(NULL);
	while ((option = getopt(argc, argv, "s:o:p:t:w:n:x")) != -1) {
		if (option == 's') {
			shape.value_size = atoi(optarg);
			take_map(map_create(&shape));
		} else if (option == 'o') {
			if (!map_count || bpf_obj_pin(maps[map_count - 1], optarg))
				die("pin");
		} else if (option == 'p') {
			take_map(bpf_obj_get(optarg));
		} else if (option == 't') {
			threads = atoi(optarg) < 64 ? atoi(optarg) : 64;
		} else if (option == 'w') {
			bytes = atoi(optarg);
		} else if (option == 'n') {
			name = optarg;
		} else if (option == 'x') {
			shares = 0;
		} else {
			return 64;
		}
	}
	if (shares) {
		key = tld_create_key(name, bytes);
		if (tld_key_is_err(key))
			die("tld_create_key");
		say(0);
	} else {
		/* On the processor, with what the old image said still in the map. */
		printf("ready\n");
		fflush(stdout);
		while (fgets(line, sizeof(line), stdin)) {
			for (uint64_t end = now(CLOCK_THREAD_CPUTIME_ID) + 20 * MS; now(CLOCK_THREAD_CPUTIME_ID) < end;)
				;
			printf("done\n");
			fflush(stdout);
		}
		return 0;
	}
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		obey(argv, line);
	return 0;
}
