#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# trusted.sh DIRECTORY [SOURCE] - fails, and says why, if somebody else may put files into a
# directory from which programs are run: the build folder, the cache of downloads.
#
# The directory and all above it must belong to root or to the caller, and others must not be able
# to write them. Above, a sticky directory such as /tmp will do. Links on the way must belong to
# root or the caller, too. A group is accepted if it is the owner's own: same name or same number.
#
# SOURCE is a directory with programs that the caller runs anyway. Its owner is trusted, too, and
# whoever may write it may write DIRECTORY. Nothing above SOURCE is judged.

set -eu

distrust() {
	echo "$1 $2"
	exit 1
}

# In a user namespace, owners of outside all look the same: they are not judged, but their modes are.
judge_owner() { # name
	uid=$(stat -c %u "$1")
	case " $trusted " in
	*" $uid "*) ;;
	*) distrust "$1" "belongs to another user ($(stat -c %U "$1"))" ;;
	esac
}

is_own_group() { # directory
	[ "$(stat -c %u "$1")" = "$(stat -c %g "$1")" ] ||
		case $(stat -c %U:%G "$1") in
		UNKNOWN:*) false ;;
		*) [ "$(stat -c %U "$1")" = "$(stat -c %G "$1")" ] ;;
		esac
}

# Who may write a directory besides its owner: nothing, "everybody", or "the group G".
writers() { # directory
	# Mode as ls(1) has it: a + says that there is an access control list, whose mask the group's
	# part shows.
	mode=$(ls -ld "$1")
	case $mode in
	d???????w*) echo everybody ;;
	d????w????+*) echo "those in its access control list" ;;
	d????w*) is_own_group "$1" || echo "the group $(stat -c %G "$1")" ;;
	esac
}

# A sticky one is accepted if $2 is "above".
judge() { # directory place
	judge_owner "$1"
	[ "$2" != above ] || [ ! -k "$1" ] || return 0
	who=$(writers "$1")
	[ -z "$who" ] || [ "$who" = "$source_writers" ] || [ "$source_writers" = everybody ] ||
		distrust "$1" "can be written by $who"
}

# The names on the way to a directory that are links: each may be made to lead elsewhere.
judge_links() { # path
	case $1 in
	/*) name=$1 ;;
	*) name=$PWD/$1 ;;
	esac
	while [ "$name" != / ]; do
		[ ! -L "$name" ] || judge_owner "$name"
		name=$(dirname "$name")
	done
}

trusted="0 $(id -u)"
# The identity mapping has one line, "0 0 4294967295".
[ "$(tr -s ' ' <"/proc/self/uid_map")" = " 0 0 4294967295" ] || trusted="$trusted $(cat /proc/sys/kernel/overflowuid)"
source='' source_writers=''
if [ $# = 2 ]; then
	source=$(readlink -e "$2")
	trusted="$trusted $(stat -c %u "$source")"
	source_writers=$(writers "$source")
fi
directory=${1%"${1##*[!/]}"} # without slashes at its end, which would hide a link
place=$(readlink -e "${directory:-/}") || distrust "$1" "is not there"
judge_links "${directory:-/}"
judge "$place" here
while [ "$place" != / ]; do
	place=$(dirname "$place")
	[ "$place" != "$source" ] || break
	judge "$place" above
done
