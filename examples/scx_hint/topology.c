// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* topology.c - which processors share a last-level cache. */
#include <stdio.h>
#include <string.h>

#include <bpf/libbpf.h>

#include "topology.h"

#define CPU_DIRECTORY "/sys/devices/system/cpu/cpu%u/"

/* The first number in a file of a processor, or -1. */
static int read_number(const char *format, unsigned int cpu, unsigned int index)
{
	char path[128];
	int number = -1;
	FILE *file;

	snprintf(path, sizeof(path), format, cpu, index);
	file = fopen(path, "re");
	if (!file)
		return -1;
	if (fscanf(file, "%d", &number) != 1)
		number = -1;
	fclose(file);
	return number;
}

/* The first of those that share the highest cache with this processor; itself if nobody says. */
static int first_sharer(unsigned int cpu)
{
	int level, highest = 0, first = -1;
	unsigned int i;

	for (i = 0; (level = read_number(CPU_DIRECTORY "cache/index%u/level", cpu, i)) > 0; i++)
		if (level > highest) {
			highest = level;
			first = read_number(CPU_DIRECTORY "cache/index%u/shared_cpu_list", cpu, i);
		}
	/* A cache that one processor has alone is no reason for a queue of its own. */
	return highest < 3 ? -1 : first;
}

void topology_read(struct topology *topology)
{
	int domain_of_first[CPUS_MAX + 1], cpus = libbpf_num_possible_cpus(), place = 0, cpu;
	unsigned int domain;

	memset(topology, 0, sizeof(*topology));
	memset(domain_of_first, -1, sizeof(domain_of_first));
	if (cpus > CPUS_MAX)
		cpus = CPUS_MAX;
	topology->cpus = cpus;
	for (cpu = 0; cpu < cpus; cpu++) {
		int *known = &domain_of_first[1 + first_sharer(cpu)];

		if (*known < 0)
			*known = topology->domains++ % DOMAINS_MAX;
		topology->domain[cpu] = *known;
	}
	if (topology->domains < 1)
		topology->domains = 1;
	if (topology->domains > DOMAINS_MAX)
		topology->domains = DOMAINS_MAX;
	for (domain = 0; domain < topology->domains; domain++) {
		topology->of[domain].first = place;
		for (cpu = 0; cpu < cpus; cpu++)
			if (topology->domain[cpu] == domain)
				topology->order[place++] = cpu;
		topology->of[domain].count = place - topology->of[domain].first;
	}
}
