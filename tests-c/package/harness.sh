#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# harness.sh - what runs the tests: none hangs, none leaves a process behind, and what it says of
# failures and skips is said again at the end.

. "$(dirname "$0")/../support/run/script.sh"
own_directory

# NAME, and a script on standard input.
script()
{
	{ echo '#!/bin/sh'; cat; } >"$tmp/$1"
	chmod +x "$tmp/$1"
}

# What the harness ends with, for these tests; its exit status comes last.
harness()
{
	(cd "$tmp" && env STRICT="$strict" TEST_SECONDS=1 "$SRC/tests-c/support/run/harness.pl" "$@" 2>"$tmp/errors"; echo "status $?") |
		sed -n '/^Result/,$p' | sed 1d
}
strict=

script good <<'EOT'
echo "ok 1 - it works"
echo "ok 2 - it would # SKIP kernel: too old"
echo 1..2
EOT
script bad <<'EOT'
echo "# seed 7"
echo "ok 1 - it works"
echo "not ok 2 - it is right"
echo "#   got 1"
echo 1..2
EOT
script crash <<'EOT'
echo "ok 1 - it works"
kill -9 $$
EOT
script hang <<'EOT'
echo "ok 1 - it begins"
exec sleep 4711
EOT
script leave <<'EOT'
sleep 4712 >/dev/null 2>&1 &
setsid sleep 4713 >/dev/null 2>&1 &
echo "ok 1 - it works"
echo 1..1
EOT

is "what was skipped is said, with its reason" "$(harness ./good)" "./good 2 - it would: skipped: kernel: too old
1 passed, 0 failed, 1 skipped
status 0"
strict=1
is "for want of a kernel it is a failure where it must not be" "$(harness ./good)" \
	"failed: ./good 2 - it would: skipped: kernel: too old
1 passed, 1 failed, 0 skipped
status 1"
strict=
is "a failure is said, with the words around it" "$(harness ./good ./bad | sed 1d)" "$(printf '%s\n' \
	'  # seed 7' '  #   got 1' './good 2 - it would: skipped: kernel: too old' '2 passed, 1 failed, 1 skipped' 'status 1')"
is "a crash is a failure" "$(harness ./crash | grep -c 'failed: ./crash: exit status')" 1
harness ./hang ./leave ./good >"$tmp/said"
is "a test that hangs is ended, and the next ones run" \
	"$(grep -E '^failed: ./hang: it hung|passed' "$tmp/said")" "failed: ./hang: it hung
3 passed, 5 failed, 1 skipped"
is "with what each of its threads was at" "$(grep -c 'thread [0-9]* sleep, in .*nanosleep' "$tmp/said")" 1
is "what a test leaves behind is a failure, and named" \
	"$(grep -oE 'outlived the test: process [0-9]+ sleep: sleep 47..' "$tmp/said" | sed 's/[0-9]* sleep:/N sleep:/' | sort)" \
	"outlived the test: process N sleep: sleep 4712
outlived the test: process N sleep: sleep 4713"
is "and is ended" "$(pgrep -f '^sleep 471')" ""

"$SRC/tests-c/support/run/limited.py" 60 "$tmp/hang" >/dev/null &
limited=$!
until pgrep -f '^sleep 4711' >/dev/null; do sleep 0.05; done
kill -INT $limited
wait $limited
is "Ctrl-C ends a test with all that it started" "$? $(pgrep -f '^sleep 471')" "130 "
is "no tests are no success" "$(cd "$tmp" && "$SRC/tests-c/support/run/harness.pl" 2>&1; echo $?)" \
	"usage: harness.pl [-v] TEST... [-- TEST...]...
255"
finish
