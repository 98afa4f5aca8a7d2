/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* ctld_thread.h - the calling thread: its state, errno, cancellation; and threads of our own. */
#ifndef CTLD_THREAD_H
#define CTLD_THREAD_H

struct tld_thread; /* of tld.h */

/* The calling thread: its public state, and a word that only the library knows. */
struct tld_thread *ctld_self(void);
void **ctld_thread_record(void);
/* Send the next tld_get_data() of a thread, which may be running, to the library. */
void ctld_reset_map(struct tld_thread *thread);

/*
 * Asynchronous cancellation would leave locks held; gives what ctld_restore_cancellation()
 * takes. To defer it suffices where there are no cancellation points, and does what to
 * disable it does not: glibc 2.36 ends a thread that was found cancellable and has
 * disabled cancellation before the signal comes.
 */
int ctld_defer_cancellation(void);
void ctld_restore_cancellation(int type);

/* A compiler barrier between what a thread stores and what its own signal handler sees. */
void ctld_signal_fence(void);

int ctld_errno(void);
void ctld_set_errno(int code);

/* A detached thread with a small stack, all signals blocked. */
int ctld_start_thread(void *(*body)(void *), void *arg);
void ctld_name_watcher(void); /* the calling thread */

#endif
