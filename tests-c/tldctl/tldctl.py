#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
"""tldctl.py - the tool against real processes: list, get, set, maps, map, doctor.

Whatever it writes with --json is validated against docs/reference/tldctl.schema.json."""

import contextlib
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

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
import tool
from tap import BUILD, SRC, await_, finish, is_, ok, patience, remark, skip, skip_all
from tool import ENVIRONMENT, NOBODY, PROGRAMS, TOOL, Program, bpftool, console, mount_bpffs, schema_errors, shape

invalid = []  # JSON that the schema does not know
untidy = []  # lines on stderr without "tldctl: ", or that look like a crash
validated = set()


def run(*arguments, **options):
    result = tool.run(*arguments, **options)
    first = result.err.splitlines()[:1]
    if (first and not first[0].startswith("tldctl: ")) or "Fatal error" in result.err or result.status < 0:
        untidy.append((arguments, result))
    return result


def run_json(*arguments, **options):
    """The parsed output; None if there is none."""
    result = run(*arguments, "--json", **options)
    try:
        found = json.loads(result.out)
        errors = schema_errors(found)
        if errors:
            invalid.append((arguments, errors[:3]))
        validated.add(found.get("command"))
        return found
    except ValueError as error:
        if result.status == 0:
            invalid.append((arguments, str(error), repr(result)[:400]))
        return None


def values(process, thread=0):
    return {value["name"]: value["value"] for value in process["threads"][thread]["values"]}


def listed(program, *arguments, map_index=0):
    """The processes with that id in one of its maps."""
    found = run_json("list", "--pid", program.pid, "--map", program.maps[map_index], *arguments)
    return found["processes"] if found else []


# --- list and get ------------------------------------------------------------------

TLDS = [("request", 4, 0), ("deadline", 8, 8), ("flag", 1, 16), ("half", 2, 24), ("balance", 4, 32), ("name", 12, 40)]


def look_at_formats():
    with Program("publisher", "-t", 3, "-s", 24, "-s", 16, "-s", 64) as program:
        for index, (map_format, size) in enumerate([("v2", 24), ("v1", 16), ("native", 64)]):
            found = run_json("list", "--pid", program.pid, "--map", program.maps[index])
            is_([(m["id"], m["format"], m["value_size"]) for m in found["maps"]],
                [(program.maps[index], map_format, size)], f"a map with values of {size} bytes is {map_format}")
            process = found["processes"][0]
            is_([(t["name"], t["size"], t["offset"]) for t in process["tlds"]], TLDS, f"{map_format}: its TLDs are listed")
            is_([t["tid"] for t in process["threads"]], program.tids(), f"{map_format}: every thread is")
            is_([list(values(process, n).values()) for n in range(3)],
                [[100 + n, 1000000007 * n, n, 1000 + n, -n % 2**32, f"thread-{n}".encode().hex() + "00000000"] for n in range(3)],
                f"{map_format}: every value is what the thread stored")
        is_(len(run_json("list", "--pid", program.pid)["processes"]), 3, "without --map every map is looked at")
        typed = listed(program, "--as", "balance=i32", "--as", "name=str", "--as", "half=hex", "--as", "flag=u32")[0]
        is_([values(typed, 2)[name] for name in ("balance", "name", "half", "flag")], [-2, "thread-2", "ea03", 2],
            "--as shows values as another type, where its size fits")
        look_at_text(program)
        look_at_one(program)


def look_at_text(program):
    text = run("list", "--pid", program.pid, "--map", program.maps[0])
    lines = text.out.splitlines()
    is_((text.status, text.err), (0, ""), "list ends with 0 and nothing to complain of")
    ok(lines[0].startswith(f"{program.pid} publisher, uid 0, 3 threads in map {program.maps[0]} tld_test (v2)"),
       "text names process, threads and map", text)
    ok("  deadline: 8 bytes at 8" in lines, "text has name, size and offset of each TLD", text)
    is_(lines[-1].split()[:6], [str(program.tids()[2]), "publisher", "102", "2000000014", "2", "1002"], "text has a line for each thread")
    narrow = run("list", "--pid", program.pid, env={"COLUMNS": "40"}).out.splitlines()
    ok(all(len(line) <= 40 for line in narrow) and any(line.endswith("…") for line in narrow),
       "COLUMNS cuts lines, which then end in …", narrow)
    ok("\x1b" not in text.out, "there is no colour in a pipe")
    colored = run("list", "--pid", program.pid, "--color", "always", env={"NO_COLOR": "1"}).out
    ok("\x1b[" in colored, "but with --color always")
    pattern = run_json("list", "--comm", "publ?s[a-h]er", "--map", program.maps[0])
    is_([p["pid"] for p in pattern["processes"]], [program.pid], "--comm takes a pattern")
    is_(run_json("list", "--comm", "nobody-*", "--map", program.maps[0])["processes"], [], "which may match nobody")


