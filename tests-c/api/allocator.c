// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * allocator.c - libtld used inside malloc(): this program's own allocator counts
 * its calls in a TLD. The library must not call it, or it would call itself; the
 * one exception is pthread_setspecific(), which allocates for high key numbers.
 */
#include <pthread.h>
#include <stddef.h>
#include "maps.h"
#include "page.h"

#define THREADS 400
#define AT_ONCE 20
#define ARENA_BYTES (256u << 20)
#define HIGH_KEYS 40		/* glibc keeps the first 32 in the thread itself */

#if !UNDER_SANITIZER

struct counts {
	uint64_t calls;
};

static int map_fd = -1;
static tld_key_t key;
static bool counting;

static __thread int depth;	/* calls of tld_get_data() under way */
static __thread uint64_t my_calls, my_refusals;
static __thread bool in_library;

static unsigned int from_library, deepest, wrong_reason, refused;

/* A library inside of an allocator, for statistics. */
static void count_call(void)
{
	int err = errno;
	struct counts *counts;

	if (!__atomic_load_n(&counting, __ATOMIC_RELAXED))
		return;
	if (in_library)
		__atomic_add_fetch(&from_library, 1, __ATOMIC_RELAXED);
	my_calls++;
	depth++;
	if (depth > (int)__atomic_load_n(&deepest, __ATOMIC_RELAXED))
		__atomic_store_n(&deepest, depth, __ATOMIC_RELAXED);
	counts = depth < 10 ? tld_get_data(map_fd, key) : NULL;
	depth--;
	if (counts) {
		counts->calls++;
	} else {
		my_refusals++;
		__atomic_add_fetch(&refused, 1, __ATOMIC_RELAXED);
		if (errno != EAGAIN)
			__atomic_add_fetch(&wrong_reason, 1, __ATOMIC_RELAXED);
	}
	errno = err;
}

/* The allocator itself: memory is handed out once, with its size before it. */
static char *arena;
static size_t arena_used;

