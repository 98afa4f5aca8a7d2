// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * follow_refused.c - what lies at a followed path and is not attached: objects that
 * are no data map, files that are no pin, pins of the wrong owner or mode, and what
 * the caller may not reach. Each has its status, and what is right is attached as soon
 * as it is there. Also where inotify is not to be had.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include "follow.h"

/* A user without rights of its own for each kind of limit; and somebody else. */
#define NOBODY 65534
#define WITHOUT_INOTIFY 65533
#define STRANGER 12345

static int map;
static uid_t user;

static int status(void)
{
	return tld_follow_status(PIN);
}

static bool attached(void)
{
	return !status() && members(map) == EVERYBODY;
}

/* The map is made by the one who may. */
static void begin(void)
{
	map = data_map(V2_SIZE);
	make_place();
	start_crew();
}

/* The library has not been called before, and is by that user only. */
static void begin_as(uid_t whom)
{
	user = whom;
	map = data_map(V2_SIZE);
	make_place();
	start_operator();
	become(user);
	start_crew();
}

/* --- Objects that are no data map ------------------------------------------------- */

/* What is wrong is refused; what is right takes its place. */
static void refused(int fd, int want, const char *what)
{
	if (fd < 0)
		tap_bail("%s can be made", what);
	begin();
	pin(fd, PIN);
	is(tld_follow(PIN), 0, "the path of %s can be followed", what);
	is(status(), want, "its status is %s", strerror(-want));
	pin_over(map, PIN);
	ok(awaited(attached()), "a data map that takes its place is attached");
	pin_over(fd, PIN);
	ok(awaited(status() == want), "and the status is as before when that goes");
	is(members(map), 0, "with nobody in the map");
}

static void hash_map(void)
{
	refused(map_create_plain(BPF_MAP_TYPE_HASH, V2_SIZE), -EINVAL, "a hash map");
}

static void program(void)
{
	static const struct bpf_insn nothing[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	refused(bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, "tld_test", "GPL", nothing, 2, NULL),
		-EINVAL, "a program");
}

static void storage_without_uptrs(void)
{
	struct map_shape shape = { BPF_MAP_TYPE_TASK_STORAGE, V2_SIZE, 0 };

	refused(map_create(&shape), -EINVAL, "task storage without UPTRs");
}

static void storage_of_another_size(void)
{
	struct map_shape shape = { BPF_MAP_TYPE_TASK_STORAGE, 20, 2 };

	refused(map_create(&shape), -EINVAL, "task storage of no format's size");
}

/* --- Files that are no pin -------------------------------------------------------- */

#define ELSEWHERE PLACE "/elsewhere"
#define FILE_PATH ELSEWHERE "/hints"

static void make_file(const char *path, mode_t type)
{
	if (mknod(path, type | 0600, 0))
		tap_bail("%s can be made", path);
}

/* Once a bpffs is where it should be, it is as if nothing had been. */
static void in_another_file_system(mode_t type, const char *what)
{
	begin();
	must(mkdir(ELSEWHERE, 0755));
	if (S_ISDIR(type))
		must(mkdir(FILE_PATH, 0700));
	else
		make_file(FILE_PATH, type);
	is(tld_follow(FILE_PATH), 0, "the path of %s in no bpffs can be followed", what);
	is(tld_follow_status(FILE_PATH), -EPERM, "its status is -EPERM");
	mount_bpffs(ELSEWHERE);
	pin(map, FILE_PATH);
	ok(awaited(!tld_follow_status(FILE_PATH)),
	   "a pin in a bpffs that is mounted there is attached");
	is(members(map), EVERYBODY, "every thread is in its map");
}

static void regular_file(void)
{
	in_another_file_system(S_IFREG, "a regular file");
}

/* Whoever opened it for reading would wait for a writer. */
static void fifo(void)
{
	in_another_file_system(S_IFIFO, "a FIFO");
}

static void socket_file(void)
{
	in_another_file_system(S_IFSOCK, "a socket");
}

static void foreign_directory(void)
{
	in_another_file_system(S_IFDIR, "a directory");
}

static void directory_in_place(void)
{
	begin();
	must(mkdir(PIN, 0755));
	is(tld_follow(PIN), 0, "the path of a directory in a bpffs can be followed");
	is(status(), -EINVAL, "its status is -EINVAL");
	must(rmdir(PIN));
	pin(map, PIN);
	ok(awaited(attached()), "a pin that takes its place is attached");
}

/* Who may make names could lead the program to a map of theirs. */
static void symbolic_link(void)
{
	begin();
	pin(map, OTHER_PIN);
	must(symlink(OTHER_PIN, PIN));
	is(tld_follow(PIN), 0, "the path of a symbolic link can be followed");
	is(status(), -ELOOP, "its status is -ELOOP, also if it leads to a pin");
	is(members(map), 0, "that is not attached");
	must(rename(OTHER_PIN, PIN));
	ok(awaited(attached()), "the pin itself is, in the link's place");
	must(unlink(PIN));
	must(symlink("nowhere", PIN));
	ok(awaited(status() == -ELOOP), "a link that leads nowhere has the same status");
	is(members(map), 0, "with nobody in the map");
}

