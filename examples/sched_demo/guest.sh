#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# guest.sh - runs regimes.sh in a guest. From the kernel's command line: SCHED_ROUNDS, SCHED_MS
# and SCHED_PARTS, separated by commas.

# What a kernel does in its first seconds would be measured as well. Time in which nobody
# computes costs none outside, see docs/guide/sched.md.
sleep 8
exec sh /regimes.sh / "$SCHED_ROUNDS" "$SCHED_MS" $(echo "$SCHED_PARTS" | tr , ' ')
