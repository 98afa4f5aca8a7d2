# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# bench.mk - make bench: builds the programs of tests-c/bench and lets bench.py run them. The
# kernel's headers are compiled where kernel-source.sh has them, never copied.

BENCH = $(BUILD)/bench
BENCH_PROGRAMS = paths first threads look sharing startup
BENCH_OBJECTS = $(patsubst tests-c/bench/%.bpf.c,$(BENCH)/%.bpf.o,$(wildcard tests-c/bench/*.bpf.c)) \
	$(BENCH)/look_dropin.bpf.o $(BENCH)/look_kernel.bpf.o
# Loops of a nanosecond depend on where they lie: all begin at a cache line.
BENCH_CFLAGS = -std=gnu11 -D_GNU_SOURCE -O2 -falign-functions=64 -falign-loops=64 $(WARN) -MMD -MP \
	-I$(SUPPORT) -I$(SUPPORT)/bpf -Iinclude
BENCH_KERNEL = $(BENCH)/kernel/tools
BENCH_SELFTESTS = $(BENCH_KERNEL)/testing/selftests/bpf

# What startup starts: the same program, linked with this and that.
BENCH_NOTHINGS = $(patsubst %,$(BENCH)/nothing%,_plain _linked _floor _archive)
BENCH_LINK_plain =
BENCH_LINK_linked = -Wl,--no-as-needed -L$(BUILD) -Wl,-rpath,$(abspath $(BUILD)) -ltld
BENCH_LINK_floor = -Wl,--no-as-needed -L$(BENCH) -Wl,-rpath,$(abspath $(BENCH)) -lempty
BENCH_LINK_archive = -Wl,--whole-archive $(BUILD)/libtld.a -Wl,--no-whole-archive -pthread

ROUNDS ?= 7

.PHONY: bench
bench: bench-programs ## what it all costs beside its peers, in a minute (root); ROUNDS=7, ONLY=words, JSON=1
	@$(TEST_ENV) tests-c/bench/bench.py --build $(BUILD) --rounds $(ROUNDS) $(if $(ONLY),--only "$(ONLY)") \
		$(if $(JSON),--json)

.PHONY: bench-programs
bench-programs: all $(BENCH_PROGRAMS:%=$(BENCH)/%) $(BENCH_OBJECTS) $(BENCH_NOTHINGS)

-include $(call dependencies,$(BENCH)/*.d)

# Where the kernel source is, and a link to it. Without one, why; a directory has that as a C
# string, and the rows that need the source say so. Changes only when that does.
$(BENCH)/kernel-source: FORCE | $(BUILD)/.packages-test
	@mkdir -p $(BENCH)
	@found=yes; \
	if [ -n "$(KSRC)" ]; then source=$$(cd "$(KSRC)" 2>/dev/null && pwd) || { found=; source="KSRC=$(KSRC) is no directory"; }; \
	else source=$$(tests-c/kernels/kselftest/kernel-source.sh) || found=; fi; \
	! echo "$$source" | cmp -s - $@ || exit 0; \
	rm -rf $(BENCH)/kernel; \
	if [ "$$found" ]; then ln -s "$$source" $(BENCH)/kernel; \
	else mkdir $(BENCH)/kernel && echo "\"no kernel source: $$source\"" >$(BENCH)/kernel/peer_reason.h; fi; \
	echo "$$source" >$@

$(BENCH)/vmlinux.h: | $(BUILD)/.packages-test
	$(call bpf_types)

BENCH_PEER = $(BENCH)/peer.o $(BENCH)/peer_loop.o

$(BENCH_PEER): $(BENCH)/%.o: tests-c/bench/%.c $(BENCH)/kernel-source
	$(call say,CC)
	$(Q)$(CC) $(filter-out -Iinclude,$(BENCH_CFLAGS)) -Wno-unused-function -I$(BENCH)/kernel \
		-I$(BENCH_SELFTESTS)/prog_tests -c $< -o $@

$(BENCH)/%.o: tests-c/bench/%.c | $(BUILD)/.packages-test
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(BENCH_CFLAGS) -c $< -o $@

$(BENCH)/%: $(BENCH)/%.o $(BENCH_PEER) $(BUILD)/libtld.so $(BENCH)/libempty.so
	$(call say,LINK)
	$(Q)$(CC) $< $(BENCH_PEER) -o $@ $(TEST_TLD) $(TEST_LIBS) -Wl,--as-needed -L$(BENCH) -Wl,-rpath,$(abspath $(BENCH)) -lempty

BENCH_BPF = $(BPF_CLANG) $(filter-out -Ibpf,$(BPF_CFLAGS)) -MMD -MP -mcpu=v3 -DBPF_NO_KFUNC_PROTOTYPES \
	-I$(BENCH)

$(BENCH)/%.bpf.o: tests-c/bench/%.bpf.c $(BENCH)/vmlinux.h | $(BUILD)/.swift
	$(call say,BPF)
	$(Q)$(BENCH_BPF) -Ibpf -c $< -o $@

$(BENCH)/look_dropin.bpf.o: tests-c/bench/look_two_maps.c $(BENCH)/vmlinux.h | $(BUILD)/.swift
	$(call say,BPF)
	$(Q)$(BENCH_BPF) -Ibpf -c $< -o $@

# The kernel's header wants its own tree's bpf_helpers.h, of whose neighbours one is
# generated: the system's has to do. What a clang would split off as cold, libbpf cannot
# place. Without a kernel source the object is empty.
$(BENCH)/look_kernel.bpf.o: tests-c/bench/look_two_maps.c $(BENCH)/vmlinux.h $(BENCH)/kernel-source \
		| $(BUILD)/.swift
	$(call say,BPF)
	$(Q)mkdir -p $(BENCH)/kernel-libbpf && ln -sfn ../kernel/tools/lib/bpf $(BENCH)/kernel-libbpf/bpf
	$(Q)whole="-Xclang -fno-split-cold-code"; $(BPF_CLANG) $$whole -fsyntax-only -xc /dev/null 2>/dev/null || whole=; \
	if [ -L $(BENCH)/kernel ]; then \
		$(BENCH_BPF) -I$(BENCH_SELFTESTS)/progs -I$(BENCH)/kernel-libbpf -Itests-c/kernels/kselftest/bpf-include \
			-Wno-sign-compare $$whole \
			-idirafter $$(pkg-config --variable=includedir libbpf)/bpf -c $< -o $@; \
	else : >$@; fi

$(BENCH)/libempty.so: tests-c/bench/nothing.c
	@mkdir -p $(@D)
	$(Q)$(CC) -O2 -DEMPTY -fPIC -shared -Wl,-soname,libempty.so $< -o $@

$(BENCH_NOTHINGS): $(BENCH)/nothing_%: tests-c/bench/nothing.c $(BUILD)/libtld.so $(BUILD)/libtld.a $(BENCH)/libempty.so
	$(call say,CC)
	$(Q)$(CC) -O2 $< -o $@ $(BENCH_LINK_$*)
