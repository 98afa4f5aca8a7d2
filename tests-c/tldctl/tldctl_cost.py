#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
"""tldctl_cost.py [ROUNDS [INTERVAL]] - what `tldctl watch` costs the program that it
watches: a loop that stores hints, with a watch beside it that is stopped and continued in turn. For
docs/guide/tldctl-watch.md; no test, for it is as loaded as its machine."""

import os
import signal
import statistics
import subprocess
import sys

source = os.environ.get("SRC") or os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
build = os.path.join(source, os.environ.get("BUILD") or "build")
rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 101
interval = sys.argv[2] if len(sys.argv) > 2 else "1"

loop = subprocess.Popen([os.path.join(build, "tests-c", "tldctl", "hint_loop")], stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE, text=True)
if loop.stdout.readline() != "ready\n":
    sys.exit("hint_loop did not begin")


def hint():
    """Nanoseconds a hint, of the thread's own time and by the clock on the wall."""
    loop.stdin.write("\n")
    loop.stdin.flush()
    return [float(number) for number in loop.stdout.readline().split()]


watch = subprocess.Popen([os.path.join(build, "bin", "tldctl"), "watch", "--pid", str(loop.pid), "--interval", interval],
                         stdout=subprocess.DEVNULL)
pairs = []
for _ in range(rounds):
    watch.send_signal(signal.SIGSTOP)
    without = hint()
    watch.send_signal(signal.SIGCONT)
    pairs.append((without, hint()))
watch.kill()
loop.stdin.close()

for place, what in enumerate(("the thread's own time", "the clock on the wall")):
    without, beside = [pair[0][place] for pair in pairs], [pair[1][place] for pair in pairs]
    print(f"{what}: {statistics.median(without):.3f} ns a hint, {statistics.median(beside):.3f} beside watch "
          f"every {interval} s; ratio of the medians {statistics.median(beside) / statistics.median(without):.3f}, "
          f"of the least {min(beside) / min(without):.3f}, median of the ratios "
          f"{statistics.median(b / a for a, b in zip(without, beside)):.3f}")
