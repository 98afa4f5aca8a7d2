// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * new_first.c - a translation unit that includes the headers the other way round,
 * and defines no feature macro: with -std=c11 the C library then hides much.
 */
#include "tld.h"
#include "task_local_data.h"
#include "tld.h"
#include "task_local_data.h"
#include "units.h"

TLD_DEFINE_KEY(new_key, "new", sizeof(uint64_t));

/* The other units' keys, and the functions as C and C++ call them. */
int check_keys(void)
{
	return !tld_key_is_err(drop_in_key) && !tld_key_is_err(new_key) && !tld_key_is_err(main_key) &&
	       tld_find_key("drop-in").off == drop_in_key.off && tld_find_key("new").off == new_key.off &&
	       tld_find_key("main").off == main_key.off && drop_in_key.off != new_key.off;
}

int check_errors(void)
{
	tld_key_t duplicate = tld_create_key("new", 8);

	return tld_key_is_err(duplicate) && tld_key_err_or_zero(duplicate) == -EEXIST &&
	       tld_key_err_or_zero(new_key) == 0;
}

/* An expression with commas of its own, and a call as an argument. */
int check_arguments(void)
{
	int calls = 0;
	void *data = tld_get_data((calls++, -1), tld_find_key("new"));

	return !data && calls == 1 && !tld_key_is_err(tld_find_key("main"));
}
