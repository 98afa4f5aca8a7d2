# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
"""tool.py - what the tests of tldctl share: they run the tool, judge its JSON by the schemas of
docs/reference, and start programs that publish TLDs."""

import atexit
import functools
import json
import os
import re
import select
import shutil
import subprocess
import tempfile
import time

from tap import BUILD, SRC, finish, ok, patience

TOOL = os.path.join(BUILD, "bin", "tldctl")
PROGRAMS = os.path.join(BUILD, "tests-c", "tldctl")
NOBODY = 65534

# What changes the tool's output, or makes it run as part of another make or tmux.
ENVIRONMENT = {name: value for name, value in os.environ.items()
               if name not in ("COLUMNS", "NO_COLOR", "TLDCTL_DEBUG", "TMUX", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")} | {"LC_ALL": "C.UTF-8"}


# --- The tool --------------------------------------------------------------------------


class Result:
    """How a run ended, and what it wrote."""

    def __init__(self, done):
        self.status, self.bytes = done.returncode, done.stdout
        self.out = done.stdout.decode("utf-8", "surrogateescape")
        self.err = done.stderr.decode("utf-8", "surrogateescape")

    def __repr__(self):
        return f"status {self.status}\nout {self.out}\nerr {self.err}"


def run(*arguments, prefix=(), env=None, tool=TOOL, **options):
    return Result(subprocess.run([*prefix, tool, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True,
                                 env={**ENVIRONMENT, **(env or {})}, timeout=patience(60), check=False, **options))


def run_as_nobody(*arguments, run=run, **options):
    """By a user without privileges. The build may be where that user cannot go: the tool is copied."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        copy = shutil.copy(os.path.realpath(TOOL), os.path.join(directory, "tldctl"))
        return run(*arguments, tool=copy, prefix=("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"), **options)


def shape(text):
    """What stays the same from run to run: no numbers, no widths, and no other tldctl that has
    the map at this moment."""
    text = re.sub(r"  (used by program \d+ (read_task|set_value|on_\w+|begin_recording) .*|held by process \d+ tldctl)(\n|$)", "", text)
    text = re.sub(r"\b[0-9a-f]*\d[0-9a-f]*\b", "N", text)
    return "\n".join(re.sub(r" +", " ", line).strip() for line in text.strip().splitlines())


def console(text):
    """The commands of a text's first console block, each with the output below it."""
    block = text.split("```console\n")[1].split("\n```")[0]
    return [command.partition("\n")[::2] for command in ("\n" + block).split("\n$ ")[1:]]


# --- Schemas ---------------------------------------------------------------------------


@functools.cache
def validator(name, command=None):
    """By a schema of docs/reference, or by what that says of one command."""
    try:
        import jsonschema
    except ImportError:
        ok(False, "python has jsonschema", "Debian: python3-jsonschema")
        finish()
    with open(os.path.join(SRC, "docs/reference", name), encoding="utf-8") as file:
        schema = json.load(file)
    if command:
        schema["oneOf"] = [{"$ref": "#/$defs/" + command}]
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def schema_errors(found, name="tldctl.schema.json"):
    """What is not as the schema says."""
    errors = list(validator(name).iter_errors(found))
    command = isinstance(found, dict) and found.get("command")
    # oneOf says little: what the schema of that command says.
    if errors and command in validator(name).schema.get("$defs", ()):
        errors = [inner for error in validator(name, command).iter_errors(found) for inner in error.context or [error]]
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in errors]


# --- BPF -------------------------------------------------------------------------------


def bpftool(*arguments, check=True):
    return subprocess.run(["bpftool", *map(str, arguments)], capture_output=True, text=True, check=check, timeout=patience(60),
                          env={**ENVIRONMENT, "PATH": ENVIRONMENT["PATH"] + ":/usr/sbin:/sbin"})


def mount_bpffs():
    if not os.path.ismount("/sys/fs/bpf"):
        subprocess.run(["mount", "-t", "bpf", "bpf", "/sys/fs/bpf"], check=False)


# --- Programs that publish -------------------------------------------------------------


class Program:
    """A process that publishes, and does what it is told. It does not outlive this one."""

    def __init__(self, name, *arguments, path=None, prefix=()):
        self.name = name
        self.process = subprocess.Popen([*prefix, path or os.path.join(PROGRAMS, name), *map(str, arguments)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        atexit.register(self.end)
        self.pid = self.process.pid
        self.unread = b""
        words = self.line().split()
        if words[:1] != ["ready"]:
            raise RuntimeError(f"{name} does not start: it says {words}")
        self.maps = [int(word) for word in words[1:]]

    def line(self, seconds=60):
        """The next line that it writes."""
        end = time.monotonic() + patience(seconds)
        while b"\n" not in self.unread:
            if not select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))[0]:
                raise RuntimeError(f"{self.name} is silent")
            piece = os.read(self.process.stdout.fileno(), 65536)
            if not piece:
                raise RuntimeError(f"{self.name} ended")
            self.unread += piece
        line, _, self.unread = self.unread.partition(b"\n")
        return line.decode().strip()

    def send(self, *words):
        self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())

    def tell(self, *words):
        """What it answers before "done"."""
        self.send(*words)
        return list(iter(self.line, "done"))

    def tids(self):
        return sorted(int(tid) for tid in os.listdir(f"/proc/{self.pid}/task"))

    def end(self):
        atexit.unregister(self.end)
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
