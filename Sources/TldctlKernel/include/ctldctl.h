/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * ctldctl.h - what tldctl asks of libbpf and the kernel, for Swift.
 *
 * Thin: no policy and no words for people. Functions return 0, or what they say, or a
 * negative errno. Descriptors are close-on-exec and the caller's to close. Not for several
 * threads at a time.
 */
#ifndef CTLDCTL_H
#define CTLDCTL_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "ctldctl_record.h"
#include "ctldctl_screen.h"

/* What this was built as: the version, and the version of libbpf that runs. */
const char *ctldctl_version(void);
const char *ctldctl_libbpf_version(void);

/* The last words of libbpf, which TLDCTL_DEBUG=1 shows; never NULL. */
const char *ctldctl_log(void);
void ctldctl_log_clear(void);

/* --- Maps ------------------------------------------------------------------- */

#define CTLDCTL_OBJECT_NAME 16

struct ctldctl_map {
	__u32 id;
	__u32 type;
	__u32 value_size;
	__u32 flags;
	bool is_data;	/* task storage whose value begins with two UPTRs */
	char name[CTLDCTL_OBJECT_NAME];
};

/* The id behind @id, -ENOENT at the end. */
int ctldctl_map_next(__u32 id, __u32 *next);

/* A descriptor that can read only. */
int ctldctl_map_open(__u32 id);

/* The same of a pin. What is pinned may be no map: see ctldctl_map_describe(). */
int ctldctl_pin_open(const char *path);

/* -EINVAL if the descriptor is no map's. */
int ctldctl_map_describe(int fd, struct ctldctl_map *map);

/* A data map with that value size: 16, 24 or more, a multiple of 8. */
int ctldctl_map_create(const char *name, __u32 value_size);

/*
 * Pin a map, in a directory that is made if it is not there, and give it that group ((gid_t)-1:
 * the caller's) and mode; or leave nothing. Where errno does not say what is wrong, @why does.
 */
int ctldctl_pin_make(int map_fd, const char *path, gid_t gid, mode_t mode, const char **why);

/* Remove the pin of that map, and its directory if it is empty then. -ESTALE: it is another map's. */
int ctldctl_pin_remove(const char *path, __u32 map_id, const char **why);

/* --- Where a file is written ------------------------------------------------- */

/*
 * A descriptor (O_PATH) of a directory, for names in it. -EPERM: a symbolic link of another user
 * leads there. -ELOOP, -ENOTDIR, -ENOENT and so on, as open(2).
 */
int ctldctl_directory_open(const char *path);

/*
 * Open a pipe or a character device to be written, also through a link. -EPERM: the pipe is
 * another user's. -EEXIST: it is a file. -EISDIR. -ENXIO: something else, such as a disk.
 */
int ctldctl_stream_open(int dir, const char *name);

/* --- Programs --------------------------------------------------------------- */

#define CTLDCTL_PROGRAM_MAPS 256

struct ctldctl_program {
	__u32 id;
	__u32 type;
	__u32 map_count;	/* of map_ids that were filled */
	char name[CTLDCTL_OBJECT_NAME];
};

int ctldctl_program_next(__u32 id, __u32 *next);
/* @map_ids has space for CTLDCTL_PROGRAM_MAPS; of more than those nothing is said. */
int ctldctl_program_describe(__u32 id, struct ctldctl_program *program, __u32 *map_ids);

/* "tracing", "sched_cls", ...; NULL if libbpf does not know it. */
const char *ctldctl_program_type_name(__u32 type);

/* --- Reading and writing ----------------------------------------------------- */

/* The reader of one data map: a loaded BPF object. Nothing of it outlives the process. */
struct ctldctl_reader;

int ctldctl_reader_open(int map_fd, __u32 value_size, struct ctldctl_reader **reader);
void ctldctl_reader_close(struct ctldctl_reader *reader);

/*
 * A descriptor from which the records (ctldctl_record.h) of threads are read: of the process
 * @tgid, or of all if it is 0; only of the thread @tid unless that is 0. One at a time.
 */
int ctldctl_reader_begin(struct ctldctl_reader *reader, __u32 tgid, __u32 tid);

/*
 * Set one value to the bytes at @wanted; at @before, as many, comes what was there. The request's
 * result says what became of it. (They are no part of the request: Swift would make of each
 * array a tuple of thousands, and compile for a minute.)
 */
int ctldctl_set_value(int map_fd, __u32 value_size, struct ctldctl_set *request, const void *wanted, void *before);

/* --- What the machine can ---------------------------------------------------- */

/* Whether the kernel's types know UPTRs: 1, 0; -ENOENT if it does not tell its types. */
int ctldctl_kernel_has_uptr(void);

/* Make a data map, publish in it, look whether the kernel took the addresses. 0: it did. */
int ctldctl_try_uptr(void);

/* Load a program that reads task storage, as schedulers and tracers do. */
int ctldctl_try_program(void);

int ctldctl_try_pidfd_thread(void);

/* Bytes of memory that may be locked; ~0 for as many as there are. */
__u64 ctldctl_memlock(void);

/* libtld as the loader finds it: its version and file, valid to the end; -ENOENT without. */
int ctldctl_library(const char **version, const char **file);

#endif
