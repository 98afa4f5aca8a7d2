#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# The Swift units (Tests/) as TAP. Arguments go to `swift test`.

. "$(dirname "$0")/../support/run/script.sh"
own_directory

swift=$(dirname "$(readlink -f "$(command -v "${SWIFTC:-swiftc}")")")/swift
[ -x "$swift" ] || swift=swift
cd "$SRC" || exit 1
unset CC CXX # SwiftPM would compile CTLD with them, by options of clang
"$swift" test "$@" >"$tmp/log" 2>&1 </dev/null
status=$?

# One line each: ✔ Test "sentence" passed after ..., ✘ Test "sentence" failed ...
while IFS= read -r line; do
	case $line in
	"✔ Test run with"* | "✘ Test run with"*) summary=$line ;;
	"✔ Test "*" passed after"*) pass "$(echo "$line" | sed 's/^✔ Test //; s/ passed after.*//; s/"//g; s/#/No. /g')" ;;
	"✘ Test "*" failed after"*)
		fail "$(echo "$line" | sed 's/^✘ Test //; s/ failed after.*//; s/"//g; s/#/No. /g')" \
			"$(grep -E ' recorded an issue |seed' "$tmp/log")" ;;
	esac
done <"$tmp/log"

counted=$(echo "${summary:-}" | sed -n 's/.* run with \([0-9]*\) test.*/\1/p')
if [ $status != 0 ] && [ $failures = 0 ] || [ "${counted:-0}" -ne $points ] || [ $points = 0 ]; then
	fail "swift test runs to its end" "exit status $status, $points of ${counted:-no} tests seen
$(tail -n 30 "$tmp/log")"
fi
sed -n 's/^seed/# seed/p' "$tmp/log" | sort -u
finish
