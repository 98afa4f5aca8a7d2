// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * hostile_limits.c - tld_get_data() where the process may not have what it needs: no
 * descriptor, no memory, or a sandbox that refuses system calls. The errno is the
 * one promised, nothing piles up, and it works once the limit is lifted.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include "maps.h"
#include "often.h"
#include "page.h"

#define REPEATED OFTEN(100)
#define ANY_COMMAND -1

static int map_fd;
static tld_key_t key;

/* Failures are gathered first and printed later: printing needs memory. */
static void *results[REPEATED];
static int errnos[REPEATED];

static void try_repeatedly(void)
{
	for (int i = 0; i < REPEATED; i++) {
		errno = 0;
		results[i] = tld_get_data(map_fd, key);
		errnos[i] = errno;
	}
}

static void judge(int want, const char *what)
{
	int wrong = 0;

	for (int i = 0; i < REPEATED; i++) {
		if (results[i] || errnos[i] != want) {
			if (!wrong++)
				diag("  attempt %d: %p, errno %d (%s)", i, results[i], errnos[i], strerror(errnos[i]));
		}
	}
	is(wrong, 0, "%s: NULL with %s, as often as one tries", what, strerror(want));
}

static void works(const char *when)
{
	unsigned char *data = tld_get_data(map_fd, key);

	ok(data && !*data, "%s it works", when);
	ok(published(map_fd), "and the thread is published");
}

static void make_key(void)
{
	key = tld_create_key("k", 8);
	if (tld_key_is_err(key))
		tap_bail("a key can be created");
}

/* So large that each thread has a page to itself. */
static tld_key_t create_page_sized(const char *name)
{
	return create_asking(name, page_capacity() - 88, page_capacity());
}

static void no_descriptor(void)
{
	rlim_t before = soft_limit(RLIMIT_NOFILE);
	int descriptors;

	make_key();
	descriptors = open_descriptors();
	set_soft_limit(RLIMIT_NOFILE, 3);
	try_repeatedly();
	set_soft_limit(RLIMIT_NOFILE, before);
	judge(EMFILE, "with RLIMIT_NOFILE 3");
	is(open_descriptors(), descriptors, "no descriptor is left open");
	ok(!published(map_fd), "the thread is not published");
	works("with descriptors");
}

/* How many numbers below the limit are no descriptor. */
static int free_below(int limit)
{
	int count = 0;

	for (int fd = 0; fd < limit; fd++)
		count += fcntl(fd, F_GETFD) < 0;
	return count;
}

/* Any number of free descriptors, from none on: never half done. */
static void few_descriptors(void)
{
	int descriptors, available = 0, err = EMFILE, in_map = 0, leaked = 0;
	rlim_t before = soft_limit(RLIMIT_NOFILE);
	void *data = NULL;

	make_key();
	descriptors = open_descriptors();
	for (int limit = 3; limit < 100 && !data && err == EMFILE; limit++) {
		available = free_below(limit);
		set_soft_limit(RLIMIT_NOFILE, limit);
		errno = 0;
		data = tld_get_data(map_fd, key);
		err = errno;
		set_soft_limit(RLIMIT_NOFILE, before);
		in_map += !data && published(map_fd);
		leaked += !data && open_descriptors() != descriptors;
	}
	ok(data != NULL, "the errno is EMFILE until there are enough descriptors (%s)", strerror(err));
	ok(available == 1 || available == 2, "one or two are enough (%d)", available);
	is(in_map, 0, "a failure half way does not leave the thread published");
	is(leaked, 0, "nor a descriptor open");
}

static void *use_in_thread(void *unused)
{
	void *data = tld_get_data(map_fd, key);

	(void)unused;
	return data ? NULL : (void *)(intptr_t)errno;
}

static void no_memory(void)
{
	rlim_t before = soft_limit(RLIMIT_AS);
	int descriptors;
	long mapped;

	if (UNDER_SANITIZER) {
		tap_skip("with RLIMIT_AS used up: ENOMEM", "a sanitizer needs more address space than a limit leaves");
		return;
	}
	make_key();
	descriptors = open_descriptors();
	mapped = status_kib("VmSize:");
	set_soft_limit(RLIMIT_AS, 0);
	try_repeatedly();
	set_soft_limit(RLIMIT_AS, before);
	judge(ENOMEM, "with RLIMIT_AS used up");
	is(open_descriptors(), descriptors, "no descriptor is left open");
	is(status_kib("VmSize:"), mapped, "nothing is left mapped");
	ok(!published(map_fd), "the thread is not published");
	works("with memory");
}

