// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * exec_watch.c - TLD_WATCH_EXEC() of either BPF header: what a task had shared is
 * gone when another image of it runs, also where nothing else tells the images apart,
 * without address randomisation and in programs that use the kernel's own user header
 * (standin.h stands in for that). exec_fresh has what holds without it.
 *
 * As there, the test sends commands to a child, which is this executable again, and
 * which executes itself when told: each time a new image of the same task.
 */
#include <bpf/bpf.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TLD_DYN_DATA_SIZE 256
#include "tld.h"

#include "either.h"
#include "exec_watch.h"
#include "maps.h"
#include "reader.h"
#include "standin.h"
#include "threads.h"
#include "value.h"

/* Descriptors that each image finds open. */
#define CONTROL_FD 50
#define MAP_FD 51
#define LOOK_FD 52
#define PAGE_FD 53
#define STORM_FD 54

/* How an image shares. A process uses one of the two, for they exclude each other. */
enum way { LIBTLD, STANDIN, WAYS };
static const char *const way_names[] = { "libtld", "the kernel's header" };

enum op {
	OP_STORE, OP_STORE_IN_SHARED_PAGE, OP_WITHDRAW, OP_LOOK, OP_SPAWN,
	OP_EXEC, OP_EXEC_IN_THREAD, OP_EXEC_NOTHING, OP_NO_RANDOM, OP_QUIT,
};

struct command {
	enum op op;
	enum way way;
	int layout;
	uint64_t value;
};

struct answer {
	int err;
	struct value_view view;
};

/* --- An image ---------------------------------------------------------------- */

/* Layouts that have "value" and "other" at each other's and at new offsets. */
#define LAYOUTS 3
static const char *const layouts[LAYOUTS][3] = {
	{ "pad", "value", "other" },
	{ "other", "value", "pad" },
	{ "value", "pad", "other" },
};

/* What the heap held is the first value there (fault 3 of docs/reference/wire.md); here it is zero. */
static bool standin_zeroed(void)
{
	if (standin_self)
		return true;
	standin_self = aligned_alloc(sizeof(*standin_self), sizeof(*standin_self));
	if (!standin_self)
		return false;
	memset(standin_self, 0, sizeof(*standin_self));
	return !standin_publish(MAP_FD);
}

static uint64_t *take(enum way way, int layout, int index)
{
	const char *name = layouts[layout][index];
	size_t size = strcmp(name, "pad") ? 8 : 24;
	static int offsets[3] = { -1, -1, -1 };
	tld_key_t key;

	if (way == LIBTLD) {
		key = tld_create_key(name, size);
		return tld_get_data(MAP_FD, tld_key_is_err(key) ? tld_find_key(name) : key);
	}
	if (offsets[index] < 0)
		offsets[index] = standin_create_key(name, size);
	return standin_zeroed() ? standin_get_data(MAP_FD, offsets[index]) : NULL;
}

static int store(const struct command *command)
{
	uint64_t *data[3];

	/* All keys first: the stand-in's search for them does not expect more to come. */
	for (int i = 0; i < 3; i++) {
		data[i] = take(command->way, command->layout, i);
		if (!data[i])
			return -errno;
	}
	for (int i = 0; i < 3; i++) {
		const char *name = layouts[command->layout][i];

		*data[i] = !strcmp(name, "value") ? command->value :
			   !strcmp(name, "other") ? command->value + 1 : ~command->value;
	}
	return 0;
}

/*
 * As the stand-in, in a page that is a file's: the next image can publish the very same
 * page, which the kernel's choice of a page would do by chance only.
 */
static int store_in_shared_page(const struct command *command)
{
	char *page = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE, MAP_SHARED, PAGE_FD, 0);

	if (page == MAP_FAILED)
		return -errno;
	memset(page, 0, getpagesize());
	standin_self = (struct standin_block *)page;
	for (int i = 0; i < 3; i++)
		take(STANDIN, command->layout, i);
	return standin_publish(MAP_FD) ? -errno : store(command);
}

