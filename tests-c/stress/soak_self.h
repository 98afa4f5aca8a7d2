/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * soak_self.h - a thread of soak.c that says who it is, stores, and has BPF look; what
 * all of them count; and the BPF objects that look. Included by soak.c alone.
 */
#ifndef TESTS_C_SOAK_SELF_H
#define TESTS_C_SOAK_SELF_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define TLD_DYN_DATA_SIZE 1900
#include "tld.h"

#include "fuzz.h"
#include "process.h"
#include "reader.h"
#include "soak.h"
#include "threads.h"

#define MOST_AT_ONCE (UNDER_SANITIZER ? 200u : 2000u)
#define PROF_THREADS 8

/* Slots behind those of the waves. */
enum {
	ATTACHER = 2000, RESIDENT, FOLLOWER, FORKER, DISPATCHER, CHILD, PROF,
	SLOTS_END = PROF + PROF_THREADS,
};
_Static_assert(SLOTS_END <= SOAK_SLOTS, "each thread has a slot");

static double all_seconds, begin;
static unsigned int all_threads, at_once;
static uint64_t seed;
static volatile sig_atomic_t interrupted;
static volatile bool finish;	/* the waves are over */
static volatile bool all_finished; /* and whoever looks at others */
static tld_key_t head_key, pad_key, tail_key, tag_key, prof_key;

#define load(field) __atomic_load_n(&(field), __ATOMIC_SEQ_CST)
#define set(field, value) __atomic_store_n(&(field), (value), __ATOMIC_SEQ_CST)
#define add(field) __atomic_add_fetch(&(field), 1, __ATOMIC_SEQ_CST)

/* What was done, for the table; shared, because children count too. */
static struct totals {
	unsigned int threads, most_alive, forks, attaches, detaches, follows, references;
	unsigned int tags_to_the_dead, looks, prof_served, prof_refused;
	/* And what must not be. */
	unsigned int no_data, unpublished, not_last, not_absent, wrong_tag, wrong_address, bad_call,
		     bad_child, not_followed;
	long peak_kib;
} *totals;

/* Count a fault, and show the first of its kind. */
#define fault(field, ...)						\
do {									\
	if (add(totals->field) == 1)					\
		diag("  " #field ": " __VA_ARGS__);			\
} while (0)

/* As eventually(), and leaves the processors to the others. */
#define before_long(condition)						\
({									\
	double until__ = seconds_now() + DEADLINE_SECONDS;		\
	struct timespec pause__ = { .tv_nsec = 1000000 };		\
	bool met__;							\
	while (!(met__ = (condition)) && seconds_now() < until__)	\
		nanosleep(&pause__, NULL);				\
	met__;								\
})

/* --- BPF ------------------------------------------------------------------------------------- */

/*
 * Four times the same programs over a data map each: two that are attached all the
 * time, by the drop-in header and by the native one, one that comes and goes, one whose
 * pin is followed.
 */
enum { STEADY, FLAPPING, PINNED, NATIVE, WATCHERS };

static struct watcher {
	struct bpf_object *object;
	struct bpf_link *on_switch, *on_list;
	volatile struct soak_shared *shared;
	int map_fd, look_fd;
} watchers[WATCHERS];

static struct soak_slot *slots;
static int register_fd;

static void share_map(struct bpf_object *object, const char *name)
{
	int fd = reader_object_map_fd(watchers[STEADY].object, name);

	if (bpf_map__reuse_fd(bpf_object__find_map_by_name(object, name), fd))
		tap_bail("%s can be shared", name);
}

static struct bpf_object *load_object(int which)
{
	const char *file = which == NATIVE || which == FLAPPING ? "soak.native.bpf.o" : "soak.bpf.o";
	struct bpf_object *object = bpf_object__open_file(reader_beside(file), NULL);

	if (!object || libbpf_get_error(object))
		tap_bail("libbpf opens %s", file);
	if (which != STEADY) {
		share_map(object, "soak_who");
		share_map(object, "soak_slots");
	}
	if (bpf_object__load(object))
		tap_bail("the kernel loads %s", file);
	return object;
}

static struct bpf_link *attach_program(struct bpf_object *object, const char *name)
{
	struct bpf_program *program = bpf_object__find_program_by_name(object, name);
	struct bpf_link *link = program ? bpf_program__attach(program) : NULL;

	if (!link || libbpf_get_error(link))
		tap_bail("%s attaches", name);
	return link;
}

static void add_watcher(int which)
{
	struct watcher *watcher = &watchers[which];

	watcher->object = load_object(which);
	watcher->map_fd = reader_object_map_fd(watcher->object, "tld_data_map");
	watcher->look_fd = reader_prog_fd(watcher->object, "soak_look");
	watcher->shared = reader_memory(watcher->object, ".bss", sizeof(*watcher->shared));
	watcher->on_switch = attach_program(watcher->object, "on_switch");
	watcher->on_list = attach_program(watcher->object, "on_list");
}

static void add_watchers(void)
{
	for (int which = 0; which < WATCHERS; which++)
		add_watcher(which);
	register_fd = reader_prog_fd(watchers[STEADY].object, "soak_register");
	slots = mmap(NULL, SOAK_SLOTS * sizeof(*slots), PROT_READ | PROT_WRITE, MAP_SHARED,
		     reader_object_map_fd(watchers[STEADY].object, "soak_slots"), 0);
	if (slots == MAP_FAILED)
		tap_bail("the slots can be mapped");
}

static void remove_watchers(void)
{
	for (int which = 0; which < WATCHERS; which++) {
		bpf_link__destroy(watchers[which].on_switch);
		bpf_link__destroy(watchers[which].on_list);
		bpf_object__close(watchers[which].object);
	}
}

/* Reads every task over and over, as fast as leaves the others a processor. */
static void *list_tasks(void *unused)
{
	struct timespec pause = { .tv_nsec = 20000000 };
	char buffer[64];
	int fd;

	while (!finish) {
		for (int which = 0; which < WATCHERS; which++) {
			fd = bpf_iter_create(bpf_link__fd(watchers[which].on_list));
			while (fd >= 0 && read(fd, buffer, sizeof(buffer)) > 0)
				;
			close(fd);
		}
		nanosleep(&pause, NULL);
	}
	return unused;
}

/* --- A thread -------------------------------------------------------------------------------- */

struct self {
	struct soak_slot *slot;
	unsigned int number, seq;
	uint64_t *head, *tail;	/* where it stored last */
};

static __thread struct self self;

static void run_program(int fd, struct soak_self *context)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = context, .ctx_size_in = sizeof(*context));

	if (bpf_prog_test_run_opts(fd, &opts) || opts.retval)
		tap_bail("a BPF program runs");
}

