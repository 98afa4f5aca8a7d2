/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * tld_pin.h - pin a data map where nobody else can replace it.
 *
 * For loaders: programs that load BPF and pin its map for others to publish in. A loader is
 * privileged, and a BPF file system may be one in which every user can create names. So each
 * function here works on descriptors: tld_pin_open() opens the directory without following any
 * symbolic link and judges it; all others reach the pin from there, and change group and mode
 * through a descriptor that they judged. docs/guide/trust.md says what is refused and why.
 *
 *	struct tld_pin pin;
 *	int err = tld_pin_open(&pin, "/sys/fs/bpf/hints/tld_data_map", TLD_PIN_MAKE);
 *
 *	if (!err)
 *		err = tld_pin_put(&pin, map_fd, hinters, 0660);
 *	if (err)
 *		fprintf(stderr, "cannot pin: %s\n", tld_pin_error(&pin, err));
 *	tld_pin_close(&pin);
 *
 * Needs the kernel's headers and the C library, not libbpf and not libtld; C11 or C++11 with
 * _GNU_SOURCE. Linux 6.6 or later, which every kernel with data maps is.
 *
 * MT-safe for different pins. Not for signal handlers.
 */
#ifndef TLD_PIN_H
#define TLD_PIN_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef O_PATH
#error "tld_pin.h uses O_PATH: define _GNU_SOURCE before the first #include"
#endif

/* For tld_pin_open(). */
#define TLD_PIN_MAKE	1	/* make the directory, mode 0755, if it is not there */
#define TLD_PIN_ANY	2	/* take anybody's directory and pin: to look, or to remove */

/* A place for a pin, there or not. Do not use its fields. */
struct tld_pin {
	int dir;		/* the directory, opened with O_PATH; -1: closed */
	int flags;
	bool made;		/* the directory was not there before */
	const char *why;	/* what is wrong, in words; NULL: errno says it */
	unsigned int name;	/* where in path the pin's name begins */
	char path[PATH_MAX];	/* the directory's path, NUL, the pin's name */
};

/* --- Used by the functions below ------------------------------------------------------ */

static inline int tld_pin__fail(struct tld_pin *pin, int err, const char *why)
{
	pin->why = why;
	return -err;
}

static inline int tld_pin__openat(int dir, const char *path, unsigned int flags)
{
	struct open_how how;
	long fd;

	memset(&how, 0, sizeof(how));
	how.flags = O_PATH | O_CLOEXEC | flags;
	how.resolve = RESOLVE_NO_SYMLINKS;
	fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
	return fd < 0 ? -errno : (int)fd;
}

#ifdef SYS_fchmodat2
#define TLD_PIN__FCHMODAT2 SYS_fchmodat2
#else	/* C libraries that are older than Linux 6.6; the number of most machines */
#define TLD_PIN__FCHMODAT2 452
#endif

static inline int tld_pin__chmod(int fd, mode_t mode)
{
	return syscall(TLD_PIN__FCHMODAT2, fd, "", mode, AT_EMPTY_PATH) ? -errno : 0;
}

/* BPF_OBJ_PIN or BPF_OBJ_GET of a name in a directory. Older kernel headers lack path_fd. */
static inline int tld_pin__bpf(const struct tld_pin *pin, int command, int fd)
{
	struct {
		uint64_t pathname;
		uint32_t bpf_fd;
		uint32_t file_flags;
		int32_t path_fd;
		uint32_t padding;
	} attr;
	long result;

	memset(&attr, 0, sizeof(attr));
	attr.pathname = (uint64_t)(uintptr_t)(pin->path + pin->name);
	attr.bpf_fd = (uint32_t)fd;
	attr.file_flags = 1U << 14;	/* BPF_F_PATH_FD, since Linux 6.5 */
	attr.path_fd = pin->dir;
	result = syscall(SYS_bpf, command, &attr, sizeof(attr));
	return result < 0 ? -errno : (int)result;
}

/* Root and the caller are trusted. */
static inline bool tld_pin__is_strangers(const struct stat *st)
{
	return st->st_uid != 0 && st->st_uid != geteuid();
}

