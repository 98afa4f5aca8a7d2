// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * place.c - where root writes a file that a person named: no link of another user leads there,
 * and no pipe of another user is there (docs/guide/trust.md).
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "ctldctl.h"

#define PIPE_FS_MAGIC 0x50495045	/* PIPEFS_MAGIC, which linux/magic.h does not have everywhere */
#define LINKS_MAX 40			/* as the kernel has it */

/* A path that is being followed: a directory, and what is left to go. */
struct way {
	int dir;
	int links;
	char rest[PATH_MAX];
};

static bool is_strangers(const struct stat *st)
{
	return st->st_uid != 0 && st->st_uid != geteuid();
}

static int replace(struct way *way, int dir)
{
	close(way->dir);
	way->dir = dir;
	return dir < 0 ? -errno : 0;
}

/* What a link says takes the place of its name. */
static int follow(struct way *way, int link, const char *behind)
{
	char target[PATH_MAX];
	ssize_t length = readlinkat(link, "", target, sizeof(target) - 1);

	if (length < 0)
		return -errno;
	target[length] = 0;
	if (length + strlen(behind) + 2 > sizeof(way->rest) || ++way->links > LINKS_MAX)
		return -ELOOP;
	memmove(way->rest + length + 1, behind, strlen(behind) + 1);
	memcpy(way->rest, target, length);
	way->rest[length] = '/';
	return *target == '/' ? replace(way, open("/", O_PATH | O_CLOEXEC)) : 0;
}

static int go(struct way *way)
{
	char *name = way->rest + strspn(way->rest, "/"), *end = strchrnul(name, '/');
	char behind[PATH_MAX];
	struct stat st;
	int fd, err;

	strcpy(behind, end);
	*end = 0;
	if (!*name) {
		*way->rest = 0;
		return 0;
	}
	fd = openat(way->dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		err = -errno;
	else if (S_ISLNK(st.st_mode))
		err = is_strangers(&st) ? -EPERM : follow(way, fd, behind);
	else if (!S_ISDIR(st.st_mode))
		err = -ENOTDIR;
	else {
		strcpy(way->rest, behind);
		return replace(way, fd);
	}
	if (fd >= 0)
		close(fd);
	return err;
}

int ctldctl_directory_open(const char *path)
{
	struct way way = { .dir = open(*path == '/' ? "/" : ".", O_PATH | O_CLOEXEC) };
	int err = way.dir < 0 ? -errno : 0;

	if (!err && snprintf(way.rest, sizeof(way.rest), "%s", path) >= (int)sizeof(way.rest))
		err = -ENAMETOOLONG;
	while (!err && *way.rest)
		err = go(&way);
	if (!err)
		return way.dir;
	if (way.dir >= 0)
		close(way.dir);
	return err;
}

/* Pipes without a name are the caller's, whoever made them: the shell does, for sudo. */
static int judge_stream(int fd)
{
	struct statfs fs;
	struct stat st;

	if (fstat(fd, &st) || fstatfs(fd, &fs))
		return -errno;
	switch (st.st_mode & S_IFMT) {
	case S_IFCHR: return 0;
	case S_IFIFO: return fs.f_type != PIPE_FS_MAGIC && is_strangers(&st) ? -EPERM : 0;
	case S_IFREG: return -EEXIST;
	case S_IFDIR: return -EISDIR;
	default: return -ENXIO;
	}
}

int ctldctl_stream_open(int dir, const char *name)
{
	int place = openat(dir, name, O_PATH | O_CLOEXEC), fd, err;
	char path[64];

	if (place < 0)
		return -errno;
	err = judge_stream(place);
	/* What was judged, whatever has that name by now. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", place);
	fd = err ? err : open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
	if (!err && fd < 0)
		fd = -errno;
	close(place);
	return fd;
}