static int introduce(unsigned int slot)
{
	static unsigned int numbers;
	struct soak_self context = { .verdict = 0 };

	self = (struct self){ .slot = &slots[slot], .number = add(numbers) };
	set(self.slot->number, 0);
	set(self.slot->zeros, load(self.slot->zeros) | 1);
	set(self.slot->newest, 0);
	set(self.slot->stored, 0);
	set(self.slot->number, self.number);
	context.who = (struct soak_who){ self.number, slot };
	run_program(register_fd, &context);
	return context.own_tid;
}

/* In a child of fork(), which has its parent's count of numbers. */
static void introduce_child(unsigned int number)
{
	struct soak_self context = { .verdict = 0 };

	self.slot = &slots[CHILD];
	self.number = number;
	self.seq = 0;
	set(self.slot->number, 0);
	set(self.slot->zeros, load(self.slot->zeros) | 1);
	set(self.slot->newest, 0);
	set(self.slot->stored, 0);
	set(self.slot->number, number);
	context.who = (struct soak_who){ number, CHILD };
	run_program(register_fd, &context);
}

static void expect_zeros(void)
{
	if (!(load(self.slot->zeros) & 1))
		add(self.slot->zeros);
}

static void store_words(void)
{
	unsigned int seq = ++self.seq;

	set(self.slot->newest, seq);
	for (int i = 0; i < SOAK_AT_END; i++) {
		set(self.head[i], SOAK_WORD(SOAK_HEAD + i, (uint64_t)self.number, seq));
		set(self.tail[i], SOAK_WORD(SOAK_TAIL + i, (uint64_t)self.number, seq));
	}
	set(self.slot->stored, seq);
	if (load(self.slot->zeros) & 1)
		add(self.slot->zeros);
}

/* The kernel may be busy, which tld_get_data() says, and tld_get() forgives. */
static void *get(int map_fd, tld_key_t key)
{
	void *data;

	for (int i = 0; i < 100; i++) {
		data = map_fd < 0 ? tld_get(key) : tld_get_data(map_fd, key);
		if (data || errno != EAGAIN)
			break;
		sched_yield();
	}
	return data;
}

/* What a dispatcher and a handler stored for this thread was meant for it. */
static void check_gift(const uint64_t *word, int place)
{
	uint64_t value = load(*word);

	if (value && value >> SOAK_SEQ_BITS !=
		     SOAK_OWNER(place, (uint64_t)self.number) >> SOAK_SEQ_BITS)
		fault(wrong_tag, "thread %u has %#llx", self.number, (unsigned long long)value);
}

static void store(int map_fd)
{
	uint64_t *tag = get(map_fd, tag_key);
	void *pad = get(map_fd, pad_key);

	self.head = get(map_fd, head_key);
	self.tail = get(map_fd, tail_key);
	if (!tag || !pad || !self.head || !self.tail) {
		fault(no_data, "a thread gets no pointer: %s", strerror(errno));
		return;
	}
	check_gift(tag, SOAK_TAG);
	/* No word of this may be taken for one of those that are watched. */
	if (!self.seq)
		memset(pad, 0x99, SOAK_PAD);
	store_words();
}

/* At the calling thread, or at one that stores nothing. */
static enum soak_verdict look(int which, int tid)
{
	struct soak_self context = { .tid = tid };

	run_program(watchers[which].look_fd, &context);
	add(totals->looks);
	return context.verdict;
}

static void must_be_last(int which, int tid, const char *when)
{
	enum soak_verdict verdict = look(which, tid);
	volatile struct soak_shared *shared = watchers[which].shared;

	if (verdict != SOAK_IS_LAST)
		fault(not_last, "%s: verdict %d for thread %u, word %#llx at %llu", when, verdict,
		      self.number, shared->wrong_word, shared->wrong_place);
}

/* In a map that is attached, at once, and with what was stored last. */
static void must_be_read(int which, const char *when)
{
	int err;

	for (int i = 0; i < 100 && (err = tld_publish()) == -EAGAIN; i++)
		sched_yield();
	if (err)
		fault(unpublished, "%s: %s", when, strerror(-err));
	must_be_last(which, 0, when);
	if (which == STEADY)
		must_be_last(NATIVE, 0, when);
}

static void must_be_absent(int which, int tid, const char *when)
{
	enum soak_verdict verdict = look(which, tid);

	if (verdict != SOAK_IS_ABSENT)
		fault(not_absent, "%s: verdict %d", when, verdict);
}

#endif
