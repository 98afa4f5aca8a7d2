# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# guests.mk - make test-vm: what runs in the guests of tests-c/kernels/vm, static programs and BPF
# objects, and the initramfs of each flavour, which is a machine and a page size.

GUEST = $(BUILD)/vm
GUEST_SOURCE = tests-c/kernels/vm

.PHONY: test-vm test-vm-verdicts test-vm-list
test-vm: ## packaged kernels under qemu; VM="7.2-arm64-16k ...", FRESH=1, STRICT=1
	@$(TEST_ENV) MAKE="$(MAKE)" $(GUEST_SOURCE)/table.sh $(VM)

test-vm-verdicts: ## what make test-vm says of guests that fail, panic, hang or do not boot
	@$(TEST_ENV) MAKE="$(MAKE)" $(GUEST_SOURCE)/verdicts.sh

test-vm-list: ## what VM= may name
	@$(TEST_ENV) $(GUEST_SOURCE)/guests.sh

# Where figures or promises are judged, the processor is the full one (the last -cpu counts).
# Time that is counted in instructions, whatever else the host does, so that figures are the
# same each time. The filter has a timer that makes qemu switch between the processors each
# 50 us: else one is interrupted by another milliseconds late.
GUEST_COUNTED = -cpu max -icount shift=1,sleep=off -netdev hubport,hubid=0,id=n \
	-object filter-buffer,id=f,netdev=n,interval=50
STRESS_SECONDS ?= 20
STRESS_RESTARTS ?= 20
DOMAINS ?= 2

.PHONY: test-hint-budget test-hint-stress
test-hint-budget: ## what examples/scx_hint promises each class, measured in a guest
	@VM_CPUS=2 VM_OPTIONS="$(GUEST_COUNTED)" VM_PARAMETERS=TLD_PARTS=budget \
		$(TEST_ENV) MAKE="$(MAKE)" $(GUEST_SOURCE)/table.sh newest-x86-64

test-hint-stress: ## it under stress in a guest; STRESS_SECONDS=20, STRESS_RESTARTS=20, DOMAINS=2
	@VM_CPUS=4,sockets=$(DOMAINS) VM_OPTIONS='-cpu max' \
		VM_PARAMETERS="TLD_PARTS=stress TLD_STRESS=$(STRESS_SECONDS),$(DOMAINS),$(STRESS_RESTARTS)" \
		$(TEST_ENV) MAKE="$(MAKE)" $(GUEST_SOURCE)/table.sh newest-x86-64

# --- What differs between machines and pages --------------------------------------

GUEST_CC_x86-64 = $(CC)
# follow_signals uses nothing of its headers on a machine other than x86-64.
GUEST_CC_arm64 = aarch64-linux-gnu-gcc -Wno-unused-function
GUEST_TRIPLE_x86-64 = x86_64-linux-gnu
GUEST_TRIPLE_arm64 = aarch64-linux-gnu
GUEST_DEBIAN_x86-64 = amd64
GUEST_DEBIAN_arm64 = arm64
GUEST_PAGE_4k = 4096
GUEST_PAGE_16k = 16384

# Links to what fetch.sh fetches: $(GUEST)/static-arm64 and so on.
define fetched
	@mkdir -p $(@D)
	@found=$$($(GUEST_SOURCE)/fetch.sh $(1)) || { echo "$$found" >&2; exit 1; }; ln -sfn "$$found" $@
endef

$(GUEST)/static-%:
	$(call fetched,static $(GUEST_DEBIAN_$*))
$(GUEST)/libbpf-%:
	$(call fetched,libbpf $(GUEST_DEBIAN_$*))
$(GUEST)/kernel-source:
	@mkdir -p $(@D)
	@found=$$(tests-c/kernels/kselftest/kernel-source.sh) || { echo "$$found" >&2; exit 1; }; ln -sfn "$$found" $@

# --- The library ---------------------------------------------------------------------

$(GUEST)/x86-64/libtld.a: $(BUILD)/libtld.a
	@mkdir -p $(@D)
	$(Q)ln -sf $(abspath $<) $@

