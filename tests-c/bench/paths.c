// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * paths.c - what a hint costs the program that gives it, once its thread has used TLDs:
 * libtld's ways, the kernel's header, a system call a hint, and the floor.
 */
#include "objects.h"
#include "peer.h"
#include "stores.h"

#define TLD_DYN_DATA_SIZE BENCH_DYN_DATA_SIZE
#include "tld.h"

#define TIMES 1000000
#define SYSTEM_CALLS 1000
#define TURNS 80

/* As a program has them: variables of the file. */
static int map_fd, peer_map_fd, peer_key;
static tld_key_t key;
static __thread uint32_t bare;

#define LOOP(name, before, statement)				\
__attribute__((noinline))					\
static uint64_t name(const struct contender *self)		\
{								\
	before;							\
	return STORE_LOOP(self->times, statement);		\
}

LOOP(inline_get_data, , STORE_THROUGH(tld_get_data(map_fd, key)))
LOOP(inline_get, , STORE_THROUGH(tld_get(key)))
/* In parentheses the names are those of the exported functions. */
LOOP(exported_get_data, , STORE_THROUGH((tld_get_data)(map_fd, key)))
LOOP(exported_get, , STORE_THROUGH((tld_get)(key)))
/* The least that calling a shared library costs: libempty.so's, see nothing.c. */
void *nothing(int map_fd, int key);
LOOP(exported_nothing, , STORE_THROUGH(nothing(map_fd, key.off)))
LOOP(held, uint32_t *pointer = tld_get(key), *pointer = i)
LOOP(raw, uint32_t *pointer = &bare; __asm__("" : "+r"(pointer)), *pointer = i)
LOOP(raw_by_name, , bare = i)

static uint64_t peer_inline(const struct contender *self)
{
	return peer_store_loop(peer_map_fd, peer_key, self->times);
}

/* As where there are several calls of it in a file: gcc does not inline it then. */
LOOP(peer_called, , STORE_THROUGH(peer_get_data(peer_map_fd, peer_key)))

/* A hint by system call: into the thread's element of a task storage map, or by its id. */
static int hint_storage_fd, hint_hash_fd, own_pidfd, own_tid;

LOOP(into_storage, uint64_t hint = 0,
     hint = i; if (bpf_map_update_elem(hint_storage_fd, &own_pidfd, &hint, BPF_ANY))
     die("a task storage map takes a hint"))
LOOP(into_hash, uint64_t hint = 0,
     hint = i; if (bpf_map_update_elem(hint_hash_fd, &own_tid, &hint, BPF_ANY))
     die("a hash takes a hint"))

static void prepare_maps(void)
{
	map_fd = data_map_v2();
	peer_map_fd = data_map_v2();
	hint_storage_fd = task_storage(sizeof(uint64_t), 0);
	hint_hash_fd = bpf_map_create(BPF_MAP_TYPE_HASH, "bench", 4, sizeof(uint64_t), 10240, NULL);
	own_tid = gettid();
	own_pidfd = thread_pidfd(own_tid);
	if (hint_hash_fd < 0 || own_pidfd < 0)
		die("a hash and a pidfd can be had");
}

static void prepare_keys(void)
{
	key = tld_create_key("hint", sizeof(uint64_t));
	if (!tld_get_data(map_fd, key))
		die("libtld gives a TLD");
	if (peer_missing)
		return;
	peer_key = peer_create_key("hint");
	if (peer_key < 0 || !peer_get_data(peer_map_fd, peer_key))
		die("the kernel's header gives a TLD");
}

int main(void)
{
	struct contender system_calls[] = {
		{ .name = "update_storage", .run = into_storage, .times = SYSTEM_CALLS },
		{ .name = "update_hash", .run = into_hash, .times = SYSTEM_CALLS },
	};
	struct contender stores[] = {
		{ .name = "get_data", .run = inline_get_data, .times = TIMES },
		{ .name = "get", .run = inline_get, .times = TIMES },
		{ .name = "exported_get_data", .run = exported_get_data, .times = TIMES },
		{ .name = "exported_get", .run = exported_get, .times = TIMES },
		{ .name = "held", .run = held, .times = TIMES },
		{ .name = "raw", .run = raw, .times = TIMES },
		{ .name = "raw_by_name", .run = raw_by_name, .times = TIMES },
		{ .name = "exported_nothing", .run = exported_nothing, .times = TIMES },
		{ .name = "kernel_get_data", .run = peer_inline, .times = TIMES },
		{ .name = "kernel_get_data_called", .run = peer_called, .times = TIMES },
	};
	int count = sizeof(stores) / sizeof(stores[0]);

	prepare_maps();
	prepare_keys();
	take_turns(stores, peer_missing ? count - 2 : count, TURNS);
	if (peer_missing) {
		no_figure("kernel_get_data", peer_missing);
		no_figure("kernel_get_data_called", peer_missing);
	}
	take_turns(system_calls, 2, TURNS);
	return 0;
}
