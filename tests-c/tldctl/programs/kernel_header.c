// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * kernel_header.c - a program that publishes through the kernel's own user header, as it
 * is in the kernel's source. Compiled by tldctl.py, which knows where that is.
 *
 * Two threads publish in a 24-byte map: request (u32) 300 and 301, budget (u64) 7. Prints
 * "ready" and the map's id. Until standard input ends, each line of it is milliseconds that
 * the first thread is to spin; it answers how many nanoseconds that were, and "done".
 */
#include <linux/types.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "maps.h"

#define TLD_FREE_DATA_ON_THREAD_EXIT
/* What it expects of the kernel's test framework. */
#define sys_gettid() gettid()
#define strscpy(array, string) ((void)stpncpy((array), (string), sizeof(array) - 1))
#include "task_local_data.h"

TLD_DEFINE_KEY(request_key, "request", sizeof(__u32));

static int map_fd;
static tld_key_t budget_key;
static pthread_barrier_t both;

static void *publish(void *number)
{
	__u32 *request = tld_get_data(map_fd, request_key);
	__u64 *budget = tld_get_data(map_fd, budget_key);

	if (!request || !budget) {
		perror("kernel_header");
		exit(1);
	}
	*request = (uintptr_t)number;
	*budget = 7;
	pthread_barrier_wait(&both);
	while (number == (void *)301)
		pause();
	return NULL;
}

static long long ran(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* In turns, so that there are switches. */
static void spin(int milliseconds)
{
	long long begin = ran(), turn;

	for (int i = 0; i < milliseconds; i++) {
		for (turn = ran(); ran() - turn < 1000000;)
			;
		usleep(500);
	}
	printf("%lld\ndone\n", ran() - begin);
	fflush(stdout);
}

int main(void)
{
	struct map_shape shape = { BPF_MAP_TYPE_TASK_STORAGE, 24, 2 };
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);
	pthread_t thread;
	char line[16];

	libbpf_set_print(NULL);
	map_fd = map_create(&shape);
	budget_key = tld_create_key("budget", sizeof(__u64));
	pthread_barrier_init(&both, NULL, 2);
	pthread_create(&thread, NULL, publish, (void *)301);
	publish((void *)300);
	if (bpf_obj_get_info_by_fd(map_fd, &info, &size))
		return 1;
	printf("ready %u\n", info.id);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		spin(atoi(line));
	return 0;
}
