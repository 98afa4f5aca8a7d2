// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * keys.c - tld_create_key(), tld_find_key() and what a key says: every row of the
 * semantics table, and the metadata page that comes of it.
 */
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include "page.h"

#define NAME_61 "0123456789012345678901234567890123456789012345678901234567890"

/* A value that no function of libtld sets errno to. */
#define ERRNO_MARK 12345

static void before_any_key(void)
{
	ok(page_start() == NULL, "tld_meta_p is NULL before the first key is created");
	is(tld_find_key("x").off, -ENOENT, "no key is found before one is created");
	ok(page_start() == NULL, "looking for a key does not make the metadata page");
}

static void bad_names(void)
{
	char name[1001];

	is(tld_create_key(NULL, 8).off, -EINVAL, "a NULL name is refused");
	is(tld_create_key("", 8).off, -EINVAL, "an empty name is refused");
	memset(name, 'n', 1000);
	name[1000] = 0;
	is(tld_create_key(name, 8).off, -ENAMETOOLONG, "a name of 1000 bytes is refused");
	name[63] = 0;
	is(tld_create_key(name, 8).off, -ENAMETOOLONG, "a name of 63 bytes is refused");
	name[62] = 0;
	is(tld_create_key(name, 8).off, -ENAMETOOLONG, "a name of 62 bytes is refused");
	is(create_static(name, 8).off, -ENAMETOOLONG, "a static TLD's name of 62 bytes is refused");
	is(create_static(NULL, 8).off, -EINVAL, "a static TLD's NULL name is refused");
	is(create_static("", 8).off, -EINVAL, "a static TLD's empty name is refused");
	ok(!page_start() || !page_cnt(), "names that are refused leave no entry");
	is(tld_create_key("good", 64).off, 0, "names that are refused take nothing of the budget");
}

static void good_names(void)
{
	char every_byte[5][PAGE_NAME_BYTES], *name;
	bool intact = true;

	is(tld_create_key("n", 1).off, 0, "a name of 1 byte is taken");
	is(tld_create_key(NAME_61, 1).off, 8, "a name of 61 bytes is taken");
	ok(page_entry_is(0, "n", 1), "a short name is padded with zeros on the page");
	ok(page_entry_is(1, NAME_61, 1), "a name of 61 bytes is on the page with its NUL");
	is(tld_create_key("\xff\xfe\x80\xc0", 1).off, 16, "a name that is not UTF-8 is taken");
	ok(page_entry_is(2, "\xff\xfe\x80\xc0", 1), "bytes that are not UTF-8 reach the page as they are");
	is(tld_find_key("\xff\xfe\x80\xc0").off, 16, "a name that is not UTF-8 is found");
	for (int byte = 1; byte < 256; byte++) {
		name = every_byte[(byte - 1) / 61];
		name[(byte - 1) % 61] = byte;
		name[(byte - 1) % 61 + 1] = 0;
	}
	for (int i = 0; i < 5; i++) {
		tld_key_t key = create_asking(every_byte[i], 1, 128);

		intact &= key.off == 24 + 8 * i && page_entry_is(3 + i, every_byte[i], 1) &&
			  tld_find_key(every_byte[i]).off == key.off;
	}
	ok(intact, "each of the 255 bytes that are not NUL may be in a name");
}

