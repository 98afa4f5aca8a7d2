// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * attach_loads.c - 1,000 BPF objects are loaded and unloaded beside a program that runs on,
 * by which eight maps at most are served: each is served, each is gone from the kernel
 * when it is unloaded, and the program is afterwards what it was before.
 *
 * One load in 40 is a BPF object whose program reads the value; the others are its map
 * alone, of each format in turn.
 */
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

/* A block of a page, so that each that is lost shows. */
#define TLD_DYN_DATA_SIZE 4000
#include "tld.h"

#define CASE_SECONDS patience(180)
#include "maps.h"
#include "often.h"
#include "process.h"
#include "reader.h"
#include "threads.h"
#include "value.h"
#include "worker.h"

#define LOADS OFTEN(1000)
#define WARM_UP OFTEN(80)
#define OBJECT_EVERY 40
#define WIDER_EVERY OFTEN(40)
/* How many maps the library serves at a time. */
#define SERVED 8
#define WORKERS 4
#define GROWTH_KIB 256

static tld_key_t value_key, other_key, rest_key;
static struct worker workers[WORKERS];
static int loads, wrong;

static void fail(const char *what)
{
	if (!wrong++)
		diag("load %d: %s", loads, what);
}

static void create_keys(void)
{
	value_key = tld_create_key("value", sizeof(uint64_t));
	other_key = tld_create_key("other", sizeof(uint64_t));
	rest_key = tld_create_key("rest", 3900);
	if (tld_key_is_err(rest_key))
		tap_bail("keys can be created");
}

/* --- One load ------------------------------------------------------------------------- */

struct load {
	struct bpf_object *object;	/* NULL: a map alone */
	int fd;				/* of the map, a number that is used once */
	__u32 id;
};

/*
 * What tld_get_data() has to be told of a number that another map gets is another test's
 * subject; here none comes twice.
 */
static int number_of_its_own(int fd)
{
	static int next = 100;
	int own = fcntl(fd, F_DUPFD_CLOEXEC, next);

	if (own < 0)
		tap_bail("a descriptor of %d or more can be made", next);
	next = own + 1;
	return own;
}

static int make_map(void)
{
	static const __u32 sizes[] = { V1_SIZE, V2_SIZE, NATIVE_SIZE };
	struct map_shape shape = { BPF_MAP_TYPE_TASK_STORAGE, sizes[loads % 3], 2 };
	int fd = map_create(&shape);

	if (fd < 0)
		tap_bail("a map can be made");
	return fd;
}

static struct load load(void)
{
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);
	struct load load = { 0 };
	int fd;

	loads++;
	if (loads % OBJECT_EVERY == 0)
		load.object = reader_load("value.bpf.o");
	fd = load.object ? reader_object_map_fd(load.object, "tld_data_map") : make_map();
	load.fd = number_of_its_own(fd);
	if (!load.object)
		close(fd);
	if (bpf_obj_get_info_by_fd(load.fd, &info, &size))
		tap_bail("a map has an id");
	load.id = info.id;
	return load;
}

static void close_load(struct load *load)
{
	close(load->fd);
	if (load->object)
		bpf_object__close(load->object);
	load->fd = -1;
}