static void link_to_the_directory(void)
{
	begin();
	must(symlink("bpffs", PLACE "/link"));
	pin(map, PIN);
	is(tld_follow(PLACE "/link/hints"), 0, "the directory's name may be a symbolic link");
	is(members(map), EVERYBODY, "the pin in it is attached");
}

/* --- Owner and mode --------------------------------------------------------------- */

static void another_owner(void)
{
	begin();
	pin(map, PIN);
	must(chown(PIN, STRANGER, 0));
	is(tld_follow(PIN), 0, "the path of somebody else's pin can be followed");
	is(status(), -EPERM, "its status is -EPERM");
	is(members(map), 0, "nobody is in its map");
	must(chown(PIN, 0, 0));
	ok(awaited(attached()), "it is attached when it belongs to root");
}

static void refused_mode(mode_t mode)
{
	begin();
	pin(map, PIN);
	must(chmod(PIN, mode));
	is(tld_follow(PIN), 0, "the path of a pin of mode %04o can be followed", mode);
	is(status(), -EPERM, "its status is -EPERM");
	is(members(map), 0, "nobody is in its map");
	must(chmod(PIN, 0664));
	ok(awaited(attached()), "it is attached when the mode is 0664");
}

static void writable_by_others(void)
{
	refused_mode(0666);
}

static void only_writable_by_others(void)
{
	refused_mode(0602);
}

/* The one that is replaced may be good, and the other not. */
static void bad_pin_over_good(void)
{
	int other = data_map(V2_SIZE);

	begin();
	pin(map, PIN);
	must(tld_follow(PIN));
	pin(other, OTHER_PIN);
	must(chmod(OTHER_PIN, 0666));
	must(rename(OTHER_PIN, PIN));
	ok(awaited(status() == -EPERM), "a pin that others may write, over a good one, is refused");
	is(members(map), 0, "the good one's map is detached");
	is(members(other), 0, "nobody is in the other");
	must(unlink(PIN));
	pin(map, PIN);
	ok(awaited(attached()), "a good one in its place is attached");
}

static void writable_later(void)
{
	begin();
	pin(map, PIN);
	must(tld_follow(PIN));
	is(members(map), EVERYBODY, "a pin that others may not write is attached");
	must(chmod(PIN, 0606));
	ok(awaited(status() == -EPERM && !members(map)), "it is detached when they may");
	must(chmod(PIN, 0600));
	ok(awaited(attached()), "and attached when they may no longer");
	must(chown(PIN, STRANGER, 0));
	ok(awaited(status() == -EPERM && !members(map)),
	   "it is detached when it gets another owner");
}

/* --- A user without rights -------------------------------------------------------- */

static void pin_for_root(void)
{
	pin(map, PIN);
}

static void give_to_group(void)
{
	must(chown(PIN, 0, user));
	must(chmod(PIN, 0660));
}

static void pin_for_group(void)
{
	pin_for_root();
	give_to_group();
}

static void close_directory(void)
{
	must(chmod(BPFFS, 0700));
}

static void open_directory(void)
{
	must(chmod(BPFFS, 0755));
}

static void remove_pin(void)
{
	must(unlink(PIN));
}

static void not_to_be_opened(void)
{
	begin_as(NOBODY);
	as_operator(pin_for_root);
	is(tld_follow(PIN), 0, "a user may follow the path of a pin that he may not open");
	is(status(), -EACCES, "its status is -EACCES");
	is(members(map), 0, "nobody is in its map");
	as_operator(give_to_group);
	ok(awaited(attached()), "root's pin of mode 0660 is attached for a member of its group");
	as_operator(remove_pin);
	ok(awaited(status() == -ENOENT && !members(map)), "and detached when it goes");
	as_operator(pin_for_group);
	ok(awaited(attached()), "and attached when it is back");
}

static void read_only_for_group(void)
{
	must(chmod(PIN, 0640));
}

static void only_to_be_read(void)
{
	begin_as(NOBODY);
	as_operator(pin_for_group);
	as_operator(read_only_for_group);
	is(tld_follow(PIN), 0, "a user may follow the path of a pin that he may only read");
	is(status(), -EACCES, "its status is -EACCES");
	is(members(map), 0, "nobody is in its map");
	as_operator(give_to_group);
	ok(awaited(attached()), "it is attached when he may write it");
}

static void directory_not_to_be_searched(void)
{
	begin_as(NOBODY);
	as_operator(pin_for_group);
	as_operator(close_directory);
	is(tld_follow(PIN), 0, "a user may follow a path in a directory that he may not search");
	is(status(), -EACCES, "its status is -EACCES");
	is(members(map), 0, "nobody is in its map");
	as_operator(open_directory);
	ok(awaited(attached()), "its pin is attached when he may");
}

static int root_map;

static void pin_over_for_root(void)
{
	pin_over(root_map, PIN);
}

