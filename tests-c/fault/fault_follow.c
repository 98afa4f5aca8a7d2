// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * fault_follow.c - fault_points.c for pins that are followed: the system calls of
 * tld_follow() and tld_unfollow(), and those of the thread that watches, of which the
 * next look makes good what failed. And calls of that thread that fail for ever: it
 * looks no oftener than once a second then.
 */
#define TLD_DYN_DATA_SIZE 200
#include "fault_points.h"
#include "follow.h"
#include "reader.h"

/* The second between two looks is 5 ms here, but where time is what is tested. */
#define HURRY 200

static struct reader *first, *second;
static int first_map, second_map;

static const short follow_errnos[] = { EINVAL, ENAMETOOLONG, ENOSPC, ENOMEM, EAGAIN, 0 };
/* What keeps a thread from being withdrawn is told, as tld_detach() does, or made good. */
static const short unfollow_errnos[] = {
	EINVAL, ENOENT, EAGAIN, ENOMEM, EMFILE, ENFILE, EBADF, EPERM, ENOSYS, EOPNOTSUPP, 0
};
static const short status_errnos[] = {
	ENOENT, EACCES, EPERM, EINVAL, ELOOP, EXDEV, EAGAIN, ENOMEM, EMFILE, ENFILE, EBADF,
	EOPNOTSUPP, ENOSYS, ENOSPC, 0
};
static const short no_errnos[] = { 0 };

/* --- What is seen ------------------------------------------------------------------ */

static bool all_read(struct reader *reader)
{
	int count = reader_u64(reader, getpid(), "value") == 1;

	for (int i = 0; i < CREW; i++)
		count += reader_u64(reader, crew[i], "value") == 100u + i;
	return count == EVERYBODY;
}

/* Of this process: others use the maps at the same time. */
static bool nobody_in(struct reader *reader)
{
	int count = reader_sees(reader, getpid());

	for (int i = 0; i < CREW; i++)
		count += reader_sees(reader, crew[i]);
	return !count;
}

static bool nobody_is_seen(void)
{
	return nobody_in(first) && nobody_in(second);
}

static int status(void)
{
	return tld_follow_status(PIN);
}

static bool is_among(int err, const short *errnos)
{
	while (*errnos && *errnos != err)
		errnos++;
	return *errnos != 0;
}

static bool attached_to(struct reader *reader)
{
	return !status() && all_read(reader);
}

/* A status may say what failed; 0 means that all is well. */
static bool status_agrees(void)
{
	int err = status();

	return err ? is_among(-err, status_errnos) : all_read(first);
}

/* --- Paths ------------------------------------------------------------------------- */

static void pin_first(void)
{
	pin(first_map, PIN);
}

static int follow(void)
{
	return -tld_follow(PIN);
}

static void must_follow(void)
{
	if (tld_follow(PIN))
		tap_bail("a path can be followed");
}

static void remove_pins(void)
{
	unlink(PIN);
	unlink(OTHER_PIN);
}

static void end_following(void)
{
	judge(CHECK_AGAIN, !tld_unfollow(PIN), "%s: then tld_unfollow()", outcome->fault);
	remove_pins();
}

static bool not_followed(void)
{
	return tld_unfollow(PIN) == -ENOENT && status() == -ENOENT && nobody_is_seen();
}

static bool follow_agrees(int err)
{
	return err ? not_followed() : status_agrees();
}

/* As awaited(), for what mostly is so already. */
#define comes_true(condition) ((condition) || awaited(condition))

static bool is_attached_soon(void)
{
	return comes_true(attached_to(first));
}

static bool follow_absent_agrees(int err)
{
	return err ? not_followed() : is_among(-status(), status_errnos) && nobody_is_seen();
}

static bool is_attached_when_pinned(void)
{
	pin_first();
	return is_attached_soon();
}

static void follow_pin(void)
{
	pin_first();
	must_follow();
	if (!is_attached_soon())
		tap_bail("a followed pin is attached");
}

static int unfollow(void)
{
	return -tld_unfollow(PIN);
}

static bool unfollow_agrees(int err)
{
	return err ? true : not_followed();
}

/* Either the path is still followed, or what is left of it can be detached. */
static int unfollow_again(int err)
{
	if (!err || !unfollow())
		return 0;
	return -tld_detach(first_map);
}

static int ask(void)
{
	return -status();
}

static bool ask_agrees(int err)
{
	return !err && all_read(first);
}

static bool still_attached(void)
{
	return attached_to(first);
}

static void follow_other_pin(void)
{
	pin(second_map, OTHER_PIN);
	pin_first();
	if (tld_follow(OTHER_PIN))
		tap_bail("a path can be followed");
}

static bool both_attached(void)
{
	return is_attached_soon() && !tld_follow_status(OTHER_PIN) && all_read(second);
}

