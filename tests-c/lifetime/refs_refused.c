// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * refs_refused.c - whom tld_ref_thread() does not refer to, and what tld_ref_get() does not
 * give: the documented errno, each time, with nothing left open; and what goes on working
 * where no descriptor is left.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "refs.h"

/* --- Threads that are none of this process --- */

static int tids[2], stay[2];

static void *tell_tid(void *unused)
{
	pid_t tid = gettid();

	(void)unused;
	if (write(tids[1], &tid, sizeof(tid)) != sizeof(tid))
		_exit(1);
	pause();
	return NULL;
}

static void with_a_thread(void)
{
	char byte;

	start_thread(tell_tid, NULL);
	_exit(read(stay[0], &byte, 1) != 1);
}

/* Of another process: its main thread, another thread, and what is left when it ended. */
static void refused_strangers(void)
{
	pid_t child, thread;
	siginfo_t info;

	if (pipe(tids) || pipe(stay))
		tap_bail("pipes can be made");
	child = fork_for_case();
	if (!child)
		with_a_thread();
	if (read(tids[0], &thread, sizeof(thread)) != sizeof(thread))
		tap_bail("a child tells the id of its thread");
	refused(child, ESRCH, "a child process");
	refused(thread, ESRCH, "a thread of a child process");
	is(reader_elements(reader, NULL), 0, "none of them gets an element");
	if (write(stay[1], "", 1) != 1 || waitid(P_PID, child, &info, WEXITED | WNOWAIT))
		tap_bail("a child ends");
	refused(child, ESRCH, "a child that has ended and was not waited for");
	waitpid(child, NULL, 0);
	refused(child, ESRCH, "a child that was waited for");
	refused(getppid(), ESRCH, "the parent process");
	refused(1, ESRCH, "the first process");
}

static void refused_ids(void)
{
	struct worker worker;
	int elements;

	attach_or_bail();
	refused(0, EINVAL, "thread id 0");
	refused(-1, EINVAL, "thread id -1");
	refused(INT_MIN, EINVAL, "thread id INT_MIN");
	refused(INT_MAX, ESRCH, "an id that no thread has");
	worker_start(&worker);
	worker_do(&worker, store, (void *)7);
	refused(-worker.tid, EINVAL, "minus a thread's id");
	worker_end(&worker, WORKER_RETURNS);
	if (!eventually(syscall(SYS_tgkill, getpid(), worker.tid, 0)))
		tap_bail("a thread that was joined ends");
	refused(worker.tid, ESRCH, "a thread that has ended");
	refused_strangers();
	elements = reader_elements(reader, NULL);
	is(elements, 0, "the map is empty");
}

static void refused_without_tld(void)
{
	struct worker worker;

	attach_or_bail();
	worker_start(&worker);
	refused(worker.tid, EINVAL, "a thread, while there is no TLD");
	refused(gettid(), EINVAL, "the caller, while there is no TLD");
	key = tld_create_key("value", sizeof(uint64_t));
	unref(ref_to(&worker));
	ok(seen(&worker), "with one it can be referred to");
	worker_end(&worker, WORKER_RETURNS);
}

static int errno_of_get(const struct tld_thread_ref *ref, tld_key_t of)
{
	errno = 0;
	return tld_ref_get(ref, of) ? 0 : errno;
}

static void refused_keys(void)
{
	static const int16_t bad[] = { -EINVAL, -EAGAIN, INT16_MIN, -1, 8, 4000, INT16_MAX };
	struct tld_thread_ref *ref;
	struct worker worker;
	int refusals = 0;
	tld_key_t late;

	/* With a map known that has a start field, a block is no page. */
	attach_or_bail();
	worker_start(&worker);
	ref = ref_to(&worker);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		refusals += errno_of_get(ref, (tld_key_t){ bad[i] }) == EINVAL;
	is(refusals, sizeof(bad) / sizeof(*bad), "tld_ref_get() of what is no key gives EINVAL");
	is(errno_of_get(NULL, key), EINVAL, "so does that of no reference");
	late = create_asking("late", 2000, 2100);
	is(errno_of_get(ref, late), E2BIG,
	   "a TLD that the thread's memory cannot hold gives E2BIG");
	is(errno_of_get(ref, key), 0, "one that it can is there");
	unref(ref);
	worker_end(&worker, WORKER_RETURNS);
	worker_start(&worker);
	ref = ref_to(&worker);
	is(errno_of_get(ref, late), 0, "memory that is laid out later holds it");
	unref(ref);
	unref(NULL);
	worker_end(&worker, WORKER_RETURNS);
}

