// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * hint_loop.c - what a hint costs, to compare with and without somebody who watches.
 *
 * Publishes, says "ready", and for each line on standard input stores hints for a quarter of
 * a second of its thread's processor time; prints nanoseconds a hint of that time, and of
 * the clock on the wall.
 */
#include <time.h>
#include <tld.h>

#include "maps.h"

TLD_DEFINE_KEY(hint_key, "hint", sizeof(uint64_t));

static double seconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static uint64_t store(uint64_t n)
{
	for (int i = 0; i < 1000000; i++) {
		volatile uint64_t *hint = tld_get(hint_key);

		if (hint)
			*hint = ++n;
	}
	return n;
}

int main(void)
{
	struct map_shape shape = { BPF_MAP_TYPE_TASK_STORAGE, V2_SIZE, 2 };
	char line[16];
	uint64_t n = 0;

	libbpf_set_print(NULL);
	if (tld_attach(map_create(&shape)) || !tld_get(hint_key)) {
		fprintf(stderr, "hint_loop: cannot publish: %s\n", strerror(errno));
		return 1;
	}
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		double own = seconds(CLOCK_THREAD_CPUTIME_ID), wall = seconds(CLOCK_MONOTONIC), took;
		uint64_t begin = n;

		do {
			n = store(n);
			took = seconds(CLOCK_THREAD_CPUTIME_ID) - own;
		} while (took < 0.25);
		printf("%.5f %.5f\n", took * 1e9 / (n - begin), (seconds(CLOCK_MONOTONIC) - wall) * 1e9 / (n - begin));
		fflush(stdout);
	}
	return 0;
}
