#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
"""What TLDs cost, beside the kernel's own headers and other ways to give hints.

Runs each program of make bench once a round, one after the other, so that what the
machine does meanwhile falls on all of them. Within a program, peers take turns. A row is
the ratio of two figures of the same round; shown is its median over the rounds, and the
least and the most."""

import argparse
import json
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

PROGRAMS = ("paths", "first", "threads", "look", "sharing", "startup", "library")


# --- Rows: how they follow from the figures of one round --------------------------------


class Row:
    """One row. @line: the words of its line in the table; @detail: which part of it.

    @names: the figures that it is made of, @value: what it makes of their numbers.
    @limit: None: reported only.
    """

    def __init__(self, program, line, detail, target, limit, value, *names, unit="", strict=False):
        self.program, self.line, self.detail, self.target = program, line, detail, target
        self.limit, self.value, self.names, self.unit = limit, value, names, unit
        self.strict = strict

    def is_met(self, median):
        return median < self.limit if self.strict else median <= self.limit

    def matches(self, pattern):
        return pattern.lower() in f"{self.line}: {self.detail}".lower()


def itself(figure):
    return figure


def ratio(a, b):
    return a / b


def difference(a, b):
    return a - b


def net_ratio(a, b, loop):
    """What two loops take beyond the empty one."""
    return (a - loop) / (b - loop)


