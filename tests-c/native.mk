# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# native.mk - the tests' BPF programs once more, with the native header: X.native.bpf.o
# of X.bpf.c, which finds its way by either.bpf.h. Included by the Makefile, which
# defines BPF_CLANG, BPF_CFLAGS and how X.bpf.o is made.

NATIVE = value bpf_lookup bpf_first_look churn exec_watch exec_watch_busy hostile_pages \
	selftest_mirror soak tld_at_page_end
BPF_OBJECTS += $(NATIVE:%=$(T)/%.native.bpf.o)

$(T)/%.native.bpf.o: tests-c/%.bpf.c | $(BUILD)/.swift $(BUILD)/.packages-test
	@mkdir -p $(@D)
	$(call say,BPF)
	$(Q)$(BPF_CLANG) $(BPF_CFLAGS) -DNATIVE -Itests-c -MMD -MP -mcpu=v3 -c $< -o $@
