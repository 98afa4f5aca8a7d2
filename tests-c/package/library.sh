#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# library.sh - what the built files are: read off libtld.so.1 and libtld.a. The
# exported symbols are in exports.txt, which only grows: name, version, type, and
# for variables, which executables copy, the size in bytes. With CROSS=aarch64-linux-gnu
# from the environment they are another machine's files.
. "$(dirname "$0")/../support/run/script.sh"
own_directory

nm() { command "${CROSS:+$CROSS-}nm" "$@"; }
strip() { command "${CROSS:+$CROSS-}strip" "$@"; }
# Where it is not in libc.so.6, the stack's guard is in the loader, which belongs to libc.
case ${CROSS-$(uname -m)} in
aarch64*) needed='libc.so.6 ld-linux-aarch64.so.1' ;;
*) needed=libc.so.6 ;;
esac
shared=$BUILD/libtld.so.1
static=$BUILD/libtld.a
exports=$tmp/exports
grep -v '^#' "$SRC/tests-c/package/exports.txt" >"$exports" || bail "exports.txt lists symbols"
malloc_family='malloc|calloc|realloc|reallocarray|free|cfree|posix_memalign|aligned_alloc|memalign|valloc|pvalloc|strdup|strndup|asprintf|vasprintf'
stripped_limit=98304

for file in "$shared" "$static" "$BUILD/libtld.so"; do
	[ -e "$file" ] || bail "$file is missing: make all"
done

dynamic() { readelf -dW "$shared" | sed -n "s/.*($1) *//p"; }
segments() { readelf -lW "$shared"; }

# Name, type, size of what is defined for others, without the version node itself.
exported()
{
	readelf --dyn-syms -W "$shared" | awk '
		$1 ~ /^[0-9]+:$/ && $4 != "SECTION" && $7 != "UND" && $8 != "" && $8 !~ /^LIBTLD_/ {
			print $8 " " $4 ($4 == "FUNC" ? "" : " " $3)
		}' | sort
}

undefined() { nm -D --undefined-only "$1" | awk '{ print $NF }' | sed 's/@.*//' | sort -u; }

# shellcheck disable=SC2086  # words
is "libtld.so.1 needs $needed and no other library" \
	"$(dynamic NEEDED)" "$(printf 'Shared library: [%s]\n' $needed)"
is "it calls itself libtld.so.1" "$(dynamic SONAME)" 'Library soname: [libtld.so.1]'
is "libtld.so is a symbolic link to it" "$(readlink "$BUILD/libtld.so")" libtld.so.1
is "it looks for libraries in no directory of its own" "$(dynamic 'RPATH\|RUNPATH')" ''

is "exports.txt is sorted and has no symbol twice" "$(cut -d' ' -f1 "$exports")" "$(cut -d' ' -f1 "$exports" | LC_ALL=C sort -u)"
is "it exports what exports.txt lists, in name, version, type and size" "$(exported)" "$(sort "$exports")"
is "the version script lists the same names" \
	"$(sed -n 's/^[[:space:]]*\(tld_[a-z0-9_]*\);.*/\1/p' "$SRC/Sources/CTLD/libtld.map" | sort)" \
	"$(sed 's/@@.*//' "$exports" | sort)"
is "whatever else is defined stays inside" \
	"$(exported | grep -v '^tld_[a-z0-9_]*@@LIBTLD_')" ''
is "the versions that it defines are its own name and LIBTLD_1.0" \
	"$(readelf -VW "$shared" | awk '/^Version definition section/ { on = 1 } /^Version needs section/ { on = 0 }
		on && match($0, /Name: .*/) { print substr($0, RSTART + 6) }')" \
	"libtld.so.1
LIBTLD_1.0"

taken_off()
{
	git -C "$SRC" log --format= -p -- tests-c/exports.txt tests-c/package/exports.txt | sed -n 's/^-\(tld_[^ ]*\).*/\1/p' | sort -u | while read -r name; do
		grep -q "^$name " "$exports" || echo "$name"
	done
}
if git -C "$SRC" rev-parse -q --verify HEAD >/dev/null 2>&1; then
	is "no symbol was ever taken off exports.txt" "$(taken_off)" ''
else
	skip "no symbol was ever taken off exports.txt" "there is no history to ask"
fi

# Empty lists would agree with everything below.
[ "$(undefined "$shared" | wc -l)" -ge 5 ] || bail "nm shows what libtld.so.1 wants"
[ "$(nm -u "$static" | wc -l)" -ge 5 ] || bail "nm shows what libtld.a wants"

is "it uses neither malloc() nor what calls it" "$(undefined "$shared" | grep -Ex "$malloc_family")" ''
is "it wants nothing of a Swift runtime" "$(undefined "$shared" | grep -i '^_*\(\$s\|swift\)')" ''
is "whatever it wants is libc's, by version" \
	"$(nm -D --undefined-only "$shared" | awk '$1 == "U" { print $2 }' | grep -v '@GLIBC_')" ''

cp "$shared" "$tmp/stripped" && strip "$tmp/stripped"
size=$(stat -c %s "$tmp/stripped")
if [ "$size" -le $stripped_limit ]; then
	pass "stripped it has at most $stripped_limit bytes: $size"