/*
 * A directory and those above it, up to the file system's root: nobody else may replace what
 * leads to the pin. A directory above may be one that all may write if it is sticky: there, only
 * the owner of a name, or of the directory, can replace the name.
 */
static inline int tld_pin__judge_one(struct tld_pin *pin, int fd, bool above)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (tld_pin__is_strangers(&st))
		return tld_pin__fail(pin, EPERM, above ? "a directory above it belongs to another user" :
				     "the directory belongs to another user");
	if (st.st_mode & 022 && !(above && st.st_mode & S_ISVTX))
		return tld_pin__fail(pin, EPERM, above ? "others may rename what is in a directory above it" :
				     "others may write the directory");
	return 0;
}

static inline int tld_pin__judge(struct tld_pin *pin, int dir, bool above)
{
	int fd = dir, up, err = 0, levels = 0;
	struct statfs fs;

	while (!err) {
		if (fstatfs(fd, &fs))
			err = -errno;
		else if (fs.f_type != BPF_FS_MAGIC || levels == PATH_MAX)
			break;	/* above the file system's root; at / there is nothing above */
		else if (!(pin->flags & TLD_PIN_ANY))
			err = tld_pin__judge_one(pin, fd, above || levels);
		levels++;
		up = openat(fd, "..", O_PATH | O_CLOEXEC);
		if (up < 0 && !err)
			err = -errno;
		if (fd != dir)
			close(fd);
		fd = up;
	}
	if (fd >= 0 && fd != dir)
		close(fd);
	if (!err && !levels)
		err = tld_pin__fail(pin, EPERM, "the directory is not in a BPF file system");
	return err;
}

/* Cut "/a/b/name" into "/a/b" and "name". BPF file systems keep names with dots for themselves. */
static inline int tld_pin__split(struct tld_pin *pin, const char *path)
{
	size_t length = path ? strnlen(path, PATH_MAX) : 0;
	char *slash;

	if (length >= PATH_MAX)
		return -ENAMETOOLONG;
	if (!length || path[0] != '/')
		return tld_pin__fail(pin, EINVAL, "the path does not begin with /");
	memcpy(pin->path, path, length + 1);
	slash = strrchr(pin->path, '/');
	if (!slash[1] || strchr(slash, '.'))
		return tld_pin__fail(pin, EINVAL, "the name of the pin is empty or has a dot");
	pin->name = (unsigned int)(slash + 1 - pin->path);
	while (slash > pin->path && slash[-1] == '/')
		slash--;
	*slash = 0;
	return 0;
}

/* Descriptor of the directory at a path; "" is the root. */
static inline int tld_pin__open_dir(int at, const char *path)
{
	return tld_pin__openat(at, *path ? path : "/", O_DIRECTORY);
}

/* Descriptor of the new directory. Another loader may make it at the same time. */
static inline int tld_pin__make_dir(struct tld_pin *pin)
{
	char *slash = strrchr(pin->path, '/');
	int above, dir, err;

	*slash = 0;
	above = tld_pin__open_dir(AT_FDCWD, pin->path);
	*slash = '/';
	if (above < 0)
		return above;
	err = tld_pin__judge(pin, above, true);
	if (!err) {
		pin->made = !mkdirat(above, slash + 1, 0755);
		if (!pin->made && errno != EEXIST)
			err = -errno;
	}
	dir = err ? err : tld_pin__open_dir(above, slash + 1);
	close(above);
	err = dir >= 0 && pin->made ? tld_pin__chmod(dir, 0755) : 0;	/* whatever the umask */
	if (!err)
		return dir;
	close(dir);
	return err;
}