def look_at_one(program):
    tids = program.tids()
    one = run("get", program.pid, "request")
    is_((one.out, one.err, one.status), ("100\n", "", 0), "get shows the first thread's value, and only that")
    is_(run("get", f"{program.pid}/{tids[2]}", "request").out, "102\n", "or another thread's")
    is_(run("get", f"{program.pid}/{tids[1]}", "name", "--as", "name=str").out, "thread-1\n", "as another type")
    program.tell("set", "deadline", 2**53 + 1)
    is_(run_json("get", program.pid, "deadline")["value"], "9007199254740993", "a number that no double holds is a string in JSON")
    is_(run("get", program.pid, "deadline", "--as", "deadline=i32").status, 64, "a type of another size is refused")
    is_(run_json("get", program.pid, "half", "--map", program.maps[1])["map"]["format"], "v1", "--map chooses the map, by id")
    is_(run("get", program.pid, "request", "--map", "tld_test").out, "100\n", "or by name")
    is_(run("get", program.pid, "request").out, "100\n", "maps that share the same page do not contradict each other")


def look_at_lives():
    with Program("publisher", "-t", 1, "-s", 24) as program:
        child = int(program.tell("fork")[0].split()[1])
        is_(run("get", child, "request").out, "4711\n", "a forked child has its own values")
        is_(run("get", program.pid, "request").out, "100\n", "and its parent has others")
        program.tell("evil")
        found = listed(program)[0]
        is_(found["comm"], r"\x1b]0;evil\x07", "control characters of a command's name are escaped")
        is_(found["tlds"][-1]["name"], r"\x1b[31mred\x0a\x9b\xff\\", "those of a TLD's name are, too, and what is no UTF-8")
        text = run("list", "--pid", program.pid)
        ok(not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]", text.bytes), "none of them gets to the terminal", text)
        is_(run("get", program.pid, found["tlds"][-1]["name"]).out, "0\n", "a name is entered as it is shown")
        os.kill(child, signal.SIGKILL)
    with Program("publisher", "-t", 1, "-s", 24) as program:
        map_id = program.maps[0]
        holder = keep_open(map_id)
        program.send("exec")
        is_(program.line(), "ready", "a program executes another one")
        states = [t["state"] for p in listed(program) for t in p["threads"]]
        is_(states, ["stale"], "what the old image published is marked stale")
        stale = run("get", program.pid, "request", "--map", map_id)
        is_((stale.status, stale.out), (3, ""), "get does not show it")
        ok("executed another program" in stale.err, "and says why", stale)
        is_(run("set", program.pid, "request", 1, "--map", map_id).status, 3, "nor does set write it")
        holder.end()


def keep_open(map_id):
    """A process that holds a map."""
    path = f"/sys/fs/bpf/tldctl_test_{os.getpid()}"
    bpftool("map", "pin", "id", map_id, path)
    holder = Program("publisher", "-t", 1, "-p", path)
    os.unlink(path)
    return holder


def look_at_many():
    with Program("publisher", "-t", 1000, "-s", 24) as program:
        process = json.loads(run("list", "--pid", program.pid, "--json").out)["processes"][0]
        is_([t["tid"] for t in process["threads"]], program.tids(), "each of 1,000 threads is listed once")
        # In the order of thread ids, which may have begun anew in the middle.
        found = [int(values(process, n)["request"]) for n in range(1000)]
        is_(found, [100 + (found[0] - 100 + n) % 1000 for n in range(1000)], "each with its own value")
        ended = program.tids()[-1]
        program.tell("end")
        await_(lambda: ended not in program.tids())
        is_(run("list", "--pid", program.pid).out.count("publisher") - 1, 999, "a thread that ended is not listed any more")
    with Program("publisher", "-t", 10000, "-s", 24) as program:
        # The least of three: others' work makes each second of a processor do less.
        spent, counts = [], set()
        for _ in range(3):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            # One map: each map of another test would be looked into, too.
            counts.add(run("list", "--pid", program.pid, "--map", program.maps[0]).out.count("publisher") - 1)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        is_(counts, {10000}, "10,000 threads are listed")
        ok(min(spent) < 1, "in less than a second of processor time", f"{spent} s")


