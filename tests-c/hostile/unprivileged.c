// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * unprivileged.c - programs without any capability, also in user namespaces, while
 * kernel.unprivileged_bpf_disabled is 2: with a descriptor of a map that they inherited, or
 * a pin that their group may write, everything works; without access, they get the errno,
 * at once, each time, at the same cost. A user namespace in which root has no name
 * is a place where nobody's pin can be told from root's.
 *
 * What BPF sees is asked of an operator (follow.h): root's, with the reader.
 */
#include <linux/capability.h>

#define TLD_DYN_DATA_SIZE 200
#include "follow.h"
#include "inject.h"
#include "reader.h"
#include "worker.h"

#define NOBODY 65534
#define MEMBER 12345
#define GROUP 23456
#define WORKERS 2

static struct reader *reader;
static int map;

/* --- What the operator does -------------------------------------------------------- */

/* Shared with the operator: what to do it with, and what came of it. */
static struct {
	pid_t tid;
	const char *uids;	/* of /proc/PID/uid_map */
	uid_t owner;
	gid_t group;
	mode_t mode;
	uint64_t value;
	int count;
} *shared;

static void read_value(void)
{
	shared->value = reader_u64(reader, shared->tid, "value");
}

static void count_elements(void)
{
	shared->count = reader_elements(reader, NULL);
}

static void pin_map(void)
{
	unlink(PIN);
	pin(map, PIN);
	must(chown(PIN, shared->owner, shared->group));
	must(chmod(PIN, shared->mode));
}

static void write_proc(pid_t pid, const char *file, const char *text)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		tap_bail("%s takes \"%s\"", path, text);
	close(fd);
}

static void map_users(void)
{
	write_proc(shared->tid, "setgroups", "deny");
	write_proc(shared->tid, "uid_map", shared->uids);
	write_proc(shared->tid, "gid_map", "0 65534 1");
}

/* --- The case's side --------------------------------------------------------------- */

static uint64_t bpf_reads(pid_t tid)
{
	shared->tid = tid;
	as_operator(read_value);
	return shared->value;
}

static int elements(void)
{
	as_operator(count_elements);
	return shared->count;
}

static void make_pin(uid_t owner, gid_t group, mode_t mode)
{
	shared->owner = owner;
	shared->group = group;
	shared->mode = mode;
	as_operator(pin_map);
}

/* What the process may do in the first user namespace. */
static bool has_capabilities(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct caps[2];

	must(syscall(SYS_capget, &header, caps));
	return caps[0].effective || caps[0].permitted || caps[1].effective || caps[1].permitted;
}

static void begin(void)
{
	make_place();
	start_operator();
}

static void become_member(void)
{
	gid_t group = GROUP;

	must(setgroups(1, &group));
	must(setresgid(MEMBER, MEMBER, MEMBER));
	must(setresuid(MEMBER, MEMBER, MEMBER));
}

/* A user namespace: with these users, or with none, who are then all called NOBODY. */
static void enter_namespace(const char *uids)
{
	if (unshare(CLONE_NEWUSER))
		tap_bail("a user may make a user namespace");
	if (!uids)
		return;
	shared->tid = getpid();
	shared->uids = uids;
	as_operator(map_users);
}

/* bpf(2) makes nothing for this process: it is as unprivileged as they come. */
static void judge_rights(bool in_namespace)
{
	if (!in_namespace)
		is(has_capabilities(), false, "uid %d has no capability", getuid());
	is(map_create_plain(BPF_MAP_TYPE_HASH, 8), -EPERM, "bpf(2) makes no map for it");
}

/* --- Everything works -------------------------------------------------------------- */

static struct worker workers[WORKERS];
static uint64_t *worker_data[WORKERS];

static void *get_in_worker(void *slot)
{
	*(uint64_t **)slot = tld_get(key);
	return NULL;
}

static bool stores(uint64_t *data, pid_t tid, uint64_t value)
{
	if (!data)
		return false;
	*data = value;
	return bpf_reads(tid) == value;
}

