/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* ctld_syscalls.h - descriptors, memory, sleeping, bpf(2) on maps. */
#ifndef CTLD_SYSCALLS_H
#define CTLD_SYSCALLS_H

#include <stddef.h>
#include <stdint.h>

size_t ctld_page_size(void);

int ctld_equal(const char *a, const char *b); /* two strings: 1 or 0 */

int ctld_pidfd_open_thread(int tid);
int ctld_inode(int fd, uint64_t *inode);
int ctld_close(int fd);
int ctld_duplicate(int fd); /* close-on-exec */
void ctld_yield(void);

/* Zeroed private memory without huge pages; NULL: out of memory. Whole pages. */
void *ctld_map(size_t bytes);
void ctld_unmap(void *address, size_t bytes);
/* Give the process fresh zero pages at the same address. */
int ctld_discard(void *address, size_t bytes);

/* Sleep while *word == value, at most until woken; wake one sleeper. */
void ctld_futex_wait(void *word, uint32_t value);
void ctld_futex_wake_one(void *word);

struct ctld_map_info {
	uint32_t type, id, key_size, value_size;
};

/* BPF_MAP_TYPE_TASK_STORAGE, BPF_NOEXIST: the kernel's numbers for Swift. */
enum { CTLD_MAP_TYPE_TASK_STORAGE = 29 };
enum { CTLD_UPDATE_ANY = 0, CTLD_UPDATE_NO_EXIST = 1 };

int ctld_bpf_map_info(int map, struct ctld_map_info *info);
/* The id alone, or a negative errno. */
int64_t ctld_bpf_map_id(int map);
int ctld_bpf_map_update(int map, int pidfd, const void *value, uint64_t flags);
int ctld_bpf_map_delete(int map, int pidfd);

/* 1 where uname(2) names a kernel from before UPTR (6.13), else 0. */
int ctld_kernel_predates_uptr(void);

#endif
