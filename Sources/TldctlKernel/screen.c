// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * screen.c - a terminal taken, and given back on every way out.
 *
 * The handful of control sequences here are understood by whatever calls itself a terminal
 * today, so that tldctl needs no library, and no database of terminals, for one table.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "ctldctl.h"

/* Alternate screen, no wrapping (a name wider than we think stays in its line), no cursor. */
static const char enter_words[] = "\033[?1049h\033[?7l\033[?25l\033[2J";
static const char leave_words[] = "\033[0m\033[?25h\033[?7h\033[?1049l";

static int terminal = -1;	/* a description of its own: not blocking is nobody else's affair */
static struct termios before;
static volatile sig_atomic_t is_entered, wants_redraw;
static sigset_t outside_wait;	/* the mask before; within, SIGWINCH and the like are taken only in wait */

static const int endings[] = {
	SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGALRM, SIGUSR1, SIGUSR2,
	SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS,
};
#define ENDINGS (sizeof(endings) / sizeof(endings[0]))

/* A terminal that takes nothing for so long is not waited for, without limit if negative. */
static int write_all(const char *bytes, size_t count, int milliseconds)
{
	struct pollfd file = { .fd = terminal, .events = POLLOUT };

	while (count) {
		ssize_t length = write(terminal, bytes, count);

		if (length > 0) {
			bytes += length;
			count -= (size_t)length;
		} else if (errno == EAGAIN) {
			if (!poll(&file, 1, milliseconds))
				return -EAGAIN;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

/* From a process in the background this stops it until it is in front again: SIGTTOU. */
static int enter(void)
{
	struct termios raw = before;

	/* Ctrl-C and Ctrl-Z go on being signals; Ctrl-S must not freeze what is drawn. */
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | IEXTEN);
	raw.c_iflag &= ~(tcflag_t)(IXON | ICRNL | INLCR | IGNCR);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	while (tcsetattr(terminal, TCSANOW, &raw))
		if (errno != EINTR)
			return -errno;
	is_entered = 1;
	wants_redraw = 1;
	return write_all(enter_words, sizeof(enter_words) - 1, -1);
}

/* Signal handlers call this. In the background the terminal is somebody else's by now. */
static void leave(void)
{
	if (!is_entered)
		return;
	is_entered = 0;
	if (tcgetpgrp(terminal) != getpgrp())
		return;
	write_all(leave_words, sizeof(leave_words) - 1, 500);
	tcsetattr(terminal, TCSANOW, &before);
}

/* SA_RESETHAND: raised again, the signal does what it does without us. */
static void on_ending(int signal_number)
{
	leave();
	raise(signal_number);
}

static void catch(int signal_number, void (*handler)(int), int flags)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = flags };

	sigfillset(&action.sa_mask);
	/* Blocked, it would let us take the terminal from whoever is in front. */
	sigdelset(&action.sa_mask, SIGTTOU);
	sigaction(signal_number, &action, NULL);
}

static void on_stop(int signal_number)
{
	int saved = errno;
	sigset_t this_one;

	leave();
	sigemptyset(&this_one);
	sigaddset(&this_one, signal_number);
	signal(signal_number, SIG_DFL);
	raise(signal_number);
	sigprocmask(SIG_UNBLOCK, &this_one, NULL); /* here we stop, and from here we go on */
	sigprocmask(SIG_BLOCK, &this_one, NULL);
	catch(signal_number, on_stop, 0);
	errno = saved; /* SIGCONT, next, enters again */
}

static void on_continue(int signal_number)
{
	int saved = errno;

	(void)signal_number;
	enter();
	errno = saved;
}

static void on_resize(int signal_number)
{
	(void)signal_number;
	wants_redraw = 1;
}

/* What is ignored, by nohup for instance, stays so. */
static void catch_all(void)
{
	struct sigaction old;

	for (size_t i = 0; i < ENDINGS; i++)
		if (!sigaction(endings[i], NULL, &old) && old.sa_handler == SIG_DFL)
			catch(endings[i], on_ending, (int)SA_RESETHAND);
	if (!sigaction(SIGTSTP, NULL, &old) && old.sa_handler == SIG_DFL)
		catch(SIGTSTP, on_stop, 0);
	catch(SIGCONT, on_continue, 0);
	catch(SIGWINCH, on_resize, 0);
}

static void release_all(void)
{
	struct sigaction old;
	static const int others[] = { SIGTSTP, SIGCONT, SIGWINCH };

	for (size_t i = 0; i < ENDINGS; i++)
		if (!sigaction(endings[i], NULL, &old) && old.sa_handler == on_ending)
			signal(endings[i], SIG_DFL);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (!sigaction(others[i], NULL, &old) && old.sa_handler != SIG_IGN)
			signal(others[i], SIG_DFL);
	sigprocmask(SIG_SETMASK, &outside_wait, NULL);
}

/* Whether standard output is the same terminal: /dev/tty is another file of it. */
static int is_output(int fd)
{
	unsigned int own = 0, output = 0;

	return !ioctl(fd, TIOCGDEV, &own) && !ioctl(STDOUT_FILENO, TIOCGDEV, &output) && own == output;
}

int ctldctl_screen_open(void)
{
	sigset_t only_in_wait;
	int err;

	terminal = open("/dev/tty", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (terminal < 0 || !is_output(terminal) || tcgetattr(terminal, &before)) {
		if (terminal >= 0)
			close(terminal);
		terminal = -1;
		return -ENOTTY;
	}
	sigemptyset(&only_in_wait);
	sigaddset(&only_in_wait, SIGWINCH);
	sigaddset(&only_in_wait, SIGCONT);
	sigaddset(&only_in_wait, SIGTSTP);
	sigprocmask(SIG_BLOCK, &only_in_wait, &outside_wait);
	catch_all();
	err = enter();
	if (err)
		ctldctl_screen_close();
	return err;
}

void ctldctl_screen_close(void)
{
	if (terminal < 0)
		return;
	leave();
	release_all();
	close(terminal);
	terminal = -1;
}

void ctldctl_screen_size(int *rows, int *columns)
{
	struct winsize size = { 0 };

	ioctl(terminal, TIOCGWINSZ, &size);
	*rows = size.ws_row ? size.ws_row : 24;
	*columns = size.ws_col ? size.ws_col : 80;
}

int ctldctl_screen_write(const void *bytes, size_t count)
{
	return write_all(bytes, count, -1);
}

int ctldctl_screen_wait(int milliseconds)
{
	struct timespec limit = { milliseconds / 1000, milliseconds % 1000 * 1000000L };
	struct pollfd file = { .fd = terminal, .events = POLLIN };
	sigset_t within = outside_wait;
	int events = 0, ready = 0;

	sigdelset(&within, SIGWINCH);
	sigdelset(&within, SIGCONT);
	sigdelset(&within, SIGTSTP);
	/* Also when there is something already: signals are let in here and nowhere else. */
	ready = ppoll(&file, 1, wants_redraw ? &(struct timespec){ 0 } : milliseconds < 0 ? NULL : &limit, &within);
	if (ready > 0 && file.revents & (POLLHUP | POLLERR | POLLNVAL))
		events |= CTLDCTL_SCREEN_GONE;
	if (ready > 0 && file.revents & POLLIN)
		events |= CTLDCTL_SCREEN_KEYS;
	if (wants_redraw)
		events |= CTLDCTL_SCREEN_REDRAW;
	wants_redraw = 0;
	return events;
}

int ctldctl_screen_read(void *bytes, size_t capacity)
{
	ssize_t length = read(terminal, bytes, capacity);

	if (length >= 0)
		return (int)length;
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}
