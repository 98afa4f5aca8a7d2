# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# examples.mk - the demonstrations, the HTTP server and the scheduler, for this machine. Guests
# compile the same sources: guests.mk.

EXAMPLES = $(BUILD)/examples
EXAMPLE_CFLAGS = -std=c11 -D_GNU_SOURCE $(WARN) $(CPPFLAGS) $(CFLAGS) -Iinclude -Iexamples/scx_hint
EXAMPLE_TLD = -L$(BUILD) -Wl,-rpath,$(abspath $(BUILD)) -ltld -pthread

ONCPU_SOURCES = $(filter-out %.bpf.c,$(wildcard examples/oncpu/*.c))
DISPATCHER_SOURCES = $(filter-out %.bpf.c,$(wildcard examples/dispatcher/*.c))
HTTP_SOURCES = $(addprefix examples/http/,server.c request.c options.c)
HTTP_LOAD_SOURCES = examples/http/load.c
SCX_HINT_SOURCES = $(filter-out %.bpf.c,$(wildcard examples/scx_hint/*.c))
SCHED_LOAD_SOURCES = examples/sched_demo/sched_load.c
EXAMPLE_HEADERS = $(wildcard examples/*/*.h include/*.h)

# Those that have a BPF object, which their .c file takes in.
$(EXAMPLES)/oncpu.bpf.o: examples/oncpu/oncpu.bpf.c
$(EXAMPLES)/dispatcher.bpf.o: examples/dispatcher/dispatcher.bpf.c
$(EXAMPLES)/scx_hint.bpf.o: examples/scx_hint/scx_hint.bpf.c
$(EXAMPLES)/%.bpf.o: | $(BUILD)/.swift $(BUILD)/.packages-demo
	$(call bpf_object)

$(EXAMPLES)/scx_hint.skel.h: $(EXAMPLES)/scx_hint.bpf.o | $(BUILD)/.packages-tldctl
	$(call bpf_skeleton,scx_hint)

# $(1): the program; $(2): its sources; $(3): what else it is made of; $(4): flags
define example
$(EXAMPLES)/$(1): $(2) $(3) $(EXAMPLE_HEADERS) | $(BUILD)/.packages-build
	@mkdir -p $$(@D)
	$$(call say,CC)
	$$(Q)$$(CC) $$(EXAMPLE_CFLAGS) $(2) -o $$@ $(4)
endef
example_bpf = $(EXAMPLES)/$(1).bpf.o $(BUILD)/libtld.so
example_bpf_flags = -Wpedantic -D$(2)_BPF_OBJECT='"$(EXAMPLES)/$(1).bpf.o"' $(EXAMPLE_TLD) $(LIBBPF)
$(eval $(call example,oncpu,$(ONCPU_SOURCES),$(call example_bpf,oncpu),$(call example_bpf_flags,oncpu,ONCPU)))
$(eval $(call example,dispatcher,$(DISPATCHER_SOURCES),$(call example_bpf,dispatcher),$(call example_bpf_flags,dispatcher,DISPATCHER)))
$(eval $(call example,http,$(HTTP_SOURCES),$(BUILD)/libtld.so,-Wpedantic $(EXAMPLE_TLD)))
$(eval $(call example,http-load,$(HTTP_LOAD_SOURCES),,-Wpedantic -pthread))
$(eval $(call example,scx_hint,$(SCX_HINT_SOURCES),$(EXAMPLES)/scx_hint.skel.h,-I$(EXAMPLES) $(LIBBPF)))
$(eval $(call example,sched_load,$(SCHED_LOAD_SOURCES),$(BUILD)/libtld.so,$(EXAMPLE_TLD)))

-include $(call dependencies,$(EXAMPLES)/*.d)

# --- What a person runs -------------------------------------------------------------------

.PHONY: demo
demo: $(EXAMPLES)/oncpu ## on-CPU time by kind of request, live, for DURATION (5) seconds (root)
	@$< $(DURATION:%=--duration %)

.PHONY: demo-dispatcher
demo-dispatcher: $(EXAMPLES)/dispatcher ## a thread tags its workers, BPF sees it in time (root)
	@$<

.PHONY: scx_hint
scx_hint: $(EXAMPLES)/scx_hint ## a sched_ext scheduler that follows hints, build/examples/scx_hint

SCHED_DEMO = examples/sched_demo
SCHED_DEMO_HOST = $(addprefix $(EXAMPLES)/,scx_hint sched_load http http-load)
PACKAGES_DEMO_SCHED = $(PACKAGES_TLDCTL) gnuplot-nox python3 xz-utils

$(BUILD)/.packages-demo-sched:
	$(call need_packages,$(PACKAGES_DEMO_SCHED))

# The newest packaged kernel, or the newest of the series KERNEL=7.2. HOST=1: the running one, if
# that is said on the command line: many environments have a HOST that means something else.
ON_HOST = $(if $(filter command,$(origin HOST)),$(filter 1,$(HOST)))
.PHONY: demo-sched
demo-sched: $(if $(ON_HOST),$(SCHED_DEMO_HOST),$(BUILD)/vm/sched_demo.cpio) | $(BUILD)/.packages-demo-sched ## what hints gain, in a guest; HOST=1, KERNEL=7.2, SCHED_ROUNDS=5
	@$(SCHED_DEMO)/demo-sched.sh $(if $(ON_HOST),--host $(EXAMPLES),--guest $(BUILD)/vm/sched_demo.cpio) \
		--output $(BUILD)/sched_demo $(SCHED_ROUNDS:%=--rounds %)
