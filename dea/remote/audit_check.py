"""Checks the audit log: `--audit-verify [--state DIR] [--receipts FILE]`, by hand only; and its end, for `--doctor`.

The chain shows that no line was changed, added or taken out before its last one. That its end was not cut off, or all of
it written anew, only somebody else's memory can show: the heads in receipts, or in the system's log.
"""

import json
import os
from hashlib import sha256

from dea.remote.audit import NO_LINE, is_log_of
from dea.remote.contract.request import Refusal, shown
from dea.remote.contract.status import USAGE

BROKEN = 1
"""The exit status when a log is not what was written."""

TAIL_BYTES = 1 << 20
"""How much of a log is read where its end is enough."""


class Log:
    """What was found in one node's log, over all its months.

    Attributes:
        node: The login node's name.
        lines: How many whole lines there are.
        problems: What cannot be, had nobody changed the log.
        remarks: What can: a line cut off by a kill, runs without an end.
        heads: The hash of each line that somebody remembers, by `log:seq`.
        running: How many commands were started and have no recorded end.
        clients: The address that the last request of each key came from, by the key's label.
    """

    def __init__(self, node: str) -> None:
        self.node = node
        self.lines = 0
        self.problems: "list[str]" = []
        self.remarks: "list[str]" = []
        self.heads: "dict[str, str]" = {}
        self.running = 0
        self.clients: "dict[str, str]" = {}


def report(state: str, arguments: "tuple[str, ...]") -> "tuple[int, dict[str, object], list[str]]":
    """Check the logs of a state folder.

    Args:
        state: The state folder, unless the arguments name another.
        arguments: `--state DIR`, `--receipts FILE` (repeatable): a file that holds receipts, one JSON object a line, with or
            without the byte 0x1E before it; everything else in it is passed over.

    Returns:
        The exit status (0, or `BROKEN`), the findings, and the same as lines of text.

    Raises:
        Refusal: If an argument is none of these, or a file of receipts cannot be read.
        OSError: If a log cannot be read.
    """
    receipts: "list[tuple[str, str]]" = []
    rest = iter(arguments)
    for option in rest:
        value = next(rest, "")
        if option == "--state" and value:
            state = value
        elif option == "--receipts" and value:
            receipts += _heads_in(value)
        else:
            raise Refusal(USAGE, f"{shown(option)}: --audit-verify takes --state DIR and --receipts FILE")
    logs = verify_logs(os.path.join(state, "audit"), {where for where, _ in receipts})
    problems = [problem for log in logs for problem in log.problems]
    if not logs:
        # A folder that was named wrong, or taken away, must not pass for a sound log.
        problems.append(
            f"there is no audit log in {state}: nothing was ever recorded, or it is elsewhere (--state DIR)"
        )
    heads = {where: digest for log in logs for where, digest in log.heads.items()}
    problems += [problem for where, digest in receipts for problem in _problem_with_receipt(heads, where, digest)]
    remarks = [remark for log in logs for remark in log.remarks]
    found: "dict[str, object]" = {
        "intact": not problems,
        "lines": {log.node: log.lines for log in logs},
        "receipts": len(receipts),
        "problems": problems,
        "remarks": remarks,
    }
    lines = [f"{log.node}: {log.lines} lines" for log in logs]
    lines += [f"note: {remark}" for remark in remarks]
    lines += [f"BROKEN: {problem}" for problem in problems]
    if not problems:
        lines.append(f"the chain is intact; {len(receipts)} receipts agree with it" if receipts else
                     "the chain is intact; without receipts nothing shows that its end was not cut off")  # fmt: skip
    return (BROKEN if problems else 0), found, lines


def verify_logs(folder: str, remembered: "set[str]") -> "list[Log]":
    """Check the logs of every login node in a folder.

    Args:
        folder: The folder with files `NODE-YYYY-MM.jsonl`.
        remembered: Which lines' hashes are wanted, as `log:seq`.
    """
    logs = []
    for node, names in _names(folder).items():
        log = Log(node)
        head = NO_LINE
        for name in names:
            seq = 0
            with open(os.path.join(folder, f"{name}.jsonl"), "rb") as file:
                for number, line in enumerate(file, 1):
                    if not line.endswith(b"\n"):
                        log.remarks.append(
                            f"{name}: the last line was cut off while it was written ({len(line)} bytes are lost)"
                        )
                        break
                    seq, head = _check_line(log, f"{name}, line {number}", seq, head, line[:-1])
                    if f"{name}:{seq}" in remembered:
                        log.heads.setdefault(f"{name}:{seq}", head)
        if log.running > 0:
            log.remarks.append(
                f"{node}: {log.running} commands have no recorded end: they are running, or their dispatcher was killed"
            )
        logs.append(log)
    return logs


