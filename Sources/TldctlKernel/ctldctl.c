// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * ctldctl.c - maps, programs, and what libbpf says.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ctldctl.h"

const char *ctldctl_version(void)
{
	return TLDCTL_VERSION;
}

const char *ctldctl_libbpf_version(void)
{
	return libbpf_version_string();
}

/* --- What libbpf says --------------------------------------------------------- */

/* The end is what matters: a verifier's log has its verdict there. */
static char words[1 << 14];
static size_t words_length;

static int keep_words(enum libbpf_print_level level, const char *format, va_list args)
{
	size_t capacity = sizeof(words) - 1, take, keep;
	char *text = NULL;
	int length = level == LIBBPF_DEBUG ? 0 : vasprintf(&text, format, args);

	if (length <= 0)
		return 0;
	take = (size_t)length < capacity ? (size_t)length : capacity;
	keep = words_length + take > capacity ? capacity - take : words_length;
	memmove(words, words + words_length - keep, keep);
	memcpy(words + keep, text + length - take, take);
	words_length = keep + take;
	words[words_length] = '\0';
	free(text);
	return length;
}

const char *ctldctl_log(void)
{
	return words;
}

void ctldctl_log_clear(void)
{
	words_length = 0;
	words[0] = '\0';
}

/* libbpf's own way is stderr, which is ours to keep clean. */
__attribute__((constructor)) static void take_words(void)
{
	libbpf_set_print(keep_words);
}

/* --- Maps --------------------------------------------------------------------- */

int ctldctl_map_next(__u32 id, __u32 *next)
{
	return bpf_map_get_next_id(id, next) ? -errno : 0;
}

int ctldctl_map_open(__u32 id)
{
	LIBBPF_OPTS(bpf_get_fd_by_id_opts, opts, .open_flags = BPF_F_RDONLY);
	int fd = bpf_map_get_fd_by_id_opts(id, &opts);

	return fd < 0 ? -errno : fd;
}

int ctldctl_pin_open(const char *path)
{
	LIBBPF_OPTS(bpf_obj_get_opts, opts, .file_flags = BPF_F_RDONLY);
	int fd = bpf_obj_get_opts(path, &opts);

	return fd < 0 ? -errno : fd;
}

/* Whether member @index of a struct is a UPTR, 8 bytes at its place in the value. */
static bool is_uptr_member(const struct btf *btf, const struct btf_type *value, __u32 index)
{
	const struct btf_type *type;
	__s32 id;

	if (btf_member_bit_offset(value, index) != 64 * index)
		return false;
	id = btf__resolve_type(btf, btf_members(value)[index].type);
	type = id < 0 ? NULL : btf__type_by_id(btf, id);
	if (!type || !btf_is_ptr(type))
		return false;
	type = btf__type_by_id(btf, type->type);
	return type && btf_is_type_tag(type) && !strcmp(btf__name_by_offset(btf, type->name_off), "uptr");
}

static bool begins_with_uptrs(__u32 btf_id, __u32 value_type_id)
{
	struct btf *btf = btf_id ? btf__load_from_kernel_by_id(btf_id) : NULL;
	__s32 id = btf ? btf__resolve_type(btf, value_type_id) : -1;
	const struct btf_type *value = id < 0 ? NULL : btf__type_by_id(btf, id);
	bool is = value && btf_is_struct(value) && btf_vlen(value) >= 2 &&
		  is_uptr_member(btf, value, 0) && is_uptr_member(btf, value, 1);

	btf__free(btf);
	return is;
}

int ctldctl_map_describe(int fd, struct ctldctl_map *map)
{
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);

	memset(map, 0, sizeof(*map));
	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return -errno;
	map->id = info.id;
	map->type = info.type;
	map->value_size = info.value_size;
	map->flags = info.map_flags;
	memcpy(map->name, info.name, sizeof(map->name));
	map->name[sizeof(map->name) - 1] = '\0';
	map->is_data = info.type == BPF_MAP_TYPE_TASK_STORAGE && info.key_size == 4 &&
		       (info.value_size == 16 || info.value_size >= 24) &&
		       begins_with_uptrs(info.btf_id, info.btf_value_type_id);
	return 0;
}

/*
 * struct { u64 words[page / 8]; }, which both UPTRs point to. Without a name: one that the
 * kernel's own types have as well would make the map invalid.
 */
static int add_page(struct btf *btf, int word, int index)
{
	int array = btf__add_array(btf, index, word, getpagesize() / 8);
	int page = btf__add_struct(btf, NULL, getpagesize());

	btf__add_field(btf, "words", array, 0, 0);
	return page;
}

/* The value as docs/wire.md has it. Errors are noticed when the BTF is loaded. */
static int add_value(struct btf *btf, __u32 value_size)
{
	int word = btf__add_int(btf, "unsigned long", 8, 0);
	int index = btf__add_int(btf, "unsigned int", 4, 0);
	int half = btf__add_int(btf, "unsigned short", 2, 0);
	int uptr = btf__add_ptr(btf, btf__add_type_tag(btf, "uptr", add_page(btf, word, index)));
	int area = value_size > 24 ? btf__add_array(btf, index, word, value_size / 8 - 3) : 0;
	int value = btf__add_struct(btf, "tld_map_value", value_size);

	btf__add_field(btf, "data", uptr, 0, 0);
	btf__add_field(btf, "meta", uptr, 64, 0);
	if (value_size >= 24) {
		btf__add_field(btf, "start", half, 128, 0);
		btf__add_field(btf, "room", half, 144, 0);
		btf__add_field(btf, "room_magic", index, 160, 0);
	}
	if (value_size > 24)
		btf__add_field(btf, "area", area, 192, 0);
	return value;
}

