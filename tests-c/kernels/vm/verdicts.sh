#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# verdicts.sh - table.sh's verdicts, each provoked once in a guest, as TAP: what makes it red,
# what is tried again, and what is shown of it.

# shellcheck source-path=SCRIPTDIR source=../../support/run/script.sh
. "$(dirname "$0")/../../support/run/script.sh"
own_directory

kernel=newest
# Runs a guest. Sets status, and row to its line of the table.
boot() { # variable=value...
	env STRICT= FRESH= VM_OPTIONS= VM_RESULTS="$tmp/results" VM_PARAMETERS=TLD_PARTS=none "$@" "$SRC/tests-c/kernels/vm/table.sh" "$kernel-x86-64" >"$tmp/table" 2>"$tmp/progress"
	status=$?
	row=$(grep -- '-x86-64 ' "$tmp/table" | head -n 1)
}

# The exit status, the number of tries and the verdict.
judged() { # sentence status tries verdict
	is "$1: exit status" "$status" "$2"
	[ "$status" = "$2" ] || sed 's/^/#   /' "$tmp/table"
	is "$1: tries and verdict" "$(sed -E 's/.* ([0-9]+  |before  )/\1/' <<<"$row")" "$3  $4"
}

shows() { # sentence pattern
	is "$1" "$(grep -c "$2" "$tmp/table" | sed 's/^[1-9].*/yes/')" yes
}

boot STRICT=1
judged 'a guest that is well' 0 1 pass

boot VM_PARAMETERS='TLD_PARTS=none TLD_PROVOKE=fail'
judged 'a test that fails' 1 1 FAIL
shows 'which is shown' '^bad: provoked'

boot VM_PARAMETERS='TLD_PARTS=none TLD_PROVOKE=panic'
judged 'a kernel that panics, though qemu ends with 0' 1 3 'NO RESULT'
shows 'the end of its console is shown' 'Kernel panic'

boot VM_PARAMETERS='TLD_PARTS=none TLD_PROVOKE=hang' VM_SECONDS=40
judged 'a guest that hangs' 1 3 'NO RESULT'

boot VM_SECONDS=1
judged 'a guest that does not boot is listed' 0 3 'does not boot'
boot VM_SECONDS=1 STRICT=1
judged 'and fails where it must boot' 1 3 'does not boot'

# A whole guest, the smallest.
kernel=6.12
boot VM_PARAMETERS= FRESH=1
judged 'a whole guest' 0 1 pass
boot VM_PARAMETERS=
judged 'one that passed with the same bytes' 0 before pass
shows 'its words are those of then' '4096 .* refuses '
boot VM_PARAMETERS= STRICT=1
judged 'which does not do under STRICT=1' 0 1 pass
head -c 512 /dev/zero >>"$BUILD/vm/x86-64-4k.cpio" # which no kernel cares for
boot VM_PARAMETERS=
judged 'nor for other bytes' 0 1 pass
boot VM_PARAMETERS=TLD_PROVOKE=fail
judged 'nor for one that was told something' 1 1 FAIL
boot VM_PARAMETERS=
judged 'which changes nothing of that' 0 before pass
boot VM_PARAMETERS= VM_SECONDS=1 FRESH=1
judged 'one that does not boot any more' 0 3 'does not boot'
boot VM_PARAMETERS= VM_SECONDS=1
judged 'has not passed before' 0 3 'does not boot'

env VM_RESULTS="$tmp/results" "$SRC/tests-c/kernels/vm/table.sh" 1.0-pdp11 >"$tmp/table" 2>&1
is 'a guest that nobody knows is wrong use' $? 2
shows 'which says what lists them' 'make test-vm-list'
finish