def read_tails(folder: str) -> "list[Log]":
    """Check the end of each login node's newest log in a folder, as `verify_logs` checks all of it.

    Args:
        folder: As for `verify_logs`.

    Raises:
        OSError: If a log cannot be read.
    """
    logs = []
    for node, names in _names(folder).items():
        log = Log(node)
        with open(os.path.join(folder, f"{names[-1]}.jsonl"), "rb") as file:
            begin = max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES)
            file.seek(begin)
            if begin:
                file.readline()  # most likely the rest of one
            seq, head = None, NO_LINE
            for line in file:
                if not line.endswith(b"\n"):
                    break  # cut off, or being written just now
                if seq is None:
                    seq, head = _before(line)  # what is not read cannot be compared with
                seq, head = _check_line(log, f"{names[-1]}, line with seq {seq + 1}", seq, head, line[:-1])
        logs.append(log)
    return logs


def _names(folder: str) -> "dict[str, list[str]]":
    """Return the names of each login node's logs, oldest first."""
    try:
        entries = sorted(os.listdir(folder))
    except FileNotFoundError:
        return {}
    nodes = sorted({entry[: -len("-YYYY-MM.jsonl")] for entry in entries})
    found = {node: [entry[: -len(".jsonl")] for entry in entries if is_log_of(entry, node)] for node in nodes}
    return {node: names for node, names in found.items() if names}


def _before(line: bytes) -> "tuple[int, str]":
    """Return the number and the hash that a line says of the one before it."""
    try:
        fields = json.loads(line)
        return int(fields["seq"]) - 1, str(fields["prev"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return 0, NO_LINE  # that it is no line is said by whoever checks it


def _check_line(log: Log, where: str, seq: int, head: str, line: bytes) -> "tuple[int, str]":
    """Check one line against the number and the hash of the one before it; return its own."""
    try:
        fields = json.loads(line)
        found_seq, previous, event = int(fields["seq"]), str(fields["prev"]), fields["event"]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        fields, found_seq, previous, event = {}, seq + 1, None, ""
        log.problems.append(f"{where} is no audit line")
    if previous is not None and (previous != head or found_seq != seq + 1):
        log.problems.append(f"{where} does not follow from the line before it: a line was changed, added or taken out")
    if event == "recovered":
        log.remarks.append(
            f"{where}: the line that was being written here was cut off ({fields.get('lost_bytes')} bytes are lost)"
        )
    if event == "received" and isinstance(fields.get("key"), str) and isinstance(fields.get("client"), str):
        log.clients[fields["key"]] = fields["client"]
    # A question has an end and no start; what could not be started after all is refused, and names its command.
    log.running += event == "started"
    log.running -= (event == "ended" and "question" not in fields) or (event == "refused" and "command" in fields)
    log.lines += 1
    return found_seq, sha256(line).hexdigest()


def _heads_in(path: str) -> "list[tuple[str, str]]":
    """Return the heads, `log:seq` and hash, of the receipts in a file."""
    try:
        with open(path, "rb") as file:
            lines = file.read().replace(b"\x1e", b"\n").splitlines()
    except OSError as error:
        raise Refusal(USAGE, f"{path} cannot be read ({error.strerror})") from error
    heads = []
    for line in lines:
        try:
            head = json.loads(line)["audit"]
            where, _, digest = head.rpartition(":")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
        heads.append((where, digest))
    return heads


def _problem_with_receipt(heads: "dict[str, str]", where: str, digest: str) -> "list[str]":
    if where not in heads:
        return [f"a receipt names line {where}, which is not there: the log was cut off, or a file of it is missing"]
    if heads[where] != digest:
        return [f"a receipt names another line {where}: the log was written anew"]
    return []
