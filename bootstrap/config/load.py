"""From YAML to a `Recipe`, or to one error with the line, the key, the problem and the remedy.

    lines and overrides (source.py) -> defaults by kind of base (defaults.py) -> Recipe or problems (problems.py)
    -> limits by the models' files, and folders and files that it names (folders.py)

Values keep their types (`"8"` is no number). Nothing heavy is imported.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from bootstrap import plugins, schema
from bootstrap.config import defaults
from bootstrap.config.base import types_of
from bootstrap.config.faults import did_you_mean, few_suggestions
from bootstrap.config.folders import folder_problems, with_files_pinned, with_token_limits
from bootstrap.config.problems import (
    RecipeProblem,
    infinite_numbers,
    missing_types,
    report,
    sentence,
    validation_problems,
)
from bootstrap.config.recipe import Recipe
from bootstrap.config.source import RecipeSource, lies_in_store, read
from bootstrap.config.stored import completed_steps
from bootstrap.config.task import completed
from bootstrap.config.tasks import SPLIT_KINDS
from bootstrap.config.verifiers import Verifier
from bootstrap.errors import RecipeError

_VERIFIER: TypeAdapter[Verifier] = TypeAdapter(Verifier)
REMEMBERED = {"folder", "recipe", "schema_version"}
"""Keys of the file in which a lineage remembers its recipe (`cli/remembered.py`); schema 3 has no `schema_version`."""
REMEMBERED_WITHOUT = {"tracking", "notify"}
"""Sections of a recipe that a lineage does not remember, and that are not read there."""
_Made = TypeVar("_Made")


def load_recipe(
    path: Path | str, overrides: Sequence[str] = (), *, check_folders: bool = True, context: int | None = None
) -> Recipe:
    """Return the recipe in the file `path` with `overrides` (`key.sub=value`, values in YAML).

    Its plug-ins are trusted (`plugins.trust`) unless a lineage remembers it or it lies in a store. The file may be the
    `recipe.json` of a lineage, which names the folder that its relative paths start at. Hashes of tasks' files and of
    the user's own code become part of the recipe. `check_folders` False skips the folders and files that it names, for
    a recipe that runs on a machine with other disks. `context`: tokens that the model of a fork's origin holds, if it
    is pretrained. Raises RecipeError with every problem, each with file and line (or override), place and remedy.
    """
    source = _read(Path(path))
    for override in overrides:
        source.lay_over(override)
    if not source.is_remembered:
        defaults.fill(source.data)
    recipe, problems = _made(source, Recipe.model_validate_json, context={"folder": source.folder})
    if recipe is None or problems:
        raise RecipeError(report(source, problems))
    own_code = set(plugins.plugins_of(recipe.model_dump(mode="json")))
    if own_code and not (source.is_remembered or lies_in_store(path)):
        plugins.trust(own_code)
    if not check_folders:
        return recipe
    recipe = with_token_limits(recipe, context=context)
    problems = list(folder_problems(recipe))
    recipe, unreadable = with_files_pinned(recipe)
    if problems or unreadable:
        raise RecipeError(report(source, [*problems, *unreadable]))
    return recipe


def require_own_addresses(recipe: Recipe, overrides: Sequence[str], *, path: Path) -> None:
    """Refuse addresses that a recipe file in a store names, and no override: a run would send there what it makes.

    Raises RecipeError.
    """
    named = {"tracking.uri": recipe.tracking.uri, "notify.url": recipe.notify and recipe.notify.url}
    given = {override.partition("=")[0].strip() for override in overrides}
    refused = [place for place, address in named.items() if address and not {place, place.partition(".")[0]} & given]
    if refused and lies_in_store(path):
        raise RecipeError(
            f"the recipe {path} lies in a store, which decides no address, and has {' and '.join(refused)}. Read it "
            f"first; if you agree, give {' '.join(f'{place}=ADDRESS' for place in refused)} yourself, or copy the "
            "recipe to a folder outside the store"
        )


def recipe_folder(path: Path) -> Path:
    """Return the folder that relative paths of a recipe file start at. Raises RecipeError as `load_recipe`."""
    return _read(path).folder


def is_remembered(path: Path) -> bool:
    """Whether the file `path` is the `recipe.json` of a lineage. Raises RecipeError as `load_recipe`."""
    return _is_remembered(read(path).data)


def recipe_of(identity: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a lineage's stored identity; operational settings have their defaults.

    Raises RecipeError for an identity of another version of this program.
    """
    data = completed_steps(completed({**identity, "name": "stored"}, kinds=SPLIT_KINDS))
    with few_suggestions():
        try:
            return Recipe.model_validate_json(json.dumps(data), strict=True)
        except ValidationError as error:
            problems = sentence(validation_problems(error, data))
            raise RecipeError(f"the lineage's stored recipe is not one of this version: {problems}") from None