static bool other_stays(int err)
{
	bool agrees = !tld_follow_status(OTHER_PIN) && all_read(second);

	if (err)
		return agrees && status() == -ENOENT && nobody_in(first);
	return agrees && status_agrees();
}

static void end_following_both(void)
{
	judge(CHECK_AGAIN, !tld_unfollow(OTHER_PIN), "%s: then tld_unfollow()", outcome->fault);
	end_following();
}

/* --- The thread's own looks: what happens while it watches ------------------------- */

static int soon(bool right)
{
	return right ? 0 : ETIMEDOUT;
}

static int wait_for_pin(void)
{
	pin_first();
	return soon(is_attached_soon());
}

static bool wait_agrees(int err)
{
	return !err;
}

static int wait_for_removal(void)
{
	remove_pins();
	return soon(awaited(status() == -ENOENT && nobody_is_seen()));
}

static bool removal_reads(void)
{
	return nobody_is_seen() && is_attached_when_pinned();
}

static bool is_replaced(void)
{
	return comes_true(attached_to(second) && nobody_in(first));
}

static int wait_for_replacement(void)
{
	pin_over(second_map, PIN);
	return soon(is_replaced());
}

/* How often the library made a call of that kind in this process. */
static unsigned int calls_of(const char *name)
{
	for (int i = 0; i < INJECT_KINDS; i++)
		if (!strcmp(inject_kinds[i].name, name))
			return __atomic_load_n(&inject_own_calls[i], __ATOMIC_RELAXED);
	return 0;
}

/* What says nothing of the pin, but that it could not be looked at for now. */
static bool says_nothing(int err)
{
	static const short errnos[] = { EINTR, EIO, EAGAIN, ENOMEM, EMFILE, ENFILE, 0 };

	return is_among(err, errnos);
}

/* The pin stays, so nobody is withdrawn, not even for a moment. */
static int wait_for_unrelated(void)
{
	unsigned int deletions = calls_of("bpf(BPF_MAP_DELETE_ELEM)");

	unlink(OTHER_PIN);
	pin(second_map, OTHER_PIN);
	if (!awaited(inject_calls > 0) || !is_attached_soon())
		return ETIMEDOUT;
	if (inject_failures > 1 || (inject_failures && !says_nothing(inject_failed_code)))
		return 0;
	return calls_of("bpf(BPF_MAP_DELETE_ELEM)") == deletions ? 0 : ENODATA;
}

#define WATCHER (PATH_HIDES_ALL | PATH_OTHERS | PATH_WITHOUT_BLOCKS)

static const struct fault_path paths[] = {
	{ "tld_follow() of a pin", follow_errnos, PATH_WITHOUT_BLOCKS,
	  pin_first, follow, follow_agrees, NULL, is_attached_soon, end_following },
	{ "tld_follow() before the pin", follow_errnos, PATH_WITHOUT_BLOCKS,
	  NULL, follow, follow_absent_agrees, NULL, is_attached_when_pinned, end_following },
	{ "tld_follow() of a second pin", follow_errnos, PATH_WITHOUT_BLOCKS,
	  follow_other_pin, follow, other_stays, NULL, both_attached, end_following_both },
	{ "tld_follow_status()", no_errnos, PATH_HIDES_ALL | PATH_WITHOUT_BLOCKS,
	  follow_pin, ask, ask_agrees, NULL, still_attached, end_following },
	{ "tld_unfollow()", unfollow_errnos, PATH_WITHOUT_BLOCKS,
	  follow_pin, unfollow, unfollow_agrees, unfollow_again, not_followed, remove_pins },
	{ "tld_unfollow() without a pin", unfollow_errnos, PATH_WITHOUT_BLOCKS,
	  must_follow, unfollow, unfollow_agrees, unfollow_again, not_followed, remove_pins },
	{ "the watching thread when a pin comes", no_errnos, WATCHER,
	  must_follow, wait_for_pin, wait_agrees, NULL, is_attached_soon, end_following },
	{ "the watching thread when the pin goes", no_errnos, WATCHER,
	  follow_pin, wait_for_removal, wait_agrees, NULL, removal_reads, end_following },
	{ "the watching thread when the pin is replaced", no_errnos, WATCHER,
	  follow_pin, wait_for_replacement, wait_agrees, NULL, is_replaced, end_following },
	{ "the watching thread when another pin comes", no_errnos, WATCHER,
	  follow_pin, wait_for_unrelated, wait_agrees, NULL, is_attached_soon, end_following },
};

#define PATHS (sizeof(paths) / sizeof(paths[0]))

static void before_rounds(void)
{
	inject_hurry = HURRY;
	remove_pins(); /* of one that was broken */
	start_crew();
}

/*
 * The paths are run side by side, because the kernel takes its time to let go of what
 * inotify watched; each in a place of its own.
 */
struct apart {
	pid_t child;
	int from;
};

