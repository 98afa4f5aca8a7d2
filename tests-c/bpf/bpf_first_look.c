// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * bpf_first_look.c - two BPF programs look at a thread for the first time at the same
 * moment: both find every TLD, and neither leaves behind, in what the header caches for
 * both, that one which is there is not.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#define TLD_DYN_DATA_SIZE 1000
#include "tld.h"

#include "bpf_first_look.h"
#include "either.h"
#include "process.h"
#include "reader.h"
#include "threads.h"

#define LOOKERS 2
#define ROUNDS 3000

static int map_fd, self_fd, look_fd, tid;
static tld_key_t key;
static pthread_barrier_t begin, end;
static volatile struct first_shared *shared;
static unsigned int ready, lost, missed;
static bool stop;

static int run(int prog_fd, int of_tid)
{
	struct first_view view = { .tid = of_tid };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &view, .ctx_size_in = sizeof(view));

	if (bpf_prog_test_run_opts(prog_fd, &opts) || opts.retval)
		tap_bail("a BPF program runs");
	return view.tid;
}

/*
 * All at the same moment, as far as there are processors; one a little later each time, so
 * that it comes up to the other in the middle of a search.
 */
static void meet(unsigned int delay_ns)
{
	double until;
	unsigned int turns = 0;

	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&ready, __ATOMIC_SEQ_CST) < LOOKERS)
		if (++turns % 4096 == 0)
			sched_yield();
	until = seconds_now() + delay_ns * 1e-9;
	while (delay_ns && seconds_now() < until)
		;
}

static void *look_often(void *second)
{
	for (unsigned int round = 0; ; round++) {
		pthread_barrier_wait(&begin);
		if (stop)
			return NULL;
		meet(second ? round * 17 % 20000 : 0);
		run(look_fd, tid);
		pthread_barrier_wait(&end);
	}
}

/* Nobody has looked at it when the others do; and once more, when they have. */
static void *be_looked_at(void *unused)
{
	if (!tld_get_data(map_fd, key))
		tap_bail("a thread gets its TLDs");
	tid = run(self_fd, 0);
	ready = 0;
	shared->found = 0;
	pthread_barrier_wait(&begin);
	pthread_barrier_wait(&end);
	missed += LOOKERS * FIRST_COUNT - shared->found;
	shared->found = 0;
	run(look_fd, tid);
	lost += FIRST_COUNT - shared->found;
	return unused;
}

static void create_keys(void)
{
#define CREATE(name) key = tld_create_key(#name, 8);
	FIRST_NAMES(CREATE)
	if (tld_key_is_err(key))
		tap_bail("%d TLDs can be created", FIRST_COUNT);
}

static void first_looks(void)
{
	struct bpf_object *object = reader_load(either_file("bpf_first_look"));
	pthread_t lookers[LOOKERS];

	shared = reader_memory(object, ".bss", sizeof(*shared));
	map_fd = reader_object_map_fd(object, "tld_data_map");
	self_fd = reader_prog_fd(object, "first_self");
	look_fd = reader_prog_fd(object, "first_look");
	create_keys();
	pthread_barrier_init(&begin, NULL, LOOKERS + 1);
	pthread_barrier_init(&end, NULL, LOOKERS + 1);
	for (int i = 0; i < LOOKERS; i++)
		lookers[i] = start_thread(look_often, (void *)(intptr_t)i);
	for (int i = 0; i < ROUNDS; i++)
		in_thread(be_looked_at, NULL);
	stop = true;
	pthread_barrier_wait(&begin);
	for (int i = 0; i < LOOKERS; i++)
		end_thread(lookers[i]);
	is(missed, 0, "of looks at the same moment none misses a TLD");
	is(lost, 0, "after two first looks at the same moment all of a thread's TLDs are found");
	bpf_object__close(object);
}

static void cases(void)
{
	in_child(first_looks);
}

int main(void)
{
	reader_need_kernel();
	if (!have_two_processors())
		tap_skip_all("looks at the same moment need a second processor");
	with_each_header(cases);
	return tap_done();
}
