#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
"""Shows what hints gain: load under several schedulers, a table, and a picture.

Boots a kernel that has sched_ext under qemu, or, with --host, uses the running one. The load is
regimes.sh's; this gathers its figures and compares them."""

import argparse
import collections
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
VM = HERE.parents[1] / "tests-c/kernels/vm"

# Time in a guest passes by the instructions that it executes, 2 ns each, whatever else the
# machine does. Several processors then take turns; the filter's timer makes the turns short.
GUEST_OPTIONS = ("-cpu max -icount shift=1,sleep=off "
                 "-netdev hubport,hubid=0,id=n -object filter-buffer,id=f,netdev=n,interval=50")
GUEST_TRIES = 3
GUEST_SECONDS = 1200

# What is compared: words, the one figure, the other, and the target. A figure is regime, name,
# and which of its values.
Ratio = collections.namedtuple("Ratio", "words above below target")
P99 = ("latency", "p99")
RATIOS = {
    "load": [
        Ratio("p99 latency, hints / kernel's scheduler", ("hints", *P99), ("default", *P99), "<= 0.20"),
        Ratio("p99 latency, hints / nice -10", ("hints", *P99), ("nice", *P99), ""),
        Ratio("p99 latency, hints / scx_hint without", ("hints", *P99), ("off", *P99), "<= 0.20"),
        Ratio("burners' work, hints / kernel's scheduler", ("hints", "beside", "work"),
              ("default", "beside", "work"), ">= 0.90"),
        Ratio("burners alone, scx_hint / kernel's scheduler", ("off", "alone", "work"),
              ("default", "alone", "work"), ">= 0.97"),
        Ratio("a burner's time, least / mean, scx_hint", ("off", "alone", "least"), ("off", "alone", "mean"), ">= 0.95"),
    ],
    "lies": [
        Ratio("others' time, one lies / nobody does", ("lying", "others", "cpu"),
              ("honest", "others", "cpu"), ">= 0.50"),
        Ratio("others' time, the liar not trusted / nobody lies", ("distrusted", "others", "cpu"),
              ("honest", "others", "cpu"), ">= 0.95"),
    ],
    "server": [
        Ratio("server's p99, hints / kernel's scheduler", ("hints", "interactive", "p99_us"),
              ("default", "interactive", "p99_us"), ""),
        Ratio("server's p99, hints / scx_hint without", ("hints", "interactive", "p99_us"),
              ("off", "interactive", "p99_us"), ""),
        Ratio("reports served, hints / kernel's scheduler", ("hints", "report", "requests"),
              ("default", "report", "requests"), ""),
    ],
}


def say(words):
    print(f"demo-sched: {words}", file=sys.stderr, flush=True)


