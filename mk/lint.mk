# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# lint.mk - make lint: what tools find in scripts. shellcheck is Debian's, ruff is PyPI's.

RUFF = 0.17.6
SHELL_SCRIPTS = $(shell git ls-files | xargs grep -lE '^\#!/bin/(ba)?sh|^\# shellcheck shell' 2>/dev/null)

$(BUILD)/.packages-lint:
	$(call need_packages,git python3-venv shellcheck)
$(BUILD)/lint/bin/ruff: | $(BUILD)/.packages-lint
	@python3 -m venv $(BUILD)/lint && $(BUILD)/lint/bin/pip install -q ruff==$(RUFF)

.PHONY: lint
lint: $(BUILD)/lint/bin/ruff ## shellcheck and ruff over all scripts
	@shellcheck -S warning $(SHELL_SCRIPTS)
	@$(BUILD)/lint/bin/ruff check -q $(shell git ls-files '*.py')
