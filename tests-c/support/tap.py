# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
"""tap.py - what the tests in Python share: Test Anything Protocol, where things are, and waiting.

A test calls ok(), is_() or skip() for each sentence, and finish() at its end. A test that the
machine cannot run calls skip_all() before any of them. The reason begins with "kernel:" where the
kernel lacks something; STRICT=1 turns that into a failure.
"""

import os
import pprint
import signal
import sys
import time

SRC = os.environ.get("SRC") or os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
BUILD = os.path.join(SRC, os.environ.get("BUILD") or "build")

# What a failure shows of each value: more hides the failure itself.
LINES, COLUMNS = 40, 200

points = failures = 0

# What is registered with atexit runs when the test is told to end, too.
signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def ok(condition, sentence, *details):
    """One point. Details are shown if the condition is not true."""
    global points, failures
    points += 1
    failures += not condition
    print(f"{'' if condition else 'not '}ok {points} - {sentence}", flush=True)
    if not condition:
        for detail in details:
            remark(*shown(detail))
    return bool(condition)


def is_(got, want, sentence):
    """One point: both are the same. A failure shows both."""
    return ok(got == want, sentence, "got:", got, "want:", want)


def skip(sentence, reason):
    """A point that cannot be tried here."""
    global points
    points += 1
    print(f"ok {points} - {sentence} # SKIP {reason}", flush=True)


def skip_all(reason):
    print(f"1..0 # SKIP {reason}", flush=True)
    sys.exit(0)


def finish():
    print(f"1..{points}", flush=True)
    sys.exit(failures != 0)


def remark(*lines):
    """Comments, which are no points."""
    for line in lines:
        print("#   " + line, flush=True)


def shown(value):
    """A value as short lines without control characters. Text stays text."""
    text = value if isinstance(value, str) else pprint.pformat(value, width=COLUMNS // 2, compact=True)
    lines = ["".join(c if c.isprintable() else repr(c)[1:-1] for c in line) for line in text.splitlines()]
    short = [line if len(line) <= COLUMNS else line[:COLUMNS] + "..." for line in lines[:LINES]]
    return short + ([f"... and {len(lines) - LINES} lines more"] if len(lines) > LINES else [])


def patience(seconds):
    """Seconds after which something has hung that takes so long at rest. The factor is how many
    processes want each processor now, and one. C tests have the same in often.h."""
    return seconds * min(30, 1 + os.getloadavg()[0] / os.cpu_count())


def await_(condition, seconds=20):
    """What the condition gives once it is true, else what it gave last."""
    end = time.monotonic() + patience(seconds)
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return found
