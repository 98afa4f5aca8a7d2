#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
"""tldctl_watch.py - the live view, in a terminal of tmux with keys sent and the screen
captured, and without a terminal. Conditions are awaited; nothing sleeps for luck."""

import atexit
import glob
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
import tool
from tap import await_, finish, is_, ok, patience, remark, skip_all
from terminal import Terminal
from tool import ENVIRONMENT, TOOL, Program, bpftool, run_as_nobody, schema_errors


def publisher(*arguments):
    """A process to watch. Its map is named wherever other tests' maps are not to be read."""
    return Program("publisher", "-s", 24, *arguments)


class Shell(Terminal):
    """A shell, all of whose output is kept as well."""

    def __init__(self):
        super().__init__(height=20, PS1="$ ")
        self.raw = os.path.join(self.directory, "raw")
        self.marks = 0
        self.tmux("pipe-pane", "-o", f"cat >>{self.raw}")
        self.until("the shell is there", lambda: self.last().startswith("$"))
        self.modes = self.result("stty -g")

    def lines(self):
        return self.screen().split("\n")[:-1]

    def last(self):
        return next((line for line in reversed(self.lines()) if line), "")

    def state(self):
        return self.tmux("display-message", "-p", "#{alternate_on} #{cursor_flag} #{wrap_flag}").strip()

    def until(self, sentence, condition):
        return ok(await_(condition), sentence, self.screen())

    def shows(self, pattern):
        return re.search(pattern, self.screen(), re.M)

    def run(self, command):
        """A command of the shell, without waiting for it."""
        await_(lambda: self.last() == "$")
        self.type(command)
        self.keys("Enter")

    def result(self, command):
        """All of what a command writes."""
        file = os.path.join(self.directory, f"result{time.monotonic_ns()}")
        self.run(f"{{ {command}; }} >{file}; mv {file} {file}.done")
        await_(lambda: os.path.exists(file + ".done"))
        with open(file + ".done", encoding="utf-8") as result:
            return result.read().strip()

    def mark(self):
        """From here on `written` is wanted."""
        self.marks += 1
        self.run(f"echo mark-$(({self.marks} + 1000))")

    def written(self):
        """All bytes from the mark to "status"."""
        def read():
            with open(self.raw, "rb") as raw:
                words = raw.read().rpartition(b"mark-%d\r" % (self.marks + 1000))
            return words[2] if words[1] and re.search(rb"status \d", words[2]) else None

        return await_(read) or b""

    def watch(self, arguments="", prefix=""):
        """Starts it in front, where its exit status comes in words."""
        self.run(f"clear; {prefix} {TOOL} watch {arguments}; echo status $?")

    def watching(self):
        return self.state().startswith("1") and self.last().startswith("q quit")

    def pids(self):
        shell = self.tmux("display-message", "-p", "#{pane_pid}").strip()
        found = []
        for path in glob.glob("/proc/[0-9]*/stat"):
            try:
                with open(path, encoding="utf-8", errors="replace") as stat:
                    pid, name, rest = re.fullmatch(r"(\d+) \((.*)\) (.*)\n", stat.read(), re.S).groups()
            except OSError:
                continue
            if name == "tldctl" and rest.split()[1] == shell:
                found.append(int(pid))
        return found

    def pid(self):
        return await_(self.pids)[0]


def run(*arguments, **options):
    return tool.run("watch", *arguments, **options)


def start(*arguments, **options):
    """A watch without a terminal, which does not outlive this process."""
    watch = subprocess.Popen([TOOL, "watch", *map(str, arguments)], env=ENVIRONMENT, **{"stdout": subprocess.PIPE, **options})
    atexit.register(watch.kill)
    return watch


def row(terminal, tid):
    return next((line.split() for line in terminal.lines() if re.match(rf"\s*\d+\s+{tid}\s", line)), None)