def rows():
    all_rows = []

    def line(program, words, target, limit, *parts, unit="", strict=False):
        """Each of parts: which one, how it is made of figures, the figures' names."""
        for detail, value, *names in parts:
            all_rows.append(Row(program, words, detail, target, limit, value, *names,
                                unit=unit, strict=strict))

    line("paths", "user: inline tld_get_data + store / the kernel's inline", "<= 0.85", 0.85,
         ("", ratio, "get_data", "kernel_get_data"))
    line("paths", "user: tld_get + store / the kernel's inline", "<= 0.80", 0.80,
         ("", ratio, "get", "kernel_get_data"))
    line("paths", "user: exported function / the kernel's inline", "<= 3", 3,
         ("tld_get_data", ratio, "exported_get_data", "kernel_get_data"),
         ("tld_get", ratio, "exported_get", "kernel_get_data"))
    line("paths", "user: exported function / the kernel's inline", "", None,
         ("the floor: one that does nothing", ratio, "exported_nothing", "kernel_get_data"))
    words = "user: the kernel's where it is called more than once in a file, and so not inlined"
    line("paths", words, "", None,
         ("inline tld_get_data / the kernel's", ratio, "get_data", "kernel_get_data_called"),
         ("exported tld_get_data / the kernel's", ratio, "exported_get_data",
          "kernel_get_data_called"))
    line("paths", "user: held pointer / raw store to TLS", "<= 1.05", 1.05,
         ("", ratio, "held", "raw"))
    line("paths", "user: a hint / bpf_map_update_elem of a hint", "<= 1/1,000", 0.001,
         ("by a held pointer / task storage", ratio, "held", "update_storage"),
         ("by a held pointer / hash", ratio, "held", "update_hash"),
         ("by tld_get / task storage", ratio, "get", "update_storage"),
         ("by tld_get / hash", ratio, "get", "update_hash"))

    words = "user: first use in a thread / the kernel's"
    line("first", words, "<= 1.0", 1.0,
         ("threads that stay", ratio, "tld_first_staying", "kernel_first_staying"),
         ("one thread after the other", ratio, "tld_first_passing", "kernel_first_passing"))
    line("first", words, "3", 3, ("system calls", itself, "tld_first_calls"))
    line("first", words, "", None, ("system calls, the kernel's", itself, "kernel_first_calls"))
    line("first", "user: key creation with 0, 30, 62 keys / the kernel's", "<= 1.0", 1.0,
         *((f"{n} keys", ratio, f"tld_create_{n}", f"kernel_create_{n}") for n in (0, 30, 62)))

    words = "user: 10,000 threads: memory per thread, time to attach and to detach them all"
    line("threads", words, "<= 130 bytes", 130,
         ("memory per thread, by default", itself, "memory"),
         ("memory per thread, TLD_DYN_DATA_SIZE=8", itself, "memory_smallest"), unit="bytes")
    line("threads", words, "", None,
         ("memory per thread, no map known yet", itself, "memory_no_map"), unit="bytes")
    line("threads", words, "< 50 ms", 50,
         ("attach, beyond 3 system calls each", difference, "tld_attach", "bare_attach"),
         ("detach, beyond 3 system calls each", difference, "tld_detach", "bare_detach"),
         unit="ms", strict=True)
    line("threads", words, "", None,
         ("attach, system calls each", itself, "tld_attach_calls"),
         ("detach, system calls each", itself, "tld_detach_calls"))

    def net(detail, a, b):
        return (detail, net_ratio, a, b, "empty")

    line("look", "BPF: native look-up net of the loop / bare bpf_task_storage_get", "<= 1.10", 1.10,
         net("", "native_present", "bare"))
    line("look", "BPF: native / the kernel's header", "<= 0.40", 0.40,
         net("", "native_present", "kernel_present"))
    line("look", "BPF: drop-in header / the kernel's header", "<= 1.0", 1.0,
         net("", "dropin_present", "kernel_present"))
    line("look", "BPF: native / hash map by pid", "<= 0.6", 0.6, net("", "native_present", "hash"))
    line("look", "BPF: name absent, 0 and 62 TLDs defined / name present", "<= 1.2", 1.2,
         net("native, 0", "native_absent_of_0", "native_present"),
         net("native, 62", "native_absent", "native_present"),
         net("drop-in, 0", "dropin_absent_of_0", "dropin_present"),
         net("drop-in, 62", "dropin_absent", "dropin_present"))
    line("look", "BPF: first look (search of 62 names)", "reported", None,
         *((words, itself, f"{name}_first_look") for words, name in
           (("native", "native"), ("drop-in", "dropin"), ("the kernel's", "kernel"))), unit="ns")
    words = "BPF: reading 1, 4, 16 TLDs of one task in one program run"
    line("look", words, "", None, net("1 with a handle / tld_get", "native_one", "native_present"))
    line("look", words, "< 1.3", 1.3, net("4 with a handle / 1", "native_four", "native_one"),
         strict=True)
    line("look", words, "< 2", 2, net("16 with a handle / 1", "native_sixteen", "native_one"),
         strict=True)
    line("look", words, "", None,
         net("the floor: 16 words of bare task storage / 1", "bare_sixteen", "bare"),
         net("16, native / the kernel's header", "native_sixteen", "kernel_sixteen"),
         net("16, drop-in / the kernel's header", "dropin_sixteen", "kernel_sixteen"))

    words = "both: user stores on one core, BPF reads on the other: packed neighbours / alone"
    line("sharing", words, "<= 1.1", 1.1,
         ("BPF's look", ratio, "look_neighbour", "look_alone"),
         ("the store", ratio, "store_neighbour", "store_alone"))
    line("sharing", words, "", None,
         ("would it show? atomic add, in one cache line / apart", ratio, "add_beside", "add_apart"))

    words = ("library: size, relocations, "
             "start-up time of a program that links it / one that does not")
    line("library", words, "<= 96 KiB", 96, ("size", itself, "library_size"), unit="KiB")
    line("library", words, "reported", None, ("relocations", itself, "relocations"))
    line("startup", words, "<= 1.05", 1.05, ("start-up time", ratio, "start_linked", "start_plain"))
    line("startup", words, "", None,
         ("start-up time, a library with nothing in it", ratio, "start_empty_library",
          "start_plain"),
         ("start-up time, libtld.a", ratio, "start_static_libtld", "start_plain"))
    return all_rows


# --- Rounds ---------------------------------------------------------------------------------


