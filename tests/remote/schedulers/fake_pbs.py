"""Stands in for PBS where there is no server: `qsub`, `qstat`, `qdel`, `qselect` that answer with what real servers said.

    python3 fake_pbs.py PROGRAM FOLDER VERSION [ARGUMENTS]      # `install` makes programs of that

A job is what one of the captured ones was (samples/), under its own id and name; which, its script tells: `exit 3` failed,
`kill -9` was killed, `sleep 600` runs until somebody deletes it. Each question moves a job on by one state. The statuses,
the messages and the faults of each version are those that were captured: the newer one prints the first of several jobs
only, in JSON. `FOLDER/fault` makes a program fail on purpose: `{"qsub": "cut"}`, see `_FAULTS`.
"""

import fcntl
import json
import os
import re
import sys
import time
from pathlib import Path

SAMPLES = Path(__file__).parent / "samples"
RELEASE, MASTER = "openpbs-23.06.06", "openpbs-master"
PROGRAMS = ("qsub", "qstat", "qdel", "qselect")
SERVER = "gadi-pbs"
UNKNOWN_ID, FINISHED, DOWN = 153, 35, 255
FINAL = "F"

_FAULTS = ("cut", "lost", "early", "down", "garbled", "vanish")
"""`cut`: does it and is killed before it says so; `lost`: does it and prints nothing; `early`: is killed before it does it;
`down`: the server does not answer; `garbled`: prints something else; `vanish`: takes the job and forgets it."""


def install(folder: Path, version: str = RELEASE) -> Path:
    """Make the four programs in a folder, with an empty server; return the folder of the programs."""
    server, programs = folder / "server", folder / "bin"
    (server / "jobs").mkdir(parents=True)
    programs.mkdir()
    for name in PROGRAMS:
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {__file__} {name} {server} {version} "$@"\n')
        program.chmod(0o755)
    return programs


