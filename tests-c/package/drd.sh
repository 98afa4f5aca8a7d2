#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# drd.sh - races.c under valgrind's DRD, with a library of the same sources in which each
# atomic operation tells DRD what it orders (drd/Atomic.swift). So nothing is suppressed, and
# what Lock.swift and the metadata page's cnt order is all that DRD knows of the order.
. "$(dirname "$0")/../support/run/script.sh"
own_directory

command -v valgrind >/dev/null || skip_all "valgrind is not installed"
library=$tmp/library
drd="valgrind -q --tool=drd --read-inline-info=yes --error-exitcode=9 --log-file=$tmp/log"

build()
{
	cd "$SRC" || return 1
	make -s BUILD="$library" SWIFTC="${SWIFTC:-swiftc} -g" CC="$CC" CFLAGS="-O2 -g" \
		SWIFT_SOURCES="$(echo Sources/TLDWire/*.swift Sources/TLD/*.swift) tests-c/package/drd/Atomic.swift" \
		"$library/libtld.a" &&
		"$CC" -std=c11 -Wall -Wextra -Werror -O2 -g -fPIC -c tests-c/package/drd/atomic.c -o "$library/atomic.o" &&
		"$CC" -shared -Wl,-soname,libtld.so.1 -Wl,--version-script=Sources/CTLD/libtld.map \
			-Wl,-z,nodelete,-z,defs -Wl,--gc-sections "$library"/ctld/*.o "$library/TLD.o" \
			"$library/atomic.o" -o "$library/libtld.so.1" &&
		ln -s libtld.so.1 "$library/libtld.so" &&
		"$CC" -std=c11 -D_GNU_SOURCE -O1 -g -Iinclude -Itests-c/support tests-c/api/races.c -o "$tmp/races" \
			-L"$library" -Wl,-rpath,"$library" -ltld -pthread
}
build >"$tmp/build.log" 2>&1 || bail "the library is built with other atomics: $(tail -n 20 "$tmp/build.log")"

reports() { grep -A 12 'Conflicting' "$tmp/log"; }

$drd "$tmp/races" >"$tmp/output" 2>&1
status=$?
is "what races.c asserts holds under DRD" "$(grep -c '^ok' "$tmp/output") $(grep '^not ok' "$tmp/output")" "6 "
is "DRD finds no access in the library, or through its pointers, that nothing orders" "$(reports)" ''
is "and nothing else" "$status" 0

# That it would: the same with an order less.
finds() # SENTENCE WHERE COMMAND...
{
	sentence=$1 where=$2
	shift 2
	"$@" >"$tmp/output" 2>&1
	if reports | grep -q "$where"; then
		pass "$sentence"
	else
		fail "$sentence" "no report has $where: $(head -n 30 "$tmp/log")"
	fi
}
# DRD's options are words.
# shellcheck disable=SC2086
{
	finds "a race of the program's own, in a TLD, is reported" 'intruder (races.c' $drd "$tmp/races" --race
	finds "so is the registry where its lock is not known to order anything" 'ThreadRegistry.swift' \
		env DRD_BLIND=8 $drd "$tmp/races"
	finds "and an entry's name where cnt is not" 'MetadataPage.swift\|EntryWalk.swift\|Name.swift\|KeyTable.swift' env DRD_BLIND=2 $drd "$tmp/races"
}
finish
