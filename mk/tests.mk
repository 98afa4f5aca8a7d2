# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# tests.mk - the tests on this machine: what is built, in which order it runs. Each folder of
# tests-c is a wing, and so is examples/X/test: a C file there is a program that prints TAP, and
# so is a script. tests-c/special says which are not ordinary.

T = $(BUILD)/tests-c
SUPPORT = tests-c/support
RUN = $(SUPPORT)/run
WINGS = $(addprefix tests-c/,api follow lifetime bpf bpf/load fault hostile stress package) $(wildcard examples/*/test)

in_wings = $(wildcard $(WINGS:%=%/$(1)))
C_TESTS := $(sort $(basename $(notdir $(filter-out %.bpf.c,$(call in_wings,*.c)))))
SCRIPT_TESTS := $(filter-out tests-c/bpf/load/load.sh %/ask.py,$(call in_wings,*.sh) $(call in_wings,*.py) \
	$(wildcard tests-c/tldctl/tldctl*.py))

# What tests-c/special says, as WORD:NAME; and the names with a word.
SPECIAL := $(shell awk -F'\t' '!/^\#/ { n = split($$2, words, " "); for (i = 1; i <= n; i++) print words[i] ":" $$1 }' \
	tests-c/special)
special = $(patsubst $(1):%,%,$(filter $(1):%,$(SPECIAL)))

# --- Programs --------------------------------------------------------------------------------

TEST_CFLAGS = -std=c11 -D_GNU_SOURCE -g -O2 $(WARN) $(SANITIZE) -MMD -MP -Iinclude -I$(SUPPORT) -I$(SUPPORT)/bpf \
	-Iexamples/scx_hint
TEST_TLD = -L$(BUILD) -Wl,-rpath,$(abspath $(BUILD)) -ltld
TEST_LIBS = $(LIBBPF) -pthread
TEST_SUPPORT = $(T)/reader.o

define wing_rules
$(T)/%.o: $(1)/%.c | $(BUILD)/.packages-test
	@mkdir -p $$(@D)
	$$(call say,CC)
	$$(Q)$$(CC) $$(TEST_CFLAGS) -c $$< -o $$@

$(T)/%.bpf.o: $(1)/%.bpf.c | $(BUILD)/.swift $(BUILD)/.packages-test
	$$(call bpf_object,-I$(SUPPORT) -I$(SUPPORT)/bpf)

$(T)/%.native.bpf.o: $(1)/%.bpf.c | $(BUILD)/.swift $(BUILD)/.packages-test
	$$(call bpf_object,-DNATIVE -I$(SUPPORT) -I$(SUPPORT)/bpf)
endef
$(foreach wing,$(WINGS) $(SUPPORT) $(SUPPORT)/bpf,$(eval $(call wing_rules,$(wing))))

# late_load brings the library in by dlopen().
$(T)/%: $(T)/%.o $(TEST_SUPPORT) $(BUILD)/libtld.so
	$(call say,LINK)
	$(Q)$(CC) $(SANITIZE) $< $(TEST_SUPPORT) -o $@ $(if $(filter late_load,$*),,$(TEST_TLD)) $(TEST_LIBS)

# BPF objects; those that are also built with the native header find their way by either.bpf.h.
# load.sh compiles those of bpf/load: each needs to be told what it is to be.
BPF_SOURCES := $(filter-out tests-c/bpf/load/%,$(call in_wings,*.bpf.c)) $(wildcard $(SUPPORT)/bpf/*.bpf.c)
NATIVE = value bpf_lookup bpf_first_look churn exec_watch exec_watch_busy hostile_pages selftest_mirror soak \
	tld_at_page_end
BPF_OBJECTS := $(patsubst %.bpf.c,$(T)/%.bpf.o,$(notdir $(BPF_SOURCES))) $(NATIVE:%=$(T)/%.native.bpf.o)

# The shared libraries that faults_plugins loads, from one source.
PLUGIN_alpha = -DPLUGIN_TLD='"alpha"' -DPLUGIN_SIZE=8
PLUGIN_beta = -DPLUGIN_TLD='"beta"' -DPLUGIN_SIZE=16
PLUGIN_alpha_again = $(PLUGIN_alpha)
PLUGIN_alpha_larger = -DPLUGIN_TLD='"alpha"' -DPLUGIN_SIZE=16
PLUGIN_late = -DPLUGIN_TLD='"late"' -DPLUGIN_SIZE=2000
PLUGINS = $(patsubst %,$(T)/plugins/%.so,alpha beta alpha_again alpha_larger late)

$(PLUGINS): $(T)/plugins/%.so: tests-c/fault/plugins/plugin.c include/tld.h $(BUILD)/libtld.so
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -std=c11 -g -O2 $(WARN) -fPIC -shared $(PLUGIN_$*) -Iinclude $< -o $@ $(TEST_TLD)

# The loading matrix.
LOAD_CLANGS = $(BPF_CLANG) clang-14 clang-16 clang-19
$(T)/load_variants/variants: $(RUN)/libbpf_headers.sh $(wildcard tests-c/bpf/load/*) $(SUPPORT)/bpf/bpf_kernel.h \
		$(SUPPORT)/bpf/either.bpf.h $(wildcard bpf/*.h) | $(BUILD)/.swift $(BUILD)/.packages-test
	$(call say,BPF)
	$(Q)tests-c/bpf/load/load.sh $(@D) "$(BPF_CFLAGS) -I$(SUPPORT)/bpf" $(LOAD_CLANGS)
$(T)/load: $(T)/load_variants/variants

-include $(call dependencies,$(T)/*.d)

.PHONY: test-programs
test-programs: all $(C_TESTS:%=$(T)/%) $(BPF_OBJECTS) $(PLUGINS) $(addprefix $(EXAMPLES)/,oncpu dispatcher http http-load \
	scx_hint sched_load) tldctl tldctl-programs

# --- Running -----------------------------------------------------------------------------------

# Each test is a command that prints TAP. Scripts take SRC, BUILD and the compilers from the
# environment. Three lists run beside each other: what is on the second and the third must not
# care about what others load.
TESTS := $(C_TESTS:%=$(T)/%) $(SCRIPT_TESTS) $(TLDCTL_CHECKS)
named = $(foreach test,$(TESTS),$(if $(filter $(1),$(basename $(notdir $(test)))),$(test)))
TESTS_BESIDE := $(call named,$(call special,beside))
TESTS_WAITING := $(call named,$(call special,waits))
TESTS_ALONE := $(filter-out $(TESTS_BESIDE) $(TESTS_WAITING) $(call named,$(call special,manual)),$(TESTS))
TEST_ENV = SRC=$(CURDIR) BUILD=$(abspath $(BUILD)) CC="$(CC)" CXX="$(CXX)" CLANG="$(BPF_CLANG)" \
	BPF_CLANG="$(BPF_CLANG)" SWIFTC="$(SWIFTC)" STRICT=$(STRICT) KSRC=$(KSRC)
HARNESS = $(TEST_ENV) $(RUN)/harness.pl

# The tests themselves are no jobs of a make that counts them.
.PHONY: test
test: ## all tests; STRICT=1: a kernel that cannot run them fails
	@$(MAKE) --no-print-directory --jobs=$(shell nproc) test-programs
	@$(HARNESS) $(TESTS_ALONE) "tests-c/kernels/kselftest/kselftest.sh --tap" -- $(TESTS_BESIDE) -- $(TESTS_WAITING)

# What a person runs between two edits.
CHECKS = keys keys_static attach attach_refused follow forks refs refs_refused bpf_lookup hostile interop pins sched_hint
CHECK_SCRIPTS = $(addprefix tests-c/package/,library.sh docs.sh trusted.sh)
.PHONY: check
check: all $(CHECKS:%=$(T)/%) $(BPF_OBJECTS) ## the tests between two edits, in less than a minute
	@$(HARNESS) $(CHECKS:%=$(T)/%) -- $(CHECK_SCRIPTS)

.PHONY: kselftest
kselftest: $(BUILD)/libtld.so | $(BUILD)/.packages-test ## the kernel's own selftest; KSRC=tree, CASE=name
	@$(TEST_ENV) tests-c/kernels/kselftest/kselftest.sh $(CASE)

.PHONY: test-load
test-load: $(T)/load ## both BPF headers in every kind of program, by every compiler: a table (root)
	@$(TEST_ENV) $(T)/load >$(T)/load.tap; status=$$?; \
	grep -A 3 '^not ok' $(T)/load.tap; sed -n 's/.*# SKIP /skipped: /p; s/^# | //p' $(T)/load.tap; \
	exit $$status

# The C tests with the address and undefined behaviour sanitizers; the units with the thread
# sanitizer; one program under valgrind, which knows no pidfd_open(2); and one under DRD.
SANITIZED = $(filter-out $(call special,unsanitized),$(C_TESTS))
.PHONY: sanitize sanitized-tests
sanitize: $(T)/keys | $(BUILD)/.packages-test ## the tests under sanitizers and valgrind
	@$(MAKE) --no-print-directory T=$(BUILD)/sanitize SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=all" \
		sanitized-tests

sanitized-tests: all $(SANITIZED:%=$(T)/%) $(BPF_OBJECTS) $(PLUGINS)
	@$(HARNESS) $(SANITIZED:%=$(T)/%) \
		"tests-c/package/units.sh --sanitize=thread --scratch-path .build-tsan" \
		"valgrind -q --error-exitcode=9 --leak-check=full --trace-children=yes $(BUILD)/tests-c/keys" \
		tests-c/package/drd.sh

# Everything at once for SOAK_S seconds, then longer forms of other tests, each for a thirtieth
# of that.
SOAK_S ?= 1800
.PHONY: soak
soak: test-programs ## 200,000 threads, forks, maps that come and go: SOAK_S seconds (1800)
	@$(T)/soak --soak $(SOAK_S)
	@$(HARNESS) $(patsubst %,"$(T)/% --soak $(shell expr $(SOAK_S) / 30)",$(call special,soak))