def rows(terminal):
    """Thread ids, as they stand."""
    found = (re.match(r"\s*\d+\s+(\d+)\s", line) for line in terminal.lines())
    return [int(match[1]) for match in found if match]


def column(lines, name):
    """The cells below a heading, of lines of words."""
    place = lines[0].split().index(name)
    return [line.split()[place] for line in lines[1:] if line]


# --- The table and its keys -----------------------------------------------------------

def table(terminal):
    process = publisher("-t", 5)
    pid = process.pid
    terminal.watch(f"--pid {pid} --map {process.maps[0]} --interval 0.1 request deadline")
    terminal.until("a table is shown on a screen of its own", terminal.watching)
    terminal.until("with the threads and their values",
                   lambda: terminal.shows(rf"^ *{pid} +\d+ +publisher +\S+ +104 +\S+ +4000000028 "))
    terminal.until("and rates, once there are two readings", lambda: terminal.shows(r"publisher +0\.00 +104 +0\.00 "))
    ok(terminal.shows(r"^5 threads of 1 process, 0\.00 changes/s"), "threads and processes are counted", terminal.screen())
    ok(terminal.shows(r"^ *PID +TID +COMM +CHG/S +request +/S +deadline +/S *$"),
       "the columns are the TLDs that were named, in that order", terminal.screen())
    process.tell("set request 31337")
    terminal.until("a new value is shown", lambda: (row(terminal, pid) or [""] * 9)[4] == "31337")
    terminal.until("and is counted as a change", lambda: float(row(terminal, pid)[5]) > 0)
    rate = float(row(terminal, pid)[5])
    ok(rate <= 1 / 0.1, "which makes at most one in a reading", f"{rate}/s\n{terminal.screen()}")
    terminal.until("what changes is on top", lambda: rows(terminal)[:1] == [pid])
    terminal.until("its rate falls to nothing ten readings later", lambda: (row(terminal, pid) or [""] * 9)[5] == "0.00")

    terminal.keys("<", "<")
    terminal.until("< sorts by the column to the left", lambda: terminal.shows("^sorted by TID, rising"))
    ids = rows(terminal)
    is_(ids, sorted(ids), "in which thread ids rise")
    terminal.keys("r")
    terminal.until("r reverses", lambda: terminal.shows("^sorted by TID, falling") and rows(terminal) == ids[::-1])
    terminal.keys(">", ">", "s")
    terminal.until("> and s sort by the column to the right",
                   lambda: terminal.shows("^sorted by request, falling") and rows(terminal)[:2] == [pid, ids[-1]])
    terminal.keys(">", ">", ">", ">")
    terminal.until("and round", lambda: terminal.shows("^sorted by TID, rising") or terminal.shows("^sorted by PID"))

    terminal.keys("/")
    terminal.until("/ asks for a filter", lambda: terminal.last().startswith("filter: _"))
    terminal.type(str(ids[2]) + "q")
    terminal.until("where q is a letter", lambda: terminal.shows(r"^0 threads of 0 processes \(of 5 threads\)"))
    terminal.keys("BSpace")
    terminal.until("and what is typed chooses while it is typed", lambda: rows(terminal) == [ids[2]])
    terminal.keys("Enter")
    terminal.until("Enter keeps it", lambda: terminal.shows(f"; filter: {ids[2]}$") and terminal.watching())
    terminal.keys("/", "C-u")
    terminal.until("Ctrl-U empties it", lambda: len(rows(terminal)) == 5)
    terminal.keys("Escape")
    terminal.until("Esc gives back what was there", lambda: rows(terminal) == [ids[2]] and terminal.watching())
    terminal.keys("Escape")
    terminal.until("and in the table takes it away", lambda: len(rows(terminal)) == 5 and not terminal.shows("filter:"))

    terminal.keys("p")
    terminal.until("p pauses", lambda: terminal.shows("^PAUSED"))
    process.tell("set request 555")
    is_(run("--pid", str(pid), "--map", process.maps[0], "--iterations", "4", "--interval", "0.1").status, 0, "while another watch sees readings go by")
    terminal.keys("r")
    terminal.until("keys work meanwhile", lambda: terminal.shows("^PAUSED; sorted by [A-Z]+, falling"))
    is_(row(terminal, pid)[4], "31337", "but nothing is read")
    terminal.keys("p")
    terminal.until("p goes on", lambda: row(terminal, pid)[4] == "555" and not terminal.shows("PAUSED"))

    terminal.keys("h")
    terminal.until("h shows help", lambda: terminal.shows("^ +q +quit") and terminal.shows("counts as one change a reading"))
    terminal.keys("q")
    terminal.until("any key leaves that", terminal.watching)
    return process


