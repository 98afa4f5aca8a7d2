// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * attach_refused.c - what tld_attach(), tld_detach(), tld_get() and tld_publish() refuse:
 * the documented errno, each time, with nothing left open, mapped or in a map, and the
 * same call succeeds once the reason is gone. And what happens when eight maps are served.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include "maps.h"
#include "page.h"
#include "worker.h"

#define ERRNO_MARK 12345
#define REPEATED 100
/* How many maps are served at a time. */
#define SERVED 8

static int map_fd;
static tld_key_t key;
static int errno_changed;

/* A call that says all by its result: errno must stay. */
#define quiet(call)						\
({								\
	errno = ERRNO_MARK;					\
	__typeof__(call) got__ = (call);			\
	errno_changed += errno != ERRNO_MARK;			\
	got__;							\
})

static void make_key(void)
{
	key = tld_create_key("value", sizeof(uint64_t));
	if (tld_key_is_err(key))
		tap_bail("a key can be created");
}

static void *store(void *value)
{
	uint64_t *data = tld_get(key);

	if (data)
		*data = (uintptr_t)value;
	return data;
}

static bool has_element(int fd, pid_t tid)
{
	char value[256];
	int err = element_read(fd, tid, value);

	if (err && err != -ENOENT)
		tap_bail("an element can be looked up");
	return !err;
}

static __u32 map_id(int fd)
{
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		tap_bail("a map has an id");
	return info.id;
}

/* --- What is no data map -------------------------------------------------------------- */

static int (*call)(int fd);
static const char *call_name;

/* Fail REPEATED times in the same way; nothing may pile up. */
static void refused(int fd, int want, const char *what)
{
	int descriptors = open_descriptors(), wrong = 0, got;
	long mapped = 0;

	for (int i = 0; i < REPEATED; i++) {
		got = quiet(call(fd));
		if (got != want && !wrong++)
			diag("  %s of %s gives %d", call_name, what, got);
		if (i == 0)
			mapped = status_kib("VmSize:");
	}
	is(wrong, 0, "%s of %s: %s, as often as one tries", call_name, what, strerror(-want));
	is(open_descriptors(), descriptors, "%s of %s: no descriptor stays open", call_name, what);
	/* A sanitizer maps memory of its own now and then. */
	if (!UNDER_SANITIZER)
		is(status_kib("VmSize:"), mapped,
		   "%s of %s: nothing stays mapped", call_name, what);
}

static void refused_and_closed(int fd, int want, const char *what)
{
	if (fd < 0)
		tap_bail("%s can be made", what);
	refused(fd, want, what);
	close(fd);
}

static int program(void)
{
	static const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, NULL, "GPL", insns, 2, NULL);
}

/* Both calls judge a descriptor that is no map alike. */
static void no_maps(void)
{
	int closed = 900; /* a number that the library's own descriptors will not get */

	refused(closed, -EBADF, "a closed descriptor");
	refused(-1, -EBADF, "descriptor -1");
	refused(INT_MIN, -EBADF, "descriptor INT_MIN");
	refused(INT_MAX, -EBADF, "descriptor INT_MAX");
	refused_and_closed(open("/dev/null", O_RDWR), -EINVAL, "a device");
	refused_and_closed(thread_pidfd(gettid()), -EINVAL, "a pidfd");
	refused_and_closed(program(), -EINVAL, "a BPF program");
}

static void attach_no_map(void)
{
	call = tld_attach;
	call_name = "tld_attach()";
	no_maps();
	is(quiet(tld_attach(map_fd)), 0, "a data map can then be attached");
	store((void *)1);
	ok(published(map_fd), "and serves the thread");
	no_maps();
	ok(published(map_fd), "which goes on while others are refused");
}