/*
 * Whatever the library has in stock is used up by threads that wait; those that
 * find nothing more must get ENOMEM, not someone else's memory.
 */
#define WAITING 300
static pthread_barrier_t all_have_tried, end;
static void *addresses[WAITING];
static int reasons[WAITING];

static void *try_and_wait(void *arg)
{
	intptr_t i = (intptr_t)arg;

	pthread_barrier_wait(&all_have_tried);
	addresses[i] = tld_get_data(map_fd, key);
	reasons[i] = addresses[i] ? 0 : errno;
	pthread_barrier_wait(&end);
	return NULL;
}

static void memory_used_up(void)
{
	rlim_t before = soft_limit(RLIMIT_AS);
	static pthread_t threads[WAITING];
	int refused = 0, wrong = 0, shared = 0;

	if (UNDER_SANITIZER) {
		tap_skip("threads without memory get ENOMEM", "a sanitizer needs more address space than a limit leaves");
		return;
	}
	key = create_page_sized("k");
	if (!tld_get_data(map_fd, key))
		tap_bail("the first thread has data");
	pthread_barrier_init(&all_have_tried, NULL, WAITING + 1);
	pthread_barrier_init(&end, NULL, WAITING + 1);
	for (intptr_t i = 0; i < WAITING; i++)
		if (pthread_create(&threads[i], NULL, try_and_wait, (void *)i))
			tap_bail("a thread can be started");
	set_soft_limit(RLIMIT_AS, 0);
	pthread_barrier_wait(&all_have_tried);
	pthread_barrier_wait(&end);
	set_soft_limit(RLIMIT_AS, before);
	for (int i = 0; i < WAITING; i++) {
		pthread_join(threads[i], NULL);
		refused += !addresses[i];
		wrong += !addresses[i] && reasons[i] != ENOMEM;
		for (int j = 0; j < i; j++)
			shared += addresses[i] && addresses[i] == addresses[j];
	}
	ok(refused > 0, "of %d threads without address space %d found memory in stock", WAITING, WAITING - refused);
	is(wrong, 0, "those that found none got ENOMEM");
	is(shared, 0, "no two have the same memory");
	pthread_create(&threads[0], NULL, use_in_thread, NULL);
	pthread_join(threads[0], addresses);
	is((intptr_t)addresses[0], 0, "with memory again a new thread works");
}

/*
 * A thread that ends with no descriptor free cannot be withdrawn. As long as it is
 * there, BPF finds its memory, which therefore nobody else may get.
 */
#define OTHERS 100
static pthread_key_t later_key;
static pthread_barrier_t ending, ended;
static rlim_t descriptors_before;
static bool still_published;
static char *ending_data;
static unsigned int in_same_page, not_zero, without_data;

static void pause_ending(void *unused)
{
	(void)unused;
	set_soft_limit(RLIMIT_NOFILE, descriptors_before);
	still_published = published(map_fd);
	pthread_barrier_wait(&ending);
	pthread_barrier_wait(&ended);
}

static void *end_without_descriptors(void *unused)
{
	ending_data = tld_get_data(map_fd, key);
	if (ending_data)
		memset(ending_data, 0x5a, 8);
	pthread_setspecific(later_key, &later_key);
	set_soft_limit(RLIMIT_NOFILE, 3);
	return unused;
}

static void *take_others(void *unused)
{
	uint64_t *data = tld_get_data(map_fd, key);
	uintptr_t distance = (uintptr_t)data ^ (uintptr_t)ending_data;

	if (!data)
		__atomic_add_fetch(&without_data, 1, __ATOMIC_RELAXED);
	else if (*data)
		__atomic_add_fetch(&not_zero, 1, __ATOMIC_RELAXED);
	if (distance < (uintptr_t)getpagesize())
		__atomic_add_fetch(&in_same_page, 1, __ATOMIC_RELAXED);
	pthread_barrier_wait(&end);
	return unused;
}