def resizing(terminal, process):
    terminal.keys("p")
    terminal.until("while it is paused nothing but a signal tells of another size", lambda: terminal.shows("^PAUSED"))
    for width, height in (60, 8), (140, 30), (20, 3), (7, 1), (100, 20), (50, 20), (100, 20):
        terminal.tmux("resize-window", "-x", str(width), "-y", str(height))
        terminal.until(f"{width} columns and {height} rows are filled anew", lambda: (
            len(terminal.lines()) == height and terminal.lines()[-1].startswith("q quit"[:width - 1])
            and (height < 8 or len(rows(terminal)) >= 4 and terminal.lines()[0].startswith("5 threads"))
            and sum(line.startswith("q quit") for line in terminal.lines()) <= 1))
    terminal.keys("p")
    process.end()
    terminal.until("--pid ends when the process has ended", lambda: terminal.shows("^status 0"))
    ok(terminal.shows(f"^tldctl: process {process.pid} has ended"), "and says so", terminal.screen())


# --- Every way out --------------------------------------------------------------------

def ways_out(terminal):
    process = publisher("-t", 3)
    def leaves(sentence, way, status):
        terminal.run("clear; echo what was there")
        terminal.run(f"{TOOL} watch --interval 0.2 --map {process.maps[0]}")
        await_(lambda: terminal.watching() and terminal.shows("publisher"))
        way(terminal)
        # Not behind a semicolon: a shell ends the line with a program that Ctrl-C ends.
        terminal.run("echo status $?")
        terminal.until(f"{sentence} ends it with status {status}", lambda: terminal.shows(rf"^status {status}$"))
        is_(terminal.state(), "0 1 1", f"{sentence}: the screen is the shell's, with cursor and wrapping")
        ok(terminal.shows("^what was there$"), f"{sentence}: what was there is there", terminal.screen())
        is_(terminal.result("stty -g"), terminal.modes, f"{sentence}: the terminal's modes are what they were")

    leaves("q", lambda terminal: terminal.keys("q"), 0)
    leaves("Ctrl-C", lambda terminal: terminal.keys("C-c"), 130)
    leaves("q while it is paused", lambda terminal: terminal.keys("p", "q"), 0)
    for number in signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGSEGV, signal.SIGABRT:
        leaves(number.name, lambda terminal: os.kill(terminal.pid(), number), 128 + number)

    def fail(terminal):
        resource.prlimit(terminal.pid(), resource.RLIMIT_NOFILE, (0, 0))

    leaves("an error", fail, 1)
    ok(terminal.shows("^tldctl: .*Too many open files"), "which is said on the shell's screen", terminal.screen())
    terminal.watch(f"--iterations 3 --interval 0.1 --map {process.maps[0]}")
    terminal.until("--iterations ends it, too", lambda: terminal.shows("^status 0$"))
    is_(terminal.state(), "0 1 1", "and the screen is left")
    stopping(terminal, process)
    process.end()


