// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * exec_fresh.c - a thread that executes another program keeps its element in the
 * data map, with the old program's page: either BPF header gives nothing of
 * it, and reads the new program's TLDs where the new program has them.
 *
 * The test proper sends commands to a child, which is this executable again, and
 * which executes itself when told: each time a new image of the same task.
 */
#include <bpf/bpf.h>
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define TLD_DYN_DATA_SIZE 256
#include "tld.h"

#include "either.h"
#include "reader.h"
#include "tap.h"
#include "threads.h"
#include "value.h"

/* Descriptors that each image finds open. */
#define CONTROL_FD 50
#define MAP_FD 51
#define PROG_FD 52
#define PAGE_FD 53

enum op {
	OP_STORE, OP_LOOK, OP_FREE, OP_SHARED_PAGE, OP_WITHDRAW, OP_EXEC, OP_EXEC_IN_THREAD, OP_NO_RANDOM,
	OP_QUIT,
};

struct command {
	enum op op;
	int layout;
	uint64_t value;
};

struct answer {
	int err;
	struct value_view view;
};

/* --- An image ---------------------------------------------------------------- */

/* Layouts that have "value" and "other" at each other's and at new offsets. */
static const char *const layouts[][4] = {
	{ "pad", "value", "other", NULL },
	{ "other", "value", "pad", NULL },
	{ "value", "pad", "other", NULL },
};

static int store(int layout, uint64_t value)
{
	for (int i = 0; layouts[layout][i]; i++) {
		const char *name = layouts[layout][i];
		tld_key_t key = tld_create_key(name, strcmp(name, "pad") ? 8 : 24);
		uint64_t *data;

		if (tld_key_err_or_zero(key) == -EEXIST)
			key = tld_find_key(name);
		data = tld_get_data(MAP_FD, key);
		if (!data)
			return -errno;
		*data = strcmp(name, "other") ? strcmp(name, "pad") ? value : ~value : value + 1;
	}
	return 0;
}

/*
 * Publish, without the library, a page that an image before this one had published:
 * the same page to the kernel, because it is a file's. "value" and "other" are its
 * TLDs at offsets that depend on the layout; the metadata has this image's stamp.
 */
static int publish_shared_page(int layout, uint64_t value)
{
	size_t page = getpagesize();
	char *data = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, PAGE_FD, 0);
	char *meta = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const char *const names[] = { "value", "other" };
	uint64_t words[3] = { (uintptr_t)data, (uintptr_t)meta, 8 }, *tlds;
	int key = syscall(SYS_pidfd_open, gettid(), O_EXCL), err;
	uint32_t magic = 0x31444c54;
	uint64_t stamp = getauxval(AT_RANDOM);

	if (data == MAP_FAILED || meta == MAP_FAILED || key < 0)
		return -errno;
	meta[0] = 2;
	meta[2] = 16;
	for (int i = 0; i < 2; i++) {
		strcpy(meta + 4 + 64 * i, names[i ^ (layout & 1)]);
		meta[4 + 64 * i + 62] = 8;
	}
	memcpy(meta + page - 60, &magic, sizeof(magic));
	memcpy(meta + page - 52, &stamp, sizeof(stamp));
	tlds = (uint64_t *)(data + 8);
	tlds[layout & 1] = value;
	tlds[!(layout & 1)] = value + 1;
	err = bpf_map_update_elem(MAP_FD, &key, words, 0) ? -errno : 0;
	close(key);
	return err;
}

static int withdraw_element(void)
{
	int key = syscall(SYS_pidfd_open, gettid(), O_EXCL);
	int err = bpf_map_delete_elem(MAP_FD, &key) ? -errno : 0;

	close(key);
	return err;
}

static void *exec_image(void *unused)
{
	(void)unused;
	execl("/proc/self/exe", "exec_fresh", "image", NULL);
	return NULL;
}

/* Both this thread and the one that executes have data when it happens. */
static void *store_and_exec(void *arg)
{
	const struct command *command = arg;

	store(command->layout, command->value);
	return exec_image(NULL);
}

static struct answer obey(struct command command)
{
	struct answer answer = { 0 };

