// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * hint.c - scx_hint, the scheduler that follows hints, on this kernel: it schedules and sees
 * hints, it goes however it ends, it trusts whom it is told to trust, and where it cannot run,
 * it says why.
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <sys/stat.h>
#include "sched_hint.h"
#include "tld.h"
#include "hint_loader.h"

#define CGROUP "/sys/fs/cgroup/hint_test"
#define NOBODY 65534
#define OTHER_DIRECTORY "/sys/fs/bpf/other"
#define OTHER_PIN OTHER_DIRECTORY "/map"
#define HINTS_DIRECTORY "/sys/fs/bpf/hints"	/* of SCHED_HINT_PIN */
#define SHADOW "/tmp/shadow"

TLD_DEFINE_KEY(hint_key, SCHED_HINT_NAME, sizeof(uint64_t));

/* --- Programs that hint --- */

static void *wake_often(void *hint_class)
{
	const struct timespec moment = { .tv_nsec = 2000000 };
	uint64_t *hint = tld_get(hint_key);

	if (!hint)
		_exit(3);
	__atomic_store_n(hint, sched_hint((uintptr_t)hint_class, 0, 0), __ATOMIC_RELAXED);
	for (;;)
		nanosleep(&moment, NULL);
}

static void join_cgroup(const char *directory)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", directory);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		_exit(4);
	close(fd);
}

/* A process with a thread of each class, as that user, in that cgroup. */
static pid_t start_hinting(uid_t uid, const char *cgroup)
{
	pid_t pid = fork();

	if (pid < 0)
		tap_bail("a child can be started");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (cgroup)
		join_cgroup(cgroup);
	if ((uid && (setgid(uid) || setuid(uid))) || tld_follow(SCHED_HINT_PIN))
		_exit(5);
	start_thread(wake_often, (void *)SCHED_HINT_BACKGROUND);
	wake_often((void *)SCHED_HINT_INTERACTIVE);
	_exit(6);
}

static void end_hinting(pid_t pid)
{
	int status = 0;

	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	ok(WIFSIGNALED(status), "the program could hint (exit status %d)", WEXITSTATUS(status));
}

/* --- It schedules, and goes --- */

static struct loader schedule(const char *program, const char *option, const char *value)
{
	struct loader loader = loader_start(program, "--stats", "--mode", "0660", "--group", "65534", option, value);

	if (!eventually(loader_said(&loader, "scheduling;") || loader_has_ended(&loader)) || !hint_schedules()) {
		loader_show(&loader);
		tap_bail("it schedules the machine");
	}
	ok(true, "it schedules the machine");
	return loader;
}

static void ends(struct loader *loader, int signal, int status)
{
	is(loader_end(loader, signal), status, "it ends as it should");
	ok(eventually(scx_is("state", "disabled")), "and the kernel's own scheduler goes on");
	loader_forget(loader);
}

static void sees_hints(struct loader *loader)
{
	pid_t hinting;

	ok(eventually(loader_counted(loader, "normal") > 0), "--stats tells of decisions");
	is(loader_counted(loader, "hinted"), 0, "and nobody has hinted yet");
	hinting = start_hinting(0, NULL);
	if (!ok(eventually(loader_counted(loader, "interactive") > 0 &&
			   loader_counted(loader, "background") > 0), "it sees the classes of threads that hint") ||
	    !ok(loader_counted(loader, "hinted") >= loader_counted(loader, "background"), "and counts their hints"))
		loader_show(loader);
	is(loader_counted(loader, "refused"), 0, "and refuses none: no --trust, all are heard");
	end_hinting(hinting);
}

static void refuses_a_second(struct loader *first)
{
	long seq = scx_enable_seq();
	struct loader second = loader_start(SCX_HINT);

	is(loader_end(&second, 0), 1, "a second one: exit status");
	if (!ok(loader_said(&second, "another sched_ext scheduler runs"), "a second one: it says why"))
		loader_show(&second);
	loader_forget(&second);
	ok(hint_schedules() && !loader_has_ended(first), "the first one goes on");
	is(scx_enable_seq(), seq, "and was not put in place again");
}

