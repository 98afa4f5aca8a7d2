// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * doctor.c - what the machine can, tried or asked.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ctldctl.h"

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
