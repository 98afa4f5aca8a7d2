# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# bpf.mk - what of the C tests the general rules do not build. Included by the
# Makefile, which makes tests-c/NAME.c into $(T)/NAME.

# late_load brings the library in by dlopen().
$(T)/late_load: TEST_LIBS = $(LIBBPF) -pthread