static void *exec_image(void *unused)
{
	(void)unused;
	execl("/proc/self/exe", "exec_watch", "image", NULL);
	return NULL;
}

/* Both this thread and the one that executes have data when it happens. */
static void *store_and_exec(void *arg)
{
	store(arg);
	return exec_image(NULL);
}

/* A child that shares the memory, and executes a program. */
static int spawn(void)
{
	char *const arguments[] = { "exec_watch", "nothing", NULL };
	int status = -1;
	pid_t child;

	errno = posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, NULL);
	if (errno || waitpid(child, &status, 0) != child)
		return -errno;
	return status;
}

static struct answer obey(struct command command)
{
	struct answer answer = { 0 };

	switch (command.op) {
	case OP_STORE:
		answer.err = store(&command);
		break;
	case OP_STORE_IN_SHARED_PAGE:
		answer.err = store_in_shared_page(&command);
		break;
	case OP_WITHDRAW:
		answer.err = element_delete(MAP_FD, gettid());
		break;
	case OP_LOOK:
		answer.view = look_value(LOOK_FD);
		break;
	case OP_SPAWN:
		answer.err = spawn();
		break;
	case OP_EXEC:
		exec_image(NULL);
		break;
	case OP_EXEC_IN_THREAD:
		in_thread(store_and_exec, &command);
		break;
	case OP_EXEC_NOTHING:
		execl("/proc/self/exe/nothing", "nothing", NULL);
		answer.err = -errno;
		break;
	case OP_NO_RANDOM:
		answer.err = personality(ADDR_NO_RANDOMIZE) < 0 ? -errno : 0;
		break;
	case OP_QUIT:
		_exit(0);
	}
	return answer;
}

/* An exec is answered by the image that comes of it. */
static int image_main(void)
{
	struct command command;
	struct answer answer = { 0 };

	while (write(CONTROL_FD, &answer, sizeof(answer)) == sizeof(answer) &&
	       read(CONTROL_FD, &command, sizeof(command)) == sizeof(command))
		answer = obey(command);
	return 1;
}

/* --- The test ------------------------------------------------------------------ */

static struct bpf_object *object;
static struct reader *reader;
static int control, map_fd, key_map_fd, look_fd, page_fd, storm_fd;
static bool randomised = true;
static pid_t child;

static struct answer listen_to_child(void)
{
	struct answer answer;

	if (read(control, &answer, sizeof(answer)) != sizeof(answer))
		tap_bail("the child answers");
	return answer;
}

static struct answer tell(struct command command)
{
	if (write(control, &command, sizeof(command)) != sizeof(command))
		tap_bail("the child listens");
	return listen_to_child();
}

static struct answer tell_op(enum op op)
{
	return tell((struct command){ .op = op });
}

static void store_in_child(enum way way, int layout, uint64_t value)
{
	struct answer answer = tell((struct command){ OP_STORE, way, layout, value });

	errno = -answer.err;
	if (answer.err)
		tap_bail("the child stores its TLDs");
}

static struct value_view look_at_child(void)
{
	return tell_op(OP_LOOK).view;
}

static bool child_reads(uint64_t value)
{
	struct value_view view = look_at_child();

	return !view.err && view.has_value && view.value == value &&
	       view.has_other && view.other == value + 1;
}

static pid_t fork_with_descriptors(int theirs)
{
	pid_t pid = fork();

	if (pid < 0)
		tap_bail("fork works");
	if (pid)
		return pid;
	/* dup2() leaves them open over exec. */
	if (dup2(theirs, CONTROL_FD) < 0 || dup2(map_fd, MAP_FD) < 0 ||
	    dup2(look_fd, LOOK_FD) < 0 || dup2(page_fd, PAGE_FD) < 0 ||
	    dup2(storm_fd, STORM_FD) < 0)
		_exit(1);
	if (!randomised && personality(ADDR_NO_RANDOMIZE) < 0)
		_exit(1);
	return 0;
}

