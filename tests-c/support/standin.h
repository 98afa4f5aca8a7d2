/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * standin.h - A STAND-IN for the kernel's user header, written from the wire
 * formats: what BPF meets in a program that does not use libtld. Like that header
 * it keeps a metadata page without a stamp and a block of malloc memory at any
 * place in its page for each thread, and sends a value whose padding is garbage. It is to be
 * used in processes that make no call to libtld.
 */
#ifndef TESTS_C_STANDIN_H
#define TESTS_C_STANDIN_H

#include <bpf/bpf.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STANDIN_ENTRIES 63
#define STANDIN_DATA 248	/* of a block; 8 unused bytes are before them */

struct standin_meta {
	uint16_t cnt;
	uint16_t size;
	struct {
		char name[62];
		uint16_t size;
	} entry[STANDIN_ENTRIES];
};

struct standin_block {
	uint64_t unused;
	char data[STANDIN_DATA];
};

struct standin_value {
	uint64_t data, meta;
	uint16_t start;
	uint8_t padding[6];
};

static struct standin_meta *standin_meta;
static __thread struct standin_block *standin_self;

/* Claims the entry, writes the name, stores the size last. Return the offset. */
__attribute__((unused))
static int standin_create_key(const char *name, uint16_t size)
{
	int off = 0, index;

	if (!standin_meta) {
		standin_meta = aligned_alloc(getpagesize(), getpagesize());
		if (!standin_meta)
			return -1;
		memset(standin_meta, 0, getpagesize());
		standin_meta->size = STANDIN_DATA;
	}
	index = standin_meta->cnt++;
	for (int i = 0; i < index; i++)
		off += (standin_meta->entry[i].size + 7) / 8 * 8;
	strncpy(standin_meta->entry[index].name, name, sizeof(standin_meta->entry[0].name) - 1);
	__atomic_store_n(&standin_meta->entry[index].size, size, __ATOMIC_SEQ_CST);
	return off;
}

static int standin_publish(int map_fd)
{
	uintptr_t page_mask = getpagesize() - 1, block = (uintptr_t)standin_self;
	struct standin_value value;
	int key = syscall(SYS_pidfd_open, syscall(SYS_gettid), O_EXCL), err;

	memset(&value, 0xee, sizeof(value));
	value.data = block & ~page_mask;
	value.meta = (uintptr_t)standin_meta;
	value.start = (block & page_mask) + sizeof(uint64_t);
	err = bpf_map_update_elem(map_fd, &key, &value, 0);
	close(key);
	return err;
}

/* The calling thread's copy of the TLD at @off; its first map is its only one. */
__attribute__((unused))
static void *standin_get_data(int map_fd, int off)
{
	if (standin_self)
		return standin_self->data + off;
	standin_self = aligned_alloc(sizeof(*standin_self), sizeof(*standin_self));
	if (!standin_self || standin_publish(map_fd))
		return NULL;
	return standin_self->data + off;
}

#endif
