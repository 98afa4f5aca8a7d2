# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# bpf.mk - how BPF objects and their skeletons are made, whoever needs them.

# What clang cannot print.
MULTIARCH := $(or $(shell $(CC) -print-multiarch 2>/dev/null),$(shell uname -m)-linux-gnu)
# The target's own headers (asm/types.h) lie where the compiler for this machine has them.
BPF_CFLAGS = -target bpf -g -O2 -Wall -Wextra -Wno-unused-parameter -I/usr/include/$(MULTIARCH) -Ibpf

# The recipe of an object: $(1): more flags; $(2): -mcpu, if not v3.
define bpf_object
@mkdir -p $(@D)
$(call say,BPF)
$(Q)$(BPF_CLANG) $(BPF_CFLAGS) $(1) -MMD -MP -mcpu=$(or $(2),v3) -c $< -o $@
endef

# The recipe of an object's skeleton: $(1): its name in C.
define bpf_skeleton
$(call say,SKEL)
$(Q)PATH="$$PATH:/usr/sbin:/sbin" bpftool gen skeleton $< name $(1) > $@
endef

# The recipe of the running kernel's types.
define bpf_types
@mkdir -p $(@D)
$(Q)PATH="$$PATH:/usr/sbin:/sbin" bpftool btf dump file /sys/kernel/btf/vmlinux format c $(1) >$@
endef
