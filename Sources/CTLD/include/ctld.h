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

/* Fixed, zeroed memory for the state of each room of the runtime that has any. */
enum { CTLD_KEY_TABLE, CTLD_THREAD_REGISTRY, CTLD_FOLLOWERS, CTLD_LIFECYCLE, CTLD_ROOMS };
#define CTLD_STATE_SIZE 1024
void *ctld_state(int room);

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

/*
 * &tld_meta_p, by the symbol that the whole process agrees on: an executable
 * built with the kernel's user header defines one of its own.
 */
void *ctld_meta_p_address(void);

int ctld_errno(void);
void ctld_set_errno(int code);
const char *ctld_version(void);

size_t ctld_page_size(void);
uint64_t ctld_image_stamp(void); /* AT_RANDOM's address: see docs/reference/wire.md */

int ctld_equal(const char *a, const char *b); /* two strings: 1 or 0 */

int ctld_getpid(void);
int ctld_gettid(void);
int ctld_thread_exists(int tid); /* in this process: 1 or 0 */
int ctld_pidfd_open_thread(int tid);
int ctld_inode(int fd, uint64_t *inode);
int ctld_close(int fd);
int ctld_duplicate(int fd); /* close-on-exec */
void ctld_yield(void);

/* Zeroed private memory without huge pages; NULL: out of memory. Whole pages. */
void *ctld_map(size_t bytes);
void ctld_unmap(void *address, size_t bytes);
/* Give the process fresh zero pages at the same address. */
int ctld_discard(void *address, size_t bytes);

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

/* Sleep while *word == value, at most until woken; wake one sleeper. */
void ctld_futex_wait(void *word, uint32_t value);
void ctld_futex_wake_one(void *word);

struct ctld_map_info {
	uint32_t type, id, key_size, value_size;
};

/* BPF_MAP_TYPE_TASK_STORAGE, BPF_NOEXIST: the kernel's numbers for Swift. */
enum { CTLD_MAP_TYPE_TASK_STORAGE = 29 };
enum { CTLD_UPDATE_ANY = 0, CTLD_UPDATE_NO_EXIST = 1 };

int ctld_bpf_map_info(int map, struct ctld_map_info *info);
/* The id alone, or a negative errno. */
int64_t ctld_bpf_map_id(int map);
int ctld_bpf_map_update(int map, int pidfd, const void *value, uint64_t flags);
int ctld_bpf_map_delete(int map, int pidfd);

/* What is at a path: opened without following a last symbolic link, and not for reading. */
struct ctld_pin {
	uint8_t is_bpffs, is_file, is_link;
	uint8_t is_trusted_owner; /* root or the caller */
	uint8_t others_may_write;
	uint64_t inode;
};

int ctld_open_pin(const char *path, struct ctld_pin *pin);
/* The object that is pinned at what ctld_open_pin() opened, for writing. Needs /proc. */
int ctld_bpf_obj_get(int pin);

/* What happens to the names in a directory. */
int ctld_inotify_open(void);
int ctld_inotify_add(int inotify, const char *directory);
void ctld_inotify_remove(int inotify, int watch);

/* What ends a sleep. The program may close our descriptors and have others by their numbers. */
struct ctld_wake {
	int sleeper, waker;
	uint64_t inode;
};

int ctld_wake_open(struct ctld_wake *wake);
int ctld_wake_is_open(const struct ctld_wake *wake);
void ctld_wake_up(const struct ctld_wake *wake);

/* Sleep until an event, a wake-up or the end of so many ms; consumes what woke it. */
void ctld_wait_events(int inotify, const struct ctld_wake *wake, int ms);

/* A detached thread with a small stack, all signals blocked. */
int ctld_start_thread(void *(*body)(void *), void *arg);
void ctld_name_watcher(void); /* the calling thread */
void ctld_at_exit(void (*handler)(void)); /* one handler */

/* 1 where uname(2) names a kernel from before UPTR (6.13), else 0. */
int ctld_kernel_predates_uptr(void);

#endif
