"""`bootstrap recipes`: the recipes in the folder `pipelines/` of the source.

A wheel holds the package alone: recipes name data and models beside them (`examples/`, `models/`), which would be
missing. So they are looked for where the source may be: in the current folder, and beside the package.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bootstrap
from bootstrap.cli import render
from bootstrap.cli.command import command
from bootstrap.config.source import read
from bootstrap.errors import RecipeError

FOLDER = "pipelines"
SOURCE = Path(bootstrap.__file__).parents[1]
"""The folder above the package: the source, where it was installed from there to be edited."""


def print_recipes(*, as_json: bool) -> None:
    """Print each recipe with its description. Raises RecipeError where there is no folder of recipes."""
    folder = recipes_folder()
    rows = [
        {"recipe": os.path.relpath(path), "shows": shows, "lacks": ", ".join(lacks)}
        for path, shows, lacks in map(told, _recipes(folder))
    ]
    if as_json:
        render.print_json(rows)
        return
    render.print_rows("recipes", rows, spare=("lacks",))
    render.say(f"look at one before you run it: {command('plan', rows[0]['recipe'])}")


def recipes_folder() -> Path:
    """Return the folder of recipes: of the current folder, else of the source. Raises RecipeError if there is none."""
    for place in (Path.cwd(), SOURCE):
        if _recipes(place / FOLDER):
            return place / FOLDER
    raise RecipeError(
        f"there are no recipes in {Path.cwd() / FOLDER}, and this installation brings none: a wheel holds the program "
        f"alone. They are in the folder {FOLDER}/ of its source; call this command from there"
    )


def _recipes(folder: Path) -> list[Path]:
    """Return the recipes in a folder, sorted; a pipe under such a name is none."""
    return sorted(path for path in folder.glob("*.yaml") if path.is_file())


def told(path: Path) -> tuple[Path, str, list[str]]:
    """Return a recipe's path, its description (without one, its first comment), and the paths it names in vain."""
    try:
        data = read(path).data
    except RecipeError:
        return path, "no YAML: it cannot be read", []
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    comment = first.removeprefix("#").strip() if first.startswith("#") else ""
    shows = data.get("description")
    lacks = [written for written in dict.fromkeys(_paths(data)) if not (path.parent / written).exists()]
    return path, shows if isinstance(shows, str) else comment, lacks


def _paths(data: Any) -> Iterator[str]:
    """Yield the files and folders that settings name as `path`."""
    match data:
        case dict():
            if isinstance(found := data.get("path"), str):
                yield found
            for value in data.values():
                yield from _paths(value)
        case list():
            for value in data:
                yield from _paths(value)
