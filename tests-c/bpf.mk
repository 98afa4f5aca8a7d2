# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# bpf.mk - what of the C tests the general rules do not build. Included by the
# Makefile, which defines BUILD, BPF_CLANG and BPF_CFLAGS (the include paths for
# BPF sources) and makes tests-c/NAME.c into $(T)/NAME.

# bpf_header loads one source compiled by every clang at hand, in many ways.
BPF_TEST_CLANGS = $(BPF_CLANG) clang-14 clang-16 clang-19

$(T)/bpf_header_variants/variants: tests-c/bpf_header.sh tests-c/bpf_header.bpf.c \
		tests-c/bpf_header.h tests-c/bpf_kernel.h bpf/task_local_data.bpf.h \
		| $(BUILD)/.swift $(BUILD)/.packages-test
	$(call say,BPF)
	$(Q)sh tests-c/bpf_header.sh $(@D) "$(BPF_CFLAGS)" $(BPF_TEST_CLANGS)

$(T)/bpf_header: $(T)/bpf_header_variants/variants

# late_load brings the library in by dlopen().
$(T)/late_load: TEST_LIBS = $(LIBBPF) -pthread
