#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
"""tldctl_readme.py - README's walk: `make demo` runs, and each command line of README is typed
into a terminal as it stands there. What the screen shows must have the printed shape."""

import atexit
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
import tool
from tap import BUILD, SRC, await_, finish, is_, patience, skip_all
from terminal import Terminal
from tool import ENVIRONMENT, console, run

COMMANDS = "doctor", "maps", "list", "get", "set", "watch", "record", "report", "map create", "map remove", "completions"


def shape(text):
    """Units of time are another run's as numbers are, empty lines depend on the terminal's height, and
    another demonstration may run."""
    text = re.sub(r"\n{3,}", "\n\n", re.sub(r"\b\d[\d.,:-]*", "0", text))
    return re.sub(r"\bprocesses\b", "process", re.sub(r"\bN (ns|us|ms|s)\b", "N T", tool.shape(text)))


def paragraph_of(pid, text):
    """Of all maps the demonstration's."""
    return next((part for part in re.split(r"\n(?! )", text) if f"held by process {pid} oncpu" in part), text)


class Shell(Terminal):
    def __init__(self):
        super().__init__(PS1="$ ")
        self.await_screen(lambda screen: screen.strip() == "$")

    def run(self, command):
        """What it printed; watch, which is left by its key: what was on the screen."""
        self.keys("C-l")
        self.await_screen(lambda screen: screen.strip() == "$")
        self.tmux("clear-history")
        self.type(command)
        self.keys("Enter")
        live = command.startswith("tldctl watch") and self.await_screen(lambda screen: re.search(r" \d+\.\d\d\n", screen))
        if live:
            self.keys("q")
        self.await_screen(lambda screen: screen.strip().endswith("\n$"))
        # Other tests' maps may be more than a screen.
        return live or "\n".join(self.screen("-S", "-").strip().splitlines()[1:-1])


def child_of(pid):
    """The demonstration below make and its shell."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as stat:
                comm, rest = re.fullmatch(r"\d+ \((.*)\) (.*)\n", stat.read(), re.S).groups()
        except OSError:
            continue
        if int(rest.split()[1]) == pid:
            return int(name) if comm == "oncpu" else child_of(int(name))
    return None


def start_demo():
    """In a process group that ends with this one."""
    demo = subprocess.Popen(["make", "-s", "-C", SRC, f"BUILD={BUILD}", "demo", f"DURATION={int(patience(300))}"], env=ENVIRONMENT,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    atexit.register(demo.wait)
    atexit.register(os.killpg, demo.pid, signal.SIGKILL)
    pid = await_(lambda: child_of(demo.pid), 60)
    await_(lambda: run("list", "--pid", pid).out.count(" oncpu ") >= 4)
    return pid


def walk(commands):
    hints = f"/sys/fs/bpf/tldctl_readme_{os.getpid()}"
    atexit.register(shutil.rmtree, hints, ignore_errors=True)
    pid, shell = start_demo(), Shell()
    # Another demonstration may run, and what was built is elsewhere than README has it.
    shell.run(f"pidof() {{ echo {pid}; }}; build={BUILD}")
    for command, output in commands:
        found = shell.run(command.replace("$PWD/build", "$build").replace("/sys/fs/bpf/hints", hints)).replace(hints, "/sys/fs/bpf/hints")
        is_(shape(paragraph_of(pid, found) if command == "tldctl maps" else found), shape(output), f"README.md: {command}")
    with open(os.path.join(shell.directory, "kinds.trace.json"), encoding="utf-8") as trace:
        is_(bool(json.load(trace)["traceEvents"]), True, "the trace has events")
    picture = xml.parse(os.path.join(shell.directory, "kinds.svg"))
    is_(picture.getroot().tag, "{http://www.w3.org/2000/svg}svg", "the picture is one")
    is_(os.path.exists(hints), False, "nothing is left pinned")


def main():
    if os.geteuid() != 0:
        skip_all("runs as root only, because tldctl reads other processes' maps")
    if run("doctor").status:
        skip_all("kernel: hints cannot work here, see tldctl doctor")
    with open(os.path.join(SRC, "README.md"), encoding="utf-8") as file:
        commands = console(file.read().split("\n## Look inside\n")[1])
    said = "\n".join(command for command, _ in commands)
    is_([name for name in COMMANDS if f"tldctl {name} " not in said + " " and f"tldctl {name}\n" not in said + "\n"], [], "README walks each command")
    walk(commands)
    finish()


main()