def stopping(terminal, process):
    terminal.watch(f"--interval 0.1 --map {process.maps[0]}")
    await_(terminal.watching)
    pid = terminal.pid()
    terminal.keys("C-z")
    terminal.until("Ctrl-Z stops it", lambda: terminal.shows("Stopped"))
    is_(terminal.state(), "0 1 1", "and gives the screen back")
    is_(terminal.result("stty -g"), terminal.modes, "and the modes")
    terminal.run("clear; bg")

    def stopped_in_background():
        # It may write below the prompt before it stops.
        if not await_(lambda: terminal.last() == "$", 1):
            terminal.keys("C-l")
        return "Stopped" in terminal.result("jobs") and terminal.state() == "0 1 1"

    terminal.until("in the background it does not take the terminal", stopped_in_background)
    terminal.run("fg")
    terminal.until("fg shows the table again", lambda: terminal.watching() and terminal.shows("publisher"))
    os.kill(pid, signal.SIGSTOP)
    await_(lambda: terminal.shows("Stopped"))
    terminal.run("fg")
    terminal.until("so it does after a SIGSTOP", lambda: terminal.watching() and terminal.shows("publisher")
                   and not terminal.shows("Stopped"))
    terminal.keys("q")
    terminal.until("and it ends as ever", lambda: terminal.state() == "0 1 1")
    is_(terminal.result("stty -g"), terminal.modes, "with the modes as they were")


# --- Others are hostile, and end ---------------------------------------------------------

def hostile(terminal):
    process = publisher("-t", 2)
    other = publisher("-t", 2)
    process.tell("evil")
    terminal.tmux("resize-window", "-x", "200", "-y", "20")
    terminal.mark()
    terminal.watch("--interval 0.1")
    terminal.until("a hostile command name is shown escaped", lambda: terminal.shows(r"\\x1b\]0;evil\\x07"))
    terminal.until("and so is a TLD's name", lambda: terminal.shows(r"\\x1b\[31mred\\x0a\\x9b\\xff\\\\"))
    terminal.keys("/")
    terminal.tmux("send-keys", "-H", "9b", "c2", "9b")
    terminal.until("a filter is, as well", lambda: terminal.shows(r"filter: \\x9b\\xc2\\x9b"))
    terminal.keys("C-u", "Enter")
    terminal.until("both processes are there", lambda: {process.pid, other.pid} <= set(rows(terminal)))
    other.end()
    terminal.until("one that ends disappears", lambda: rows(terminal) and other.pid not in rows(terminal))
    terminal.keys("q")
    terminal.until("the view is left", lambda: terminal.shows("^status 0$"))
    words = terminal.written()
    ok(b"\x1b]0;" not in words and b"\x1b[31mred" not in words and b"\x9b" not in words.replace(b"\xc2\x9b", b"")
       and b"\xff" not in words and b"\x07" not in words, "nothing of it has reached the terminal as it is",
       re.findall(rb".{20}(?:\x1b\]|\x9b|\x07|\xff).{20}", words))
    sequences = set(re.sub(rb"\d+;1H", b"n;1H", sequence) for sequence in re.findall(rb"\x1b\[[?0-9;]*[a-zA-Z]", words))
    ok(b"\x1b[7m" in sequences, "the header is shown in reverse", sequences)
    process.end()


def colours(terminal):
    process = publisher()
    for prefix, arguments in ("NO_COLOR=1", ""), ("", "--color never"):
        terminal.mark()
        terminal.watch(f"--interval 0.1 --iterations 2 --map {process.maps[0]} {arguments}", prefix)
        terminal.until("a view of two readings ends", lambda: terminal.shows("^status 0$"))
        words = terminal.written()
        ok(b"\x1b[?1049h" in words and not re.search(rb"\x1b\[[1-9]m", words), f"{prefix or arguments}: without colours and weights")
    terminal.mark()
    terminal.watch(f"--interval 0.1 --iterations 2 --map {process.maps[0]}", "TERM=dumb")
    terminal.until("on a dumb terminal it ends as well", lambda: terminal.shows("^status 0$"))
    ok(b"\x1b[?1049h" not in terminal.written(), "and writes lines")
    process.end()