$(GUEST)/arm64/libtld.a: $(SWIFT_SOURCES) $(CTLD_SOURCES) $(CTLD_HEADERS) mk/library.mk
	@mkdir -p $(@D)
	$(Q)$(MAKE) --no-print-directory CROSS=aarch64-linux-gnu CC=aarch64-linux-gnu-gcc BUILD=$(BUILD)/aarch64-linux-gnu \
		$(BUILD)/aarch64-linux-gnu/libtld.a
	$(Q)ln -sf $(abspath $(BUILD)/aarch64-linux-gnu/libtld.a) $@

# --- Test programs: $(GUEST)/MACHINE/NAME --------------------------------------------

# All C tests of tests-c but those that the table of special tests leaves to the host.
GUEST_TESTS = $(filter-out $(call special,host),$(C_TESTS))
GUEST_OWN = traced sched load_all no_uptr
# Of the scheduler in examples/scx_hint, in a directory of their own.
GUEST_HINT = hint hint_stress hint_budget
# Newer packaged libbpfs want a glibc of their own age, but only for names of old functions.
GUEST_NEWEST = $(addprefix -Wl$(,)--defsym=__isoc23_,\
	sscanf=__isoc99_sscanf fscanf=__isoc99_fscanf strtoull=strtoull)
, := ,

# $(1): machine; $(2): folder
define guest_wing
$(GUEST)/$(1)/%.o: $(2)/%.c mk/guests.mk | $(GUEST)/static-$(1) $(BUILD)/.packages-test
	@mkdir -p $$(@D)
	$$(call say,CC)
	$(Q)$$(GUEST_CC_$(1)) $$(TEST_CFLAGS) -DTLD_EMULATED -isystem $(GUEST)/static-$(1)/usr/include -c $$< -o $$@

endef
# hint_stress asks for the processors' caches as the scheduler does.
define guest_machine
$(foreach folder,$(WINGS) $(SUPPORT) $(GUEST_SOURCE) examples/scx_hint,$(call guest_wing,$(1),$(folder)))
$(GUEST)/$(1)/tldctl/%.o: tests-c/tldctl/programs/%.c mk/guests.mk | $(GUEST)/static-$(1) $(BUILD)/.packages-test
	@mkdir -p $$(@D)
	$$(call say,CC)
	$(Q)$$(GUEST_CC_$(1)) $$(TEST_CFLAGS) -DTLD_EMULATED -isystem $(GUEST)/static-$(1)/usr/include -c $$< -o $$@

$(GUEST)/$(1)/hint_stress: $(GUEST)/$(1)/topology.o

$(GUEST)/$(1)/%: $(GUEST)/$(1)/%.o $(TEST_SUPPORT:$(T)/%=$(GUEST)/$(1)/%) $(GUEST)/$(1)/libtld.a
	$$(call say,LINK)
	$(Q)$$(GUEST_CC_$(1)) -static -s $$(filter %.o,$$^) $(GUEST)/$(1)/libtld.a -o $$@ \
		-L$(GUEST)/static-$(1)/usr/lib/$$(GUEST_TRIPLE_$(1)) $(LIBBPF) -pthread

$(GUEST)/$(1)/load_all_newest: $(GUEST)/$(1)/load_all.o | $(GUEST)/libbpf-$(1)
	$$(call say,LINK)
	$(Q)$$(GUEST_CC_$(1)) -static -s $$< -o $$@ $$(GUEST_NEWEST) \
		-L$(GUEST)/libbpf-$(1)/usr/lib/$$(GUEST_TRIPLE_$(1)) \
		-L$(GUEST)/static-$(1)/usr/lib/$$(GUEST_TRIPLE_$(1)) $(LIBBPF)

$(call guest_example,$(1),http,$(HTTP_SOURCES))
$(call guest_example,$(1),http-load,$(HTTP_LOAD_SOURCES))
$(call guest_example,$(1),sched_load,$(SCHED_LOAD_SOURCES))
endef
# $(1): machine; $(2): program; $(3): its sources
define guest_example
$(GUEST)/$(1)/$(2): $(3) $(EXAMPLE_HEADERS) $(GUEST)/$(1)/libtld.a
	$$(call say,CC)
	$(Q)$$(GUEST_CC_$(1)) $(EXAMPLE_CFLAGS) -static -s $(3) $(GUEST)/$(1)/libtld.a -o $$@ -pthread