/* Few starts: most of the time that this takes is the verifier's. */
static void works(void)
{
	struct loader loader;

	tap_subject = "libbpf 1.1: ";
	loader = schedule(SCX_HINT, NULL, NULL);
	refuses_a_second(&loader);
	sees_hints(&loader);
	ends(&loader, SIGINT, 0);
	tap_subject = "newest libbpf: ";
	loader = schedule(SCX_HINT "_newest", NULL, NULL);
	sees_hints(&loader);
	ends(&loader, SIGKILL, -SIGKILL);
	tap_subject = "";
}

/* As the kernel's watchdog does; this is how a person makes it. */
static void tells_why_it_was_ended(struct loader *loader)
{
	int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);

	ok(write(fd, "S", 1) == 1, "sysrq S is taken");
	is(loader_end(loader, 0), 1, "it fails");
	ok(loader_said(loader, "the kernel ended the scheduler: ") && loader_said(loader, "sysrq"), "and says what the kernel says");
	ok(scx_is("state", "disabled"), "the kernel's own scheduler goes on");
	loader_show(loader);
	loader_forget(loader);
	close(fd);
}

/* --- Trust --- */

/* Nobody was heard yet but who hints now, as a user, in a cgroup. */
static void hints_are(const struct loader *loader, uid_t uid, const char *cgroup, bool trusted)
{
	const char *counted = trusted ? "hinted" : "refused";
	pid_t hinting = start_hinting(uid, cgroup);

	if (!ok(eventually(loader_counted(loader, counted) > 10), "its hints are %s", counted))
		loader_show(loader);
	ok(trusted || !loader_counted(loader, "hinted"), "and only that, if it is not trusted");
	ok(!!loader_counted(loader, "interactive") == trusted, "and make a thread interactive only if it is");
	end_hinting(hinting);
}

static void trusts(void)
{
	struct loader loader;

	if (mkdir(CGROUP, 0755) || mkdir(CGROUP "/within", 0755) || mkdir(CGROUP "_other", 0755))
		tap_bail("cgroups can be made");
	tap_subject = "--trust uid, another user: ";
	loader = schedule(SCX_HINT, "--trust", "uid:65534");
	hints_are(&loader, 0, NULL, false);
	tap_subject = "--trust uid, that user: ";
	hints_are(&loader, NOBODY, NULL, true);
	tap_subject = "the kernel ends it: ";
	tells_why_it_was_ended(&loader);
	tap_subject = "--trust cgroup, another one: ";
	loader = schedule(SCX_HINT, "--trust", "cgroup:" CGROUP);
	hints_are(&loader, 0, CGROUP "_other", false);
	tap_subject = "--trust cgroup, one within it: ";
	hints_are(&loader, 0, CGROUP "/within", true);
	ends(&loader, SIGINT, 0);
	tap_subject = "";
}

/* --- It cannot run, and says why --- */

static void refuses(struct loader *loader, const char *why)
{
	is(loader_end(loader, 0), 1, "exit status");
	if (!ok(loader_said(loader, why), "it says \"%s\"", why))
		loader_show(loader);
	loader_forget(loader);
}

static void refuses_without_root(void)
{
	struct loader loader = loader_start_as(NOBODY, SCX_HINT, NULL);

	tap_subject = "no root: ";
	refuses(&loader, "it takes root");
	ok(!scx_is("state", "enabled"), "and nothing is scheduled by it");
	is(access(HINTS_DIRECTORY, F_OK), -1, "and no directory for a pin is made");
	tap_subject = "";
}

/* A link of a stranger's that leads to a file of root's; where it lies, and who owns what. */
static void refuses_to_give(const char *why, mode_t mode, uid_t uid)
{
	struct loader loader;
	struct stat file, directory;

	tap_subject = why;
	if (mkdir(OTHER_DIRECTORY, 0755) || symlink(SHADOW, OTHER_PIN) || lchown(OTHER_PIN, uid, uid) ||
	    chmod(OTHER_DIRECTORY, mode) || chown(OTHER_DIRECTORY, uid, uid))
		tap_bail(": a stranger can make a link");
	loader = loader_start(SCX_HINT, "--pin", OTHER_PIN, "--mode", "0660", "--group", "65534");
	refuses(&loader, why);
	ok(!stat(SHADOW, &file) && (file.st_mode & 0777) == 0600 && !file.st_uid && !file.st_gid,
	   ": a file of root's is as it was");
	ok(!stat(OTHER_DIRECTORY, &directory) && (directory.st_mode & 07777) == mode && directory.st_uid == uid,
	   ": the directory, too");
	unlink(OTHER_PIN);
	rmdir(OTHER_DIRECTORY);
	tap_subject = "";
}

