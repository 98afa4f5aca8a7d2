// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * signals.c - calls from a handler that interrupted the library. The processor's
 * trap flag makes a signal after every single instruction, so nothing is left to
 * chance: the handler runs at every point where a signal can come. As what it does
 * early changes what is interrupted later, it begins to do so at several points;
 * "--soak SECONDS" (some 40, however many are asked for) has many more of them.
 */
#include <pthread.h>
#include <signal.h>
#include <ucontext.h>
#include "maps.h"
#include "often.h"
#include "page.h"

#define ERRNO_MARK 12345

#ifdef __x86_64__

#define TRAP_FLAG 0x100

static int map_fd;
static tld_key_t key;
static bool trapping;
static unsigned long traps, skipped, succeeded, busy, wrong;
static unsigned long beginnings = SOME(24); /* in one sweep */
static void (*in_handler)(void);

/* The red zone of the function that this is inlined in is stepped over. */
static inline __attribute__((always_inline)) void trap_on(void)
{
	trapping = true;
	__asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; orq %0, (%%rsp); popfq; lea 128(%%rsp), %%rsp"
			 : : "i"(TRAP_FLAG) : "memory", "cc");
}

static inline __attribute__((always_inline)) void trap_off(void)
{
	trapping = false;
}

/* Without the flag in the interrupted context the next instruction does not trap. */
static void trapped(int signal, siginfo_t *info, void *context)
{
	ucontext_t *interrupted = context;
	int err = errno;

	(void)signal;
	(void)info;
	if (!trapping) {
		interrupted->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
		return;
	}
	if (traps++ >= skipped)
		in_handler();
	errno = err;
}

static void begin(void (*handler)(void))
{
	struct sigaction action = { .sa_sigaction = trapped, .sa_flags = SA_SIGINFO };

	in_handler = handler;
	if (sigaction(SIGTRAP, &action, NULL))
		tap_bail("a handler can be set");
}

/*
 * The first run of a sweep, without the handler's calls, tells how many
 * instructions there are; in the next ones the calls begin later and later.
 */
#define NEVER ULONG_MAX
static unsigned long instructions;

static bool begin_later(void)
{
	if (traps > instructions)
		instructions = traps;
	skipped = skipped == NEVER ? 0 : skipped + instructions / beginnings + 1;
	return skipped < instructions;
}

static void create_the_same(void)
{
	int16_t off = tld_create_key("contended", 8).off;

	if (off == -EAGAIN)
		busy++;
	else if (off >= 0)
		succeeded++;
	else if (off != -EEXIST)
		wrong++;
	if (tld_find_key("before").off != 0)
		wrong++;
}

/*
 * One of handler and interrupted call creates the name, whoever is first. Who is,
 * depends on how many instructions pass before the handler begins to.
 */
static void handler_creates(void)
{
	unsigned long not_once = 0, not_found = 0, won = 0, wrong_result = 0;
	int16_t off;

	tld_create_key("before", 8);
	begin(create_the_same);
	skipped = NEVER;
	do {
		page_reset(1, 64);
		traps = succeeded = 0;
		trap_on();
		off = tld_create_key("contended", 8).off;
		trap_off();
		not_once += succeeded + (off >= 0) != 1 || page_cnt() != 2;
		not_found += tld_find_key("contended").off != 8;
		wrong_result += off != 8 && off != -EEXIST;
		won += off == 8;
	} while (begin_later());
	diag("%lu instructions, %lu times told EAGAIN, %lu times the interrupted call won", instructions, busy, won);
	ok(instructions > 50, "a handler runs after each instruction of tld_create_key()");
	is(not_once, 0, "the name that both create is created once");
	is(not_found, 0, "and found afterwards");
	is(wrong_result, 0, "what was interrupted has the key or is told that it exists");
	ok(won > 0, "if the handler comes late, it has the key");
	ok(busy > 0, "tld_create_key() in the handler is told EAGAIN while the library is busy");
	is(wrong, 0, "else it says that the name exists; tld_find_key() always works");
	is(tld_create_key("after", 8).off, 16, "and more can be created");
}

/* Also in the process's first call, when there is no page yet. */
static void create_first(void)
{
	int16_t off = tld_create_key("contended", 8).off;

	if (off == -EAGAIN)
		busy++;
	else if (off >= 0)
		succeeded++;
	else if (off != -EEXIST)
		wrong++;
}

static void handler_creates_first(void)
{
	int16_t off;

	begin(create_first);
	trap_on();
	off = tld_create_key("contended", 8).off;
	trap_off();
	is(succeeded + (off >= 0), 1, "the first key of a process, created by both, is created once");
	is(wrong, 0, "the other is told that it exists or EAGAIN");
	is(tld_find_key("contended").off, 0, "it is found");
	is(page_cnt(), 1, "one TLD is counted");
	is(page_size_field(), 64, "the budget counts once");
}

static void *address;

static void get(void)
{
	void *data = (errno = 0, tld_get_data(map_fd, key));

	if (!data && errno == EAGAIN)
		busy++;
	else if (!data || (address && data != address))
		wrong++;
	else
		succeeded++;
	if (data)
		address = data;
}

/* A thread's first call, interrupted from a certain instruction on. */
static unsigned long refused, moved, unpublished;

