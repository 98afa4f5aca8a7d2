#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
"""tldctl_record.py - tldctl record and report, on programs that know by their own clocks what
they did, and on files that nobody wrote."""

import atexit
import contextlib
import glob
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
from tap import await_, finish, is_, patience, skip_all
from tap import ok as check
from tool import PROGRAMS, bpftool, mount_bpffs, schema_errors
from tool import TOOL as tldctl

kinds = os.path.join(PROGRAMS, "kinds")
directory = tempfile.mkdtemp()
atexit.register(shutil.rmtree, directory, ignore_errors=True)


def path(name):
    return os.path.join(directory, name)


def run(*arguments, **options):
    return subprocess.run([tldctl, *arguments], capture_output=True, text=True, timeout=patience(60), **options)


def start(*arguments, **options):
    """A process that does not outlive this one, however it ends."""
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, **options)
    atexit.register(process.kill)
    return process


class Kinds:
    """The program that is recorded."""

    def __init__(self, *arguments, prefix=()):
        self.process = start(*prefix, kinds, *arguments, stdin=subprocess.PIPE)
        self.pid = str(self.process.pid)
        self.read("ready")

    def read(self, end):
        lines = []
        while True:
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError("kinds ended")
            if line.strip() == end:
                return lines
            lines.append(line.split())

    def do(self, command):
        self.begin(command)
        return self.end()

    def begin(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def end(self):
        return {kind: int(time) for kind, time in self.read("done")}

    def ran(self):
        """What its threads ran, in ns."""
        total = 0
        for name in glob.glob(f"/proc/{self.pid}/task/*/schedstat"):
            with open(name, encoding="utf-8") as file:
                total += int(file.read().split()[0])
        return total

    def await_running(self):
        """Until a thread of it comes on a processor, whatever else runs."""
        before = self.ran()
        await_(lambda: self.ran() != before, 30)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def attached(pid):
    """Whether a recorder's programs are on their tracepoints: three links and its samplers."""
    links = 0
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                target = os.readlink(f"/proc/{pid}/fd/{name}")
            except OSError:
                continue
            links += target == "anon_inode:bpf_link" or target == "anon_inode:bpf-link"
    except OSError:
        pass
    return links >= 4


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
        return file.read().split()


class Recorder:
    def __init__(self, file, *arguments, name="kind", prefix=()):
        self.process = start(*prefix, tldctl, "record", "-o", file, *arguments, name, stderr=subprocess.PIPE)
        self.pids = [self.process.pid]
        deadline = time.monotonic() + patience(30)
        while not any(map(attached, self.pids)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise RuntimeError("the recorder does not begin: " + self.process.stderr.read())
            time.sleep(0.01)
            # A prefix that forks waits for its child, which is the recorder.
            self.pids = [self.process.pid, *map(int, children(self.process.pid) if prefix else ())]

    def end(self, number=signal.SIGINT):
        if number:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pids[-1], number)
        out, errors = self.process.communicate(timeout=patience(60))
        return self.process.returncode, out, errors


def load(file):
    with open(file, encoding="utf-8") as stream:
        return json.load(stream)


def validated(value, schema, sentence):
    errors = schema_errors(value, schema)
    return check(not errors, sentence, *errors[:5])


def ours():
    """Programs and maps of a recorder in the kernel."""
    programs = json.loads(bpftool("-j", "prog", "list").stdout)
    maps = json.loads(bpftool("-j", "map", "list").stdout)
    return ({program["id"] for program in programs if program.get("name") in ("on_switch", "on_wakeup", "on_wakeup_new", "on_sample")}
            | {-one["id"] for one in maps if one.get("name") in ("known_tasks", "processors", "events")})


def by_value(report):
    return {str(use["value"]): use for use in report["values"]}


# --- What is recorded ---------------------------------------------------------------


def times_agree(formats, width):
    title = "+".join(formats)
    program = Kinds(*sum((["-s", {"v1": "16", "v2": "24", "native": "64"}[one]] for one in formats), []), "-w", str(width))
    recorder = Recorder(path("a.json"), "--pid", program.pid)
    own = program.do("run 700")
    status, _, errors = recorder.end()
    program.close()
    is_(status, 0, f"{title}, {width} bytes: Ctrl-C ends a recording with 0")
    recording = load(path("a.json"))
    validated(recording, "tldctl-record.schema.json", "the file is as its schema says")
    shown = run("report", "--json", path("a.json"))
    report = json.loads(shown.stdout)
    validated(report, "tldctl-report.schema.json", "the report is as its schema says")
    found = by_value(report)
    keys = {kind: kind if width in (1, 2, 4, 8) else int(kind).to_bytes(width, "little").hex() for kind in own}
    # What the clocks may differ by: the way from the wake-up to the new value, each time.
    differences = {kind: found[keys[kind]]["ran_ns"] / own[kind] - 1 for kind in own}
    check(all(abs(difference) < 0.05 for difference in differences.values()),
          "on-CPU time per value is what the program's own clock says, within 5 %", f"{differences} {errors}")
    total = report["all"]["ran_ns"] / sum(own.values()) - 1
    check(-0.005 < total < 0.015, "and all in all within 1.5 %", total)
    is_([process["pid"] for process in report["processes"]], [int(program.pid)], "nobody else is in it")
    return recording, report


def peak(process):
    """The most memory that a process had until it ended, in MB. Its ru_maxrss would count ours."""
    most = 0
    while process.poll() is None:
        with contextlib.suppress(OSError), open(f"/proc/{process.pid}/status", encoding="utf-8") as file:
            most = max([most] + [int(line.split()[1]) >> 10 for line in file if line.startswith("VmHWM:")])
        time.sleep(0.01)
    return most


def flood():
    program = Kinds("-s", "64", "-w", "32", "-t", "3")
    recorder = Recorder(path("flood.json"), "--pid", program.pid)
    own = program.do("flood 60000 20")["1"]
    recorder.process.send_signal(signal.SIGINT)
    memory = peak(recorder.process)
    status, _, errors = recorder.end(None)
    program.close()
    recording = load(path("flood.json"))
    is_((status, len(recording["values"]), recording.get("values_max")), (0, 10000, 10000), "of 120,000 values the 10,000 most used are kept")
    # Of the many that are alike a few: the validator takes a millisecond for each.
    few = dict(recording, stretches=recording["stretches"][:500], values=recording["values"][:100])
    validated(few, "tldctl-record.schema.json", "in a file that is as its schema says")
    check(0 < memory < 100, "the recorder takes less than 100 MB", memory)
    check("more than 10,000 values: the others are together; --values keeps more" in errors, "record says that there are others", errors)
    report = json.loads(run("report", "--json", path("flood.json")).stdout)
    few = dict(report, values=report["values"][:100], processes=[dict(process, values=process["values"][:100]) for process in report["processes"]])
    validated(few, "tldctl-report.schema.json", "so does a report that is as its schema says")
    lost, found = int(report["lost"]["ran_ns"]), by_value(report)["01" + 31 * "00"]["ran_ns"]
    check(0.95 * own - lost < found < 1.05 * own, "the one value that is used all the time has its time, within 5 %", f"{found} {own} {lost}")
    is_(report["others"]["ran_ns"] + sum(use["ran_ns"] for use in report["values"]), report["all"]["ran_ns"], "and all others have the rest")
    shown = run("report", path("flood.json"), "--top", "3").stdout
    is_(len(re.findall(r"^ +others  ", shown, re.M)), 2, "the table has them in a row, of all processes and of this one")
    check("Only the 10,000 values with the most time are told apart" in shown, "and says why", shown)


def quick():
    """However fast the machine is: Python's own reader has the same file to read."""
    begin = time.process_time()
    load(path("flood.json"))
    python = time.process_time() - begin
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    run("report", "--json", path("flood.json"))
    took = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    check(took < 3 * python, "report takes no more than three times as long as it takes Python to read the file", f"{took} {python}")


def without_switches():
    program = Kinds("-s", "24", "-t", "1")
    program.begin("spin 60000")
    recorder = Recorder(path("spin.json"), "--pid", program.pid)
    program.await_running()
    status, _, errors = recorder.end(signal.SIGTERM)
    program.process.kill()
    program.close()
    recording = load(path("spin.json"))
    ran = sum(row[6] for row in recording["stretches"])
    check(status == 0 and ran > 0, "a thread that was on its processor before is seen at once", f"{status} {ran} {errors}")

    program = Kinds("-s", "24", "-t", "1")
    recorder = Recorder(path("spin.json"), "--pid", program.pid)
    own = program.do("spin 1200")
    recorder.end()
    program.close()
    found = by_value(json.loads(run("report", "--json", path("spin.json")).stdout))
    differences = {kind: found[kind]["ran_ns"] / own[kind] - 1 for kind in "12"}
    check(all(abs(difference) < 0.15 for difference in differences.values()),
          "values between which a thread does not sleep are told apart, within 15 %", differences)


def durations():
    program = Kinds("-s", "24")
    begin = time.monotonic()
    recorder = Recorder(path("d.json"), "--pid", program.pid, "--duration", "0.5")
    program.begin("run 300")
    status, _, _ = recorder.end(None)
    took = time.monotonic() - begin
    program.end()
    program.close()
    duration = load(path("d.json"))["duration_ns"] / 1e9
    check(status == 0 and 0.5 <= duration < 1 and took < patience(10), "--duration ends it", f"{status} {duration} {took}")


def latencies(report):
    use = report["all"]
    check(use["wakeups"] > 10 and 0 < use["wakeup_p50_ns"] <= use["wakeup_p99_ns"] <= use["wakeup_max_ns"],
          "wake-ups of sleeping threads have latencies", use)


def each_switch():
    times = 1000
    for cpu in sorted(os.sched_getaffinity(0))[:2]:
        program = Kinds("-s", "24", "-t", "1", prefix=("taskset", "-c", str(cpu)))
        recorder = Recorder(path("each.json"), "--pid", program.pid)
        program.do(f"chat {times} 300")
        recorder.end()
        program.close()
        rows = load(path("each.json"))["stretches"]
        begun = [row for row in rows if row[7] is not None]
        # Even such a sleep may be over before it began.
        check(0.98 * times < len(begun) <= times + 10, f"processor {cpu}: each of {times} sleeps has a stretch behind it, with its latency",
              f"{len(begun)} of {len(rows)}")
        rows.sort()
        check(all(one[1] <= other[0] for one, other in zip(rows, rows[1:])), "and no two are at the same time")


def executed():
    pin = f"/sys/fs/bpf/tldctl_record_{os.getpid()}"
    holder = Kinds("-s", "24", "-o", pin)
    program = Kinds("-p", pin, "-t", "1")
    os.unlink(pin)
    program.do("run 20")
    program.begin("exec")
    program.read("ready")
    recorder = Recorder(path("x.json"), "--pid", program.pid)
    for _ in range(5):
        program.do("burn")
    status, _, errors = recorder.end()
    program.close()
    holder.close()
    is_((status, load(path("x.json"))["stretches"]), (3, []), "what a program shared before its execve is nobody's value")
    check("no thread with a TLD 'kind'" in errors, "which is said", errors)


def namespaces():
    """Two PID namespaces side by side, and the one around both."""
    contained = "unshare", "-p", "-f", "--mount-proc", "--kill-child"
    programs = [Kinds("-s", "24", "-t", "1", prefix=contained) for _ in range(2)]
    for program in programs:
        program.pid = children(program.pid)[0]
    inside = Recorder(path("inside.json"), prefix=("nsenter", "-t", programs[0].pid, "-p", "-m", "setpriv", "--pdeathsig", "KILL"))
    outside = Recorder(path("outside.json"))
    for program in programs:
        program.begin("run 700")
    own = [program.end() for program in programs]
    _, _, errors = inside.end()
    outside.end()
    for program in programs:
        program.close()
    found, ran = load(path("inside.json")), {}
    for row in found["stretches"]:
        pid = found["tasks"][row[3]]["pid"]
        ran[pid] = ran.get(pid, 0) + row[6]
    is_(list(ran), [1], "inside of a PID namespace its own tasks are recorded, by their ids there")
    check(abs(ran.get(1, 0) / sum(own[0].values()) - 1) < 0.05, "and not those of another one", f"{ran} {own} {errors}")
    pids = {str(task["pid"]) for task in load(path("outside.json"))["tasks"]}
    check({program.pid for program in programs} <= pids and "1" not in pids, "outside both are, by the ids there", pids)


def two_names():
    program = Kinds("-s", "24", "-n", "\x1b[31mred\\")
    recorder = Recorder(path("evil.json"), "--pid", program.pid, name="\\x1b[31mred\\\\")
    program.do("run 100")
    status, _, errors = recorder.end()
    program.close()
    table = run("report", path("evil.json"), "--svg", path("evil.svg"))
    check(status == 0 and "\x1b" not in errors + table.stdout and "\\x1b[31mred\\\\" in table.stdout,
          "a name that a terminal would obey is escaped", errors + table.stdout)
    xml.parse(path("evil.svg"))


# --- How it ends -----------------------------------------------------------------------


def killed():
    program = Kinds("-s", "24")
    before = ours()
    recorder = Recorder(path("k.json"), "--pid", program.pid)
    loaded = ours() - before
    check(len(loaded) >= 7, "a recorder has programs and maps in the kernel", loaded)
    recorder.process.kill()
    recorder.process.communicate()
    await_(lambda: not loaded & ours())
    is_(loaded & ours(), set(), "one that is killed leaves none")
    is_(os.path.exists(path("k.json")), False, "and no file that looks complete")
    program.close()


def maps_that_go():
    program, others = Kinds("-s", "24", "-t", "1"), [Kinds() for _ in range(4)]
    program.begin("spin 600000")
    for other in others:
        other.begin("drop 600000")
    ended = []
    try:
        for _ in range(8):
            recorder = Recorder(path("g.json"))
            program.await_running()
            status, _, errors = recorder.end()
            ended.append(errors if status else "well")
    except RuntimeError as error:
        ended.append(error)
    alive = all(other.process.poll() is None for other in others)
    for each in program, *others:
        each.process.kill()
        each.close()
    is_((alive, ended), (True, ["well"] * 8), "maps that go while they are chosen are no reason to end")


def two_at_a_time():
    program = Kinds("-s", "64")
    first = Recorder(path("1.json"), "--pid", program.pid)
    second = Recorder(path("2.json"), "--pid", program.pid)
    own = program.do("run 400")
    results = first.end()[0], second.end()[0]
    program.close()
    sums = [sum(row[6] for row in load(path(name))["stretches"]) / sum(own.values()) for name in ("1.json", "2.json")]
    check(results == (0, 0) and all(abs(one - 1) < 0.02 for one in sums), "two recorders see the same", f"{results} {sums}")


def losing():
    program = Kinds("-s", "24", "-t", "16")
    recorder = Recorder(path("lost.json"), "--pid", program.pid, "--buffer", "4")
    program.do("chat 3000")
    status, _, errors = recorder.end()
    program.close()
    recording = load(path("lost.json"))
    lost = sum(int(one["stretches"]) for one in recording["lost"])
    check(status == 0 and lost > 0, "with a tiny --buffer stretches are lost, and counted", f"{status} {recording['lost']}")
    validated(recording, "tldctl-record.schema.json", "also in the file, which is as its schema says")
    check(f"LOST {lost:,} stretches" in errors, "record says how many", errors)
    check(f"LOST: {lost:,} stretches" in run("report", path("lost.json")).stdout, "so does the table")
    is_(json.loads(run("report", "--json", path("lost.json")).stdout)["lost"]["stretches"], lost, "and the JSON")
    run("report", path("lost.json"), "--svg", path("lost.svg"))
    with open(path("lost.svg"), encoding="utf-8") as stream:
        check(f"LOST: {lost:,} stretches" in stream.read(), "and the picture")


def old_file_stays():
    with open(path("old.json"), "w", encoding="utf-8") as stream:
        stream.write("old")
    program = Kinds("-s", "24", "-t", "16")

    def small_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    process = subprocess.Popen([tldctl, "record", "-o", path("old.json"), "--pid", program.pid, "kind"], stderr=subprocess.PIPE,
                               text=True, preexec_fn=small_files)
    while not attached(process.pid) and process.poll() is None:
        time.sleep(0.01)
    program.do("chat 300")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=patience(30))
    program.close()
    with open(path("old.json"), encoding="utf-8") as stream:
        is_((process.returncode, stream.read()), (1, "old"), "a recording that cannot be written leaves the old file")
    check("cannot be written: File too large" in errors, "and says why", errors)
    is_(glob.glob(path("old.json.*")), [], "and nothing beside it")


