// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * map.c - the maps of the system: found, described, made.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "ctldctl.h"

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

/* The value as docs/reference/wire.md has it. Errors are noticed when the BTF is loaded. */
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
