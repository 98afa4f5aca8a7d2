#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
"""tldctl_many.py [THREADS] - list, watch and record on a process with 100,000 threads: each thread is
there once, with its own value. Says what it took. Not in make test: it wants 4 GB and half
a minute."""

import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
from tap import await_, finish, ok, remark
from tool import TOOL, Program

PID_MAX = "/proc/sys/kernel/pid_max"
THREADS = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000


class Timed:
    """A command with its output in a file, and what it took."""

    def __init__(self, *arguments):
        self.file = tempfile.TemporaryFile()
        self.name = arguments[0]
        self.began = time.monotonic()
        self.process = subprocess.Popen([TOOL, *map(str, arguments)], stdout=self.file)

    def ended(self):
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = status
        remark(f"{self.name}: {time.monotonic() - self.began:.1f} s, {usage.ru_utime + usage.ru_stime:.1f} s of a processor, "
               f"at most {usage.ru_maxrss / 1024:.0f} MiB")

    def json(self):
        self.ended()
        self.file.seek(0)
        return [json.loads(line) for line in self.file] if self.name == "watch" else json.load(self.file)


def wanted(tids):
    """The first thread stores 100, each behind it one more."""
    return {tid: 100 + n for n, tid in enumerate(tids)}


def requests(threads):
    return {t["tid"]: next(v["value"] for v in t["values"] if v["name"] == "request") for t in threads}


def links(pid):
    return subprocess.run(["ls", "-l", f"/proc/{pid}/fd"], capture_output=True, text=True, check=False).stdout.count("anon_inode:bpf_link")


def look(publisher, file):
    # In the order in which they were made: ids begin anew behind the largest.
    tids = sorted((int(tid) for tid in os.listdir(f"/proc/{publisher.pid}/task")), key=lambda tid: (tid < publisher.pid, tid))
    ok(len(tids) == THREADS, f"there are {THREADS:,} threads", len(tids))
    threads = Timed("list", "--pid", publisher.pid, "--json").json()["processes"][0]["threads"]
    ok(len(threads) == THREADS and requests(threads) == wanted(tids), "list has each of them once, with its own value", len(threads))
    readings = Timed("watch", "--pid", publisher.pid, "--json", "--iterations", 3, "request").json()
    ok([len(r["threads"]) for r in readings] == [THREADS] * 3 and all(requests(r["threads"]) == wanted(tids) for r in readings),
       "so has each reading of watch", [len(r["threads"]) for r in readings])
    recorder = Timed("record", "-o", file, "--pid", publisher.pid, "--duration", 8, "--buffer", 65536, "request")
    await_(lambda: links(recorder.process.pid) >= 4)  # three tracepoints and the samplers
    publisher.send("wake")
    recorder.ended()
    with open(file, encoding="utf-8") as stream:
        recording = json.load(stream)
    lost = sum(int(one["stretches"]) for one in recording["lost"])
    wakeups = sum(int(one["wakeups"]) for one in recording["lost"])
    found = {}
    for row in recording["stretches"]:
        found.setdefault(recording["tasks"][row[3]]["tid"], set()).add(recording["values"][row[5]]["value"] if row[5] is not None else None)
    woken = {recording["tasks"][row[3]]["tid"] for row in recording["stretches"] if row[7] is not None}
    remark(f"{len(recording['stretches']):,} stretches, {wakeups} wake-ups without a latency, {os.path.getsize(file) >> 20} MiB")
    ok(lost == 0 and found == {tid: {value} for tid, value in wanted(tids).items()},
       "record has each of them when all wake up, with its own value, and lost none", f"{lost} lost, {len(found)} threads, not {[n for n, tid in enumerate(tids) if found.get(tid) != {100 + n}][:20]}")
    # A thread may be woken more than once; and the first may have been awake.
    ok(len(found) - len(woken) <= wakeups + 1, "whose latency is missing is counted", f"{len(found) - len(woken)}, {wakeups} counted")
    report = Timed("report", file, "--json", "--svg", file + ".svg").json()
    ok(len(report["values"]) == THREADS, "report has each value", len(report["values"]))


def main():
    with open(PID_MAX, encoding="ascii") as file:
        before = file.read()
    publisher = None
    with tempfile.TemporaryDirectory() as directory:
        try:
            with open(PID_MAX, "w", encoding="ascii") as file:
                file.write(str(max(int(before), 4 * THREADS)))
            began = time.monotonic()
            publisher = Program("publisher", "-t", THREADS, "-s", 24)
            remark(f"the threads start: {time.monotonic() - began:.1f} s")
            look(publisher, os.path.join(directory, "r.json"))
        finally:
            if publisher:
                publisher.end()
            with open(PID_MAX, "w", encoding="ascii") as file:
                file.write(before)
    finish()


main()