static void run_others(void)
{
	static pthread_t others[OTHERS];

	for (int i = 0; i < OTHERS; i++)
		if (pthread_create(&others[i], NULL, take_others, NULL))
			tap_bail("a thread can be started");
	for (int i = 0; i < OTHERS; i++)
		pthread_join(others[i], NULL);
}

static void withdrawal_fails(void)
{
	pthread_t thread;
	long mapped;

	key = create_page_sized("k");
	descriptors_before = soft_limit(RLIMIT_NOFILE);
	if (pthread_key_create(&later_key, pause_ending))
		tap_bail("a pthread key can be made");
	pthread_barrier_init(&ending, NULL, 2);
	pthread_barrier_init(&ended, NULL, 2);
	pthread_barrier_init(&end, NULL, OTHERS);
	pthread_create(&thread, NULL, end_without_descriptors, NULL);
	pthread_barrier_wait(&ending);
	diag("the ending thread is %s published", still_published ? "still" : "no longer");
	run_others();
	ok(!still_published || !in_same_page,
	   "the page of a thread that could not be withdrawn is given to nobody while it is there");
	pthread_barrier_wait(&ended);
	pthread_join(thread, NULL);
	mapped = status_kib("VmSize:");
	for (int i = 0; i < SOME(20); i++)
		run_others();
	is(without_data, 0, "all others have data");
	is(not_zero, 0, "which is zero");
	if (!UNDER_SANITIZER)
		ok(status_kib("VmSize:") - mapped < 1024, "and memory does not grow");
}

/* The same with tld_free(): the caller's data are cleared and stay its own. */
static void free_without_descriptors(void)
{
	rlim_t before = soft_limit(RLIMIT_NOFILE);
	uint64_t *data;

	make_key();
	data = tld_get_data(map_fd, key);
	if (!data)
		tap_bail("the thread has data");
	*data = 7;
	set_soft_limit(RLIMIT_NOFILE, 3);
	tld_free();
	set_soft_limit(RLIMIT_NOFILE, before);
	ok(!published(map_fd) || !*data, "tld_free() without a free descriptor clears what it cannot withdraw");
	ok(tld_get_data(map_fd, key) == data && !*data, "used again, the data are where they were, zeroed");
	ok(published(map_fd), "and published");
	tld_free();
	ok(!published(map_fd), "tld_free() with descriptors withdraws them");
}

/* Refuse one system call, or one command of bpf(2), with an errno of choice. */
static void refuse(int number, int command, int with)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, command, 0, command == ANY_COMMAND ? 0 : 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | with),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(*code), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		tap_bail("a seccomp filter can be set");
}

/*
 * Commands that the library may do without want no certain errno: it works, or it
 * says the errno that it met and leaves nothing behind.
 */
struct refusal {
	int number, command, with, want;
	const char *what;
};

static const struct refusal refusals[] = {
	{ SYS_bpf, ANY_COMMAND, EPERM, EPERM, "with bpf(2) refused by EPERM" },
	{ SYS_bpf, ANY_COMMAND, ENOSYS, ENOSYS, "with bpf(2) refused by ENOSYS" },
	{ SYS_pidfd_open, ANY_COMMAND, EPERM, EPERM, "with pidfd_open(2) refused by EPERM" },
	{ SYS_pidfd_open, ANY_COMMAND, ENOSYS, ENOSYS, "with pidfd_open(2) refused by ENOSYS" },
	{ SYS_pidfd_open, ANY_COMMAND, ENFILE, ENFILE, "with no file left in the system" },
	{ SYS_pidfd_open, ANY_COMMAND, EINVAL, EOPNOTSUPP, "with a pidfd_open(2) that knows no PIDFD_THREAD" },
	{ SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, EPERM, EPERM, "with a map that does not tell its shape" },
	{ SYS_bpf, BPF_MAP_UPDATE_ELEM, EPERM, EPERM, "with updates refused by EPERM" },
	{ SYS_bpf, BPF_MAP_UPDATE_ELEM, ENOMEM, ENOMEM, "with updates that find no memory" },
	{ SYS_bpf, BPF_MAP_UPDATE_ELEM, EAGAIN, EAGAIN, "with updates that are always busy, EAGAIN" },
	{ SYS_bpf, BPF_MAP_UPDATE_ELEM, EBUSY, EAGAIN, "with updates that are always busy, EBUSY" },
	{ SYS_bpf, BPF_MAP_UPDATE_ELEM, ETIMEDOUT, EAGAIN, "with updates that always time out" },
	{ SYS_bpf, BPF_MAP_UPDATE_ELEM, EDEADLK, EAGAIN, "with updates that always find a deadlock" },
	{ SYS_bpf, BPF_MAP_UPDATE_ELEM, EINTR, EAGAIN, "with updates that are always interrupted" },
	{ SYS_bpf, BPF_MAP_DELETE_ELEM, EPERM, 0, "with deletions refused" },
	{ SYS_bpf, BPF_MAP_LOOKUP_ELEM, EPERM, 0, "with look-ups refused" },
};

