// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * kernel_header_busy.c - a program that has the kernel's user header inside: such a
 * program defines tld_meta_p itself, and the library's references lead to it.
 */
#include "process.h"
#include "tld.h"

/* As long as it is NULL, nobody has begun. */
void *tld_meta_p;

static _Alignas(65536) char page[65536], before[65536];

/* The kernel's header has created one TLD, "theirs", of 8 bytes. */
static void kernel_header_begins(void)
{
	page[0] = 1;
	page[2] = 64;
	strcpy(page + 4, "theirs");
	page[4 + 62] = 8;
	memcpy(before, page, sizeof(page));
	__atomic_store_n(&tld_meta_p, (void *)page, __ATOMIC_RELEASE);
}

static void kernel_header_first(void)
{
	kernel_header_begins();
	is(tld_create_key("ours", 8).off, -EBUSY, "with the kernel's header running, no key is created");
	is(tld_create_key("ours", 8).off, -EBUSY, "also at the second attempt");
	is(tld_create_key("theirs", 8).off, -EBUSY, "nor under a name that the kernel's header made");
	is(tld_create_key_opt("ours", 8, 64, TLD_KEY_STATIC).off, -EBUSY, "nor a static one");
	is(tld_find_key("ours").off, -ENOENT, "what was not created is not found");
	ok(tld_meta_p == page, "tld_meta_p stays what the kernel's header made it");
	ok(!memcmp(page, before, sizeof(page)), "no byte of its page was touched");
}

static void kernel_header_not_begun(void)
{
	is(tld_create_key("ours", 8).off, 0, "before the kernel's header has begun, a key is created");
	ok(tld_meta_p != NULL, "the library's page is where the program defines tld_meta_p");
	ok(tld_meta_p && !strcmp((char *)tld_meta_p + 4, "ours"), "with the TLD on it");
}

/* The other way round, in the order that a program with both can run into. */
static void kernel_header_takes_over(void)
{
	tld_create_key("ours", 8);
	kernel_header_begins();
	is(tld_create_key("more", 8).off, -EBUSY, "a page that someone put in place of ours is not written");
	ok(!memcmp(page, before, sizeof(page)), "no byte of it was touched");
}

int main(void)
{
	in_child(kernel_header_first);
	in_child(kernel_header_not_begun);
	in_child(kernel_header_takes_over);
	return tap_done();
}