static void *first_get(void *unused)
{
	void *data;

	(void)unused;
	address = NULL;
	traps = 0;
	trap_on();
	data = tld_get_data(map_fd, key);
	trap_off();
	refused += !data;
	moved += (address && data != address) || tld_get_data(map_fd, key) != data;
	unpublished += !published(map_fd);
	return NULL;
}

static void handler_gets_first(void)
{
	pthread_t thread;

	key = tld_create_key("k", 8);
	begin(get);
	skipped = NEVER;
	do {
		if (pthread_create(&thread, NULL, first_get, NULL))
			tap_bail("a thread can be started");
		pthread_join(thread, NULL);
	} while (begin_later());
	diag("%lu instructions, %lu times told EAGAIN, %lu times got data", instructions, busy, succeeded);
	ok(instructions > 50, "a handler runs after each instruction of a thread's first tld_get_data()");
	is(refused, 0, "which gives data all the same");
	is(wrong, 0, "in the handler it gives an address or EAGAIN");
	is(moved, 0, "the same address as what was interrupted, and as calls afterwards");
	is(unpublished, 0, "the thread is published in the end");
	ok(busy > 0, "in the handler it is told EAGAIN while the library is busy");
	ok(succeeded > 0, "and works as soon as it can");
}

static void handler_gets_in_free(void)
{
	key = tld_create_key("k", 8);
	address = tld_get_data(map_fd, key);
	begin(get);
	skipped = NEVER;
	do {
		traps = 0;
		trap_on();
		tld_free();
		trap_off();
		moved += tld_get_data(map_fd, key) != address;
		unpublished += !published(map_fd);
	} while (begin_later());
	diag("%lu instructions, %lu times told EAGAIN, %lu times got data", instructions, busy, succeeded);
	ok(instructions > 50, "a handler runs after each instruction of tld_free()");
	is(wrong, 0, "in the handler tld_get_data() gives the thread's address or EAGAIN");
	ok(busy > 0, "it is told EAGAIN while the library is busy");
	is(moved, 0, "afterwards it gives the same address");
	is(unpublished, 0, "and publishes the thread");
}

/* Whatever the handler has shared in between, a tld_free() later ends it. */
static void freed_for_good(void)
{
	key = tld_create_key("k", 8);
	address = tld_get_data(map_fd, key);
	begin(get);
	skipped = NEVER;
	do {
		traps = 0;
		trap_on();
		tld_free();
		trap_off();
		tld_free();
		unpublished += published(map_fd);
		tld_get_data(map_fd, key);
	} while (begin_later());
	is(unpublished, 0, "tld_free() after an interrupted tld_free() withdraws the thread, whatever the handler did");
}

static void free_in_handler(void)
{
	int before = errno = ERRNO_MARK;

	tld_free();
	wrong += errno != before;
}

/* In a handler that interrupted the library it does nothing, else it frees. */
static void *freed_first_get(void *unused)
{
	void *data;

	(void)unused;
	traps = 0;
	trap_on();
	data = tld_get_data(map_fd, key);
	trap_off();
	refused += !data;
	moved += tld_get_data(map_fd, key) != data;
	unpublished += !published(map_fd);
	tld_free();
	unpublished += published(map_fd);
	return NULL;
}

static void handler_frees(void)
{
	pthread_t thread;

	key = tld_create_key("k", 8);
	begin(free_in_handler);
	skipped = NEVER;
	do {
		if (pthread_create(&thread, NULL, freed_first_get, NULL))
			tap_bail("a thread can be started");
		pthread_join(thread, NULL);
	} while (begin_later());
	ok(instructions > 50, "tld_free() runs in a handler after each instruction of tld_get_data()");
	is(wrong, 0, "it leaves errno alone");
	is(refused, 0, "the interrupted call gives data");
	is(moved, 0, "so do later calls, at the same address");
	is(unpublished, 0, "the thread is published, and withdrawn by tld_free()");
}

/* The promise that a handler can rely on: what was used before works always. */
static tld_key_t known_key;

static void get_known(void)
{
	void *data = (errno = ERRNO_MARK, tld_get_data(map_fd, known_key));

	if (data == address && errno == ERRNO_MARK)
		succeeded++;
	else
		wrong++;
}

static void known_key_always_works(void)
{
	tld_key_t later = { -1 };
	int other_fd = data_map(V2_SIZE);

	known_key = tld_create_key("known", 8);
	address = tld_get_data(map_fd, known_key);
	begin(get_known);
	trap_on();
	later = tld_create_key("later", 8);
	tld_get_data(map_fd, later);
	tld_get_data(map_fd, (tld_key_t){ -1 });
	tld_find_key("known");
	trap_off();
	ok(address && traps > 100, "a thread that has data is interrupted in other calls");
	is(wrong, 0, "tld_get_data() of the last map and a key used before works at every point");
	ok(tld_get_data(other_fd, later) != NULL, "and later calls work");
	close(other_fd);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--soak"))
		beginnings = 400;
	map_fd = data_map(V2_SIZE);
	in_child(handler_creates);
	in_child(handler_creates_first);
	in_child(handler_gets_first);
	in_child(handler_gets_in_free);
	in_child(freed_for_good);
	in_child(handler_frees);
	in_child(known_key_always_works);
	close(map_fd);
	return tap_done();
}

#else

int main(void)
{
	tap_skip_all("this processor's trap flag is not known to the test");
}

#endif