STRANGER = 65534


def tree(top):
    """All that is below a directory: type, mode, owner, and what is in it."""
    found = {}
    for name in sorted(os.listdir(top)):
        one = os.path.join(top, name)
        status = os.lstat(one)
        inside = os.readlink(one) if os.path.islink(one) else ""
        if os.path.isfile(one) and not inside:
            with open(one, "rb") as stream:
                inside = stream.read(40)
        found[name] = (oct(status.st_mode), status.st_uid, inside)
    return found


def make_file(name, mode, words):
    with open(name, "w", encoding="utf-8") as stream:
        stream.write(words)
    os.chmod(name, mode)
    return name


def refused(recording, file, status, words, title):
    """Nothing is read, written or waited for."""
    found = run("report", recording, "--svg", file)
    check((found.returncode, found.stdout) == (status, "") and words in found.stderr, title, f"{found.returncode} {found.stderr}")


def files_of_others(recording):
    """What is somebody else's, or is a link, is neither replaced nor written."""
    shared, home = path("shared"), path("home")
    victim = make_file(path("victim"), 0o600, "root's")
    names = {}
    for place, mode, owner in (shared, 0o1777, 0), (home, 0o755, STRANGER):
        os.mkdir(place)
        os.chmod(place, mode)
        os.chown(place, owner, owner)
        link, lost, way, fifo = (os.path.join(place, name) for name in ("link", "lost", "way", "fifo"))
        os.symlink(victim, link)
        os.symlink(path("not there"), lost)
        os.symlink(directory, way)
        os.mkfifo(fifo)
        for one in link, lost, way, fifo:
            os.lchown(one, STRANGER, STRANGER)
            names[one] = f"a stranger's {os.path.basename(one)} in {os.path.basename(place)}"
        names[way + "/victim"] = names.pop(way) + ", a link to a directory,"
    file = make_file(os.path.join(shared, "file"), 0o666, "a stranger's")
    os.chown(file, STRANGER, STRANGER)
    names[file] = "a stranger's file in a directory that others write"
    # Root's own link to what a stranger may replace.
    own_fifo = path("own link to a fifo")
    os.symlink(os.path.join(home, "fifo"), own_fifo)
    names[own_fifo] = "one's own link to a stranger's fifo"
    before = tree(shared), tree(home), tree(directory)
    for one, title in names.items():
        refused(recording, one, 4, "belongs to another user", f"{title} is refused")
    program = Kinds("-s", "24")
    for one in os.path.join(shared, "link"), os.path.join(home, "way/victim"):
        found = run("record", "-o", one, "--duration", "0.1", "kind")
        check(found.returncode == 4 and "belongs to another user" in found.stderr, "by record, too", found.stderr)
    program.close()
    is_((tree(shared), tree(home), tree(directory)), before, "nothing is changed, and nothing left")
    is_(run("report", recording, "--svg", os.path.join(home, "new.svg")).returncode, 0, "a new file in another user's directory is made")

    os.symlink(victim, path("own link"))
    os.symlink(path("not there"), path("own lost link"))
    before = tree(directory)
    for one in path("own link"), path("own lost link"):
        refused(recording, one, 1, "is a symbolic link", "a link is not followed to a file")
    is_(tree(directory), before, "nor replaced")
    os.symlink("/", path("root"))
    is_(run("report", recording, "--svg", path("root") + directory + "/through.svg").returncode, 0, "one's own link to a directory is followed")
    os.symlink("loop", path("loop"))
    refused(recording, path("loop") + "/x.svg", 1, "Too many levels", "but not for ever")
    with open(path("out"), "w", encoding="utf-8") as stream:
        found = subprocess.run([tldctl, "report", recording, "--svg", "/dev/stdout"], stdout=stream, stderr=subprocess.PIPE, text=True)
    check(found.returncode == 1 and "- for standard output" in found.stderr and os.path.islink("/dev/stdout"),
          "/dev/stdout that is a file is refused, and stays a link", found.stderr)
    # As another user, who may not replace what is root's in /tmp.
    taken = make_file(os.path.join(shared, "root's"), 0o666, "root's")
    os.chmod(directory, 0o755)
    for name in tldctl, recording:
        shutil.copy(name, shared)
    found = subprocess.run(["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", os.path.join(shared, "tldctl"), "report",
                            os.path.join(shared, os.path.basename(recording)), "--svg", taken], capture_output=True, text=True)
    check(found.returncode == 4 and "belongs to another user" in found.stderr, "a user's recording is not lost for a file of root's there", found.stderr)


