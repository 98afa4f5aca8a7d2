/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * errno.h for BPF objects. The C library's wants its list of stubs for 32-bit
 * machines when the target is BPF, and that is not installed. BPF programs need
 * the numbers only; these are the ones of x86-64 and arm64.
 */
#ifndef TLD_KSELFTEST_BPF_ERRNO_H
#define TLD_KSELFTEST_BPF_ERRNO_H

#include <asm-generic/errno.h>

#endif
