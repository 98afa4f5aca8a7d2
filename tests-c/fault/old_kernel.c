// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * old_kernel.c - what the library says where the kernel, or a sandbox, lacks what it needs:
 * maps whose value has no UPTR, no PIDFD_THREAD, no bpf(2), no pidfd_open(2); and that
 * TLDs work there without a map, at the same cost.
 *
 * The kernel itself is made to answer as an old one: by a seccomp filter, which sees what
 * no function of the C library is called for too, and by the personality in which
 * uname(2) tells of Linux 2.6.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/personality.h>
#include <sys/prctl.h>

#define TLD_DYN_DATA_SIZE 200
#include "follow.h"
#include "inject.h"
#include "worker.h"

/* Defined before main(), and before any of this. */
TLD_DEFINE_KEY(defined_key, "defined", sizeof(uint64_t));

static int map;

/* --- Old kernels ------------------------------------------------------------------- */

#define ANY_ARGUMENT 0xffffffffu

/* From now on this system call fails; if the second argument is this. */
static void refuse(int number, unsigned int second, int err)
{
	unsigned int argument = offsetof(struct seccomp_data, args[1]);
	bool any = second == ANY_ARGUMENT;
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, argument),
		BPF_JUMP(BPF_JMP | (any ? BPF_JGE : BPF_JEQ) | BPF_K, any ? 0 : second, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | err),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };

	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

static void present_kernel(void)
{
}

static void says_2_6(void)
{
	struct utsname name;

	must(personality(PER_LINUX | UNAME26) == -1);
	must(uname(&name));
	if (strncmp(name.release, "2.6.", 4))
		tap_bail("uname(2) tells of Linux 2.6");
}

/* Linux 5.3 to 6.8. */
static void no_pidfd_thread(void)
{
	refuse(SYS_pidfd_open, PIDFD_THREAD, EINVAL);
	if (thread_pidfd(gettid()) != -1 || errno != EINVAL)
		tap_bail("PIDFD_THREAD is refused");
}

static void no_pidfd_open(void)
{
	refuse(SYS_pidfd_open, ANY_ARGUMENT, ENOSYS);
}

static void no_bpf(void)
{
	refuse(SYS_bpf, ANY_ARGUMENT, ENOSYS);
}

static void bpf_refused(void)
{
	refuse(SYS_bpf, ANY_ARGUMENT, EPERM);
}

static void pidfd_open_refused(void)
{
	refuse(SYS_pidfd_open, ANY_ARGUMENT, EPERM);
}

static void nothing_at_all(void)
{
	no_bpf();
	no_pidfd_open();
	says_2_6();
}

static const struct old_kernel {
	const char *name;
	void (*become)(void);
	int map_error;		/* of a data map */
	int reference_error;	/* of tld_ref_thread() */
} old_kernels[] = {
	{ "Linux without PIDFD_THREAD", no_pidfd_thread, EOPNOTSUPP, EOPNOTSUPP },
	{ "Linux without pidfd_open(2)", no_pidfd_open, ENOSYS, ENOSYS },
	{ "Linux without bpf(2)", no_bpf, ENOSYS, 0 },
	{ "a sandbox that refuses bpf(2)", bpf_refused, EPERM, 0 },
	{ "a sandbox that refuses pidfd_open(2)", pidfd_open_refused, EPERM, EPERM },
	{ "Linux 2.6", nothing_at_all, ENOSYS, ENOSYS },
};

#define OLD_KERNELS (sizeof(old_kernels) / sizeof(old_kernels[0]))

static const struct old_kernel *kernel;

/* --- Without a map ----------------------------------------------------------------- */

static void *get_and_store(void *value)
{
	uint64_t *data = tld_get(key);

	if (!data || *data)
		return NULL;
	*data = (uintptr_t)value;
	return tld_get(key) == data && *data == (uintptr_t)value ? data : NULL;
}

/* Of the second call on. */
static unsigned int calls_of_get(void)
{
	inject_begin((struct inject_rule){ 0 });
	tld_get(key);
	tld_get(defined_key);
	inject_end();
	return inject_calls;
}

static void *end_at_once(void *unused)
{
	tld_get(key);
	return unused;
}

static void threads_end(void)
{
	long settled;

	for (int i = 0; i < 200; i++)
		in_thread(end_at_once, NULL);
	settled = inject_mapped;
	for (int i = 0; i < 200; i++)
		in_thread(end_at_once, NULL);
	is(inject_mapped, settled, "threads that end take nothing with them");
}

static void forked_child_gets(uint64_t *data)
{
	int status = -1;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child)
		_exit(tld_get(key) == data && *data == 5 && !tld_publish() ? 0 : 1);
	waitpid(child, &status, 0);
	is(status, 0, "a forked child finds its value");
}

static void works_without_map(void)
{
	uint64_t *data;

	kernel->become();
	key = tld_create_key("value", sizeof(uint64_t));
	ok(!tld_key_is_err(key), "%s: tld_create_key() makes a key", kernel->name);
	is(tld_find_key("value").off, key.off, "tld_find_key() finds it");
	data = tld_get(key);
	ok(data && !*data, "tld_get() gives zeroed data");
	ok(tld_get(defined_key) != NULL, "also of TLD_DEFINE_KEY()");
	is(calls_of_get(), 0, "from the second time on with no system call");
	is(tld_publish(), 0, "tld_publish() has nothing to do");
	ok(in_thread(get_and_store, (void *)7) != NULL, "another thread has data of its own");
	*data = 5;
	forked_child_gets(data);
	threads_end();
	is(*data, 5, "and the value stays");
	is(tld_detach_id(1), -ENOENT, "no map is known");
	tld_free();
	ok(tld_get(key) == data && !*data, "tld_free() clears");
}

