#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
"""sched_demo.py - the demonstration of the scheduler, with guests that are made up: it compares
rightly, says what is wrong, tries again what an emulator lost, and leaves nothing running."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../tests-c/support"))
import tap
from tap import BUILD, await_, finish, ok, patience, skip

SRC = Path(tap.SRC)

# What a guest prints in a round, values of the figures to be filled in.
ROUND = """round {n} of 3
figure {n} default latency wakes 9 p50 300 p90 900 p99 {default} p999 4000 max 5000
figure {n} nice latency wakes 9 p50 300 p90 900 p99 1000 p999 4000 max 5000
figure {n} off latency wakes 9 p50 300 p90 900 p99 4000 p999 4100 max 5000
figure {n} hints latency wakes 9 p50 200 p90 250 p99 {hints} p999 400 max 500
figure {n} default beside work 1000
figure {n} hints beside work {beside}
figure {n} default alone work 2000
figure {n} off alone work 1980 mean 500 least 490
"""


def result(default=(2000, 2100, 2500), hints=(200, 300, 310), beside=950):
    return "".join(ROUND.format(n=n + 1, default=default[n], hints=hints[n], beside=beside) for n in range(3)) + "done\nrc 0\nEND\n"


class Tree:
    """The demonstration, where a script of our own stands for the emulator."""

    def __init__(self, boot):
        self.path = Path(tempfile.mkdtemp())
        shutil.copytree(SRC / "examples/sched_demo", self.path / "examples/sched_demo")
        vm = self.path / "tests-c/kernels/vm"
        vm.mkdir(parents=True)
        (vm / "boot.sh").write_text("#!/bin/bash\n# QEMU MACHINE IMAGE INITRAMFS DIRECTORY\n" + boot)
        (vm / "boot.sh").chmod(0o755)

    def start(self, *options):
        command = [self.path / "examples/sched_demo/demo_sched.py", "--guest", "g", "--kernel", "k", "--qemu", "q",
                   "--rounds", "3", "--output", self.path / "out", "--parts", "load", *options]
        # Whoever runs the tests in the background may have had SIGINT ignored.
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))

    def run(self, *options):
        process = self.start(*options)
        out, err = process.communicate(timeout=patience(60))
        return process.returncode, out, err

    def remove(self):
        shutil.rmtree(self.path)


def booting(text):
    return f"cat >$5/result <<'END_OF_RESULT'\n{text}END_OF_RESULT\n"


def compares():
    tree = Tree(booting(result()))
    status, out, err = tree.run()
    # Medians: 300 / 2100 for the first, 300 / 4000 for the third; the rounds' ratios are of each one.
    wanted = [
        r"p99 latency, hints / kernel's scheduler +0\.143 +0\.100 - 0\.143 +<= 0\.20 +met",
        r"p99 latency, hints / nice -10 +0\.300 +0\.200 - 0\.310\n",
        r"p99 latency, hints / scx_hint without +0\.075 +0\.050 - 0\.077 +<= 0\.20 +met",
        r"burners' work, hints / kernel's scheduler +0\.950 +0\.950 - 0\.950 +>= 0\.90 +met",
        r"a burner's time, least / mean, scx_hint +0\.980 +0\.980 - 0\.980 +>= 0\.95 +met",
        r"burners alone, scx_hint / kernel's scheduler +0\.990 +0\.990 - 0\.990 +>= 0\.97 +met",
    ]
    for pattern in wanted:
        ok(re.search(pattern, out), f"the table has medians, their spread and the target: {pattern.split(' +')[0]}", out, err)
    ok(status == 0 and "MISSED" not in out, "with all targets met it succeeds", status, out, err)
    ok("load: round 3 of 3" in err, "it says how far it is", err)
    picture = tree.path / "out/latency.svg"
    texts = [element.text for element in xml.etree.ElementTree.parse(picture).iter() if element.text and element.text.strip()]
    ok(all(any(words in text for text in texts) for words in ("the kernel's scheduler", "scx_hint, hints on", "99.9 %")),
       "the picture is well-formed, and names what it shows", texts)
    tree.remove()


def misses():
    for words, change in (("too late", {"hints": (500, 600, 700)}), ("too little work", {"beside": 800})):
        tree = Tree(booting(result(**change)))
        status, out, err = tree.run()
        ok(status == 1 and "MISSED" in out, f"a target that is missed is shown, and fails: {words}", status, out, err)
        tree.remove()


def tries_again():
    tree = Tree('[ -e "$5/before" ] || { touch "$5/before"; exit 0; }\n' + booting(result()))
    status, out, err = tree.run()
    ok(status == 0 and "once more" in err, "what an emulator lost is tried again", status, out, err)
    tree.remove()
    tree = Tree('echo >>"$5/tries"\n')
    status, out, err = tree.run()
    tries = len((tree.path / "out/load/tries").read_text())
    ok(status == 1 and tries == 3 and "no result" in err, "three times, and then it fails", status, tries, err)
    tree.remove()
    tree = Tree(booting("round 1 of 3\nfailed: scx_hint: no such thing\ndone\n"))
    status, out, err = tree.run()
    ok(status == 1 and "scx_hint: no such thing" in err, "what failed in a guest is said, and not tried again", status, out, err)
    tree.remove()


def is_alive(pid):
    """A process that nobody has waited for is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(number, status):
    # As boot.sh itself ends qemu after a while.
    boot = (SRC / "tests-c/kernels/vm/boot.sh").read_text()
    wrapper = re.search(r"^timeout [^\n]*?-k 5 ", boot, re.M).group()
    tree = Tree(f"echo $$ >$5/pid\n{wrapper}100 bash -c 'echo $$ >>'$5/pid'; sleep 1000' || true\n")
    process = tree.start()
    pids = tree.path / "out/load/pid"
    await_(lambda: pids.exists() and pids.read_text().count("\n") == 2)
    process.send_signal(number)
    out, err = process.communicate(timeout=patience(20))

    def left():
        return [pid for pid in pids.read_text().split() if is_alive(pid)]

    await_(lambda: not left(), 5)
    ok(process.returncode == status and not left() and "Traceback" not in err, f"{number.name} ends the guests, too",
       process.returncode, left(), err)
    tree.remove()


