// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * plugin.c - a shared library that defines one TLD. All plugins are this source and
 * thus call their variable the same; only the TLD differs (see plugins.mk).
 */
#include "tld.h"

#ifndef PLUGIN_TLD
#error "PLUGIN_TLD and PLUGIN_SIZE say which TLD the plugin defines"
#endif

tld_key_t plugin_own_key(void);
void *plugin_get_data(int map_fd);

TLD_DEFINE_KEY(shared_variable_name, PLUGIN_TLD, PLUGIN_SIZE);

tld_key_t plugin_own_key(void)
{
	return shared_variable_name;
}

void *plugin_get_data(int map_fd)
{
	return tld_get_data(map_fd, shared_variable_name);
}
