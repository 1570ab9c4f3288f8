"""Removes what nothing can be using any more: old releases, prefixes that no release needs, and what was cut off half-way.

That a release is in use cannot be seen from another login node. So the rule is one of time: a release stays for
`keep_days` after it has served, which must be longer than anything that was started from it can run, and the newest
`keep_releases` stay anyway. On this node, processes are looked at too.
"""

import calendar
import json
import os
import shutil
import time

from dea.remote.approval import APPROVED, SCRIPTS
from dea.remote.decision import prefix_of
from dea.remote.installed import log_path, outcome_path
from dea.remote.releases import self_test
from dea.remote.releases.settings import Layout, Settings
from dea.remote.releases.switch import switches

_DAY_S = 86400.0
_HEX = frozenset("0123456789abcdef")


def remove_leftovers(layout: Layout, state: str) -> None:
    """Remove what an update that was cut off has left under temporary names. Whoever calls it has the turn."""
    for folder, marks in (
        (layout.root, ("repository.git.new-", "repository.git.old-", "current.new-", "switches.json.new-")),
        (layout.releases, (".new-", ".old-")),
        (os.path.join(state, "git_pull"), (self_test.PREFIX,)),
    ):
        for entry in os.listdir(folder):
            if entry.startswith(marks):
                _remove(os.path.join(folder, entry))


def remove_old(layout: Layout, settings: Settings, state: str, token: str) -> "list[str]":
    """Remove old releases and unused prefixes; return what was removed, by name."""
    now = time.time()
    last_used = _last_used(layout, now)
    newest = sorted(last_used, key=lambda commit: last_used[commit], reverse=True)
    removed = []
    for commit in newest[settings.keep_releases :]:
        path = layout.release(commit)
        if now - last_used[commit] > settings.keep_days * _DAY_S and not _is_in_use(path):
            # Under another name first: what is half removed must not look like a release.
            doomed = os.path.join(layout.releases, f".old-{token}-{commit}")
            os.rename(path, doomed)
            _remove(doomed)
            removed.append(commit)
    return removed + _remove_prefixes(layout, settings, state, now)


def _last_used(layout: Layout, now: float) -> "dict[str, float]":
    """Return when each release served last (or, if it never did, was built), as seconds since the epoch."""
    there = [entry for entry in os.listdir(layout.releases) if len(entry) in (40, 64) and _HEX.issuperset(entry)]
    found = {commit: os.lstat(layout.release(commit)).st_mtime for commit in there}
    for switch in switches(layout):
        for commit in (switch["from"], switch["to"]):
            if commit in found:
                found[commit] = max(found[commit], _seconds(switch["time"]))
    serving = layout.serving()
    if serving in found:
        found[str(serving)] = now
    return found


def _seconds(stamp: str) -> float:
    return float(calendar.timegm(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")))


def _is_in_use(release: str) -> bool:
    """Tell whether a process on this node has its folder in a release, as every command has; proc(5)."""
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else ():
        try:
            if entry.isdigit() and (os.readlink(f"/proc/{entry}/cwd") + "/").startswith(release + "/"):
                return True
        except OSError:
            continue  # it has ended, or is another user's
    return False


def _remove_prefixes(layout: Layout, settings: Settings, state: str, now: float) -> "list[str]":
    needed = set()
    for release in os.listdir(layout.releases):
        scripts = os.path.join(layout.releases, release, SCRIPTS)
        for name in os.listdir(scripts) if os.path.isdir(scripts) else ():
            try:
                with open(os.path.join(scripts, name, APPROVED), encoding="utf-8") as file:
                    needed.add(prefix_of(state, name, json.load(file)))
            except (OSError, ValueError, AttributeError):
                continue
    removed = []
    folder = os.path.join(state, "prefix")
    for entry in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        prefix = os.path.join(folder, entry)
        if not os.path.isdir(prefix) or prefix in needed:
            continue
        try:
            with open(outcome_path(prefix), encoding="utf-8") as file:
                checkout = file.read().split("\t")[3]
            age_s = now - os.lstat(outcome_path(prefix)).st_mtime
        except (OSError, IndexError):
            continue  # somebody else's
        # What was installed for a checkout of somebody's own is theirs.
        if checkout.startswith(os.path.realpath(layout.releases) + "/") and age_s > settings.keep_days * _DAY_S:
            _remove(outcome_path(prefix))  # first: what is half removed must not look installed
            _remove(prefix)
            _remove(log_path(prefix))
            removed.append(entry)
    return removed


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