static const struct refusal *current;

static void judge_either(void)
{
	int wrong = 0;

	for (int i = 0; i < REPEATED; i++)
		wrong += results[i] != results[0] || (!results[i] && errnos[i] != current->with);
	is(wrong, 0, "%s: data, or NULL with %s", current->what, strerror(current->with));
}

static void refused_by_sandbox(void)
{
	int descriptors;
	long mapped;

	make_key();
	refuse(current->number, current->command, current->with);
	try_repeatedly();
	if (current->want)
		judge(current->want, current->what);
	else
		judge_either();
	descriptors = open_descriptors();
	mapped = status_kib("VmSize:");
	try_repeatedly();
	is(open_descriptors(), descriptors, "%s no descriptor piles up", current->what);
	/* A sanitizer maps memory of its own now and then. */
	if (!UNDER_SANITIZER)
		is(status_kib("VmSize:"), mapped, "%s no mapping piles up", current->what);
}

/* Seen from outside of the sandbox, over a pipe each way. */
static void not_published_by_sandbox(void)
{
	int tried[2], judged[2], want;
	char byte = 0, worked;
	pid_t child;

	if (pipe(tried) || pipe(judged))
		tap_bail("pipes can be made");
	child = fork();
	if (!child) {
		alarm(CASE_SECONDS);
		make_key();
		refuse(current->number, current->command, current->with);
		try_repeatedly();
		worked = results[0] != NULL;
		_exit(write(tried[1], &worked, 1) != 1 || read(judged[0], &byte, 1) != 1);
	}
	if (read(tried[0], &worked, 1) != 1)
		tap_bail("the child has tried");
	want = worked && !current->want ? 0 : -ENOENT;
	is(element_read(map_fd, child, results), want, "%s the thread is published if it has data, else not", current->what);
	if (write(judged[1], &byte, 1) != 1)
		tap_bail("the child can be told");
	waitpid(child, NULL, 0);
}

/* What was set up before the sandbox closes goes on working. */
static void sandbox_closes_later(void)
{
	uint32_t *data;

	make_key();
	data = tld_get_data(map_fd, key);
	if (!data)
		tap_bail("the thread has data");
	refuse(SYS_bpf, ANY_COMMAND, EPERM);
	*data = 7;
	ok(tld_get_data(map_fd, key) == data, "a thread published before a sandbox refuses bpf(2) keeps its data");
	is(*data, 7, "with its value");
	tld_free();
	errno = 0;
	data = tld_get_data(map_fd, key);
	ok(!data || !*data, "what it gets after tld_free(), which could not withdraw it, is cleared");
}

int main(void)
{
	map_fd = data_map(V2_SIZE);
	in_child(no_descriptor);
	in_child(few_descriptors);
	in_child(no_memory);
	in_child(memory_used_up);
	in_child(withdrawal_fails);
	in_child(free_without_descriptors);
	for (unsigned int i = 0; i < sizeof(refusals) / sizeof(*refusals); i++) {
		current = &refusals[i];
		in_child_named(current->what, refused_by_sandbox);
		in_child_named(current->what, not_published_by_sandbox);
	}
	in_child(sandbox_closes_later);
	close(map_fd);
	return tap_done();
}
