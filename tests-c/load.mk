# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# load.mk - the loading matrix, load.c. Included by the Makefile, which defines BUILD,
# BPF_CLANG and BPF_CFLAGS (the include paths for BPF sources) and how tests-c/NAME.c
# becomes $(T)/NAME.

LOAD_CLANGS = $(BPF_CLANG) clang-14 clang-16 clang-19

$(T)/load_variants/variants: tests-c/load.sh tests-c/libbpf_headers.sh tests-c/load.h tests-c/load.bpf.h \
		$(wildcard tests-c/load*.bpf.c) tests-c/bpf_kernel.h tests-c/either.bpf.h $(wildcard bpf/*.h) \
		| $(BUILD)/.swift $(BUILD)/.packages-test
	$(call say,BPF)
	$(Q)tests-c/load.sh $(@D) "$(BPF_CFLAGS)" $(LOAD_CLANGS)

$(T)/load: $(T)/load_variants/variants

# These are compiled by load.sh alone: each needs to be told what it is to be.
BPF_OBJECTS := $(filter-out $(T)/load.bpf.o $(T)/load_%.bpf.o,$(BPF_OBJECTS))

.PHONY: test-load
test-load: $(T)/load ## both BPF headers in every kind of program, by every compiler: a table (root)
	@$(TEST_ENV) $(T)/load >$(T)/load.tap; status=$$?; \
	grep -A 3 '^not ok' $(T)/load.tap; sed -n 's/.*# SKIP /skipped: /p; s/^# | //p' $(T)/load.tap; \
	exit $$status