static bool map_exists(__u32 id)
{
	int fd = bpf_map_get_fd_by_id(id);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool has_element(const struct load *load, pid_t tid)
{
	char value[256];

	return !element_read(load->fd, tid, value);
}

/* The caller's value, as the object's own program reads it. */
static bool object_reads(const struct load *load, uint64_t value)
{
	return !load->object ||
	       header_reads_value(reader_prog_fd(load->object, "look_value"), value);
}

/* --- Threads ---------------------------------------------------------------------------- */

static void *store(void *value)
{
	uint64_t *data = tld_get(value_key), *other = tld_get(other_key);

	if (data && other)
		*data = *other = (uintptr_t)value;
	return data && other ? data : NULL;
}

/* A thread that comes for this load only: its memory is given back each time. */
static void *use_once(void *arg)
{
	const struct load *load = arg;

	return (void *)(intptr_t)(store((void *)7) && has_element(load, gettid()));
}

static void *pass_once(void *arg)
{
	const struct load *load = arg;
	uint64_t *data = tld_get_data(load->fd, value_key);

	return (void *)(intptr_t)(data && !*data && has_element(load, gettid()));
}

static void *pass(void *arg)
{
	const struct load *load = arg;

	return tld_get_data(load->fd, value_key);
}

static void start_workers(void)
{
	for (int i = 0; i < WORKERS; i++) {
		worker_start(&workers[i]);
		if (!worker_do(&workers[i], store, (void *)(uintptr_t)(100 + i)))
			tap_bail("a thread has data");
	}
	if (!store((void *)1))
		tap_bail("the main thread has data");
}

static void judge_values(void)
{
	int kept = *(uint64_t *)tld_get(value_key) == (uint64_t)loads;

	for (int i = 0; i < WORKERS; i++)
		kept += *(uint64_t *)workers[i].result == 100u + i;
	is(kept, WORKERS + 1, "every thread has its newest value still");
}

/* --- Attached and detached ---------------------------------------------------------------- */

static struct load ring[SERVED];

static void attach_and_use(struct load *load)
{
	if (tld_attach(load->fd))
		fail("it is attached");
	store((void *)(uintptr_t)loads);
	if (!object_reads(load, loads))
		fail("its program reads the newest value");
	if (!has_element(load, getpid()))
		fail("it has the main thread");
	for (int i = 0; i < WORKERS; i++)
		if (!has_element(load, workers[i].tid))
			fail("it has every thread");
	if (!in_thread(use_once, load))
		fail("it has a thread that comes later");
}

/* By the map's id when the descriptor is closed, else by the descriptor. */
static void detach_and_close(struct load *load)
{
	if (load->id % 2) {
		if (tld_detach(load->fd))
			fail("it is detached");
		if (has_element(load, getpid()))
			fail("it has nobody then");
		close_load(load);
	} else {
		close_load(load);
		if (tld_detach_id(load->id))
			fail("it is detached by its id");
	}
	/* What a program used is let go after a grace period. */
	if (load->id && !eventually(!map_exists(load->id)))
		fail("it is gone from the kernel");
	load->id = 0;
}

/* So many are attached at a time: from one to as many as are served. */
static void attach_and_detach(int count)
{
	int until = loads + count, width;

	while (loads < until) {
		struct load *next;

		width = 1 + loads / WIDER_EVERY % SERVED;
		next = &ring[loads % width];
		if (next->id)
			detach_and_close(next);
		*next = load();
		attach_and_use(next);
	}
	for (int i = 0; i < SERVED; i++)
		if (ring[i].id)
			detach_and_close(&ring[i]);
}

/* --- Passed to tld_get_data() and forgotten ------------------------------------------------- */

static __u32 ids[2 * LOADS];

static void pass_and_forget(int count)
{
	for (int until = loads + count; loads < until;) {
		struct load one = load();

		ids[loads] = one.id;
		if (!tld_get_data(one.fd, value_key))
			fail("it serves the main thread");
		store((void *)(uintptr_t)loads);
		if (!object_reads(&one, loads) || !has_element(&one, getpid()))
			fail("it has the main thread");
		if (!worker_do(&workers[loads % WORKERS], pass, &one))
			fail("it serves a thread that has data");
		if (!in_thread(pass_once, &one))
			fail("it serves a thread that comes for it");
		close_load(&one);
	}
}

static int maps_in_kernel(void)
{
	int count = 0;

	for (int i = 0; i <= loads; i++)
		count += ids[i] && map_exists(ids[i]);
	return count;
}

static void *free_data(void *unused)
{
	tld_free();
	return unused;
}

static void free_all(void)
{
	for (int i = 0; i < WORKERS; i++)
		worker_do(&workers[i], free_data, NULL);
	tld_free();
}

/* --- What the process has --------------------------------------------------------------------- */

struct footprint {
	long mapped, resident;
	int mappings, descriptors;
};

static struct footprint footprint(void)
{
	malloc_trim(0);
	return (struct footprint){ status_kib("VmSize:"), status_kib("VmRSS:"), mappings(),
				   open_descriptors() };
}

static void judge_footprint(struct footprint before)
{
	struct footprint after = footprint();

	diag("mapped %+ld KiB, resident %+ld KiB, mappings %+d", after.mapped - before.mapped,
	     after.resident - before.resident, after.mappings - before.mappings);
	is(after.descriptors, before.descriptors, "as many descriptors are open as before");
	if (UNDER_SANITIZER) {
		tap_skip("memory is as before", "a sanitizer maps memory of its own");
		return;
	}
	ok(after.mappings <= before.mappings + 4, "as many mappings as before");
	ok(after.mapped - before.mapped <= GROWTH_KIB, "as much memory is mapped");
	ok(after.resident - before.resident <= 4 * GROWTH_KIB, "as much is resident");
}

static void prepare(void)
{
	/* Threads' malloc arenas would hide what the library maps. */
	mallopt(M_ARENA_MAX, 1);
	set_soft_limit(RLIMIT_NOFILE, 100 + 3 * LOADS);
	create_keys();
	start_workers();
}

static void attached_loads(void)
{
	struct footprint before;

	prepare();
	attach_and_detach(WARM_UP);
	before = footprint();
	attach_and_detach(LOADS);
	is(wrong, 0, "each of %d maps that are loaded, attached, detached and unloaded serves all",
	   LOADS);
	judge_values();
	judge_footprint(before);
}

static void passed_loads(void)
{
	struct footprint before;

	prepare();
	pass_and_forget(WARM_UP);
	free_all();
	before = footprint();
	pass_and_forget(LOADS);
	is(wrong, 0,
	   "each of %d maps that are loaded, passed to tld_get_data() and unloaded serves all",
	   LOADS);
	ok(eventually(maps_in_kernel() <= SERVED), "at most %d of them are still kept", SERVED);
	free_all();
	ok(eventually(!maps_in_kernel()), "none when nobody shares data any more");
	judge_footprint(before);
}

int main(void)
{
	char reason[128];
	int fd;

	reader_need_kernel();
	fd = data_map_try(V2_SIZE, reason, sizeof(reason));
	if (fd < 0)
		tap_skip_all(reason);
	close(fd);
	in_child(attached_loads);
	in_child(passed_loads);
	return tap_done();
}
