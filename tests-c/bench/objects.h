/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * objects.h - BPF objects that lie beside the running program, and data maps.
 */
#ifndef TESTS_C_BENCH_OBJECTS_H
#define TESTS_C_BENCH_OBJECTS_H

#include <libgen.h>
#include <limits.h>
#include <unistd.h>
#include "bench.h"
#include "maps.h"

/* "FILE beside the program", in a static buffer. */
__attribute__((unused))
static const char *beside(const char *file)
{
	static char path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (length < 0)
		die("/proc/self/exe can be read");
	path[length] = 0;
	length = strlen(dirname(path));
	snprintf(path + length, sizeof(path) - length, "/%s", file);
	return path;
}

__attribute__((unused))
static struct bpf_object *object_load(const char *file)
{
	struct bpf_object *object = bpf_object__open_file(beside(file), NULL);

	if (!object || bpf_object__load(object))
		die("%s loads", file);
	return object;
}

__attribute__((unused))
static int object_prog_fd(struct bpf_object *object, const char *name)
{
	struct bpf_program *program = bpf_object__find_program_by_name(object, name);

	if (!program)
		die("program %s is there", name);
	return bpf_program__fd(program);
}

__attribute__((unused))
static int object_map_fd(struct bpf_object *object, const char *name)
{
	int fd = bpf_object__find_map_fd_by_name(object, name);

	if (fd < 0)
		die("map %s is there", name);
	return fd;
}

/* Without a BPF object: a data map in the format of Linux 7.1, or plain task storage. */
__attribute__((unused))
static int task_storage(__u32 value_size, int uptrs)
{
	struct map_shape shape = { BPF_MAP_TYPE_TASK_STORAGE, value_size, uptrs };
	int fd = map_create(&shape);

	if (fd < 0) {
		errno = -fd;
		die("a task storage map can be made (root? Linux before 6.13?)");
	}
	return fd;
}

__attribute__((unused))
static int data_map_v2(void)
{
	return task_storage(V2_SIZE, 2);
}

#endif
