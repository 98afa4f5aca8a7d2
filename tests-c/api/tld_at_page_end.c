// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * tld_at_page_end.c - a TLD that ends with the page is reachable from BPF, to
 * read and to write, by either BPF header and by the raw reader.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include "tld_at_page_end.h"
#define TLD_DYN_DATA_SIZE PAGE_END_ALL
#include "tld.h"

#include "either.h"
#include "process.h"
#include "reader.h"
#include "threads.h"

#define FIRST UINT64_C(0x1111222233334444)
#define LAST UINT64_C(0x5555666677778888)
#define WRITTEN UINT64_C(0x9999aaaabbbbcccc)

/* Loaded once for all cases: what is in the maps goes with a case's child. */
static struct bpf_object *object;
static struct reader *readers[READER_NATIVE + 1];

static struct page_end_view look(const char *program, uint64_t write)
{
	struct page_end_view view = { .write = write };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &view, .ctx_size_in = sizeof(view));

	if (bpf_prog_test_run_opts(reader_prog_fd(object, program), &opts))
		tap_bail("%s runs", program);
	return view;
}

/* The TLD's words as the thread stored them, as BPF reads and as it changes them. */
static void both_ways(const char *program, uint64_t *words, size_t count)
{
	struct page_end_view view;

	words[0] = FIRST;
	words[count - 1] = LAST;
	view = look(program, WRITTEN);
	ok(!view.err && view.found, "%s: the BPF header finds the TLD", program);
	ok(view.first == FIRST && view.last == LAST, "%s: its first and last words are right", program);
	ok(words[count - 1] == WRITTEN, "%s: what BPF writes at the page's end reaches the thread", program);
	view = look(program, 0);
	ok(view.found && view.last == WRITTEN, "%s: by the cached key too", program);
}

static void raw_reads_end(enum reader_format format, const char *name, tld_key_t key,
				    size_t size)
{
	struct reader *reader = readers[format];
	unsigned char bytes[PAGE_END_ALL] = { 0 }, *data = tld_get_data(reader_map_fd(reader), key);
	struct reader_view view;

	if (!data)
		tap_bail("%s: a thread gets the TLD", reader_format_name(format));
	data[size / 2] = 0x5a;
	data[size - 1] = 0xc3;
	is(reader_read(reader, 0, name, bytes, size), 0, "%s: BPF can read all of %s",
	   reader_format_name(format), name);
	ok(!memcmp(bytes, data, size) && bytes[size - 1] == 0xc3, "%s: to its last byte",
	   reader_format_name(format));
	reader_look(reader, 0, &view);
	is(view.start, 8, "%s: the data start 8 bytes into the page", reader_format_name(format));
}

struct raw_formats {
	const char *name;
	tld_key_t key;
	size_t size;
};

static void *raw_formats_thread(void *arg)
{
	const struct raw_formats *formats = arg;

	for (int format = READER_V1; format <= READER_NATIVE; format++)
		raw_reads_end(format, formats->name, formats->key, formats->size);
	return NULL;
}

/* In a new thread: the block of one that only knew v2 maps may not suit v1. */
static void raw_formats(const char *name, tld_key_t key, size_t size)
{
	struct raw_formats formats = { name, key, size };

	in_thread(raw_formats_thread, &formats);
}

static void one_tld_fills_the_page(void)
{
	tld_key_t key = tld_create_key("all", PAGE_END_ALL);
	uint64_t *words = tld_get_data(reader_object_map_fd(object, "tld_data_map"), key);

	if (!words)
		tap_bail("a thread gets a TLD as large as the page allows");
	both_ways("look_all", words, PAGE_END_ALL / 8);
	raw_formats("all", key, PAGE_END_ALL);
}

static void the_last_of_two(void)
{
	tld_key_t head = tld_create_key("head", PAGE_END_ALL - PAGE_END_TAIL);
	tld_key_t tail = tld_create_key("tail", PAGE_END_TAIL);
	uint64_t *words = tld_get_data(reader_object_map_fd(object, "tld_data_map"), tail);

	is(tld_key_err_or_zero(head), 0, "a TLD that leaves %d bytes is made", PAGE_END_TAIL);
	if (!words)
		tap_bail("a thread gets the TLD at the end");
	both_ways("look_tail", words, PAGE_END_TAIL / 8);
	raw_formats("tail", tail, PAGE_END_TAIL);
}

/* Seven bytes before the end, as its size is rounded up: the last that can start. */
static void a_single_byte(void)
{
	tld_key_t head = tld_create_key("head", PAGE_END_ALL - 8);
	tld_key_t key = tld_create_key("byte", 1);
	unsigned char *byte = tld_get_data(reader_object_map_fd(object, "tld_data_map"), key);

	is(tld_key_err_or_zero(head), 0, "a TLD that leaves 8 bytes is made");
	if (!byte)
		tap_bail("a thread gets the byte");
	*byte = 0x7e;
	is(look("look_byte", 0x42).last, 0x7e, "BPF reads a byte in the page's last word");
	is(*byte, 0x42, "BPF writes it");
	raw_formats("byte", key, 1);
}

static void cases(void)
{
	object = reader_load(either_file("tld_at_page_end"));
	in_child(one_tld_fills_the_page);
	in_child(the_last_of_two);
	in_child(a_single_byte);
	bpf_object__close(object);
}

int main(void)
{
	reader_need_kernel();
	if (getpagesize() != 4096)
		tap_skip_all("the BPF object shows 4096 bytes of this machine's larger pages");
	for (int format = READER_V1; format <= READER_NATIVE; format++)
		readers[format] = reader_open(format);
	with_each_header(cases);
	for (int format = READER_V1; format <= READER_NATIVE; format++)
		reader_close(readers[format]);
	return tap_done();
}
