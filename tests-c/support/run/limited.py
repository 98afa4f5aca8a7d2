#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
"""limited.py SECONDS COMMAND... - runs a test that can neither hang nor leave anything behind.

The command has a session of its own, and whatever it starts and forgets becomes a child of this
process. When it ends, what still runs is named and killed, and the exit status is 1. It is ended
after so many seconds of a machine that is at rest: on a busy one they pass more slowly. Then the
stacks of all threads are printed first, as comments of TAP, and the exit status is 124."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
GRACE = 2  # seconds for what is ending already


def say(text):
    print("\n".join("#   " + line for line in text.splitlines()), flush=True)


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def descendants(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task") if os.path.isdir(f"/proc/{pid}/task") else []:
        for child in read(f"/proc/{pid}/task/{task}/children").split():
            found += [int(child), *descendants(int(child))]
    return found


def is_zombie(pid):
    return read(f"/proc/{pid}/stat").rpartition(")")[2].split()[:1] in (["Z"], [])


def describe(pid):
    return f"process {pid} {read(f'/proc/{pid}/comm').strip()}: {read(f'/proc/{pid}/cmdline')[:200].replace(chr(0), ' ')}"


def show_stacks(pid):
    say(describe(pid))
    for task in sorted(os.listdir(f"/proc/{pid}/task"), key=int)[:40]:
        of = f"/proc/{pid}/task/{task}/"
        say(f"thread {task} {read(of + 'comm').strip()}, in {read(of + 'wchan') or '-'}, system call {read(of + 'syscall').strip()}")
    if shutil.which("gdb"):
        done = subprocess.run(["gdb", "-p", str(pid), "-batch", "-nx", "-ex", "thread apply all backtrace 12"], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, errors="replace", timeout=60, check=False)
        say("\n".join(line for line in done.stdout.splitlines() if line.startswith(("Thread ", "#")))[:8000])


def end_all():
    """Kills what is below this process until there is nothing."""
    for _ in range(100):
        left = descendants(os.getpid())
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.02)


def is_ended(child, left):
    """Waits, reaping others' orphans, for so many seconds of rest."""
    tick = 0.05
    while left > 0:
        if child.poll() is not None:
            return True
        time.sleep(tick)
        runnable = int(read("/proc/loadavg").split()[3].split("/")[0])
        left -= tick / max(1, runnable / os.cpu_count())
        tick = min(tick * 1.5, 0.5)
    return False


def left_behind():
    """What outlived the test, but for what ends by itself at once."""
    end = time.monotonic() + GRACE
    while (left := [pid for pid in descendants(os.getpid()) if not is_zombie(pid)]) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def main():
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def prepare():
        os.setsid()
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    def stop(number, _):
        end_all()
        os._exit(128 + number)

    for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
        signal.signal(number, stop)
    child = subprocess.Popen(sys.argv[2:], preexec_fn=prepare)
    if not is_ended(child, float(sys.argv[1])):
        say(f"it hung: ended after {sys.argv[1]} s and more")
        for pid in [child.pid, *descendants(child.pid)][:8]:
            try:
                show_stacks(pid)
            except (OSError, subprocess.SubprocessError) as error:
                say(f"process {pid}: {error}")
        end_all()
        sys.exit(124)
    left = left_behind()
    for pid in left:
        say("outlived the test: " + describe(pid))
    end_all()
    sys.exit(child.returncode if child.returncode > 0 else 128 - child.returncode if child.returncode else bool(left))


if __name__ == "__main__":
    main()