def load_verifier(kind: str, overrides: Sequence[str] = ()) -> Verifier:
    """Return the settings of a verifier by its `type`, or of a plug-in by `module:function` or entry point.

    A person gives these words, so the plug-ins among them are trusted (`plugins.trust`).

    `overrides`: `key=value`, values in YAML, as in a recipe's `verifier` section. Raises RecipeError.
    """
    types = sorted(types_of(Recipe.model_fields["verifier"].annotation))
    if kind not in types and ":" not in kind and not entry_points(group="bootstrap.verifiers", name=kind):
        raise RecipeError(
            f"no verifier has the type or entry point {kind}, and a function is named as module:function"
            f"{did_you_mean(kind, types)}"
        )
    source = RecipeSource(path=Path(kind), data={"type": kind} if kind in types else {"type": "plugin", "uses": kind})
    for override in overrides:
        source.lay_over(override)
    verifier, problems = _made(source, _VERIFIER.validate_json)
    if verifier is None or problems:
        raise RecipeError(
            f"verifier {kind}: {sentence(problems)}; settings are given as key=value, types are {', '.join(types)}"
        )
    plugins.trust(plugins.plugins_of(verifier.model_dump(mode="json")))
    return verifier


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a recipe file, for editors; descriptions are the settings' own."""
    schema = Recipe.model_json_schema()
    _require_type(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "bootstrap recipe"}


def _require_type(node: Any) -> None:
    """Make `type` required in every union that it tells apart, as in a recipe."""
    match node:
        case dict():
            if "discriminator" in node:
                node["required"] = [node["discriminator"]["propertyName"]]
            inner = list(node.values())
        case list():
            inner = node
        case _:
            return
    for value in inner:
        _require_type(value)


def _read(path: Path) -> RecipeSource:
    """Return the recipe in a file as data; that of a `recipe.json` lies one level below the top."""
    source = read(path)
    if not _is_remembered(source.data):
        return source
    # It comes with a store, which decides no address.
    recipe = {name: part for name, part in source.data["recipe"].items() if name not in REMEMBERED_WITHOUT}
    if "schema_version" not in source.data:
        recipe = schema.settings(recipe)
    return RecipeSource(
        path=path,
        data=completed_steps(completed(recipe, kinds=SPLIT_KINDS)),
        lines={place[1:]: line for place, line in source.lines.items()},
        folder=Path(source.data["folder"]),
        is_remembered=True,
    )


def _is_remembered(data: Mapping[str, Any]) -> bool:
    match data:
        case {"folder": str(), "recipe": dict()}:
            return data.keys() | {"schema_version"} == REMEMBERED
    return False


def _made(
    source: RecipeSource, validate: Callable[..., _Made], *, context: Mapping[str, Any] | None = None
) -> tuple[_Made | None, list[RecipeProblem]]:
    """Return the settings that the data make, or None, and their problems.

    A section that an override has begun without a type gets its default's type.
    """
    while True:
        with few_suggestions():
            try:
                made = validate(json.dumps(source.data), strict=True, context=context)
            except ValidationError as error:
                if not any(source.complete(*found) for found in missing_types(error, source.data)):
                    return None, list(validation_problems(error, source.data))
            else:
                return made, list(infinite_numbers(source.data))