static void detach_no_map(void)
{
	call = tld_detach;
	call_name = "tld_detach()";
	no_maps();
	refused(map_fd, -ENOENT, "a data map that nobody attached");
	refused_and_closed(map_create_plain(BPF_MAP_TYPE_HASH, V2_SIZE), -EINVAL, "a hash map");
	is(quiet(tld_detach_id(0)), -ENOENT, "tld_detach_id() of 0: no such map");
	is(quiet(tld_detach_id(UINT32_MAX)), -ENOENT, "tld_detach_id() of an id that no map has");
	store((void *)1);
	if (tld_attach(map_fd))
		tap_bail("a map can be attached");
	no_maps();
	refused_and_closed(data_map(V2_SIZE), -ENOENT, "a data map that is not the attached one");
	is(quiet(tld_detach_id(UINT32_MAX)), -ENOENT, "tld_detach_id() of an unknown id");
	ok(published(map_fd), "the one that is attached stays so");
}

/* --- Maps that are no data maps ------------------------------------------------------- */

static struct worker other;
static unsigned char others_bytes[256];

/* The caller has no element, another thread has one that is somebody else's. */
static void refused_map(int fd, const char *what, bool of_tasks, const void *bytes)
{
	unsigned char after[256] = { 0 };

	if (fd < 0) {
		errno = -fd;
		tap_bail("%s can be made", what);
	}
	if (bytes && element_write(fd, other.tid, bytes))
		tap_bail("%s takes an element", what);
	refused(fd, -EINVAL, what);
	is(quiet(tld_detach_id(map_id(fd))), -ENOENT, "%s is not attached", what);
	if (of_tasks)
		is(has_element(fd, gettid()), false, "%s gets no element", what);
	if (bytes)
		ok(!element_read(fd, other.tid, after) && !memcmp(after, bytes, 16),
		   "%s: an element that is there stays as it is", what);
	close(fd);
}

static void refused_shape(enum bpf_map_type type, __u32 size, int uptrs, const char *what)
{
	struct map_shape shape = { type, size, uptrs };
	bool of_tasks = type == BPF_MAP_TYPE_TASK_STORAGE;

	refused_map(map_create(&shape), what, of_tasks, of_tasks && !uptrs ? others_bytes : NULL);
}

static void other_maps(void)
{
	refused_map(map_create_plain(BPF_MAP_TYPE_HASH, V2_SIZE), "a hash map", false, NULL);
	refused_map(map_create_plain(BPF_MAP_TYPE_ARRAY, V1_SIZE), "an array map", false, NULL);
	refused_shape(BPF_MAP_TYPE_SK_STORAGE, V2_SIZE, 0, "a socket storage map");
	refused_shape(BPF_MAP_TYPE_TASK_STORAGE, 8, 1, "task storage of 8 bytes");
	refused_shape(BPF_MAP_TYPE_TASK_STORAGE, 20, 2, "task storage of 20 bytes with UPTRs");
	refused_shape(BPF_MAP_TYPE_TASK_STORAGE, 16, 0, "task storage of 16 bytes without UPTRs");
	refused_shape(BPF_MAP_TYPE_TASK_STORAGE, 24, 0, "task storage of 24 bytes without UPTRs");
	refused_shape(BPF_MAP_TYPE_TASK_STORAGE, 64, 0, "task storage of 64 bytes without UPTRs");
	refused_shape(BPF_MAP_TYPE_TASK_STORAGE, 24, 1,
		      "task storage whose second member is no UPTR");
	refused_shape(BPF_MAP_TYPE_TASK_STORAGE, 16, 1, "task storage of 16 bytes with one UPTR");
}

static void wrong_maps(void)
{
	call = tld_attach;
	call_name = "tld_attach()";
	memset(others_bytes, 0x5a, sizeof(others_bytes));
	worker_start(&other);
	diag("where no thread has data");
	other_maps();
	diag("where both threads have");
	store((void *)1);
	worker_do(&other, store, (void *)2);
	other_maps();
	is(quiet(tld_attach(map_fd)), 0, "a data map can then be attached");
	ok(published(map_fd) && has_element(map_fd, other.tid), "and serves both threads");
	worker_end(&other, WORKER_RETURNS);
}

