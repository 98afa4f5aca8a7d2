#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# README's example as printed: the program and its BPF side compile from an installed
# tree with the commands that README shows, load, and run.

. "$(dirname "$0")/../support/run/script.sh"
own_directory

block README.md c 1 >"$tmp/program.c"
block README.md c 2 >"$tmp/request.bpf.c"
block README.md sh 1 >"$tmp/commands"
ok "README shows a program" grep -q "^int main" "$tmp/program.c"
ok "README shows its BPF side" grep -q "^SEC(" "$tmp/request.bpf.c"
is "README shows the commands that bring both to run" \
	"$(grep -Eo '^(make install|clang|gcc|mkdir|./program)' "$tmp/commands" | tr '\n' ' ')" \
	"make install clang gcc mkdir ./program "
is "the program has at most 20 lines" "$([ "$(wc -l <"$tmp/program.c")" -le 20 ] && echo yes)" yes

cd "$tmp" || exit 1
ok "libtld installs" make -C "$SRC" --no-print-directory BUILD="$BUILD" install PREFIX="$tmp/usr"
PKG_CONFIG_PATH=$tmp/usr/lib/pkgconfig
LD_LIBRARY_PATH=$tmp/usr/lib
export PKG_CONFIG_PATH LD_LIBRARY_PATH
PATH=$(dirname "$CLANG"):$PATH:/usr/sbin
# README's own lines, joined where they are continued.
command_line()
{
	sed -e ':a' -e '/\\$/N; s/\\\n//; ta' -e '/&&$/N; s/&&\n/\&\&/; ta' commands | grep "^$1"
}
ok "the BPF side compiles as README says" sh -c "$(command_line clang)"
ok "the program compiles as README says" sh -c "$(command_line gcc)"
ok "the program compiles without a warning" \
	"$CC" -Wall -Wextra -Wpedantic -Werror -c program.c $(pkg-config --cflags tld) -o /dev/null
ok "the program links statically as README says" sh -c "$(sed -n 's/^Statically: `\(.*\)`\.$/\1/p' "$SRC/README.md") -o static"

if ! may_pin; then
	skip "the BPF side loads and the program publishes in its map" "kernel: needs root and a bpffs"
	finish
fi
pins=/sys/fs/bpf/libtld-readme-$$
trap 'rm -rf "$pins" "$tmp"' EXIT
sed -i "s|/sys/fs/bpf/hints|$pins|" program.c
ok "the BPF side loads into a new directory as README says" sh -c "$(command_line mkdir | sed "s|/sys/fs/bpf/hints|$pins|g")"
ok "the program compiles for the pin" sh -c "$(command_line gcc)"
ok "and publishes in the pinned map" ./program
finish
