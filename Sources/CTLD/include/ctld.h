/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * ctld.h - what Swift cannot say: thread-local variables, variadic or unnamed
 * system calls, and memory whose address is fixed before any code runs. No
 * decision is taken here.
 *
 * Every function that can fail returns 0 or a value, or a negative errno, and
 * leaves errno alone: a successful tld_get_data() must not change it. None is a
 * cancellation point (close(2) goes through syscall(2) for that), so that a
 * cancelled thread cannot leave a lock behind. All are async-signal-safe.
 */
#ifndef CTLD_H
#define CTLD_H

#define TLD_NO_INLINE /* the library has the functions themselves */
#include "../../../include/tld.h"

#include <errno.h>
#include <pthread.h>

#include "ctld_pins.h"
#include "ctld_process.h"
#include "ctld_syscalls.h"
#include "ctld_thread.h"

#endif
