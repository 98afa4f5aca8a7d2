/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * maps.h - BPF maps of every shape, made without a BPF object: data maps in the
 * formats of docs/reference/wire.md, and maps that are nearly data maps. Their elements are
 * looked at from user space, where UPTRs read as zero.
 */
#ifndef TESTS_C_MAPS_H
#define TESTS_C_MAPS_H

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <sched.h>
#include <sys/mman.h>
#include "process.h"

/* Value sizes of the three formats; a native map has any size above 24. */
#define V1_SIZE 16
#define V2_SIZE 24
#define NATIVE_SIZE 64

struct map_shape {
	enum bpf_map_type type;
	__u32 value_size;
	int uptrs; /* how many UPTRs the value begins with */
};

/*
 * struct { char bytes[page size]; }, which UPTRs point to. Without a name, because
 * a name that the kernel's own types have as well makes the map invalid.
 */
static int btf_add_page(struct btf *btf)
{
	int byte = btf__add_int(btf, "char", 1, 0);
	int index = btf__add_int(btf, "unsigned int", 4, 0);
	int array = btf__add_array(btf, index, byte, getpagesize());
	int page = btf__add_struct(btf, NULL, getpagesize());

	btf__add_field(btf, "bytes", array, 0, 0);
	return page;
}

/* struct value: UPTRs first, then plain bytes up to its size. */
static int btf_add_value(struct btf *btf, const struct map_shape *shape)
{
	int byte = btf__add_int(btf, "unsigned char", 1, 0);
	int index = btf__add_int(btf, "unsigned long", 8, 0);
	__u32 plain = shape->value_size - 8 * shape->uptrs;
	int page = btf_add_page(btf);
	int uptr = btf__add_ptr(btf, btf__add_type_tag(btf, "uptr", page));
	int rest = btf__add_array(btf, index, byte, plain);
	int value = btf__add_struct(btf, "value", shape->value_size);
	char name[16];

	for (int i = 0; i < shape->uptrs; i++) {
		snprintf(name, sizeof(name), "uptr%d", i);
		btf__add_field(btf, name, uptr, 64 * i, 0);
	}
	if (plain)
		btf__add_field(btf, "rest", rest, 64 * shape->uptrs, 0);
	return value;
}

/* The descriptor of a new map, or -errno. */
__attribute__((unused))
static int map_create(const struct map_shape *shape)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);
	struct btf *btf = btf__new_empty();
	int fd;

	opts.btf_key_type_id = btf__add_int(btf, "int", 4, BTF_INT_SIGNED);
	opts.btf_value_type_id = btf_add_value(btf, shape);
	fd = btf__load_into_kernel(btf);
	if (!fd) {
		opts.btf_fd = btf__fd(btf);
		fd = bpf_map_create(shape->type, "tld_test", 4, shape->value_size, 0, &opts);
	}
	btf__free(btf);
	return fd;
}

/* A plain map without BTF: hash, array. */
__attribute__((unused))
static int map_create_plain(enum bpf_map_type type, __u32 value_size)
{
	return bpf_map_create(type, "tld_test", 4, value_size, 4, NULL);
}

__attribute__((unused))
static int thread_pidfd(pid_t tid)
{
	return syscall(SYS_pidfd_open, tid, PIDFD_THREAD);
}

/* A thread's element: 0 and the value, or -errno; -ENOENT if there is none. */
__attribute__((unused))
static int element_read(int map_fd, pid_t tid, void *value)
{
	int pidfd = thread_pidfd(tid), err;

	if (pidfd < 0)
		return -errno;
	err = bpf_map_lookup_elem(map_fd, &pidfd, value) ? -errno : 0;
	close(pidfd);
	return err;
}

/* Under load the kernel may be too busy to pin a page at the first attempt. */
__attribute__((unused))
static int element_write(int map_fd, pid_t tid, const void *value)
{
	int pidfd = thread_pidfd(tid), attempts = 100, err;

	if (pidfd < 0)
		return -errno;
	do {
		err = bpf_map_update_elem(map_fd, &pidfd, value, BPF_ANY) ? -errno : 0;
	} while (err == -EAGAIN && attempts-- && !sched_yield());
	close(pidfd);
	return err;
}

__attribute__((unused))
static int element_delete(int map_fd, pid_t tid)
{
	int pidfd = thread_pidfd(tid), err;

	if (pidfd < 0)
		return -errno;
	err = bpf_map_delete_elem(map_fd, &pidfd) ? -errno : 0;
	close(pidfd);
	return err;
}

/* Whether the calling thread has an element; the value is at most 256 bytes. */
__attribute__((unused))
static bool published(int map_fd)
{
	char value[256];
	int err = element_read(map_fd, gettid(), value);

	if (err && err != -ENOENT) {
		errno = -err;
		tap_bail("a thread's element can be looked up");
	}
	return !err;
}

/* A data map, or the reason why this kernel or user cannot have one. */
__attribute__((unused))
static int data_map_try(__u32 value_size, char *reason, size_t reason_size)
{
	struct map_shape shape = { BPF_MAP_TYPE_TASK_STORAGE, value_size, 2 };
	void *pages = mmap(NULL, 2 * getpagesize(), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uintptr_t value[32] = { (uintptr_t)pages, (uintptr_t)pages + getpagesize() };
	int fd = map_create(&shape), err;

	if (fd < 0) {
		snprintf(reason, reason_size, "kernel: no task storage map: %s", strerror(-fd));
		return -1;
	}
	err = element_write(fd, gettid(), value);
	if (!err)
		err = element_read(fd, gettid(), value);
	if (err || value[0] || value[1]) {
		snprintf(reason, reason_size, "kernel: no UPTR (Linux before 6.13?): %s", strerror(-err));
		close(fd);
		fd = -1;
	} else {
		element_delete(fd, gettid());
	}
	munmap(pages, 2 * getpagesize());
	return fd;
}

/* A data map; without one the whole program is skipped. To be called first. */
__attribute__((unused))
static int data_map(__u32 value_size)
{
	char reason[128];
	int fd;

	libbpf_set_print(NULL); /* a refusal is said in TAP */
	fd = data_map_try(value_size, reason, sizeof(reason));
	if (fd >= 0)
		return fd;
	if (tap_points) {
		tap_bail("another data map can be made: %s", reason);
	}
	tap_skip_all(reason);
}

#endif