def many(terminal):
    process = publisher("-t", 10000)
    terminal.tmux("resize-window", "-x", "100", "-y", "20")
    terminal.watch(f"--interval 0.5 --sort request --reverse --map {process.maps[0]} request")
    terminal.until("10,000 threads are shown", lambda: terminal.shows("^10000 threads of 1 process"))
    pid = terminal.pid()
    terminal.keys("End")
    terminal.until("End goes to the last row", lambda: terminal.shows("rows 9985 to 10000") and terminal.shows(" 10099 "))
    terminal.keys("PPage")
    terminal.until("PgUp a page back", lambda: terminal.shows("rows 9969 to 9984"))
    terminal.keys("Home", "Down")
    terminal.until("Home and Down to the second", lambda: terminal.shows("rows 2 to 17"))
    terminal.keys("/")
    terminal.type(f"{process.pid} ")
    terminal.keys("BSpace", "Enter")

    def spent():
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    begin, clock = spent(), time.monotonic()
    run("--pid", str(process.pid), "nosuch", "--iterations", "2", "--interval", "4", "--map", process.maps[0])
    share = (spent() - begin) / (time.monotonic() - clock)
    remark(f"10,000 threads twice a second take {100 * share:.1f} % of a processor")
    ok(share < 0.5, "which leaves most of a processor to others", share)
    terminal.keys("q")
    terminal.until("and it ends at once", lambda: terminal.shows("^status 0$"))
    process.end()


# --- Nothing is left ----------------------------------------------------------------------

def objects(pid):
    """What of BPF a process holds."""
    found = set()
    for info in glob.glob(f"/proc/{pid}/fdinfo/*"):
        try:
            with open(info, encoding="utf-8") as text:
                found |= {tuple(match) for match in re.findall(r"^(prog|map|link)_id:\s*(\d+)$", text.read(), re.M)}
        except OSError:
            pass
    return found


def exists(kind, number):
    return bpftool(kind, "show", "id", number, check=False).returncode == 0


def killed():
    process = publisher("-t", 3)
    watches = [start("--json", "--interval", 0.05, "--pid", process.pid, "--map", process.maps[0], stderr=subprocess.DEVNULL) for _ in range(2)]
    lines = [watch.stdout.readline() for watch in watches]
    ok(all(len(json.loads(line)["threads"]) == 3 for line in lines), "two watches see the same threads", lines)
    theirs = objects(process.pid)
    own = [objects(watch.pid) - theirs for watch in watches]
    ok(any(kind == "prog" for kind, _ in own[0]) and not own[0] & own[1] and all(exists(*one) for one in own[0]),
       "each with a program and maps of its own", own)
    watches[0].kill()
    watches[0].wait()
    ok(await_(lambda: not any(exists(*one) for one in own[0])), "of one that SIGKILL ends nothing is left, loaded or pinned",
       [one for one in own[0] if exists(*one)])
    ok(all(json.loads(watches[1].stdout.readline())["threads"] for _ in range(30)), "and the other goes on")
    process.end()
    rest = watches[1].communicate(timeout=patience(20))[0]
    is_(watches[1].returncode, 0, "until the process ends")
    is_(json.loads(rest.splitlines()[-1])["threads"], [], "which the last reading shows")
    ok(await_(lambda: not any(exists(*one) for one in own[1] | theirs)), "and nothing is left of it, either")


def map_goes():
    process = publisher("-t", 2)
    data = objects(process.pid)
    watch = start("--interval", 0.2, "--json", "--map", process.maps[0])
    watch.stdout.readline()
    process.end()
    ok(await_(lambda: not any(exists(*one) for one in data)), "a map does not stay because somebody watches it", data)
    watch.terminate()
    is_(watch.wait(patience(20)), -signal.SIGTERM, "SIGTERM ends a watch without a terminal")


