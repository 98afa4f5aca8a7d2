// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * program.c - the programs of the system, and the maps that they use.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "ctldctl.h"

int ctldctl_program_next(__u32 id, __u32 *next)
{
	return bpf_prog_get_next_id(id, next) ? -errno : 0;
}

int ctldctl_program_describe(__u32 id, struct ctldctl_program *program, __u32 *map_ids)
{
	struct bpf_prog_info info = { 0 };
	__u32 size = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id), err = 0;

	memset(program, 0, sizeof(*program));
	if (fd < 0)
		return -errno;
	info.nr_map_ids = CTLDCTL_PROGRAM_MAPS;
	info.map_ids = (unsigned long)map_ids;
	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		err = -errno;
	close(fd);
	program->id = info.id;
	program->type = info.type;
	program->map_count = info.nr_map_ids < CTLDCTL_PROGRAM_MAPS ? info.nr_map_ids : CTLDCTL_PROGRAM_MAPS;
	memcpy(program->name, info.name, sizeof(program->name));
	program->name[sizeof(program->name) - 1] = '\0';
	return err;
}

const char *ctldctl_program_type_name(__u32 type)
{
	return libbpf_bpf_prog_type_str(type);
}
