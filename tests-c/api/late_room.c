// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * late_room.c - a TLD that is created when threads have their memory already, and for
 * which that has no room: BPF does not find it in those threads, where it would meet what
 * a neighbour in the page has.
 */
#include "either.h"
#include "maps.h"
#include "page.h"
#include "process.h"
#include "reader.h"
#include "threads.h"
#include "value.h"
#include "tld.h"

#define PAD (64 - 8) /* TLD_DYN_DATA_SIZE is spent with "value" */
#define EARLY 4 /* threads side by side in a page */

static struct bpf_object *object;
static int map_fd, look_fd;
static tld_key_t value, other;
static bool looks_before;
static pthread_barrier_t have_data, have_other;

static uint64_t number_of(intptr_t i)
{
	return 0x1000 + i;
}

/* The thread's own value is read, and a TLD that it has no room for is not. */
static void *early_thread(void *arg)
{
	intptr_t i = (intptr_t)arg;
	uint64_t *data = tld_get_data(map_fd, value);
	struct value_view view;
	bool good = data;

	if (data)
		*data = number_of(i);
	if (looks_before)
		good = good && header_reads_value(look_fd, number_of(i)) && !look_value(look_fd).has_other;
	pthread_barrier_wait(&have_data);
	pthread_barrier_wait(&have_other);
	good = good && !tld_get_data(map_fd, other) && errno == E2BIG;
	for (int look = 0; look < 2; look++) {
		view = look_value(look_fd);
		good = good && view.has_value && view.value == number_of(i) && !view.has_other;
	}
	return (void *)(uintptr_t)good;
}

static void *late_thread(void *unused)
{
	uint64_t *mine = tld_get_data(map_fd, value), *late = tld_get_data(map_fd, other);
	struct value_view view;

	(void)unused;
	if (!mine || !late)
		return NULL;
	*mine = 7;
	*late = 8;
	view = look_value(look_fd);
	return (void *)(uintptr_t)(view.value == 7 && view.has_other && view.other == 8);
}

static void created_late(void)
{
	pthread_t threads[EARLY];
	int good = 0;

	object = reader_load(either_file("value"));
	map_fd = reader_object_map_fd(object, "tld_data_map");
	look_fd = reader_prog_fd(object, "look_value");
	value = tld_create_key("value", sizeof(uint64_t));
	if (tld_key_is_err(value) || tld_key_is_err(tld_create_key("pad", PAD)))
		tap_bail("the budget can be spent");
	pthread_barrier_init(&have_data, NULL, EARLY + 1);
	pthread_barrier_init(&have_other, NULL, EARLY + 1);
	for (intptr_t i = 0; i < EARLY; i++)
		threads[i] = start_thread(early_thread, (void *)i);
	pthread_barrier_wait(&have_data);
	other = create_static("other", sizeof(uint64_t));
	if (tld_key_is_err(other))
		tap_bail("a static TLD can be created late");
	pthread_barrier_wait(&have_other);
	for (int i = 0; i < EARLY; i++)
		good += end_thread(threads[i]) != NULL;
	is(good, EARLY, "of threads whose memory has no room for it, BPF%s finds their own TLD and not the late one",
	   looks_before ? ", which had looked before," : "");
	ok(in_thread(late_thread, NULL), "of a thread that comes later it finds both");
}

static void both_cases(void)
{
	looks_before = false;
	in_child(created_late);
	looks_before = true;
	in_child(created_late);
}

int main(void)
{
	reader_need_kernel();
	with_each_header(both_cases);
	return tap_done();
}
