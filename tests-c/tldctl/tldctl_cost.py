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

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
from tool import TOOL, Program

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 101
interval = sys.argv[2] if len(sys.argv) > 2 else "1"

loop = Program("hint_loop")


def hint():
    """Nanoseconds a hint, of the thread's own time and by the clock on the wall."""
    loop.send()
    return [float(number) for number in loop.line().split()]


watch = subprocess.Popen([TOOL, "watch", "--pid", str(loop.pid), "--interval", interval],
                         stdout=subprocess.DEVNULL)
pairs = []
for _ in range(rounds):
    watch.send_signal(signal.SIGSTOP)
    without = hint()
    watch.send_signal(signal.SIGCONT)
    pairs.append((without, hint()))
watch.kill()
loop.end()

for place, what in enumerate(("the thread's own time", "the clock on the wall")):
    without, beside = [pair[0][place] for pair in pairs], [pair[1][place] for pair in pairs]
    print(f"{what}: {statistics.median(without):.3f} ns a hint, {statistics.median(beside):.3f} beside watch "
          f"every {interval} s; ratio of the medians {statistics.median(beside) / statistics.median(without):.3f}, "
          f"of the least {min(beside) / min(without):.3f}, median of the ratios "
          f"{statistics.median(b / a for a, b in zip(without, beside)):.3f}")
