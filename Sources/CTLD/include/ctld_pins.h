/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* ctld_pins.h - what is at a path, what happens in its directory, and the sleep until something does. */
#ifndef CTLD_PINS_H
#define CTLD_PINS_H

#include <stdint.h>

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

#endif
