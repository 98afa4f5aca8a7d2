/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * reader.h - what BPF sees of a task, as a second opinion.
 *
 * A reader is a loaded BPF object with one data map and programs that copy out
 * everything that the map leads to: the value, the data page, the metadata page.
 * It was written from the wire formats, not from bpf/task_local_data.bpf.h, and
 * the names are looked up here in user space, from BPF's copy of the pages.
 *
 * All functions may be called from several threads at once.
 */
#ifndef TESTS_C_READER_H
#define TESTS_C_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "reader_view.h"

/* The three formats of a data map's value: 16, 24 and more than 24 bytes. */
enum reader_format { READER_V1, READER_V2, READER_NATIVE };

struct reader;

/* How many bytes of a page are in a view. */
size_t reader_page(void);

/* One TLD as BPF finds it by name. */
struct reader_tld {
	unsigned int index;	/* of its entry in the metadata page */
	unsigned int off;	/* in the thread's data, in bytes */
	unsigned int size;	/* as declared, in bytes */
};

/*
 * Load a reader with a map of its own. Where the machine cannot, the whole test
 * program is skipped with the reason: call it before the first ok().
 */
struct reader *reader_open(enum reader_format format);

/* The same over a map that exists. The reader keeps a duplicate of @map_fd. */
struct reader *reader_open_map(enum reader_format format, int map_fd);

void reader_close(struct reader *reader);

int reader_map_fd(const struct reader *reader);
enum reader_format reader_format(const struct reader *reader);
const char *reader_format_name(enum reader_format format);

/*
 * Copy out what BPF sees of the thread @tid (as gettid() says; 0: the caller).
 * Return 0, -ENODATA where the map has no element for it, -ESRCH where there is
 * no such thread. A failure of the machinery itself ends the test program.
 */
int reader_look(struct reader *reader, pid_t tid, struct reader_view *view);

/* Look a name up in a view. Return 0 or -ENOENT. */
int reader_view_find(const struct reader_view *view, const char *name, struct reader_tld *tld);

/*
 * The bytes of a TLD in a view, or NULL where it does not lie in the page or has
 * fewer than @size bytes.
 */
const void *reader_view_data(const struct reader_view *view, const struct reader_tld *tld,
			     size_t size);

unsigned int reader_view_cnt(const struct reader_view *view);
unsigned int reader_view_size(const struct reader_view *view);

/* How many of the page's aligned 8-byte words have this value. */
unsigned int reader_view_words(const struct reader_view *view, uint64_t word);

/* The map has an element for the thread. */
bool reader_sees(struct reader *reader, pid_t tid);

/*
 * Copy @size bytes of the thread's TLD @name to @bytes. Return 0, -ENODATA or
 * -ESRCH as reader_look(), -ENOENT where no TLD has the name, -ERANGE where it
 * has fewer than @size bytes or ends outside of what BPF can read.
 */
int reader_read(struct reader *reader, pid_t tid, const char *name, void *bytes, size_t size);

/* The first bytes of a TLD as a number; where there are none, READER_NOTHING. */
#define READER_NOTHING UINT64_C(0xbad0bad0bad0bad0)
uint32_t reader_u32(struct reader *reader, pid_t tid, const char *name);
uint64_t reader_u64(struct reader *reader, pid_t tid, const char *name);

/*
 * How many of the machine's tasks have an element in the map, zombies included,
 * and (unless NULL) the thread id of one of them.
 */
int reader_elements(struct reader *reader, pid_t *one);

/*
 * For BPF objects of other tests: the path of a file beside the running program,
 * in a static buffer of the calling thread.
 */
const char *reader_beside(const char *file);

struct bpf_object;
/* Open and load such an object, skipping the test program where BPF is refused. */
struct bpf_object *reader_load(const char *file);
/* The descriptor of a program or map in it; ends the test program if absent. */
int reader_prog_fd(struct bpf_object *object, const char *name);
int reader_object_map_fd(struct bpf_object *object, const char *name);
/*
 * An object's ".bss", ".data" or ".rodata", mapped: @size bytes that both sides
 * share. Unmapped when the process ends.
 */
void *reader_memory(struct bpf_object *object, const char *section, size_t size);
/* End the test program where BPF cannot be used, as reader_open() does. */
void reader_need_kernel(void);

#endif
