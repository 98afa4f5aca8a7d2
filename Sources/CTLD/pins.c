/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* What is at a path, what happens in its directory, and the sleep until something does. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "ctld.h"
#include "quiet.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define OVERFLOW_UID 65534 /* DEFAULT_OVERFLOWUID of the kernel */
#ifndef BPF_FS_MAGIC
#define BPF_FS_MAGIC 0xcafe4a11
#endif

/*
 * Whether a file is root's or the caller's. In a user namespace all users that it does
 * not map look like the overflow id, root as well as strangers, and the caller maybe, too.
 */
static int is_trusted(uid_t owner)
{
	char map[64] = "";
	int fd;

	if (owner == 0)
		return 1;
	if (owner != geteuid())
		return 0;
	if (owner != OVERFLOW_UID)
		return 1;
	fd = quiet_syscall(SYS_openat, AT_FDCWD, (long)"/proc/self/uid_map", O_RDONLY | O_CLOEXEC, 0);
	quiet_syscall(SYS_read, fd, (long)map, sizeof(map) - 1, 0);
	ctld_close(fd);
	/* "0 0 4294967295": all of them */
	return strstr(map, " 4294967295\n") != NULL;
}

int ctld_open_pin(const char *path, struct ctld_pin *pin)
{
	int fd = quiet_syscall(SYS_openat, AT_FDCWD, (long)path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
	struct statfs fs;
	struct stat st;
	int err;

	if (fd < 0)
		return fd;
	err = quiet_fstat(fd, &st);
	if (!err)
		err = quiet_syscall(SYS_fstatfs, fd, (long)&fs, 0, 0);
	if (err) {
		ctld_close(fd);
		return err;
	}
	pin->is_bpffs = (uint32_t)fs.f_type == BPF_FS_MAGIC;
	pin->is_file = S_ISREG(st.st_mode);
	pin->is_link = S_ISLNK(st.st_mode);
	pin->is_trusted_owner = is_trusted(st.st_uid);
	pin->inode = st.st_ino;
	pin->others_may_write = (st.st_mode & S_IWOTH) != 0;
	return fd;
}

int ctld_bpf_obj_get(int pin)
{
	char path[32];
	union bpf_attr attr;

	/* The very file that was opened, whatever its name leads to by now. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", pin);
	memset(&attr, 0, sizeof(attr));
	attr.pathname = (uintptr_t)path;
	attr.file_flags = BPF_F_WRONLY;
	return quiet_bpf(BPF_OBJ_GET, &attr);
}

int ctld_inotify_open(void)
{
	return quiet_syscall(SYS_inotify_init1, IN_NONBLOCK | IN_CLOEXEC, 0, 0, 0);
}

int ctld_inotify_add(int inotify, const char *directory)
{
	return quiet_syscall(SYS_inotify_add_watch, inotify, (long)directory,
			     IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB |
			     IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR, 0);
}

void ctld_inotify_remove(int inotify, int watch)
{
	quiet_syscall(SYS_inotify_rm_watch, inotify, watch, 0, 0);
}

/* A pipe, because it has an inode of its own by which it is known again; an eventfd has none. */
int ctld_wake_open(struct ctld_wake *wake)
{
	int ends[2], err = quiet_syscall(SYS_pipe2, (long)ends, O_NONBLOCK | O_CLOEXEC, 0, 0);

	if (err)
		return err;
	wake->sleeper = ends[0];
	wake->waker = ends[1];
	ctld_inode(wake->sleeper, &wake->inode); /* or 0: it is taken for open */
	return 0;
}

int ctld_wake_is_open(const struct ctld_wake *wake)
{
	struct stat st;
	int err = wake->inode ? quiet_fstat(wake->sleeper, &st) : -ENOENT;

	return err ? err != -EBADF : S_ISFIFO(st.st_mode) && st.st_ino == wake->inode;
}

void ctld_wake_up(const struct ctld_wake *wake)
{
	if (ctld_wake_is_open(wake))
		quiet_syscall(SYS_write, wake->waker, (long)"", 1, 0);
}

/* Read all that there is to read; 0 if that fails. */
static int drain(const struct pollfd *fd)
{
	char events[2048];
	long n = 1;

	while (fd->revents && n > 0)
		n = quiet_syscall(SYS_read, fd->fd, (long)events, sizeof(events), 0);
	return n >= 0 || n == -EAGAIN;
}

void ctld_wait_events(int inotify, const struct ctld_wake *wake, int ms)
{
	struct pollfd fds[] = { { inotify, POLLIN, 0 }, { wake->sleeper, POLLIN, 0 } };
	struct timespec timeout = { ms / 1000, ms % 1000 * 1000000L }, second = { 1, 0 };
	int ready = quiet_syscall(SYS_ppoll, (long)fds, 2, (long)&timeout, 0);

	/* Whatever is wrong, nobody is served by a thread that spins, or reads others' files. */
	if (ready < 0 || (ready > 0 && !(ctld_wake_is_open(wake) && drain(&fds[0]) && drain(&fds[1]))))
		quiet_syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, (long)&second, 0);
}
