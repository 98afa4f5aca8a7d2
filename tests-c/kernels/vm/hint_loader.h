/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * hint_loader.h - scx_hint as a child: started, asked what it says and counts, and ended. And
 * what the kernel says of sched_ext.
 */
#ifndef TESTS_C_VM_HINT_LOADER_H
#define TESTS_C_VM_HINT_LOADER_H

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tap.h"
#include "threads.h"

#define SCX_HINT "/hint/scx_hint"

#define LOADER_ARGS_MAX 16

struct loader {
	pid_t pid;
	int output;		/* a file with all that it says */
	int status;		/* its exit status, or -signal; only when it has ended */
	bool ended;
};

/* Start a program with arguments up to NULL, as a user; it ends with this process. */
#define loader_start(...) loader_start_as(0, __VA_ARGS__, NULL)

__attribute__((unused))
static struct loader loader_start_as(uid_t uid, ...)
{
	struct loader loader = { .output = memfd_create("output", MFD_CLOEXEC) };
	char *args[LOADER_ARGS_MAX] = { NULL };
	va_list list;

	va_start(list, uid);
	for (int i = 0; i < LOADER_ARGS_MAX - 1 && (args[i] = va_arg(list, char *)); i++)
		;
	va_end(list);
	loader.pid = loader.output < 0 ? -1 : fork();
	if (loader.pid < 0)
		tap_bail("a child can be started");
	if (!loader.pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* The verifier takes long on an emulated machine, and beside load it would for ever. */
		setpriority(PRIO_PROCESS, 0, -20);
		dup2(loader.output, STDOUT_FILENO);
		dup2(loader.output, STDERR_FILENO);
		if (uid && setuid(uid))
			_exit(126);
		execv(args[0], args);
		_exit(127);
	}
	return loader;
}

/* All that it said so far; valid until the next call. */
static const char *loader_output(const struct loader *loader)
{
	static char text[1 << 16];
	ssize_t n = pread(loader->output, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = 0;
	return text;
}

static bool loader_said(const struct loader *loader, const char *words)
{
	return strstr(loader_output(loader), words);
}

/* What it printed under a name with --stats, all seconds together. */
__attribute__((unused))
static unsigned long long loader_counted(const struct loader *loader, const char *name)
{
	const char *text = loader_output(loader), *at = text;
	size_t length = strlen(name);
	unsigned long long sum = 0;

	while ((at = strstr(at, name))) {
		bool whole = (at == text || at[-1] == ' ' || at[-1] == '\n') && at[length] == ' ';

		at += length;
		sum += whole ? strtoull(at, NULL, 10) : 0;
	}
	return sum;
}

static bool loader_has_ended(struct loader *loader)
{
	int status;

	if (!loader->ended && waitpid(loader->pid, &status, WNOHANG) == loader->pid) {
		loader->ended = true;
		loader->status = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
	}
	return loader->ended;
}

/* Return: its exit status, or -signal. 0 as the signal waits for it to end by itself. */
static int loader_end(struct loader *loader, int signal)
{
	if (signal && !loader_has_ended(loader))
		kill(loader->pid, signal);
	if (!eventually(loader_has_ended(loader))) {
		diag("it does not end");
		kill(loader->pid, SIGKILL);
		eventually(loader_has_ended(loader));
	}
	return loader->status;
}

/* Let go of what it said; it has ended. */
__attribute__((unused))
static void loader_forget(struct loader *loader)
{
	close(loader->output);
}

/* Shows what it said, when a test point failed. */
__attribute__((unused))
static void loader_show(const struct loader *loader)
{
	char *copy = strdup(loader_output(loader)), *rest = copy, *line;

	while ((line = strsep(&rest, "\n")))
		if (*line)
			diag("  %s", line);
	free(copy);
}

/* --- The kernel --- */

/* The first line of a file of sched_ext, without its end; valid until the next call. */
static const char *scx_file(const char *name)
{
	static char line[128];
	char path[128];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/sched_ext/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
	if (fd >= 0)
		close(fd);
	line[n > 0 ? n : 0] = 0;
	line[strcspn(line, "\n")] = 0;
	return line;
}

static bool scx_is(const char *name, const char *wanted)
{
	return !strcmp(scx_file(name), wanted);
}

/* Rises each time that a scheduler is put in place. */
__attribute__((unused))
static long scx_enable_seq(void)
{
	return atol(scx_file("enable_seq"));
}

static bool hint_schedules(void)
{
	return scx_is("state", "enabled") && scx_is("root/ops", "hint");
}

#endif