	switch (command.op) {
	case OP_STORE:
		answer.err = store(command.layout, command.value);
		break;
	case OP_LOOK:
		answer.view = look_value(PROG_FD);
		break;
	case OP_FREE:
		tld_free();
		break;
	case OP_SHARED_PAGE:
		answer.err = publish_shared_page(command.layout, command.value);
		break;
	case OP_WITHDRAW:
		answer.err = withdraw_element();
		break;
	case OP_EXEC:
		exec_image(NULL);
		break;
	case OP_EXEC_IN_THREAD:
		in_thread(store_and_exec, &command);
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

	do {
		if (write(CONTROL_FD, &answer, sizeof(answer)) != sizeof(answer) ||
		    read(CONTROL_FD, &command, sizeof(command)) != sizeof(command))
			return 1;
		answer = obey(command);
	} while (1);
}

/* --- The test ------------------------------------------------------------------ */

static int control, map_fd, prog_fd, page_fd;
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

static void store_in_child(int layout, uint64_t value)
{
	struct answer answer = tell((struct command){ OP_STORE, layout, value });

	errno = -answer.err;
	if (answer.err)
		tap_bail("the child stores its TLDs");
}

static struct value_view look_at_child(void)
{
	return tell((struct command){ .op = OP_LOOK }).view;
}

static bool child_reads(uint64_t value)
{
	struct value_view view = look_at_child();

	return !view.err && view.has_value && view.value == value &&
	       view.has_other && view.other == value + 1;
}

static void exec_child(void)
{
	tell((struct command){ .op = OP_EXEC });
}

static void start_child(void)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		tap_bail("a socket pair");
	child = fork();
	if (child < 0)
		tap_bail("fork works");
	if (!child) {
		/* dup2() leaves them open over exec. */
		if (dup2(ends[1], CONTROL_FD) < 0 || dup2(map_fd, MAP_FD) < 0 ||
		    dup2(prog_fd, PROG_FD) < 0 || dup2(page_fd, PAGE_FD) < 0)
			_exit(1);
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

/* Whether BPF looks before the exec, and before the new image has data. */
struct order {
	bool before, between;
	const char *words;
};

static const struct order orders[] = {
	{ false, false, "BPF looks at the end only" },
	{ true, false, "BPF looked before the exec" },
	{ false, true, "BPF looks between exec and registration" },
	{ true, true, "BPF looks before the exec and before the registration" },
};

static void change_of_image(const struct order *order, int old, int new)
{
	start_child();
	store_in_child(old, 1000);
	if (order->before)
		ok(child_reads(1000), "%s: it reads the old image", order->words);
	exec_child();
	if (order->between) {
		is(look_at_child().err, -ENODATA, "%s: the new image has no data yet", order->words);
		is(look_at_child().err, -ENODATA, "%s: at the second look neither", order->words);
	}
	store_in_child(new, 2000);
	ok(child_reads(2000), "%s: layout %d after %d is read rightly", order->words, new, old);
	ok(child_reads(2000), "%s: also from cached keys", order->words);
	end_child();
}

static void every_order(void)
{
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++)
		for (int new = 0; new < 3; new++)
			change_of_image(&orders[i], 0, new);
}

static void exec_twice(void)
{
	start_child();
	store_in_child(0, 1000);
	ok(child_reads(1000), "before two execs in a row, BPF reads");
	exec_child();
	exec_child();
	is(look_at_child().err, -ENODATA, "after two execs in a row nothing is left");
	store_in_child(1, 3000);
	ok(child_reads(3000), "the third image is read rightly");
	exec_child();
	is(look_at_child().err, -ENODATA, "and gone after the next");
	end_child();
}

/*
 * Pages return: what one image has given up may be the next image's page. A file's
 * page makes sure of it, where the kernel's choice would be chance. The new image
 * says in the stamp that it is its own.
 */
static void page_comes_back(void)
{
	start_child();
	is(tell((struct command){ OP_SHARED_PAGE, 0, 1000 }).err, 0, "an image publishes a page");
	ok(child_reads(1000), "BPF reads it");
	is(tell((struct command){ .op = OP_WITHDRAW }).err, 0, "the image withdraws it");
	exec_child();
	is(look_at_child().err, -ENODATA, "the next image has no data yet");
	is(tell((struct command){ OP_SHARED_PAGE, 1, 2000 }).err, 0, "it publishes that very page");
	ok(child_reads(2000), "a page that the new image has published is the new image's");
	exec_child();
	is(look_at_child().err, -ENODATA, "until the next exec");
	end_child();
}

/* With addresses as they always are, two images have nothing but their exec ids. */
static void without_randomisation(bool before)
{
	start_child();
	if (tell((struct command){ .op = OP_NO_RANDOM }).err) {
		tap_skip("without address randomisation the old image's data are gone",
			 "personality() refuses");
		end_child();
		return;
	}
	exec_child();
	store_in_child(0, 1000);
	if (before)
		ok(child_reads(1000), "without address randomisation BPF reads");
	exec_child();
	if (before)
		is(look_at_child().err, -ENODATA,
		   "without it BPF that had looked still knows an exec when it sees one");
	store_in_child(1, 2000);
	ok(child_reads(2000), "without it %s, the new layout is read rightly",
	   before ? "and after a look" : "and without a look");
	end_child();
}

/* The thread that executes becomes the process's first; the others are gone. */
static void exec_in_thread(bool before)
{
	start_child();
	store_in_child(0, 1000);
	if (before)
		ok(child_reads(1000), "BPF reads the first thread before another one executes");
	tell((struct command){ OP_EXEC_IN_THREAD, 0, 1500 });
	is(look_at_child().err, -ENODATA, "after an exec by another thread nothing is left of either");
	store_in_child(2, 2000);
	ok(child_reads(2000), "the new image is read rightly");
	end_child();
}

static void cases(void)
{
	struct bpf_object *object = reader_load(either_file("value"));
	struct reader *reader;

	map_fd = reader_object_map_fd(object, "tld_data_map");
	prog_fd = reader_prog_fd(object, "look_value");
	reader = reader_open_map(READER_V2, map_fd);
	every_order();
	exec_twice();
	page_comes_back();
	without_randomisation(true);
	without_randomisation(false);
	exec_in_thread(true);
	exec_in_thread(false);
	is(reader_elements(reader, NULL), 0, "no element is left of the processes");
	reader_close(reader);
	bpf_object__close(object);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "image"))
		return image_main();
	reader_need_kernel();
	page_fd = memfd_create("page", MFD_CLOEXEC);
	if (page_fd < 0 || ftruncate(page_fd, getpagesize()))
		tap_bail("a file of one page");
	with_each_header(cases);
	return tap_done();
}
