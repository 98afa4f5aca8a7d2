# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
# shellcheck shell=bash
#
# packages.sh - Debian packages of other releases and machines, by a private apt
# configuration: the machine's own package sources stay as they are. Sourced by what
# downloads; it has set -euo pipefail, and a function unavailable REASON that ends it.

# Where what was downloaded is kept. Root runs programs from there.
packages_cache() {
	local why
	if [ -z "${XDG_CACHE_HOME-}" ] && [ -z "${HOME-}" ]; then
		unavailable 'neither HOME nor XDG_CACHE_HOME is set, so there is no place to keep it.'
	fi
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/libtld
	mkdir -p "${cache%/*}" 2>/dev/null && { mkdir -m 0700 "$cache" 2>/dev/null || [ -d "$cache" ]; } ||
		unavailable "cannot create $cache."
	cache=$(readlink -e "$cache") # no link on the way can change what was judged
	why=$("${BASH_SOURCE[0]%/*}/../../../mk/trusted.sh" "$cache") ||
		unavailable "$why, so others could put programs there that are run here. Set XDG_CACHE_HOME to a directory of your own."
}

# Makes $1 the directory of a configuration for the suites $3..., with packages for the
# machines $2 ("amd64 arm64", the first one being what a bare name means; or "native").
packages_configure() {
	local machines=$2 machine archive keyring signed='' suite
	packages=$1
	if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
		unavailable 'this is no Debian system.'
	fi
	[ "$machines" != native ] || machines=$(dpkg --print-architecture)
	# The archive is the one that this machine already uses; it alone knows its
	# address, a mirror perhaps.
	# shellcheck disable=SC2016  # apt expands it
	archive=$(apt-get indextargets --format '$(REPO_URI)' \
		'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 2>/dev/null 9>&- |
		sort -u | head -n 1) || true
	[ -n "$archive" ] ||
		unavailable "apt knows no Debian archive here (if it should, run 'apt-get update' first)."

	# Newer suites are signed with keys that older systems have in this file only.
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	if [ -r "$keyring" ]; then
		signed="[signed-by=$keyring] "
	fi
	mkdir -p "$packages/lists/partial" "$packages/cache/archives/partial"
	: >"$packages/status"
	for suite in "${@:3}"; do
		echo "deb $signed$archive $suite main"
	done >"$packages/sources.list"

	# Of the machine's configuration only how it reaches the network is taken over:
	# proxies and the like, but no hooks and no further index files.
	{
		apt-config dump | grep '^Acquire::' | grep -vE '^Acquire::(IndexTargets|Languages)' || true
		cat <<-END
			Dir::Etc::Main "/dev/null";
			Dir::Etc::Parts "/dev/null";
			Dir::Etc::SourceList "$packages/sources.list";
			Dir::Etc::SourceParts "-";
			Dir::Etc::Preferences "/dev/null";
			Dir::Etc::PreferencesParts "/dev/null";
			Dir::State::Lists "$packages/lists";
			Dir::State::Status "$packages/status";
			Dir::Cache "$packages/cache";
			Acquire::Languages "none";
			Acquire::Retries "2";
			Acquire::http::Timeout "30";
			Acquire::https::Timeout "30";
			// The sandbox user, which root's apt becomes to download, cannot
			// write below a home directory, and apt would warn.
			APT::Sandbox::User "root";
			APT::Architecture "${machines%% *}";
		END
		for machine in $machines; do
			echo "APT::Architectures:: \"$machine\";"
		done
	} >"$packages/apt.conf"
}

# apt must not inherit the lock (9), or it would keep it when its caller is killed.
private() {
	APT_CONFIG=$packages/apt.conf "$@" 2>"$packages/apt.log" 9>&-
}

# apt's first complaint, for a sentence of ours.
apt_says() {
	local line
	line=$(grep -E -m 1 '^[EW]:' "$packages/apt.log") || true
	printf '%s' "${line:-no reason given}"
}
