# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# tldctl, the tool: BPF objects, their skeletons, and the Swift package with TLDCTL set,
# whose only dependency is swift-argument-parser. The library needs nothing of this.

# make install TLDCTL=no leaves the tool out; it is built for this machine only.
TLDCTL ?= $(if $(CROSS),no,yes)
TLDCTL_INSTALLED = $(filter-out no,$(TLDCTL))

TLDCTL_BUILD = $(BUILD)/tldctl
TLDCTL_BPF = $(wildcard Sources/TldctlKernel/bpf/*.bpf.c)
TLDCTL_SKELETONS = $(TLDCTL_BPF:Sources/TldctlKernel/bpf/%.bpf.c=$(TLDCTL_BUILD)/%.skel.h)
TLDCTL_SOURCES = Package.swift $(wildcard Sources/tldctl/*/*.swift Sources/TldctlModel/*/*.swift Sources/TLDWire/*.swift \
	Sources/TldctlKernel/*.[ch] Sources/TldctlKernel/include/* Sources/TldctlRecord/*.c Sources/TldctlRecord/include/*)
TLDCTL_INCLUDE = -ISources/TldctlKernel/include -ISources/TldctlRecord/include

# swift(1) is beside the compiler.
SWIFT ?= $(or $(wildcard $(dir $(realpath $(shell command -v $(SWIFTC))))swift),swift)

$(TLDCTL_BUILD)/%.bpf.o: Sources/TldctlKernel/bpf/%.bpf.c | $(BUILD)/.swift $(BUILD)/.packages-tldctl
	$(call bpf_object,$(TLDCTL_INCLUDE))

$(TLDCTL_BUILD)/%.skel.h: $(TLDCTL_BUILD)/%.bpf.o
	$(call bpf_skeleton,$*_bpf)

-include $(call dependencies,$(TLDCTL_BUILD)/*.d)

# The Swift runtime goes in, and libstdc++ and libgcc, which it wants, go in as well, so
# that the one file needs of the system only libc, libbpf, libelf and zlib. The linker
# takes the first libstdc++ on its way: a directory in which there is only the static one.
$(TLDCTL_BUILD)/static/libstdc++.a: | $(BUILD)/.packages-tldctl
	@mkdir -p $(@D)
	$(Q)ln -sf "$$($(CC) -print-file-name=libstdc++.a)" $@

SWIFT_BUILD = env -u CC -u CXX TLDCTL=1 $(SWIFT) build -c release --product tldctl \
	--scratch-path $(TLDCTL_BUILD)/swift --static-swift-stdlib \
	-Xcc -I$(abspath $(TLDCTL_BUILD)) -Xcc -DTLDCTL_VERSION='"$(VERSION)"' \
	-Xlinker -L$(abspath $(TLDCTL_BUILD))/static -Xlinker --gc-sections -Xlinker -s \
	-Xswiftc -Xclang-linker -Xswiftc -static-libgcc

$(TLDCTL_BUILD)/tldctl: $(TLDCTL_SOURCES) $(TLDCTL_SKELETONS) include/tld.h include/tld_pin.h $(TLDCTL_BUILD)/static/libstdc++.a
	$(call say,SWIFT)
	$(Q)$(SWIFT_BUILD) $(if $(V),,--quiet)
	$(Q)cp -f $(TLDCTL_BUILD)/swift/release/tldctl $@

$(BUILD)/bin/tldctl: $(TLDCTL_BUILD)/tldctl
	@mkdir -p $(@D)
	@ln -sf ../tldctl/tldctl $@
	@touch -h $@

.PHONY: tldctl
tldctl: $(BUILD)/bin/tldctl ## the command line tool, build/bin/tldctl

# --- Installing ------------------------------------------------------------------

TLDCTL_COMPLETIONS = $(patsubst %,$(TLDCTL_BUILD)/tldctl.%,bash zsh fish)
$(TLDCTL_COMPLETIONS): $(TLDCTL_BUILD)/tldctl.%: $(TLDCTL_BUILD)/tldctl
	$(Q)$< completions $* > $@

TLDCTL_BASH = $(DATADIR)/bash-completion/completions/tldctl
TLDCTL_ZSH = $(DATADIR)/zsh/site-functions/_tldctl
TLDCTL_FISH = $(DATADIR)/fish/vendor_completions.d/tldctl.fish
TLDCTL_MAN = $(DATADIR)/man/man8/tldctl.8
TLDCTL_FILES = $(BINDIR)/tldctl $(TLDCTL_BASH) $(TLDCTL_ZSH) $(TLDCTL_FISH) $(TLDCTL_MAN)

.PHONY: install-tldctl
install-tldctl: $(TLDCTL_BUILD)/tldctl $(TLDCTL_COMPLETIONS)
	install -d $(sort $(dir $(TLDCTL_FILES:%=$(DESTDIR)%)))
	install -m 755 $< $(DESTDIR)$(BINDIR)/tldctl
	install -m 644 $(TLDCTL_BUILD)/tldctl.bash $(DESTDIR)$(TLDCTL_BASH)
	install -m 644 $(TLDCTL_BUILD)/tldctl.zsh $(DESTDIR)$(TLDCTL_ZSH)
	install -m 644 $(TLDCTL_BUILD)/tldctl.fish $(DESTDIR)$(TLDCTL_FISH)
	install -m 644 docs/reference/tldctl.8 $(DESTDIR)$(TLDCTL_MAN)

# --- Its tests: the tool's own C in situations that cannot be had from outside; programs to look at --

TLDCTL_CHECKS = $(patsubst tests-c/tldctl/%.c,$(BUILD)/tests-c/tldctl/%,$(wildcard tests-c/tldctl/*_checks.c))
$(BUILD)/tests-c/tldctl/%_checks: tests-c/tldctl/%_checks.c $(wildcard Sources/TldctlKernel/*.[ch] Sources/TldctlKernel/include/*.h Sources/TldctlRecord/include/*.h) \
		$(TLDCTL_SKELETONS) include/tld_pin.h $(wildcard tests-c/support/*.h)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -std=gnu11 -g -O2 $(WARN) -Itests-c/support -Itests-c/support/bpf $(TLDCTL_INCLUDE) -I$(TLDCTL_BUILD) \
		-DTLDCTL_VERSION='"$(VERSION)"' $< $(wildcard Sources/TldctlKernel/*.c) -o $@ $(LIBBPF) -pthread

# kernel_header.c is compiled by the test, which knows where the kernel's source is.
TLDCTL_PROGRAMS = $(TLDCTL_CHECKS) $(BUILD)/tests-c/tldctl/busy.so $(patsubst tests-c/tldctl/programs/%.c,$(BUILD)/tests-c/tldctl/%,\
	$(filter-out %/kernel_header.c %/busy.c,$(wildcard tests-c/tldctl/programs/*.c)))

$(BUILD)/tests-c/tldctl/%: tests-c/tldctl/programs/%.c $(wildcard tests-c/support/*.h) include/tld.h $(BUILD)/libtld.so \
		| $(BUILD)/.packages-test
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -g -O2 $(WARN) -Iinclude -Itests-c/support -Itests-c/support/bpf $< -o $@ \
		-L$(BUILD) -Wl,-rpath,$(abspath $(BUILD)) -ltld $(LIBBPF) -pthread

$(BUILD)/tests-c/tldctl/%.so: tests-c/tldctl/programs/%.c | $(BUILD)/.packages-test
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -g -O2 $(WARN) -fPIC -shared $< -o $@

.PHONY: test-many-threads
test-many-threads: tldctl tldctl-programs ## tldctl on a process with 100,000 threads (4 GB, half a minute)
	@$(TEST_ENV) tests-c/tldctl/tldctl_many.py

.PHONY: tldctl-programs
tldctl-programs: $(TLDCTL_PROGRAMS)