endef
$(foreach machine,x86-64 arm64,$(eval $(call guest_machine,$(machine))))

# --- BPF objects: $(GUEST)/bpf-PAGE/NAME.bpf.o ----------------------------------------

# The loading matrix at its extremes; make test-load has all of it.
GUEST_CPUS = v1 v4
GUEST_TEST_OBJECTS = $(patsubst $(T)/%,%,$(filter-out $(T)/load%,$(BPF_OBJECTS))) \
	$(foreach source,traced sched,$(source).bpf.o $(source).native.bpf.o)
GUEST_LOAD_OBJECTS = $(foreach cpu,$(GUEST_CPUS),load.$(cpu).bpf.o load.$(cpu).native.bpf.o) \
	traced.bpf.o traced.native.bpf.o
GUEST_BPF = -I$(SUPPORT) -I$(SUPPORT)/bpf -DTLD_EMULATED -DBPF_NO_KFUNC_PROTOTYPES

# $(1): page size; $(2): mcpu; $(3): source; $(4): object; $(5): flags for the header
define guest_object
$(GUEST)/bpf-$(1)/$(4).bpf.o: $(3).bpf.c | $(BUILD)/.swift $(BUILD)/.packages-test
	$$(call bpf_object,$(GUEST_BPF) -DTLD_BPF_PAGE_SIZE=$(1) $(5),$(2))
endef
define guest_objects
$(call guest_object,$(1),$(2),$(3),$(4),)

$(call guest_object,$(1),$(2),$(3),$(4).native,-DNATIVE)

endef

define guest_page
$(foreach cpu,$(GUEST_CPUS),$(call guest_objects,$(1),$(cpu),tests-c/bpf/load/load,load.$(cpu)))
$(foreach folder,$(WINGS) $(SUPPORT)/bpf $(GUEST_SOURCE),$(call guest_objects,$(1),v3,$(folder)/%,%))

$(GUEST)/bpf-$(1)/vmlinux.h: | $(BUILD)/.packages-test
	$$(call bpf_types,| sed 's/\<__PAGE_SIZE = .*/__PAGE_SIZE = $(1)$$(,)/')
endef
$(foreach page,4096 16384,$(eval $(call guest_page,$(page))))

# --- The kernel's selftest: $(GUEST)/selftest-FLAVOUR/user-X-bpf-Y ---------------------

# As tests-c/kernels/kselftest/kselftest.sh has it for this machine: each .c file is compiled
# through a link in a directory without the header that it would else include.
SELFTEST = tests-c/kernels/kselftest
SELFTEST_KERNEL = $(GUEST)/kernel-source/tools/testing/selftests/bpf
GUEST_PAIRINGS = user-kernel-bpf-kernel user-ours-bpf-ours user-ours-bpf-kernel user-kernel-bpf-ours

$(GUEST)/selftest/%.c: | $(GUEST)/kernel-source
	@mkdir -p $(@D)
	$(Q)ln -sfn $(abspath $(SELFTEST_KERNEL))/$(if $(findstring bpf,$*),progs,prog_tests)/test_task_local_data.c $@
$(GUEST)/selftest/include/bpf: | $(GUEST)/kernel-source
	@mkdir -p $(@D)
	$(Q)ln -sfn $(abspath $(GUEST)/kernel-source/tools/lib/bpf) $@

SELFTEST_USER_ours = $(GUEST)/selftest/user.c
SELFTEST_USER_kernel = $(SELFTEST_KERNEL)/prog_tests/test_task_local_data.c
SELFTEST_BPF_ours = $(GUEST)/selftest/bpf.c
SELFTEST_BPF_kernel = $(SELFTEST_KERNEL)/progs/test_task_local_data.c
SELFTEST_INCLUDE_kernel = -I$(GUEST)/selftest/include -idirafter /usr/include/bpf