/* Descriptor (O_PATH) of the pin itself, and what it is. */
static inline int tld_pin__find(struct tld_pin *pin, struct stat *st)
{
	int fd = tld_pin__openat(pin->dir, pin->path + pin->name, O_NOFOLLOW), err = 0;

	pin->why = NULL;
	if (fd < 0)
		return fd;
	if (fstat(fd, st))
		err = -errno;
	else if (S_ISLNK(st->st_mode))
		err = tld_pin__fail(pin, ELOOP, "the pin is a symbolic link");
	else if (!S_ISREG(st->st_mode))
		err = tld_pin__fail(pin, EISDIR, "there is a directory in its place");
	else if (!(pin->flags & TLD_PIN_ANY) && tld_pin__is_strangers(st))
		err = tld_pin__fail(pin, EPERM, "the pin belongs to another user");
	else if (!(pin->flags & TLD_PIN_ANY) && st->st_mode & S_IWOTH)
		err = tld_pin__fail(pin, EPERM, "everybody may write the pin");
	if (!err)
		return fd;
	close(fd);
	return err;
}

/* --- What loaders call ----------------------------------------------------------------- */

static inline void tld_pin_close(struct tld_pin *pin)
{
	if (pin->dir >= 0)
		close(pin->dir);
	pin->dir = -1;
}

/*
 * tld_pin_open() - open the directory of a pin and judge it
 * @pin: filled in; to be closed by tld_pin_close(), also after a failure
 * @path: absolute path of the pin, shorter than PATH_MAX; the string is copied
 * @flags: TLD_PIN_MAKE, TLD_PIN_ANY, or 0
 *
 * The directory must lie in a BPF file system. It and the directories above it there must belong
 * to root or to the caller's effective user, and others must not be able to replace what leads
 * to the pin: no write permission for group or others, but above for a sticky directory.
 * TLD_PIN_ANY asks for none of this.
 *
 * Return: 0, or a negative errno, which tld_pin_error() has in words.
 * EINVAL: @path is not absolute, or the name of the pin is empty or has a dot, or that of a
 *	directory in the BPF file system has one; or both flags are given.
 * ENAMETOOLONG: @path is too long.
 * ENOENT: no such directory (with TLD_PIN_MAKE: nor the one above it).
 * ENOTDIR: what should be a directory is none.
 * ELOOP: a part of the path is a symbolic link.
 * EPERM: not a BPF file system, or not to be trusted.
 * EACCES: no permission; or fs.protected_symlinks refuses a link before this function does.
 * EMFILE, ENFILE, ENOMEM, ENOSPC, ENOSYS: as open(2) and mkdir(2) have it.
 */
static inline int tld_pin_open(struct tld_pin *pin, const char *path, int flags)
{
	int err;

	pin->dir = -1;
	pin->flags = flags;
	pin->made = false;
	pin->why = NULL;
	if (flags == (TLD_PIN_MAKE | TLD_PIN_ANY))
		return tld_pin__fail(pin, EINVAL, "TLD_PIN_MAKE and TLD_PIN_ANY exclude each other");
	err = tld_pin__split(pin, path);
	if (err)
		return err;
	pin->dir = tld_pin__open_dir(AT_FDCWD, pin->path);
	if (pin->dir == -ENOENT && flags & TLD_PIN_MAKE)
		pin->dir = tld_pin__make_dir(pin);
	if (pin->dir == -ELOOP)
		return tld_pin__fail(pin, ELOOP, "a part of the path is a symbolic link");
	if (pin->dir == -EPERM && !pin->why && strchr(pin->path, '.'))
		return tld_pin__fail(pin, EINVAL, "the name of a directory has a dot");
	return pin->dir < 0 ? pin->dir : tld_pin__judge(pin, pin->dir, false);
}

/*
 * tld_pin_get() - open what is pinned
 *
 * The pin must be no symbolic link, belong to root or to the caller's effective user, and
 * not be writable by everybody. What is pinned may be any BPF object: ask the kernel, by
 * BPF_OBJ_GET_INFO_BY_FD.
 *
 * Return: a descriptor for reading and writing, or a negative errno. ENOENT: nothing is pinned
 * there. ELOOP, EISDIR, EPERM: what is there is not to be trusted. EACCES: no permission.
 */
static inline int tld_pin_get(struct tld_pin *pin)
{
	struct stat st;
	int fd = tld_pin__find(pin, &st);

	if (fd < 0)
		return fd;
	close(fd);	/* by name again: nobody else can replace it, but where TLD_PIN_ANY allows that */
	return tld_pin__bpf(pin, BPF_OBJ_GET, 0);
}