/* --- With a map that cannot be used ------------------------------------------------ */

static void *get_own(void *unused)
{
	(void)unused;
	return tld_get(key);
}

static void judge_reference(void)
{
	struct tld_thread_ref *ref;
	struct worker worker;
	uint64_t *data;

	worker_start(&worker);
	errno = 0;
	ref = tld_ref_thread(worker.tid);
	if (kernel->reference_error) {
		ok(!ref, "tld_ref_thread() gives none");
		is(errno, kernel->reference_error, "with errno %s",
		   strerrorname_np(kernel->reference_error));
	} else {
		data = tld_ref_get(ref, key);
		ok(data != NULL, "tld_ref_thread() works");
		if (data)
			*data = 9;
		ok(worker_do(&worker, get_own, NULL) == data && data && *data == 9,
		   "and its thread finds what was stored");
	}
	tld_unref_thread(ref);
	worker_end(&worker, WORKER_RETURNS);
}

static void tells_why(void)
{
	const char *want = strerrorname_np(kernel->map_error);
	uint64_t *data;

	make_place();
	pin(map, PIN);
	make_key();
	kernel->become();
	data = tld_get(key);
	*data = 3;
	errno = 0;
	ok(!tld_get_data(map, key), "%s: tld_get_data() gives nothing", kernel->name);
	is(errno, kernel->map_error, "with errno %s", want);
	is(tld_attach(map), -kernel->map_error, "tld_attach() says -%s", want);
	is(tld_follow(PIN), 0, "tld_follow() follows");
	is(tld_follow_status(PIN), -kernel->map_error, "and tld_follow_status() says -%s", want);
	is(tld_unfollow(PIN), 0, "until tld_unfollow()");
	ok(tld_detach(map) < 0, "tld_detach() knows no such map");
	is(tld_publish(), 0, "no map is attached");
	ok(tld_get(key) == data && *data == 3, "the thread's data are as before");
	judge_reference();
}

/* A map that was attached before the sandbox came. */
static void sandboxed_later(void)
{
	uint64_t *data;

	make_key();
	is(tld_attach(map), 0, "before %s: a map is attached", kernel->name);
	kernel->become();
	data = tld_get(key);
	ok(data != NULL, "afterwards tld_get() gives data");
	is(tld_publish(), -kernel->map_error,
	   "and tld_publish() says why BPF does not see them: -%s",
	   strerrorname_np(kernel->map_error));
	ok(in_thread(get_and_store, (void *)7) != NULL, "another thread can store");
}

/* --- A map without UPTRs ----------------------------------------------------------- */

static int plain_map(unsigned int value_size, int uptrs)
{
	struct map_shape shape = { BPF_MAP_TYPE_TASK_STORAGE, value_size, uptrs };
	int fd = map_create(&shape);

	if (fd < 0)
		tap_bail("a map without UPTRs can be made");
	return fd;
}

static void refuses(int fd, int want, const char *what, unsigned int value_size)
{
	char before[256], after[256];

	ok(!tld_get_data(fd, key) && errno == want,
	   "a value of %u bytes %s: tld_get_data() says %s", value_size, what,
	   strerrorname_np(want));
	is(tld_attach(fd), -want, "tld_attach() says -%s", strerrorname_np(want));
	ok(!published(fd), "no element is left");
	memset(before, 0x11, sizeof(before));
	if (element_write(fd, gettid(), before))
		tap_bail("an element can be made");
	ok(!tld_get_data(fd, key) && errno == want && tld_attach(fd) == -want,
	   "the same where somebody has made an element");
	ok(!element_read(fd, gettid(), after) && !memcmp(before, after, value_size),
	   "which stays as it was");
	tld_free();
	ok(!element_read(fd, gettid(), after), "also after tld_free()");
	close(fd);
}

static void refuses_maps_without_uptrs(void)
{
	static const unsigned int sizes[] = { V1_SIZE, V2_SIZE, NATIVE_SIZE };
	int want = kernel->map_error, fds[3];

	for (int i = 0; i < 3; i++)
		fds[i] = plain_map(sizes[i], 0);
	kernel->become();
	make_key();
	diag("%s", kernel->name);
	for (int i = 0; i < 3; i++)
		refuses(fds[i], want, "without UPTRs", sizes[i]);
	ok(tld_get(key) != NULL, "tld_get() works");
}

static void for_each_old_kernel(void (*body)(void))
{
	for (size_t i = 0; i < OLD_KERNELS; i++) {
		kernel = &old_kernels[i];
		in_child_named(kernel->name, body);
	}
}

static void uptr_cases(void)
{
	static const struct old_kernel with_and_without[] = {
		{ "Linux before UPTR", says_2_6, EOPNOTSUPP, 0 },
		{ "the present Linux", present_kernel, EINVAL, 0 },
	};

	for (int i = 0; i < 2; i++) {
		kernel = &with_and_without[i];
		in_child(refuses_maps_without_uptrs);
	}
}

int main(void)
{
	char reason[128];

	/* Its skip would be of all; without a map there is something to say on any kernel. */
	(void)need_place;
	for_each_old_kernel(works_without_map);
	map = data_map_try(V2_SIZE, reason, sizeof(reason));
	if (map < 0) {
		tap_skip("a map that cannot be used gives the reason", reason);
		return tap_done();
	}
	for_each_old_kernel(tells_why);
	for_each_old_kernel(sandboxed_later);
	uptr_cases();
	return tap_done();
}
