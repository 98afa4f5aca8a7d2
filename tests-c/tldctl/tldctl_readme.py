#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
"""tldctl_readme.py - README's walk: `make demo` runs, and each command line of README is typed
into a terminal as it stands there. What the screen shows must have the printed shape."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml

SRC = os.environ.get("SRC") or os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
BUILD = os.path.join(SRC, os.environ.get("BUILD") or "build")
COMMANDS = "doctor", "maps", "list", "get", "set", "watch", "record", "report", "map create", "map remove", "completions"
points = failures = 0


def is_(got, want, sentence):
    global points, failures
    points += 1
    failures += got != want
    print(f"{'ok' if got == want else 'not ok'} {points} - {sentence}", flush=True)
    if got != want:
        print("\n".join("#   " + line for line in f"found:\n{got}\nwanted:\n{want}".splitlines()), flush=True)


def await_(condition, seconds=20):
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def walk():
    """The commands of README's section, each with its output."""
    with open(os.path.join(SRC, "README.md"), encoding="utf-8") as file:
        block = file.read().split("\n## Look inside\n")[1].split("```console\n")[1].split("\n```")[0]
    parts = [part.split("\n", 1) for part in ("\n" + block).split("\n$ ")[1:]]
    return [(part[0], part[1] if len(part) > 1 else "") for part in parts]


def shape(text):
    """Numbers, their units and widths are another run's, and terminals have other heights."""
    text = re.sub(r"\b\d[\d.,:-]*", "N", text)
    text = re.sub(r"\bN (ns|us|ms|s)\b", "N T", text)
    return "\n".join(re.sub(r" +", " ", line).strip() for line in re.sub(r"\n{3,}", "\n\n", text).strip().splitlines())


def paragraph_of(pid, text):
    """Of all maps the demonstration's."""
    return next((part for part in re.split(r"\n(?! )", text) if f"held by process {pid} oncpu" in part), text)


class Terminal:
    def __init__(self, directory):
        self.socket = os.path.join(directory, "tmux")
        subprocess.run(["tmux", "-S", self.socket, "-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", "-c", directory,
                        "env -u TMUX PS1='$ ' bash --norc --noprofile -i"], check=True)
        await_(lambda: self.screen() == "$")

    def tmux(self, *arguments):
        return subprocess.run(["tmux", "-S", self.socket, *arguments], check=True, capture_output=True, text=True).stdout

    def screen(self, *scrolled_off):
        return self.tmux("capture-pane", "-p", *scrolled_off).strip()

    def run(self, command):
        """What it printed; watch, which is left by its key: what was on the screen."""
        self.tmux("send-keys", "C-l")
        await_(lambda: self.screen() == "$")
        self.tmux("clear-history")
        self.tmux("send-keys", "-l", command)
        self.tmux("send-keys", "Enter")
        live = command.startswith("tldctl watch") and await_(lambda: re.search(r" \d+\.\d\d\n", self.screen())) and self.screen()
        if live:
            self.tmux("send-keys", "q")
        await_(lambda: self.screen().endswith("\n$"))
        # Other tests' maps may be more than a screen.
        return live or "\n".join(self.screen("-S", "-").splitlines()[1:-1])

    def end(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True, check=False)


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


def main():
    if os.geteuid() != 0:
        print("1..0 # SKIP runs as root only, because tldctl reads other processes' maps")
        return
    tool = os.path.join(BUILD, "bin", "tldctl")
    if subprocess.run([tool, "doctor"], capture_output=True, check=False).returncode:
        print("1..0 # SKIP kernel: hints cannot work here, see tldctl doctor")
        return
    commands = walk()
    said = "\n".join(command for command, _ in commands)
    is_([name for name in COMMANDS if f"tldctl {name} " not in said + " " and f"tldctl {name}\n" not in said + "\n"], [], "README walks each command")
    directory, hints = tempfile.mkdtemp(), f"/sys/fs/bpf/tldctl_readme_{os.getpid()}"
    clean = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    demo = subprocess.Popen(["make", "-s", "-C", SRC, f"BUILD={BUILD}", "demo", "DURATION=60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean)
    terminal = Terminal(directory)
    pid = None
    try:
        pid = await_(lambda: child_of(demo.pid))
        await_(lambda: subprocess.run([tool, "list", "--pid", str(pid)], capture_output=True, text=True, check=False).stdout.count(" oncpu ") >= 4)
        # Another demonstration may run, and what was built is elsewhere than README has it.
        terminal.run(f"pidof() {{ echo {pid}; }}; build={BUILD}")
        for command, output in commands:
            found = terminal.run(command.replace("$PWD/build", "$build").replace("/sys/fs/bpf/hints", hints))
            found = found.replace(hints, "/sys/fs/bpf/hints")
            is_(shape(paragraph_of(pid, found) if command == "tldctl maps" else found), shape(output), f"README.md: {command}")
        with open(os.path.join(directory, "kinds.trace.json"), encoding="utf-8") as trace:
            is_(bool(json.load(trace)["traceEvents"]), True, "the trace has events")
        is_(xml.parse(os.path.join(directory, "kinds.svg")).getroot().tag, "{http://www.w3.org/2000/svg}svg", "the picture is one")
        is_(os.path.exists(hints), False, "nothing is left pinned")
    finally:
        terminal.end()
        if pid:
            os.kill(pid, 9)
        demo.wait()
        shutil.rmtree(hints, ignore_errors=True)
        shutil.rmtree(directory)
    print(f"1..{points}")
    sys.exit(failures != 0)


main()
