// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * main.c - includes tld.h alone, as a new program does, runs what the other units
 * check, and compares addresses with the library's symbols.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "tld.h"
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include "units.h"

TLD_DEFINE_KEY(main_key, "main", 1);

/* As other languages find the functions. */
static int same_address(uintptr_t address, const char *name)
{
	return address && address == (uintptr_t)dlsym(RTLD_DEFAULT, name);
}

static int check_addresses(void)
{
	void *(*get_data)(int, tld_key_t) = tld_get_data;
	bool (*is_err)(tld_key_t) = tld_key_is_err;

	return same_address((uintptr_t)&tld_get_data, "tld_get_data") &&
	       same_address((uintptr_t)&tld_create_key, "tld_create_key") &&
	       same_address((uintptr_t)&tld_find_key, "tld_find_key") &&
	       same_address((uintptr_t)&tld_key_is_err, "tld_key_is_err") &&
	       same_address((uintptr_t)&tld_key_err_or_zero, "tld_key_err_or_zero") &&
	       same_address((uintptr_t)&tld_free, "tld_free") &&
	       same_address((uintptr_t)&tld_version, "tld_version") &&
	       same_address((uintptr_t)&tld_self, "tld_self") &&
	       !get_data(-1, main_key) && !is_err(main_key);
}

static int check_version(void)
{
	char want[16];

	snprintf(want, sizeof(want), "%d.%d.", TLD_VERSION_MAJOR, TLD_VERSION_MINOR);
	return !strncmp(tld_version(), want, strlen(want));
}

static int failures;

static void check(const char *what, int passed)
{
	if (!passed)
		printf("%s: wrong\n", what);
	failures += !passed;
}

int main(void)
{
	check("addresses", check_addresses());
	check("version", check_version());
	check("layout", check_layout());
	check("macros", check_macros());
	check("page", check_page());
	check("included", check_included());
	check("keys", check_keys());
	check("errors", check_errors());
	check("arguments", check_arguments());
	check("pin", check_pin());
	return failures;
}
