// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * follow.c - the map at a followed path: it is attached when it is pinned, detached
 * when the pin goes, replaced when another is pinned, by whatever way a pin comes
 * and goes; and what the calls return. Who is refused is in follow_refused.c, the
 * library's thread in follow_thread.c.
 */
#include <limits.h>
#include <signal.h>
#include "follow.h"
#include "reader.h"

#define ERRNO_MARK 12345
/* As many as tld.h names. */
#define PATHS 8
#define MAPS 8
#define PATH_BYTES 4096

#define ELSEWHERE BPFFS "/elsewhere"

static int status(void)
{
	return tld_follow_status(PIN);
}

static bool attached(int map_fd)
{
	return members(map_fd) == EVERYBODY && !status();
}

/* Withdrawn, and the reason is the expected one. */
static bool detached(int map_fd, int reason)
{
	return !members(map_fd) && status() == reason;
}

static void begin(void)
{
	make_place();
	start_crew();
}

static void begin_following(void)
{
	begin();
	if (tld_follow(PIN))
		tap_bail("a path can be followed");
}

/* --- A pin that is there ---------------------------------------------------------- */

static bool reads_the_crew(struct reader *reader)
{
	for (int i = 0; i < CREW; i++)
		if (reader_u64(reader, crew[i], "value") != (uint64_t)(100 + i))
			return false;
	return true;
}

static void *store_and_look(void *reader)
{
	store(7);
	return (void *)(uintptr_t)(reader_u64(reader, 0, "value") == 7);
}

static void there_already(void)
{
	struct reader *reader;
	int map;

	begin();
	reader = reader_open(READER_V2);
	map = reader_map_fd(reader);
	pin(map, PIN);
	is(tld_follow_status(PIN), -ENOENT, "a path that is not followed has the status -ENOENT");
	is(members(map), 0, "a map that is only pinned has no thread in it");
	is(tld_follow(PIN), 0, "a path with a pin can be followed");
	is(members(map), EVERYBODY, "every thread is in the map when tld_follow() returns");
	is(status(), 0, "the status is 0");
	is(reader_u64(reader, 0, "value"), 1, "BPF reads the caller's value");
	ok(reads_the_crew(reader), "and those of threads that were never told of a map");
	is(reader_elements(reader, NULL), EVERYBODY, "nobody else is in the map");
	ok(in_thread(store_and_look, reader) != NULL, "a thread that starts later is read at once");
	is(tld_unfollow(PIN), 0, "it is unfollowed");
	is(members(map), 0, "no thread is in the map when tld_unfollow() returns");
	is(status(), -ENOENT, "the status is -ENOENT again");
	ok(!access(PIN, F_OK), "the pin is left to its owner");
	store(8);
	is(tld_follow(PIN), 0, "the path can be followed again");
	is(reader_u64(reader, 0, "value"), 8, "BPF reads what was stored meanwhile");
	reader_close(reader);
}

static void *follow_and_end(void *unused)
{
	(void)unused;
	return (void *)(intptr_t)tld_follow(PIN);
}

/* As a program does that follows first of all, in a thread of its own for such things. */
static void before_any_tld(void)
{
	int map = data_map(V2_SIZE);

	make_place();
	pin(map, PIN);
	is((intptr_t)in_thread(follow_and_end, NULL), 0,
	   "a path can be followed before there is a TLD, by a thread that ends");
	is(status(), 0, "the status is 0");
	start_crew();
	is(members(map), EVERYBODY, "threads are in the map from their first use of a TLD on");
	must(unlink(PIN));
	ok(awaited(detached(map, -ENOENT)), "the path is watched");
}

/* --- Pins that come and go -------------------------------------------------------- */

static void pinned_later(void)
{
	int map = data_map(V2_SIZE), other = data_map(NATIVE_SIZE);

	begin_following();
	is(status(), -ENOENT, "where nothing is pinned the status is -ENOENT");
	pin(map, PIN);
	ok(awaited(attached(map)), "a map that is pinned later is attached");
	must(unlink(PIN));
	ok(awaited(detached(map, -ENOENT)), "it is detached when the pin is unlinked");
	pin(other, PIN);
	ok(awaited(attached(other)), "another that is pinned then is attached");
	is(members(map), 0, "the first stays detached");
	must(unlink(PIN));
	ok(awaited(detached(other, -ENOENT)), "it goes with its pin, too");
	pin(map, PIN);
	ok(awaited(attached(map)), "the first is attached when it is pinned again");
	must(unlink(PIN));
	pin(map, PIN);
	ok(awaited(attached(map)), "it is attached after its pin was unlinked and made again");
	rest();
	ok(awaited(attached(map)), "and stays so");
}