static int readable_threads(void)
{
	int count = stores(tld_get(key), gettid(), 40);

	for (int i = 0; i < WORKERS; i++)
		count += stores(worker_data[i], workers[i].tid, 41 + i);
	return count;
}

static void judge_get_data(int fd, const char *who)
{
	ok(stores(tld_get_data(fd, key), gettid(), 11), "%s: tld_get_data() publishes a thread",
	   who);
	tld_free();
	is(elements(), 0, "tld_free() withdraws it");
}

static void judge_attach(int fd)
{
	tld_get(key);
	is(tld_attach(fd), 0, "tld_attach() works");
	is(readable_threads(), WORKERS + 1, "BPF reads every thread");
}

static void judge_reference(void)
{
	struct worker worker;
	struct tld_thread_ref *ref;

	worker_start(&worker);
	ref = tld_ref_thread(worker.tid);
	ok(ref && stores(tld_ref_get(ref, key), worker.tid, 33),
	   "tld_ref_thread() publishes another thread");
	tld_unref_thread(ref);
	worker_end(&worker, WORKER_RETURNS);
}

static void judge_fork(void)
{
	int status = -1;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child)
		_exit(!tld_publish() && stores(tld_get(key), getpid(), 22) ? 0 : 1);
	waitpid(child, &status, 0);
	is(status, 0, "a forked child is read");
}

static void start_workers(void)
{
	make_key();
	for (int i = 0; i < WORKERS; i++) {
		worker_start(&workers[i]);
		worker_do(&workers[i], get_in_worker, &worker_data[i]);
	}
}

static void end_workers(void)
{
	for (int i = 0; i < WORKERS; i++)
		worker_end(&workers[i], WORKER_RETURNS);
}

static void works(int fd, const char *who)
{
	start_workers();
	judge_get_data(fd, who);
	judge_attach(fd);
	judge_reference();
	judge_fork();
	is(tld_detach(fd), 0, "tld_detach() works");
	is(elements(), 0, "nobody is seen then");
	is(tld_attach(fd), 0, "the map can be attached again");
	end_workers();
	is(elements(), 1, "threads that end are withdrawn");
}

/* --- A descriptor that was inherited ----------------------------------------------- */

static void inherited(void)
{
	begin();
	become(NOBODY);
	judge_rights(false);
	works(map, "uid 65534, with a descriptor that it inherited");
}

static void inherited_in_namespace(void)
{
	begin();
	become(NOBODY);
	enter_namespace("0 65534 1");
	is(getuid(), 0, "in a user namespace the user is called root");
	judge_rights(true);
	works(map, "in a user namespace, with an inherited descriptor");
}

static void inherited_in_unmapped_namespace(void)
{
	begin();
	become(NOBODY);
	enter_namespace(NULL);
	is(getuid(), NOBODY, "in a user namespace without names the user has none");
	judge_rights(true);
	works(map, "in a namespace without names, with an inherited descriptor");
}

/* The program closes its own: the library has a duplicate. */
static void closed_afterwards(void)
{
	int fd;

	begin();
	become(NOBODY);
	start_workers();
	fd = fcntl(map, F_DUPFD_CLOEXEC, 3);
	is(tld_attach(fd), 0, "a map is attached by a descriptor");
	close(fd);
	tld_get(key);
	is(readable_threads(), WORKERS + 1, "that may be closed");
	end_workers();
}

/* --- A pin of mode 0660 ------------------------------------------------------------ */

static int open_pin(void)
{
	return bpf_obj_get(PIN);
}

static void works_by_pin(const char *who)
{
	int fd = open_pin();

	if (ok(fd >= 0, "%s: a pin of mode 0660 can be opened by a member of its group", who))
		works(fd, who);
}

static void pin_of_own_group(void)
{
	begin();
	make_pin(0, NOBODY, 0660);
	become(NOBODY);
	judge_rights(false);
	works_by_pin("uid 65534");
}

