// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* pin_first.c - the loaders' header, before and after the other. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "tld_pin.h"
#include "tld.h"
#include "tld_pin.h"
#include "units.h"

int check_pin(void)
{
	struct tld_pin pin;
	int err = tld_pin_open(&pin, "no/map", TLD_PIN_MAKE);

	tld_pin_close(&pin);
	return err == -EINVAL && !!strstr(tld_pin_error(&pin, err), "begin with /");
}
