// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * forks_bare.c - children that are made without fork's handlers. Those that borrow their
 * parent's memory (vfork, posix_spawn, system, a bare clone) can have the library create
 * and find TLDs, which are the parent's; the fast path works, all else says EAGAIN, and the
 * parent is as it was. Those that have a copy (_Fork, a bare clone) are noticed by
 * the next call, also if other threads were inside the library at that moment.
 */
#include <sched.h>
#include <spawn.h>
#include <unistd.h>

#include "tld.h"

#include "forks.h"
#include "maps.h"
#include "reader.h"
#include "threads.h"

extern char **environ;

static struct reader *reader, *second;
static int map_fd, second_fd;
static tld_key_t key;

static uint64_t value_of(pid_t tid)
{
	return reader_u64(reader, tid, "value");
}

static void open_process(void)
{
	key = tld_create_key("value", sizeof(uint64_t));
	if (tld_attach(map_fd))
		tap_bail("a map can be attached");
	report_open();
}

static uint64_t *store(uint64_t value)
{
	uint64_t *data = tld_get(key);

	if (!data)
		tap_bail("a thread gets its TLD");
	*data = value;
	return data;
}

/* --- Borrowed memory ----------------------------------------------------------- */

/* A child that has its parent's memory runs this to its end while the parent waits. */
struct maker {
	const char *name;
	pid_t (*make)(void (*body)(void));
};

__attribute__((noinline))
static pid_t by_vfork(void (*body)(void))
{
	pid_t child = vfork();

	if (!child) {
		body();
		_exit(0);
	}
	return child;
}

static int run_body(void *body)
{
	((void (*)(void))body)();
	return 0;
}

#define STACK_BYTES (256 * 1024)

/* Its thread-local memory is the caller's, who must not use it meanwhile. */
static pid_t by_clone_vm(void (*body)(void))
{
	char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	pid_t child = clone(run_body, stack + STACK_BYTES, CLONE_VM | SIGCHLD, (void *)body);
	siginfo_t info;

	if (child > 0)
		waitid(P_PID, child, &info, WEXITED | WNOWAIT);
	munmap(stack, STACK_BYTES);
	return child;
}

static const struct maker makers[] = {
	{ "vfork", by_vfork }, { "clone(CLONE_VM)", by_clone_vm },
};

/* What each call says in such a child: 0 or a negative errno. */
enum {
	GET, GET_DATA, CREATE, PUBLISH, ATTACH, DETACH, DETACH_ID, FOLLOW, UNFOLLOW, STATUS, REF,
	CALLS,
};
static const char *const call_names[CALLS] = {
	"tld_get", "tld_get_data", "tld_create_key", "tld_publish", "tld_attach", "tld_detach",
	"tld_detach_id", "tld_follow", "tld_unfollow", "tld_follow_status", "tld_ref_thread",
};
static int said[CALLS];
static pid_t borrower;
static bool fast_get, fast_get_data, found;
static uint64_t *parents;
static __u32 map_id;

static int said_by_errno(const void *result)
{
	return result ? 0 : -errno;
}

/*
 * A key behind all that this thread has used, and a map that it has not passed: these do
 * not go the fast path, whether the thread has data or not.
 */
static void call_everything(void)
{
	tld_key_t created = tld_create_key("child", 8);

	borrower = getpid();
	said[CREATE] = created.off < 0 ? created.off : 0;
	said[GET] = tld_get_slow(key) ? 0 : -errno;
	said[GET_DATA] = said_by_errno(tld_get_data(second_fd, key));
	said[PUBLISH] = tld_publish();
	said[ATTACH] = tld_attach(second_fd);
	said[DETACH] = tld_detach(map_fd);
	said[DETACH_ID] = tld_detach_id(map_id);
	said[FOLLOW] = tld_follow("/child");
	said[UNFOLLOW] = tld_unfollow("/parent");
	said[STATUS] = tld_follow_status("/parent");
	said[REF] = said_by_errno(tld_ref_thread(getppid()));
	tld_free();
	found = !tld_key_is_err(tld_find_key("value"));
}

static void use_and_call_everything(void)
{
	fast_get = tld_get(key) == parents;
	fast_get_data = tld_get_data(map_fd, key) == parents;
	if (fast_get)
		*parents = 8;
	call_everything();
}

static __u32 id_of(int fd)
{
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		tap_bail("a map has an id");
	return info.id;
}

static void judge_slow_calls(const char *who)
{
	for (int i = 0; i < CALLS; i++)
		is(said[i], i == CREATE ? 0 : -EAGAIN, "%s: %s says %s", who, call_names[i],
		   i == CREATE ? "that it has created the key" : "EAGAIN");
	ok(found, "%s: tld_find_key finds what there is", who);
}

