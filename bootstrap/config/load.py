"""From YAML to a `Recipe`, or to one error that names the line, the key, what is wrong and the remedy.

A recipe is data first (`source.py`), which the settings' classes judge (`problems.py` words their verdict); then what
it names on disk is looked at (`folders.py`). Values keep their types (`"8"` is no number). Nothing heavy is imported.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from bootstrap.config.base import types_of
from bootstrap.config.folders import folder_problems, with_files_pinned
from bootstrap.config.problems import (
    RecipeProblem,
    infinite_numbers,
    missing_types,
    report,
    sentence,
    validation_problems,
)
from bootstrap.config.recipe import Recipe
from bootstrap.config.source import RecipeSource, read
from bootstrap.config.task import completed
from bootstrap.config.tasks import SPLIT_KINDS
from bootstrap.config.verifiers import Verifier
from bootstrap.errors import RecipeError

_VERIFIER: TypeAdapter[Verifier] = TypeAdapter(Verifier)
REMEMBERED = {"folder", "recipe"}
"""Keys of the file in which a lineage remembers its recipe (`cli/remembered.py`)."""
_Made = TypeVar("_Made")


def load_recipe(path: Path | str, overrides: Sequence[str] = (), *, check_folders: bool = True) -> Recipe:
    """Return the recipe in the file `path` with `overrides` (`key.sub=value`, values in YAML) laid over it.

    The file may also be the `recipe.json` that a lineage remembers, which names the folder its relative paths start at.
    What a task's file holds becomes part of the recipe (`task.content`). `check_folders` False leaves out whether the
    folders and files it names exist and fit: for a recipe that will run on a machine with other disks. Raises
    RecipeError with every problem found, each with file and line (or the override), place and remedy.
    """
    source = _read(Path(path))
    for override in overrides:
        source.lay_over(override)
    recipe, problems = _made(source, Recipe.model_validate_json, context={"folder": source.folder})
    if recipe is None or problems:
        raise RecipeError(report(source, problems))
    if not check_folders:
        return recipe
    problems = list(folder_problems(recipe))
    recipe, unreadable = with_files_pinned(recipe)
    if problems or unreadable:
        raise RecipeError(report(source, [*problems, *unreadable]))
    return recipe


def recipe_folder(path: Path) -> Path:
    """Return where the relative paths of the recipe in the file `path` start. Raises RecipeError as `load_recipe`."""
    return _read(path).folder


def is_remembered(path: Path) -> bool:
    """Whether the file `path` is a recipe that a lineage remembers. Raises RecipeError as `load_recipe`."""
    return _is_remembered(read(path).data)


def recipe_of(identity: Mapping[str, Any]) -> Recipe:
    """Return the recipe that a lineage grows from, by the identity it stores; what is operational has its default.

    Raises RecipeError when another version of this program wrote it.
    """
    data = completed({**identity, "name": "stored"}, kinds=SPLIT_KINDS)
    try:
        return Recipe.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        problems = sentence(validation_problems(error, data))
        raise RecipeError(f"the lineage's stored recipe is not one of this version: {problems}") from None


def load_verifier(kind: str, overrides: Sequence[str] = ()) -> Verifier:
    """Return the settings of a verifier by its `type`, or of a plug-in by `module:function` or entry point.

    `overrides`: `key=value`, values in YAML, as in a recipe's `verifier` section. Raises RecipeError.
    """
    types = sorted(types_of(Recipe.model_fields["verifier"].annotation))
    source = RecipeSource(path=Path(kind), data={"type": kind} if kind in types else {"type": "plugin", "uses": kind})
    for override in overrides:
        source.lay_over(override)
    verifier, problems = _made(source, _VERIFIER.validate_json)
    if verifier is None or problems:
        raise RecipeError(
            f"verifier {kind}: {sentence(problems)}; settings are given as key=value, types are {', '.join(types)}"
        )
    return verifier


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a recipe file, for editors; descriptions are the settings' own."""
    schema = Recipe.model_json_schema()
    _require_type(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "bootstrap recipe"}


def _require_type(node: Any) -> None:
    """Where the members of a union are told apart by `type`, make it required, as it is in a recipe."""
    if isinstance(node, dict):
        if "discriminator" in node:
            node["required"] = [node["discriminator"]["propertyName"]]
        for value in list(node.values()):
            _require_type(value)
    elif isinstance(node, list):
        for value in node:
            _require_type(value)


def _read(path: Path) -> RecipeSource:
    """Return the recipe in a file as data; one that a lineage remembers lies a level below the file's top."""
    source = read(path)
    if not _is_remembered(source.data):
        return source
    return RecipeSource(
        path=path,
        data=completed(source.data["recipe"], kinds=SPLIT_KINDS),
        lines={place[1:]: line for place, line in source.lines.items()},
        folder=Path(source.data["folder"]),
    )


def _is_remembered(data: Mapping[str, Any]) -> bool:
    return data.keys() == REMEMBERED and isinstance(data["folder"], str) and isinstance(data["recipe"], dict)


def _made(
    source: RecipeSource, validate: Callable[..., _Made], *, context: Mapping[str, Any] | None = None
) -> tuple[_Made | None, list[RecipeProblem]]:
    """Return the settings that the data make, or None, and what is wrong with them.

    A section without a type that an override has begun gets the type of its default.
    """
    while True:
        try:
            made = validate(json.dumps(source.data), strict=True, context=context)
        except ValidationError as error:
            if not any(source.complete(*found) for found in missing_types(error, source.data)):
                return None, list(validation_problems(error, source.data))
        else:
            return made, list(infinite_numbers(source.data))