/* The pin that was attached has gone, whatever came instead. */
static void replaced_by_one_not_to_be_opened(void)
{
	root_map = data_map(V2_SIZE);
	begin_as(NOBODY);
	as_operator(pin_for_group);
	must(tld_follow(PIN));
	is(members(map), EVERYBODY, "a pin that a user may open is attached");
	as_operator(pin_over_for_root);
	ok(awaited(status() == -EACCES), "another that he may not open is renamed over it");
	is(members(root_map), 0, "nobody is in the map of that");
	ok(awaited(!members(map)), "the first one's map is detached");
}

static void pin_for_user(void)
{
	pin_for_root();
	must(chown(PIN, user, user));
}

static void pin_for_stranger(void)
{
	must(chown(PIN, STRANGER, user));
	must(chmod(PIN, 0660));
}

static void own_pin(void)
{
	begin_as(NOBODY);
	as_operator(pin_for_user);
	is(tld_follow(PIN), 0, "a user may follow the path of a pin of his own");
	is(status(), 0, "its status is 0");
	is(members(map), EVERYBODY, "it is attached");
	must(tld_unfollow(PIN));
	as_operator(pin_for_stranger);
	is(tld_follow(PIN), 0, "if it belongs to a third one, though he may open it");
	is(status(), -EPERM, "its status is -EPERM");
	is(members(map), 0, "nobody is in its map");
}

/* --- Without inotify -------------------------------------------------------------- */

/* Three looks' time for two changes: the first look may be due at once or later. */
#define LOOKS_SECONDS 3

static void seen_by_looking(const char *where)
{
	double start;

	is(tld_follow(PIN), 0, "a path can be followed %s", where);
	as_operator(pin_for_group);
	ok(awaited(attached()), "what is pinned there is attached");
	start = seconds_now();
	as_operator(remove_pin);
	ok(awaited(status() == -ENOENT && !members(map)), "it is detached when the pin goes");
	as_operator(pin_for_group);
	ok(awaited(attached()), "and attached when it is back");
	ok(seconds_now() - start < LOOKS_SECONDS, "as soon as by looking once a second");
}

static void only_to_be_searched(void)
{
	must(chmod(BPFFS, 0711));
}

static void directory_not_to_be_read(void)
{
	begin_as(NOBODY);
	as_operator(only_to_be_searched);
	if (inotify_add_watch(inotify_init1(IN_CLOEXEC), BPFFS, IN_CREATE) != -1 || errno != EACCES)
		tap_bail("inotify refuses a directory that may not be read");
	seen_by_looking("in a directory that may be searched but not read");
}

/* A look is due in a second only. */
static void followed_once_more(void)
{
	begin_as(NOBODY);
	as_operator(only_to_be_searched);
	must(tld_follow(PIN));
	await_idle();
	as_operator(pin_for_group);
	is(tld_follow(PIN), 0,
	   "a path that is followed and looked at once a second is followed again");
	is(members(map), EVERYBODY, "what is pinned there is attached when the call returns");
}

static void no_inotify_instance(void)
{
	struct rlimit limit;
	int one;

	begin_as(WITHOUT_INOTIFY);
	must(getrlimit(RLIMIT_NOFILE, &limit));
	set_soft_limit(RLIMIT_NOFILE, limit.rlim_max);
	while (inotify_init1(IN_CLOEXEC) >= 0)
		;
	one = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	if (one < 0) {
		tap_skip("a path can be followed where no inotify instance is left",
			 "a user may have more of them than a process has descriptors");
		return;
	}
	seen_by_looking("where no inotify instance is left");
}

/* --- A sandbox -------------------------------------------------------------------- */

static void refuse_bpf(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bpf, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = 4, .filter = filter };

	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog));
}

static void no_bpf(void)
{
	begin();
	pin(map, PIN);
	refuse_bpf();
	is(tld_follow(PIN), 0, "a path can be followed in a sandbox without bpf(2)");
	is(status(), -EPERM, "its status is -EPERM");
	is(tld_unfollow(PIN), 0, "and unfollowed");
}

/* What becomes right is seen at the next look. */
static void slow_cases(void)
{
	in_child(regular_file);
	in_child(fifo);
	in_child(socket_file);
	in_child(foreign_directory);
}

static void other_slow_cases(void)
{
	in_child(directory_not_to_be_searched);
	in_child(directory_not_to_be_read);
	in_child(followed_once_more);
	in_child(no_inotify_instance);
}

int main(void)
{
	struct aside slow, other_slow;

	need_place();
	slow = start_aside(slow_cases);
	other_slow = start_aside(other_slow_cases);
	in_child(hash_map);
	in_child(program);
	in_child(storage_without_uptrs);
	in_child(storage_of_another_size);
	in_child(directory_in_place);
	in_child(symbolic_link);
	in_child(link_to_the_directory);
	in_child(another_owner);
	in_child(writable_by_others);
	in_child(only_writable_by_others);
	in_child(bad_pin_over_good);
	in_child(writable_later);
	in_child(not_to_be_opened);
	in_child(only_to_be_read);
	in_child(replaced_by_one_not_to_be_opened);
	in_child(own_pin);
	in_child(no_bpf);
	finish_aside(slow);
	finish_aside(other_slow);
	return tap_done();
}
