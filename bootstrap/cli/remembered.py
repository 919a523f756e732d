"""The recipe that a lineage was last grown by, remembered beside it.

    <lineage>/recipe.json     the recipe, without its tracking settings, and the folder that its relative paths start at

A convenience, no part of the lineage: what its results depend on is in its header. Every command that takes a recipe
takes this file too. Commands that need it and find none fall back to the header, which lacks what says how or where (a
judge's address, a task file's path).
"""

import json
from pathlib import Path

from bootstrap.config.load import recipe_of
from bootstrap.config.recipe import Recipe
from bootstrap.errors import RecipeError, StoreCorrupt
from bootstrap.store import durable
from bootstrap.store.artifacts import canonical_json
from bootstrap.store.lineage_store import LineageStore

FILE_NAME = "recipe.json"


def remember_recipe(store: LineageStore, recipe: Recipe, *, folder: Path) -> None:
    """Keep a recipe whose relative paths start at `folder`. For the lineage's one driver. Raises StoreError."""
    settings = recipe.model_dump(mode="json", exclude={"tracking"})
    data = canonical_json({"folder": str(folder.absolute()), "recipe": settings})
    path = store.root / FILE_NAME
    with durable.store_errors(path, doing="read"):
        if path.is_file() and path.read_bytes() == data:
            return
    durable.write_file(path, data)


def recall_recipe(store: LineageStore) -> Recipe:
    """Return the recipe of the last run, or what the lineage's header tells of it.

    Raises StoreError, StoreCorrupt, and RecipeError when the header does not tell enough.
    """
    path = store.root / FILE_NAME
    with durable.store_errors(path, doing="read"):
        data = path.read_bytes() if path.is_file() else None
    if data is None:
        try:
            return recipe_of(store.header().identity)
        except RecipeError as error:
            raise RecipeError(f"{error}; run the lineage's recipe once more, which remembers the rest") from None
    try:
        kept = json.loads(data)
        return Recipe.model_validate_json(
            json.dumps(kept["recipe"]), strict=True, context={"folder": Path(kept["folder"])}
        )
    except (ValueError, KeyError, TypeError) as error:
        raise StoreCorrupt(f"{path} is corrupt: {error}; remove it, and the next run writes it again") from error
