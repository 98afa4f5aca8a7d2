/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * traps.h - a signal after each single instruction of a stretch of code, by the
 * processor's trap flag; signals.c has the same for what it is about. The stretch
 * must not block signals: the kernel ends a thread that traps with SIGTRAP blocked.
 */
#ifndef TESTS_C_TRAPS_H
#define TESTS_C_TRAPS_H

#ifdef __x86_64__

#include <signal.h>
#include <ucontext.h>
#include "tap.h"

#define TRAP_FLAG 0x100

/* Runs after each instruction while trapping, with how many there were before. */
static void (*at_trap)(unsigned long number);
static volatile sig_atomic_t trapping;
static unsigned long traps;

/* The red zone of the function that this is inlined in is stepped over. */
static inline __attribute__((always_inline)) void trap_on(void)
{
	traps = 0;
	trapping = true;
	__asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; orq %0, (%%rsp); popfq; lea 128(%%rsp), %%rsp"
			 : : "i"(TRAP_FLAG) : "memory", "cc");
}

static inline __attribute__((always_inline)) void trap_off(void)
{
	trapping = false;
}

/* Without the flag in the interrupted context the next instruction does not trap. */
static void trapped(int signal, siginfo_t *info, void *context)
{
	ucontext_t *interrupted = context;
	int err = errno;

	(void)signal;
	(void)info;
	if (trapping)
		at_trap(traps++);
	if (!trapping)
		interrupted->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
	errno = err;
}

__attribute__((unused))
static void trap_with(void (*handler)(unsigned long number))
{
	struct sigaction action = { .sa_sigaction = trapped, .sa_flags = SA_SIGINFO };

	at_trap = handler;
	if (sigaction(SIGTRAP, &action, NULL))
		tap_bail("a handler can be set");
}

#endif

#endif