def runs_on_host():
    tree = Tree("exit 1\n")
    script = tree.path / "examples/sched_demo/regimes.sh"
    script.write_text(f'#!/bin/bash\necho "$@" >"${{0%/*}}/arguments"\ncat <<END\n{result()}END\n')
    status, out, err = tree.run("--host", "/programs")
    arguments = (tree.path / "examples/sched_demo/arguments").read_text()
    ok(status == 0 and arguments == "/programs 3 2000 load\n", "on a machine that has sched_ext it needs no emulator", status, arguments, err)
    tree.remove()


def refuses():
    status = subprocess.run([SRC / "examples/sched_demo/demo_sched.py", "--output", "/nowhere"], capture_output=True, text=True, check=False)
    ok(status.returncode == 2 and "--host" in status.stderr, "it says what it needs", status)
    with tempfile.TemporaryDirectory() as directory:
        if os.path.exists("/sys/kernel/sched_ext"):
            skip("a machine without sched_ext is told so", "this kernel has sched_ext")
            return
        host = subprocess.run([SRC / "examples/sched_demo/demo_sched.py", "--host", directory, "--output", directory],
                              capture_output=True, text=True, check=False)
        ok(host.returncode == 1 and "no sched_ext" in host.stderr, "a machine without sched_ext is told so", host)


def scheduler_refuses():
    """What needs no sched_ext; the rest is tried in guests."""
    program = os.path.join(BUILD, "examples/scx_hint")
    for options in (["--budget", "0"], ["--budget", "50,"], ["--budget", "50;90"], ["--budget", "100"], ["--window", "9"],
                    ["--slice", "x"], ["--trust", "root"], ["--trust", "uid:-1"], ["--mode", "0888"], ["--mode", "1777"], ["--nonsense"]):
        done = subprocess.run([program, *options], capture_output=True, text=True, check=False)
        ok(done.returncode == 64 and re.search("scx_hint: (--|a user|.*unrecognized)", done.stderr),
           f"scx_hint {' '.join(options)}: wrong use, in words", done)
    done = subprocess.run([program, "--trust", "cgroup:/nowhere"], capture_output=True, text=True, check=False)
    ok(done.returncode == 1 and "/nowhere: No such file" in done.stderr, "a cgroup that is not there is named", done)
    done = subprocess.run([program, "--help"], capture_output=True, text=True, check=False)
    ok(done.returncode == 0 and all(word in done.stdout for word in ("--trust", "--budget", "--stats", "Exit status")),
       "scx_hint --help says what there is", done)


def main():
    compares()
    misses()
    tries_again()
    ends(signal.SIGINT, 130)
    ends(signal.SIGTERM, 143)
    ends(signal.SIGHUP, 129)
    runs_on_host()
    refuses()
    scheduler_refuses()
    finish()


main()