def look_at_kernel_header():
    done = subprocess.run([os.path.join(SRC, "tests-c/kernels/kselftest/kernel-source.sh")], capture_output=True, text=True, check=False) \
        if not os.environ.get("KSRC") else None
    source = os.environ.get("KSRC") or done.stdout.strip()
    if done and done.returncode == 77:
        skip("a program with the kernel's own header", f"kernel: no source of it: {source}")
        return
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "kernel_header")
        compiled = subprocess.run(
            [*os.environ.get("CC", "gcc").split(), "-std=gnu11", "-D_GNU_SOURCE", "-g", "-I" + os.path.join(SRC, "tests-c/support"),
             "-I" + os.path.join(source, "tools/testing/selftests/bpf/prog_tests"),
             os.path.join(SRC, "tests-c/tldctl/programs/kernel_header.c"), "-o", path, "-lbpf", "-lelf", "-lz", "-pthread"],
            capture_output=True, text=True, check=False)
        if not ok(compiled.returncode == 0, "a program compiles with the kernel's own header", compiled.stderr):
            return
        with Program("kernel_header", path=path) as program:
            process = listed(program)[0]
            is_([(t["name"], t["size"], t["offset"]) for t in process["tlds"]], [("request", 4, 0), ("budget", 8, 8)],
                "its TLDs are listed")
            is_([list(values(process, n).values()) for n in range(2)], [[300, 7], [301, 7]], "and its threads' values")
            run("set", program.pid, "budget", 9)
            is_(run("get", program.pid, "budget").out, "9\n", "and can be set")
            watched = json.loads(run("watch", "--json", "--iterations", 1, "--pid", program.pid, "request").out)["threads"]
            is_([thread["values"][0]["value"] for thread in watched], [300, 301], "and watched")
            record_kernel_header(program, os.path.join(directory, "r.json"))


def record_kernel_header(program, file):
    recorder = subprocess.Popen([TOOL, "record", "-o", file, "--pid", str(program.pid), "request"], stderr=subprocess.PIPE)
    # Three tracepoints and a sampler or more.
    await_(lambda: len(re.findall("anon_inode:bpf.link", open_files(recorder.pid))) >= 4)
    own = int(program.tell(300)[0])
    recorder.send_signal(signal.SIGINT)
    recorder.communicate(timeout=patience(60))
    report = json.loads(run("report", "--json", file).out)
    used = {value["value"]: value["ran_ns"] for value in report["values"]}
    ok(abs(used.get(300, 0) / own - 1) < 0.05, "and recorded: on-CPU time is what its own clock says, within 5 %", f"{used} {own}")


def open_files(pid):
    return subprocess.run(["ls", "-l", f"/proc/{pid}/fd"], capture_output=True, text=True, check=False).stdout


# --- Hostile pages -------------------------------------------------------------------


def look_at_lies():
    with Program("raw", 24, 16, 24) as program:
        for index in 0, 1, 2:
            program.tell("cnt", index, 2)
            program.tell("entry", index, 0, 4, "one")
            program.tell("entry", index, 1, 4 if index < 2 else 8, "two")
            program.tell("word", index, 8, 11 + index)
            program.tell("word", index, 16, 21 + index)
            program.tell("publish", index)
        is_([run("get", program.pid, "two", "--map", m).out for m in program.maps], ["21\n", "22\n", "23\n"],
            "pages that libtld did not make are read, in v1 and v2")
        both = run("get", program.pid, "two")
        is_(both.status, 1, "a name that is not the same in two maps is an error")
        ok("choose one by --map" in both.err and "8 bytes" in both.err, "that says how to choose", both)
        program.tell("entry", 0, 0, 65535, "huge")
        process = listed(program)[0]
        is_(list(values(process).values()), [None, None], "TLDs that lie outside of the page have no value")
        program.tell("cnt", 0, 65535)
        ok(len(listed(program)[0]["tlds"]) <= 63, "a count that no page holds is not believed")
        program.tell("cnt", 0, 2)
        program.tell("entry", 0, 0, 4, "x" * 62)
        process = listed(program)[0]
        is_((process["tlds"][0]["name"], process["odd"]), ("x" * 62, "a name without an end"), "a name without an end is cut, and said to be odd")
        program.tell("entry", 0, 1, 0, "being-written")
        is_(len(listed(program)[0]["tlds"]), 1, "an entry that is being written is not listed")
        for start in 0, 4096, 40000:
            program.tell("start", 0, start)
            program.tell("publish", 0)
            is_([t["state"] for t in listed(program)[0]["threads"]], ["unreadable"], f"a start of {start} is not followed")
        program.tell("start", 0, 4092)
        program.tell("publish", 0)
        is_(list(values(listed(program)[0]).values()), [0], "a value may end with the page")
        program.tell("start", 0, 4093)
        program.tell("publish", 0)
        is_(list(values(listed(program)[0]).values()), [None], "but not behind it")
        program.tell("stamp", 0, 4711)
        is_([t["state"] for t in listed(program)[0]["threads"]], ["stale"], "the stamp of another image makes it stale")


