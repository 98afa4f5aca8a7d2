// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * handlers.c - what handlers may call that interrupted the library, at every instruction
 * of each public call: the fast path works, all else says EAGAIN while the library is
 * busy and does its work otherwise. signals.c has tld_create_key, tld_get_data and
 * tld_free in this manner; here are the others, and fork(2), whose handlers are calls too.
 *
 * What a handler does early changes what is interrupted later, so the calls other than
 * the fast path begin at several points.
 */
#include <unistd.h>

#define TLD_DYN_DATA_SIZE 200
#include "tld.h"

#include "forks.h"
#include "maps.h"
#include "page.h"
#include "reader.h"
#include "threads.h"
#include "traps.h"

#ifdef __x86_64__

#define ERRNO_MARK 12345
#define BEGINNINGS SOME(8)

static struct reader *reader, *second;
static int map_fd, second_fd;
static __u32 second_id;
static tld_key_t known_key;
static uint64_t *address;
static struct tld_thread_ref *own_ref;

/* --- In the handler ---------------------------------------------------------------------- */

/* What the handler may find besides its thread's address. */
static bool may_be_unpublished, may_be_detached;
static unsigned long fast, refused, wrong, wrong_always;

static void count_fast(const void *data, bool may_be_refused)
{
	if (data == address && errno == ERRNO_MARK)
		fast++;
	else if (!data && errno == EAGAIN && may_be_refused)
		refused++;
	else
		wrong++;
}

/* Also what needs no lock, which is documented to work always. */
static void call_fast(void)
{
	errno = ERRNO_MARK;
	count_fast(tld_get(known_key), may_be_unpublished);
	errno = ERRNO_MARK;
	count_fast(tld_get_data(map_fd, known_key), may_be_unpublished || may_be_detached);
	errno = ERRNO_MARK;
	if (tld_find_key("known").off != known_key.off || !tld_version() || errno != ERRNO_MARK ||
	    (own_ref && tld_ref_get(own_ref, known_key) != address))
		wrong_always++;
}

enum slow {
	GET, GET_DATA, CREATE, PUBLISH, ATTACH, DETACH, DETACH_ID, FOLLOW, UNFOLLOW, STATUS, REF,
	FREE, SLOWS,
};
static const char *const slow_names[SLOWS] = {
	"tld_get", "tld_get_data", "tld_create_key", "tld_publish", "tld_attach", "tld_detach",
	"tld_detach_id", "tld_follow", "tld_unfollow", "tld_follow_status", "tld_ref_thread",
	"tld_free",
};
static unsigned long told_busy[SLOWS], done[SLOWS], odd[SLOWS];

/* References that were got in a handler are to be given back outside of it. */
#define REFS 512
static struct tld_thread_ref *refs[REFS];
static int ref_count;

static int by_errno(const void *result)
{
	return result ? 0 : -errno;
}

static int refer(void)
{
	struct tld_thread_ref *ref = ref_count < REFS ? tld_ref_thread(gettid()) : NULL;

	if (!ref)
		return ref_count < REFS ? -errno : -EAGAIN;
	refs[ref_count++] = ref;
	return 0;
}

/* 0 or what it says; what else is right when it is not interrupted by chance. */
static int call_one(enum slow slow, int *also)
{
	*also = 0;
	switch (slow) {
	case GET:
		return by_errno(tld_get_slow(known_key));
	case GET_DATA:
		return by_errno(tld_get_data_slow(map_fd, known_key));
	case CREATE:
		*also = -EEXIST;
		return tld_create_key("known", 8).off;
	case PUBLISH:
		return tld_publish();
	case ATTACH:
		return tld_attach(map_fd);
	case DETACH:
		*also = -ENOENT;
		return tld_detach(-1) == -EBADF ? -ENOENT : -EAGAIN;
	case DETACH_ID:
		*also = -ENOENT;
		return tld_detach_id(~0u);
	case FOLLOW:
		*also = -EINVAL;
		return tld_follow("not absolute");
	case UNFOLLOW:
		*also = -ENOENT;
		return tld_unfollow("/nothing");
	case STATUS:
		*also = -ENOENT;
		return tld_follow_status("/nothing");
	case REF:
		return refer();
	case FREE:
		tld_free();
		return may_be_unpublished ? 0 : tld_get(known_key) == address ? -EAGAIN : -ENODATA;
	default:
		return -ENOSYS;
	}
}

