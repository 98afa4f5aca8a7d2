// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * count_after_entry.c - while TLDs are being created, BPF that sees one counted sees
 * it whole: its name and its size were there before the count.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#define TLD_DYN_DATA_SIZE 2000
#include "tld.h"

#include "count_after_entry.h"
#include "process.h"
#include "reader.h"
#include "threads.h"

#define CREATED 62

static struct bpf_object *object;
static volatile struct table_watch *table;
static tld_key_t first_key;

/* Watches by its own element: all threads of the process share the metadata page. */
static void *run_watch(void *unused)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	(void)unused;
	if (!tld_get_data(reader_object_map_fd(object, "watch_map"), first_key))
		tap_bail("the watching thread gets its data");
	if (bpf_prog_test_run_opts(reader_prog_fd(object, "watch_table"), &opts) || opts.retval)
		tap_bail("watch_table runs");
	return NULL;
}

static int create_all(void)
{
	char name[TLD_NAME_LEN];
	int made = 0;

	for (int i = 0; i < CREATED; i++) {
		memset(name, 'a' + i % 26, sizeof(name) - 1);
		name[sizeof(name) - 1] = '\0';
		snprintf(name, 8, "%d", i);
		name[strlen(name)] = '-';
		made += !tld_key_is_err(tld_create_key(name, 4 + i % 20));
		/* So that the watcher meets each count. */
		if (!eventually(table->counts_seen > (unsigned long long)i))
			tap_bail("BPF sees the count grow to %d", i + 2);
	}
	return made;
}

static void watch_creation(void)
{
	pthread_t watcher;
	int made;

	object = reader_load("count_after_entry.bpf.o");
	table = reader_memory(object, ".bss", sizeof(*table));
	first_key = tld_create_key("first", 8);
	watcher = start_thread(run_watch, NULL);
	if (!eventually(table->watching))
		tap_bail("the BPF program watches");
	made = create_all();
	table->stop = 1;
	end_thread(watcher);
	is(made, CREATED, "%d TLDs are created while BPF watches", CREATED);
	is(table->counts_seen, CREATED, "BPF sees the count grow as often");
	is(table->half_made, 0, "what is counted has its name and its size");
	is(table->changed, 0, "and its size does not change any more");
	bpf_object__close(object);
}

int main(void)
{
	reader_need_kernel();
	if (!have_two_processors())
		tap_skip_all("BPF that watches needs a second processor");
	/* The window is some nanoseconds wide: 62 times in each of these. */
	for (int i = 0; i < 20; i++)
		in_child(watch_creation);
	return tap_done();
}
