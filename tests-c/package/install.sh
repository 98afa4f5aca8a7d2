#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# install.sh - make install and uninstall into directories of this test, and programs
# that are compiled against what is there by pkg-config alone.
. "$(dirname "$0")/../support/run/script.sh"
own_directory

for tool in make pkg-config "$CC" "$CXX"; do
	command -v "$tool" >/dev/null || bail "$tool is not installed"
done

# pkg-config must see nothing of the machine, and nobody's wishes.
unset PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR PKG_CONFIG_ALLOW_SYSTEM_CFLAGS PKG_CONFIG_ALLOW_SYSTEM_LIBS || true

run_make() { make -s -C "$SRC" BUILD="$BUILD" "$@" >"$tmp/make" 2>&1 || { cat "$tmp/make"; return 1; }; }

# What is below a directory: type and name, links with their target.
listing() { (cd "$1" && find . \( -type f -printf '%P\n' \) -o \( -type l -printf '%P -> %l\n' \) | sort); }

# The installed names, for directories without leading slash.
wanted()
{
	prefix=$1 libdir=$2
	cat <<-END | sort
		$prefix/bin/tldctl
		$prefix/share/bash-completion/completions/tldctl
		$prefix/share/zsh/site-functions/_tldctl
		$prefix/share/fish/vendor_completions.d/tldctl.fish
		$prefix/share/man/man8/tldctl.8
		$libdir/libtld.a
		$libdir/libtld.so -> libtld.so.1
		$libdir/libtld.so.1
		$libdir/pkgconfig/tld.pc
		$prefix/include/task_local_data.h
		$prefix/include/tld.h
		$prefix/include/tld_pin.h
		$(cd "$SRC/bpf" && for header in *.h; do echo "$prefix/include/tld/bpf/$header"; done)
	END
}

cat >"$tmp/program.c" <<'EOF'
#include <tld.h>
#include <task_local_data.h>
#include <stdio.h>

TLD_DEFINE_KEY(key, "installed", 8);

int main(void)
{
	if (tld_key_is_err(key) || tld_find_key("installed").off != key.off || tld_get_data(-1, key))
		return 1;
	printf("version %s\n", tld_version());
	return 0;
}
EOF

cp "$tmp/program.c" "$tmp/program.cc"

# Compiler, source, where the library is to be found; the rest is from pkg-config.
compiles_and_runs()
{
	compiler=$1 source=$tmp/$2 library=$3
	shift 3
	rm -f "$tmp/program"
	"$compiler" "$source" "$@" -o "$tmp/program" || return 1
	LD_LIBRARY_PATH=$library "$tmp/program" | grep "^version "
}

bpf_compiles() # HEADER
{
	printf '#include <linux/bpf.h>\n#include <%s>\n' "$1" >"$tmp/program.bpf.c"
	"$CLANG" -target bpf -g -O2 -Wall -Werror "-I/usr/include/$(uname -m)-linux-gnu" \
		"-I$(pkg-config --variable=bpfincludedir tld)" -c "$tmp/program.bpf.c" -o "$tmp/program.bpf.o"
}

# The program uses the installed library, or none at all.
needs() { readelf -dW "$tmp/program" | sed -n 's/.*NEEDED.*\[\(libtld.*\)\]/\1/p'; }

installed_at_once()
{
	root=$tmp/$1 prefix=$2 libdir=$3
	shift 3
	mkdir -p "$root"
	ok "make install works with $*" run_make install DESTDIR="$root" "$@"
	is "it brings the libraries, headers and tld.pc, and nothing else" \
		"$(listing "$root")" "$(wanted "$prefix" "$libdir")"
}

# --- As a package is made: PREFIX=/usr below DESTDIR ------------------------
installed_at_once usr usr usr/lib PREFIX=/usr
is "the shared library and the tool are executable, whatever else only readable" \
	"$(cd "$root" && find . -type f -perm /111 | sort | xargs)" "./usr/bin/tldctl ./usr/lib/libtld.so.1"
ok "the tool runs where it is" "$root/usr/bin/tldctl" --version
is "everybody may read it all" "$(cd "$root" && find . -type f ! -perm -444)" ''
is "no file names the directory that it was installed below" "$(grep -rl "$root" "$root")" ''
export PKG_CONFIG_LIBDIR="$root/usr/lib/pkgconfig"
is "pkg-config needs no option for the headers of PREFIX=/usr" "$(pkg-config --cflags tld | xargs)" ''
is "nor a directory for the library" "$(pkg-config --libs tld | xargs)" -ltld
is "bpfincludedir tells where the BPF headers are" \
	"$(pkg-config --variable=bpfincludedir tld)" /usr/include/tld/bpf
is "tld.pc has the header's version" "$(pkg-config --modversion tld | cut -d. -f1,2)" \
	"$(sed -n 's/^#define TLD_VERSION_M[A-Z]* //p' "$SRC/include/tld.h" | paste -sd.)"

