# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# Everything a person runs: see `make help`.

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

# make CROSS=aarch64-linux-gnu: the library for another machine, see docs/porting.md. Embedded
# Swift comes for that one without a system: the C library is the cross compiler's.
ifdef CROSS
ifneq ($(CROSS),aarch64-linux-gnu)
$(error CROSS=$(CROSS): of other machines libtld is built for aarch64-linux-gnu only, see docs/porting.md)
endif
CROSS_DEBIAN = arm64
CROSS_INCLUDE = $(shell $(CC) -E -include unistd.h - </dev/null 2>/dev/null | sed -n 's|.*"\(/.*\)/unistd\.h".*|\1|p' | head -n 1)
SWIFT_MACHINE = -target aarch64-none-none-elf -Xcc -D__linux__ -Xcc -isystem -Xcc $(CROSS_INCLUDE)
endif
SWIFTC ?= swiftc
# The clang that compiles BPF: the Swift toolchain's, which is there anyway.
BPF_CLANG ?= $(firstword $(wildcard $(dir $(shell command -v $(SWIFTC)))clang) clang)

# Debian's packages, in one place: to build, for examples, for tests.
PACKAGES_BUILD = $(if $(CROSS),gcc-$(CROSS) libc6-dev-$(CROSS_DEBIAN)-cross,gcc libc6-dev binutils)
PACKAGES_DEMO = $(PACKAGES_BUILD) libbpf-dev libelf-dev pkg-config
PACKAGES_TLDCTL = $(PACKAGES_DEMO) g++ bpftool
PACKAGES_TEST = $(PACKAGES_TLDCTL) clang-14 clang-16 clang-19 gcc-bpf gcc-aarch64-linux-gnu \
	libc6-dev-arm64-cross fish gnuplot-nox jq librsvg2-bin man-db patch perl python3 python3-jsonschema spin tmux \
	valgrind xz-utils zsh

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
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | sort | expand -t 12
	@echo 'Variables: CROSS PREFIX DESTDIR LIBDIR INCLUDEDIR BPFINCLUDEDIR BINDIR DATADIR TLDCTL BUILD CC CXX SWIFTC BPF_CLANG CFLAGS'

# --- Where it is built ------------------------------------------------------

# What lies in the build folder is run, by root too: sudo make demo. Judged before anything there is
# believed, and again when it was made.
TRUSTED = mk/trusted.sh $(BUILD) .
NOT_TRUSTED := $(if $(filter clean,$(MAKECMDGOALS)),,$(shell [ ! -e $(BUILD) ] || $(TRUSTED)))
ifneq ($(NOT_TRUSTED),)
$(error $(NOT_TRUSTED): what is built here could be replaced. Remove it, or name another folder by BUILD=)
endif

# --- What must be installed -------------------------------------------------

# Installs the missing ones of the packages $(1), or says how. One at a time: apt locks others out.
define need_packages
@mkdir -p $(BUILD) && $(TRUSTED) || exit 1; exec 9>$(BUILD)/.apt; flock 9; \
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
	@mkdir -p $(BUILD) && $(TRUSTED) || exit 1; \
	version=$$($(SWIFTC) --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\)\.\([0-9]*\).*/\1 \2/p'); \
	set -- $$version; \
	if [ $$# = 2 ] && [ $$(($$1 * 1000 + $$2)) -ge 6002 ]; then touch $@; \
	else echo "libtld is built with Swift 6.2 or newer, found $${1:-none}$${2:+.$$2}: get it from https://www.swift.org/install/linux and put swiftc into PATH, or run make SWIFTC=/path/to/swiftc" >&2; exit 1; fi

# --- The library ------------------------------------------------------------

