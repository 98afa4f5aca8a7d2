#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
"""tldctl_texts.py - the manual has every option that `tldctl help` prints, and no other; bash, zsh
and fish complete commands and options by the scripts that are installed."""

import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
from tap import SRC, finish, is_, patience
from terminal import Terminal
from tool import TOOL

COMMON = {"--version", "-h", "--help"}


def output(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=patience(60), **options).stdout


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


class Shell(Terminal):
    """A shell on a terminal, with nobody's files but the completions."""

    def __init__(self, directory, shell, script):
        super().__init__(shell, HOME=directory, PATH=f"{os.path.dirname(TOOL)}:{os.environ['PATH']}")
        self.type(script + "; clear; echo rea''dy")
        self.keys("Enter")
        self.await_screen(lambda screen: "ready" in screen)

    def missing(self, text, words):
        """Those of the words that do not appear, and the screen then."""
        self.keys("C-u", "C-l")
        self.await_screen(lambda screen: "tldctl" not in screen)
        self.type(text)
        self.keys("Tab", "Tab")
        screen = self.await_screen(lambda screen: all(word in screen for word in words))
        return [(word, screen) for word in words if word not in screen]


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
    finish()


main()