# --- Debian's directories ---------------------------------------------------
multiarch=$("$CC" -print-multiarch)
[ -n "$multiarch" ] || multiarch=$(uname -m)-linux-gnu
installed_at_once multiarch usr "usr/lib/$multiarch" PREFIX=/usr LIBDIR="/usr/lib/$multiarch"
export PKG_CONFIG_LIBDIR="$root/usr/lib/$multiarch/pkgconfig"
is "tld.pc says the directory of the libraries" "$(pkg-config --variable=libdir tld)" "/usr/lib/$multiarch"

# --- A prefix of one's own, below DESTDIR -----------------------------------
installed_at_once opt opt/x opt/x/lib PREFIX=/opt/x
export PKG_CONFIG_LIBDIR="$root/opt/x/lib/pkgconfig"
is "pkg-config tells the directory of the headers" "$(pkg-config --cflags tld | xargs)" -I/opt/x/include
is "and of the library" "$(pkg-config --libs tld | xargs)" "-L/opt/x/lib -ltld"
is "and of the BPF headers" "$(pkg-config --variable=bpfincludedir tld)" /opt/x/include/tld/bpf

# The same tree as a system root, as for cross compilers.
export PKG_CONFIG_SYSROOT_DIR="$root"
is "with PKG_CONFIG_SYSROOT_DIR the directory of the headers is below it" \
	"$(pkg-config --cflags tld | xargs)" "-I$root/opt/x/include"
is "and that of the library" "$(pkg-config --libs tld | xargs)" "-L$root/opt/x/lib -ltld"
ok "a C program compiles, links and runs so" \
	compiles_and_runs "$CC" program.c "$root/opt/x/lib" $(pkg-config --cflags --libs tld)
is "with the shared library" "$(needs)" libtld.so.1
ok "a program links statically so, by --static, and runs without the library" \
	compiles_and_runs "$CC" program.c /nonexistent -static $(pkg-config --cflags --libs --static tld)
is "with none" "$(needs)" ''
unset PKG_CONFIG_SYSROOT_DIR

# --- A prefix of one's own, in place, with a library directory of its own ---
place=$tmp/place
ok "make install works with a PREFIX and no DESTDIR" run_make install PREFIX="$place" LIBDIR="$place/lib64"
is "it brings the same" "$(listing "$place" | sed 's|^|place/|')" "$(wanted place place/lib64)"
export PKG_CONFIG_LIBDIR="$place/lib64/pkgconfig"
ok "a C program compiles, links and runs by pkg-config alone" \
	compiles_and_runs "$CC" program.c "$place/lib64" $(pkg-config --cflags --libs tld)
is "with the shared library" "$(needs)" libtld.so.1
ok "a C++ program does" \
	compiles_and_runs "$CXX" program.cc "$place/lib64" $(pkg-config --cflags --libs tld)
is "with the shared library" "$(needs)" libtld.so.1
ok "a program links statically by pkg-config --static" \
	compiles_and_runs "$CC" program.c /nonexistent -static $(pkg-config --cflags --libs --static tld)
is "with none" "$(needs)" ''
ok "so does a C++ program" \
	compiles_and_runs "$CXX" program.cc /nonexistent -static $(pkg-config --cflags --libs --static tld)
for header in tld task_local_data; do
	ok "$header.bpf.h, installed where bpfincludedir says, compiles" bpf_compiles $header.bpf.h
done
ok "installing again over it works" run_make install PREFIX="$place" LIBDIR="$place/lib64"
is "and changes nothing of the list" "$(listing "$place" | sed 's|^|place/|')" "$(wanted place place/lib64)"
unset PKG_CONFIG_LIBDIR

# --- Uninstalling -----------------------------------------------------------
neighbours()
{
	mkdir -p "$1/lib/pkgconfig" "$1/include/tld" "$1/share/doc"
	for file in lib/libtldr.so lib/libtld.so.2 lib/pkgconfig/tld2.pc include/tldr.h include/tld/theirs.h share/doc/x; do
		echo mine >"$1/$file"
	done
}

shared_prefix=$tmp/shared
neighbours "$shared_prefix"
before=$(listing "$shared_prefix")
ok "make install works beside other files" run_make install PREFIX="$shared_prefix"
ok "make uninstall works" run_make uninstall PREFIX="$shared_prefix"
is "it removes all that was installed and nothing else" "$(listing "$shared_prefix")" "$before"

bare=$tmp/bare
mkdir -p "$bare/usr/share"
ok "make install works below DESTDIR" run_make install DESTDIR="$bare" PREFIX=/usr LIBDIR="/usr/lib/$multiarch"
ok "make uninstall works below DESTDIR" run_make uninstall DESTDIR="$bare" PREFIX=/usr LIBDIR="/usr/lib/$multiarch"
is "no file is left" "$(listing "$bare")" ''
is "nor a directory that is libtld's own" "$(cd "$bare" && find . -path '*/tld*')" ''
ok "directories of others are left" test -d "$bare/usr/share"
ok "make uninstall works where nothing is installed" run_make uninstall DESTDIR="$bare" PREFIX=/usr

# --- Without the tool --------------------------------------------------------
ok "make install works with TLDCTL=no" run_make install DESTDIR="$bare" PREFIX=/usr LIBDIR=/usr/lib TLDCTL=no
is "it brings all but the tool" "$(listing "$bare")" "$(wanted usr usr/lib | grep -v tldctl)"
finish