class Server:
    """The jobs of one server, each a file."""

    def __init__(self, folder: Path, version: str = RELEASE) -> None:
        self.folder = folder
        self.version = version

    def jobs(self):
        """Return all jobs, by number."""
        paths = sorted((self.folder / "jobs").glob("[0-9]*"), key=lambda path: int(path.name))
        return {int(path.name): json.loads(path.read_text()) for path in paths}

    def put(self, number, job):
        """Write one job down."""
        path = self.folder / "jobs" / f".{number}"
        path.write_text(json.dumps(job))
        path.rename(self.folder / "jobs" / str(number))

    def fault(self, program):
        """Return the fault that a program is to have, or None; one with a count is used up."""
        path = self.folder / "fault"
        if not path.exists():
            return None
        faults = json.loads(path.read_text())
        return faults.get(program)

    def log(self, words):
        """Note a call, with its time."""
        with (self.folder / "calls").open("a") as file:
            file.write(json.dumps([time.time(), words]) + "\n")

    def calls(self, program=None):
        """Return the calls so far: when, and the words."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        calls = [json.loads(line) for line in lines]
        return [(when, words) for when, words in calls if program in (None, words[0])]


def main(program, folder, version, arguments):
    """Be one of the programs; return its exit status."""
    server = Server(Path(folder), version)
    with (server.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server.log([program, *arguments])
        fault = server.fault(program)
        if fault == "down":
            sys.stderr.write(f"Connection refused\n{program}: cannot connect to server localhost (errno=15010)\n")
            if program == "qstat":
                print(json.dumps({"timestamp": 1795471008, "pbs_version": "23.06.06", "pbs_server": "localhost"}))
            return DOWN
        if fault == "early":
            os.kill(os.getpid(), 9)
        if fault == "garbled":
            print("<html>")
            return 0
        return {"qsub": _qsub, "qstat": _qstat, "qdel": _qdel, "qselect": _qselect}[program](server, arguments, fault)


def _qsub(server, arguments, fault):
    options = _options(arguments, ("-N", "-r", "-j", "-q", "-P", "-J", "-l", "-W", "-v", "-o"))
    refused = _refusal(options)
    if refused is not None:
        sys.stderr.write(f"{refused[1]}\n")
        return refused[0]
    script = sys.stdin.read()
    number = max(server.jobs(), default=-1) + 1
    number = max(number, int((server.folder / "next").read_text()) if (server.folder / "next").exists() else 0)
    (server.folder / "next").write_text(str(number + 1))
    job = {
        "name": options["-N"][-1],
        "script": script,
        "array": options.get("-J", [None])[-1],
        "depend": options.get("-W", [None])[-1],
        "variables": options.get("-v", [""])[-1],
        "words": arguments,
        "stage": 0,
        "plan": _plan(server, script, options),
    }
    job_id = f"{number}[].{SERVER}" if job["array"] else f"{number}.{SERVER}"
    if fault != "vanish" and job["plan"] != "vanish":
        server.put(number, job)
    if fault == "cut":
        os.kill(os.getpid(), 9)
    if fault != "lost":
        print(job_id)
    return 0


def _refusal(options):
    """Return the status and message with which the captured server refused these options, or None."""
    text = (SAMPLES / RELEASE / "qsub_errors.txt").read_text()
    for words, said, status in re.findall(r"^\$ qsub (.*)\n(.*)\n(?:usage.*\n)?rc=(\d+)$", text, re.M):
        flag, _, value = words.partition(" ")
        if status != "0" and value in options.get(flag, []):
            return int(status), said
    return None


def _plan(server, script, options):
    """Return the sample that the job ends as."""
    resources = dict(one.split("=", 1) for one in options.get("-l", []))
    if resources.get("walltime", "") >= "99" or "nosuch" in resources:
        return "vanish"
    depend = re.search(r":(\d+)", options.get("-W", [""])[-1])
    if depend and int(depend[1]) not in server.jobs():
        return "bad_dependency"
    if "-J" in options:
        return "array_finished_t"
    if "sleep" in script:
        return "walltime_exceeded" if resources.get("walltime", "99") < "00:00:10" else "deleted_running"
    for words, sample in (
        ("exit 3", "finished_failed_exit3"),
        ("kill -9", "finished_signal9"),
        ("no_such", "finished_127"),
    ):
        if words in script:
            return sample
    return "dep_finished" if depend else "finished_ok"


def _look(server, number, job):
    """Return the name of the sample that a job is now, and move it on."""
    plan, stage = job["plan"], job["stage"]
    server.put(number, {**job, "stage": stage + 1})
    if job.get("deleted"):
        return job["deleted"]
    if plan == "bad_dependency":
        return plan
    depend = re.search(r":(\d+)", job["depend"] or "")
    if depend:
        other = server.jobs()[int(depend[1])]
        if other["stage"] <= 2 and not other.get("deleted"):
            server.put(number, job)
            return "held_dependency"
        if "afterok:" in job["depend"] and (
            other.get("deleted") or other["plan"] not in ("finished_ok", "dep_finished")
        ):
            return "bad_dependency"
    if stage == 0:
        return "queued"
    if stage == 1 or (plan == "deleted_running" and not job.get("deleted")):
        server.put(number, {**job, "stage": 2 if plan == "deleted_running" else stage + 1})
        return "array_running_t" if job["array"] else "running"
    return plan


def _qstat(server, arguments, _fault):
    if "-B" in arguments:
        enabled = not (server.folder / "no_history").exists()
        print(f"Server: {SERVER}\n    server_state = Active\n" + "    job_history_enable = True\n" * enabled)
        return 0
    as_json = "json" in arguments
    ids = [word for word in arguments if word[0].isdigit()]
    jobs, found, status = server.jobs(), {}, 0
    for job_id in ids:
        number = int(re.match(r"\d+", job_id)[0])
        if number not in jobs or (server.folder / "forgotten").exists():
            sys.stderr.write(f"qstat: Unknown Job Id {job_id.partition('.')[0]}.{SERVER}\n")
            status = UNKNOWN_ID
        elif not (as_json and server.version == MASTER and found):  # the rest is not printed, and nothing is said of it
            found.update(_attributes(server, number, jobs[number], with_tasks="-t" in arguments))
    if as_json:
        document = {"timestamp": 1795469738, "pbs_version": "23.06.06", "pbs_server": "localhost"}
        print(json.dumps({**document, **({"Jobs": found} if found else {})}, indent=4, separators=(",", ":")))
    else:
        for job_id, attributes in found.items():
            print(f"Job Id: {job_id}")
            print("".join(f"{line}\n" for line in _lines(attributes)))
    return status


def _attributes(server, number, job, with_tasks):
    """Return the attributes of a job, and of its tasks, as its sample has them."""
    name = _look(server, number, job)
    text = (SAMPLES / server.version / f"{name}.json").read_text() if _is_there(server, name) else _release(name)
    found = {}
    for its_id, sample in json.loads(text)["Jobs"].items():
        task = re.search(r"\[\d*\]", its_id)
        if task and task[0] != "[]" and not with_tasks:
            continue
        attributes = {**sample, "Job_Name": job["name"], "Variable_List": {"DEA_RUN_ID": job["variables"]}}
        array = "[]" if job["array"] and not task else task[0] if task else ""
        found[f"{number}{array}.{SERVER}"] = attributes
    return found


def _is_there(server, name):
    return (SAMPLES / server.version / f"{name}.json").exists()


def _release(name):
    return (SAMPLES / RELEASE / f"{name}.json").read_text()  # the newer server was not asked for this one


def _lines(attributes):
    for name, value in attributes.items():
        values = value.items() if isinstance(value, dict) and name != "Variable_List" else [(None, value)]
        for part, one in values:
            text = ",".join(f"{key}={item}" for key, item in one.items()) if isinstance(one, dict) else one
            line = f"    {name}{'.' + part if part else ''} = {text}"
            yield "\n\t".join(line[at : at + 79] for at in range(0, len(line), 79))


def _qdel(server, arguments, _fault):
    number, jobs = int(re.match(r"\d+", arguments[-1])[0]), server.jobs()
    if number not in jobs:
        sys.stderr.write(f"qdel: Unknown Job Id {arguments[-1]}\n")
        return UNKNOWN_ID
    job = jobs[number]
    if job.get("deleted") or job["stage"] > 2 or job["plan"] == "bad_dependency":
        sys.stderr.write(f"qdel: Job has finished {arguments[-1]}\n")
        return FINISHED
    server.put(number, {**job, "deleted": "deleted_running" if job["stage"] == 2 else "deleted_queued"})
    return 0


def _qselect(server, arguments, _fault):
    name = arguments[arguments.index("-N") + 1]
    if (server.folder / "no_history").exists():
        return 0
    for number, job in server.jobs().items():
        if job["name"] == name:
            print(f"{number}[].{SERVER}" if job["array"] else f"{number}.{SERVER}")
    return 0


def _options(arguments, with_value):
    options, words = {}, list(arguments)
    while words:
        word = words.pop(0)
        options.setdefault(word, []).append(words.pop(0) if word in with_value else "")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]))
