#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# The demonstration, as a user without a terminal runs it.

. "$(dirname "$0")/../../../tests-c/support/run/script.sh"
own_directory
demo=$BUILD/examples/oncpu

"$demo" --duration 2 >"$tmp/table" 2>"$tmp/errors" </dev/null
status=$?
[ $status != 77 ] || skip_all "kernel: $(cat "$tmp/errors")"
is "BPF's figures and the program's own agree" "$status" 0
sed 's/^/# /' "$tmp/table" "$tmp/errors"
for kind in static search checkout report; do
	ok "requests of kind $kind took time on a processor" \
		awk -v kind=$kind '$1 == kind && $2 > 0 && $3 > 0 { found = 1 } END { exit !found }' "$tmp/table"
done
ok "tagging took no system call after a thread's first" grep -Eq ', 0 in the [1-9][0-9]* after' "$tmp/table"
ok "without a terminal there is one table" test "$(grep -c '^ *report' "$tmp/table")" = 1
ok "and no escape sequence" sh -c '! grep -q "$(printf "\033")" "$1"' sh "$tmp/table"

if [ "$(id -u)" = 0 ]; then
	# Copied to where that user may read it, with the library.
	chmod 755 "$tmp"
	cp "$demo" "$BUILD/libtld.so.1" "$tmp"
	LD_LIBRARY_PATH=$tmp setpriv --reuid 65534 --regid 65534 --clear-groups \
		"$tmp/oncpu" --duration 1 >"$tmp/table" 2>"$tmp/errors" </dev/null
	is "without privileges the exit status is 77" "$?" 77
	is "and one sentence says what is missing" "$(cat "$tmp/table" "$tmp/errors" | wc -l)" 1
	ok "and what to do" grep -q 'sudo\|root' "$tmp/errors"
else
	skip "without privileges the exit status is 77" "runs as root only, to have a user without"
fi
"$demo" --duration nonsense >"$tmp/table" 2>"$tmp/errors" </dev/null
is "a nonsensical duration is refused" "$?" 2
ok "--help shows the options" sh -c '"$1" --help | grep -q -- --duration' sh "$demo"
finish
