// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * nothing.c - a program that does nothing, and (-DEMPTY) a shared library of one function,
 * which gives a pointer that is always the same: what neither can be done without costs.
 */
#ifndef EMPTY
int main(void)
{
	return 0;
}
#else
#include <stdint.h>

void *nothing(int map_fd, int key)
{
	static uint64_t data;

	(void)map_fd;
	(void)key;
	return &data;
}
#endif
