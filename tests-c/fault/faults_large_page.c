// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * faults_large_page.c - fault 15 of docs/reference/wire.md, on a machine with small pages: the
 * program stands between the library and the functions that tell the page size.
 * Keys need no kernel, so all but publishing is as it is with such pages.
 */
#include <dlfcn.h>
#include <sys/auxv.h>
#include "page.h"

static long pretended;

/* What the library may ask; each answers for the page size alone by itself. */
int getpagesize(void)
{
	return pretended ? pretended : (int)getauxval(AT_PAGESZ);
}

long sysconf(int name)
{
	long (*next)(int) = (long (*)(int))dlsym(RTLD_NEXT, "sysconf");

	return name == _SC_PAGESIZE && pretended ? pretended : next(name);
}

unsigned long getauxval(unsigned long type)
{
	unsigned long (*next)(unsigned long) =
		(unsigned long (*)(unsigned long))dlsym(RTLD_NEXT, "getauxval");

	return type == AT_PAGESZ && pretended ? (unsigned long)pretended : next(type);
}

static bool library_believes(void)
{
	return !memcmp(page_start() + pretended - PAGE_TAIL_BYTES, "TLD1", 4);
}

/* TLDs of one size until there is no more; every key must be one. */
static void fill(size_t size, unsigned int want, int want_error)
{
	unsigned int made = 0, wrong = 0;
	char name[20];
	tld_key_t key;

	for (;;) {
		snprintf(name, sizeof(name), "tld %u", made);
		key = create_asking(name, size, SIZE_MAX);
		if (tld_key_is_err(key))
			break;
		wrong += key.off != (int)(made * round_up_8(size)) ||
			 key.off + round_up_8(size) > PAGE_KEY_END ||
			 tld_find_key(name).off != key.off;
		made++;
	}
	if (!library_believes())
		tap_bail("the library takes the pretended page size");
	is(made, want, "%u TLDs of %zu bytes fit", want, size);
	is(key.off, want_error, "the next is refused with %s", strerror(-want_error));
	is(wrong, 0, "each key is its offset, positive, below 32760, and found");
	is(page_cnt(), want, "each is counted");
}

static void sixteen_many(void)
{
	pretended = 16384;
	fill(1, 255, -ENOSPC);
	is(page_size_field(), 16384 - 8, "the budget is capped at page - 8");
}

static void sixteen_large(void)
{
	pretended = 16384;
	fill(4092, 3, -E2BIG);
}

static void sixty_four_many(void)
{
	pretended = 65536;
	fill(8, 1023, -ENOSPC);
	is(page_size_field(), PAGE_KEY_END, "the budget is capped at 32760");
}

static void sixty_four_to_the_end(void)
{
	pretended = 65536;
	fill(40, 819, -E2BIG);
}

static void sixty_four_large(void)
{
	pretended = 65536;
	fill(16384, 1, -E2BIG);
}

static void sixty_four_largest(void)
{
	pretended = 65536;
	is(create_asking("beyond", 32761, SIZE_MAX).off, -E2BIG, "a TLD of 32761 bytes is refused");
	is(create_static("beyond", 32761).off, -E2BIG, "a static one too");
	is(create_asking("all", 32760, SIZE_MAX).off, 0, "a TLD of 32760 bytes may be the only one");
	is(create_asking("next", 1, SIZE_MAX).off, -E2BIG, "whatever comes next would have a key that reads as an error");
	is(create_static("next", 1).off, -E2BIG, "also a static one");
	is(page_entry_size(0), 32760, "the page says the size");
}

static void sixty_four_static(void)
{
	pretended = 65536;
	is(create_static("half", 32000).off, 0, "a static TLD of 32000 bytes is created");
	is(create_static("rest", 760).off, 32000, "one of 760 bytes too");
	is(create_static("next", 8).off, -E2BIG, "then none whose key would read as an error");
	is(page_size_field(), PAGE_KEY_END, "the page's size is capped at 32760");
}

int main(void)
{
	if (sysconf(_SC_PAGESIZE) > 4096)
		diag("this machine's own pages are %ld bytes", sysconf(_SC_PAGESIZE));
	in_child(sixteen_many);
	in_child(sixteen_large);
	in_child(sixty_four_many);
	in_child(sixty_four_to_the_end);
	in_child(sixty_four_large);
	in_child(sixty_four_largest);
	in_child(sixty_four_static);
	return tap_done();
}
