// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * set_checks.c - what set's BPF program checks before it writes: each wish that is not true
 * any more is refused by its own reason, and nothing is written.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "ctldctl.h"
#include "maps.h"

static unsigned char *data, *meta;
static int map_fd;
static struct ctldctl_set right;
static const uint32_t wanted = 77;
static uint32_t replaced;

/* Our own record, as the reader gives it. */
static void read_own(struct ctldctl_record *record)
{
	struct ctldctl_reader *reader;
	int fd;

	if (ctldctl_reader_open(map_fd, V2_SIZE, &reader))
		tap_bail("the reader loads: %s", ctldctl_log());
	fd = ctldctl_reader_begin(reader, 0, gettid());
	if (read(fd, record, sizeof(*record)) != sizeof(*record))
		tap_bail("the reader finds this thread");
	close(fd);
	ctldctl_reader_close(reader);
}

static void publish(void)
{
	uintptr_t value[3] = { (uintptr_t)data, (uintptr_t)meta, 8 };

	if (element_write(map_fd, gettid(), value))
		tap_bail("this thread publishes");
}

static void make_right(void)
{
	struct ctldctl_record record;

	read_own(&record);
	memset(&right, 0, sizeof(right));
	right.tid = record.tid;
	right.start = record.start;
	right.start_boottime = record.start_boottime;
	right.data = record.data;
	right.entry = 1;
	right.off = 8;
	right.size = 4;
	memcpy(right.name, meta + 4 + 64, 64);
}

static uint32_t value(void)
{
	return *(volatile uint32_t *)(data + 16);
}

static void check(struct ctldctl_set wish, enum ctldctl_set_result want, const char *sentence)
{
	uint32_t before = value();

	is(ctldctl_set_value(map_fd, V2_SIZE, &wish, &wanted, &replaced), 0, "%s: the program runs", sentence);
	is(wish.result, want, "%s", sentence);
	is(value(), want == CTLDCTL_SET_DONE && !wish.dry_run ? wanted : before, "%s: the value is as it must be", sentence);
}

static void entry(int index, const char *name, uint16_t size)
{
	memset(meta + 4 + 64 * index, 0, 64);
	strcpy((char *)meta + 4 + 64 * index, name);
	memcpy(meta + 4 + 64 * index + 62, &size, 2);
}

int main(void)
{
	struct ctldctl_set wish;

	map_fd = data_map(V2_SIZE);
	data = mmap(NULL, 2 * getpagesize(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	meta = data + getpagesize();
	meta[0] = 2;
	entry(0, "first", 4);
	entry(1, "second", 4);
	publish();
	make_right();

#define wrong(change, want, sentence) do { wish = right; change; check(wish, want, sentence); } while (0)
	wrong(wish.dry_run = 1, CTLDCTL_SET_DONE, "a dry run says what it would do");
	wrong(wish.start_boottime++, CTLDCTL_SET_NO_TASK, "another thread that has the id now");
	wrong(wish.tid = 1 << 22, CTLDCTL_SET_NO_TASK, "no thread of that id");
	wrong(wish.tid = getppid(), CTLDCTL_SET_NO_TASK, "a thread that started at another time");
	wrong(wish.data += 4096, CTLDCTL_SET_MOVED, "another page");
	wrong(wish.start = 16, CTLDCTL_SET_MOVED, "another start");
	wrong(wish.off = 0, CTLDCTL_SET_MOVED, "another offset than the sum of the sizes before");
	wrong(wish.entry = 0, CTLDCTL_SET_MOVED, "another entry");
	wrong(wish.entry = 2, CTLDCTL_SET_MOVED, "an entry that is not counted");
	wrong(wish.entry = 1000, CTLDCTL_SET_MOVED, "an entry behind the page");
	wrong(wish.name[0]++, CTLDCTL_SET_MOVED, "another name");
	entry(0, "first", 0);
	wrong((void)0, CTLDCTL_SET_MOVED, "an entry before that is being written");
	entry(0, "first", 12);
	wrong((void)0, CTLDCTL_SET_MOVED, "an entry before that has grown");
	entry(0, "first", 4);
	meta[0] = 1;
	wrong((void)0, CTLDCTL_SET_MOVED, "a count that went down");
	meta[0] = 2;
	memcpy(meta + getpagesize() - 60, "TLD1\0\0\0\0stamping", 16);
	wrong((void)0, CTLDCTL_SET_STALE, "another image's stamp");
	memset(meta + getpagesize() - 60, 0, 16);
	element_delete(map_fd, gettid());
	wrong((void)0, CTLDCTL_SET_NO_ELEMENT, "a thread that has withdrawn");
	publish();
	*(volatile uint32_t *)(data + 16) = 5;
	wrong((void)0, CTLDCTL_SET_DONE, "the wish that is true");
	is(replaced, 5, "which tells what it replaced");
	wish = right;
	wish.size = CTLDCTL_SET_MAX + 1;
	is(ctldctl_set_value(map_fd, V2_SIZE, &wish, &wanted, &replaced), -EINVAL, "more bytes than there is room for");
	return tap_done();
}