/* A descriptor of the map with fewer rights than the one that made it. */
static int reopened(int fd, __u32 flags)
{
	LIBBPF_OPTS(bpf_get_fd_by_id_opts, opts, .open_flags = flags);
	int other_fd = bpf_map_get_fd_by_id_opts(map_id(fd), &opts);

	if (other_fd < 0)
		tap_bail("a map can be opened once more");
	return other_fd;
}

static void half_open(void)
{
	int reading = reopened(map_fd, BPF_F_RDONLY), writing = reopened(map_fd, BPF_F_WRONLY);

	call = tld_attach;
	call_name = "tld_attach()";
	refused(reading, -EPERM, "a map that may only be read");
	store((void *)1);
	refused(reading, -EPERM, "a map that may only be read, with data in the thread");
	is(quiet(tld_detach(reading)), -ENOENT, "it is not attached");
	ok(!published(map_fd), "and gets no element");
	is(quiet(tld_attach(writing)), 0, "one that may only be written can be attached");
	ok(published(map_fd), "and serves the thread");
	is(quiet(tld_detach(reading)), 0, "it is detached by any of its descriptors");
	ok(!published(map_fd), "and serves nobody then");
}

/* --- Without kernel support, descriptors or memory --------------------------------------- */

static void refuse_bpf(int with)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bpf, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | with),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { sizeof(code) / sizeof(*code), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
		tap_bail("a seccomp filter can be set");
}

static void works_without_kernel(int with)
{
	const char *how = strerror(with);
	struct worker worker;
	uint64_t *data;

	refuse_bpf(with);
	worker_start(&worker);
	data = quiet(tld_get(key));
	ok(data && !*data, "where bpf(2) gives %s, a thread gets its TLD", how);
	store((void *)1);
	ok(tld_get(key) == data && *data == 1, "it keeps its value");
	ok(worker_do(&worker, store, (void *)2) && *data == 1,
	   "another thread gets one of its own");
	is(quiet(tld_publish()), 0, "there is no map to publish to");
	call = tld_attach;
	call_name = "tld_attach()";
	refused(map_fd, -with, "a data map, without kernel support");
	ok(tld_get(key) == data && *data == 1, "the data stay");
	worker_end(&worker, WORKER_RETURNS);
}

static void no_kernel_support(void)
{
	works_without_kernel(ENOSYS);
}

static void refused_by_sandbox(void)
{
	works_without_kernel(EPERM);
}

/* A map that cannot serve a thread for now keeps nobody from storing. */
static void served_later(void)
{
	rlim_t limit = soft_limit(RLIMIT_NOFILE);
	uint64_t *data;
	int err;

	if (tld_attach(map_fd))
		tap_bail("a map can be attached");
	set_soft_limit(RLIMIT_NOFILE, 3);
	data = quiet(tld_get(key));
	err = quiet(tld_publish());
	set_soft_limit(RLIMIT_NOFILE, limit);
	ok(data && !*data,
	   "where an attached map fails for want of a descriptor, the thread has its TLD");
	is(err, -EMFILE, "tld_publish() says why it is not readable");
	ok(!published(map_fd), "it is not");
	if (!data)
		return;
	*data = 7;
	ok(quiet(tld_get(key)) == data && *data == 7, "its next call finds the same data");
	ok(published(map_fd), "and makes them readable");
	is(quiet(tld_publish()), 0, "which tld_publish() confirms");
}

/* The thread's first use is its only one; what failed then must not fail for ever. */
static void first_use_without_descriptor(void)
{
	rlim_t limit = soft_limit(RLIMIT_NOFILE);
	struct worker worker;
	uint64_t *data;
	int err;

	worker_start(&worker);
	set_soft_limit(RLIMIT_NOFILE, 3);
	data = worker_do(&worker, store, (void *)8);
	set_soft_limit(RLIMIT_NOFILE, limit);
	ok(data != NULL, "a thread uses its first TLD while no descriptor is left");
	err = quiet(tld_attach(map_fd));
	ok(err == 0 || err == -EAGAIN, "a map is attached later, with 0 or EAGAIN");
	is(has_element(map_fd, worker.tid), err == 0, "which says whether it sees that thread");
	ok(worker_do(&worker, store, (void *)9) == data, "the thread uses its TLD once more");
	is(quiet(tld_attach(map_fd)), 0, "then there is nothing left that fails");
	ok(has_element(map_fd, worker.tid), "and the map sees the thread");
	worker_end(&worker, WORKER_RETURNS);
}

