// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * reader.c - loads the raw reader's BPF objects, runs their programs and looks
 * names up in what they copied out, along the wire formats' words.
 */
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "reader.h"
#include "tap.h"

#define NAME_LEN 62
#define ENTRY_SIZE 64

struct reader {
	enum reader_format format;
	struct bpf_object *object;
	struct bpf_link *list;		/* iter/task over the map's elements */
	int map_fd;
	int current_fd;			/* program that reads the calling thread */
	int task_fd;			/* program that reads a thread by id */
};

static const char *const format_names[] = { "v1", "v2", "native" };

const char *reader_format_name(enum reader_format format)
{
	return format_names[format];
}

/* Not tap_bail(): the count of test points is the test program's own. */
__attribute__((noreturn, format(printf, 1, 2)))
static void bail_out(const char *format, ...)
{
	int err = errno;
	va_list args;

	printf("Bail out! Not so: ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf(" (errno %d: %s)\n", err, strerror(err));
	fflush(stdout);
	_exit(2);
}

/* libbpf explains a refusal at length: the end says why. */
#define REMARK_BYTES 1500

static int print_remark(enum libbpf_print_level level, const char *format, va_list args)
{
	char *text = NULL;
	int length;

	if (level > LIBBPF_WARN || (length = vasprintf(&text, format, args)) < 0)
		return 0;
	fprintf(stderr, "# %s", length > REMARK_BYTES ? text + length - REMARK_BYTES : text);
	free(text);
	return 0;
}

__attribute__((noreturn, format(printf, 1, 2)))
static void skip_all(const char *format, ...)
{
	char reason[256];
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	tap_skip_all(reason);
}

static void need_release(unsigned int major, unsigned int minor)
{
	unsigned int has_major, has_minor;
	struct utsname name;

	if (uname(&name) || sscanf(name.release, "%u.%u", &has_major, &has_minor) != 2)
		return;
	if (has_major < major || (has_major == major && has_minor < minor))
		skip_all("kernel: Linux %s has no UPTR, which came with %u.%u",
			 name.release, major, minor);
}

/* Whether the kernel has the kfunc that minds pid namespaces. */
static bool has_task_from_vpid;

/* Once: it is an emulated machine's most expensive question. */
static void look_for_task_from_vpid(void)
{
	static bool done;
	struct btf *btf;

	if (done)
		return;
	btf = btf__load_vmlinux_btf();
	has_task_from_vpid = btf && btf__find_by_name_kind(btf, "bpf_task_from_vpid", BTF_KIND_FUNC) > 0;
	btf__free(btf);
	done = true;
}

void reader_need_kernel(void)
{
	int fd;

	libbpf_set_print(print_remark);
	need_release(6, 13);
	if (access("/sys/kernel/btf/vmlinux", R_OK))
		skip_all("kernel: /sys/kernel/btf/vmlinux cannot be read (%s)", strerror(errno));
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "tld_probe", 4, 4, 1, NULL);
	if (fd < 0)
		skip_all("kernel: bpf(2) refuses a map (%s): needs root, or CAP_BPF and CAP_PERFMON",
			 strerror(errno));
	close(fd);
	look_for_task_from_vpid();
}

const char *reader_beside(const char *file)
{
	static __thread char path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *slash;

	if (length < 0)
		bail_out("/proc/self/exe can be read");
	path[length] = '\0';
	slash = strrchr(path, '/');
	if ((size_t)(slash + 1 - path) + strlen(file) >= sizeof(path))
		bail_out("the path of %s fits in PATH_MAX", file);
	strcpy(slash + 1, file);
	return path;
}

static void load_or_bail(struct bpf_object *object, const char *file)
{
	int err = bpf_object__load(object);

	if (err == -EPERM)
		skip_all("kernel: loading BPF programs is refused: needs root, or CAP_BPF and CAP_PERFMON");
	errno = -err;
	if (err)
		bail_out("the kernel loads %s", file);
}

static struct bpf_object *open_or_bail(const char *file)
{
	struct bpf_object *object = bpf_object__open_file(reader_beside(file), NULL);

	if (!object || libbpf_get_error(object))
		bail_out("libbpf opens %s", file);
	return object;
}

struct bpf_object *reader_load(const char *file)
{
	struct bpf_object *object;

	reader_need_kernel();
	object = open_or_bail(file);
	load_or_bail(object, file);
	return object;
}

int reader_prog_fd(struct bpf_object *object, const char *name)
{
	struct bpf_program *program = bpf_object__find_program_by_name(object, name);

	if (!program)
		bail_out("%s has a program %s", bpf_object__name(object), name);
	return bpf_program__fd(program);
}

int reader_object_map_fd(struct bpf_object *object, const char *name)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, name);

	if (!map)
		bail_out("%s has a map %s", bpf_object__name(object), name);
	return bpf_map__fd(map);
}

/* bpf_map__initial_value() leads to the map itself only with a skeleton. */
void *reader_memory(struct bpf_object *object, const char *section, size_t size)
{
	int fd = reader_object_map_fd(object, section);
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (memory == MAP_FAILED)
		bail_out("%s of %s can be mapped", section, bpf_object__name(object));
	return memory;
}

static void leave_out(struct bpf_object *object, const char *program)
{
	bpf_program__set_autoload(bpf_object__find_program_by_name(object, program), false);
}

struct reader *reader_open_map(enum reader_format format, int map_fd)
{
	static const char *const files[] = {
		"reader_v1.bpf.o", "reader_v2.bpf.o", "reader_native.bpf.o",
	};
	struct reader *reader = calloc(1, sizeof(*reader));
	const char *file = files[format];
	struct bpf_map *map;
	bool vpid;

