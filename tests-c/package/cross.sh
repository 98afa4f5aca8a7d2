#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# cross.sh - make CROSS=aarch64-linux-gnu: what comes out is judged as library.sh judges
# what was built for this machine, can be installed, and linked with programs.
. "$(dirname "$0")/../support/run/script.sh"
own_directory

cross=aarch64-linux-gnu
cross_make() { make -s -C "$SRC" CROSS=$cross BUILD="$BUILD/$cross" "$@" >"$tmp/make" 2>&1 || { cat "$tmp/make"; return 1; }; }

ok "the library is built for $cross" cross_make
CROSS=$cross CC=$cross-gcc BUILD=$BUILD/$cross "$SRC/tests-c/package/library.sh" >"$tmp/judged"
judged=$?
while IFS= read -r line; do
	case $line in
	"ok "*) pass "$cross: ${line#ok * - }" ;;
	"not ok "*) fail "$cross: ${line#not ok * - }" "$(grep -A 20 -F "$line" "$tmp/judged" | sed -n '2,/^[^#]/s/^#  *//p')" ;;
	esac
done <"$tmp/judged"
is "$cross: it was judged to the end" "$judged $(sed -n 's/^1\.\.//p' "$tmp/judged")" "0 $((points - 1))"
is "it is that machine's" "$(readelf -hW "$BUILD/$cross/libtld.so.1" | sed -n 's/.*Machine: *//p')" AArch64

cat >"$tmp/program.c" <<'EOF'
#include <tld.h>

TLD_DEFINE_KEY(key, "cross", 8);

int main(void)
{
	return tld_key_is_err(key) || !tld_get(key);
}
EOF
config() { PKG_CONFIG_LIBDIR=$tmp/root/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$tmp/root pkg-config "$@" tld; }
links() { $cross-gcc "$tmp/program.c" -o "$tmp/program" "$@"; }

ok "it is installed below DESTDIR" cross_make DESTDIR="$tmp/root" PREFIX=/usr install
# shellcheck disable=SC2046  # words
ok "a program is linked with it by pkg-config" links $(config --cflags --libs)
is "and needs it" "$(readelf -dW "$tmp/program" | grep -c 'NEEDED.*libtld\.so\.1')" 1
# shellcheck disable=SC2046
ok "another with the archive alone" \
	links $(config --cflags) "$tmp/root/usr/lib/libtld.a" -static -pthread
ok "it is uninstalled" cross_make DESTDIR="$tmp/root" PREFIX=/usr uninstall
is "and leaves no file" "$(find "$tmp/root" -type f -o -type l 2>/dev/null)" ''
is "another machine than that is refused with a sentence" \
	"$(make -C "$SRC" CROSS=m68k-linux-gnu 2>&1 | grep -c 'for aarch64-linux-gnu only, see docs/maintaining/porting.md')" 1
finish