/*
 * tld_pin_give() - set a pin's group and mode
 * @gid: the group, or (gid_t)-1 to leave it as it is
 * @mode: permissions, or 0 to leave them as they are
 *
 * The new group never has the permissions that the old mode gave to the old group.
 *
 * Return: 0, or a negative errno. ENOENT, ELOOP, EISDIR: there is no pin, or what is there is
 * none. EPERM: it is not to be trusted, or the caller may not change it. ENOSYS: before Linux 6.6.
 */
static inline int tld_pin_give(struct tld_pin *pin, gid_t gid, mode_t mode)
{
	struct stat st;
	int fd = tld_pin__find(pin, &st), err = 0;

	if (fd < 0)
		return fd;
	if (gid != (gid_t)-1 && gid != st.st_gid) {
		err = tld_pin__chmod(fd, st.st_mode & 0700);
		if (!err && fchownat(fd, "", (uid_t)-1, gid, AT_EMPTY_PATH)) {
			err = -errno;
			tld_pin__chmod(fd, st.st_mode & 07777);
		}
	}
	if (!err)
		err = tld_pin__chmod(fd, mode ? mode : st.st_mode & 07777);
	close(fd);
	return err;
}

/*
 * tld_pin_remove() - remove a pin. The map lives on while it is used.
 *
 * Return: 0, or a negative errno. ENOENT: there is no pin. EISDIR, EACCES, EPERM.
 */
static inline int tld_pin_remove(struct tld_pin *pin)
{
	pin->why = NULL;
	return unlinkat(pin->dir, pin->path + pin->name, 0) ? -errno : 0;
}

/*
 * tld_pin_put() - pin a BPF object, for a group, with a mode
 * @fd: descriptor of a map, program or link
 * @gid: the group, or (gid_t)-1 for the caller's
 * @mode: permissions; 0: 0600
 *
 * What is there is not replaced. Before group and mode are set the pin is for its owner alone. If
 * they cannot be set, no pin is left.
 *
 * Return: 0, or a negative errno. EEXIST: there is something. EINVAL: @fd is no BPF object's.
 * EACCES, EPERM: no permission. ENOMEM, ENOSPC. ENOSYS: before Linux 6.6.
 */
static inline int tld_pin_put(struct tld_pin *pin, int fd, gid_t gid, mode_t mode)
{
	const char *why;
	int err;

	pin->why = NULL;
	err = tld_pin__bpf(pin, BPF_OBJ_PIN, fd);
	if (err)
		return err;
	err = tld_pin_give(pin, gid, mode ? mode : 0600);
	if (err) {
		why = pin->why;
		tld_pin_remove(pin);
		pin->why = why;
	}
	return err;
}

/*
 * tld_pin_remove_dir() - remove the pin's directory if it is empty
 *
 * Return: 0, or a negative errno. ENOTEMPTY. ENOENT: another directory is at the path by now, or
 * none. EACCES, EPERM.
 */
static inline int tld_pin_remove_dir(struct tld_pin *pin)
{
	char *slash = strrchr(pin->path, '/');
	struct stat opened, there;
	int above, err = -ENOENT;

	pin->why = NULL;
	if (!slash)
		return -EBUSY;
	*slash = 0;
	above = tld_pin__open_dir(AT_FDCWD, pin->path);
	*slash = '/';
	if (above < 0)
		return above;
	if (!fstat(pin->dir, &opened) && !fstatat(above, slash + 1, &there, AT_SYMLINK_NOFOLLOW) &&
	    opened.st_dev == there.st_dev && opened.st_ino == there.st_ino)
		err = unlinkat(above, slash + 1, AT_REMOVEDIR) ? -errno : 0;
	close(above);
	return err;
}

/* What went wrong, for people. @err is what the last function returned. Valid while @pin is. */
static inline const char *tld_pin_error(const struct tld_pin *pin, int err)
{
	return pin->why ? pin->why : strerror(-err);
}

#endif