def as_it_was_meant(recording):
    """A private file that is replaced is private at every moment."""
    secret = make_file(path("secret.svg"), 0o600, "")
    traced = subprocess.run(["strace", "-f", "-e", "trace=openat", tldctl, "report", recording, "--svg", secret], capture_output=True, text=True)
    made = re.findall(r'secret\.svg\.tmp\.\w+", ([A-Z_|]+), (0\d+)', traced.stderr)
    check(len(made) == 1 and made[0][1] == "0600" and "O_EXCL" in made[0][0], "a private file is made with its mode, exclusively",
          f"{made} {traced.stderr[-300:]}")


def files_that_serve(recording):
    before = glob.glob(path("*.tmp.*"))  # of a recorder that was killed
    drawing = run("report", recording, "--svg", "-").stdout
    check(drawing.startswith("<?xml"), "- is standard output")
    for one in "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1":
        check(run("report", recording, "--svg", one).stdout.startswith(drawing[:2000]), f"{one} that is a pipe is written")
    is_(run("report", recording, "--svg", "/dev/null").returncode, 0, "so is a device")
    os.mkfifo(path("fifo"))
    reader = start("cat", path("fifo"))
    is_(run("report", recording, "--svg", path("fifo")).returncode, 0, "so is a fifo of one's own")
    check(reader.communicate(timeout=patience(30))[0].startswith("<"), "which is read")
    for one in directory, directory + "/", path("none/"), "":
        refused(recording, one, 1 if one.startswith(directory) and "none" not in one else 3, "cannot be written", f"'{os.path.basename(one)}' is no file")
    refused(recording, path("x" * 256), 1, "File name too long", "nor is a name that is too long")
    is_(run("report", recording, "--svg", path("y" * 255)).returncode, 0, "the longest is")
    for mode in 0o640, 0o604:
        with open(path("replaced.svg"), "w", encoding="utf-8"):
            pass
        os.chmod(path("replaced.svg"), mode)
        is_((run("report", recording, "--svg", path("replaced.svg")).returncode, os.stat(path("replaced.svg")).st_mode & 0o777), (0, mode),
            f"a file that is replaced keeps its mode, {mode:o}")
    new = subprocess.run(["sh", "-c", f"cd '{directory}' && umask 027 && '{tldctl}' report '{recording}' --svg new.svg"], capture_output=True)
    is_((new.returncode, os.stat(path("new.svg")).st_mode & 0o777), (0, 0o640), "a new one has what the umask leaves, by a name without a slash")
    is_(glob.glob(path("*.tmp.*")), before, "and nothing is left beside them")


