/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* ctld_process.h - what a process has once: the runtime's state, its memory, fork, exit. */
#ifndef CTLD_PROCESS_H
#define CTLD_PROCESS_H

#include <stdint.h>

/* Fixed, zeroed memory for the state of each component of the runtime that has any. */
enum { CTLD_KEY_TABLE, CTLD_THREAD_REGISTRY, CTLD_FOLLOWED_PATHS, CTLD_LIFECYCLE, CTLD_COMPONENTS };
#define CTLD_STATE_SIZE 1024
void *ctld_state(int component);

/*
 * &tld_meta_p, by the symbol that the whole process agrees on: an executable
 * built with the kernel's user header defines one of its own.
 */
void *ctld_meta_p_address(void);

const char *ctld_version(void);
uint64_t ctld_image_stamp(void); /* AT_RANDOM's address: see docs/reference/wire.md */

int ctld_getpid(void);
int ctld_gettid(void);
int ctld_thread_exists(int tid); /* in this process: 1 or 0 */

/*
 * Whose memory this is, seen from the process that runs: a copy of its parent's (it was
 * forked since ctld_take_possession(), which a constructor calls first), or, if not that,
 * the parent's itself, which vfork(2) and the like lend. 1 or 0.
 */
int ctld_is_copy(void);
int ctld_is_lent(void);
void ctld_take_possession(void);

/*
 * As pthread_atfork(3), which a constructor calls: a child owns its memory even if
 * libtld was not used before. May be called again. -EAGAIN: no memory.
 */
struct ctld_fork_handlers {
	void (*before)(void);
	void (*in_parent)(void);
	void (*in_child)(void);
};
int ctld_handle_forks(const struct ctld_fork_handlers *handlers);

void ctld_at_exit(void (*handler)(void)); /* one handler */

#endif