static void call_slow(enum slow slow)
{
	int also, result = call_one(slow, &also);

	if (result == -EAGAIN)
		told_busy[slow]++;
	else if (result == 0 || result == also)
		done[slow]++;
	else
		odd[slow]++;
}

/* tld_free() would change what the fast path finds where it is not refused. */
#define NEVER ULONG_MAX
static unsigned long begin_at;

static void in_handler(unsigned long number)
{
	enum slow slow = number % SLOWS;

	call_fast();
	if (number >= begin_at && (slow != FREE || may_be_unpublished))
		call_slow(slow);
}

/* --- What is interrupted --------------------------------------------------------------- */

struct interrupted {
	const char *name;
	void (*prepare)(void);
	void (*call)(void);	/* between trap_on() and trap_off() */
	bool (*is_right)(void);	/* of its result, afterwards */
	bool may_be_unpublished, may_be_detached;
};

static int result;
static void *pointer;
static tld_key_t later_key;

static void nothing(void)
{
}

static bool is_zero(void)
{
	return result == 0;
}

static bool is_address(void)
{
	return pointer == address;
}

/* A key that this thread's limit does not include yet. */
static void create_later(void)
{
	static unsigned int count;
	char name[16];

	snprintf(name, sizeof(name), "later %u", count++);
	later_key = tld_create_key(name, 1);
	if (tld_key_is_err(later_key))
		tap_bail("a key is created");
}

/* Every call that is stepped through is one line, so that nothing else is. */
#define STEPPED(name, statement)		\
	static void name(void)			\
	{					\
		trap_on();			\
		statement;			\
		trap_off();			\
	}

STEPPED(get_later, pointer = tld_get(later_key))
STEPPED(get_data_elsewhere, pointer = tld_get_data(second_fd, known_key))
STEPPED(publish, result = tld_publish())
STEPPED(attach_second, result = tld_attach(second_fd))
STEPPED(attach_again, result = tld_attach(map_fd))
STEPPED(detach_second, result = tld_detach(second_fd))
STEPPED(detach_second_id, result = tld_detach_id(second_id))
STEPPED(detach_own, result = tld_detach(map_fd))
STEPPED(status, result = tld_follow_status("/nothing"))
STEPPED(refer_own, pointer = tld_ref_thread(gettid()))
STEPPED(ref_get, pointer = tld_ref_get(own_ref, known_key))
STEPPED(unrefer, tld_unref_thread(pointer))
STEPPED(free_own, tld_free())

static bool is_later(void)
{
	return pointer == (char *)address + later_key.off;
}

/* It was the fast path's map: let it be that again. */
static bool is_in_second(void)
{
	return pointer == address && reader_sees(second, 0) &&
	       tld_get_data(map_fd, known_key) == address;
}

static bool sees_second(void)
{
	return result == 0 && reader_u64(second, 0, "known") == *address;
}

static void attach_before(void)
{
	if (tld_attach(second_fd))
		tap_bail("a map can be attached");
}

static bool is_out_of_second(void)
{
	return result == 0 && !reader_sees(second, 0);
}

/* The handler's tld_get_data() may have published the thread there again. */
static bool is_detached(void)
{
	return result == 0 && !tld_attach(map_fd) && tld_get_data(map_fd, known_key) == address;
}

static bool is_not_there(void)
{
	return result == -ENOENT;
}