def terminal():
    import pty
    program = Kinds("-s", "24")
    leader, follower = pty.openpty()
    process = subprocess.Popen([tldctl, "record", "-o", path("t.json"), "--pid", program.pid, "kind"], stdin=follower,
                               stdout=follower, stderr=follower, start_new_session=True,
                               preexec_fn=lambda: __import__("fcntl").ioctl(0, 0x540E, 0))
    os.close(follower)
    while not attached(process.pid) and process.poll() is None:
        time.sleep(0.01)
    program.begin("run 1500")
    seen = b""
    while b"recording kind: 1 s, " not in seen:
        seen += os.read(leader, 4096)
    os.write(leader, b"\x03")
    program.end()
    status = process.wait(timeout=patience(30))
    program.close()
    while True:
        try:
            chunk = os.read(leader, 4096)
        except OSError:
            break
        if not chunk:
            break
        seen += chunk
    os.close(leader)
    is_((status, bool(load(path("t.json"))["stretches"])), (0, True), "Ctrl-C on a terminal, which shows how it goes, leaves a complete file")
    check(b"\r\x1b[Ktldctl: " in seen, "and a clean line", seen)


def refusals():
    is_(run("record", "kind").returncode, 64, "record without a file is wrong use")
    is_(run("record", "-o", path("r.json"), "--duration", "-1", "kind").returncode, 64, "so is a duration below 0")
    is_([run("record", "-o", path("r.json"), "--values", values, "kind").returncode for values in ("0", "1000001", "x")], [64] * 3,
        "so is a number of values that is not 1 to 1,000,000")
    is_(run("record", "-o", path("r.json"), "x" * 62).returncode, 64, "so is a name that no TLD can have")
    is_(run("record", "-o", path("r.json"), "--duration", "1", "--pid", "4194303", "kind").returncode, 3, "a process that is not there is 3")
    is_(run("record", "-o", path("r.json"), "--duration", "1", "--map", "no such map", "kind").returncode, 3, "so is a map")
    program = Kinds("-s", "24")
    found = run("record", "-o", path("none/r.json"), "--duration", "1", "--pid", program.pid, "kind")
    is_((found.returncode, found.stderr.startswith("tldctl: ")), (3, True), "and a directory")
    is_(os.path.exists(path("r.json")), False, "none of them makes a file")
    # Its own map: of more than eight only those in which somebody has the name are recorded.
    maps = json.loads(run("maps", "--json").stdout)["maps"]
    own = [str(one["id"]) for one in maps if int(program.pid) in [holder["pid"] for holder in one["holders"]]]
    found = run("record", "-o", path("r.json"), "--duration", "0.1", "--map", own[0], "nobody")
    is_((found.returncode, load(path("r.json"))["stretches"]), (3, []), "a name that nobody shares is 3, and a complete file")
    program.close()
    shutil.copy(tldctl, path("tldctl"))
    os.chmod(directory, 0o755)
    found = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", path("tldctl"), "record", "-o", "/dev/null", "kind"],
                           capture_output=True, text=True)
    check(found.returncode == 4 and found.stderr.startswith("tldctl: ") and found.stderr.count("\n") == 1,
          "without privilege it is 4, in one line", f"{found.returncode} {found.stderr}")