static char *arena_take(size_t size, size_t alignment)
{
	size_t at, end;

	if (!__atomic_load_n(&arena, __ATOMIC_ACQUIRE)) {
		char *fresh = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		char *none = NULL;

		if (fresh == MAP_FAILED)
			abort();
		if (!__atomic_compare_exchange_n(&arena, &none, fresh, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			munmap(fresh, ARENA_BYTES);
	}
	at = __atomic_fetch_add(&arena_used, size + alignment + 16, __ATOMIC_RELAXED);
	end = at + size + alignment + 16;
	if (end > ARENA_BYTES)
		return NULL;
	at = (at + 16 + alignment - 1) / alignment * alignment;
	memcpy(arena + at - sizeof(size), &size, sizeof(size));
	return arena + at;
}

void *malloc(size_t size)
{
	count_call();
	return arena_take(size, 16);
}

void *calloc(size_t count, size_t size)
{
	size_t bytes;

	count_call();
	return __builtin_mul_overflow(count, size, &bytes) ? NULL : arena_take(bytes, 16);
}

void free(void *memory)
{
	if (memory)
		count_call();
}

void *realloc(void *memory, size_t size)
{
	size_t old;
	char *fresh;

	count_call();
	fresh = arena_take(size, 16);
	if (fresh && memory) {
		memcpy(&old, (char *)memory - sizeof(old), sizeof(old));
		memcpy(fresh, memory, old < size ? old : size);
	}
	return fresh;
}

void *memalign(size_t alignment, size_t size);
void *memalign(size_t alignment, size_t size)
{
	count_call();
	return arena_take(size, alignment < 16 ? 16 : alignment);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
	*memory = memalign(alignment, size);
	return *memory ? 0 : ENOMEM;
}

static unsigned int threads_done, counted_wrong, no_data;

/* Each thread's first use may be in malloc() or, every other thread, outside. */
static void *allocate(void *arg)
{
	struct counts *counts;
	void *volatile memory[50];

	if ((intptr_t)arg % 2)
		tld_get_data(map_fd, key);
	for (int i = 0; i < 50; i++)
		memory[i] = malloc(1 + i);
	for (int i = 0; i < 50; i++)
		free(memory[i]);
	counts = tld_get_data(map_fd, key);
	if (!counts)
		__atomic_add_fetch(&no_data, 1, __ATOMIC_RELAXED);
	else if (my_calls < 100 || counts->calls != my_calls - my_refusals)
		__atomic_add_fetch(&counted_wrong, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&threads_done, 1, __ATOMIC_RELAXED);
	return NULL;
}

static void run_threads(int count)
{
	pthread_t threads[AT_ONCE];

	for (int started = 0; started < count; started += AT_ONCE) {
		for (intptr_t i = 0; i < AT_ONCE; i++)
			if (pthread_create(&threads[i], NULL, allocate, (void *)i))
				tap_bail("a thread can be started");
		for (int i = 0; i < AT_ONCE; i++)
			pthread_join(threads[i], NULL);
	}
}

/* With in_library set, a malloc() can only come from inside of the library. */
static void *use_watched(void *map)
{
	tld_key_t own;

	in_library = true;
	own = tld_create_key("watched", 8);
	tld_find_key("watched");
	tld_get_data((intptr_t)map, own);
	tld_get_data((intptr_t)map, key);
	tld_get_data(-1, key);
	tld_free();
	tld_get_data((intptr_t)map, key);
	in_library = false;
	return NULL;
}

static void library_does_not_allocate(void)
{
	pthread_t thread;

	/* The very first calls too: page, pthread key, map, block. */
	counting = true;
	key = (tld_key_t){ -1 };
	in_library = true;
	key = tld_create_key("counts", sizeof(struct counts));
	tld_get_data(map_fd, key);
	in_library = false;
	is(from_library, 0, "no call of the library, the first included, calls malloc() or its family");
	for (int i = 0; i < 100; i++) {
		pthread_create(&thread, NULL, use_watched, (void *)(intptr_t)map_fd);
		pthread_join(thread, NULL);
	}
	is(from_library, 0, "nor do the calls of other threads");
	ok(deepest <= 1, "so that an allocator that uses the library is never entered again");
}

static void used_by_allocator(void)
{
	key = tld_create_key("counts", sizeof(struct counts));
	counting = true;
	run_threads(THREADS);
	counting = false;
	is(threads_done, THREADS, "%d threads end whose malloc() and free() use the library", THREADS);
	is(no_data, 0, "all have data");
	is(counted_wrong, 0, "every call was counted in the thread's TLD");
	is(refused, 0, "none was refused");
	is(deepest, 1, "the library did not call malloc()");
}

/*
 * With a high number of libtld's pthread key, pthread_setspecific() calls calloc(),
 * which comes back. It finds the thread's data or is told EAGAIN; and what it
 * finds is the same data.
 */
static void used_by_setspecific(void)
{
	pthread_key_t other;
	long mapped;

	for (int i = 0; i < HIGH_KEYS; i++)
		if (pthread_key_create(&other, NULL))
			tap_bail("pthread keys can be made");
	key = tld_create_key("counts", sizeof(struct counts));
	counting = true;
	run_threads(THREADS);
	mapped = status_kib("VmSize:");
	run_threads(THREADS);
	counting = false;
	is(threads_done, 2 * THREADS, "%d threads end whose pthread_setspecific() allocates", 2 * THREADS);
	ok(status_kib("VmSize:") - mapped < 256, "although they use TLD after their destructors, nothing grows");
	is(no_data, 0, "all have data");
	is(counted_wrong, 0, "every call that had data counted in the same TLD");
	is(wrong_reason, 0, "those that had none were told EAGAIN");
	ok(deepest <= 2, "the library was entered again once, not without end (%u deep)", deepest);
}

int main(void)
{
	map_fd = data_map(V2_SIZE);
	in_child(library_does_not_allocate);
	in_child(used_by_allocator);
	in_child(used_by_setspecific);
	close(map_fd);
	return tap_done();
}

#else

int main(void)
{
	tap_skip_all("a sanitizer has its own malloc()");
}

#endif
