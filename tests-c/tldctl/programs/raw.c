// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * raw.c - a process that publishes pages without libtld, and puts into them whatever it is
 * told: what a hostile program, or another implementation, may do.
 *
 *	raw VALUE-SIZE...	a map of each size, every one with pages of its own
 *
 * Prints "ready" and the maps' ids, then obeys lines, each answered by "done". M is a map, from 0.
 *	cnt M N			the count in its metadata page
 *	size M N		the field behind it
 *	entry M I SIZE NAME	entry I; in NAME, \xNN are bytes, and nothing is added
 *	word M AT N		8 bytes of the data page
 *	start M N		what the value says (v1: what the page says)
 *	stamp M N		the metadata page's image stamp
 *	publish M		puts the element into the map; garbage behind start
 *	withdraw M
 *	spin M, calm		a thread rewrites 2,000 bytes of data over and over, or no more
 *	storm M, calm		a thread rewrites the metadata page over and over, or no more
 *	leader			the first thread ends; another one goes on obeying
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "maps.h"

struct published {
	int fd;
	__u32 id, size;
	uint16_t start;
	unsigned char *data, *meta;
};

static struct published maps[8];
static atomic_int storming;

static void put(void *at, const void *bytes, size_t size)
{
	memcpy(at, bytes, size);
}

static void make_map(struct published *map, __u32 size)
{
	struct map_shape shape = { BPF_MAP_TYPE_TASK_STORAGE, size, 2 };
	struct bpf_map_info info = { 0 };
	__u32 length = sizeof(info);

	map->fd = map_create(&shape);
	map->size = size;
	map->start = 8;
	map->data = mmap(NULL, 2 * getpagesize(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	map->meta = map->data + getpagesize();
	if (map->fd < 0 || map->data == MAP_FAILED || bpf_obj_get_info_by_fd(map->fd, &info, &length)) {
		perror("raw: map");
		exit(1);
	}
	map->id = info.id;
}

/* \xNN are bytes. */
static size_t decode(const char *text, unsigned char *bytes)
{
	size_t n = 0;
	unsigned int byte;

	while (*text && *text != '\n' && n < 62) {
		if (text[0] == '\\' && text[1] == 'x' && sscanf(text + 2, "%2x", &byte) == 1) {
			bytes[n++] = byte;
			text += 4;
		} else {
			bytes[n++] = *text++;
		}
	}
	return n;
}

static void publish(struct published *map)
{
	unsigned char value[256];

	memset(value, 0xa5, sizeof(value));
	memset(value + 24, 0, sizeof(value) - 24);
	put(value, &map->data, 8);
	put(value + 8, &map->meta, 8);
	if (map->size == 16) {
		uint64_t start = map->start;

		put(map->data, &start, 8);
	} else {
		put(value + 16, &map->start, 2);
	}
	if (element_write(map->fd, gettid(), value))
		perror("raw: publish");
}

static void *storm(void *argument)
{
	struct published *map = argument;
	unsigned int seed = 1;

	while (atomic_load(&storming)) {
		for (int i = 0; i < getpagesize(); i += 2) {
			uint16_t word = rand_r(&seed);

			put(map->meta + i, &word, 2);
		}
		map->meta[1] = 0; /* a count that is not always too large */
	}
	return NULL;
}

static void *spin(void *argument)
{
	struct published *map = argument;

	for (int byte = 0xaa; atomic_load(&storming); byte ^= 0x11)
		memset(map->data + 8, byte, 2000);
	return NULL;
}

static void set_entry(struct published *map, const char *rest)
{
	unsigned int index, size;
	int at = 0;
	uint16_t field;

	sscanf(rest, "%u %u %n", &index, &size, &at);
	memset(map->meta + 4 + 64 * index, 0, 64);
	decode(rest + at, map->meta + 4 + 64 * index);
	field = size;
	put(map->meta + 4 + 64 * index + 62, &field, 2);
}

static void *obey(void *unused)
{
	char line[512];

	(void)unused;
	while (fgets(line, sizeof(line), stdin)) {
		char word[16] = "";
		unsigned int which = 0;
		unsigned long long a = 0, b = 0;
		int at = 0;
		pthread_t thread;
		uint16_t half;

		sscanf(line, "%15s %u %n%llu %llu", word, &which, &at, &a, &b);
		struct published *map = &maps[which & 7];
		half = a;
		if (!strcmp(word, "cnt"))
			put(map->meta, &half, 2);
		else if (!strcmp(word, "size"))
			put(map->meta + 2, &half, 2);
		else if (!strcmp(word, "entry"))
			set_entry(map, line + at);
		else if (!strcmp(word, "word"))
			put(map->data + a, &b, 8);
		else if (!strcmp(word, "start"))
			map->start = a;
		else if (!strcmp(word, "stamp")) {
			put(map->meta + getpagesize() - 60, "TLD1", 4);
			put(map->meta + getpagesize() - 52, &a, 8);
		} else if (!strcmp(word, "publish"))
			publish(map);
		else if (!strcmp(word, "withdraw"))
			element_delete(map->fd, gettid());
		else if (!strcmp(word, "storm") || !strcmp(word, "spin")) {
			atomic_store(&storming, 1);
			pthread_create(&thread, NULL, word[1] == 't' ? storm : spin, map);
		} else if (!strcmp(word, "calm"))
			atomic_store(&storming, 0);
		else if (!strcmp(word, "leader")) {
			pthread_create(&thread, NULL, obey, NULL);
			printf("done\n");
			fflush(stdout);
			if (gettid() == getpid())
				pthread_exit(NULL);
			return NULL;
		}
		printf("done\n");
		fflush(stdout);
	}
	exit(0);
}

int main(int argc, char **argv)
{
	libbpf_set_print(NULL);
	printf("ready");
	for (int i = 1; i < argc && i <= 8; i++) {
		make_map(&maps[i - 1], atoi(argv[i]));
		printf(" %u", maps[i - 1].id);
	}
	printf("\n");
	fflush(stdout);
	obey(NULL);
	return 0;
}
