"""The recipe of a lineage's last run, remembered beside it.

    <lineage>/recipe.json     the recipe, without its sections tracking and notify; the folder that its relative paths
                              start at; which names it has (`schema.py`)

A run by it publishes where this user's last run of the lineage did (`target.py`), unless told otherwise. Every command
that takes a recipe takes this file too.

A convenience, no part of the lineage, whose header holds everything that its results depend on. Commands that need a
recipe and find no file use the header, which lacks addresses and paths (a judge's server, a task's file).
"""

from pathlib import Path

from bootstrap.canonical import canonical_json
from bootstrap.cli.stores import write_changed
from bootstrap.config.load import REMEMBERED_WITHOUT, load_recipe, recipe_of
from bootstrap.config.recipe import Recipe
from bootstrap.errors import RecipeError
from bootstrap.schema import SCHEMA_VERSION
from bootstrap.store.lineage_store import LineageStore

FILE_NAME = "recipe.json"


def remember_recipe(store: LineageStore, recipe: Recipe, *, folder: Path) -> None:
    """Write a recipe whose relative paths start at `folder`. For the lineage's driver. Raises StoreError."""
    settings = recipe.model_dump(mode="json", exclude=REMEMBERED_WITHOUT)
    data = canonical_json({"folder": str(folder.absolute()), "recipe": settings, "schema_version": SCHEMA_VERSION})
    write_changed(store, FILE_NAME, data)


def recall_recipe(store: LineageStore) -> Recipe:
    """Return the recipe of the last run, or one made from the lineage's header.

    Raises StoreError, and RecipeError when the file is damaged or of another version, or the header says too little.
    """
    path = store.root / FILE_NAME
    remembered = store.kept(FILE_NAME) is not None
    remedy = "run the lineage's recipe once more, which remembers it anew"
    try:
        return load_recipe(path, check_folders=False) if remembered else recipe_of(store.header().identity)
    except RecipeError as error:
        raise RecipeError(f"{error}; {remedy}") from None