static void start_apart(const struct fault_path *the_path, struct apart *apart)
{
	int ends[2];

	fflush(stdout);
	must(pipe2(ends, O_CLOEXEC));
	apart->child = fork();
	if (apart->child < 0)
		tap_bail("fork works");
	if (!apart->child) {
		dup2(ends[1], STDOUT_FILENO);
		make_place();
		share_outcome();
		run_path(the_path);
		fflush(stdout);
		_exit(0);
	}
	close(ends[1]);
	apart->from = ends[0];
}

static void end_apart(const struct fault_path *the_path, struct apart *apart)
{
	int status = -1;

	relay_points(apart->from);
	waitpid(apart->child, &status, 0);
	if (status)
		ok(false, "%s: the process ends by itself, not with %#x", the_path->name, status);
}

static void run_paths(const char *only)
{
	struct apart apart[PATHS];

	for (size_t i = 0; i < PATHS; i++)
		if (!only || strstr(paths[i].name, only))
			start_apart(&paths[i], &apart[i]);
	for (size_t i = 0; i < PATHS; i++)
		if (!only || strstr(paths[i].name, only))
			end_apart(&paths[i], &apart[i]);
}

/* --- Calls that fail for ever ------------------------------------------------------ */

#define WATCHED_SECONDS 2.5

static const struct endless {
	const char *call;
	int err;
} endless[] = {
	{ "ppoll", EINTR }, { "ppoll", ENOMEM }, { "ppoll", ENOSYS }, { "read", EIO },
	{ "inotify_init1", EMFILE }, { "inotify_add_watch", ENOSPC }, { "openat", EMFILE },
	{ "fstat", ENOMEM }, { "fstatfs", EIO }, { "bpf(BPF_OBJ_GET)", EPERM },
	{ "bpf(BPF_OBJ_GET_INFO_BY_FD)", EPERM }, { "bpf(BPF_MAP_UPDATE_ELEM)", EAGAIN },
	{ "pidfd_open", EMFILE }, { "fcntl(F_DUPFD_CLOEXEC)", EMFILE },
};

#define ENDLESS (sizeof(endless) / sizeof(endless[0]))

/* How often the watching thread looked at the pin. */
static unsigned int looks_in_time(const struct endless *fault)
{
	double start;
	unsigned int looks;

	make_place();
	start_crew();
	pin_first();
	/* Of this thread and of the other one: the failing call may be in tld_follow(). */
	inject_begin((struct inject_rule){ .kind = fault->call, .code = fault->err, .times = -1,
					   .everybody = true });
	must_follow();
	pin(second_map, OTHER_PIN); /* something to read for who watches */
	looks = calls_of("openat");
	start = seconds_now();
	while (seconds_now() - start < WATCHED_SECONDS)
		usleep(10000);
	looks = calls_of("openat") - looks;
	inject_end();
	return looks;
}

struct endless_result {
	unsigned int looks;
	bool recovered;
};

static void fail_for_ever(const struct endless *fault, struct endless_result *result)
{
	alarm(CASE_SECONDS);
	result->looks = looks_in_time(fault);
	result->recovered = awaited(attached_to(first)) && !tld_unfollow(PIN);
	_exit(0);
}

/* All at once: most of the time they wait. */
static void all_for_ever(void)
{
	struct endless_result *results = shared_memory(ENDLESS * sizeof(*results));

	for (size_t i = 0; i < ENDLESS; i++) {
		pid_t child = fork();

		if (child < 0)
			tap_bail("fork works");
		if (!child)
			fail_for_ever(&endless[i], &results[i]);
	}
	for (size_t i = 0; i < ENDLESS; i++)
		wait(NULL);
	for (size_t i = 0; i < ENDLESS; i++) {
		const char *errno_name = strerrorname_np(endless[i].err);

		/* One in each second, and those that the two events ask for. */
		ok(results[i].looks <= WATCHED_SECONDS + 3, "while %s says %s the pin is looked at "
		   "once a second, %u times", endless[i].call, errno_name, results[i].looks);
		ok(results[i].recovered, "when %s no longer says %s the map is attached",
		   endless[i].call, errno_name);
	}
}

/* A part of a path's name: these paths only, and which calls they make. */
int main(int argc, char **argv)
{
	need_place();
	first = reader_open(READER_V2);
	second = reader_open(READER_V2);
	first_map = reader_map_fd(first);
	second_map = reader_map_fd(second);
	other_map = data_map(V2_SIZE);
	share_outcome();
	all_gone = nobody_is_seen;
	shows_calls = argc > 1;
	other_result = ask;
	at_start = before_rounds;
	run_paths(argc < 2 ? NULL : argv[1]);
	if (argc < 2 || !strcmp("for ever", argv[1]))
		all_for_ever();
	if (argc < 2)
		judge_kinds(inject_totals->met);
	return tap_done();
}
