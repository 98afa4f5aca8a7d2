# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# Everything a person runs: see `make help`. The rules are in mk/, a file a subject. A variable is
# set in one of these files only.

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
BPFINCLUDEDIR ?= $(INCLUDEDIR)/tld/bpf
BINDIR ?= $(PREFIX)/bin
DATADIR ?= $(PREFIX)/share
BUILD ?= build$(CROSS:%=/%)

CC = $(CROSS:%=%-)gcc
CXX = $(CROSS:%=%-)g++
LD = $(CROSS:%=%-)ld
AR = $(CROSS:%=%-)ar
OBJCOPY = $(CROSS:%=%-)objcopy
SWIFTC ?= swiftc
# The clang that compiles BPF: the Swift toolchain's, which is there anyway.
BPF_CLANG ?= $(firstword $(wildcard $(dir $(shell command -v $(SWIFTC)))clang) clang)

VERSION := $(shell sed -n 's/.define TLD_VERSION_\(MAJOR\|MINOR\) //p' include/tld.h | paste -sd.).0
CFLAGS ?= -O2
CPPFLAGS ?=
LDFLAGS ?=
WARN = -Wall -Wextra -Werror
LIBBPF = -lbpf -lelf -lz

# make V=1 shows the commands themselves.
Q = $(if $(V),,@)
say = $(if $(V),,@printf '  %-6s %s\n' $(1) $@)

.DELETE_ON_ERROR:
.SUFFIXES:
# Intermediate files are worth keeping: nothing is compiled twice.
.SECONDARY:

.PHONY: all
all: $(BUILD)/libtld.so $(BUILD)/libtld.a ## the library, shared and static

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | sort | expand -t 20
	@echo 'Variables: CROSS PREFIX DESTDIR LIBDIR INCLUDEDIR BPFINCLUDEDIR BINDIR DATADIR TLDCTL BUILD CC CXX SWIFTC BPF_CLANG CFLAGS'

.PHONY: FORCE clean
FORCE:
clean: ## remove what was built
	rm -rf $(BUILD) .build .build-tsan

include mk/packages.mk
include mk/library.mk
include mk/bpf.mk
include mk/tldctl.mk
include mk/examples.mk
include mk/tests.mk
include mk/guests.mk
include mk/bench.mk
include mk/lint.mk