static void start_child(void)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		tap_bail("a socket pair");
	child = fork_with_descriptors(ends[1]);
	if (!child) {
		exec_image(NULL);
		_exit(1);
	}
	close(ends[1]);
	control = ends[0];
	listen_to_child();
}

static void end_child(void)
{
	struct command quit = { .op = OP_QUIT };

	if (write(control, &quit, sizeof(quit)) != sizeof(quit))
		tap_bail("the child listens");
	waitpid(child, NULL, 0);
	close(control);
}

/* From user space, whatever the header makes of it. */
static bool has_element(int map)
{
	uint64_t value[64];
	int err = map < 0 ? -ENOENT : element_read(map, child, value);

	if (err && err != -ENOENT)
		tap_bail("the child's element can be looked up");
	return !err;
}

struct change {
	enum way old, new;
	enum op exec;
	bool looked;
};

static const char *words_of(const struct change *change)
{
	static char words[200];

	snprintf(words, sizeof(words), "%s, %s after %s%s%s",
		 randomised ? "randomised" : "not randomised", way_names[change->new],
		 way_names[change->old],
		 change->exec == OP_EXEC ? "" : ", executed by another thread",
		 change->looked ? ", BPF looked before" : "");
	return words;
}

static void change_of_image(const struct change *change, int new_layout)
{
	const char *words = words_of(change);

	start_child();
	store_in_child(change->old, 0, 1000);
	if (change->looked)
		ok(child_reads(1000), "%s: it reads the old image", words);
	ok(has_element(map_fd), "%s: the old image is in the map", words);
	tell((struct command){ change->exec, change->old, 0, 1500 });
	ok(!has_element(map_fd) && !has_element(key_map_fd),
	   "%s: after the exec no map has anything of it", words);
	is(look_at_child().err, -ENODATA, "%s: BPF is given nothing of the old image", words);
	store_in_child(change->new, new_layout, 2000);
	ok(child_reads(2000), "%s: the new image, in layout %d, is read rightly", words,
	   new_layout);
	ok(child_reads(2000), "%s: also from cached keys", words);
	end_child();
}

/* Two ways, twice; two threads to execute; looked before or not. */
static void every_change(void)
{
	for (int i = 0; i < 16; i++) {
		struct change change = {
			.old = i & 1, .new = i >> 1 & 1, .looked = i & 8,
			.exec = i & 4 ? OP_EXEC_IN_THREAD : OP_EXEC,
		};

		change_of_image(&change, 1 + i % 2);
	}
}

/* Nobody looks until the new image has data of its own. */
static void looked_at_late(void)
{
	for (int old = 0; old < WAYS; old++) {
		for (int new = 0; new < WAYS; new++) {
			start_child();
			store_in_child(old, 0, 1000);
			tell_op(OP_EXEC);
			store_in_child(new, 1, 2000);
			ok(child_reads(2000),
			   "%s after %s: BPF's first look of all finds the new image",
			   way_names[new], way_names[old]);
			end_child();
		}
	}
}

static void with_and_without_randomisation(void (*body)(void))
{
	body();
	if (personality(0xffffffff) < 0 || personality(ADDR_NO_RANDOMIZE) < 0) {
		tap_skip("the same without address randomisation", "personality() refuses");
		return;
	}
	/* For children; this process has its addresses. */
	randomised = false;
	body();
	randomised = true;
	personality(0);
}

/*
 * Of pages without a stamp, a cache that was kept would hold the new image's page, which
 * is the old one's, for what the old image had left.
 */
static void page_comes_back(void)
{
	start_child();
	is(tell((struct command){ OP_STORE_IN_SHARED_PAGE, STANDIN, 0, 1000 }).err, 0,
	   "an image publishes a page");
	ok(child_reads(1000), "BPF reads it");
	tell_op(OP_EXEC);
	is(look_at_child().err, -ENODATA, "the next image has no data yet");
	is(tell((struct command){ OP_STORE_IN_SHARED_PAGE, STANDIN, 1, 2000 }).err, 0,
	   "it publishes that very page");
	ok(child_reads(2000), "which is the new image's now, with its layout");
	end_child();
}

