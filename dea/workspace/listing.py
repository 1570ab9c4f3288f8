"""Lists what a checkout holds: `inv list`."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from dea.workspace import checkout
from dea.workspace.interface import print_json


def show(*, as_json: bool) -> None:
    """Print the functions and the commands with their summaries, as tables or as JSON.

    The JSON is `{"functions": [{"name", "summary"}], "commands": [{"name", "summary"}]}`.
    """
    found: dict[str, list[checkout.Function | checkout.Command]] = {
        "functions": [*checkout.functions().values()],
        "commands": [*checkout.commands().values()],
    }
    if as_json:
        print_json({kind: [{"name": one.name, "summary": one.summary} for one in each] for kind, each in found.items()})
        return
    for title, each in found.items():
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        table.add_column("name", style="bold", no_wrap=True)
        table.add_column("summary")
        for one in each:
            table.add_row(one.name, one.summary)
        Console(highlight=False, markup=False).print(table)
