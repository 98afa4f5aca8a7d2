#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# trusted.sh DIRECTORY [SOURCE] - fails, and says why, if somebody else may put files into a
# directory from which programs are run: the build folder, the cache of downloads.
#
# The directory and those above it must belong to root or to the caller, and not be writable by
# others; above, a sticky one such as /tmp will do. With SOURCE, a directory with programs that
# the caller runs anyway: whoever may write that one is trusted too, and only DIRECTORY is judged.
# A group that only its owner is in, as users have by default, is no other.

set -eu

distrust() {
	echo "$1 $2"
	exit 1
}

# Whether a group is the owner's own.
is_own_group() { # uid gid
	[ "$2" = "$(id -g "$1" 2>/dev/null)" ]
}

judge_owner() { # directory or link
	uid=$(stat -c %u "$1")
	case " 0 $me $source_owner " in
	*" $uid "*) ;;
	*) distrust "$1" "belongs to another user ($(stat -c %U "$1"))" ;;
	esac
}

# Sticky directories are taken if $2 is "above".
judge() { # directory place
	judge_owner "$1"
	gid=$(stat -c %g "$1")
	mode=$(stat -c %A "$1") # as ls(1) shows it
	case $2$mode in
	aboved*[tT]) return ;;
	esac
	case $mode in
	d???????w?) [ -n "$source_is_open" ] || distrust "$1" "can be written by everybody" ;;
	d????w????) is_own_group "$uid" "$gid" || [ -n "$source_is_open" ] ||
		distrust "$1" "can be written by the group $(stat -c %G "$1")" ;;
	esac
}

me=$(id -u) source_owner=$(id -u) source_is_open=
if [ $# = 2 ]; then
	source_owner=$(stat -c %u "$2")
	case $(stat -c %A "$2") in
	d????w*|d???????w?) source_is_open=yes ;;
	esac
fi
place=$(readlink -e "$1") || distrust "$1" "is not there"
[ ! -L "$1" ] || judge_owner "$1"
judge "$place" here
while [ $# = 1 ] && [ "$place" != / ]; do
	place=$(dirname "$place")
	judge "$place" above
done