/* Nobody awaits anything between an unlink and the next pin. */
static void pinned_again_at_once(void)
{
	int maps[4];

	begin_following();
	for (int i = 0; i < 4; i++) {
		maps[i] = data_map(V2_SIZE);
		if (i)
			must(unlink(PIN));
		pin(maps[i], PIN);
	}
	ok(awaited(attached(maps[3])),
	   "of several maps, pinned one right after the other, the last is attached");
	is(members(maps[0]) + members(maps[1]) + members(maps[2]), 0, "the others are not");
}

static void values_are_the_newest(void)
{
	struct reader *first = reader_open(READER_V2), *second = reader_open(READER_V1);

	begin_following();
	store(11);
	pin(reader_map_fd(first), PIN);
	ok(awaited(reader_u64(first, 0, "value") == 11),
	   "BPF reads what was stored before the pin");
	store(12);
	is(reader_u64(first, 0, "value"), 12, "and what is stored while it is there");
	must(unlink(PIN));
	ok(awaited(!reader_sees(first, 0)), "nothing when the pin has gone");
	store(13);
	pin(reader_map_fd(second), PIN);
	ok(awaited(reader_u64(second, 0, "value") == 13),
	   "through the next map it reads what was stored while there was none");
	reader_close(first);
	reader_close(second);
}

/* The program keeps nothing of a map that it does not follow any more. */
static void nothing_is_kept(void)
{
	int map = data_map(V2_SIZE), fds;
	unsigned int id = map_id(map);

	begin();
	fds = open_descriptors();
	must(tld_follow(PIN));
	pin(map, PIN);
	await(attached(map));
	must(unlink(PIN));
	await(detached(map, -ENOENT));
	close(map);
	ok(awaited(map_is_gone(id)), "a map whose pin has gone is let go: the system frees it");
	map = data_map(V2_SIZE);
	id = map_id(map);
	pin(map, PIN);
	await(attached(map));
	must(unlink(PIN));
	must(tld_unfollow(PIN));
	close(map);
	ok(awaited(map_is_gone(id)), "so is one that is unfollowed");
	is(open_descriptors(), fds - 1,
	   "but for the map's own, as many descriptors are open as before");
}

/* --- Renames ---------------------------------------------------------------------- */

static void renamed_into_place(void)
{
	int map = data_map(V2_SIZE), other = data_map(V2_SIZE);

	begin_following();
	pin(map, OTHER_PIN);
	must(rename(OTHER_PIN, PIN));
	ok(awaited(attached(map)), "a pin that is renamed into place is attached");
	must(rename(PIN, OTHER_PIN));
	ok(awaited(detached(map, -ENOENT)), "it is detached when it is renamed away");
	must(mkdir(ELSEWHERE, 0755));
	pin(other, ELSEWHERE "/hints");
	must(rename(ELSEWHERE "/hints", PIN));
	ok(awaited(attached(other)), "one that comes from another directory is attached");
	must(rename(PIN, ELSEWHERE "/hints"));
	ok(awaited(detached(other, -ENOENT)), "and detached when it goes back");
}

static void renamed_over(void)
{
	int map = data_map(V2_SIZE), other = data_map(V2_SIZE);
	unsigned int id = map_id(map);

	begin_following();
	pin(map, PIN);
	await(attached(map));
	pin_over(other, PIN);
	ok(awaited(attached(other)), "a pin that is renamed over the old one is attached");
	ok(awaited(!members(map)), "the old one's map is detached");
	close(map);
	ok(awaited(map_is_gone(id)), "and let go");
	pin_over(other, PIN);
	pin_over(other, PIN);
	ok(awaited(attached(other)), "the same map under a new pin stays attached");
}

static void exchanged(void)
{
	int map = data_map(V2_SIZE), other = data_map(V2_SIZE);

	begin_following();
	pin(map, PIN);
	pin(other, OTHER_PIN);
	await(attached(map));
	must(renameat2(AT_FDCWD, PIN, AT_FDCWD, OTHER_PIN, RENAME_EXCHANGE));
	ok(awaited(attached(other)),
	   "of two pins that change places the one at the path is attached");
	ok(awaited(!members(map)), "the other is detached");
}

/* Each way puts the other map at the path, whatever was there. */
static void pin_from_elsewhere(int map_fd, const char *path)
{
	pin(map_fd, ELSEWHERE "/hints");
	must(rename(ELSEWHERE "/hints", path));
}

static void pin_again(int map_fd, const char *path)
{
	must(unlink(path));
	pin(map_fd, path);
}

static void pin_in_exchange(int map_fd, const char *path)
{
	pin(map_fd, ELSEWHERE "/other");
	must(renameat2(AT_FDCWD, path, AT_FDCWD, ELSEWHERE "/other", RENAME_EXCHANGE));
	must(unlink(ELSEWHERE "/other"));
}

