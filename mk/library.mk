# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# library.mk - libtld.so and libtld.a, and how all is installed.

# make CROSS=aarch64-linux-gnu: the library for another machine, see docs/maintaining/porting.md. Embedded
# Swift comes for that one without a system: the C library is the cross compiler's.
ifdef CROSS
ifneq ($(CROSS),aarch64-linux-gnu)
$(error CROSS=$(CROSS): of other machines libtld is built for aarch64-linux-gnu only, see docs/maintaining/porting.md)
endif
CROSS_DEBIAN = arm64
CROSS_INCLUDE = $(shell $(CC) -E -include unistd.h - </dev/null 2>/dev/null | sed -n 's|.*"\(/.*\)/unistd\.h".*|\1|p' | head -n 1)
SWIFT_MACHINE = -target aarch64-none-none-elf -Xcc -D__linux__ -Xcc -isystem -Xcc $(CROSS_INCLUDE)
endif

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

.PHONY: install uninstall

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
