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

# The project in a folder whose owner and mode are known.
mkdir "$tmp/source"
ln -s "$SRC"/* "$tmp/source/"

build()
{
	make -C "$tmp/source" --no-print-directory BUILD="${folder:-$tmp/place}" "${folder:-$tmp/place}/tld.pc" 2>&1
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
mkdir -p "$tmp/theirs/in" "$tmp/theirs/tests-c"
folder=$tmp/theirs/in
refuses "so is a folder within another user's" "belongs to another user" build
folder=$tmp/place/in
refuses "or behind such a link" "belongs to another user" build
folder=
# shellcheck disable=SC2016 # for make
echo '$(shell touch "'"$tmp"'/ran")' >"$tmp/theirs/tests-c/x.d"
for goals in all "clean all" "help all" clean help; do
	# shellcheck disable=SC2086 # words
	make -C "$tmp/source" --no-print-directory BUILD="$tmp/theirs" -n $goals >/dev/null 2>&1
done
is "what is in such a folder is not read, whatever is made" "$(ls "$tmp/ran" 2>&1)" \
	"ls: cannot access '$tmp/ran': No such file or directory"
cp "$SRC/mk/trusted.sh" "$tmp/trusted.sh"
rm "$tmp/source/mk"
mkdir "$tmp/source/mk"
ln -s "$SRC"/mk/*.mk "$tmp/source/mk/"
place 0:0 755
refuses "nor is any folder where it cannot be checked" "could be replaced" build
rm -r "$tmp/source/mk"
ln -s "$SRC/mk" "$tmp/source/mk"
rm -rf "$tmp/place"
ln -s "$tmp/ours" "$tmp/place"
ok "make clean removes a link" make -C "$tmp/source" --no-print-directory BUILD="$tmp/place" clean
is "and not what it leads to" "$([ -e "$tmp/place" ] || ls -d "$tmp/ours")" "$tmp/ours"
for mode in 0:0=755 0:0=775; do
	place "${mode%=*}" "${mode#*=}"
	ok "a build folder with mode ${mode#*=} of root's own group is taken" build
done
is "and used" "$(ls "$tmp/place")" tld.pc

# Whoever may write the source is trusted with what it makes.
judged() { sh "$SRC/mk/trusted.sh" "$tmp/place" "$tmp/source"; }
chown $stranger "$tmp/source"
place $stranger:$stranger 755
ok "root may build in the folder of the user whose source it runs" judged
place 12345:12345 755
refuses "but not in a third user's" "belongs to another user" judged
chown 0 "$tmp/source"
place 0:$stranger 775
for mode in 755 775; do
	chmod $mode "$tmp/source"
	refuses "a group that may not write the source, mode $mode, may not write the folder" "by the group" judged
done
chgrp $stranger "$tmp/source"
ok "one that may, may" judged
place 0:0 777
refuses "everybody may not" "by everybody" judged
chmod 777 "$tmp/source"
ok "unless everybody may write the source" judged
chmod 755 "$tmp/source"
place 0:0 755
if command -v setfacl >/dev/null && setfacl -m "u:$stranger:rwx" "$tmp/place" 2>/dev/null; then
	refuses "a user of an access control list may not" "access control list" judged
else
	skip "a user of an access control list may not" "no access control lists here"
fi
place 0:0 755
ok "a user namespace that knows no other owners may" unshare -Ur sh "$SRC/mk/trusted.sh" "$tmp/place" "$tmp/source"

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