SWIFT_SOURCES = $(sort $(wildcard Sources/TLDWire/*.swift Sources/TLD/*.swift))
CTLD = Sources/CTLD/include
CTLD_HEADERS = $(wildcard Sources/CTLD/*.h $(CTLD)/*) include/tld.h
CTLD_SOURCES = $(wildcard Sources/CTLD/*.c)
LIBRARY_OBJECTS = $(CTLD_SOURCES:Sources/CTLD/%.c=$(BUILD)/ctld/%.o) $(BUILD)/TLD.o
EXPORTS := $(shell sed -n 's/^\t\t\(tld_[a-z_]*\);/\1/p' Sources/CTLD/libtld.map)
# Each function in its own section, so that the linker drops what nobody calls of
# Embedded Swift's runtime.
SWIFTFLAGS = $(SWIFT_MACHINE) -enable-experimental-feature Embedded -wmo -parse-as-library -O -no-allocations \
	-swift-version 6 -module-name TLD -Xfrontend -function-sections -Xcc -fPIC -I$(CTLD)

$(BUILD)/TLD.o: $(SWIFT_SOURCES) $(CTLD_HEADERS) | $(BUILD)/.swift $(BUILD)/.packages-build
	$(call say,SWIFTC)
	$(Q)$(SWIFTC) $(SWIFTFLAGS) -c $(SWIFT_SOURCES) -o $@

$(BUILD)/ctld/%.o: Sources/CTLD/%.c $(CTLD_HEADERS) | $(BUILD)/.packages-build
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -std=c11 $(WARN) $(CPPFLAGS) $(CFLAGS) -fPIC -fvisibility=hidden -ffunction-sections \
		-I$(CTLD) -c $< -o $@

# nodelete: a destructor of a pthread key that outlives dlclose() crashes at thread exit.
$(BUILD)/libtld.so.1: $(LIBRARY_OBJECTS) Sources/CTLD/libtld.map
	$(call say,LINK)
	$(Q)$(CC) -shared $(LDFLAGS) -Wl,-soname,libtld.so.1 -Wl,--version-script=Sources/CTLD/libtld.map \
		-Wl,-z,nodelete,-z,relro,-z,now,-z,noexecstack,-z,defs -Wl,--gc-sections \
		$(LIBRARY_OBJECTS) -o $@

$(BUILD)/libtld.so: $(BUILD)/libtld.so.1
	$(Q)ln -sf libtld.so.1 $@

# One object in which everything but the exports is local.
$(BUILD)/libtld.a: $(LIBRARY_OBJECTS) Sources/CTLD/libtld.map
	$(call say,AR)
	$(Q)$(LD) -r --gc-sections $(EXPORTS:%=-u %) $(LIBRARY_OBJECTS) -o $(BUILD)/libtld.o
	$(Q)$(OBJCOPY) $(EXPORTS:%=--keep-global-symbol=%) $(BUILD)/libtld.o
	$(Q)$(OBJCOPY) --strip-unneeded $(BUILD)/libtld.o
	$(Q)rm -f $@
	$(Q)$(AR) rcsD $@ $(BUILD)/libtld.o

$(BUILD)/tld.pc: pkgconfig/tld.pc.in include/tld.h FORCE
	@mkdir -p $(BUILD)
	@sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' \
		-e 's|@BPFINCLUDEDIR@|$(BPFINCLUDEDIR)|' -e 's|@VERSION@|$(VERSION)|' $< > $@

.PHONY: FORCE install uninstall
FORCE:

HEADERS = tld.h task_local_data.h tld_pin.h
BPF_HEADERS = tld.bpf.h task_local_data.bpf.h tld_page.bpf.h

install: all $(BUILD)/tld.pc ## into PREFIX (/usr/local), below DESTDIR; TLDCTL=no leaves the tool out
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(INCLUDEDIR) $(DESTDIR)$(BPFINCLUDEDIR)
	install -m 755 $(BUILD)/libtld.so.1 $(DESTDIR)$(LIBDIR)/libtld.so.1
	ln -sf libtld.so.1 $(DESTDIR)$(LIBDIR)/libtld.so
	install -m 644 $(BUILD)/libtld.a $(DESTDIR)$(LIBDIR)/libtld.a
	install -m 644 $(BUILD)/tld.pc $(DESTDIR)$(LIBDIR)/pkgconfig/tld.pc
	install -m 644 $(HEADERS:%=include/%) $(DESTDIR)$(INCLUDEDIR)
	install -m 644 $(BPF_HEADERS:%=bpf/%) $(DESTDIR)$(BPFINCLUDEDIR)
	$(if $(TLDCTL_INSTALLED),@$(MAKE) --no-print-directory install-tldctl)
	@if [ -z "$(DESTDIR)$(CROSS)" ] && [ "$$(id -u)" = 0 ]; then ldconfig; fi

uninstall: ## what install put there
	rm -f $(addprefix $(DESTDIR)$(LIBDIR)/,libtld.so.1 libtld.so libtld.a pkgconfig/tld.pc) \
		$(addprefix $(DESTDIR)$(INCLUDEDIR)/,$(HEADERS)) \
		$(addprefix $(DESTDIR)$(BPFINCLUDEDIR)/,$(BPF_HEADERS)) $(TLDCTL_FILES:%=$(DESTDIR)%)
	-@rmdir -p --ignore-fail-on-non-empty $(DESTDIR)$(BPFINCLUDEDIR) $(DESTDIR)$(LIBDIR)/pkgconfig 2>/dev/null

# --- The demonstration -------------------------------------------------------

# What clang cannot print.
MULTIARCH := $(or $(shell $(CC) -print-multiarch 2>/dev/null),$(shell uname -m)-linux-gnu)
# The target's own headers (asm/types.h) lie where the compiler for this machine has them.
BPF_CFLAGS = -target bpf -g -O2 -Wall -Wextra -Wno-unused-parameter -I/usr/include/$(MULTIARCH) -Ibpf
ONCPU_SOURCES = $(filter-out %.bpf.c,$(wildcard examples/oncpu/*.c))

$(BUILD)/examples/oncpu.bpf.o: examples/oncpu/oncpu.bpf.c $(wildcard examples/oncpu/*.h bpf/*.h) \
		| $(BUILD)/.swift $(BUILD)/.packages-demo
	@mkdir -p $(@D)
	$(call say,BPF)
	$(Q)$(BPF_CLANG) $(BPF_CFLAGS) -mcpu=v3 -c $< -o $@

$(BUILD)/examples/oncpu: $(ONCPU_SOURCES) $(wildcard examples/oncpu/*.h) $(BUILD)/examples/oncpu.bpf.o \
		include/tld.h $(BUILD)/libtld.so
	$(call say,CC)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE $(WARN) -Wpedantic $(CPPFLAGS) $(CFLAGS) -Iinclude \
		-DONCPU_BPF_OBJECT='"$(BUILD)/examples/oncpu.bpf.o"' $(ONCPU_SOURCES) -o $@ \
		-L$(BUILD) -Wl,-rpath,$(abspath $(BUILD)) -ltld $(LIBBPF) -pthread

.PHONY: demo
demo: $(BUILD)/examples/oncpu ## on-CPU time by kind of request, live, for DURATION (5) seconds (root)
	@$(BUILD)/examples/oncpu $(DURATION:%=--duration %)

DISPATCHER_SOURCES = $(filter-out %.bpf.c,$(wildcard examples/dispatcher/*.c))

$(BUILD)/examples/dispatcher.bpf.o: examples/dispatcher/dispatcher.bpf.c \
		$(wildcard examples/dispatcher/*.h bpf/*.h) | $(BUILD)/.swift $(BUILD)/.packages-demo
	@mkdir -p $(@D)
	$(call say,BPF)
	$(Q)$(BPF_CLANG) $(BPF_CFLAGS) -mcpu=v3 -c $< -o $@

$(BUILD)/examples/dispatcher: $(DISPATCHER_SOURCES) $(wildcard examples/dispatcher/*.h) \
		$(BUILD)/examples/dispatcher.bpf.o include/tld.h $(BUILD)/libtld.so
	$(call say,CC)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE $(WARN) -Wpedantic $(CPPFLAGS) $(CFLAGS) -Iinclude \
		-DDISPATCHER_BPF_OBJECT='"$(BUILD)/examples/dispatcher.bpf.o"' $(DISPATCHER_SOURCES) -o $@ \
		-L$(BUILD) -Wl,-rpath,$(abspath $(BUILD)) -ltld $(LIBBPF) -pthread

.PHONY: demo-dispatcher
demo-dispatcher: $(BUILD)/examples/dispatcher ## a thread tags its workers, BPF sees it in time (root)
	@$(BUILD)/examples/dispatcher

HTTP_SOURCES = $(addprefix examples/http/,server.c request.c options.c)
HTTP_HEADERS = $(wildcard examples/http/*.h) examples/scx_hint/sched_hint.h include/tld.h
HTTP_CFLAGS = -std=c11 -D_GNU_SOURCE $(WARN) -Wpedantic $(CPPFLAGS) $(CFLAGS) -Iinclude

$(BUILD)/examples/http: $(HTTP_SOURCES) $(HTTP_HEADERS) $(BUILD)/libtld.so
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(HTTP_CFLAGS) $(HTTP_SOURCES) -o $@ -L$(BUILD) -Wl,-rpath,$(abspath $(BUILD)) -ltld -pthread

$(BUILD)/examples/http-load: examples/http/load.c | $(BUILD)/.packages-build
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(HTTP_CFLAGS) $< -o $@ -pthread

# --- Tests -------------------------------------------------------------------

T = $(BUILD)/tests-c
TEST_SUPPORT = reader
C_TESTS := $(filter-out $(TEST_SUPPORT),$(patsubst tests-c/%.c,%,$(filter-out %.bpf.c,$(wildcard tests-c/*.c))))
BPF_OBJECTS := $(patsubst tests-c/%.bpf.c,$(T)/%.bpf.o,$(wildcard tests-c/*.bpf.c))
TEST_CFLAGS = -std=c11 -D_GNU_SOURCE -g -O2 $(WARN) $(SANITIZE) -MMD -MP -Iinclude -Itests-c
TEST_LIBS = -L$(BUILD) -Wl,-rpath,$(abspath $(BUILD)) -ltld $(LIBBPF) -pthread

-include $(wildcard tests-c/*.mk $(T)/*.d)
include Sources/tldctl/tldctl.mk
include examples/scx_hint/scx_hint.mk

$(T)/%.bpf.o: tests-c/%.bpf.c | $(BUILD)/.swift $(BUILD)/.packages-test
	@mkdir -p $(@D)
	$(call say,BPF)
	$(Q)$(BPF_CLANG) $(BPF_CFLAGS) -Itests-c -MMD -MP -mcpu=v3 -c $< -o $@

$(T)/%.o: tests-c/%.c | $(BUILD)/.packages-test
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(TEST_CFLAGS) -c $< -o $@

$(T)/%: $(T)/%.o $(TEST_SUPPORT:%=$(T)/%.o) $(BUILD)/libtld.so
	$(call say,LINK)
	$(Q)$(CC) $(SANITIZE) $< $(TEST_SUPPORT:%=$(T)/%.o) -o $@ $(TEST_LIBS)

# What the tests run, each a command that prints TAP. Scripts take SRC, BUILD and the
# compilers from the environment. Those that mostly compile, or compute, run beside the others,
# and so do those that use tldctl, which wait a lot; not beside each other, because some see what
# others load.
SCRIPTS = readme docs demo dispatcher costs page_size trusted
BESIDE = $(T)/load $(patsubst %,tests-c/%.sh,library cross headers install model units) \
	$(patsubst %,tests-c/%.py,sched_demo)
TLDCTL_TESTS = $(patsubst %,tests-c/%.py,tldctl tldctl_readme tldctl_record tldctl_texts tldctl_watch) tests-c/http.sh \
	$(patsubst %,$(T)/tldctl/%_checks,record set)
TESTS = $(filter-out $(T)/load,$(C_TESTS:%=$(T)/%)) $(SCRIPTS:%=tests-c/%.sh) tests-c/python_ctypes.py \
	"tests-c/kselftest/kselftest.sh --tap" -- $(BESIDE) -- $(TLDCTL_TESTS)
TEST_ENV = SRC=$(CURDIR) BUILD=$(abspath $(BUILD)) CC="$(CC)" CXX="$(CXX)" CLANG="$(BPF_CLANG)" \
	BPF_CLANG="$(BPF_CLANG)" SWIFTC="$(SWIFTC)" STRICT=$(STRICT) KSRC=$(KSRC)

.PHONY: test-programs
test-programs: all $(C_TESTS:%=$(T)/%) $(BPF_OBJECTS) $(PLUGINS) $(BUILD)/examples/oncpu $(BUILD)/examples/dispatcher \
	$(addprefix $(BUILD)/examples/,http http-load scx_hint sched_load) tldctl tldctl-programs

# The tests themselves are no jobs of a make that counts them.
.PHONY: test
test: ## all tests; STRICT=1: a kernel that cannot run them fails
	@$(MAKE) --no-print-directory --jobs=$(shell nproc) test-programs
	@$(TEST_ENV) tests-c/harness.pl $(TESTS)

.PHONY: kselftest
kselftest: $(BUILD)/libtld.so | $(BUILD)/.packages-test ## the kernel's own selftest; KSRC=tree, CASE=name
	@$(TEST_ENV) tests-c/kselftest/kselftest.sh $(CASE)

# The callers with the address and undefined behaviour sanitizers, but for programs that
# bring a malloc of their own, limit the address space, or fork without handlers beside
# threads that may hold the sanitizer's own locks; the units with the thread sanitizer; one program under valgrind, which knows no pidfd_open(2); and one under DRD.
SANITIZED = $(filter-out allocator hostile_limits follow_thread,$(C_TESTS))
.PHONY: sanitize sanitized-tests
sanitize: $(T)/keys | $(BUILD)/.packages-test ## the tests under sanitizers and valgrind
	@$(MAKE) --no-print-directory T=$(BUILD)/sanitize SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=all" \
		sanitized-tests

sanitized-tests: all $(SANITIZED:%=$(T)/%) $(BPF_OBJECTS) $(PLUGINS)
	@$(TEST_ENV) tests-c/harness.pl $(SANITIZED:%=$(T)/%) \
		"tests-c/units.sh --sanitize=thread --scratch-path .build-tsan" \
		"valgrind -q --error-exitcode=9 --leak-check=full --trace-children=yes $(BUILD)/tests-c/keys" \
		tests-c/drd.sh

# Everything at once for SOAK_S seconds, then longer forms of other tests, each for a
# thirtieth of that. All take --soak SECONDS.
SOAK_S ?= 1800
SOAKERS = race_create churn attach_many attach_ids refs forks hostile_pages hostile_self \
	follow_restart profiler
.PHONY: soak
soak: test-programs ## 200,000 threads, forks, maps that come and go: SOAK_S seconds (1800)
	@$(T)/soak --soak $(SOAK_S)
	@$(TEST_ENV) tests-c/harness.pl $(SOAKERS:%="$(T)/% --soak $(shell expr $(SOAK_S) / 30)")

.PHONY: clean
clean: ## remove what was built
	rm -rf $(BUILD) .build .build-tsan
