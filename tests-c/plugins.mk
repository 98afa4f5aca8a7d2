# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# plugins.mk - the shared libraries that faults_plugins loads, from one source.
# Included by the Makefile, which sets BUILD and CC; PLUGINS is what to build
# before faults_plugins runs.

PLUGIN_alpha = -DPLUGIN_TLD='"alpha"' -DPLUGIN_SIZE=8
PLUGIN_beta = -DPLUGIN_TLD='"beta"' -DPLUGIN_SIZE=16
PLUGIN_alpha_again = -DPLUGIN_TLD='"alpha"' -DPLUGIN_SIZE=8
PLUGIN_alpha_larger = -DPLUGIN_TLD='"alpha"' -DPLUGIN_SIZE=16
PLUGIN_late = -DPLUGIN_TLD='"late"' -DPLUGIN_SIZE=2000

PLUGINS = $(patsubst %,$(T)/plugins/%.so,alpha beta alpha_again alpha_larger late)

$(PLUGINS): $(T)/plugins/%.so: tests-c/plugins/plugin.c include/tld.h $(BUILD)/libtld.so
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -std=c11 -g -O2 -Wall -Wextra -Werror -fPIC -shared $(PLUGIN_$*) -Iinclude $< -o $@ \
		-L$(BUILD) -Wl,-rpath,$(abspath $(BUILD)) -ltld