/* In the calling thread only, and for good. */
static void refuse_pidfd_of(pid_t tid, int with)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (__u32)tid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | with),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { sizeof(code) / sizeof(*code), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
		tap_bail("a seccomp filter can be set");
}

static void *attach_but(void *tid)
{
	refuse_pidfd_of((intptr_t)tid, EMFILE);
	return (void *)(intptr_t)quiet(tld_attach(map_fd));
}

static void one_thread_fails(void)
{
	struct worker before, failing, after, attacher;

	worker_start(&before);
	worker_start(&failing);
	worker_start(&after);
	worker_start(&attacher);
	worker_do(&before, store, (void *)1);
	worker_do(&failing, store, (void *)2);
	worker_do(&after, store, (void *)3);
	is((intptr_t)worker_do(&attacher, attach_but, (void *)(intptr_t)failing.tid), -EMFILE,
	   "where one thread cannot be published, tld_attach() says why");
	ok(!has_element(map_fd, failing.tid), "it is not in the map");
	ok(has_element(map_fd, before.tid) && has_element(map_fd, after.tid),
	   "each other thread is, whichever came first");
	store((void *)4);
	ok(published(map_fd), "and so is who comes later: the map is attached");
	is(quiet(tld_attach(map_fd)), 0, "a repeated call tries what is missing");
	ok(has_element(map_fd, failing.tid), "and the thread is in the map");
	is(quiet(tld_detach(map_fd)), 0, "the map is detached once");
	ok(!has_element(map_fd, failing.tid) && !published(map_fd), "with every thread");
	worker_end(&before, WORKER_RETURNS);
	worker_end(&failing, WORKER_RETURNS);
	worker_end(&after, WORKER_RETURNS);
	worker_end(&attacher, WORKER_RETURNS);
}

static void no_descriptor(void)
{
	rlim_t limit = soft_limit(RLIMIT_NOFILE);
	int err;

	store((void *)1);
	set_soft_limit(RLIMIT_NOFILE, 3);
	err = quiet(tld_attach(map_fd));
	set_soft_limit(RLIMIT_NOFILE, limit);
	is(err, -EMFILE, "a map cannot be attached without a free descriptor");
	is(quiet(tld_detach(map_fd)), -ENOENT, "it is not attached");
	is(quiet(tld_attach(map_fd)), 0, "with one it can");
	ok(published(map_fd), "and serves the thread");
}

/* What cannot be withdrawn stays attached, so that one can try again. */
static void detached_later(void)
{
	rlim_t limit = soft_limit(RLIMIT_NOFILE);
	int err;

	store((void *)1);
	if (tld_attach(map_fd))
		tap_bail("a map can be attached");
	set_soft_limit(RLIMIT_NOFILE, 3);
	err = quiet(tld_detach(map_fd));
	set_soft_limit(RLIMIT_NOFILE, limit);
	is(err, -EMFILE, "without a free descriptor a thread cannot be withdrawn");
	is(quiet(tld_detach(map_fd)), 0, "with one it can, by the same call");
	ok(!published(map_fd), "and is gone from the map");
	is(quiet(tld_detach(map_fd)), -ENOENT, "which is then unknown");
}

/* Too large to be had where the process may map nothing more. */
static void *get_large(void *unused)
{
	(void)unused;
	errno = ERRNO_MARK;
	return tld_get(key) ? (void *)0 : (void *)(intptr_t)errno;
}

#define HUNGRY 150