static const struct way {
	void (*put)(int map_fd, const char *path);
	const char *words;
} ways[] = {
	{ pin_over, "that are renamed over the one before" },
	{ pin_from_elsewhere, "that come from another directory" },
	{ pin_again, "that are pinned after an unlink" },
	{ pin_in_exchange, "that change places with the one before" },
};

#define REPLACEMENTS 5

/* Who looked once a second would need about as many seconds as there are changes. */
static void noticed_at_once(const struct way *way)
{
	int good = 0, map = data_map(V2_SIZE), old;
	double start;

	pin(map, PIN);
	await(attached(map));
	start = seconds_now();
	for (int i = 0; i < REPLACEMENTS; i++) {
		old = map;
		map = data_map(V2_SIZE);
		way->put(map, PIN);
		good += awaited(attached(map) && !members(old));
		close(old);
	}
	is(good, REPLACEMENTS, "each of %d maps %s is attached", REPLACEMENTS, way->words);
	ok(seconds_now() - start < REPLACEMENTS - 1, "sooner than by looking once a second");
	must(unlink(PIN));
	await(detached(map, -ENOENT));
}

static void replaced_in_each_way(void)
{
	begin_following();
	must(mkdir(ELSEWHERE, 0755));
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		noticed_at_once(&ways[i]);
}

/* --- Directories and file systems ------------------------------------------------- */

static void directory_later(void)
{
	int map = data_map(V2_SIZE);

	begin();
	is(tld_follow(BPFFS "/a/b/hints"), 0,
	   "a path whose directory does not exist can be followed");
	is(tld_follow_status(BPFFS "/a/b/hints"), -ENOENT, "its status is -ENOENT");
	must(mkdir(BPFFS "/a", 0755));
	must(mkdir(BPFFS "/a/b", 0755));
	pin(map, BPFFS "/a/b/hints");
	ok(awaited(!tld_follow_status(BPFFS "/a/b/hints")),
	   "once it was made, what is pinned there is attached");
	is(members(map), EVERYBODY, "every thread is in that map");
	must(unlink(BPFFS "/a/b/hints"));
	must(rmdir(BPFFS "/a/b"));
	ok(awaited(!members(map)), "it is detached when pin and directory go");
	is(tld_follow_status(BPFFS "/a/b/hints"), -ENOENT, "the status is -ENOENT again");
}

static void file_for_a_directory(void)
{
	begin();
	pin(data_map(V2_SIZE), PIN);
	is(tld_follow(PIN "/hints"), 0, "a path below a file can be followed");
	is(tld_follow_status(PIN "/hints"), -ENOENT, "its directory does not exist: -ENOENT");
}

static void bpffs_later(void)
{
	int map = data_map(V2_SIZE);

	begin();
	must(mkdir(PLACE "/late", 0755));
	is(tld_follow(PLACE "/late/hints"), 0,
	   "a path in a directory that is in no bpffs can be followed");
	is(tld_follow_status(PLACE "/late/hints"), -ENOENT, "its status is -ENOENT");
	mount_bpffs(PLACE "/late");
	pin(map, PLACE "/late/hints");
	ok(awaited(!tld_follow_status(PLACE "/late/hints")),
	   "after a bpffs was mounted there, what is pinned in it is attached");
	is(members(map), EVERYBODY, "every thread is in that map");
}

static void bpffs_unmounted(void)
{
	int map = data_map(V2_SIZE), other = data_map(V2_SIZE);

	begin_following();
	pin(map, PIN);
	await(attached(map));
	ok(awaited(!umount(BPFFS)), "a bpffs with a followed pin can be unmounted");
	ok(awaited(detached(map, -ENOENT)), "its map is then detached");
	mount_bpffs(BPFFS);
	pin(other, PIN);
	ok(awaited(attached(other)), "what is pinned in a new bpffs there is attached");
	must(umount2(BPFFS, MNT_DETACH));
	ok(awaited(detached(other, -ENOENT)), "and detached when that is unmounted lazily");
}

#define DEEP BPFFS "/x/y"
#define DEEP_PIN DEEP "/hints"

/* All at once: the new directory has the old one's name, but is another. */
static void directory_replaced(void)
{
	int maps[3];

	begin();
	for (int i = 0; i < 3; i++)
		maps[i] = data_map(V2_SIZE);
	must(mkdir(BPFFS "/x", 0755));
	must(mkdir(DEEP, 0755));
	pin(maps[0], DEEP_PIN);
	must(tld_follow(DEEP_PIN));
	await_idle();
	must(unlink(DEEP_PIN));
	must(rmdir(DEEP));
	must(mkdir(DEEP, 0755));
	pin(maps[1], DEEP_PIN);
	ok(awaited(members(maps[1]) == EVERYBODY && !members(maps[0])),
	   "a directory that is removed and made again is followed with the pin in it");
	must(rename(DEEP, BPFFS "/x/old"));
	must(mkdir(DEEP, 0755));
	pin(maps[2], DEEP_PIN);
	ok(awaited(members(maps[2]) == EVERYBODY && !members(maps[1])),
	   "so is one that takes the place of another that was renamed");
	await_idle();
	must(unlink(DEEP_PIN));
	ok(awaited(!members(maps[2])), "the watch is on the new one: an unlink there detaches");
}

