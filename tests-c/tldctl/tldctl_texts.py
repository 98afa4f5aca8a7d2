#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
"""tldctl_texts.py - the manual has every option that `tldctl help` prints, and no other; bash, zsh
and fish complete commands and options by the scripts that are installed."""

import os
import re
import subprocess
import sys
import tempfile
import time

SRC = os.environ.get("SRC") or os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
BUILD = os.path.join(SRC, os.environ.get("BUILD") or "build")
TOOL = os.path.join(BUILD, "bin", "tldctl")
COMMON = {"--version", "-h", "--help"}
points = failures = 0


def is_(got, want, sentence):
    global points, failures
    points += 1
    failures += got != want
    print(f"{'ok' if got == want else 'not ok'} {points} - {sentence}", flush=True)
    if got != want:
        print("\n".join("#   " + line for line in f"found {got}\nwanted {want}".splitlines()), flush=True)


def output(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=True, **options).stdout


# --- The manual ----------------------------------------------------------------------


def commands(*group):
    """All subcommands, as ("map", "create")."""
    found = []
    listed = output(TOOL, "help", *group).partition("SUBCOMMANDS:\n")[2]
    for name in re.findall(r"^  ([a-z]+)  ", listed, re.M):
        found += commands(*group, name) or [(*group, name)]
    return found


def options(text):
    return set(re.findall(r"(?<![\w-])-{1,2}[a-z][a-z-]*", text))


def manual():
    done = subprocess.run(["man", "--warnings", "-l", os.path.join(SRC, "docs/reference/tldctl.8")], capture_output=True, text=True, check=False,
                          env={**os.environ, "LC_ALL": "C", "MANWIDTH": "500", "MAN_KEEP_FORMATTING": "", "GROFF_NO_SGR": "1"})
    is_((done.returncode, done.stderr), (0, ""), "man reads the manual without a warning")
    sections = dict(re.findall(r"^([A-Z ]+)\n((?:(?: .*)?\n)+)", re.sub(r".\x08", "", done.stdout), re.M))
    # An option's own line is the one that begins with it.
    described = {}
    command = ""
    for line in sections["OPTIONS"].splitlines():
        if re.match(r"   \w", line):
            command = line.strip()
        elif re.match(r"       -", line):
            described.setdefault(command, set()).update(options(re.split(r"   ", line.strip())[0]))
    found = commands()
    is_(len(found) >= 11 and ("map", "create") in found, True, "help names all commands")
    for command in found:
        name = " ".join(command)
        # Ahead of the explanation.
        helped = {option for line in re.findall(r"^  (-.*)", output(TOOL, "help", *command).partition("\nOPTIONS:\n")[2], re.M)
                  for option in options(line.split("  ")[0])}
        line = re.search(rf"^       tldctl {name}(?: .*)?$", sections["SYNOPSIS"], re.M)
        is_(options(line[0] if line else ""), helped - COMMON, f"{name}: the synopsis has the options that help prints")
        is_(helped - described[""] - described.get(name, set()), set(), f"{name}: each is described")
        is_(described.get(name, set()) - helped, set(), f"{name}: and no other")


# --- Completions -----------------------------------------------------------------------


class Shell:
    """A shell on a terminal, with nobody's files but the completions."""

    def __init__(self, directory, shell, script):
        self.socket = os.path.join(directory, "tmux." + shell.split()[0])
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", f"env -u TMUX HOME={directory} PATH={os.path.dirname(TOOL)}:$PATH {shell}")
        self.enter(script)

    def tmux(self, *arguments):
        return output("tmux", "-S", self.socket, *arguments)

    def enter(self, text):
        self.tmux("send-keys", "-l", text + "; clear; echo rea''dy")
        self.tmux("send-keys", "Enter")
        self.until(lambda screen: "ready" in screen)

    def until(self, condition):
        """The screen when it is so, or after all."""
        end = time.monotonic() + 20
        while not condition(screen := self.tmux("capture-pane", "-p")) and time.monotonic() < end:
            time.sleep(0.05)
        return screen

    def missing(self, text, words):
        """Those of the words that do not appear, and the screen then."""
        self.tmux("send-keys", "C-u", "C-l")
        self.until(lambda screen: "tldctl" not in screen)
        self.tmux("send-keys", "-l", text)
        self.tmux("send-keys", "Tab", "Tab")
        screen = self.until(lambda screen: all(word in screen for word in words))
        return [(word, screen) for word in words if word not in screen]

    def end(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True, check=False)


def completions(directory):
    scripts = {"bash": "tldctl.bash", "zsh": "_tldctl", "fish": "tldctl.fish"}
    for shell, name in scripts.items():
        with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
            file.write(output(TOOL, "completions", shell))
    shells = [("bash --norc --noprofile -i", f"PS1='$ '; source {directory}/tldctl.bash"),
              ("zsh -f -i", f"PS1='$ '; fpath=({directory} $fpath); autoload -Uz compinit; compinit -u -D"),
              ("fish --no-config -i", f"source {directory}/tldctl.fish")]
    for command, script in shells:
        shell = Shell(directory, command, script)
        name = command.split()[0]
        for text, words in ("tldctl re", ("record", "report")), ("tldctl record --du", ("--duration",)), ("tldctl map cr", ("map create",)):
            is_(shell.missing(text, words), [], f"{name} completes '{text}' to {' and '.join(words)}")
        shell.end()


def main():
    manual()
    with tempfile.TemporaryDirectory() as directory:
        completions(directory)
    print(f"1..{points}")
    sys.exit(failures != 0)


main()