class Figures:
    """The figures of all rounds, and why others are missing."""

    def __init__(self):
        self.rounds, self.units, self.missing, self.failed = [], {}, {}, {}

    def begin_round(self):
        self.rounds.append({})

    def add(self, name, value, unit):
        if value == "-":
            self.missing[name] = unit
        else:
            self.rounds[-1][name] = float(value)
            self.units[name] = unit

    def series(self, row):
        """The row's value in each round that has its figures."""
        return [row.value(*(figures[name] for name in row.names))
                for figures in self.rounds if all(name in figures for name in row.names)]

    def median(self, name):
        return statistics.median(figures[name] for figures in self.rounds if name in figures)

    def why_not(self, row):
        for name in row.names:
            if name in self.missing:
                return self.missing[name]
        return self.failed.get(row.program, "the program did not say")


def run_program(program, build, figures):
    done = subprocess.run([build / "bench" / program], stdin=subprocess.DEVNULL, text=True,
                          capture_output=True, check=False)
    for line in done.stdout.splitlines():
        figures.add(*line.split("\t", 2))
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
        figures.failed[program] = f"{program}: {said[-1]}"


def measure_library(build, figures):
    library = build / "libtld.so.1"
    listing = subprocess.run(["readelf", "-rW", library], text=True, capture_output=True,
                             check=True)
    figures.add("library_size", library.stat().st_size / 1024, "KiB")
    figures.add("relocations", len(re.findall(r"^[0-9a-f]{8,} ", listing.stdout, re.M)), "")


def measure(wanted, rounds, build):
    figures = Figures()
    programs = [program for program in PROGRAMS if any(row.program == program for row in wanted)]
    for number in range(1, rounds + 1):
        figures.begin_round()
        for program in programs:
            progress(f"round {number} of {rounds}: {program}")
            if program == "library":
                measure_library(build, figures)
            else:
                run_program(program, build, figures)
    progress("")
    return figures


def progress(words):
    """One line that is written over; where nobody would see that, one for each round."""
    if sys.stderr.isatty():
        print(f"\r\033[K{words}", end="", file=sys.stderr, flush=True)
    elif words.endswith(PROGRAMS[0]):
        print(words.removesuffix(f": {PROGRAMS[0]}"), file=sys.stderr, flush=True)


# --- The machine -------------------------------------------------------------------------------


def first_match(path, pattern, otherwise):
    try:
        found = re.search(pattern, Path(path).read_text(errors="replace"), re.M)
    except OSError:
        found = None
    return found.group(1) if found else otherwise


