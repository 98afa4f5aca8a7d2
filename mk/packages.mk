# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# packages.mk - the build folder, and what must be installed.

# Debian's packages, in one place: to build, for examples, for tests.
PACKAGES_BUILD = $(if $(CROSS),gcc-$(CROSS) libc6-dev-$(CROSS_DEBIAN)-cross,gcc libc6-dev binutils)
PACKAGES_DEMO = $(PACKAGES_BUILD) libbpf-dev libelf-dev pkg-config
PACKAGES_TLDCTL = $(PACKAGES_DEMO) g++ bpftool
PACKAGES_TEST = $(PACKAGES_TLDCTL) clang-14 clang-16 clang-19 gcc-bpf gcc-aarch64-linux-gnu \
	libc6-dev-arm64-cross fish gdb gnuplot-nox jq librsvg2-bin man-db patch perl python3 python3-jsonschema spin strace tmux \
	valgrind xz-utils zsh

# --- Where it is built ------------------------------------------------------

# What lies in the build folder is run, by root too (sudo make demo), and make itself reads the
# dependencies that compilers wrote there. So the folder is checked before anything is read from it.
# make clean, help and uninstall read nothing.
READS_BUILD = $(filter-out clean help uninstall,$(or $(MAKECMDGOALS),all))
ifneq ($(READS_BUILD),)
TRUSTED := $(shell mkdir -p $(BUILD) && sh mk/trusted.sh $(BUILD) . && echo yes)
ifneq ($(TRUSTED),yes)
$(error $(or $(TRUSTED),$(BUILD) cannot be made): what is built there could be replaced. Remove that folder, or name another one by BUILD=)
endif
endif
# Files that compilers wrote; $(1): patterns.
dependencies = $(if $(READS_BUILD),$(wildcard $(1)))

# --- What must be installed -------------------------------------------------

# Installs the missing ones of the packages $(1), or says how. One at a time: apt locks others out.
define need_packages
@exec 9>$(BUILD)/.apt; flock 9; \
if command -v dpkg-query >/dev/null; then \
	missing=$$(for package in $(1); do \
		dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q ' installed$$' || echo $$package; \
	done | tr '\n' ' '); \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ]; then sudo=; \
		elif sudo -n true 2>/dev/null; then sudo=sudo; \
		else echo "Packages are missing. Run: sudo apt-get install $$missing" >&2; exit 1; fi; \
		echo "installing $$missing"; \
		install="$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing"; \
		$$install >$(BUILD)/apt.log 2>&1 || \
		{ $$sudo apt-get update -q >$(BUILD)/apt.log 2>&1 && $$install >>$(BUILD)/apt.log 2>&1; } || \
		{ tail -n 5 $(BUILD)/apt.log >&2; echo "apt-get install $$missing failed" >&2; exit 1; }; \
	fi; \
fi; touch $@
endef

$(BUILD)/.packages-build:
	$(call need_packages,$(PACKAGES_BUILD))
$(BUILD)/.packages-demo:
	$(call need_packages,$(PACKAGES_DEMO))
$(BUILD)/.packages-tldctl:
	$(call need_packages,$(PACKAGES_TLDCTL))
$(BUILD)/.packages-test:
	$(call need_packages,$(PACKAGES_TEST))

$(BUILD)/.swift:
	@version=$$($(SWIFTC) --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\)\.\([0-9]*\).*/\1 \2/p'); \
	set -- $$version; \
	if [ $$# = 2 ] && [ $$(($$1 * 1000 + $$2)) -ge 6002 ]; then touch $@; \
	else echo "libtld is built with Swift 6.2 or newer, found $${1:-none}$${2:+.$$2}: get it from https://www.swift.org/install/linux and put swiftc into PATH, or run make SWIFTC=/path/to/swiftc" >&2; exit 1; fi