/* Where a user may make names: a BPF file system as the kernel mounts it. */
static void refuses_strangers(void)
{
	int fd = open(SHADOW, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

	if (fd < 0)
		tap_bail("a file of root's can be made");
	close(fd);
	refuses_to_give("the directory belongs to another user", 0755, NOBODY);
	refuses_to_give("others may write the directory", 01777, 0);
	refuses_to_give("the pin is a symbolic link", 0755, 0);
	unlink(SHADOW);
}

/* Another map at the pin, for root alone, and what is in it. */
static int pin_another_map(void)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "others", 4, 8, 1, NULL);

	mkdir(OTHER_DIRECTORY, 0755);
	if (fd < 0 || bpf_map_update_elem(fd, &(__u32){ 0 }, &(__u64){ 42 }, BPF_ANY) || bpf_obj_pin(fd, OTHER_PIN))
		tap_bail("another map can be pinned");
	return fd;
}

static void refuses_a_wrong_map(void)
{
	int fd = pin_another_map(), pinned;
	struct bpf_map_info before = { 0 }, after = { 0 };
	__u32 size = sizeof(before), size_after = sizeof(after);
	struct loader loader = loader_start(SCX_HINT, "--pin", OTHER_PIN, "--mode", "0660");
	struct stat attributes;
	__u64 value = 0;

	tap_subject = "the pin is another map: ";
	refuses(&loader, "Is the pin another map?");
	ok(!scx_is("state", "enabled"), "and nothing is scheduled by it");
	pinned = bpf_obj_get(OTHER_PIN);
	ok(!bpf_obj_get_info_by_fd(fd, &before, &size) && !bpf_obj_get_info_by_fd(pinned, &after, &size_after) &&
	   after.id == before.id, "that map is still there");
	ok(!bpf_map_lookup_elem(pinned, &(__u32){ 0 }, &value) && value == 42, "with what was in it");
	ok(!stat(OTHER_PIN, &attributes) && (attributes.st_mode & 0777) == 0600, "and nobody else may write it");
	unlink(OTHER_PIN);
	rmdir(OTHER_DIRECTORY);
	close(pinned);
	close(fd);
	tap_subject = "";
}

/* --- What this kernel can --- */

/*
 * A kernel of 7.1 or later that was built with an old pahole tells of an argument that only
 * the verifier passes.
 */
static bool shows_implicit_argument(void)
{
	struct btf *btf = btf__load_vmlinux_btf();
	const struct btf_type *type = btf__type_by_id(btf, btf__find_by_name_kind(btf, "scx_bpf_create_dsq",
										  BTF_KIND_FUNC));
	bool shown = false;

	type = type ? btf__type_by_id(btf, type->type) : NULL;
	for (int i = 0; type && i < btf_vlen(type); i++) {
		const struct btf_type *argument = btf__type_by_id(btf, btf_params(type)[i].type);

		while (btf_is_ptr(argument) || btf_is_mod(argument))
			argument = btf__type_by_id(btf, argument->type);
		shown |= !strcmp(btf__name_by_offset(btf, argument->name_off), "bpf_prog_aux");
	}
	btf__free(btf);
	return shown;
}

/* Return: a word for the table. */
static const char *must_be_refused(const char *why, const char *word)
{
	struct loader loader = loader_start(SCX_HINT), newest = loader_start(SCX_HINT "_newest");

	tap_subject = "libbpf 1.1: ";
	refuses(&loader, why);
	tap_subject = "newest libbpf: ";
	refuses(&newest, why);
	tap_subject = "";
	ok(!scx_is("state", "enabled"), "and nothing is scheduled by it");
	return word;
}

static const char *try(void)
{
	if (access("/sys/kernel/sched_ext", F_OK))
		return must_be_refused("this kernel has no sched_ext", "none");
	refuses_without_root();
	if (shows_implicit_argument())
		return must_be_refused("malformed BTF", "bad-BTF");
	works();
	refuses_a_wrong_map();
	refuses_strangers();
	trusts();
	return "yes";
}

int main(void)
{
	const char *word = try();

	/* For the table, by guest.sh. */
	diag("scx_hint: %s", word);
	return tap_done();
}
