/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * quiet.h - system calls for CTLD itself: a value or a negative errno, errno stays as it
 * was, and no cancellation point.
 */
#ifndef CTLD_QUIET_H
#define CTLD_QUIET_H

#define EXPORT __attribute__((visibility("default")))

union bpf_attr;
struct stat;

long quiet_syscall(long number, long a, long b, long c, long d);
int quiet_bpf(int command, union bpf_attr *attr);
/* fstat(2), which is no system call by that name everywhere. */
int quiet_fstat(int fd, struct stat *st);

#endif
