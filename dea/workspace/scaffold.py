"""Makes new functions and commands from templates: `inv new`."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from string import Template

from dea.workspace import checkout, drafting
from dea.workspace.errors import WorkspaceError
from dea.workspace.interface import console

# For each kind: where each template goes, `{name}` being the new name.
_FUNCTION_FILES = {
    "module.py": "functions/{name}/{name}.py",
    "requirements.txt": "functions/{name}/requirements.txt",
    "env_vars.yaml": "functions/{name}/env_vars.yaml",
    "test.py": "functions/{name}/tests/test_{name}.py",
}
_FILES = {
    "raijin": {**_FUNCTION_FILES, "function.yaml": "functions/{name}/function.yaml"},
    "base": _FUNCTION_FILES,
    "batch": _FUNCTION_FILES,
    "command": {
        "run": "raijin_scripts/{name}/run",
        "command.yaml": "raijin_scripts/{name}/command.yaml",
        "test.py": "tests/raijin_scripts/test_{name}.py",
    },
}


def make(name: str, kind: str, root: Path = checkout.ROOT, *, old: Path | None = None) -> list[Path]:
    """Make a function or a command with a passing test; print what to do next.

    Args:
        name: Its name.
        kind: `raijin` (a function that talks to the login node), `base` (one that does not), `batch` (one that does so for
            each record of a queue or a stream) or `command`.
        root: The checkout.
        old: A script of the old kind, or a folder that has one as `run`, to draft a command from; None for the template.

    Returns:
        The files made.

    Raises:
        WorkspaceError: If the name or the kind cannot be, or if any of the files is there already; then nothing is made.
    """
    if kind not in _FILES:
        raise WorkspaceError(f"--kind {kind!r} is not known: choose one of {', '.join(_FILES)}")
    if old is not None and kind != "command":
        raise WorkspaceError("--from drafts commands: say --kind command")
    checkout.check_new_name(name)
    targets = {template: root / target.format(name=name) for template, target in _FILES[kind].items()}
    # Whatever is in a folder of that name, even half a function, is somebody's.
    taken = [path for path in targets.values() if path.exists()]
    taken += [path.parent for path in targets.values() if path.parent.name == name and path.parent.exists()]
    if taken:
        raise WorkspaceError(f"{taken[0].relative_to(root)} is there already: choose another name, or remove it first")
    if old is not None:
        made = drafting.make_from(old, root / "raijin_scripts" / name)
        for path in made:
            console.print(f"made {path.relative_to(root)}", markup=False)
        console.print(
            f"next: decide every CHECK in command.yaml, then inv approve --name {name}", markup=False, soft_wrap=True
        )
        return made
    values = {"name": name, "class_name": "".join(word.capitalize() for word in name.split("_"))}
    for template, path in targets.items():
        text = (resources.files("dea.workspace") / "templates" / kind / f"{template}.txt").read_text("utf-8")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template(text).substitute(values), "utf-8")
        if template == "run":
            path.chmod(0o755)
        console.print(f"made {path.relative_to(root)}", markup=False, soft_wrap=True)
    if kind == "command":
        console.print(
            f"next: approve it with inv approve --name {name}, try it with inv remote --name {name}",
            markup=False,
            soft_wrap=True,
        )
    else:
        console.print(
            f'next: try it with inv run-lambda --name {name}, test it with nox -s "tests({name})"', markup=False
        )
    return list(targets.values())