static void pin_of_further_group(void)
{
	begin();
	make_pin(0, GROUP, 0660);
	become_member();
	judge_rights(false);
	works_by_pin("a user of a further group");
}

static void pin_in_namespace(void)
{
	begin();
	make_pin(0, NOBODY, 0660);
	become(NOBODY);
	enter_namespace("0 65534 1");
	works_by_pin("in a user namespace");
}

static void pin_in_unmapped_namespace(void)
{
	begin();
	make_pin(0, NOBODY, 0660);
	become(NOBODY);
	enter_namespace(NULL);
	works_by_pin("in a user namespace without names");
}

/* Writing is all that is needed. */
static void pin_to_write_only(void)
{
	union bpf_attr attr = { .pathname = (uintptr_t)PIN, .file_flags = BPF_F_WRONLY };
	int fd;

	begin();
	make_pin(0, NOBODY, 0620);
	become(NOBODY);
	is(open_pin(), -EACCES, "a pin of mode 0620 cannot be opened for both by its group");
	fd = syscall(SYS_bpf, BPF_OBJ_GET, &attr, sizeof(attr));
	if (ok(fd >= 0, "but for writing"))
		works(fd, "uid 65534, with a descriptor that only writes");
}

/* --- A pin that is followed -------------------------------------------------------- */

static bool is_attached(void)
{
	return !tld_follow_status(PIN) && readable_threads() == WORKERS + 1;
}

static void follows(const char *whose)
{
	start_workers();
	tld_get(key);
	is(tld_follow(PIN), 0, "%s can be followed", whose);
	is(tld_follow_status(PIN), 0, "its map is attached");
	is(readable_threads(), WORKERS + 1, "BPF reads every thread");
	make_pin(shared->owner, shared->group, shared->mode);
	ok(awaited(is_attached()), "also when it is pinned again");
	is(tld_unfollow(PIN), 0, "it can be unfollowed");
	is(elements(), 0, "nobody is seen then");
	end_workers();
}

static void judge_refusal(int want, const char *what)
{
	tld_get(key);
	is(tld_follow(PIN), 0, "%s: the path can be followed", what);
	is(tld_follow_status(PIN), want, "its status is -%s", strerrorname_np(-want));
	is(elements(), 0, "nobody is in the map");
	is(tld_unfollow(PIN), 0, "it can be unfollowed");
}

static void refuses_to_follow(int want, const char *what)
{
	start_workers();
	judge_refusal(want, what);
	end_workers();
}

static void follow_as_nobody(void)
{
	begin();
	make_pin(0, NOBODY, 0660);
	become(NOBODY);
	judge_rights(false);
	follows("by uid 65534, root's pin of its group");
}

static void follow_as_member(void)
{
	begin();
	make_pin(0, GROUP, 0660);
	become_member();
	follows("root's pin of a further group");
}

/* Reading is not needed. */
static void follow_to_write_only(void)
{
	begin();
	make_pin(0, NOBODY, 0620);
	become(NOBODY);
	follows("by uid 65534, a pin that its group may only write");
}

static void follow_own_pin(void)
{
	begin();
	make_pin(MEMBER, MEMBER, 0600);
	become_member();
	follows("a user's own pin");
}

static void follow_own_pin_as_nobody(void)
{
	begin();
	make_pin(NOBODY, NOBODY, 0600);
	become(NOBODY);
	follows("by uid 65534, its own pin");
}

/* --- ... in a user namespace in which root has no name ----------------------------- */

static void follow_in_namespace(void)
{
	begin();
	make_pin(0, NOBODY, 0660);
	become(NOBODY);
	enter_namespace("0 65534 1");
	refuses_to_follow(-EPERM, "called root in a namespace: root's pin, who has no name");
}

/* Both are called 65534 there: the user, by mapping, and whoever has no name. */
static void follow_as_mapped_nobody(void)
{
	begin();
	make_pin(0, NOBODY, 0660);
	become(NOBODY);
	enter_namespace("65534 65534 1");
	is(getuid(), NOBODY, "in a user namespace the user may be called 65534");
	refuses_to_follow(-EPERM, "root's pin, who has no name and is shown as 65534");
}

