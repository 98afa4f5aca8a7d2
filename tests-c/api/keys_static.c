// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * keys_static.c - TLD_DEFINE_KEY() in a program: keys that exist before main().
 */
#define TLD_DYN_DATA_SIZE 128
#include "page.h"

#define NAME_62 "01234567890123456789012345678901234567890123456789012345678901"

TLD_DEFINE_KEY(first_key, "first", 4);
TLD_DEFINE_KEY(second_key, "second", 24);
TLD_DEFINE_KEY(shared_key, "first", 4);
TLD_DEFINE_KEY(other_size_key, "first", 8);
TLD_DEFINE_KEY(size_zero_key, "zero", 0);
TLD_DEFINE_KEY(no_name_key, "", 8);
TLD_DEFINE_KEY(null_name_key, NULL, 8);
TLD_DEFINE_KEY(long_name_key, NAME_62, 8);
TLD_DEFINE_KEY(large_key, "large", 65536);

static int early = 1, in_constructor = 1;

/* Runs before every constructor of the program. */
static void before_constructors(void)
{
	early = first_key.off;
}

__attribute__((section(".preinit_array"), used))
static void (*preinit)(void) = before_constructors;

__attribute__((constructor(102)))
static void after_definitions(void)
{
	in_constructor = tld_find_key("second").off;
}

int main(void)
{
	is(early, -EAGAIN, "a key holds -EAGAIN until its constructor has run");
	is(in_constructor, 8, "the program's other constructors find the keys made");
	is(first_key.off, 0, "the first TLD is defined before main()");
	is(second_key.off, 8, "the second follows, the first's 4 bytes rounded up to 8");
	ok(page_entry_is(0, "first", 4) && page_entry_is(1, "second", 24), "both are on the metadata page");
	is(shared_key.off, first_key.off, "a second definition of that name and size gives the same key");
	is(other_size_key.off, -EEXIST, "a definition with another size gives -EEXIST");
	is(size_zero_key.off, -EINVAL, "a definition of size 0 gives -EINVAL");
	is(no_name_key.off, -EINVAL, "a definition with an empty name gives -EINVAL");
	is(null_name_key.off, -EINVAL, "a definition with a NULL name gives -EINVAL");
	is(long_name_key.off, -ENAMETOOLONG, "a definition with a name of 62 bytes gives -ENAMETOOLONG");
	is(large_key.off, -E2BIG, "a definition larger than a page gives -E2BIG");
	is(page_cnt(), 2, "definitions that fail leave no entry");
	is(page_size_field(), 128 + 8 + 24, "the page's size is TLD_DYN_DATA_SIZE plus the static TLDs");
	is(tld_create_key("dynamic", 128).off, 32, "static TLDs take nothing of the dynamic budget");
	is(tld_create_key("more", 1).off, -E2BIG, "which ends at TLD_DYN_DATA_SIZE");
	is(tld_create_key("first", 4).off, -EEXIST, "tld_create_key() of a static TLD's name gives -EEXIST");
	is(tld_find_key("first").off, first_key.off, "tld_find_key() finds a static TLD");
	return tap_done();
}