static void directory_renamed(void)
{
	int map = data_map(V2_SIZE);

	begin();
	must(mkdir(BPFFS "/x", 0755));
	must(mkdir(DEEP, 0755));
	pin(map, DEEP_PIN);
	must(tld_follow(DEEP_PIN));
	await_idle();
	must(rename(DEEP, BPFFS "/x/z"));
	ok(awaited(!members(map)), "a map is detached when its pin's directory is renamed");
	is(tld_follow_status(DEEP_PIN), -ENOENT, "the status is then -ENOENT");
	must(rename(BPFFS "/x/z", DEEP));
	ok(awaited(members(map) == EVERYBODY), "and attached when the directory is back");
}

/* Of what happens further up the pin's directory has no event; nobody says how soon. */
static bool at_length(bool (*condition)(void))
{
	for (double until = seconds_now() + CASE_SECONDS; seconds_now() < until; rest())
		if (condition())
			return true;
	return false;
}

static int moved_map, hidden_map, upper_map;

static bool moved_is_detached(void)
{
	return !members(moved_map);
}

static bool hidden_is_replaced(void)
{
	return !members(hidden_map) && members(upper_map) == EVERYBODY;
}

static void changed_further_up(void)
{
	alarm(3 * CASE_SECONDS);
	moved_map = data_map(V2_SIZE);
	hidden_map = data_map(V2_SIZE);
	upper_map = data_map(V2_SIZE);
	begin();
	must(mkdir(BPFFS "/x", 0755));
	must(mkdir(DEEP, 0755));
	must(mkdir(BPFFS "/m", 0755));
	pin(moved_map, DEEP_PIN);
	pin(hidden_map, BPFFS "/m/hints");
	must(tld_follow(DEEP_PIN));
	must(tld_follow(BPFFS "/m/hints"));
	await_idle();
	must(rename(BPFFS "/x", BPFFS "/w"));
	mount_bpffs(BPFFS "/m");
	pin(upper_map, BPFFS "/m/hints");
	ok(at_length(moved_is_detached),
	   "a map is detached when a directory above its pin's is renamed");
	is(tld_follow_status(DEEP_PIN), -ENOENT, "the status is then -ENOENT");
	ok(at_length(hidden_is_replaced),
	   "so is one whose pin is hidden by another bpffs, and what is pinned in that is attached");
}

/* --- What the calls take and return ----------------------------------------------- */

/* The pin's path, of so many bytes: "/." stays where one is. */
static char *long_path(char *path, size_t bytes)
{
	size_t at = strlen(BPFFS), end = bytes - strlen("/hints");

	memcpy(path, BPFFS, at);
	for (; at + 2 <= end; at += 2)
		memcpy(path + at, "/.", 2);
	if (at < end)
		path[at] = '/';
	memcpy(path + end, "/hints", sizeof("/hints"));
	return path;
}

static void wrong_paths(void)
{
	static char path[PATH_BYTES + 1];

	begin();
	is(tld_follow(NULL), -EINVAL, "a path must not be NULL");
	is(tld_follow(""), -EINVAL, "nor empty");
	is(tld_follow("hints"), -EINVAL, "nor relative");
	is(tld_follow("./hints"), -EINVAL, "nor relative to a dot");
	is(tld_follow(long_path(path, PATH_BYTES)), -ENAMETOOLONG, "nor of %d bytes", PATH_BYTES);
	is(tld_unfollow(NULL), -EINVAL, "tld_unfollow(): a path must not be NULL");
	is(tld_unfollow("hints"), -EINVAL, "nor relative");
	is(tld_unfollow(long_path(path, PATH_BYTES)), -ENAMETOOLONG, "nor of %d bytes", PATH_BYTES);
	is(tld_unfollow(PIN), -ENOENT, "a path that is not followed cannot be unfollowed");
	is(tld_follow_status(PIN), -ENOENT, "and has the status -ENOENT");
	is(tasks(), EVERYBODY, "for what is refused no thread is started");
}