def map_goes_from_several():
    process = publisher("-t", 2)
    data = objects(process.pid)
    watches = []
    # They let go at a common time, whenever they began and however often they read.
    for interval in 0.2, 0.7, 4:
        watch = start("--interval", interval, "--json", "--map", process.maps[0])
        watch.stdout.readline()
        watches.append(watch)
        time.sleep(1.3)
    process.end()
    ok(await_(lambda: not any(exists(*one) for one in data)), "nor because several do", data)
    for watch in watches:
        watch.kill()
        watch.communicate()


# --- Without a terminal --------------------------------------------------------------------

def streams():
    process = publisher("-t", 3)
    pid = str(process.pid)
    result = run("--pid", pid, "--iterations", "3", "--interval", "0.05", "request")
    is_((result.status, result.err), (0, ""), "--iterations 3 ends with 0")
    readings = result.out.split("\n\n")
    is_(len(readings), 3, "and three readings, with an empty line between")
    ok(not re.search(r"[\x00-\x09\x0b-\x1f]", result.out), "which have no escapes", repr(result.out))
    is_(column(readings[0].splitlines()[1:], "request"), ["100", "101", "102"], "each with the values")
    is_(column(readings[0].splitlines()[1:], "/S"), ["-"] * 3, "of which there is no rate at first")
    is_(column(readings[2].splitlines()[1:], "/S"), ["0.00"] * 3, "and then there is")
    result = run("--pid", pid, "--iterations", "1", "deadline", "request", "--sort", "request", "--reverse")
    is_(result.out.splitlines()[1].split(), ["PID", "TID", "COMM", "CHG/S", "deadline", "/S", "request", "/S"],
        "TLDs stand in the order in which they are named")
    is_(column(result.out.splitlines()[1:], "request"), ["100", "101", "102"], "--sort and --reverse say in which rows do")
    result = run("--pid", pid, "--iterations", "1", "--as", "balance=i32", "--as", "name=str", "balance", "name")
    ok(re.search(r" -2 +- +thread-2 +-", result.out), "--as says what values are", result.out)
    result = run("--pid", pid, "--iterations", 1, env={"COLUMNS": "40"})
    is_(max(map(len, result.out.splitlines())), 40, "COLUMNS cuts lines")
    is_(run("--comm", "publ*", "--pid", pid, "--iterations", "1", "request").out.count("publisher"), 3, "--comm takes a pattern")
    is_(run("--comm", "other*", "--pid", pid, "--iterations", "1").out.count("publisher"), 0, "which chooses")

    pipe = subprocess.run(f"{TOOL} watch --interval 0.05 | head -n 1", shell=True, executable="/bin/bash",
                          capture_output=True, text=True, timeout=patience(20), env=ENVIRONMENT)
    is_((pipe.stdout.count("\n"), pipe.stderr), (1, ""), "whoever has read enough ends it, and it says nothing")
    reader, writer = os.pipe()
    watch = start("--interval", 86400, "--map", process.maps[0], stdout=writer, stderr=subprocess.PIPE, restore_signals=False)
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    is_((watch.wait(patience(20)), watch.stderr.read()), (1, b""), "at once, not at the next reading, also where SIGPIPE is ignored")
    process.end()


def readings_of(process, enough, processors=None):
    """What watch says until that is enough, or for 400 readings."""
    watch = start("--json", "--interval", 0.05, "--pid", process.pid, "--map", process.maps[0])
    if processors:
        os.sched_setaffinity(watch.pid, processors)
    found = []
    while len(found) < 12 or len(found) < 400 and not enough(found[-1]):
        found.append(json.loads(watch.stdout.readline()))
    watch.terminate()
    watch.communicate()
    return found


def value(reading, name):
    return next(value for value in reading["threads"][0]["values"] if value["name"] == name)