static void name_in_memory(void)
{
	char *pages = mmap(NULL, 2 * getpagesize(), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *name = pages + getpagesize() - 62;

	if (pages == MAP_FAILED || mprotect(pages + getpagesize(), getpagesize(), PROT_NONE))
		tap_bail("memory for the names");
	strcpy(name, NAME_61);
	is(tld_create_key(name, 8).off, 0, "nothing behind the NUL of a name is read");
	is(tld_find_key(name).off, 0, "nothing behind the NUL of a name is read to find it");
	name = pages + getpagesize() - 2;
	strcpy(name, "a");
	is(tld_create_key(name, 8).off, 8, "nothing behind the NUL of a short name is read");
	memset(pages, 'z', getpagesize());
	is(tld_find_key("a").off, 8, "the bytes of a name are copied");
}

static void bad_sizes(void)
{
	const size_t too_large[] = { 65, 4081, 32760, 32768, 65535, 65536, 65537, 65544,
				     (1ull << 32) + 8, SIZE_MAX / 2 + 1, SIZE_MAX - 7, SIZE_MAX };
	const unsigned int count = sizeof(too_large) / sizeof(*too_large);
	unsigned int refused = 0, refused_static = 0;

	is(tld_create_key("zero", 0).off, -EINVAL, "size 0 is refused");
	is(create_static("zero", 0).off, -EINVAL, "a static TLD of size 0 is refused");
	is(tld_create_key("page", getpagesize()).off, -E2BIG, "a whole page is refused");
	is(create_static("page", getpagesize()).off, -E2BIG, "a static TLD of a whole page is refused");
	is(create_static("page", page_capacity() + 1).off, -E2BIG,
	   "a static TLD one byte larger than a page allows is refused");
	for (unsigned int i = 0; i < count; i++) {
		int16_t off = tld_create_key("large", too_large[i]).off;

		if (off != -E2BIG)
			diag("size %zu gives %d", too_large[i], off);
		refused += off == -E2BIG;
	}
	is(refused, count, "sizes above the budget are refused, also those that overflow when rounded up");
	for (unsigned int i = 0; i < count; i++) {
		if (too_large[i] <= page_capacity())
			continue;
		off_t off = create_static("large", too_large[i]).off;

		if (off != -E2BIG)
			diag("static size %zu gives %ld", too_large[i], (long)off);
		refused_static += off != -E2BIG;
	}
	is(refused_static, 0, "static sizes above what a page allows are refused");
	ok(!page_start() || !page_cnt(), "sizes that are refused leave no entry");
	is(tld_create_key("good", 64).off, 0, "sizes that are refused take nothing of the budget");
	is(page_size_field(), 64, "sizes that are refused add nothing to the page's size");
}

static void offsets(void)
{
	const unsigned int sizes[] = { 1, 7, 8, 9, 16, 3 };
	unsigned int off = 0;

	for (int i = 0; i < 6; i++) {
		char name[2] = { 'a' + i, 0 };

		is(tld_create_key(name, sizes[i]).off, off, "a TLD of %u bytes follows at offset %u",
		   sizes[i], off);
		ok(page_entry_is(i, name, sizes[i]), "its entry has the size as asked");
		is(page_cnt(), i + 1, "and is counted");
		off += round_up_8(sizes[i]);
	}
	is(tld_create_key("g", 8).off, -E2BIG, "a TLD of 7 bytes takes 8 of the budget of 64");
}

static void metadata_page(void)
{
	static char zeros[PAGE_TAIL_BYTES - 16];
	const char *tail;
	uint64_t stamp;

	is(tld_create_key("first", 8).off, 0, "the first key is 0");
	tail = page_start() + getpagesize() - PAGE_TAIL_BYTES;
	is((uintptr_t)page_start() % getpagesize(), 0, "the metadata page is page-aligned");
	is(page_cnt(), 1, "one TLD is counted");
	is(page_size_field(), 64, "the page's size is the default budget, 64 bytes");
	ok(!memcmp(tail, "TLD1", 4), "the magic is 60 bytes before the end of the page");
	ok(!memcmp(tail + 4, zeros, 4), "the reserved word behind the magic is zero");
	memcpy(&stamp, tail + 8, sizeof(stamp));
	ok(stamp == getauxval(AT_RANDOM), "the image stamp is the address of AT_RANDOM");
	ok(!memcmp(tail + 16, zeros, sizeof(zeros)), "the rest of the page's tail is zero");
}

static void duplicates(void)
{
	char before[4 + 64];

	is(tld_create_key("same", 8).off, 0, "a name is created");
	memcpy(before, page_start(), sizeof(before));
	is(tld_create_key("same", 8).off, -EEXIST, "a name is created only once");
	is(tld_create_key("same", 16).off, -EEXIST, "with another size neither");
	is(tld_create_key("same", 4000).off, -EEXIST, "nor with a size that the budget has not");
	is(tld_create_key("Same", 8).off, 8, "another spelling is another name");
	is(tld_create_key("sam", 8).off, 16, "the beginning of a name is another name");
	is(tld_create_key("same2", 8).off, 24, "a longer name is another name");
	ok(!memcmp(before + 4, page_start() + 4, 64), "the first entry is as it was");
}

static void full_table(void)
{
	unsigned int made = 0;
	char name[20];

	for (unsigned int i = 0; i < page_entries(); i++) {
		snprintf(name, sizeof(name), "entry %u", i);
		made += create_asking(name, 1, page_capacity()).off == (int)(8 * i);
	}
	is(made, page_entries(), "%u TLDs can be created", page_entries());
	is(create_asking("one more", 1, page_capacity()).off, -ENOSPC, "one more has no entry left");
	is(create_static("one more", 1).off, -ENOSPC, "a static one neither");
	is(page_cnt(), page_entries(), "%u are counted", page_entries());
	ok(!memcmp(page_start() + getpagesize() - PAGE_TAIL_BYTES, "TLD1", 4),
	   "the last entry leaves the magic alone");
	snprintf(name, sizeof(name), "entry %u", page_entries() - 1);
	is(tld_find_key(name).off, 8 * (page_entries() - 1), "the last entry is found");
}

static void default_budget(void)
{
	is(tld_create_key("whole", 64).off, 0, "the default budget is 64 bytes");
	is(tld_create_key("more", 1).off, -E2BIG, "and not one more");
	is(page_cnt(), 1, "a TLD beyond the budget leaves no entry");
}

static void larger_budget(void)
{
	is(create_asking("a", 8, 64).off, 0, "a budget of 64 is asked for");
	is(page_size_field(), 64, "the page's size is 64");
	is(create_asking("b", 8, 128).off, 8, "then 128");
	is(page_size_field(), 128, "a larger ask adds the difference");
	is(create_asking("c", 8, 128).off, 16, "128 again");
	is(page_size_field(), 128, "an equal ask changes nothing");
	is(create_asking("d", 8, 8).off, 24, "then 8");
	is(page_size_field(), 128, "a smaller ask changes nothing");
	is(create_asking("e", 96, 64).off, 32, "what a smaller ask may use is the whole budget");
	is(create_asking("f", 1, 128).off, -E2BIG, "which is spent once");
}

static void zero_budget(void)
{
	is(create_asking("none", 1, 0).off, -E2BIG, "a budget of 0 has room for nothing");
	is(tld_create_key_opt("fixed", 16, 0, TLD_KEY_STATIC).off, 0, "but for a static TLD");
	is(page_size_field(), 16, "which is then all of the page's size");
	is(create_asking("none", 1, 0).off, -E2BIG, "a static TLD gives a dynamic one no room");
	is(create_asking("some", 8, 8).off, 16, "until 8 bytes are asked for");
	is(page_size_field(), 24, "which come on top");
}

static void largest_budget(void)
{
	is(create_asking("all", page_capacity(), SIZE_MAX).off, 0, "one TLD may have all of a page but 8 bytes");
	is(page_size_field(), page_capacity(), "a budget of SIZE_MAX is capped at page - 8 and 32760");
	is(create_asking("more", 1, SIZE_MAX).off, -E2BIG, "nothing more fits the page");
	is(create_static("more", 1).off, -E2BIG, "a static TLD neither");
	is(page_cnt(), 1, "neither leaves an entry");
	is(page_size_field(), page_capacity(), "neither changes the page's size");
}

static void capacity_plus_one(void)
{
	is(create_asking("all", page_capacity() + 1, SIZE_MAX).off, -E2BIG,
	   "one byte more than page - 8 (or 32760) is refused at the largest budget");
	is(create_asking("all", getpagesize(), SIZE_MAX).off, -E2BIG, "so is a page");
	is(create_asking("all", SIZE_MAX, SIZE_MAX).off, -E2BIG, "so is SIZE_MAX");
	is(create_asking("all", SIZE_MAX - 7, SIZE_MAX).off, -E2BIG, "so is SIZE_MAX - 7");
}

static void static_budget(void)
{
	is(create_static("s1", 1).off, 0, "a static TLD of 1 byte is created");
	is(page_size_field(), 64 + 8, "it adds 8 bytes to the page's size");
	is(tld_create_key("d1", 64).off, 8, "and leaves the dynamic budget whole");
	is(tld_create_key("d2", 1).off, -E2BIG, "which is then spent");
	is(create_static("s2", 24).off, 72, "a static TLD needs no dynamic budget");
	is(page_size_field(), 64 + 8 + 24, "and adds its own size");
	is(tld_create_key("d3", 1).off, -E2BIG, "none of which a dynamic TLD gets");
	is(create_asking("d4", 16, 80).off, 96, "a larger ask adds the difference on top of static TLDs");
	is(page_size_field(), 80 + 8 + 24, "once");
	is(create_static("large", page_capacity() - 112).off, 112, "static TLDs may fill the page");
	is(page_size_field(), page_capacity(), "up to its end less 8 bytes");
	is(create_static("last", 1).off, -E2BIG, "and no further");
}

static void static_beside_large_budget(void)
{
	is(create_asking("d", 8, page_capacity()).off, 0, "all of a page is asked for");
	is(create_static("s", 8).off, 8, "a static TLD still finds room");
	is(page_size_field(), page_capacity(), "the sum stays capped");
	is(create_asking("rest", page_capacity() - 16, page_capacity()).off, 16,
	   "a dynamic TLD may have the rest");
	is(create_static("s2", 8).off, -E2BIG, "then a static one finds none");
}

static void static_sharing(void)
{
	is(create_static("shared", 12).off, 0, "a static TLD is created");
	is(create_static("shared", 12).off, 0, "again with the same size: the same key");
	is(page_cnt(), 1, "which counts once");
	is(page_size_field(), 64 + 16, "and takes memory once");
	is(create_static("shared", 13).off, -EEXIST, "with another size it exists");
	is(create_static("shared", 16).off, -EEXIST, "also if both round up to the same");
	is(tld_create_key("shared", 12).off, -EEXIST, "tld_create_key() does not share a static TLD");
	is(tld_create_key("dynamic", 8).off, 16, "a dynamic TLD is created");
	is(create_static("dynamic", 8).off, 16, "a static definition of that name and size shares it");
	is(page_size_field(), 64 + 16, "and takes no memory for it");
}

static void unknown_flags(void)
{
	is(tld_create_key_opt("f", 8, 64, 2).off, -EINVAL, "an unknown flag is refused");
	is(tld_create_key_opt("f", 8, 64, TLD_KEY_STATIC | 0x80000000u).off, -EINVAL,
	   "also beside a known one");
	ok(!page_start() || !page_cnt(), "and leaves no entry");
}

static void reset_through_page(void)
{
	bool same = true;

	for (int round = 0; round < 3; round++) {
		same &= tld_create_key("one", 32).off == 0 && tld_create_key("two", 32).off == 32 &&
			tld_create_key("three", 1).off == -E2BIG &&
			page_cnt() == 2 && page_size_field() == 64;
		page_reset(0, 64);
		same &= tld_find_key("one").off == -ENOENT;
	}
	ok(same, "after cnt and size were reset in the page all can be created again");
	is(create_asking("large", 200, 200).off, 0, "the largest ask so far is 200");
	page_reset(0, 64);
	is(create_asking("large", 72, 200).off, -E2BIG, "after a reset to 64 an ask of 200 adds nothing");
	is(page_size_field(), 64, "the page alone says how much there is");
	is(tld_create_key("kept", 8).off, 0, "a TLD is created");
	is(tld_create_key("gone", 8).off, 8, "and another");
	page_reset(1, 64);
	is(tld_find_key("kept").off, 0, "a reset that keeps one entry keeps its key");
	is(tld_find_key("gone").off, -ENOENT, "and not the other");
	is(tld_create_key("kept", 8).off, -EEXIST, "the one kept still exists");
	is(tld_create_key("new", 56).off, 8, "the next takes the place of the other");
	is(tld_create_key("none", 1).off, -E2BIG, "within the size that the page says");
}

/* Only cnt goes back: what the entries held must not shine through. */
static void reset_of_cnt_alone(void)
{
	is(tld_create_key("a long name that was there before", 8).off, 0, "a TLD is created");
	tld_meta_p->cnt = 0;
	is(tld_find_key("a long name that was there before").off, -ENOENT, "an entry behind cnt is not found");
	is(tld_create_key("short", 4).off, 0, "its place is taken by another");
	ok(page_entry_is(0, "short", 4), "of which nothing else is left, padding included");
}

static void entry_being_written(void)
{
	is(tld_create_key("done", 8).off, 0, "a TLD is created");
	strcpy(tld_meta_p->metadata[1].name, "writing");
	tld_meta_p->cnt = 2;
	is(tld_find_key("writing").off, -ENOENT, "an entry of size 0, being written, is absent");
	is(tld_find_key("done").off, 0, "the entries before it are found");
}

static void finding(void)
{
	char name[1001];

	is(tld_find_key(NULL).off, -EINVAL, "no key has a NULL name");
	is(tld_find_key("").off, -EINVAL, "no key has an empty name");
	is(tld_create_key("a", 1).off, 0, "a TLD is created");
	is(tld_create_key("b", 24).off, 8, "and another");
	is(create_static("c", 8).off, 32, "and a static one");
	is(tld_create_key(NAME_61, 8).off, 40, "and one with a name of 61 bytes");
	is(tld_find_key("a").off, 0, "the first is found");
	is(tld_find_key("b").off, 8, "the second is found");
	is(tld_find_key("c").off, 32, "the static one is found");
	is(tld_find_key(NAME_61).off, 40, "the long name is found");
	is(tld_find_key("d").off, -ENOENT, "what was not created is not found");
	is(tld_find_key("ab").off, -ENOENT, "a longer name is not found");
	is(tld_find_key(NAME_61 "0").off, -ENOENT, "a name of 62 bytes is not found by its first 61");
	memset(name, '0', 1000);
	name[1000] = 0;
	is(tld_find_key(name).off, -ENOENT, "a name of 1000 bytes is not found");
	is(tld_find_key(NULL).off, -EINVAL, "NULL stays invalid when there are keys");
	is(page_cnt(), 4, "looking adds no entry");
}

static void no_pthread_key(void)
{
	static pthread_key_t keys[PTHREAD_KEYS_MAX];
	int made = 0;

	while (made < PTHREAD_KEYS_MAX && !pthread_key_create(&keys[made], NULL))
		made++;
	is(tld_create_key("k", 8).off, -EAGAIN, "with all %d pthread keys in use there is none for a TLD", made);
	is(create_static("k", 8).off, -EAGAIN, "nor for a static one");
	ok(!page_start() || !page_cnt(), "which leaves no entry");
	is(tld_find_key("k").off, -ENOENT, "and nothing to find");
	pthread_key_delete(keys[made - 1]);
	is(tld_create_key("k", 64).off, 0, "with one pthread key free again it works");
	is(pthread_key_create(&keys[made - 1], NULL), EAGAIN, "and has taken that pthread key");
	is(tld_create_key("k2", 8).off, -E2BIG, "the next TLD needs none");
}

static void no_memory(void)
{
	rlim_t before = soft_limit(RLIMIT_AS);
	int first, again, found;

	if (UNDER_SANITIZER) {
		tap_skip("without memory no key is created", "a sanitizer needs more address space than a limit leaves");
		return;
	}
	set_soft_limit(RLIMIT_AS, 0);
	first = tld_create_key("k", 8).off;
	again = create_static("k", 8).off;
	found = tld_find_key("k").off;
	set_soft_limit(RLIMIT_AS, before);
	is(first, -ENOMEM, "without memory no key is created");
	is(again, -ENOMEM, "nor a static one");
	is(found, -ENOENT, "nor found");
	is(tld_create_key("k", 8).off, 0, "with memory it is");
}

static void failures_leak_nothing(void)
{
	int descriptors;
	long mapped;

	tld_create_key("whole", 64);
	descriptors = open_descriptors();
	mapped = status_kib("VmSize:");
	for (int i = 0; i < 1000; i++) {
		tld_create_key("whole", 64);
		tld_create_key("more", 8);
		tld_create_key(NULL, 8);
		tld_create_key("zero", 0);
		tld_find_key("none");
	}
	is(open_descriptors(), descriptors, "failed calls leave no descriptor open");
	ok(status_kib("VmSize:") - mapped < 2048, "5,000 failed calls leave nothing mapped");
	is(page_cnt(), 1, "failed calls leave no entry");
}

static void error_keys(void)
{
	unsigned int wrong = 0, wrong_symbol = 0;

	for (int off = INT16_MIN; off <= INT16_MAX; off++) {
		tld_key_t key = { off };

		wrong += tld_key_is_err(key) != (off < 0) ||
			 tld_key_err_or_zero(key) != (off < 0 ? off : 0);
		wrong_symbol += (tld_key_is_err)(key) != (off < 0) ||
				(tld_key_err_or_zero)(key) != (off < 0 ? off : 0);
	}
	is(wrong, 0, "of all 65536 keys the negative ones, and only they, are errors");
	is(wrong_symbol, 0, "so say the functions behind the macros");
}

static void version(void)
{
	char want[32];

	snprintf(want, sizeof(want), "%d.%d.", TLD_VERSION_MAJOR, TLD_VERSION_MINOR);
	ok(!strncmp(tld_version(), want, strlen(want)), "tld_version() begins with the header's %s", want);
	ok(strlen(tld_version()) > strlen(want) &&
	   strspn(tld_version() + strlen(want), "0123456789") == strlen(tld_version() + strlen(want)),
	   "and ends with a number, the patch");
	ok(tld_version() == tld_version(), "it is one static string");
}

static void errno_left_alone(void)
{
	tld_key_t key;
	bool same = true;

	errno = ERRNO_MARK;
	key = tld_create_key("k", 8);
	same &= errno == ERRNO_MARK && !tld_key_is_err(key);
	ok(same, "creating the first key leaves errno alone");
	tld_create_key("k", 8);
	tld_create_key(NULL, 8);
	tld_create_key("zero", 0);
	tld_create_key("large", SIZE_MAX);
	tld_create_key(NAME_61 "0", 8);
	tld_create_key_opt("flag", 8, 64, 2);
	ok(errno == ERRNO_MARK, "failures of tld_create_key() leave errno alone");
	tld_find_key("k");
	tld_find_key("none");
	tld_find_key(NULL);
	ok(errno == ERRNO_MARK, "tld_find_key() leaves errno alone");
	tld_free();
	tld_version();
	ok(errno == ERRNO_MARK, "tld_free() of a thread without data and tld_version() leave errno alone");
}

static void address_taken(void)
{
	tld_key_t (*create)(const char *, size_t) = tld_create_key;
	tld_key_t (*find)(const char *) = tld_find_key;

	is(create("k", 64).off, 0, "tld_create_key() through a pointer has the default budget of 64");
	is(create("l", 1).off, -E2BIG, "and no more");
	is(find("k").off, 0, "tld_find_key() works through a pointer");
}

int main(void)
{
	in_child(before_any_key);
	in_child(bad_names);
	in_child(good_names);
	in_child(name_in_memory);
	in_child(bad_sizes);
	in_child(offsets);
	in_child(metadata_page);
	in_child(duplicates);
	in_child(full_table);
	in_child(default_budget);
	in_child(larger_budget);
	in_child(zero_budget);
	in_child(largest_budget);
	in_child(capacity_plus_one);
	in_child(static_budget);
	in_child(static_beside_large_budget);
	in_child(static_sharing);
	in_child(unknown_flags);
	in_child(reset_through_page);
	in_child(reset_of_cnt_alone);
	in_child(entry_being_written);
	in_child(finding);
	in_child(no_pthread_key);
	in_child(no_memory);
	in_child(failures_leak_nothing);
	in_child(error_keys);
	in_child(version);
	in_child(errno_left_alone);
	in_child(address_taken);
	return tap_done();
}