static void *see_thread(void *unused)
{
	(void)unused;
	store(5);
	return (void *)(uintptr_t)(value_of(0) == 5);
}

/* Nothing that the parent has, or is going to do, is any different. */
static void judge_parent(const char *who, uint64_t value, int descriptors)
{
	is(reader_elements(reader, NULL), 1, "%s: the map has the parent's thread and no other",
	   who);
	is(reader_elements(second, NULL), 0, "%s: what the child attached is not attached", who);
	ok(tld_get(key) == parents && tld_get_data(map_fd, key) == parents,
	   "%s: the parent's TLD is where it was", who);
	is(value_of(0), value, "%s: BPF sees what was stored last", who);
	is(*store(value + 1), value + 1, "%s: the parent stores", who);
	is(value_of(0), value + 1, "%s: and is seen to", who);
	is(!tld_key_is_err(tld_find_key("child")), borrower > 0,
	   "%s: what such a child created, and nothing else, is the parent's", who);
	is(tld_publish(), 0, "%s: tld_publish() has nothing to complain of", who);
	ok(in_thread(see_thread, NULL), "%s: a new thread is seen through the attached map", who);
	is(open_descriptors(), descriptors, "%s: as many descriptors are open as before", who);
}

static const struct maker *maker;

static void borrowed_with_data(void)
{
	uint16_t limit;
	int descriptors;

	open_process();
	parents = store(7);
	if (tld_get_data(map_fd, key) != parents || tld_follow("/parent"))
		tap_bail("a thread uses a map and follows a path");
	map_id = id_of(map_fd);
	limit = tld_self.limit;
	descriptors = open_descriptors();
	ok(!reap(maker->make(use_and_call_everything)), "%s: a child borrows the memory",
	   maker->name);
	is(tld_self.limit, limit, "%s: the parent's fast path works on", maker->name);
	ok(fast_get && fast_get_data, "%s: in the child the fast path works", maker->name);
	judge_slow_calls(maker->name);
	judge_parent(maker->name, 8, descriptors);
	is(tld_unfollow("/parent"), 0, "%s: what the parent followed it follows until now",
	   maker->name);
	is(tld_unfollow("/child"), -ENOENT, "%s: but nothing that the child followed", maker->name);
}

static void *borrow_without_data(void *unused)
{
	(void)unused;
	ok(!reap(maker->make(call_everything)), "%s: a thread without data lends its memory",
	   maker->name);
	judge_slow_calls(maker->name);
	is(tld_self.limit, 0, "%s: the thread has no data afterwards", maker->name);
	ok(!reader_sees(reader, 0), "%s: nor is it seen", maker->name);
	parents = store(7);
	is(value_of(0), 7, "%s: it can have some", maker->name);
	judge_parent(maker->name, 7, report->word);
	return NULL;
}

static void borrowed_without_data(void)
{
	open_process();
	if (tld_follow("/parent"))
		tap_bail("a path can be followed");
	map_id = id_of(map_fd);
	report->word = open_descriptors();
	in_thread(borrow_without_data, NULL);
	is(reader_elements(reader, NULL), 0, "%s: when it has ended, nobody is in the map",
	   maker->name);
	tld_unfollow("/parent");
}

/* The first of all calls: who made it matters as long as the memory lasts. */
static void create_first(void)
{
	said[CREATE] = tld_create_key("value", sizeof(uint64_t)).off;
	said[GET] = said_by_errno(tld_get((tld_key_t){ 0 }));
	said[ATTACH] = tld_attach(map_fd);
}

static void borrowed_before_anything(void)
{
	reap(maker->make(create_first));
	is(reader_elements(reader, NULL), 0,
	   "%s: a child that makes the first calls of all leaves no element",
	   maker->name);
	key = tld_create_key("value", sizeof(uint64_t));
	if (tld_key_err_or_zero(key) == -EEXIST)
		key = tld_find_key("value");
	ok(!tld_key_is_err(key), "%s: the parent has keys afterwards", maker->name);
	is(tld_attach(map_fd), 0, "%s: attaches maps", maker->name);
	ok(tld_get(key) != NULL, "%s: has data", maker->name);
	store(9);
	is(value_of(0), 9, "%s: is seen", maker->name);
	is(tld_detach(map_fd), 0, "%s: and detaches", maker->name);
	is(reader_elements(reader, NULL), 0, "%s: without a rest", maker->name);
}

/* --- Programs that are spawned --------------------------------------------------- */

/* What is open in a program that is spawned: its status. */
static int descriptors_by_spawn(void)
{
	char *const arguments[] = { "forks_bare", "descriptors", NULL };
	pid_t child;

	errno = posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ);
	if (errno)
		tap_bail("posix_spawn works");
	return reap(child);
}