def json_lines():
    process = publisher("-t", 2)
    process.tell("evil")
    readings = readings_of(process, lambda reading: True)
    process.end()
    is_([reading["reading"] for reading in readings], list(range(1, len(readings) + 1)), "each reading is a line of JSON")
    is_([value(readings[0], name)["changes_per_s"] for name in ("deadline", "request")], [None, None], "the first without rates")
    is_(value(readings[-1], "request")["changes_per_s"], 0, "what stays has rate 0")
    names = [value["name"] for value in readings[0]["threads"][0]["values"]]
    ok("\\x1b[31mred\\x0a\\x9b\\xff\\\\" in names, "names are escaped", names)
    validate(readings)

    # What is written while it is read takes two processors.
    processors = sorted(os.sched_getaffinity(0))
    process = Program("raw", 24)
    os.sched_setaffinity(process.pid, processors[-1:])
    for command in "cnt 0 1", "entry 0 0 2000 long", "publish 0", "spin 0":
        process.tell(command)
    readings = readings_of(process, lambda reading: value(reading, "long")["torn"], processors[:1])
    process.end()
    ok(any(value(reading, "long")["torn"] for reading in readings), "a reading that may be a mixture is marked")
    span = sum(reading["elapsed_s"] for reading in readings[1:11])
    rate = value(readings[10], "long")["changes_per_s"]
    ok(0 < rate <= 10.001 / span, "what changes all the time has a change a reading at most", f"{rate}, {10 / span}")
    ok(abs(rate * span - round(rate * span)) < 0.001, "and the rate is changes by seconds", rate * span)
    validate(readings)


def validate(readings):
    errors = [error for reading in readings[:12] for error in schema_errors(reading)]
    ok(not errors, "docs/reference/tldctl.schema.json describes it", *errors)


def statuses():
    process = publisher("-t", 2)
    pid = str(process.pid)

    def ends(sentence, arguments, status, words, **options):
        result = run(*arguments, **options)
        is_(result.status, status, f"{sentence}: status {status}")
        ok(re.fullmatch(rf"(tldctl: {words}.*\n)(Usage.*\n|.*--help.*\n)*", result.err), f"{sentence}: and says why", result.err)

    ends("an interval of nothing", ["--interval", "0"], 64, "--interval takes 0.05 to 86400")
    ends("an interval that is no number", ["--interval", "nan"], 64, "--interval takes")
    ends("no readings", ["--iterations", "0"], 64, "--iterations takes 1")
    ends("a type that is none", ["--as", "request=u9", "--iterations", "1"], 64, "'u9' is no type")
    ends("a process that is none", ["--pid", "4000000"], 3, "there is no process 4000000")
    ends("a map that is none", ["--map", "nosuch"], 3, "there is no task local data map 'nosuch'")
    ends("a pin that is none", ["--map", "/sys/fs/bpf/no/such"], 3, "nothing can be opened at")
    ends("a name that is none", ["--iterations", "1", "nosuch"], 3, "no thread of a process has 'nosuch'")
    ends("a name that the process has not", ["--iterations", "1", "--pid", pid, "nosuch"], 3, f"no thread of process {pid} has")
    ends("a process that publishes nothing", ["--iterations", "1", "--pid", "1"], 3, "process 1 publishes nothing")
    if os.getuid() == 0:
        result = run_as_nobody("watch")
        is_((result.status, result.out), (4, ""), "a user without privileges: status 4")
        ok(re.fullmatch("tldctl: .*; run it as root.*\n", result.err), "and what to do", result.err)
    process.end()


def nobody():
    result = run("--iterations", "1", "--comm", "nobody-has-this-name")
    is_(result.status, 0, "nobody to watch is no failure")
    ok(result.err.startswith("tldctl: "), "and is said", result.err)


def main():
    if os.getuid() != 0 or run("--iterations", "1").status in (4, 5):
        skip_all("kernel: watching needs root, and a kernel with UPTR")
    terminal = Shell()
    process = table(terminal)
    resizing(terminal, process)
    ways_out(terminal)
    hostile(terminal)
    colours(terminal)
    many(terminal)
    killed()
    map_goes()
    map_goes_from_several()
    streams()
    json_lines()
    statuses()
    nobody()
    finish()


main()