static void longest_path(void)
{
	static char path[PATH_BYTES];
	int map = data_map(V2_SIZE);

	begin();
	pin(map, PIN);
	long_path(path, PATH_BYTES - 1);
	is(tld_follow(path), 0, "a path of %d bytes is followed", PATH_BYTES - 1);
	is(members(map), EVERYBODY, "what is pinned there is attached");
	is(tld_follow_status(path), 0, "the status is 0");
	must(unlink(PIN));
	ok(awaited(!members(map)), "and detached when it goes");
	is(tld_unfollow(path), 0, "the path is unfollowed");
}

/* Each call with the same errno before: how many leave it alone, of seven. */
static int errno_kept(void)
{
	int kept = 0;

#define KEEPS(call) (errno = ERRNO_MARK, (void)(call), kept += errno == ERRNO_MARK)
	KEEPS(tld_follow(PIN));
	KEEPS(tld_follow("hints"));
	KEEPS(tld_follow_status(PIN));
	KEEPS(tld_follow_status(OTHER_PIN));
	KEEPS(tld_follow(OTHER_PIN));
	KEEPS(tld_unfollow(PIN));
	KEEPS(tld_unfollow(PIN));
#undef KEEPS
	return kept;
}

static void errno_is_left_alone(void)
{
	begin();
	pin(data_map(V2_SIZE), PIN);
	is(errno_kept(), 7, "errno is left alone, whether a call succeeds or fails");
}

static const char *numbered(int number)
{
	static char path[64];

	snprintf(path, sizeof(path), BPFFS "/%d", number);
	return path;
}

static void eight_paths(void)
{
	int good = 0, map = data_map(V2_SIZE);

	begin();
	for (int i = 0; i < PATHS; i++)
		good += !tld_follow(numbered(i));
	is(good, PATHS, "%d paths are followed at a time", PATHS);
	is(tld_follow(numbered(PATHS)), -ENOSPC, "one more is refused with -ENOSPC");
	is(tld_follow(numbered(0)), 0, "one of them may be followed again");
	must(tld_unfollow(numbered(1)));
	is(tld_follow(numbered(PATHS)), 0, "there is room when one is unfollowed");
	pin(map, numbered(PATHS));
	ok(awaited(members(map) == EVERYBODY), "what is pinned at the last of them is attached");
}

static void counted(void)
{
	int map = data_map(V2_SIZE);

	begin();
	pin(map, PIN);
	is(tld_follow(PIN) | tld_follow(PIN) | tld_follow(PIN), 0,
	   "a path is followed three times");
	is(tld_unfollow(PIN) | tld_unfollow(PIN), 0, "and unfollowed twice");
	is(status(), 0, "its status is 0 still");
	is(members(map), EVERYBODY, "the map is attached");
	must(unlink(PIN));
	ok(awaited(detached(map, -ENOENT)), "and the path watched");
	pin(map, PIN);
	await(attached(map));
	is(tld_unfollow(PIN), 0, "it is unfollowed the third time");
	is(members(map), 0, "that detaches the map");
	is(tld_unfollow(PIN), -ENOENT, "a fourth time is refused");
}

/* The first to follow has looked when there was nothing. */
static void followed_once_more(void)
{
	int map = data_map(V2_SIZE), good = 0;

	begin_following();
	for (int i = 0; i < 20; i++) {
		pin(map, PIN);
		good += !tld_follow(PIN) && members(map) == EVERYBODY;
		must(unlink(PIN));
		await(detached(map, -ENOENT));
	}
	is(good, 20, "who follows a path that is followed finds the map attached, too");
}

/* --- Several paths, and maps attached by hand ------------------------------------- */

static void two_paths_to_a_map(void)
{
	int map = data_map(V2_SIZE);

	begin_following();
	must(tld_follow(OTHER_PIN));
	pin(map, PIN);
	pin(map, OTHER_PIN);
	await(attached(map) && !tld_follow_status(OTHER_PIN));
	is(tld_follow_status(OTHER_PIN), 0, "a map may be pinned at two followed paths");
	must(unlink(PIN));
	ok(awaited(status() == -ENOENT), "one pin goes");
	is(members(map), EVERYBODY, "the map stays attached for the other's sake");
	pin(map, PIN);
	await(!status());
	is(tld_unfollow(OTHER_PIN), 0, "one path is unfollowed");
	is(members(map), EVERYBODY, "the map stays attached for the other's sake");
	is(status(), 0, "with the status 0");
	must(unlink(PIN));
	ok(awaited(detached(map, -ENOENT)), "it is detached when the last pin goes");
}

/* Both are in one directory, which goes on being watched for the other. */
static void neighbour_unfollowed(void)
{
	int map = data_map(V2_SIZE), other = data_map(V2_SIZE);

	begin();
	pin(map, PIN);
	pin(map, OTHER_PIN);
	must(tld_follow(PIN));
	must(tld_follow(OTHER_PIN));
	await_idle();
	must(tld_unfollow(OTHER_PIN));
	pin_over(other, PIN);
	ok(awaited(attached(other)), "the other's replacement is noticed when a path is unfollowed");
	is(members(map), 0, "and the map before detached");
}