static void exec_that_fails(void)
{
	start_child();
	store_in_child(STANDIN, 0, 1000);
	ok(child_reads(1000), "BPF reads an image that is about to execute what is no program");
	is(tell_op(OP_EXEC_NOTHING).err, -ENOTDIR, "that fails");
	ok(has_element(map_fd) && has_element(key_map_fd) != either_is_native(),
	   "and both maps, or the one that there is, have what they had");
	ok(child_reads(1000), "BPF reads it still");
	end_child();
}

/* Whose exec it is counts: not the parent's, though both share the memory. */
static void exec_of_a_child(void)
{
	start_child();
	store_in_child(LIBTLD, 0, 1000);
	is(tell_op(OP_SPAWN).err, 0, "a process spawns another program");
	ok(has_element(map_fd) && child_reads(1000), "it is read as before");
	end_child();
}

/* --- A kernel that does not remove elements ----------------------------------------- */

static struct bpf_link *attach(const char *name)
{
	struct bpf_program *program = bpf_object__find_program_by_name(object, name);
	struct bpf_link *link = program ? bpf_program__attach(program) : NULL;

	if (!link || libbpf_get_error(link))
		tap_bail("%s attaches", name);
	return link;
}

static void open_object(const char *name)
{
	object = reader_load(either_file(name));
	map_fd = reader_object_map_fd(object, "tld_data_map");
	key_map_fd = either_is_native() ? -1 : reader_object_map_fd(object, "tld_key_map");
	look_fd = reader_prog_fd(object, "look_value");
	storm_fd = reader_prog_fd(object, "storm_is_me");
	reader = reader_open_map(READER_V2, map_fd);
}

static void close_object(struct bpf_link *link)
{
	bpf_link__destroy(link);
	reader_close(reader);
	bpf_object__close(object);
}

static bool child_reads_nothing(void)
{
	struct value_view view = look_at_child();

	return view.err || (!view.has_value && !view.has_other);
}

static void element_stays(void)
{
	for (int i = 0; i < 4; i++) {
		const char *looked = i & 2 ? ", BPF looked before" : "";
		const char *way = way_names[i & 1];

		start_child();
		store_in_child(i & 1, 0, 1000);
		if (i & 2)
			ok(child_reads(1000), "%s%s: it reads", way, looked);
		tell_op(OP_EXEC);
		ok(has_element(map_fd), "%s%s: an element that cannot be removed", way, looked);
		ok(child_reads_nothing(), "%s%s: leads to none of the old image's values", way, looked);
		ok(child_reads_nothing(), "%s%s: nor does it later", way, looked);
		store_in_child(i & 1, 2, 2000);
		ok(child_reads(2000), "%s%s: the new image is read rightly", way, looked);
		end_child();
	}
}

static void removal_fails(void)
{
	struct bpf_link *link;

	open_object("exec_watch_busy");
	link = attach("tld_watch_exec");
	with_and_without_randomisation(element_stays);
	close_object(link);
}

/* --- Without it ------------------------------------------------------------------------ */

/* Nothing is promised here: what happens is said for who wonders. */
static void say_what_happens_without(void)
{
	struct value_view view;

	randomised = false;
	for (int way = 0; way < WAYS; way++) {
		start_child();
		store_in_child(way, 0, 1000);
		tell_op(OP_EXEC);
		view = look_at_child();
		diag("without TLD_WATCH_EXEC(), without randomisation, %s, never looked at: err "
		     "%d, value %llu",
		     way_names[way], view.err, view.has_value ? view.value : 0);
		end_child();
	}
	randomised = true;
}

/* --- Many, with BPF looking all the while ------------------------------------------------ */

