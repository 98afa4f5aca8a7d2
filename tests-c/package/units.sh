#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# The Swift units (Tests/) as TAP. "--filter NAME" runs some of them; other arguments go to
# `swift build`. `swift test` is not used: it relays what the tests print, and loses lines of it on
# a busy machine.

. "$(dirname "$0")/../support/run/script.sh"
own_directory

swift=$(dirname "$(readlink -f "$(command -v "${SWIFTC:-swiftc}")")")/swift
[ -x "$swift" ] || swift=swift
cd "$SRC" || exit 1
unset CC CXX # SwiftPM would compile CTLD with them, by options of clang
filter=
if [ "${1:-}" = --filter ]; then
	filter=$2
	shift 2
fi
"$swift" build --build-tests "$@" >"$tmp/log" 2>&1 </dev/null || bail "the units compile: $(tail -n 30 "$tmp/log")"
"$(ls "$("$swift" build --show-bin-path "$@")"/*.xctest)" --testing-library swift-testing ${filter:+--filter "$filter"} \
	>"$tmp/log" 2>&1 </dev/null
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
	fail "the units run to their end" "exit status $status, $points of ${counted:-no} tests seen
$(tail -n 30 "$tmp/log")"
fi
sed -n 's/^seed/# seed/p' "$tmp/log" | sort -u
finish