static bool is_own_ref(void)
{
	bool right = pointer && tld_ref_get(pointer, known_key) == address;

	tld_unref_thread(pointer);
	return right;
}

static void refer_before(void)
{
	pointer = tld_ref_thread(gettid());
}

static bool is_usable(void)
{
	*address = 7;
	return tld_get(known_key) == address && tld_get_data(map_fd, known_key) == address &&
	       reader_u64(reader, 0, "known") == 7;
}

static const struct interrupted kinds[] = {
	{ "tld_get of a key behind all others", create_later, get_later, is_later, false, false },
	{ "tld_get_data of another map", nothing, get_data_elsewhere, is_in_second, false, true },
	{ "tld_publish", nothing, publish, is_zero, false, false },
	{ "tld_attach", nothing, attach_second, sees_second, false, false },
	{ "tld_attach of a map that is attached", nothing, attach_again, is_zero, false, false },
	{ "tld_detach", attach_before, detach_second, is_out_of_second, false, true },
	{ "tld_detach_id", attach_before, detach_second_id, is_out_of_second, false, true },
	{ "tld_detach of the map used last", nothing, detach_own, is_detached, false, true },
	{ "tld_follow_status", nothing, status, is_not_there, false, false },
	{ "tld_ref_thread", nothing, refer_own, is_own_ref, false, false },
	{ "tld_ref_get", nothing, ref_get, is_address, false, false },
	{ "tld_unref_thread", refer_before, unrefer, is_usable, false, false },
	{ "tld_free", nothing, free_own, is_usable, true, true },
};
static const struct interrupted *kind;

static void give_back_refs(void)
{
	while (ref_count)
		tld_unref_thread(refs[--ref_count]);
}

static void leave_second(void)
{
	tld_detach(second_fd);
	if (tld_get_data(map_fd, known_key) != address)
		tap_bail("the thread uses its map");
}

/* One run; false if what was interrupted had another result than without a handler. */
static bool interrupt(unsigned long at)
{
	bool right;

	begin_at = at;
	kind->prepare();
	if (tld_get_data(map_fd, known_key) != address)
		tap_bail("the thread uses its map");
	kind->call();
	right = kind->is_right();
	give_back_refs();
	leave_second();
	return right && is_usable();
}

static void open_process(void)
{
	known_key = tld_create_key("known", 8);
	if (tld_attach(map_fd))
		tap_bail("a map can be attached");
	address = tld_get_data(map_fd, known_key);
	if (!address || tld_get(known_key) != address)
		tap_bail("a thread gets its TLD");
	*address = 7;
	own_ref = tld_ref_thread(gettid());
	trap_with(in_handler);
}

static void judge_slow(void)
{
	unsigned long busy = 0, all = 0;
	int wrongly = 0;

	for (int i = 0; i < SLOWS; i++) {
		busy += told_busy[i];
		all += told_busy[i] + done[i];
		if (odd[i])
			diag("  %s: %lu other results", slow_names[i], odd[i]);
		wrongly += odd[i] != 0;
	}
	diag("%s: %lu calls of the fast path, %lu of others, of which %lu were told EAGAIN",
	     kind->name, fast, all, busy);
	is(wrongly, 0, "in a handler in %s every other call works or says EAGAIN", kind->name);
	/* This one is async-signal-safe itself: there is nothing to be busy with. */
	if (kind->call != ref_get)
		ok(busy > 0, "in a handler in %s calls say EAGAIN while the library is busy",
		   kind->name);
}

static void interrupted_call(void)
{
	unsigned long instructions, at;
	int not_right;

	open_process();
	may_be_unpublished = kind->may_be_unpublished;
	may_be_detached = kind->may_be_detached;
	not_right = !interrupt(NEVER);
	instructions = traps;
	for (at = 0; at < instructions; at += instructions / BEGINNINGS + 1)
		not_right += !interrupt(at);
	ok(instructions > 20, "a handler runs after each instruction of %s", kind->name);
	is(wrong, 0, kind->may_be_unpublished ?
	   "in it tld_get and tld_get_data give the thread's address or EAGAIN" :
	   "in it the fast path works at every point");
	is(wrong_always, 0, "so do tld_find_key, tld_ref_get and tld_version");
	judge_slow();
	is(not_right, 0, "%s itself has its result, whatever handlers did", kind->name);
}

