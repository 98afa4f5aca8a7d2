// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * reader.c - loads reader.bpf.c and setter.bpf.c over somebody's data map, and runs them.
 *
 * Nothing is pinned, and no link outlives its iteration, so whatever ends this process
 * leaves nothing loaded.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctldctl.h"
#include "reader.skel.h"
#include "setter.skel.h"

struct ctldctl_reader {
	struct reader_bpf *bpf;
};

/* The program will be told these before the verifier looks. */
static int shape_reader(struct reader_bpf *bpf, int map_fd, __u32 value_size)
{
	int err;

	bpf->rodata->value_bytes = value_size;
	bpf->rodata->page_bytes = getpagesize();
	err = bpf_map__set_value_size(bpf->maps.buffers, getpagesize() + 8);
	return err ? err : bpf_map__reuse_fd(bpf->maps.tldctl_data_map, map_fd);
}

int ctldctl_reader_open(int map_fd, __u32 value_size, struct ctldctl_reader **reader)
{
	struct reader_bpf *bpf = reader_bpf__open();
	int err;

	if (!bpf)
		return -errno;
	err = shape_reader(bpf, map_fd, value_size);
	if (!err)
		err = reader_bpf__load(bpf);
	*reader = err ? NULL : calloc(1, sizeof(**reader));
	if (!*reader) {
		reader_bpf__destroy(bpf);
		return err ? err : -ENOMEM;
	}
	(*reader)->bpf = bpf;
	return 0;
}

void ctldctl_reader_close(struct ctldctl_reader *reader)
{
	if (!reader)
		return;
	reader_bpf__destroy(reader->bpf);
	free(reader);
}

/* An iteration over all tasks, or over one. It keeps the link, which is closed here. */
static int begin(struct bpf_program *program, __u32 tid)
{
	union bpf_iter_link_info info = { .task.tid = tid };
	LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = &info, .link_info_len = sizeof(info));
	struct bpf_link *link = bpf_program__attach_iter(program, tid ? &opts : NULL);
	int fd;

	if (!link)
		return -errno;
	fd = bpf_iter_create(bpf_link__fd(link));
	fd = fd < 0 ? -errno : fd;
	bpf_link__destroy(link);
	return fd;
}

/*
 * Of one process the kernel's own filter is not used: between two reads it goes on from the
 * thread that it saw last, and ends early where that thread has ended.
 */
int ctldctl_reader_begin(struct ctldctl_reader *reader, __u32 tgid, __u32 tid)
{
	reader->bpf->bss->only_tgid = tgid;
	reader->bpf->bss->last.address = 0;
	return begin(reader->bpf->progs.read_task, tid);
}

static int run_to_end(int fd)
{
	char nothing[64];
	ssize_t length;

	do {
		length = read(fd, nothing, sizeof(nothing));
	} while (length > 0 || (length < 0 && (errno == EINTR || errno == EAGAIN)));
	return length < 0 ? -errno : 0;
}

static int set_loaded(struct setter_bpf *bpf, struct ctldctl_set *request, const void *wanted, void *before)
{
	int fd, err;

	request->result = CTLDCTL_SET_NO_TASK; /* the iterator finds none */
	bpf->bss->request = *request;
	memcpy(bpf->bss->wanted, wanted, request->size);
	fd = begin(bpf->progs.set_value, request->tid);
	if (fd == -ESRCH)
		return 0;
	if (fd < 0)
		return fd;
	err = run_to_end(fd);
	close(fd);
	*request = bpf->bss->request;
	memcpy(before, bpf->bss->before, request->size);
	return err;
}

int ctldctl_set_value(int map_fd, __u32 value_size, struct ctldctl_set *request, const void *wanted, void *before)
{
	struct setter_bpf *bpf;
	int err;

	if (request->size > CTLDCTL_SET_MAX)
		return -EINVAL;
	bpf = setter_bpf__open();
	if (!bpf)
		return -errno;
	bpf->rodata->value_bytes = value_size;
	bpf->rodata->page_bytes = getpagesize();
	err = bpf_map__reuse_fd(bpf->maps.tldctl_data_map, map_fd);
	if (!err)
		err = setter_bpf__load(bpf);
	if (!err)
		err = set_loaded(bpf, request, wanted, before);
	setter_bpf__destroy(bpf);
	return err;
}
