"""`nox -s faults`: many runs through broken connections, against a real sshd; the last line has the figures."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from dea.workspace.errors import WorkspaceError
from dea.workspace.faults.campaign import campaign, ledger_sandbox
from dea.workspace.interface import starting


def main() -> int:
    """Run the campaign and return the exit status: 1 if a run was lost or doubled."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__.partition(": ")[2])
    parser.add_argument("--seed", type=int, help="what all that is random comes from (default: drawn, and printed)")
    parser.add_argument("--runs", type=int, default=300, help="how many runs (default: %(default)s)")
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="write the last two lines there too, for the documentation"
    )
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("--runs is at least 1")
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    begin = time.monotonic()
    try:
        with (
            starting("starting the sandbox", ledger_sandbox()) as box,
            Progress(console=Console(stderr=True)) as progress,
        ):
            shown = progress.add_task(f"seed {seed}", total=options.runs)
            figures = campaign(box, seed=seed, runs=options.runs, on_run=lambda: progress.advance(shown))
    except WorkspaceError as error:
        sys.stderr.write(f"faults: {error}\n")
        return 1
    for problem in figures.problems:
        sys.stdout.write(f"{problem}\n")
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(figures.faults.items()))
    report = f"seed {seed}, {time.monotonic() - begin:.0f} s: {kinds}\n{figures.line}\n"
    if options.record is not None:
        options.record.write_text(report, "utf-8")
    sys.stdout.write(report)
    return 1 if figures.lost or figures.doubled else 0


if __name__ == "__main__":
    sys.exit(main())
