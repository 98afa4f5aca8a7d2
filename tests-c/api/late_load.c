// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * late_load.c - a plugin brings libtld into a program that runs: the data map and
 * the threads were there before. Not linked with -ltld (see bpf.mk).
 */
#include <dlfcn.h>
#include <unistd.h>

#define TLD_NO_INLINE /* else tld_self would be needed at link time */
#include "tld.h"

#include "process.h"
#include "reader.h"
#include "threads.h"

#define LIBRARY "../libtld.so.1"

static __typeof__(tld_create_key) *create_key;
static __typeof__(tld_get_data) *get_data;
static struct reader *reader;
static tld_key_t key;
static pthread_barrier_t loaded;

static bool served(uint64_t value)
{
	uint64_t *data = get_data(reader_map_fd(reader), key);

	if (!data || *data)
		return false;
	*data = value;
	return reader_u64(reader, 0, "value") == value;
}

/* Started before the library is in the process. */
static void *early_thread(void *unused)
{
	(void)unused;
	pthread_barrier_wait(&loaded);
	return (void *)(uintptr_t)served(11);
}

static void *late_thread(void *unused)
{
	(void)unused;
	return (void *)(uintptr_t)served(12);
}

static void load_library(void)
{
	void *library = dlopen(reader_beside(LIBRARY), RTLD_NOW | RTLD_LOCAL);

	if (!library)
		diag("%s", dlerror());
	create_key = library ? (__typeof__(create_key))dlsym(library, "tld_create_key") : NULL;
	get_data = library ? (__typeof__(get_data))dlsym(library, "tld_get_data") : NULL;
	if (!ok(create_key && get_data, "dlopen brings libtld into a running program"))
		exit(1);
}

int main(void)
{
	pthread_t early;

	if (dlopen(reader_beside(LIBRARY), RTLD_NOW | RTLD_NOLOAD))
		tap_bail("this program is built without libtld");
	reader = reader_open(READER_V2);
	pthread_barrier_init(&loaded, NULL, 2);
	early = start_thread(early_thread, NULL);
	load_library();
	key = create_key("value", 8);
	is(key.off, 0, "it makes its first TLD");
	pthread_barrier_wait(&loaded);
	ok(end_thread(early) != NULL, "a thread that is older than the library is read by BPF");
	ok(served(10), "so is the main thread, in a map that is older than the library");
	ok(in_thread(late_thread, NULL) != NULL, "so is a thread that starts later");
	is(reader_elements(reader, NULL), 1, "the ended threads have left the map");
	reader_close(reader);
	return tap_done();
}