static void refused_for_want_of_descriptors(void)
{
	rlim_t limit = soft_limit(RLIMIT_NOFILE);
	struct worker worker;
	int err;

	attach_or_bail();
	worker_start(&worker);
	set_soft_limit(RLIMIT_NOFILE, 3);
	errno = 0;
	err = tld_ref_thread(worker.tid) ? 0 : errno;
	set_soft_limit(RLIMIT_NOFILE, limit);
	is(err, EMFILE, "a reference is not to be had without a free descriptor");
	is(seen(&worker), false, "the thread has no element");
	unref(ref_to(&worker));
	is(seen(&worker), true, "with one it is, and the thread readable");
	worker_end(&worker, WORKER_RETURNS);
}

/* A reference that waits for its thread is no reason for others to fail. */
static void used_for_want_of_descriptors(void)
{
	rlim_t limit = soft_limit(RLIMIT_NOFILE);
	struct worker worker, other;
	struct tld_thread_ref *ref;
	uint64_t *data, *others;
	int err;

	worker_start(&worker);
	worker_start(&other);
	ref = ref_to(&worker);
	data = data_of(ref);
	*data = 7;
	set_soft_limit(RLIMIT_NOFILE, 3);
	others = worker_do(&other, get, NULL);
	err = (intptr_t)worker_do(&worker, errno_of_own_get, NULL);
	set_soft_limit(RLIMIT_NOFILE, limit);
	ok(others && others != data, "without a free descriptor other threads get their TLDs");
	ok(!err || err == ENOMEM || err == EAGAIN,
	   "so does the thread that is referred to, or what tld_get() has for errors");
	ok(worker_do(&worker, get, NULL) == data && *data == 7,
	   "it finds what was stored for it when there are descriptors again");
	unref(ref);
	worker_end(&worker, WORKER_RETURNS);
	worker_end(&other, WORKER_RETURNS);
}

/* A thread's first use is when the library learns who it is. */
static void referred_after_want_of_descriptors(void)
{
	rlim_t limit = soft_limit(RLIMIT_NOFILE);
	struct tld_thread_ref *ref;
	struct worker worker;
	uint64_t *data;

	worker_start(&worker);
	set_soft_limit(RLIMIT_NOFILE, 3);
	data = worker_do(&worker, store, (void *)7);
	set_soft_limit(RLIMIT_NOFILE, limit);
	ok(data && worker_do(&worker, get, NULL) == data,
	   "a thread first uses a TLD without a free descriptor, and then with one");
	ref = tld_ref_thread(worker.tid);
	ok(ref && tld_ref_get(ref, key) == data, "then it can be referred to");
	unref(ref);
	worker_end(&worker, WORKER_RETURNS);
}

/* What a sandbox says to pidfd_open(2), and what tld_ref_thread() makes of it. */
static void refuse_pidfd_open(int with)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | with),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { sizeof(code) / sizeof(*code), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
		tap_bail("a seccomp filter can be set");
}

static void refused_by_sandbox(int with, int want, const char *what)
{
	struct worker worker;

	worker_start(&worker);
	refuse_pidfd_open(with);
	refused(worker.tid, want, what);
	ok(worker_do(&worker, store, (void *)7), "%s: the thread itself gets its TLD", what);
	worker_end(&worker, WORKER_RETURNS);
}

static void refused_by_eperm(void)
{
	refused_by_sandbox(EPERM, EPERM, "with pidfd_open(2) refused");
}

static void refused_by_enosys(void)
{
	refused_by_sandbox(ENOSYS, ENOSYS, "without pidfd_open(2)");
}

static void refused_by_einval(void)
{
	refused_by_sandbox(EINVAL, EOPNOTSUPP, "with a pidfd_open(2) that knows no threads");
}

int main(void)
{
	open_readers();
	use_format(READER_V2);
	in_child_with_key(refused_ids);
	in_child(refused_without_tld);
	in_child_with_key(refused_keys);
	in_child_with_key(refused_for_want_of_descriptors);
	in_child_with_key(used_for_want_of_descriptors);
	in_child_with_key(referred_after_want_of_descriptors);
	in_child_with_key(refused_by_eperm);
	in_child_with_key(refused_by_enosys);
	in_child_with_key(refused_by_einval);
	close_readers();
	return tap_done();
}