#define STORM_IMAGES SOME(200)

static void be_switched_out(int times)
{
	/* Longer than it takes to go to sleep. */
	struct timespec moment = { .tv_nsec = SLOWER > 1 ? 1000000 : 1 };

	while (times--)
		nanosleep(&moment, NULL);
}

/* Image number n of STORM_IMAGES: they take turns in ways and layouts. */
static int storm_image(int n)
{
	struct command command = { OP_STORE, n / 2 % WAYS, n % LAYOUTS, n + 1 };
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	char next[16];

	if (!n && bpf_prog_test_run_opts(STORM_FD, &opts))
		return 1;
	be_switched_out(2);
	if (n % 5 != 4 && store(&command))
		return 1;
	be_switched_out(n % 3);
	if (n + 1 == STORM_IMAGES)
		return 0;
	snprintf(next, sizeof(next), "%d", n + 1);
	execl("/proc/self/exe", "exec_watch", "storm", next, NULL);
	return 1;
}

static void storm(void)
{
	volatile struct exec_storm *seen = reader_memory(object, ".bss", sizeof(*seen));
	const char *words = randomised ? "randomised" : "not randomised";
	int status = -1;

	*seen = (struct exec_storm){ 0 };
	child = fork_with_descriptors(STDOUT_FILENO);
	if (!child) {
		execl("/proc/self/exe", "exec_watch", "storm", "0", NULL);
		_exit(1);
	}
	waitpid(child, &status, 0);
	is(status, 0, "%s: a task executes %d images, one after the other", words, STORM_IMAGES);
	diag("%u looks: %u absent, %u zero, %u own, %u of the image before while the kernel loads "
	     "one, %u wrong",
	     seen->looks, seen->absent, seen->zero, seen->own, seen->during, seen->wrong);
	if (!is(seen->wrong, 0, "%s: no look at an image that runs gives another's value", words))
		diag("image %u: value %llu, not %u", seen->wrong_image, seen->wrong_value,
		     seen->wrong_image + 1);
	ok(seen->own > STORM_IMAGES / 4, "%s: BPF reads the images' own", words);
	ok(seen->absent > STORM_IMAGES, "%s: and nothing before they have any", words);
}

static void every_image_its_own(void)
{
	struct bpf_link *link = attach("storm_switch");

	with_and_without_randomisation(storm);
	bpf_link__destroy(link);
}

/* Whoever else is in the map is nobody's business. */
static uint64_t *bystander;

static void publish_bystander(void)
{
	tld_key_t key = tld_create_key("value", sizeof(*bystander));

	if (tld_key_is_err(key)) /* there from the header before */
		key = tld_find_key("value");
	bystander = tld_get_data(map_fd, key);
	if (!bystander)
		tap_bail("the test's own process gets a TLD");
	*bystander = 77;
}

static void cases(void)
{
	struct bpf_link *link;

	open_object("exec_watch");
	say_what_happens_without();
	publish_bystander();
	link = attach("tld_watch_exec");
	with_and_without_randomisation(every_change);
	with_and_without_randomisation(looked_at_late);
	page_comes_back();
	exec_that_fails();
	exec_of_a_child();
	every_image_its_own();
	is(reader_elements(reader, NULL), 1,
	   "no element is left but that of the test's own process");
	is(reader_u64(reader, 0, "value"), 77, "which executed nothing and is read as before");
	/* The next map may have this one's number. */
	tld_free();
	close_object(link);
	removal_fails();
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "nothing"))
		return 0;
	if (argc > 1 && !strcmp(argv[1], "image"))
		return image_main();
	if (argc > 2 && !strcmp(argv[1], "storm"))
		return storm_image(atoi(argv[2]));
	reader_need_kernel();
	page_fd = memfd_create("page", MFD_CLOEXEC);
	if (page_fd < 0 || ftruncate(page_fd, getpagesize()))
		tap_bail("a file of one page");
	with_each_header(cases);
	return tap_done();
}