# --- What report makes of it --------------------------------------------------------------


def text_boxes(root):
    """By a little more than the fonts take: nothing overlaps, nothing leaves the picture."""
    boxes = []
    for text in root.iter("{http://www.w3.org/2000/svg}text"):
        size, x, y = float(text.get("font-size")), float(text.get("x")), float(text.get("y"))
        width = 0.62 * size * len(text.text)
        left = x - {"middle": width / 2, "end": width}.get(text.get("text-anchor"), 0)
        boxes.append((left, y - 0.8 * size, left + width, y + 0.25 * size, text.text))
    return boxes


def picture(file, name):
    found = run("report", file, "--svg", path(name + ".svg"))
    is_(found.returncode, 0, f"{name}: report draws a picture")
    root = xml.parse(path(name + ".svg")).getroot()
    boxes = text_boxes(root)
    overlaps = [(one[4], other[4]) for index, one in enumerate(boxes) for other in boxes[:index]
                if one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]]
    is_(overlaps, [], "no texts overlap")
    width, height = float(root.get("width")), float(root.get("height"))
    is_([box for box in boxes if box[0] < 0 or box[1] < 0 or box[2] > width or box[3] > height], [], "none leaves it")
    is_(subprocess.run(["rsvg-convert", path(name + ".svg"), "-o", path(name + ".png")]).returncode, 0, "it can be rendered")


