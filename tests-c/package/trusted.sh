#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# trusted.sh - what root runs does not come from where others can put it: the build folder, and
# the cache of what was downloaded.

. "$(dirname "$0")/../support/run/script.sh"
own_directory
[ "$(id -u)" = 0 ] || skip_all "needs root, to have directories that are not its own"
chmod 755 "$tmp"
stranger=65534

# OWNER:GROUP MODE: a new directory.
place()
{
	rm -rf "$tmp/place"
	mkdir "$tmp/place"
	chown "$1" "$tmp/place"
	chmod "$2" "$tmp/place"
}

refuses()
{
	sentence=$1 words=$2
	shift 2
	said=$("$@")
	case $said in
	*"$tmp"*"$words"*) pass "$sentence" ;;
	*) fail "$sentence" "$said" ;;
	esac
}

build()
{
	make -C "$SRC" --no-print-directory BUILD="$tmp/place" "$tmp/place/tld.pc" 2>&1
}

for case in "$stranger:0 755 belongs to another user" "0:0 777 can be written by everybody" \
	"0:0 1777 can be written by everybody" "0:$stranger 775 can be written by the group"; do
	set -- $case
	place "$1" "$2"
	shift 2
	refuses "a build folder that $* is refused" "$*" build
	is "and nothing is made in it" "$(ls "$tmp/place")" ""
done
mkdir "$tmp/theirs"
chown $stranger "$tmp/theirs"
rm -rf "$tmp/place"
ln -s "$tmp/theirs" "$tmp/place"
refuses "so is a link to one" "belongs to another user" build
mkdir "$tmp/ours"
ln -sfn "$tmp/ours" "$tmp/place"
chown -h $stranger "$tmp/place"
refuses "and a link of another user's, which may lead elsewhere later" "belongs to another user" build
ok "make clean removes it" make -C "$SRC" --no-print-directory BUILD="$tmp/place" clean
is "the link, not what it leads to" "$([ -e "$tmp/place" ] || ls -d "$tmp/ours")" "$tmp/ours"
for mode in 0:0=755 0:0=775; do
	place "${mode%=*}" "${mode#*=}"
	ok "a build folder with mode ${mode#*=} of root's own group is taken" build
done
is "and used" "$(ls "$tmp/place")" tld.pc

# Whoever wrote the source is trusted with what it makes.
mkdir -p "$tmp/source/mk"
cp "$SRC/mk/trusted.sh" "$tmp/source/mk"
chown $stranger "$tmp/source"
place $stranger:$stranger 755
ok "root may build in the folder of whose source it runs" "$tmp/source/mk/trusted.sh" "$tmp/place" "$tmp/source"
place 12345:12345 755
refuses "but not in a third one's" "belongs to another user" "$tmp/source/mk/trusted.sh" "$tmp/place" "$tmp/source"

# --- The cache ------------------------------------------------------------------------------

# What a script says that would download; the machine's network is not asked.
fetch()
{
	XDG_CACHE_HOME=$tmp/place PATH=$tmp/nothing:$PATH bash -c ". '$SRC/tests-c/support/run/packages.sh'
		unavailable() { echo \"\$1\"; exit 77; }
		packages_cache && echo \"cache \$cache\""
}

place 0:0 755
is "a cache of one's own is taken" "$(fetch)" "cache $tmp/place/libtld"
is "it is for its owner alone" "$(stat -c %a "$tmp/place/libtld")" 700
chown $stranger "$tmp/place/libtld"
refuses "a cache that is another user's is not" "belongs to another user" fetch
chown 0 "$tmp/place/libtld"
chmod 777 "$tmp/place/libtld"
refuses "nor is one that everybody may write" "can be written by everybody" fetch
chmod 700 "$tmp/place/libtld"
chmod 777 "$tmp/place"
refuses "nor one in a directory that everybody may write" "can be written by everybody" fetch
chmod 1777 "$tmp/place"
is "unless that is sticky" "$(fetch)" "cache $tmp/place/libtld"
rmdir "$tmp/place/libtld"
mkdir "$tmp/theirs/libtld"
ln -s "$tmp/theirs/libtld" "$tmp/place/libtld"
refuses "a link to another user's directory is not taken" "belongs to another user" fetch
ln -sfn "$tmp/ours" "$tmp/place/libtld"
is "a link to one's own is, and its target's path is used" "$(fetch)" "cache $tmp/ours"
chown $stranger "$tmp/ours"
fetch >/dev/null
is "what is refused has the status of what cannot be had" $? 77
finish