static void two_paths_to_two_maps(void)
{
	int map = data_map(V2_SIZE), other = data_map(NATIVE_SIZE);

	begin_following();
	must(tld_follow(OTHER_PIN));
	pin(map, PIN);
	pin(other, OTHER_PIN);
	ok(awaited(attached(map) && members(other) == EVERYBODY), "two paths have a map each");
	must(unlink(OTHER_PIN));
	ok(awaited(!members(other)), "the one whose pin goes is detached");
	ok(attached(map), "the other is not");
}

static void detached_by_hand(void)
{
	int map = data_map(V2_SIZE), other = data_map(V2_SIZE);
	double until;
	bool back = false;

	begin_following();
	pin(map, PIN);
	await(attached(map));
	await_idle();
	is(tld_detach(map), 0, "a map that is followed can be detached");
	is(members(map), 0, "no thread is in it then");
	is(status(), -ECANCELED, "the status is -ECANCELED");
	/* Two looks' time, and an event. */
	must(chmod(PIN, 0640));
	for (until = seconds_now() + 2; seconds_now() < until; rest())
		back |= members(map) > 0;
	ok(!back, "it is not attached again while the pin stays");
	is(status(), -ECANCELED, "the status stays -ECANCELED");
	pin_over(other, PIN);
	ok(awaited(attached(other)), "another map that is pinned there is attached");
	is(tld_detach_id(map_id(other)), 0, "tld_detach_id() detaches that");
	ok(awaited(detached(other, -ECANCELED)), "with the same status");
	must(unlink(PIN));
	ok(awaited(status() == -ENOENT), "when the pin goes it is -ENOENT");
	pin(other, PIN);
	ok(awaited(attached(other)), "and a new pin of the same map attaches it again");
}

static void attached_by_hand_after_that(void)
{
	int map = data_map(V2_SIZE);

	begin_following();
	pin(map, PIN);
	await(attached(map));
	must(tld_detach(map));
	await(status() == -ECANCELED);
	is(tld_attach(map), 0, "a map that was detached can be attached by hand");
	is(members(map), EVERYBODY, "every thread is in it");
	must(unlink(PIN));
	ok(awaited(status() == -ENOENT), "its pin may go");
	is(members(map), EVERYBODY, "it stays attached then");
}

static void attached_by_hand_too(void)
{
	int map = data_map(V2_SIZE);

	begin();
	pin(map, PIN);
	must(tld_attach(map));
	is(tld_follow(PIN), 0, "a map that is attached by hand can be followed");
	is(status(), 0, "its status is 0");
	must(tld_unfollow(PIN));
	is(members(map), EVERYBODY, "it stays attached when it is unfollowed");
	must(tld_follow(PIN));
	must(unlink(PIN));
	ok(awaited(status() == -ENOENT), "its pin may go");
	is(members(map), EVERYBODY, "it stays attached then, too");
	is(tld_detach(map), 0, "until it is detached");
	is(members(map), 0, "no thread is in it");
}

static void attached_by_hand_later(void)
{
	int map = data_map(V2_SIZE);

	begin();
	pin(map, PIN);
	must(tld_follow(PIN));
	is(tld_attach(map), 0, "a map that is followed can be attached by hand");
	must(unlink(PIN));
	ok(awaited(status() == -ENOENT), "its pin may go");
	is(members(map), EVERYBODY, "it stays attached then");
	must(tld_unfollow(PIN));
	is(members(map), EVERYBODY, "and after tld_unfollow()");
}

/* --- What stands in the way ------------------------------------------------------- */

static void no_room(void)
{
	int maps[MAPS], map = data_map(V2_SIZE), good = 0;

	begin();
	for (int i = 0; i < MAPS; i++) {
		maps[i] = data_map(V2_SIZE);
		must(tld_attach(maps[i]));
	}
	pin(map, PIN);
	is(tld_follow(PIN), 0, "while %d maps are attached a path can be followed", MAPS);
	is(status(), -ENOSPC, "its status is -ENOSPC");
	is(members(map), 0, "no thread is in its map");
	must(tld_detach(maps[3]));
	ok(awaited(attached(map)), "once one of the %d is detached it is attached", MAPS);
	for (int i = 0; i < MAPS; i++)
		good += i == 3 || members(maps[i]) == EVERYBODY;
	is(good, MAPS, "the others stay attached");
}

