#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# page_size.sh - objects that were built for pages of another size: none is loaded, and
# what is said tells why.
. "$(dirname "$0")/../support/run/script.sh"
own_directory
PATH=$PATH:/usr/sbin:/sbin

may_pin || skip_all "kernel: BPF objects cannot be pinned by this user"
own_pins page_size

cat >"$tmp/look.bpf.c" <<'EOF'
#include "bpf_kernel.h"
TLD_KEYS(key);

SEC("syscall")
int look(void *ctx)
{
	struct tld_object object;
	long *data;

	if (tld_object_init(bpf_get_current_task_btf(), &object))
		return 0;
	data = tld_get_data(&object, key, "key", sizeof(*data));
	return data ? *data : 0;
}
char _license[] SEC("license") = "GPL";
EOF

# Page size, flags for the header.
loads()
{
	"$CLANG" -target bpf -g -O2 -Wall -mcpu=v3 -I"/usr/include/$("$CC" -print-multiarch)" -I"$SRC/bpf" \
		-I"$SRC/tests-c/support/bpf" "-DTLD_BPF_PAGE_SIZE=$1" "${@:2}" -c "$tmp/look.bpf.c" -o "$tmp/look.bpf.o" &&
		bpftool prog load "$tmp/look.bpf.o" "$pins/look" && rm "$pins/look"
}

page=$(getconf PAGESIZE)
for name in task_local_data.bpf.h tld.bpf.h; do
	flags=()
	[ $name != tld.bpf.h ] || flags=(-DNATIVE)
	ok "$name: an object for this kernel's pages is loaded" loads "$page" "${flags[@]}"
	loads $((page / 2)) "${flags[@]}" >"$tmp/log" 2>&1
	is "$name: one for smaller pages is not" $? 255
	is "and the verifier's log says why" \
		"$(grep -c "TLD_BPF_PAGE_SIZE is not this kernel's page size" "$tmp/log")" 1
	loads $((page * 2)) "${flags[@]}" >"$tmp/log" 2>&1
	is "$name: nor is one for larger pages" $? 255
	is "and it is the map that is refused" \
		"$(grep -c "map 'tld_data_map': failed to create" "$tmp/log")" 1
done
finish
