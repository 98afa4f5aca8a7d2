/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* topology.h - which processors share a last-level cache. */
#ifndef TOPOLOGY_H
#define TOPOLOGY_H

#include "scx_hint.h"

struct topology {
	unsigned int cpus;			/* that there may be, at most CPUS_MAX */
	unsigned int domains;			/* at least 1 */
	unsigned char domain[CPUS_MAX];		/* of each processor */
	__u16 order[CPUS_MAX];			/* processors, by domain */
	struct hint_cpus of[DOMAINS_MAX];	/* those of a domain, in order */
};

/* What /sys/devices/system/cpu says. Processors of which it does not say, share one cache. */
void topology_read(struct topology *topology);

#endif
