"""Durations, sizes, times and signals as schedulers print them, made into seconds, bytes and UTC; what is none is None."""

import re
import time

SIGNALED = 256
"""From here on, PBS's exit status is this and the signal that ended the job's shell."""

_SIGNAL_LIMIT = 64
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CTIME = re.compile(
    r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) +([0-9]{1,2}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([0-9]{4})", re.ASCII
)
# No number is longer than 15 digits: one that no float holds would be an error for all jobs of an answer.
_DURATION = re.compile(r"(?:([0-9]{1,9})-)?(?:([0-9]{1,9}):)?(?:([0-9]{1,9}):)?([0-9]{1,15})(\.[0-9]{1,15})?", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)([kmgtp]?)([bw]?)", re.ASCII | re.IGNORECASE)
_COUNT = re.compile(r"[0-9]{1,15}", re.ASCII)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_WORD_BYTES = 8  # pbs_resources(7B): a size in `w` counts words
_MAX_EPOCH_S = 253402300799  # the last second of the year 9999


def seconds(text: "str | None") -> "float | None":
    """Return a duration in seconds: `[DAYS-]HH:MM:SS`, or seconds alone.

    >>> seconds("01:00:30"), seconds("2-00:00:00"), seconds("90"), seconds("00:00.250"), seconds("UNLIMITED")
    (3630.0, 172800.0, 90.0, 0.25, None)
    """
    match = _DURATION.fullmatch(text) if text is not None else None
    if match is None:
        return None
    days, first, second, last, fraction = match.groups()
    hours, minutes = (first, second) if second is not None else (None, first)
    whole = int(days or 0) * 86400 + int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(last)
    return whole + float(fraction or 0)


def whole_seconds(text: "str | None") -> "int | None":
    """Return a duration in whole seconds."""
    exact = seconds(text)
    return None if exact is None else int(exact)


def size_bytes(text: "str | None") -> "int | None":
    """Return a size in bytes.

    >>> size_bytes("190mb"), size_bytes("7124kb"), size_bytes("2gw"), size_bytes("1.50G"), size_bytes("?")
    (199229440, 7294976, 17179869184, 1610612736, None)
    """
    match = _SIZE.fullmatch(text) if text is not None else None
    if match is None:
        return None
    number, power, unit = match.groups()
    return int(float(number) * 1024 ** _POWERS[power.lower()]) * (_WORD_BYTES if unit.lower() == "w" else 1)


def count(text: "str | None") -> "int | None":
    """Return a count, or None.

    >>> count("4"), count("4.5"), count(None)
    (4, None, None)
    """
    return int(text) if text is not None and _COUNT.fullmatch(text) else None


def time_of_ctime(text: "str | None") -> "str | None":
    """Return a time in ctime(3)'s form, which was printed in UTC, in ours; in no language of this process's.

    >>> time_of_ctime("Mon Nov 23 21:35:46 2026")
    '2026-11-23T21:35:46Z'
    """
    match = _CTIME.fullmatch(text) if text is not None else None
    if match is None or match[1] not in _MONTHS:
        return None
    month = _MONTHS.index(match[1]) + 1
    return f"{match[6]}-{month:02}-{int(match[2]):02}T{match[3]}:{match[4]}:{match[5]}Z"


def time_of_epoch(moment: "str | float | None") -> "str | None":
    """Return a time in seconds since 1970 in ours; 0 is no time.

    >>> time_of_epoch(1795469747), time_of_epoch("0")
    ('2026-11-23T21:35:47Z', None)
    """
    try:
        since = float(moment) if moment is not None else 0.0
    except ValueError:
        return None
    if not 0 < since <= _MAX_EPOCH_S:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))


def duration(span_s: int) -> str:
    """Return a duration as both schedulers take it.

    >>> duration(3630), duration(360000)
    ('01:00:30', '100:00:00')
    """
    return f"{span_s // 3600:02}:{span_s % 3600 // 60:02}:{span_s % 60:02}"


def signal_of(status: int) -> "int | None":
    """Return the signal that a status tells of, as PBS (256+n) or a shell (128+n) reports it.

    >>> signal_of(271), signal_of(137), signal_of(3), signal_of(-29)
    (15, 9, None, None)
    """
    signal = status - SIGNALED if status >= SIGNALED else status - 128
    return signal if 0 < signal <= _SIGNAL_LIMIT else None