static void no_memory(void)
{
	static struct worker workers[HUNGRY];
	rlim_t limit = soft_limit(RLIMIT_AS);
	int refusals = 0, other_errors = 0, later = 0;

	key = create_asking("large", 4000, 4088);
	for (int i = 0; i < HUNGRY; i++)
		worker_start(&workers[i]);
	store((void *)1);
	set_soft_limit(RLIMIT_AS, 0);
	for (int i = 0; i < HUNGRY; i++) {
		int err = (intptr_t)worker_do(&workers[i], get_large, NULL);

		refusals += err == ENOMEM;
		other_errors += err && err != ENOMEM;
	}
	set_soft_limit(RLIMIT_AS, limit);
	ok(refusals > 0, "where no memory is to be had, tld_get() gives ENOMEM");
	is(other_errors, 0, "or the TLD, if memory is left from before");
	for (int i = 0; i < HUNGRY; i++) {
		later += worker_do(&workers[i], store, (void *)2) != NULL;
		worker_end(&workers[i], WORKER_RETURNS);
	}
	is(later, HUNGRY, "when there is memory again, all threads get it");
}

/* --- Keys ------------------------------------------------------------------------------- */

static int errno_of_get(tld_key_t of)
{
	errno = 0;
	return tld_get(of) ? 0 : errno;
}

static void no_keys(void)
{
	is(quiet(tld_publish()), -EINVAL, "without any TLD there is nothing to publish");
	is(errno_of_get((tld_key_t){ 0 }), EINVAL, "nor a key that tld_get() would take");
	ok(!tld_attach(map_fd) && !published(map_fd), "also not where a map is attached");
	is(quiet(tld_publish()), -EINVAL, "which does not make a TLD");
}