def compiler_version(command):
    try:
        said = subprocess.run([*shlex.split(command), "--version"], text=True, capture_output=True,
                              check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return f"{command}: not found"
    return next((line for line in said if "version" in line), said[0] if said else command)


def kernel_headers(build):
    """The version of the source whose headers the peers are."""
    makefile = build / "bench" / "kernel" / "Makefile"
    parts = [first_match(makefile, rf"^{name} = *(.*)$", "")
             for name in ("VERSION", "PATCHLEVEL", "EXTRAVERSION")]
    return f"those of Linux {parts[0]}.{parts[1]}{parts[2]}" if parts[0] else "not to be had"


def machine(build):
    return {
        "processor": first_match("/proc/cpuinfo", r"^model name\s*: (.*)$", platform.machine()),
        "processors": len(os.sched_getaffinity(0)),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "compilers": [compiler_version(os.environ[name]) for name in ("CC", "BPF_CLANG", "SWIFTC")
                      if os.environ.get(name)],
        "kernel_headers": kernel_headers(build),
    }


# --- What is printed -----------------------------------------------------------------------------


def number(value, as_printed=False):
    if as_printed and value == int(value):
        return f"{value:,.0f}"
    if 0 < value < 0.01:
        return f"1/{1 / value:,.0f}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}"


def verdict(row, series):
    if row.limit is None:
        return ""
    return "met" if row.is_met(statistics.median(series)) else "missed"


def made_of(row, figures):
    """The figures behind a row, with their unit; what is subtracted comes last."""
    if row.value is itself:
        return ""
    numbers = [number(figures.median(name)) for name in row.names]
    words = " / ".join(numbers[:2]) if row.value is not difference else " - ".join(numbers)
    if row.value is net_ratio:
        words += f", loop {numbers[2]}"
    return f"{words} {figures.units[row.names[0]]}"


def cells(row, figures):
    series = figures.series(row)
    if not series:
        return ["not measured:", figures.why_not(row)]
    median, least, most = (number(value, row.value is itself)
                           for value in (statistics.median(series), min(series), max(series)))
    return [f"{median} {row.unit}".rstrip(), f"{least} .. {most}", row.target or "reported",
            verdict(row, series), made_of(row, figures)]


def print_table(wanted, figures):
    labels, last = [], None
    for row in wanted:
        alone = sum(other.line == row.line for other in wanted) == 1
        if not alone and row.line != last:
            labels.append((row.line, None))
        labels.append((row.line + (f": {row.detail}" if row.detail else "") if alone
                       else f"  {row.detail}", row))
        last = row.line
    width = max(len(label) for label, row in labels if row)
    print(f"{'':{width}}  {'median':>11}  {'least .. most':16}  {'target':12}  {'':6}  from")
    for label, row in labels:
        if not row:
            print(label)
            continue
        row_cells = cells(row, figures)
        if len(row_cells) == 2:
            print(f"{label:{width}}  {' '.join(row_cells)}")
            continue
        median, spread, target, met, origin = row_cells
        print(f"{label:{width}}  {median:>11}  {spread:16}  {target:12}  {met:6}  {origin}"
              .rstrip())


def print_heading(about, rounds):
    print(f"{about['processor']}, {about['processors']} processors, {about['kernel']}")
    for compiler in about["compilers"]:
        print(compiler)
    print(f"The kernel's headers are {about['kernel_headers']}.")
    print(f"{rounds} rounds of {shlex.join(sys.argv)}\n")


def print_json(about, wanted, figures):
    def describe(row):
        series = figures.series(row)
        known = {"line": row.line, "detail": row.detail, "target": row.target, "unit": row.unit}
        if not series:
            return {**known, "verdict": "not measured", "reason": figures.why_not(row)}
        return {**known, "median": statistics.median(series), "least": min(series),
                "most": max(series), "rounds": series, "verdict": verdict(row, series)}

    json.dump({"machine": about, "command": sys.argv, "rounds": len(figures.rounds),
               "rows": [describe(row) for row in wanted],
               "figures": {name: {"unit": unit, "rounds": [figures_of.get(name) for figures_of in
                                                           figures.rounds]}
                           for name, unit in figures.units.items()}}, sys.stdout, indent=1)
    print()


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Exit status: 0, also where targets are missed; 1 if a row could not be measured.\n"
               "CC, BPF_CLANG and SWIFTC in the environment: compilers whose versions are told.")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="how many (default 7)")
    parser.add_argument("--only", default="", metavar="PATTERN",
                        help="rows whose words contain it, upper and lower case alike")
    parser.add_argument("--json", action="store_true",
                        help="for machines, with each round's figures")
    parser.add_argument("--build", type=Path, default=Path("build"), metavar="DIR",
                        help="where make bench-programs has built (default build)")
    chosen = parser.parse_args()
    if chosen.rounds < 1:
        parser.error("--rounds: at least 1")
    return chosen


def main():
    chosen = arguments()
    wanted = [row for row in rows() if row.matches(chosen.only)]
    if not wanted:
        sys.exit(f"bench.py: no row has {chosen.only!r} in it")
    about = machine(chosen.build)
    figures = measure(wanted, chosen.rounds, chosen.build)
    if chosen.json:
        print_json(about, wanted, figures)
    else:
        print_heading(about, chosen.rounds)
        print_table(wanted, figures)
    return 0 if all(figures.series(row) for row in wanted) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nbench.py: interrupted", file=sys.stderr)
        sys.exit(130)