static void maps_in_passing_give_way(void)
{
	int map = data_map(V2_SIZE);

	begin();
	for (int i = 0; i < MAPS; i++)
		if (!tld_get_data(data_map(V2_SIZE), key))
			tap_bail("a thread passes a map");
	pin(map, PIN);
	is(tld_follow(PIN), 0, "a path is followed while tld_get_data() knows %d maps", MAPS);
	is(members(map), EVERYBODY, "one of those gives way");
}

static pthread_barrier_t packed;

static void *have_packed_data(void *map_fd)
{
	if (!tld_get_data((intptr_t)map_fd, key))
		tap_bail("a thread passes a map");
	pthread_barrier_wait(&packed);
	for (;;)
		pause();
	return NULL;
}

static void *store_once(void *map_fd)
{
	store(5);
	return (void *)(uintptr_t)has_element((intptr_t)map_fd, gettid());
}

/* Blocks that share a page cannot all be described by a map of the first format. */
static void no_place_in_the_first_format(void)
{
	intptr_t v2 = data_map(V2_SIZE), v1 = data_map(V1_SIZE);

	make_place();
	make_key();
	pthread_barrier_init(&packed, NULL, 3);
	start_thread(have_packed_data, (void *)v2);
	start_thread(have_packed_data, (void *)v2);
	pthread_barrier_wait(&packed);
	pin(v1, PIN);
	is(tld_follow(PIN), 0, "a pin of the first format is followed");
	is(status(), -EXDEV, "its status is -EXDEV where it cannot describe a thread's data");
	ok(in_thread(store_once, (void *)v1) != NULL,
	   "it is attached: a thread that starts later is in it");
	must(unlink(PIN));
	ok(awaited(status() == -ENOENT), "it is detached when the pin goes");
	ok(!in_thread(store_once, (void *)v1), "no later thread is in it");
}

static void no_descriptor(void)
{
	int map = data_map(V2_SIZE), ret, before, fds;
	rlim_t limit;

	begin();
	pin(map, PIN);
	must(tld_follow(OTHER_PIN));
	fds = open_descriptors();
	limit = soft_limit(RLIMIT_NOFILE);
	set_soft_limit(RLIMIT_NOFILE, 3);
	ret = tld_follow(PIN);
	before = status();
	set_soft_limit(RLIMIT_NOFILE, limit);
	is(ret, 0, "a second path is followed where no descriptor is left");
	is(before, -EMFILE, "its status is -EMFILE");
	ok(awaited(attached(map)), "the pin is attached when there are some again");
	must(tld_unfollow(PIN));
	is(open_descriptors(), fds, "as many descriptors are open as before");
}

/* For a while nothing can be found out: that must not be taken for a pin that has gone. */
static void no_descriptor_while_attached(void)
{
	int map = data_map(V2_SIZE), other = data_map(V2_SIZE);
	rlim_t limit = soft_limit(RLIMIT_NOFILE);
	double until;

	begin_following();
	pin(map, PIN);
	pin(other, OTHER_PIN);
	await(attached(map));
	set_soft_limit(RLIMIT_NOFILE, 3);
	must(chmod(PIN, 0640));
	must(rename(OTHER_PIN, PIN));
	for (until = seconds_now() + 1.5; seconds_now() < until;)
		rest();
	set_soft_limit(RLIMIT_NOFILE, limit);
	ok(awaited(attached(other)),
	   "a pin that is replaced while no descriptor is left is attached later");
	is(members(map), 0, "the old one's map is detached");
}

/* Who may not open a descriptor cannot withdraw its threads. */
static void unfollowed_without_descriptor(void)
{
	int map = data_map(V2_SIZE), ret;
	rlim_t limit = soft_limit(RLIMIT_NOFILE);

	begin();
	pin(map, PIN);
	must(tld_follow(PIN));
	await_idle(); /* it would not look again for long */
	set_soft_limit(RLIMIT_NOFILE, 3);
	ret = tld_unfollow(PIN);
	set_soft_limit(RLIMIT_NOFILE, limit);
	is(ret, -EMFILE, "where no descriptor is left tld_unfollow() says -EMFILE");
	ok(awaited(attached(map)), "the path is still followed, and its map attached");
	is(tld_unfollow(PIN), 0, "it is unfollowed when there are some");
	is(members(map), 0, "no thread is in the map then");
	is(tld_unfollow(PIN), -ENOENT, "the path is not followed any more");
}

/* --- A program that does not keep up ---------------------------------------------- */

static pid_t case_pid;
static int overflow_map;

static bool is_stopped(pid_t pid)
{
	char path[64], text[512] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		tap_bail("%s can be read", path);
	close(fd);
	return strstr(text, ") T ") != NULL;
}

/* More events than inotify keeps, alternating so that none are merged. */
static void overflow_events(void)
{
	FILE *file = fopen("/proc/sys/fs/inotify/max_queued_events", "r");
	int events;

	if (!file || fscanf(file, "%d", &events) != 1)
		tap_bail("max_queued_events can be read");
	fclose(file);
	for (int i = 0; i < events / 2 + 10; i++) {
		must(mkdir(BPFFS "/noise", 0755));
		must(rmdir(BPFFS "/noise"));
	}
}