# $(1): flavour; $(2): machine; $(3): page size; $(4), $(5): whose header
define guest_selftest_bpf
$(GUEST)/selftest-$(1)/bpf-$(4)/test_task_local_data.bpf.o: $(GUEST)/bpf-$(3)/vmlinux.h $(wildcard bpf/*.h) \
		| $(GUEST)/selftest/bpf.c $(GUEST)/selftest/include/bpf
	@mkdir -p $$(@D)
	$$(call say,BPF)
	$(Q)$(BPF_CLANG) -target bpf -g -O2 -mcpu=v3 -std=gnu11 -Wall -DBPF_NO_KFUNC_PROTOTYPES \
		-I$(GUEST)/bpf-$(3) -I$(SELFTEST)/bpf-include $(SELFTEST_INCLUDE_$(4)) \
		$(if $(filter ours,$(4)),-Ibpf) -c $(SELFTEST_BPF_$(4)) -o $$@
$(GUEST)/selftest-$(1)/bpf-$(4)/test_task_local_data.skel.h: $(GUEST)/selftest-$(1)/bpf-$(4)/test_task_local_data.bpf.o
	$$(call bpf_skeleton,test_task_local_data)
endef
define guest_selftest
$(GUEST)/selftest-$(1)/user-$(4)-bpf-$(5): $(GUEST)/selftest-$(1)/bpf-$(5)/test_task_local_data.skel.h \
		$(SELFTEST)/main.c $(SELFTEST)/test_progs.h $(wildcard include/*.h) $(GUEST)/$(2)/libtld.a \
		| $(GUEST)/selftest/user.c $(GUEST)/static-$(2)
	$$(call say,CC)
	$(Q)$$(GUEST_CC_$(2)) -std=gnu11 -O2 -static -s -pthread -I$(SELFTEST) -I$$(<D) \
		$(if $(filter ours,$(4)),-Iinclude) -isystem $(GUEST)/static-$(2)/usr/include \
		$(SELFTEST_USER_$(4)) $(SELFTEST)/main.c $(if $(filter ours,$(4)),$(GUEST)/$(2)/libtld.a) -o $$@ \
		-L$(GUEST)/static-$(2)/usr/lib/$$(GUEST_TRIPLE_$(2)) $(LIBBPF)
endef

# --- A flavour: $(GUEST)/FLAVOUR.cpio ---------------------------------------------------

# Which tests only the newest kernel of each kind runs is told to the guest in /long.
GUEST_SCRIPTS = $(addprefix $(GUEST_SOURCE)/,init guest.sh judge.awk tldctl.sh) $(GUEST)/long
$(GUEST)/long: tests-c/special
	@mkdir -p $(@D)
	@printf '%s\n' $(call special,newest) >$@

# The tool, a program for it to look at, and, under the names that it asks for, the libraries
# that it needs of the system. It is built for this machine only.
GUEST_TLDCTL = $(GUEST)/tldctl/publisher $(GUEST)/tldctl/tldctl
$(GUEST)/tldctl/publisher: $(GUEST)/x86-64/tldctl/publisher
	@mkdir -p $(@D)
	@cp $< $@
$(GUEST)/tldctl/tldctl: $(BUILD)/tldctl/tldctl
	@mkdir -p $(@D)
	@cp -L $$(ldd $< | grep -o '/[^ ]*') $(@D)
	@cp $< $@
guest_tldctl = $(if $(filter x86-64,$(1)),$(GUEST_TLDCTL))
guest_files = $(patsubst %,$(GUEST)/$(1)/%,$(GUEST_TESTS) $(GUEST_OWN) load_all_newest) \
	$(patsubst %,$(GUEST)/bpf-$(2)/%,$(GUEST_TEST_OBJECTS))
# $(1): machine; $(2): name of the page size
guest_hint_files = $(addprefix $(GUEST)/scx_hint-$(1)-$(2)/,scx_hint scx_hint_newest) \
	$(patsubst %,$(GUEST)/$(1)/%,$(GUEST_HINT))

# $(1): machine; $(2): name of the page size
define guest_flavour
$(foreach side,ours kernel,$(call guest_selftest_bpf,$(1)-$(2),$(1),$(GUEST_PAGE_$(2)),$(side))

$(foreach user,ours kernel,$(call guest_selftest,$(1)-$(2),$(1),$(GUEST_PAGE_$(2)),$(user),$(side))

))

$(GUEST)/$(1)-$(2).cpio: $(GUEST_SCRIPTS) $(call guest_files,$(1),$(GUEST_PAGE_$(2))) \
		$(GUEST_LOAD_OBJECTS:%=$(GUEST)/bpf-$(GUEST_PAGE_$(2))/%) \
		$(GUEST_PAIRINGS:%=$(GUEST)/selftest-$(1)-$(2)/%) $(call guest_hint_files,$(1),$(2)) $(call guest_tldctl,$(1)) \
		mk/guests.mk $(GUEST_SOURCE)/initramfs.sh \
		$(GUEST)/static-$(1) $(GUEST)/static-x86-64
	$$(call say,CPIO)
	$(Q)$(GUEST_SOURCE)/initramfs.sh $$@ $(GUEST)/static-x86-64/bin/busybox $(GUEST)/static-$(1)/bin/busybox \
		@/ $(GUEST_SCRIPTS) \
		@/tests $(call guest_files,$(1),$(GUEST_PAGE_$(2))) \
		@/load $(GUEST_LOAD_OBJECTS:%=$(GUEST)/bpf-$(GUEST_PAGE_$(2))/%) \
		@/selftest $(GUEST_PAIRINGS:%=$(GUEST)/selftest-$(1)-$(2)/%) \
		@/hint $(call guest_hint_files,$(1),$(2)) \
		$(if $(call guest_tldctl,$(1)),@/tldctl $(GUEST)/tldctl/*)
endef
$(eval $(call guest_flavour,x86-64,4k))
$(eval $(call guest_flavour,arm64,4k))
$(eval $(call guest_flavour,arm64,16k))

# --- The scheduler: $(GUEST)/scx_hint-MACHINE-PAGE/scx_hint, scx_hint_newest with the newest libbpf ---

# The linker would say that --group needs the shared C library: nobody uses it there.
# $(1): machine; $(2): name of the page size
define guest_scx_hint
$(GUEST)/scx_hint-$(1)-$(2)/scx_hint.bpf.o: examples/scx_hint/scx_hint.bpf.c | $(BUILD)/.swift $(BUILD)/.packages-test
	$$(call bpf_object,-DTLD_BPF_PAGE_SIZE=$(GUEST_PAGE_$(2)))

$(GUEST)/scx_hint-$(1)-$(2)/scx_hint.skel.h: $(GUEST)/scx_hint-$(1)-$(2)/scx_hint.bpf.o
	$$(call bpf_skeleton,scx_hint)

$(GUEST)/scx_hint-$(1)-$(2)/scx_hint $(GUEST)/scx_hint-$(1)-$(2)/scx_hint_newest: $(SCX_HINT_SOURCES) \
		$(EXAMPLE_HEADERS) $(GUEST)/scx_hint-$(1)-$(2)/scx_hint.skel.h | $(GUEST)/static-$(1) $(GUEST)/libbpf-$(1)
	$$(call say,CC)
	$(Q)$$(GUEST_CC_$(1)) $(EXAMPLE_CFLAGS) -isystem $(GUEST)/static-$(1)/usr/include -I$$(@D) \
		$(SCX_HINT_SOURCES) -static -s -o $$@ -Wl,--no-warnings \
		$$(if $$(findstring newest,$$@),$$(GUEST_NEWEST) -L$(GUEST)/libbpf-$(1)/usr/lib/$$(GUEST_TRIPLE_$(1))) \
		-L$(GUEST)/static-$(1)/usr/lib/$$(GUEST_TRIPLE_$(1)) $(LIBBPF)
endef
$(eval $(call guest_scx_hint,x86-64,4k))
$(eval $(call guest_scx_hint,arm64,4k))
$(eval $(call guest_scx_hint,arm64,16k))

# --- What the demonstration of the scheduler boots ---------------------------------------

SCHED_DEMO_GUEST = $(GUEST)/scx_hint-x86-64-4k/scx_hint $(addprefix $(GUEST)/x86-64/,sched_load http http-load)
$(GUEST)/sched_demo.cpio: $(SCHED_DEMO_GUEST) $(GUEST_SOURCE)/init examples/sched_demo/guest.sh examples/sched_demo/regimes.sh
	$(call say,CPIO)
	$(Q)$(GUEST_SOURCE)/initramfs.sh $@ $(GUEST)/static-x86-64/bin/busybox $(GUEST)/static-x86-64/bin/busybox @/ $^

-include $(call dependencies,$(GUEST)/*/*.d $(GUEST)/*/*/*.d)