/* --- The handlers of fork --------------------------------------------------------------- */

enum stretch { NOWHERE, PREPARING, IN_PARENT, IN_CHILD };
static const char *const stretch_names[] = {
	"", "fork(), before it forks", "fork(), in the parent", "fork(), in the child",
};
static enum stretch stretch;

/* Of functions that prepare, those registered last run first; of the others the first. */
static inline __attribute__((always_inline)) void enter_stretch(enum stretch here)
{
	if (stretch == here)
		trap_on();
}

static void leave_stretch(enum stretch here)
{
	if (stretch != here)
		return;
	trap_off();
	report->word = traps;
}

static void late_prepare(void) { enter_stretch(PREPARING); }
static void early_prepare(void) { leave_stretch(PREPARING); }
static void early_parent(void) { enter_stretch(IN_PARENT); }
static void late_parent(void) { leave_stretch(IN_PARENT); }
static void early_child(void) { enter_stretch(IN_CHILD); }
static void late_child(void) { leave_stretch(IN_CHILD); }

/* Before any library's constructor, and with it before libtld's own. */
static void register_early(void)
{
	pthread_atfork(early_prepare, early_parent, early_child);
}

__attribute__((section(".preinit_array"), used))
static void (*const early)(void) = register_early;

/* The counters are the child's own in its stretch: they are judged there. */
static void judge_in_child(void)
{
	for (int i = 0; i < SLOWS; i++)
		check(!odd[i]);
	check(!wrong && !wrong_always);
	check(!tld_publish() && tld_get(known_key) == address);
	*address = 9; /* a handler may have called tld_free() */
	check(reader_u64(reader, 0, "known") == 9);
}

static bool fork_interrupted(enum stretch where, unsigned long at)
{
	pid_t child;

	begin_at = at;
	stretch = where;
	child = fork();
	stretch = NOWHERE;
	if (!child) {
		alarm(CHILD_SECONDS);
		judge_in_child();
		_exit(0);
	}
	give_back_refs();
	at = report->word;
	if (!was_right(child))
		return false;
	report->word = at;
	return is_usable() && !tld_publish();
}

static void interrupted_fork(void)
{
	static const struct interrupted fork_kind = { .name = "the handlers of fork()" };
	unsigned long instructions;

	report_open();
	open_process();
	pthread_atfork(late_prepare, late_parent, late_child);
	kind = &fork_kind;
	for (enum stretch where = PREPARING; where <= IN_CHILD; where++) {
		int bad;

		/* The child is not published yet, and the map is not the parent's. */
		may_be_unpublished = may_be_detached = where == IN_CHILD;
		bad = !fork_interrupted(where, NEVER);
		instructions = report->word;
		for (unsigned long at = 0; at < instructions; at += instructions / BEGINNINGS + 1)
			bad += !fork_interrupted(where, at);
		ok(instructions > 20, "a handler runs after each instruction of %s",
		   stretch_names[where]);
		is(bad, 0, "parent and child can go on, whatever handlers called in %s",
		   stretch_names[where]);
	}
	is(wrong, 0, "in the parent the fast path works at every point");
	is(wrong_always, 0, "so do tld_find_key, tld_ref_get and tld_version");
	judge_slow();
}

/* --- Calls that start and end a thread ----------------------------------------------------- */

/*
 * The C library blocks signals for a while when it starts a thread, so signals come from
 * another thread, as fast as they are taken.
 */
static volatile bool stop_signals;
static unsigned long taken;