static void bad_keys(void)
{
	static const int16_t bad[] = { -EINVAL, -EAGAIN, INT16_MIN, -1, 8, 4000, INT16_MAX };
	int first = 0, later = 0;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		first += errno_of_get((tld_key_t){ bad[i] }) == EINVAL;
	store((void *)1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		later += errno_of_get((tld_key_t){ bad[i] }) == EINVAL;
	is(first, sizeof(bad) / sizeof(*bad), "tld_get() of what is no key gives EINVAL");
	is(later, sizeof(bad) / sizeof(*bad), "also in a thread that has data");
	is(*(uint64_t *)tld_get(key), 1, "which stay");
}

static void *get_or_errno(void *of)
{
	return (void *)(intptr_t)errno_of_get(*(tld_key_t *)of);
}

/* With a map known that has a start field, threads share pages, and a block is no page. */
static void late_key(void)
{
	struct worker worker;
	tld_key_t late;

	if (tld_attach(map_fd))
		tap_bail("a map can be attached");
	worker_start(&worker);
	store((void *)1);
	late = create_asking("late", 2000, 2100);
	is(errno_of_get(late), E2BIG, "a TLD that a thread's memory cannot hold gives E2BIG");
	is(*(uint64_t *)tld_get(key), 1, "what it can hold is there as before");
	is((intptr_t)worker_do(&worker, get_or_errno, &late), 0,
	   "a thread without data yet gets both");
	worker_end(&worker, WORKER_RETURNS);
}

/* --- Eight maps ------------------------------------------------------------------------- */

static int maps[SERVED + 2];

static void make_maps(void)
{
	static const __u32 sizes[] = { V1_SIZE, V2_SIZE, NATIVE_SIZE };

	store((void *)1);
	for (int i = 0; i < SERVED + 2; i++)
		maps[i] = data_map(sizes[i % 3]);
}

static int attach_maps(int count)
{
	int attached = 0;

	for (int i = 0; i < count; i++)
		attached += !quiet(tld_attach(maps[i]));
	return attached;
}

static int serving(int count)
{
	int serving = 0;

	for (int i = 0; i < count; i++)
		serving += published(maps[i]);
	return serving;
}

static void eight_at_most(void)
{
	make_maps();
	is(attach_maps(SERVED), SERVED, "%d maps can be attached", SERVED);
	is(serving(SERVED), SERVED, "and each serves the thread");
	call = tld_attach;
	call_name = "tld_attach()";
	refused(maps[SERVED], -ENOSPC, "one more");
	ok(!published(maps[SERVED]), "it gets no element");
	is(quiet(tld_detach(maps[SERVED])), -ENOENT, "it is not attached");
	is(serving(SERVED), SERVED, "the others are");
	is(attach_maps(SERVED), SERVED, "which may be attached again");
	refused(-1, -EBADF, "no descriptor, with a full table");
	is(quiet(tld_detach(maps[3])), 0, "when one is detached");
	is(quiet(tld_attach(maps[SERVED])), 0, "there is room for one more");
	ok(published(maps[SERVED]) && !published(maps[3]), "which serves the thread instead");
	is(serving(SERVED), SERVED - 1, "beside the others");
}

static void passed_map_gives_way(void)
{
	make_maps();
	if (attach_maps(SERVED - 2) != SERVED - 2)
		tap_bail("six maps can be attached");
	ok(tld_get_data(maps[SERVED - 2], key) && tld_get_data(maps[SERVED - 1], key),
	   "beside six attached maps two are passed to tld_get_data()");
	is(serving(SERVED), SERVED, "all serve the thread");
	is(quiet(tld_attach(maps[SERVED])), 0, "one more can be attached");
	ok(published(maps[SERVED]), "and serves the thread");
	ok(!published(maps[SERVED - 2]), "the older of those that were only passed gave way");
	is(serving(SERVED), SERVED - 1, "and no other");
	is(quiet(tld_attach(maps[SERVED + 1])), 0, "so does the other one, for the next");
	ok(published(maps[SERVED + 1]) && !published(maps[SERVED - 1]),
	   "which is served in its place");
	is(serving(SERVED - 2), SERVED - 2, "what is attached stays");
	is(quiet(tld_attach(maps[SERVED - 1])), -ENOSPC, "now all eight are attached");
}

static void attached_map_stays(void)
{
	int descriptors, full = 0;

	make_maps();
	if (attach_maps(SERVED) != SERVED)
		tap_bail("eight maps can be attached");
	descriptors = open_descriptors();
	for (int i = 0; i < REPEATED; i++) {
		errno = 0;
		full += !tld_get_data(maps[SERVED], key) && errno == ENOSPC;
	}
	is(full, REPEATED, "beside eight attached maps tld_get_data() of another gives ENOSPC");
	is(serving(SERVED), SERVED,
	   "no attached map gives way to one that is passed to tld_get_data()");
	is(open_descriptors(), descriptors, "nor does that keep a descriptor");
}

/* --- Cases ------------------------------------------------------------------------------ */

static void (*body_of_case)(void);

static void with_key(void)
{
	make_key();
	body_of_case();
	is(errno_changed, 0, "errno was left alone");
}

#define case_with_key(body) case_with_key_named(#body, body)

static void case_with_key_named(const char *name, void (*body)(void))
{
	body_of_case = body;
	in_child_named(name, with_key);
}

int main(void)
{
	map_fd = data_map(V2_SIZE);
	case_with_key(attach_no_map);
	case_with_key(detach_no_map);
	case_with_key(wrong_maps);
	case_with_key(half_open);
	case_with_key(no_kernel_support);
	case_with_key(refused_by_sandbox);
	case_with_key(served_later);
	case_with_key(first_use_without_descriptor);
	case_with_key(one_thread_fails);
	case_with_key(no_descriptor);
	case_with_key(detached_later);
	if (UNDER_SANITIZER)
		tap_skip("tld_get() without memory", "a sanitizer needs memory itself");
	else
		in_child(no_memory);
	in_child(no_keys);
	case_with_key(bad_keys);
	case_with_key(late_key);
	case_with_key(eight_at_most);
	case_with_key(passed_map_gives_way);
	case_with_key(attached_map_stays);
	close(map_fd);
	return tap_done();
}
