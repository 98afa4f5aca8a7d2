// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * user.c - each fast path in a function of its own, which costs.sh counts under callgrind.
 * valgrind lets no thread be published, so what publishing leaves behind is set by hand.
 */
#include "tld.h"

#define CALLS 1000
#define MAP_FD 7

#define COUNTED __attribute__((noinline)) void *

COUNTED inline_get(tld_key_t key) { return tld_get(key); }
COUNTED inline_get_data(tld_key_t key) { return tld_get_data(MAP_FD, key); }
COUNTED exported_get(tld_key_t key) { return (tld_get)(key); }
COUNTED exported_get_data(tld_key_t key) { return (tld_get_data)(MAP_FD, key); }

int main(void)
{
	tld_key_t key = tld_create_key("cost", 8);
	void *data = tld_get(key);
	uintptr_t wrong = 0;

	if (!data)
		return 1;
	tld_self.map_fd = MAP_FD;
	for (int i = 0; i < CALLS; i++) {
		wrong |= (uintptr_t)inline_get(key) ^ (uintptr_t)data;
		wrong |= (uintptr_t)inline_get_data(key) ^ (uintptr_t)data;
		wrong |= (uintptr_t)exported_get(key) ^ (uintptr_t)data;
		wrong |= (uintptr_t)exported_get_data(key) ^ (uintptr_t)data;
	}
	return wrong ? 1 : 0;
}
