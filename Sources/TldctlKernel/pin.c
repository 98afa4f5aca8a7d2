// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* pin.c - makes and removes the pins of data maps, as tld_pin.h does for every loader. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "../../include/tld_pin.h"

#include "ctldctl.h"

/* The words are literals: they outlive the pin. */
static int conclude(struct tld_pin *pin, int err, const char *why, const char **said)
{
	*said = err ? why : NULL;
	tld_pin_close(pin);
	return err;
}

int ctldctl_pin_make(int map_fd, const char *path, gid_t gid, mode_t mode, const char **why)
{
	struct tld_pin pin;
	int err = tld_pin_open(&pin, path, TLD_PIN_MAKE);
	const char *words;

	if (!err)
		err = tld_pin_put(&pin, map_fd, gid, mode);
	words = pin.why;
	if (err && pin.made)
		tld_pin_remove_dir(&pin);
	return conclude(&pin, err, words, why);
}

int ctldctl_pin_remove(const char *path, __u32 map_id, const char **why)
{
	struct ctldctl_map map;
	struct tld_pin pin;
	int err = tld_pin_open(&pin, path, TLD_PIN_ANY), fd = err ? err : tld_pin_get(&pin);

	if (fd < 0)
		return conclude(&pin, fd, pin.why, why);
	err = ctldctl_map_describe(fd, &map);
	close(fd);
	if (err || map.id != map_id)
		return conclude(&pin, -ESTALE, "another object was pinned there at this moment", why);
	err = tld_pin_remove(&pin);
	if (!err)
		tld_pin_remove_dir(&pin); /* if nothing else is in it */
	return conclude(&pin, err, NULL, why);
}