class Part:
    """Some of regimes.sh's parts, in a process of their own, whose output goes to a file."""

    def __init__(self, names, options):
        self.names, self.options = names, options
        self.directory = options.output / "-".join(names)
        self.result = self.directory / "result"
        self.tries = self.rounds_seen = 0
        self.directory.mkdir(parents=True, exist_ok=True)
        self.start()

    def start(self):
        self.tries += 1
        self.result.write_text("")
        rounds, ms = self.options.rounds, self.options.ms
        if self.options.host:
            command = [HERE / "regimes.sh", self.options.host, str(rounds), str(ms), *self.names]
            self.process = subprocess.Popen(command, stdout=self.result.open("w"), start_new_session=True)
            return
        environment = dict(os.environ, VM_OPTIONS=GUEST_OPTIONS, VM_SECONDS=str(GUEST_SECONDS), VM_CPUS="2")
        command = [VM / "boot.sh", self.options.qemu, "x86-64", self.options.kernel, self.options.guest,
                   self.directory, f"SCHED_ROUNDS={rounds}", f"SCHED_MS={ms}", f"SCHED_PARTS={','.join(self.names)}"]
        self.process = subprocess.Popen(command, env=environment, start_new_session=True)

    def lines(self):
        return self.result.read_text(errors="replace").splitlines() if self.result.exists() else []

    def is_done(self):
        """Whether it ended well. An emulator that crashed is tried again."""
        lines = self.lines()
        rounds = sum(line.startswith("round ") for line in lines)
        if rounds > self.rounds_seen:
            say(f"{' and '.join(self.names)}: round {rounds} of {self.options.rounds}")
        self.rounds_seen = rounds
        failures = [line for line in lines if line.startswith("failed: ")]
        if failures:
            sys.exit(f"demo-sched: {failures[0][8:]} (all of it: {self.result})")
        if self.process.poll() is None:
            return False
        if "done" in lines:
            return True
        if self.options.host or self.tries == GUEST_TRIES:
            sys.exit(f"demo-sched: no result, see {self.directory}")
        say("the emulator ended without a result; once more")
        self.start()
        return False

    def end(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait()


def gather(parts):
    """Figures: (regime, name, value's name) -> a value for each round."""
    figures = collections.defaultdict(list)
    for part in parts:
        for line in part.lines():
            word, *rest = line.split()
            if word == "figure":
                _, regime, name, *values = rest
                for key, value in zip(values[::2], values[1::2]):
                    figures[regime, name, key].append(float(value))
    return figures


def print_table(names, figures):
    """Return: whether all targets are met."""
    is_met = True
    print(f"{'':49} {'ratio':>6}  {'of the rounds':14} {'target':8}")
    for name in names:
        for ratio in RATIOS[name]:
            above, below = figures[ratio.above], figures[ratio.below]
            value = statistics.median(above) / statistics.median(below)
            each = [a / b for a, b in zip(above, below)]
            verdict = ""
            if ratio.target:
                sign, bound = ratio.target.split()
                good = value <= float(bound) if sign == "<=" else value >= float(bound)
                verdict = "met" if good else "MISSED"
                is_met = is_met and good
            print(f"{ratio.words:49} {value:6.3f}  {min(each):.3f} - {max(each):.3f}  {ratio.target:8} {verdict}".rstrip())
    return is_met


def draw(output, figures):
    """The latencies' distribution under each regime, with gnuplot."""
    words = {"default": "the kernel's scheduler", "nice": "the same, nice -10",
             "off": "scx_hint, hints off", "hints": "scx_hint, hints on"}
    data, picture = output / "latency.dat", output / "latency.svg"
    with data.open("w") as file:
        for regime, title in words.items():
            file.write(f'"{title}"\n')
            for place, key in enumerate(("p50", "p90", "p99", "p999", "max")):
                values = [value / 1000 for value in figures[regime, "latency", key]]
                file.write(f"{place} {statistics.median(values)} {min(values)} {max(values)}\n")
            file.write("\n\n")
    subprocess.run(["gnuplot", "-e", f"data='{data}';picture='{picture}'", HERE / "picture.gnuplot"], check=True)
    return picture


def parse_options():
    parser = argparse.ArgumentParser(prog="demo-sched", description=__doc__.split("\n")[0])
    parser.add_argument("--host", metavar="DIRECTORY", help="use the running kernel, and the programs in there")
    parser.add_argument("--guest", metavar="FILE", help="the guest's initramfs")
    parser.add_argument("--kernel", metavar="FILE", help="the guest's kernel")
    parser.add_argument("--qemu", metavar="DIRECTORY")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ms", type=int, default=2000, help="of each measurement")
    parser.add_argument("--output", type=Path, required=True, metavar="DIRECTORY", help="for what is written")
    parser.add_argument("--parts", default="load,lies server", help='"a,b c": a in one guest, b and c in another')
    options = parser.parse_args()
    if not options.host and not (options.guest and options.kernel and options.qemu):
        parser.error("either --host, or --guest, --kernel and --qemu")
    if options.rounds < 1:
        parser.error("at least one round")
    return options


def main():
    options = parse_options()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda got, frame: sys.exit(128 + got))
    began = time.monotonic()
    groups = [group.split() for group in options.parts.split(",")]
    if options.host:
        groups = [[name for group in groups for name in group]]
    parts = []
    try:
        parts = [Part(group, options) for group in groups]
        while not all([part.is_done() for part in parts]):
            time.sleep(0.5)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        for part in parts:
            part.end()
    names = [name for group in groups for name in group]
    figures = gather(parts)
    is_met = print_table(names, figures)
    if "load" in names:
        print(f"latencies: {draw(options.output, figures)}")
    print(f"{options.rounds} rounds, {time.monotonic() - began:.0f} s; all figures: {options.output}/*/result")
    sys.exit(0 if is_met else 1)


if __name__ == "__main__":
    main()