int ctldctl_map_create(const char *name, __u32 value_size)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);
	struct btf *btf = btf__new_empty();
	int fd;

	if (!btf)
		return -errno;
	opts.btf_key_type_id = btf__add_int(btf, "int", 4, BTF_INT_SIGNED);
	opts.btf_value_type_id = add_value(btf, value_size);
	fd = btf__load_into_kernel(btf);
	if (!fd) {
		opts.btf_fd = btf__fd(btf);
		fd = bpf_map_create(BPF_MAP_TYPE_TASK_STORAGE, name, 4, value_size, 0, &opts);
		fd = fd < 0 ? -errno : fd;
	}
	btf__free(btf);
	return fd;
}

/* --- Programs ------------------------------------------------------------------ */

int ctldctl_program_next(__u32 id, __u32 *next)
{
	return bpf_prog_get_next_id(id, next) ? -errno : 0;
}

int ctldctl_program_describe(__u32 id, struct ctldctl_program *program, __u32 *map_ids)
{
	struct bpf_prog_info info = { 0 };
	__u32 size = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id), err = 0;

	memset(program, 0, sizeof(*program));
	if (fd < 0)
		return -errno;
	info.nr_map_ids = CTLDCTL_PROGRAM_MAPS;
	info.map_ids = (unsigned long)map_ids;
	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		err = -errno;
	close(fd);
	program->id = info.id;
	program->type = info.type;
	program->map_count = info.nr_map_ids < CTLDCTL_PROGRAM_MAPS ? info.nr_map_ids : CTLDCTL_PROGRAM_MAPS;
	memcpy(program->name, info.name, sizeof(program->name));
	program->name[sizeof(program->name) - 1] = '\0';
	return err;
}

const char *ctldctl_program_type_name(__u32 type)
{
	return libbpf_bpf_prog_type_str(type);
}

/* --- What the machine can -------------------------------------------------------- */

int ctldctl_kernel_has_uptr(void)
{
	struct btf *kernel = btf__load_vmlinux_btf();
	const struct btf_type *fields;
	int id, has = 0;

	if (!kernel)
		return -ENOENT;
	id = btf__find_by_name_kind(kernel, "btf_field_type", BTF_KIND_ENUM);
	fields = id < 0 ? NULL : btf__type_by_id(kernel, id);
	for (int i = 0; fields && i < btf_vlen(fields); i++)
		if (!strcmp(btf__name_by_offset(kernel, btf_enum(fields)[i].name_off), "BPF_UPTR"))
			has = 1;
	btf__free(kernel);
	return has;
}

/* PIDFD_THREAD is O_EXCL; older headers do not have it. */
int ctldctl_try_pidfd_thread(void)
{
	long fd = syscall(SYS_pidfd_open, syscall(SYS_gettid), O_EXCL);

	if (fd < 0)
		return -errno;
	close((int)fd);
	return 0;
}

/* A kernel without UPTRs keeps the addresses as numbers, and gives them back. */
static int publish_and_look(int map_fd, char *pages)
{
	__u64 value[3] = { (unsigned long)pages, (unsigned long)pages + getpagesize(), 8 };
	long pidfd = syscall(SYS_pidfd_open, syscall(SYS_gettid), O_EXCL);
	int key = (int)pidfd, err = 0;

	if (pidfd < 0)
		return -errno;
	if (bpf_map_update_elem(map_fd, &key, value, BPF_ANY) || bpf_map_lookup_elem(map_fd, &key, value))
		err = -errno;
	else if (value[0] || value[1])
		err = -EOPNOTSUPP;
	bpf_map_delete_elem(map_fd, &key);
	close(key);
	return err;
}

int ctldctl_try_uptr(void)
{
	size_t bytes = 2 * (size_t)getpagesize();
	char *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int map_fd = ctldctl_map_create("tldctl_doctor", 24), err;

	if (pages == MAP_FAILED)
		err = -ENOMEM;
	else if (map_fd < 0)
		err = map_fd;
	else
		err = publish_and_look(map_fd, pages);
	if (pages != MAP_FAILED)
		munmap(pages, bytes);
	if (map_fd >= 0)
		close(map_fd);
	return err;
}

int ctldctl_try_program(void)
{
	struct ctldctl_reader *reader;
	int map_fd = ctldctl_map_create("tldctl_doctor", 24), err;

	if (map_fd < 0)
		return map_fd;
	err = ctldctl_reader_open(map_fd, 24, &reader);
	if (!err)
		ctldctl_reader_close(reader);
	close(map_fd);
	return err;
}

int ctldctl_directory_open(const char *path)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

__u64 ctldctl_memlock(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_MEMLOCK, &limit) || limit.rlim_cur == RLIM_INFINITY ? ~0ULL : limit.rlim_cur;
}

int ctldctl_library(const char **version, const char **file)
{
	void *library = dlopen("libtld.so.1", RTLD_NOW | RTLD_LOCAL);
	const char *(*tell)(void) = library ? (const char *(*)(void))dlsym(library, "tld_version") : NULL;
	Dl_info info;

	if (!tell)
		return -ENOENT;
	*version = tell();
	*file = dladdr((void *)tell, &info) ? info.dli_fname : "libtld.so.1";
	return 0;
}