static void follow_in_unmapped_namespace(void)
{
	begin();
	make_pin(0, NOBODY, 0660);
	become(NOBODY);
	enter_namespace(NULL);
	refuses_to_follow(-EPERM, "in a user namespace without names: root's pin");
}

/* A stranger's is no better than root's. */
static void follow_stranger_in_unmapped_namespace(void)
{
	begin();
	make_pin(MEMBER, NOBODY, 0660);
	become(NOBODY);
	enter_namespace(NULL);
	refuses_to_follow(-EPERM, "in a user namespace without names: a stranger's pin");
}

static void follow_stranger_as_mapped_nobody(void)
{
	begin();
	make_pin(MEMBER, NOBODY, 0660);
	become(NOBODY);
	enter_namespace("65534 65534 1");
	refuses_to_follow(-EPERM, "called 65534: a stranger's pin, who has no name");
}

static void follow_own_pin_in_namespace(void)
{
	begin();
	make_pin(NOBODY, NOBODY, 0660);
	become(NOBODY);
	enter_namespace("0 65534 1");
	follows("in a user namespace, the user's own pin");
}

static void follow_where_root_has_a_name(void)
{
	begin();
	make_pin(0, NOBODY, 0660);
	become(NOBODY);
	enter_namespace("0 0 1\n65534 65534 1");
	follows("in a user namespace that names root, root's pin");
}

/* --- Without access ---------------------------------------------------------------- */

#define TIMES 1000

static int read_only_fd;

static int try_get_data(void)
{
	return tld_get_data(read_only_fd, key) ? 0 : errno;
}

static int try_attach(void)
{
	return -tld_attach(read_only_fd);
}

static int try_status(void)
{
	return -tld_follow_status(PIN);
}

/* The thread that watches has some for the moment in which it looks. */
static int fewest_descriptors(void)
{
	int fewest = open_descriptors();

	for (int i = 0; i < 20; i++) {
		int now = open_descriptors();

		fewest = now < fewest ? now : fewest;
		rest();
	}
	return fewest;
}

static void same_each_time(int (*call)(void), int want, const char *what)
{
	int descriptors = fewest_descriptors(), right = 0;
	unsigned int first = 0, tenth = 0;
	long mapped = 0;

	call(); /* what is done only once */
	for (int i = 1; i <= TIMES; i++) {
		inject_begin((struct inject_rule){ 0 });
		right += call() == want;
		inject_end();
		first = i == 1 ? inject_calls : first;
		tenth = i == 10 ? inject_calls : tenth;
		mapped = i == 10 ? inject_mapped : mapped;
	}
	is(right, TIMES, "%s: %s each of %d times", what, strerrorname_np(want), TIMES);
	ok(first == tenth && tenth == inject_calls, "at %u system calls, then %u, then %u", first,
	   tenth, inject_calls);
	is(fewest_descriptors(), descriptors, "with no further descriptor");
	is(inject_mapped, mapped, "and no further memory");
}

static void only_to_be_read(void)
{
	union bpf_attr attr = { .pathname = (uintptr_t)PIN, .file_flags = BPF_F_RDONLY };

	begin();
	make_pin(0, NOBODY, 0640);
	become(NOBODY);
	is(open_pin(), -EACCES, "a pin of mode 0640 cannot be opened for writing by its group");
	read_only_fd = syscall(SYS_bpf, BPF_OBJ_GET, &attr, sizeof(attr));
	ok(read_only_fd >= 0, "but for reading");
	start_workers();
	tld_get(key);
	same_each_time(try_get_data, EPERM, "tld_get_data()");
	same_each_time(try_attach, EPERM, "tld_attach()");
	is(elements(), 0, "nobody is in the map");
	judge_refusal(-EACCES, "a pin that may only be read");
	end_workers();
}

