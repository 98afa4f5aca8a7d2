# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# The scheduler, for this machine and for guests, one file each: the BPF object is part of it.

SCX_HINT_SOURCES = $(filter-out %.bpf.c,$(wildcard examples/scx_hint/*.c))
SCX_HINT_HEADERS = $(wildcard examples/scx_hint/*.h bpf/*.h) include/tld_pin.h
SCX_HINT_CFLAGS = -std=c11 -D_GNU_SOURCE $(WARN) $(CPPFLAGS) $(CFLAGS) -Iinclude -Iexamples/scx_hint

%/scx_hint.skel.h: %/scx_hint.bpf.o
	$(call say,SKEL)
	$(Q)PATH="$$PATH:/usr/sbin:/sbin" bpftool gen skeleton $< name scx_hint > $@

$(BUILD)/examples/scx_hint.bpf.o: examples/scx_hint/scx_hint.bpf.c $(SCX_HINT_HEADERS) \
		| $(BUILD)/.swift $(BUILD)/.packages-tldctl
	@mkdir -p $(@D)
	$(call say,BPF)
	$(Q)$(BPF_CLANG) $(BPF_CFLAGS) -mcpu=v3 -c $< -o $@

$(BUILD)/examples/scx_hint: $(SCX_HINT_SOURCES) $(SCX_HINT_HEADERS) $(BUILD)/examples/scx_hint.skel.h
	$(call say,CC)
	$(Q)$(CC) $(SCX_HINT_CFLAGS) -I$(@D) $(SCX_HINT_SOURCES) -o $@ $(LIBBPF)

.PHONY: scx_hint
scx_hint: $(BUILD)/examples/scx_hint ## a sched_ext scheduler that follows hints, build/examples/scx_hint

# --- Guests: $(GUEST)/scx_hint-MACHINE-PAGE/scx_hint, and scx_hint_newest with the newest libbpf ---

# The linker would say that --group needs the shared C library: nobody uses it there.
# $(1): machine; $(2): name of the page size
define guest_scx_hint
$(GUEST)/scx_hint-$(1)-$(2)/scx_hint.bpf.o: examples/scx_hint/scx_hint.bpf.c $(SCX_HINT_HEADERS) \
		| $(BUILD)/.swift $(BUILD)/.packages-test
	@mkdir -p $$(@D)
	$$(call say,BPF)
	$(Q)$(BPF_CLANG) $(BPF_CFLAGS) -DTLD_BPF_PAGE_SIZE=$(GUEST_PAGE_$(2)) -mcpu=v3 -c $$< -o $$@

$(GUEST)/scx_hint-$(1)-$(2)/scx_hint $(GUEST)/scx_hint-$(1)-$(2)/scx_hint_newest: $(SCX_HINT_SOURCES) \
		$(SCX_HINT_HEADERS) $(GUEST)/scx_hint-$(1)-$(2)/scx_hint.skel.h | $(GUEST)/static-$(1) $(GUEST)/libbpf-$(1)
	$$(call say,CC)
	$(Q)$$(GUEST_CC_$(1)) $(SCX_HINT_CFLAGS) -isystem $(GUEST)/static-$(1)/usr/include -I$$(@D) \
		$(SCX_HINT_SOURCES) -static -s -o $$@ -Wl,--no-warnings \
		$$(if $$(findstring newest,$$@),$$(GUEST_NEWEST) -L$(GUEST)/libbpf-$(1)/usr/lib/$$(GUEST_TRIPLE_$(1))) \
		-L$(GUEST)/static-$(1)/usr/lib/$$(GUEST_TRIPLE_$(1)) $(LIBBPF)
endef
$(eval $(call guest_scx_hint,x86-64,4k))
$(eval $(call guest_scx_hint,arm64,4k))
$(eval $(call guest_scx_hint,arm64,16k))

# --- Load for it: $(BUILD)/examples/sched_load, $(GUEST)/MACHINE/sched_load ------------

SCHED_LOAD_CFLAGS = -std=c11 -D_GNU_SOURCE $(WARN) $(CPPFLAGS) $(CFLAGS) -Iinclude -Iexamples/scx_hint

$(BUILD)/examples/sched_load: examples/sched_demo/sched_load.c examples/scx_hint/sched_hint.h include/tld.h $(BUILD)/libtld.so
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(SCHED_LOAD_CFLAGS) $< -o $@ -L$(BUILD) -Wl,-rpath,$(abspath $(BUILD)) -ltld -pthread

define guest_sched_load
$(GUEST)/$(1)/sched_load: examples/sched_demo/sched_load.c examples/scx_hint/sched_hint.h include/tld.h \
		$(GUEST)/$(1)/libtld.a
	$$(call say,CC)
	$(Q)$$(GUEST_CC_$(1)) $(SCHED_LOAD_CFLAGS) $$< -static -s -o $$@ $(GUEST)/$(1)/libtld.a -pthread
endef
$(eval $(call guest_sched_load,x86-64))
$(eval $(call guest_sched_load,arm64))

# --- The demonstration -------------------------------------------------------------------

SCHED_DEMO = examples/sched_demo
SCHED_DEMO_GUEST = $(GUEST)/scx_hint-x86-64-4k/scx_hint $(addprefix $(GUEST)/x86-64/,sched_load http http-load)
SCHED_DEMO_HOST = $(addprefix $(BUILD)/examples/,scx_hint sched_load http http-load)
PACKAGES_DEMO_SCHED = $(PACKAGES_TLDCTL) gnuplot-nox python3 xz-utils

$(BUILD)/.packages-demo-sched:
	$(call need_packages,$(PACKAGES_DEMO_SCHED))

$(GUEST)/sched_demo.cpio: $(SCHED_DEMO_GUEST) tests-c/vm/init $(SCHED_DEMO)/guest.sh $(SCHED_DEMO)/regimes.sh
	$(call say,CPIO)
	$(Q)tests-c/vm/initramfs.sh $@ $(GUEST)/static-x86-64/bin/busybox $(GUEST)/static-x86-64/bin/busybox @/ $^

# The newest packaged kernel, or the newest of the series KERNEL=7.2. HOST=1: the running one.
ON_HOST = $(if $(filter command,$(origin HOST)),$(filter 1,$(HOST)))
.PHONY: demo-sched
# Said on the command line: many environments have a HOST that means something else.
demo-sched: $(if $(ON_HOST),$(SCHED_DEMO_HOST),$(GUEST)/sched_demo.cpio) | $(BUILD)/.packages-demo-sched ## what hints gain, in a guest; HOST=1, KERNEL=7.2, SCHED_ROUNDS=5
	@$(SCHED_DEMO)/demo-sched.sh $(if $(ON_HOST),--host $(BUILD)/examples,--guest $(GUEST)/sched_demo.cpio) \
		--output $(BUILD)/sched_demo $(SCHED_ROUNDS:%=--rounds %)