def trace(file):
    found = run("report", "--format", "trace", file)
    events = json.loads(found.stdout)["traceEvents"]
    slices = [event for event in events if event["ph"] == "X"]
    required = all({"name", "cat", "pid", "tid", "ts", "dur", "args"} <= event.keys() and event["dur"] >= 0 for event in slices)
    check(found.returncode == 0 and slices and required and {event["ph"] for event in events} == {"X", "M"},
          "a trace is of complete events and names", found.stdout[:500])
    tracks = {}
    for event in slices:
        tracks.setdefault((event["pid"], event["tid"]), []).append((round(event["ts"] * 1000), round(event["dur"] * 1000)))
    overlapping = [track for track, own in tracks.items()
                   for one, other in zip(sorted(own), sorted(own)[1:]) if one[0] + one[1] > other[0]]
    is_(overlapping, [], "on no track do slices overlap")
    named = {(event["pid"], event["tid"]) for event in events if event["name"] == "thread_name"}
    is_(set(tracks) - named, set(), "all tracks have names")
    recording = load(file)
    is_(sum(1 for event in slices if event["pid"] == 1 << 22), len(recording["stretches"]), "each stretch is on its processor's track")


def table(file):
    found = run("report", file, env=dict(os.environ, COLUMNS="60"))
    check(found.returncode == 0 and max(map(len, found.stdout.splitlines())) <= 60, "tables keep to COLUMNS", found.stdout)
    found = run("report", file)
    check(re.search(r"^VALUE +ON-CPU +SHARE +SWITCHES +WAKE-UPS +P50 +P99 +MIXED$", found.stdout, re.M) is not None
          and "nearest rank" in found.stdout, "the table says what it shows", found.stdout)
    found = run("report", file, "--as", "kind=hex")
    check(re.search(r"^ *03000000  ", found.stdout, re.M) is not None, "--as shows values as one likes", found.stdout)
    closed = subprocess.run(["sh", "-c", f"'{tldctl}' report --format trace '{file}' | head -c 1 >/dev/null"], capture_output=True, text=True)
    is_(closed.stderr, "", "a reader that goes is no reason to complain")