static void not_to_be_opened(void)
{
	begin();
	make_pin(0, 0, 0600);
	become(NOBODY);
	is(open_pin(), -EACCES, "a pin of mode 0600 cannot be opened by others than its owner");
	start_workers();
	is(tld_follow(PIN), 0, "it can be followed");
	same_each_time(try_status, EACCES, "tld_follow_status()");
	is(elements(), 0, "nobody is in the map");
	make_pin(0, NOBODY, 0660);
	tld_get(key);
	ok(awaited(is_attached()), "when access is given, its map is attached");
	is(tld_unfollow(PIN), 0, "it can be unfollowed");
	end_workers();
}

static void not_to_be_opened_in_namespace(void)
{
	begin();
	make_pin(0, 0, 0600);
	become(NOBODY);
	enter_namespace("0 65534 1");
	is(open_pin(), -EACCES, "a namespace's root may not open a pin of mode 0600");
	start_workers();
	is(tld_follow(PIN), 0, "its path can be followed");
	ok(try_status() == EPERM || try_status() == EACCES, "its map is not attached");
	is(elements(), 0, "nobody is in it");
	is(tld_unfollow(PIN), 0, "it can be unfollowed");
	end_workers();
}

/* --- kernel.unprivileged_bpf_disabled ---------------------------------------------- */

#define DISABLED "/proc/sys/kernel/unprivileged_bpf_disabled"

static char disabled_before = '2';
static pid_t disabled_by;

static char read_disabled(void)
{
	int fd = open(DISABLED, O_RDONLY | O_CLOEXEC);
	char digit = '?';

	if (fd < 0 || read(fd, &digit, 1) != 1)
		tap_bail(DISABLED " can be read");
	close(fd);
	return digit;
}

static bool write_disabled(char digit)
{
	int fd = open(DISABLED, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, &digit, 1) == 1;

	if (fd >= 0)
		close(fd);
	return done;
}

static void restore_disabled(void)
{
	if (getpid() == disabled_by && disabled_before != read_disabled())
		write_disabled(disabled_before);
}

static void restore_and_die(int signal)
{
	restore_disabled();
	raise(signal);
}

/* 1 is as strict as 2, and cannot be changed until the machine starts again. */
static void disable_unprivileged_bpf(void)
{
	struct sigaction action = { .sa_handler = restore_and_die, .sa_flags = SA_RESETHAND };
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE };

	disabled_before = read_disabled();
	disabled_by = getpid();
	atexit(restore_disabled);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
	if (disabled_before == '0' && !write_disabled('2'))
		tap_bail(DISABLED " can be set");
	diag(DISABLED " is %c, was %c", read_disabled(), disabled_before);
	ok(read_disabled() != '0', "bpf(2) is disabled for the unprivileged");
}

int main(void)
{
	need_place();
	reader = reader_open(READER_V2);
	map = reader_map_fd(reader);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		tap_bail("memory can be shared");
	disable_unprivileged_bpf();
	in_child(inherited);
	in_child(inherited_in_namespace);
	in_child(inherited_in_unmapped_namespace);
	in_child(closed_afterwards);
	in_child(pin_of_own_group);
	in_child(pin_of_further_group);
	in_child(pin_in_namespace);
	in_child(pin_in_unmapped_namespace);
	in_child(pin_to_write_only);
	in_child(follow_as_nobody);
	in_child(follow_as_member);
	in_child(follow_to_write_only);
	in_child(follow_own_pin);
	in_child(follow_own_pin_as_nobody);
	in_child(follow_in_namespace);
	in_child(follow_as_mapped_nobody);
	in_child(follow_in_unmapped_namespace);
	in_child(follow_stranger_in_unmapped_namespace);
	in_child(follow_stranger_as_mapped_nobody);
	in_child(follow_own_pin_in_namespace);
	in_child(follow_where_root_has_a_name);
	in_child(only_to_be_read);
	in_child(not_to_be_opened);
	in_child(not_to_be_opened_in_namespace);
	return tap_done();
}