static void signalled(int signal)
{
	int saved = errno;

	(void)signal;
	call_fast();
	call_slow(taken % SLOWS == FREE ? PUBLISH : taken % SLOWS);
	__atomic_store_n(&taken, taken + 1, __ATOMIC_RELEASE);
	errno = saved;
}

static void *send_signals(void *thread)
{
	unsigned long sent = 0;

	while (!stop_signals) {
		pthread_kill(*(pthread_t *)thread, SIGUSR1);
		sent++;
		while (!stop_signals && __atomic_load_n(&taken, __ATOMIC_ACQUIRE) < sent)
			;
	}
	return NULL;
}

#define FOLLOWS OFTEN(300)

static void interrupted_follow(void)
{
	static const struct interrupted follow_kind = { .name = "tld_follow and tld_unfollow" };
	struct sigaction action = { .sa_handler = signalled, .sa_flags = SA_RESTART };
	pthread_t self = pthread_self(), sender;
	int failed = 0;

	open_process();
	kind = &follow_kind;
	if (sigaction(SIGUSR1, &action, NULL))
		tap_bail("a handler can be set");
	sender = start_thread(send_signals, &self);
	for (int i = 0; i < FOLLOWS; i++) {
		failed += tld_follow("/nothing/here") != 0;
		failed += tld_follow_status("/nothing/here") != -ENOENT;
		failed += tld_unfollow("/nothing/here") != 0;
	}
	stop_signals = true;
	end_thread(sender);
	ref_count = 0;
	diag("%lu signals", taken);
	is(failed, 0, "tld_follow and tld_unfollow work whatever handlers do");
	is(wrong, 0, "in handlers the fast path works");
	is(wrong_always, 0, "so do tld_find_key, tld_ref_get and tld_version");
	judge_slow();
}

/* --- A thread's first call ------------------------------------------------------------------- */

static unsigned long first_wrong, first_busy, first_done;
static uint64_t *first_address;

static void get_first(unsigned long number)
{
	void *data;

	if (number < begin_at)
		return;
	errno = ERRNO_MARK;
	data = tld_get(known_key);
	if (!data && errno == EAGAIN)
		first_busy++;
	else if (!data || (first_address && data != first_address))
		first_wrong++;
	else
		first_done++;
	if (data)
		first_address = data;
}

static void *get_in_new_thread(void *unused)
{
	(void)unused;
	first_address = NULL;
	trap_on();
	pointer = tld_get(known_key);
	trap_off();
	first_wrong += !pointer || !reader_sees(reader, 0) ||
		       (first_address && pointer != first_address);
	return NULL;
}

static void interrupted_first_get(void)
{
	unsigned long instructions, at = 0;

	open_process();
	trap_with(get_first);
	begin_at = NEVER;
	in_thread(get_in_new_thread, NULL);
	instructions = traps;
	for (at = 0; at < instructions; at += instructions / BEGINNINGS + 1) {
		begin_at = at;
		in_thread(get_in_new_thread, NULL);
	}
	diag("%lu instructions; %lu times EAGAIN, %lu times data", instructions, first_busy,
	     first_done);
	is(first_wrong, 0,
	   "a thread's first tld_get and one in a handler that interrupts it agree");
	ok(first_busy && first_done, "which is told EAGAIN, or gets the data");
}

static __u32 id_of(int fd)
{
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		tap_bail("a map has an id");
	return info.id;
}

int main(void)
{
	reader_need_kernel();
	reader = reader_open(READER_V2);
	second = reader_open(READER_V2);
	map_fd = reader_map_fd(reader);
	second_fd = reader_map_fd(second);
	second_id = id_of(second_fd);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		kind = &kinds[i];
		in_child(interrupted_call);
	}
	in_child(interrupted_fork);
	in_child(interrupted_follow);
	in_child(interrupted_first_get);
	reader_close(second);
	reader_close(reader);
	return tap_done();
}

#else

int main(void)
{
	tap_skip_all("this processor's trap flag is not known to the test");
}

#endif
