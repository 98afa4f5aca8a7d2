// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * no_uptr.c - what the library says on a kernel that makes data maps without a word and
 * knows no UPTR (before Linux 6.13): the documented error, and works without maps.
 */
#include "maps.h"
#include "tld.h"

TLD_DEFINE_KEY(key, "value", sizeof(int));

static void refuses(const char *format, __u32 value_size)
{
	struct map_shape shape = { BPF_MAP_TYPE_TASK_STORAGE, value_size, 2 };
	int map_fd = map_create(&shape), *value;

	ok(map_fd >= 0, "the kernel makes a data map of format %s", format);
	is(tld_attach(map_fd), -EOPNOTSUPP, "tld_attach() gives EOPNOTSUPP");
	is(tld_detach(map_fd), -ENOENT, "and the map is not attached");
	errno = 0;
	ok(!tld_get_data(map_fd, key), "tld_get_data() gives nothing");
	is(errno, EOPNOTSUPP, "and EOPNOTSUPP");
	ok(!published(map_fd), "nothing is left in the map");
	value = tld_get(key);
	ok(value && !*value, "tld_get() works");
	close(map_fd);
}

int main(void)
{
	libbpf_set_print(NULL);
	refuses("v1", V1_SIZE);
	refuses("v2", V2_SIZE);
	refuses("native", NATIVE_SIZE);
	return tap_done();
}