def bad_files(file):
    with open(file, encoding="utf-8") as stream:
        good = stream.read()
    recording = json.loads(good)

    def changed(**fields):
        return json.dumps(dict(recording, **fields))

    row = recording["stretches"][0]
    bad = {
        "an empty file": "", "half a file": good[:len(good) // 2], "a file with more behind it": good + "{}",
        "another JSON": "[]", "another format": changed(format="x"), "another version": changed(version=3),
        "a file without rows": json.dumps({key: recording[key] for key in recording if key != "stretches"}),
        "a task that is not there": changed(version=1, tasks=[]), "a value that is not there": changed(version=1, values=[]),
        "two tasks with one id": changed(tasks=recording["tasks"][:1] * 2), "two values with one id": changed(values=recording["values"][:1] * 2),
        "a value without an id": changed(values=[{"size": 1, "bytes": "00"}]),
        "a row of text": changed(stretches=["x" * 9]), "a short row": changed(stretches=[row[:5]]),
        "a stretch that ends before": changed(stretches=[[row[1] + 1, row[0]] + row[2:]]),
        "a number that is too large": changed(stretches=[[0, 10 ** 30] + row[2:]]),
        "a fraction": changed(stretches=[[0.5] + row[1:]]), "a negative number": changed(duration_ns=-1),
        "deep nesting": '{"x": ' + "[" * 100000 + "]" * 100000 + "}", "bytes": "\x00\x01\x02",
    }
    wrong = []
    for title, text in bad.items():
        with open(path("bad.json"), "w", encoding="utf-8") as stream:
            stream.write(text)
        found = run("report", path("bad.json"), "--svg", path("bad.svg"))
        if found.returncode != 1 or not re.match(r"tldctl: \S+ is no recording: line \d+: ", found.stderr) or found.stdout:
            wrong.append((title, found.returncode, found.stderr, found.stdout[:100]))
    is_(wrong, [], f"{len(bad)} kinds of bad files are refused, with the line and the reason")
    is_(os.path.exists(path("bad.svg")), False, "and nothing is drawn")
    is_(run("report", path("nothing")).returncode, 3, "a file that is not there is 3")
    is_(run("report", path("nothing"), "--format", "x").returncode, 64, "a format that is not there is wrong use")
    # Where no value was dropped, ids are places.
    with open(path("first.json"), "w", encoding="utf-8") as stream:
        stream.write(changed(version=1, **{field: [{name: one[name] for name in one if name != "id"} for one in recording[field]]
                                           for field in ("tasks", "values")}))
    is_(run("report", path("first.json")).stdout, run("report", file).stdout, "a file of version 1 has the same report")
    # Lying in all numbers that may lie.
    most = 1 << 53
    with open(path("lies.json"), "w", encoding="utf-8") as stream:
        stream.write(changed(stretches=[[0, most, 65535, 0, 0, None, most, most, 0]] * 3000, duration_ns=0,
                             lost=[{"cpu": 0, "stretches": str(2 ** 64 - 1), "ran_ns": str(2 ** 64 - 1)}] * 2))
    statuses = [run("report", path("lies.json"), "--svg", path("lies.svg"), "--format", form).returncode for form in ("table", "json", "trace")]
    is_(statuses, [0, 0, 0], "numbers that lie end nothing early")


def main():
    if not os.access(tldctl, os.X_OK):
        check(False, "tldctl is built", tldctl)
        finish()
    if os.geteuid() != 0:
        skip_all("kernel: recording needs root")
    mount_bpffs()
    _, report = times_agree(["v1"], 4)
    times_agree(["v2"], 8)
    times_agree(["native"], 1)
    recording, report = times_agree(["native", "v1", "v2"], 4)
    check(len(recording["maps"]) >= 3, "a thread that publishes in three maps is counted once", recording["maps"])
    latencies(report)
    times_agree(["v2"], 12)
    times_agree(["v2"], 4)
    table(path("a.json"))
    picture(path("a.json"), "sleeping")
    trace(path("a.json"))
    flood()
    quick()
    picture(path("flood.json"), "flooded")
    trace(path("flood.json"))
    bad_files(path("a.json"))
    without_switches()
    each_switch()
    picture(path("spin.json"), "spinning")
    durations()
    executed()
    namespaces()
    two_names()
    killed()
    two_at_a_time()
    maps_that_go()
    losing()
    old_file_stays()
    files_of_others(path("a.json"))
    as_it_was_meant(path("a.json"))
    files_that_serve(path("a.json"))
    terminal()
    refusals()
    if os.environ.get("KEEP"):
        shutil.copytree(directory, os.environ["KEEP"], dirs_exist_ok=True)
    finish()


main()