else
	fail "stripped it has at most $stripped_limit bytes" "it has $size"
fi

# A dynamic section's flags, each alone: DF_1_NOW and the like.
has_flag()
{
	readelf -dW "$shared" | sed -n "s/.*($1) *\(Flags: \)\{0,1\}//p" | tr -s ' ,' '\n' | grep -qx "$2"
}
ok "all symbols are bound when it is loaded" has_flag FLAGS_1 NOW
ok "and by the older flag, which other loaders read" has_flag FLAGS BIND_NOW
ok "it is never unloaded" has_flag FLAGS_1 NODELETE
# In the flags; or, where the linker sets none, by its relocations.
is_initial_exec()
{
	has_flag FLAGS STATIC_TLS ||
		readelf -rW "$shared" | awk '/_TLS_TPREL/ { some = 1 } /TLSDESC|DTPMOD/ { other = 1 } END { exit !some || other }'
}
ok "its thread-local variable is reached by the initial-exec model" is_initial_exec
is "its references to tld_meta_p can be taken over by an executable: no DF_SYMBOLIC" \
	"$(readelf -dW "$shared" | grep -c SYMBOLIC)" 0
is "tld_meta_p is reached through the global offset table" \
	"$(readelf -rW "$shared" | awk '/GLOB_DAT.* tld_meta_p/ { print "GLOB_DAT" }')" GLOB_DAT
is "its code needs no relocation" "$(readelf -dW "$shared" | grep -c TEXTREL)" 0
is "its relocated data is read-only afterwards" "$(segments | grep -c GNU_RELRO)" 1
is "nothing of the global offset table is left writable" \
	"$(readelf -SW "$shared" | grep -c ' \.got\.plt ')" 0
is "its stack is not executable" "$(segments | awk '/GNU_STACK/ { print $7 $8 }' | sed 's/0x.*//')" RW
is "no segment is writable and executable" "$(segments | grep -c 'LOAD.* RWE ')" 0

# The archive, in which nothing but the exports may meet a program's own names.
is "libtld.a has one object" "$(ar t "$static" | wc -l)" 1
is "its global symbols are the exported ones" \
	"$(nm -g --defined-only "$static" | awk 'NF == 3 { print $3 }' | sort)" \
	"$(sed 's/@@.*//' "$exports" | sort)"
is "the archive uses neither malloc() nor what calls it" "$(nm -u "$static" | awk '{ print $NF }' | grep -Ex "$malloc_family")" ''

# The C library's dynamic symbols, its loader's too, and the linker's own one.
provided()
{
	for file in libc.so.6 ld-linux-x86-64.so.2 ld-linux-aarch64.so.1; do
		path=$("$CC" -print-file-name=$file)
		[ ! -e "$path" ] || nm -D --defined-only "$path" | awk '{ print $NF }' | sed 's/@.*//'
	done
	# What is linked into every program.
	nm -g --defined-only "$("$CC" -print-file-name=libc_nonshared.a)" | awk 'NF == 3 { print $3 }'
	echo _GLOBAL_OFFSET_TABLE_
}
provided | sort -u >"$tmp/provided"
is "whatever the archive wants is libc's" \
	"$(nm -u "$static" | awk 'NF == 2 { print $2 }' | sort -u | grep -vxF -f "$tmp/provided")" ''
is "the archive wants no executable stack" "$(readelf -SW "$static" | grep -c ' \.note\.GNU-stack .* X ')" 0
ok "and says so" \
	sh -c 'readelf -SW "$1" | grep -q " \.note\.GNU-stack "' sh "$static"

# The compiler compares the exports with the header: in a copy of it each returns a double.
changed=$tmp/Sources/CTLD/include
mkdir -p "$changed" "$tmp/include" && cp "$SRC"/Sources/CTLD/include/* "$changed" || bail "the headers are copied"
typecheck()
{
	"${SWIFTC:-swiftc}" -enable-experimental-feature Embedded -wmo -parse-as-library -swift-version 6 \
		-module-name TLD -typecheck -I"$changed" "$SRC"/Sources/TLDWire/*.swift "$SRC"/Sources/TLD/*.swift 2>&1
}
differing() { sed -n "s/.*error: global function '\(tld_[a-z_]*\)['(].*declared by the header.*/\1/p" | sort -u; }
cp "$SRC/include/tld.h" "$tmp/include"
if ! typecheck >"$tmp/log"; then
	fail "the runtime compiles with a copy of tld.h" "$(cat "$tmp/log")"
elif "${SWIFTC:-swiftc}" --version 2>&1 | grep -q 'Swift version 6\.2'; then
	skip "no export compiles with a header that declares it otherwise" "Swift 6.2 does not compare"
else
	sed 's/^[a-z].*[ *]\(tld_[a-z_]*(\)/double \1/' "$SRC/include/tld.h" >"$tmp/include/tld.h"
	is "no export compiles with a header that declares it otherwise" \
		"$(typecheck | differing)" "$(sed -n 's/@@.* FUNC$//p' "$exports" | sort)"
fi
finish
