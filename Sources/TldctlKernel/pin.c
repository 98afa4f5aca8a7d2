// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* pin.c - makes and removes the pins of data maps, as tld_pin.h does for every loader. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "../../include/tld_pin.h"

#include "ctldctl.h"

/* What went wrong, for Swift: the pin itself is gone by then. */
static int conclude(struct tld_pin *pin, int err, const char **why)
{
	*why = err ? pin->why : NULL;
	tld_pin_close(pin);
	return err;
}

int ctldctl_pin_make(int map_fd, const char *path, gid_t gid, mode_t mode, const char **why)
{
	struct tld_pin pin;
	int err = tld_pin_open(&pin, path, TLD_PIN_MAKE);

	if (err)
		return conclude(&pin, err, why);
	err = tld_pin_put(&pin, map_fd);
	if (!err) {
		err = tld_pin_give(&pin, gid, mode);
		if (err)
			tld_pin_remove(&pin);
	}
	if (err)
		tld_pin_remove_dir(&pin); /* unless it is in use */
	return conclude(&pin, err, why);
}

int ctldctl_pin_remove(const char *path, __u32 map_id, const char **why)
{
	struct ctldctl_map map;
	struct tld_pin pin;
	int err = tld_pin_open(&pin, path, TLD_PIN_ANY), fd = -1;

	if (!err)
		fd = tld_pin_get(&pin);
	if (err || fd < 0)
		return conclude(&pin, err ? err : fd, why);
	if (ctldctl_map_describe(fd, &map) || map.id != map_id)
		err = -ESTALE; /* replaced since the caller looked */
	close(fd);
	if (!err)
		err = tld_pin_remove(&pin);
	if (!err)
		tld_pin_remove_dir(&pin);
	return conclude(&pin, err, why);
}
