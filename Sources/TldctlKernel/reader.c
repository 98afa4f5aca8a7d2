// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * reader.c - loads reader.bpf.c over somebody's data map, and runs it.
 *
 * Nothing is pinned, and no link outlives its iteration, so whatever ends this process
 * leaves nothing loaded.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "ctldctl.h"
#include "iterate.h"
#include "reader.skel.h"

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

/* The iteration keeps the link, which is closed here. */
int ctldctl_iterate(struct bpf_program *program, __u32 tid)
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
	return ctldctl_iterate(reader->bpf->progs.read_task, tid);
}