	reader_need_kernel();
	if (!reader)
		bail_out("memory for a reader");
	vpid = has_task_from_vpid;
	reader->format = format;
	reader->object = open_or_bail(file);
	leave_out(reader->object, vpid ? "look_pid" : "look_vpid");
	map = bpf_object__find_map_by_name(reader->object, "reader_map");
	if (map_fd >= 0 && bpf_map__reuse_fd(map, map_fd))
		bail_out("%s takes the map at %d", file, map_fd);
	load_or_bail(reader->object, file);
	reader->map_fd = bpf_map__fd(map);
	reader->current_fd = reader_prog_fd(reader->object, "look_current");
	reader->task_fd = reader_prog_fd(reader->object, vpid ? "look_vpid" : "look_pid");
	reader->list = bpf_program__attach_iter(
		bpf_object__find_program_by_name(reader->object, "list_elements"), NULL);
	if (!reader->list || libbpf_get_error(reader->list))
		bail_out("the iterator of %s attaches", file);
	return reader;
}

struct reader *reader_open(enum reader_format format)
{
	return reader_open_map(format, -1);
}

void reader_close(struct reader *reader)
{
	if (!reader)
		return;
	bpf_link__destroy(reader->list);
	bpf_object__close(reader->object);
	free(reader);
}

int reader_map_fd(const struct reader *reader)
{
	return reader->map_fd;
}

enum reader_format reader_format(const struct reader *reader)
{
	return reader->format;
}

size_t reader_page(void)
{
	return getpagesize() < READER_PAGE ? getpagesize() : READER_PAGE;
}

/* To BPF, built for the machine's page size, the metadata begin where such a page of data ends. */
int reader_look(struct reader *reader, pid_t tid, struct reader_view *view)
{
	const size_t page = reader_page();
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = view,
		    .ctx_size_in = offsetof(struct reader_view, data) + 2 * page);

	memset(view, 0, sizeof(*view));
	view->tid = tid;
	if (bpf_prog_test_run_opts(tid ? reader->task_fd : reader->current_fd, &opts))
		bail_out("the reader's program runs");
	if (page < READER_PAGE) {
		memcpy(view->meta, view->data + page, page);
		memset(view->data + page, 0, page);
	}
	return view->err;
}

static unsigned int view_u16(const uint8_t *bytes)
{
	return bytes[0] | bytes[1] << 8;
}

unsigned int reader_view_cnt(const struct reader_view *view)
{
	return view_u16(view->meta);
}

unsigned int reader_view_size(const struct reader_view *view)
{
	return view_u16(view->meta + 2);
}

int reader_view_find(const struct reader_view *view, const char *name, struct reader_tld *tld)
{
	unsigned int index, off = 0, size, cnt = view->has_meta ? reader_view_cnt(view) : 0;
	const uint8_t *entry = view->meta + 4;

	if (cnt > reader_page() / ENTRY_SIZE - 1)
		cnt = reader_page() / ENTRY_SIZE - 1;
	for (index = 0; index < cnt; index++, entry += ENTRY_SIZE) {
		size = view_u16(entry + NAME_LEN);
		/* Being written: whatever follows has no offset yet. */
		if (!size)
			break;
		if (!strncmp((const char *)entry, name, NAME_LEN)) {
			*tld = (struct reader_tld){ .index = index, .off = off, .size = size };
			return 0;
		}
		off += (size + 7) / 8 * 8;
	}
	return -ENOENT;
}

const void *reader_view_data(const struct reader_view *view, const struct reader_tld *tld,
			     size_t size)
{
	uint64_t end = (uint64_t)view->start + tld->off + size;

	if (!view->has_data || size > tld->size || end > reader_page())
		return NULL;
	return view->data + view->start + tld->off;
}

unsigned int reader_view_words(const struct reader_view *view, uint64_t word)
{
	unsigned int count = 0;

	for (size_t at = 0; at < reader_page(); at += sizeof(word))
		count += !memcmp(view->data + at, &word, sizeof(word));
	return count;
}

bool reader_sees(struct reader *reader, pid_t tid)
{
	struct reader_view view;

	return reader_look(reader, tid, &view) == 0;
}

int reader_read(struct reader *reader, pid_t tid, const char *name, void *bytes, size_t size)
{
	struct reader_view view;
	struct reader_tld tld;
	const void *data;
	int err = reader_look(reader, tid, &view);

	if (!err)
		err = reader_view_find(&view, name, &tld);
	if (err)
		return err;
	data = reader_view_data(&view, &tld, size);
	if (!data)
		return -ERANGE;
	memcpy(bytes, data, size);
	return 0;
}

uint32_t reader_u32(struct reader *reader, pid_t tid, const char *name)
{
	uint32_t value;

	return reader_read(reader, tid, name, &value, sizeof(value)) ? (uint32_t)READER_NOTHING : value;
}

uint64_t reader_u64(struct reader *reader, pid_t tid, const char *name)
{
	uint64_t value;

	return reader_read(reader, tid, name, &value, sizeof(value)) ? READER_NOTHING : value;
}

int reader_elements(struct reader *reader, pid_t *one)
{
	int fd = bpf_iter_create(bpf_link__fd(reader->list));
	int count = 0;
	pid_t tids[256];
	ssize_t length;

	if (fd < 0)
		bail_out("an iterator over the tasks starts");
	while ((length = read(fd, tids, sizeof(tids))) > 0) {
		count += length / (ssize_t)sizeof(tids[0]);
		if (one)
			*one = tids[0];
	}
	if (length < 0)
		bail_out("the iterator over the tasks can be read");
	close(fd);
	return count;
}
