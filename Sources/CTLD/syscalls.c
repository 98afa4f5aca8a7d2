/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* System calls: descriptors, memory, sleeping, bpf(2) on maps. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "ctld.h"
#include "quiet.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

/* Older C libraries' headers lack these; the numbers are the kernel's ABI. */
#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

_Static_assert(CTLD_MAP_TYPE_TASK_STORAGE == (int) BPF_MAP_TYPE_TASK_STORAGE, "map type");
_Static_assert(CTLD_UPDATE_NO_EXIST == (int) BPF_NOEXIST, "update flag");

long quiet_syscall(long number, long a, long b, long c, long d)
{
	int saved = errno;
	long result = syscall(number, a, b, c, d, 0, 0);

	if (result < 0)
		result = -errno;
	errno = saved;
	return result;
}

int quiet_fstat(int fd, struct stat *st)
{
	int saved = errno;
	int err = fstat(fd, st) ? -errno : 0;

	errno = saved;
	return err;
}

int quiet_bpf(int command, union bpf_attr *attr)
{
	return quiet_syscall(SYS_bpf, command, (long)attr, sizeof(*attr), 0);
}

size_t ctld_page_size(void)
{
	return getauxval(AT_PAGESZ);
}

int ctld_equal(const char *a, const char *b)
{
	return !strcmp(a, b);
}

int ctld_pidfd_open_thread(int tid)
{
	return quiet_syscall(SYS_pidfd_open, tid, PIDFD_THREAD, 0, 0);
}

int ctld_inode(int fd, uint64_t *inode)
{
	struct stat st;
	int err = quiet_fstat(fd, &st);

	*inode = err ? 0 : st.st_ino;
	return err;
}

int ctld_close(int fd)
{
	return quiet_syscall(SYS_close, fd, 0, 0, 0);
}

int ctld_duplicate(int fd)
{
	/* From 3 on: a program that closed its standard streams may expect to get those numbers. */
	return quiet_syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 3, 0);
}

void ctld_yield(void)
{
	sched_yield();
}

void *ctld_map(size_t bytes)
{
	int saved = errno;
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		memory = NULL;
	else
		/* A pinned page would hold its whole huge page; EINVAL where there are none. */
		madvise(memory, bytes, MADV_NOHUGEPAGE);
	errno = saved;
	return memory;
}

void ctld_unmap(void *address, size_t bytes)
{
	quiet_syscall(SYS_munmap, (long)address, bytes, 0, 0);
}

int ctld_discard(void *address, size_t bytes)
{
	int err = quiet_syscall(SYS_madvise, (long)address, bytes, MADV_DONTNEED, 0);

	/* A program that called mlockall() has its pages locked, ours too. */
	if (err)
		err = quiet_syscall(SYS_madvise, (long)address, bytes, MADV_DONTNEED_LOCKED, 0);
	return err;
}

void ctld_futex_wait(void *word, uint32_t value)
{
	quiet_syscall(SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, value, 0);
}

void ctld_futex_wake_one(void *word)
{
	quiet_syscall(SYS_futex, (long)word, FUTEX_WAKE_PRIVATE, 1, 0);
}

int ctld_bpf_map_info(int map, struct ctld_map_info *info)
{
	struct bpf_map_info kernel_info;
	union bpf_attr attr;
	int err;

	memset(&kernel_info, 0, sizeof(kernel_info));
	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = map;
	attr.info.info_len = sizeof(kernel_info);
	attr.info.info = (uintptr_t)&kernel_info;
	err = quiet_bpf(BPF_OBJ_GET_INFO_BY_FD, &attr);
	info->type = kernel_info.type;
	info->id = kernel_info.id;
	info->key_size = kernel_info.key_size;
	info->value_size = kernel_info.value_size;
	return err;
}

int64_t ctld_bpf_map_id(int map)
{
	/* No more of it is asked for. */
	struct {
		uint32_t type, id;
	} info = { 0, 0 };
	union bpf_attr attr;
	int err;

	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = map;
	attr.info.info_len = sizeof(info);
	attr.info.info = (uintptr_t)&info;
	err = quiet_bpf(BPF_OBJ_GET_INFO_BY_FD, &attr);
	return err ? err : (int64_t)info.id;
}

static int bpf_element(int command, int map, int pidfd, const void *value, uint64_t flags)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = map;
	attr.key = (uintptr_t)&pidfd;
	attr.value = (uintptr_t)value;
	attr.flags = flags;
	return quiet_bpf(command, &attr);
}

int ctld_bpf_map_update(int map, int pidfd, const void *value, uint64_t flags)
{
	return bpf_element(BPF_MAP_UPDATE_ELEM, map, pidfd, value, flags);
}

int ctld_bpf_map_delete(int map, int pidfd)
{
	return bpf_element(BPF_MAP_DELETE_ELEM, map, pidfd, NULL, 0);
}

int ctld_kernel_predates_uptr(void)
{
	struct utsname name;
	unsigned long major, minor;
	char *end;

	if (uname(&name))
		return 0;
	major = strtoul(name.release, &end, 10);
	minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;
	return major < 6 || (major == 6 && minor < 13);
}