static void let_case_go_on(void)
{
	kill(case_pid, SIGCONT);
}

static void replace_while_stopped(void)
{
	/* Also if a step fails. */
	atexit(let_case_go_on);
	kill(case_pid, SIGSTOP);
	await(is_stopped(case_pid));
	overflow_events();
	pin_over(overflow_map, PIN);
	let_case_go_on();
}

static void stopped_meanwhile(void)
{
	int map = data_map(V2_SIZE);

	case_pid = getpid();
	overflow_map = data_map(V2_SIZE);
	make_place();
	start_operator();
	start_crew();
	must(tld_follow(PIN));
	pin(map, PIN);
	await(attached(map));
	as_operator(replace_while_stopped);
	ok(awaited(attached(overflow_map)),
	   "a pin that is replaced while the program is stopped, after too many events, is attached");
	ok(awaited(!members(map)), "the old one's map is detached");
}

/* --- Everybody at once ------------------------------------------------------------ */

#define CALLERS 4

static volatile bool calls_end;
static unsigned long calls, failed_calls;

static bool is_a_status(int value)
{
	return !value || value == -ENOENT;
}

static void *follow_and_unfollow(void *arg)
{
	const char *path = (intptr_t)arg % 2 ? PIN : OTHER_PIN;

	while (!calls_end) {
		bool good = !tld_follow(path) && is_a_status(tld_follow_status(path));

		good = !tld_unfollow(path) && good;
		__atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
		if (!good)
			__atomic_add_fetch(&failed_calls, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void replace_for_a_while(const int maps[2])
{
	for (double until = seconds_now() + 0.5; seconds_now() < until;) {
		pin(maps[0], PIN);
		pin_over(maps[1], PIN);
		pin(maps[1], OTHER_PIN);
		unlink(PIN);
		unlink(OTHER_PIN);
	}
}

static void many_callers(void)
{
	int maps[2] = { data_map(V2_SIZE), data_map(NATIVE_SIZE) }, fds;
	pthread_t callers[CALLERS];

	begin();
	fds = open_descriptors();
	for (intptr_t i = 0; i < CALLERS; i++)
		callers[i] = start_thread(follow_and_unfollow, (void *)i);
	replace_for_a_while(maps);
	calls_end = true;
	for (int i = 0; i < CALLERS; i++)
		end_thread(callers[i]);
	diag("%lu times followed and unfollowed", calls);
	ok(calls > 0, "threads follow and unfollow while pins come and go");
	is(failed_calls, 0, "each call returns 0, each status is 0 or -ENOENT");
	is(members(maps[0]) + members(maps[1]), 0, "no thread is in a map at the end");
	ok(awaited(tasks() == EVERYBODY), "the library's thread has ended");
	is(open_descriptors(), fds, "as many descriptors are open as before");
	pin(maps[0], PIN);
	is(tld_follow(PIN), 0, "a path can be followed");
	is(members(maps[0]), EVERYBODY, "and its map is attached");
}

static void slow_cases(void)
{
	in_child(changed_further_up);
}

int main(void)
{
	struct aside slow;

	need_place();
	slow = start_aside(slow_cases);
	in_child(there_already);
	in_child(before_any_tld);
	in_child(pinned_later);
	in_child(pinned_again_at_once);
	in_child(values_are_the_newest);
	in_child(nothing_is_kept);
	in_child(renamed_into_place);
	in_child(renamed_over);
	in_child(exchanged);
	in_child(replaced_in_each_way);
	in_child(directory_later);
	in_child(file_for_a_directory);
	in_child(bpffs_later);
	in_child(bpffs_unmounted);
	in_child(directory_replaced);
	in_child(directory_renamed);
	in_child(wrong_paths);
	in_child(errno_is_left_alone);
	in_child(longest_path);
	in_child(eight_paths);
	in_child(counted);
	in_child(followed_once_more);
	in_child(two_paths_to_a_map);
	in_child(neighbour_unfollowed);
	in_child(two_paths_to_two_maps);
	in_child(detached_by_hand);
	in_child(attached_by_hand_after_that);
	in_child(attached_by_hand_too);
	in_child(attached_by_hand_later);
	in_child(no_room);
	in_child(maps_in_passing_give_way);
	in_child(no_place_in_the_first_format);
	in_child(no_descriptor);
	in_child(no_descriptor_while_attached);
	in_child(unfollowed_without_descriptor);
	in_child(stopped_meanwhile);
	in_child(many_callers);
	finish_aside(slow);
	return tap_done();
}
