// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * setter.c - loads setter.bpf.c over somebody's data map, and runs it once.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "ctldctl.h"
#include "iterate.h"
#include "setter.skel.h"

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
	fd = ctldctl_iterate(bpf->progs.set_value, request->tid);
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