def look_at_storm():
    with Program("raw", 24) as program:
        program.tell("publish", 0)
        program.tell("storm", 0)
        good = sum(run_json("list", "--pid", program.pid) is not None for _ in range(30))
        statuses = {run("get", program.pid, "x").status for _ in range(10)}
        program.tell("calm")
        is_(good, 30, "a page that is rewritten all the time is listed each time")
        ok(statuses <= {0, 3}, "and a name in it is found or not", statuses)
    with Program("raw", 24) as program:
        for index, (name, size) in enumerate([("long", 2000), ("other", 16)]):
            program.tell("entry", 0, index, size, name)
        program.tell("cnt", 0, 2)
        program.tell("publish", 0)
        program.tell("spin", 0)

        def torn():
            return [v["name"] for p in listed(program) for v in p["threads"][0]["values"] if v["torn"]]

        is_(await_(torn, 60), ["long"], "a value of many words that changes while it is read is marked torn, and no other")
        ok(await_(lambda: "(torn)" in run("list", "--pid", program.pid).out, 60), "in the text, too")
        program.tell("calm")
        ok(await_(lambda: not torn()) and not torn(), "and not any more when it is at rest")


def look_at_ends():
    with Program("raw", 24) as program:
        program.tell("cnt", 0, 1)
        program.tell("entry", 0, 0, 4, "one")
        program.tell("publish", 0)
        program.tell("leader")
        await_(lambda: "Z" in open(f"/proc/{program.pid}/stat", encoding="utf-8").read().rsplit(")", 1)[1][:3])
        is_([t["state"] for p in listed(program) for t in p["threads"]], ["ended"], "a first thread that ended is said to have")
        is_(run("get", program.pid, "one").status, 3, "and get does not show it")
    for _ in range(10):
        with Program("publisher", "-t", 300, "-s", 24) as program:
            listing = subprocess.Popen([TOOL, "list", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            program.process.kill()
            out, err = listing.communicate(timeout=patience(60))
            if listing.returncode != 0 or b"processes" not in out:
                ok(False, "a process that ends in the middle of a list does not end the list", err)
                return
    ok(True, "a process that ends in the middle of a list does not end the list")


def look_from_inside():
    contained = "unshare", "-p", "-f", "--mount-proc", "--kill-child"
    with Program("publisher", "-t", 1, "-s", 24) as outer, Program("publisher", "-t", 3, "-s", 24, prefix=contained) as program:
        with open(f"/proc/{program.pid}/task/{program.pid}/children", encoding="utf-8") as children:
            program.pid = int(children.read())
        inside = {"prefix": ("nsenter", "-t", str(program.pid), "-p", "-m")}
        inner = [status_ids(program.pid, tid)[-1] for tid in program.tids()]
        is_([(p["pid"], [t["tid"] for t in p["threads"]]) for p in listed(program)], [(program.pid, program.tids())],
            "from outside the tasks of a PID namespace have the ids of outside")
        found = run_json("list", **inside)["processes"]
        is_([(p["pid"], [t["tid"] for t in p["threads"]]) for p in found], [(1, inner)], "inside they have theirs, and nobody of outside is seen")
        is_([t["tid"] for t in run_json("list", "--pid", 1, **inside)["processes"][0]["threads"]], inner, "--pid takes theirs")
        is_(run("get", f"1/{inner[2]}", "request", **inside).out, "102\n", "so does get")
        is_(run("set", f"1/{inner[2]}", "request", 7, **inside).status, 0, "so does set")
        is_(run("get", f"{program.pid}/{program.tids()[2]}", "request").out, "7\n", "which writes that thread's")
        is_(run("get", program.pid, "request", **inside).status, 3, "an id of outside is nobody's inside")
        watched = json.loads(run("watch", "--json", "--iterations", 1, **inside).out)["threads"]
        is_([(t["pid"], t["tid"]) for t in watched], [(1, tid) for tid in inner], "watch shows the ids of inside")
        maps = {m["id"]: m for m in run_json("maps", **inside)["maps"]}
        is_([maps[m]["tasks"] for m in (program.maps[0], outer.maps[0])], [3, 0], "maps counts the tasks of inside")
        is_([h["pid"] for m in (program.maps[0], outer.maps[0]) for h in maps[m]["holders"]], [1], "and names the holders there")


def status_ids(pid, tid):
    """A thread's ids in each namespace that has it."""
    with open(f"/proc/{pid}/task/{tid}/status", encoding="utf-8") as status:
        return [int(word) for word in re.search(r"^NSpid:(.*)$", status.read(), re.M)[1].split()]


# --- set ---------------------------------------------------------------------------------


def set_values():
    with Program("publisher", "-t", 2, "-s", 24, "-s", 16) as program:
        first, second = program.tids()
        cases = [("request", "4294967295", 100), ("deadline", "0xffffffffffffffff", 0), ("flag", "200", 0), ("half", "65535", 1000)]
        for name, value, before in cases:
            done = run_json("set", program.pid, name, value)
            is_((done["before"]["value"], int(done["after"]["value"])), (before, int(value, 0)), f"set {name} says what it replaced")
            is_(program.tell("show", name), [str(int(value, 0))], f"the thread finds the new {name}")
        is_(values(listed(program)[0], 1)["request"], 101, "another thread's stay as they are")
        run("set", f"{program.pid}/{second}", "request", 7)
        is_([values(listed(program)[0], n)["request"] for n in (0, 1)], [4294967295, 7], "PID/TID sets that thread's")
        words = run("set", program.pid, "balance", "-5", "--as", "balance=i32")
        is_(words.out, f"balance of {program.pid}/{first} (publisher) is -5, was 0\n", "it says so in words; a negative value is no option")
        is_(program.tell("show", "balance"), [str(2**32 - 5)], "and is written")
        dry = run_json("set", program.pid, "flag", 1, "--dry-run")
        is_((dry["dry_run"], dry["before"]["value"], program.tell("show", "flag")), (True, 200, ["200"]), "--dry-run writes nothing")
        run("set", program.pid, "name", "hello", "--as", "name=str")
        is_(run("get", program.pid, "name").out, "68656c6c6f" + "00" * 7 + "\n", "a value of another size is written byte by byte")
        is_(run("get", program.pid, "request").out, "4294967295\n", "and nothing else")
        for value, words in ("256", "0 to 255"), ("-1", "0 to 255"), ("x", "not an integer"):
            refused = run("set", program.pid, "flag", value)
            ok(refused.status == 64 and words in refused.err, f"{value} is refused for a byte, in words", refused)
        is_(program.tell("show", "flag"), ["200"], "and nothing is written then")
    with Program("raw", 24) as program:
        program.tell("cnt", 0, 1)
        program.tell("entry", 0, 0, 8, "one")
        program.tell("start", 0, 12)
        program.tell("publish", 0)
        refused = run("set", program.pid, "one", 1)
        ok(refused.status == 1 and "not aligned" in refused.err, "a value that cannot be written at once is not written", refused)


# --- maps, map create, map remove ----------------------------------------------------------


def make_maps():
    directory = f"/sys/fs/bpf/tldctl_test_{os.getpid()}"
    pin = directory + "/tld_data_map"
    try:
        made = run("map", "create", pin, "--group", NOBODY)
        is_((made.status, made.out), (0, ""), "map create makes a map, and says nothing")
        status = os.stat(pin)
        is_((status.st_mode & 0o7777, status.st_uid, status.st_gid), (0o660, 0, NOBODY), "its pin belongs to the group, with mode 0660")
        status = os.stat(directory)
        is_((status.st_mode & 0o7777, status.st_uid), (0o755, 0), "in a directory of root's that all may search")
        is_(run("map", "create", pin).status, 1, "what is there is not replaced")
        with Program("publisher", "-t", 2, "-p", pin, "-u") as program:
            found = run_json("maps", "--map", pin)["maps"][0]
            is_((found["id"], found["name"], found["format"], found["tasks"]), (program.maps[0], "tld_data_map", "v2", 2),
                "maps shows id, name, format and how many tasks publish")
            is_([(p["path"], p["mode"], p["uid"], p["gid"]) for p in found["pins"]], [(pin, "0660", 0, NOBODY)], "the pin, with mode and owner")
            ok((program.pid, "publisher") in [(h["pid"], h["comm"]) for h in found["holders"]], "who holds the map", found)
            ok(("tldctl_user", "tracepoint") in [(p["name"], p["type"]) for p in found["programs"]], "and which programs use it", found)
            text = run("maps", "--map", program.maps[0]).out
            ok(f"pinned at {pin} 0660 root:" in text and f"held by process {program.pid} publisher" in text
               and re.search(r"used by program \d+ tldctl_user \(tracepoint\)", text), "in the text, too", text)
            is_(run("get", program.pid, "request", "--map", pin).out, "100\n", "a pin names the map")
        second = bpftool("map", "pin", "pinned", pin, directory + "/other", check=False)
        is_((second.returncode, len(run_json("maps", "--map", pin)["maps"][0]["pins"])), (0, 2), "each pin is shown")
        is_(run("map", "remove", pin).status, 0, "map remove removes the pin")
        ok(not os.path.exists(pin) and os.path.exists(directory + "/other"), "and leaves a directory that is not empty")
        is_(run("map", "remove", directory + "/other").status, 0, "the last one")
        ok(not os.path.exists(directory), "goes with its directory")
        for map_format, size in ("v1", 16), ("native", 56):
            run("map", "create", pin, "--format", map_format, "--keys", 3, "--mode", "640")
            found = run_json("maps", "--map", pin)["maps"][0]
            is_((found["format"], found["value_size"], found["pins"][0]["mode"]), (map_format, size, "0640"), f"--format {map_format} and --mode do what they say")
            with Program("publisher", "-t", 1, "-p", pin) as program:
                is_(run("get", program.pid, "request").out, "100\n", f"programs publish in a {map_format} map that it made")
            run("map", "remove", pin)
        refuse_places(directory, pin)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def refuse_links(directory, pin):
    """Through links, nothing is made and nothing is removed."""
    link = directory + "_link"
    os.symlink(directory, link)
    try:
        refused = run("map", "create", link + "/map")
        ok(refused.status == 1 and "symbolic link" in refused.err, "a path through a symbolic link is refused", refused)
        run("map", "create", pin)
        refused = run("map", "remove", link + "/tld_data_map")
        ok(refused.status == 1 and "symbolic link" in refused.err, "map remove refuses it, too", refused)
        os.symlink(pin, directory + "/linked")
        refused = run("map", "remove", directory + "/linked")
        ok(refused.status == 1 and "symbolic link" in refused.err, "and a pin that is one", refused)
        ok(os.path.exists(pin) and os.path.islink(directory + "/linked"), "both are still there")
        refused = run("map", "create", directory + "/linked", "--mode", "660")
        ok(refused.status == 1 and "something at" in refused.err, "map create does not replace it", refused)
        is_(os.stat(pin).st_mode & 0o7777, 0o600, "nor set the mode of what it leads to")
    finally:
        for name in directory + "/linked", link, pin:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
    run("map", "create", pin)
    os.chown(directory, NOBODY, NOBODY)
    is_(run("map", "remove", pin).status, 0, "a pin can be removed from anybody's directory")
    os.mkdir(directory)


def refuse_places(directory, pin):
    for place, words in ("/tmp/tldctl_test/map", "not in a BPF file system"), ("/tmp/none/none/map", "No such file"), ("relative/map", "absolute"), \
            ("/sys/fs/bpf/tldctl_test", "directory of its own"), (directory + "/a.b", "dot"):
        refused = run("map", "create", place)
        ok(refused.status != 0 and re.search(words, refused.err), f"{place} is no place for a pin", refused)
    is_(run("map", "create", pin, "--mode", "666").status, 64, "a pin that all may write is refused")
    is_(run("map", "create", pin, "--group", "no-such-group").status, 3, "a group that is not there is not found")
    os.mkdir(directory)
    for owner, mode, why in (0, 0o777, "others may write the directory"), (0, 0o775, "others may write the directory"), \
            (NOBODY, 0o755, "the directory belongs to another user"):
        os.chown(directory, owner, owner)
        os.chmod(directory, mode)
        refused = run("map", "create", pin)
        ok(refused.status == 4 and why in refused.err, f"{why}: map create refuses it", refused)
        status = os.stat(directory)
        is_((status.st_mode & 0o7777, status.st_uid, os.listdir(directory)), (mode, owner, []), "it is as it was, and empty")
    os.chown(directory, 0, 0)
    os.chmod(directory, 0o755)
    refuse_links(directory, pin)
    os.mkdir(directory + "/sub")
    bpftool("map", "create", directory + "/sub/hash", "type", "hash", "key", 4, "value", 4, "entries", 1, "name", "plain", check=False)
    is_(run("map", "remove", directory + "/sub/hash").status, 3, "another map's pin is not removed")
    ok(os.path.exists(directory + "/sub/hash"), "and is still there")
    os.unlink(directory + "/sub/hash")
    os.rmdir(directory + "/sub")
    os.rmdir(directory)


# --- doctor, exit statuses, and the rest ------------------------------------------------------


def ask_doctor():
    found = run_json("doctor")
    verdicts = {c["name"]: c["verdict"] for c in found["checks"]}
    is_([found["works"]] + [verdicts[n] for n in ("uptr", "pidfd_thread", "btf", "program")], [True] + ["yes"] * 4, "doctor says that hints can work here")
    is_(run("doctor").status, 0, "with exit status 0")
    library = run_json("doctor", env={"LD_LIBRARY_PATH": BUILD})
    ok(any(c["name"] == "library" and c["verdict"] == "yes" and "version 1." in c["text"] for c in library["checks"]), "it finds the library and its version", library)
    for call, error, broken in ("bpf", 38, "uptr"), ("bpf", 1, "program"), ("pidfd_open", 22, "pidfd_thread"):
        boxed = run_json("doctor", prefix=(os.path.join(PROGRAMS, "without"), call, str(error)))
        by_name = {c["name"]: c for c in boxed["checks"]}
        ok(by_name[broken]["verdict"] == "no" and by_name[broken]["advice"], f"where {call} gives {error} it says no to {broken}, and what to do", boxed)
        ok(by_name["seccomp"]["text"].startswith("a filter"), "and that there is a filter")
    is_(run("doctor", prefix=(os.path.join(PROGRAMS, "without"), "bpf", "38")).status, 5, "and ends with 5 if hints cannot work")


def as_nobody(*arguments, run=run):
    return tool.run_as_nobody(*arguments, run=run)


def provoke_statuses():
    with Program("publisher", "-t", 1, "-s", 24) as program:
        is_(run("list", "--pid", program.pid).status, 0, "exit status 0: good")
        cases = [
            (3, "no such process", ("get", 2**22 + 1, "request")), (3, "no such process to list", ("list", "--pid", 2**22 + 1)),
            (3, "a process that publishes nothing", ("list", "--pid", os.getpid())),
            (3, "no such thread", ("get", f"{program.pid}/{os.getpid()}", "request")),
            (3, "no such name", ("get", program.pid, "nonsense")), (3, "no such name to set", ("set", program.pid, "nonsense", 1)),
            (3, "no such map", ("list", "--map", "nonsense")), (3, "no such pin", ("list", "--map", "/sys/fs/bpf/nonsense/map")),
            (64, "no command of that name", ("nonsense",)), (64, "an option of no meaning", ("list", "--nonsense")),
            (64, "no value", ("set", program.pid, "request")), (64, "what is no thread", ("get", "1/x", "request")),
            (64, "what is no type", ("list", "--as", "request=int")), (64, "what is no shell", ("completions", "tcsh")),
        ]
        for status, what, arguments in cases:
            done = run(*arguments)
            is_((done.status, done.out, done.err.startswith("tldctl: ")), (status, "", True), f"exit status {status}: {what}")
        ok("request, deadline" in run("get", program.pid, "nonsense").err, "a name that is not there is told which are")
        denied = as_nobody("list")
        is_(denied.status, 4, "exit status 4: a user who may not")
        ok("root" in denied.err or "CAP_" in denied.err, "who is told what to do", denied)
        is_(as_nobody("doctor").status, 0, "doctor works for such a user")
        ok(as_nobody("doctor", run=run_json)["works"], "with JSON, too")
        refuse_kernel(program)
        thread = run("list", "--pid", one_other_thread())
        ok(thread.status == 3 and "is a thread of process" in thread.err, "a thread's id in the place of a process's is told from one that is not there", thread)


def refuse_kernel(program):
    """What each command says of a kernel that cannot, and of one that cannot just now."""
    without = os.path.join(PROGRAMS, "without")
    pin, recording = f"/sys/fs/bpf/tldctl_test_{os.getpid()}/map", os.path.join(tempfile.mkdtemp(), "r.json")
    narrow = "--pid", program.pid, "--map", program.maps[0]
    loads = [("list", *narrow), ("get", program.pid, "request", *narrow[2:]), ("set", program.pid, "request", 100, *narrow[2:]),
             ("watch", "--iterations", 1, *narrow), ("record", "-o", recording, "--duration", 0.1, *narrow, "request"), ("maps", *narrow[2:])]
    for command in [*loads, ("map", "create", pin)]:
        found = run(*command, prefix=(without, "bpf", "38"))
        is_((found.status, found.out), (5, ""), f"exit status 5: {command[0]} in a kernel without bpf(2)")
    for command in loads:
        found = run(*command, prefix=(without, "bpf_prog_load", "22"))
        ok(found.status == 5 and "refuses the BPF program" in found.err, f"exit status 5: {command[0]}, whose program the kernel refuses", found)
        found = run(*command, prefix=(without, "bpf_prog_load", "11"))
        ok(found.status == 1 and "try again" in found.err, f"exit status 1: {command[0]} in a kernel that is busy", found)
        # libbpf itself tries five times.
        found = run(*command, env={"LD_PRELOAD": os.path.join(PROGRAMS, "busy.so"), "BUSY_LOADS": "12"})
        # There may have been nobody on a processor to record.
        ok(found.status == (3 if command[0] == "record" else 0), f"{command[0]} tries again by itself", found)
    is_(os.path.exists(os.path.dirname(pin)), False, "and no directory of a pin is left")
    shutil.rmtree(os.path.dirname(recording))


def one_other_thread():
    """A thread that is not its process's first."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            others = [tid for tid in os.listdir(f"/proc/{pid}/task") if tid != pid]
        except OSError:
            continue
        if others:
            return others[0]
    return 0


def behave():
    version = re.search(r"#define TLD_VERSION_MAJOR (\d+)\n#define TLD_VERSION_MINOR (\d+)", open(os.path.join(SRC, "include/tld.h"), encoding="utf-8").read())
    ok(run("--version").out.startswith(f"tldctl {version[1]}.{version[2]}."), "--version is the library's")
    for arguments in ("--help",), ("help",), ("help", "set"), ("set", "--help"):
        ok("USAGE: tldctl" in run(*arguments).out, f"tldctl {' '.join(arguments)} helps")
    for shell, check in ("bash", ["bash", "-n"]), ("zsh", None), ("fish", None):
        script = run("completions", shell).out
        ok("dry-run" in script and "tldctl" in script, f"there are completions for {shell}")
        if check:
            is_(subprocess.run(check, input=script, text=True, check=False).returncode, 0, f"which {shell} can read")
    pipe = subprocess.run(["bash", "-c", f"set -o pipefail; trap '' PIPE; for i in 1 2 3 4 5; do {TOOL} completions bash | head -c 10 >/dev/null; done"],
                          capture_output=True, check=False)
    is_(pipe.stderr, b"", "a reader that goes away is no reason for a word")
    full = subprocess.run([TOOL, "--help"], stdout=open("/dev/full", "wb"), stderr=subprocess.PIPE, check=False)
    ok(full.returncode == 1 and full.stderr.startswith(b"tldctl: standard output"), "a full disk is", full)
    needed = subprocess.run(["readelf", "-d", TOOL], capture_output=True, text=True, check=True).stdout
    libraries = set(re.findall(r"NEEDED.*\[(\w[\w-]*)", needed))
    ok(libraries <= {"libc", "libm", "libbpf", "libelf", "libz", "ld-linux-x86-64", "ld-linux-aarch64"}, "the one file needs libc, libbpf and what that needs", libraries)


def replay_session():
    if not shutil.which("jq"):
        ok(False, "jq is installed")
        return
    hints = f"/sys/fs/bpf/tldctl_test_{os.getpid()}"
    demo = subprocess.Popen([os.path.join(BUILD, "examples/oncpu"), "-d", str(int(patience(300)))], stdout=subprocess.DEVNULL)
    # Another demonstration may run.
    shell = subprocess.Popen(["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             env={**ENVIRONMENT, "PATH": os.path.dirname(TOOL) + ":" + os.environ["PATH"]})
    try:
        await_(lambda: run("list", "--pid", demo.pid).out.count(" oncpu ") >= 4)
        shell.stdin.write(f"pidof() {{ echo {demo.pid}; }}\n")
        with open(os.path.join(SRC, "docs/guide/tldctl.md"), encoding="utf-8") as file:
            session = console(file.read())
        for command, output in session:
            shell.stdin.write(command.replace("/sys/fs/bpf/hints", hints) + "\necho END\n")
            shell.stdin.flush()
            lines = iter(shell.stdout.readline, "END\n")
            is_(shape("".join(lines).replace(hints, "/sys/fs/bpf/hints")), shape(output), f"docs/guide/tldctl.md: {command}")
    finally:
        demo.kill()
        demo.wait()
        shell.stdin.close()
        shell.wait()
        shell.stdout.close()


def loaded():
    return {p["id"] for p in json.loads(bpftool("prog", "show", "--json").stdout) if p.get("name") in ("read_task", "set_value")}


def leave_nothing():
    with Program("publisher", "-t", 50, "-s", 24) as program:
        before = loaded()
        for n in range(25):
            lists = [subprocess.Popen([TOOL, "list", "--pid", str(program.pid)], stdout=subprocess.DEVNULL) for _ in range(2)]
            time.sleep(n * 0.003)
            for one in lists:
                one.kill()
                one.wait()
        ours = loaded() - before
        # What other runs have loaded meanwhile goes, too.
        ok(await_(lambda: not ours & loaded()), "two of them killed at any moment leave no program loaded", ours)
        is_(run("get", program.pid, "request").out, "100\n", "and the next one works")


def main():
    if os.geteuid() != 0:
        skip_all("runs as root only, because it reads other processes' maps")
    doctor = run("doctor", "--json")
    if doctor.status != 0 and "works" in doctor.out:
        skip_all("kernel: " + "; ".join(c["text"] for c in json.loads(doctor.out)["checks"] if c["verdict"] == "no"))
    mount_bpffs()
    for part in (look_at_formats, look_at_lives, look_at_many, look_at_kernel_header, look_at_lies, look_at_storm, look_at_ends,
                 look_from_inside, set_values, make_maps, ask_doctor, provoke_statuses, behave, replay_session, leave_nothing):
        began = time.monotonic()
        try:
            part()
        except Exception as error:  # pylint: disable=broad-except
            import traceback
            ok(False, f"{part.__name__} runs to its end", "".join(traceback.format_exception(error)))
        remark(f"{part.__name__}: {time.monotonic() - began:.1f} s")
    is_(invalid, [], "all JSON was as the schema says")
    ok({"list", "get", "set", "maps", "doctor"} <= validated, "that of each command was looked at", validated)
    is_(untidy, [], "every message began with tldctl:, and nothing crashed")
    finish()


main()