static int descriptors_by_system(void)
{
	char command[PATH_MAX + 32];

	snprintf(command, sizeof(command), "exec %s descriptors", reader_beside("forks_bare"));
	return WEXITSTATUS(system(command));
}

static const struct {
	const char *name;
	int (*descriptors)(void);
} spawners[] = {
	{ "posix_spawn", descriptors_by_spawn }, { "system", descriptors_by_system },
};

static void spawned(void)
{
	int before[2], descriptors;

	for (int i = 0; i < 2; i++)
		before[i] = spawners[i].descriptors();
	open_process();
	parents = store(7);
	tld_get_data(map_fd, key);
	if (tld_follow("/parent"))
		tap_bail("a path can be followed");
	descriptors = open_descriptors();
	for (int i = 0; i < 2; i++) {
		store(7);
		is(spawners[i].descriptors(), before[i],
		   "%s: a program that is executed has none of libtld's descriptors",
		   spawners[i].name);
		judge_parent(spawners[i].name, 7, descriptors);
	}
	tld_unfollow("/parent");
}

/* --- A copy of the memory ----------------------------------------------------------- */

static pid_t by_fork_function(void)
{
	return _Fork();
}

static pid_t by_clone(void)
{
	return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static const struct copier {
	const char *name;
	pid_t (*make)(void);
} copiers[] = { { "_Fork", by_fork_function }, { "clone", by_clone } };
static const struct copier *copier;

/* The call that is the child's first into the library itself. */
static bool first_get(void)
{
	return tld_get_slow(key) == parents;
}

static bool first_get_data(void)
{
	return tld_get_data(second_fd, key) == parents && reader_u64(second, 0, "value") == 7;
}

static bool first_publish(void)
{
	return !tld_publish();
}

static bool first_attach(void)
{
	return !tld_attach(map_fd);
}

static bool first_create(void)
{
	return !tld_key_is_err(tld_create_key("child", 8)) && tld_get(key) == parents;
}

static const struct {
	const char *name;
	bool (*make)(void);
} firsts[] = {
	{ "tld_get", first_get }, { "tld_get_data", first_get_data },
	{ "tld_publish", first_publish }, { "tld_attach", first_attach },
	{ "tld_create_key", first_create },
};

static void copied_child(bool (*first)(void), pid_t parent)
{
	alarm(CHILD_SECONDS);
	check(!reader_sees(reader, 0));
	check(*parents == 7);
	check(tld_get(key) == parents);
	if (check(first()) && check(value_of(0) == 7)) {
		*parents = 8;
		check(value_of(0) == 8);
		check(value_of(parent) == 7);
		tld_free();
		check(!reader_sees(reader, 0) && value_of(parent) == 7);
		check(tld_get(key) == parents && !*parents && !value_of(0));
		check(!tld_detach(map_fd) && !reader_sees(reader, 0) && value_of(parent) == 7);
	}
	_exit(0);
}

static void copied(void)
{
	int descriptors;

	open_process();
	parents = store(7);
	descriptors = open_descriptors();
	for (size_t i = 0; i < sizeof(firsts) / sizeof(firsts[0]); i++) {
		pid_t self = gettid(), child = copier->make();

		if (!child)
			copied_child(firsts[i].make, self);
		ok(was_right(child),
		   "%s: a child whose first call is %s is seen then, with the value that it had",
		   copier->name, firsts[i].name);
		is(value_of(0), 7, "%s: its parent is where it was", copier->name);
	}
	is(reader_elements(reader, NULL), 1, "%s: and alone", copier->name);
	is(open_descriptors(), descriptors, "%s: with its descriptors", copier->name);
	is(tld_publish(), 0, "%s: and at peace", copier->name);
}

/* A thread that had no data. */
static void *copy_without_data(void *unused)
{
	pid_t child = copier->make();

	(void)unused;
	if (!child) {
		alarm(CHILD_SECONDS);
		parents = tld_get(key);
		check(parents && !*parents && !value_of(0));
		*parents = 6;
		check(value_of(0) == 6);
		_exit(0);
	}
	ok(was_right(child), "%s: a child of a thread without data has zeros, and is seen",
	   copier->name);
	ok(!reader_sees(reader, 0), "%s: the thread itself is not", copier->name);
	return NULL;
}

static void copied_without_data(void)
{
	open_process();
	store(7);
	in_thread(copy_without_data, NULL);
	is(value_of(0), 7, "%s: other threads are seen as before", copier->name);
}

static void copied_twice(void)
{
	pid_t child, ancestor = getpid();

	open_process();
	parents = store(7);
	child = copier->make();
	if (!child) {
		pid_t self = getpid(), grandchild;

		alarm(CHILD_SECONDS);
		check(!tld_publish());
		*parents = 8;
		grandchild = copier->make();
		if (!grandchild) {
			alarm(CHILD_SECONDS);
			check(*parents == 8 && !tld_publish() && value_of(0) == 8);
			*parents = 9;
			check(value_of(0) == 9 && value_of(self) == 8 && value_of(ancestor) == 7);
			_exit(0);
		}
		check(!reap(grandchild));
		check(value_of(0) == 8);
		_exit(0);
	}
	ok(was_right(child), "%s: so is a child of a child", copier->name);
	is(value_of(0), 7, "%s: and their ancestor as before", copier->name);
}

/* --- ... while other threads are inside --------------------------------------------- */

#define BUSY_THREADS 6
#define COPIES OFTEN(150)

static volatile bool stop_threads;
static unsigned int busy_calls[BUSY_THREADS];

static void *free_and_get(void *calls)
{
	while (!stop_threads) {
		tld_free();
		*(unsigned int *)calls += tld_get(key) != NULL;
	}
	return NULL;
}

static void *attach_and_detach(void *calls)
{
	while (!stop_threads)
		*(unsigned int *)calls += !tld_attach(second_fd) && !tld_detach(second_fd);
	return NULL;
}

static void *refer(void *calls)
{
	pid_t process = getpid();

	while (!stop_threads) {
		struct tld_thread_ref *ref = tld_ref_thread(process);

		*(unsigned int *)calls += ref != NULL;
		tld_unref_thread(ref);
	}
	return NULL;
}

static void *create(void *calls)
{
	while (!stop_threads)
		*(unsigned int *)calls += tld_create_key("value", 8).off == -EEXIST;
	return NULL;
}

static void *follow(void *calls)
{
	while (!stop_threads)
		*(unsigned int *)calls += !tld_follow("/busy") && !tld_unfollow("/busy");
	return NULL;
}

static void *(*const busy_bodies[])(void *) = {
	free_and_get, free_and_get, attach_and_detach, refer, create, follow,
};

/* Whatever lock another thread held is held for ever, for all that the child can see. */
static void child_of_busy_process(uint64_t number)
{
	alarm(CHILD_SECONDS);
	check(!tld_publish());
	check(value_of(0) == number);
	*parents = number + 1;
	check(value_of(0) == number + 1);
	check(tld_get(key) == parents);
	check(tld_create_key("child", 8).off > 0);
	check(!tld_detach(map_fd) && !reader_sees(reader, 0));
	check(!tld_attach(map_fd) && value_of(0) == number + 1);
	tld_unref_thread(tld_ref_thread(getpid()));
	check(tld_follow_status("/busy") == -ENOENT || tld_follow_status("/busy") == -ECHILD);
	tld_free();
	check(!reader_sees(reader, 0));
	check(tld_get(key) == parents && !value_of(0));
	_exit(0);
}

static void copy_busy_process(const struct copier *from)
{
	int wrong = 0, disturbed = 0;

	for (uint64_t number = 1000; number < 1000 + COPIES; number++) {
		pid_t child;

		store(number);
		child = from->make();
		if (!child)
			child_of_busy_process(number);
		wrong += !was_right(child);
		disturbed += value_of(0) != number;
	}
	is(wrong, 0,
	   "%s: of %d children of a process whose other threads call each is published "
	   "by tld_publish(), and can go on", from->name, COPIES);
	is(disturbed, 0, "%s: their parent is read all the while", from->name);
}

static void copied_while_busy(void)
{
	pthread_t threads[BUSY_THREADS];
	int idle = 0;

	alarm(3 * CASE_SECONDS);
	open_process();
	parents = store(7);
	for (int i = 0; i < BUSY_THREADS; i++)
		threads[i] = start_thread(busy_bodies[i], &busy_calls[i]);
	for (int i = 0; i < 2; i++)
		copy_busy_process(&copiers[i]);
	stop_threads = true;
	for (int i = 0; i < BUSY_THREADS; i++) {
		end_thread(threads[i]);
		idle += !busy_calls[i];
	}
	is(idle, 0, "the other threads did what they had to do meanwhile");
	is(reader_elements(reader, NULL), 1, "of all of them the parent is left in the map");
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "descriptors"))
		return open_descriptors();
	reader_need_kernel();
	reader = reader_open(READER_V2);
	second = reader_open(READER_V2);
	map_fd = reader_map_fd(reader);
	second_fd = reader_map_fd(second);
	for (int i = 0; i < 2; i++) {
		maker = &makers[i];
		in_child(borrowed_with_data);
		in_child(borrowed_without_data);
		in_child(borrowed_before_anything);
	}
	in_child(spawned);
	for (int i = 0; i < 2; i++) {
		copier = &copiers[i];
		in_child(copied);
		in_child(copied_without_data);
		in_child(copied_twice);
	}
	in_child(copied_while_busy);
	reader_close(second);
	reader_close(reader);
	return tap_done();
}
