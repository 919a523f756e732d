"""`bootstrap fork`: make a lineage that starts from a generation of another one.

    <store>/<new>/lineage.json, recipe.json     nothing grown yet; `bootstrap run <store>/<new>/recipe.json` does that

Left out: what generation 0 inherits when it is grown (`stages/origin.py`).
"""

import json
from collections.abc import Sequence
from pathlib import Path

from bootstrap.cli.command import command
from bootstrap.cli.commands.options import DEFAULT_STORE
from bootstrap.cli.remembered import FILE_NAME, recall_recipe, remember_recipe
from bootstrap.cli.stores import located
from bootstrap.config.base_model import GenerationModel
from bootstrap.config.load import load_recipe, recipe_folder
from bootstrap.config.resources import Tracking
from bootstrap.errors import RecipeError
from bootstrap.lineage.queries import find
from bootstrap.plugins import TRUST
from bootstrap.selection.curriculum import trained_level
from bootstrap.stages.origin import check_origin, find_origin
from bootstrap.store.ancestry import ancestors
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.lock import lineage_lock
from bootstrap.store.names import check_name


def fork_lineage(
    source: str,
    name: str,
    overrides: Sequence[str],
    *,
    recipe_path: Path | None,
    store: Path,
    trusted: Sequence[str] = (),
) -> str:
    """Make the lineage `name` in `store`, starting from the generation `source`; return what to print.

    Its recipe is that in `recipe_path`, else the origin's, with `overrides` applied. `trusted`: plug-ins that the
    command line names, which the command that grows it repeats. Raises RecipeError for names or a
    recipe that cannot work and for an override of tracking settings, StoreError.
    """
    for override in overrides:
        key = override.partition("=")[0].strip()
        if (section := key.partition(".")[0]) in ("tracking", "notify"):
            # The key alone: the value may hold a password.
            raise RecipeError(
                f"override {key}: a fork publishes nothing and remembers no {section} settings; give this to "
                "`bootstrap run` when the new lineage grows"
            )
    origin_store, wanted = located(store, None, source)
    lineage = origin_store.root.name
    entries = origin_store.ledger.read()
    entry = find(entries, wanted)
    folder = LineageStore(store.absolute() / check_name(name, store))
    if folder.root.exists():
        raise RecipeError(f"there is a lineage or a folder {name} in {store} already; choose another name")
    path = origin_store.root / FILE_NAME if recipe_path is None else recipe_path
    if recipe_path is None and origin_store.kept(FILE_NAME) is None:
        raise RecipeError(f"lineage {lineage} remembers no recipe; name one with --recipe")
    generation = entry.generation
    model = GenerationModel(
        lineage=lineage,
        number=generation.number,
        fingerprint=generation.fingerprint,
        record=entry.hash,
        level=_trained_level(origin_store, entries, generation.number),
    )
    origin = find_origin(store, model)
    model = model.model_copy(update={"pretrained": origin.is_pretrained()})
    context = origin.context() if model.pretrained else None
    recipe = load_recipe(path, _changes(name, model, overrides), context=context)
    shares = origin.shares_task(recipe)
    if not shares:
        # The levels of one task say nothing about those of another.
        recipe = load_recipe(path, _changes(name, model.model_copy(update={"level": 1}), overrides), context=context)
    check_origin(recipe, origin, lineage=name, recall=recall_recipe)
    with lineage_lock(folder.root):
        folder.open(name, identity=recipe.identity())
        remember_recipe(folder, recipe, folder=recipe_folder(path))
    count = len(origin.answers()) if shares else 0
    told = f"{count} answers" if shares else "no answers, since its task is another"
    where = () if store == DEFAULT_STORE else ("--store", store)
    again = [word for one in trusted for word in (TRUST, one)]
    given = {"tracking": recipe.tracking != Tracking(), "notify": recipe.notify is not None}
    sections = " and ".join(name for name, is_given in given.items() if is_given)
    unkept = f"\nits {sections} settings are not kept: give them to that command" if sections else ""
    grow = command("run", store / name / FILE_NAME, *where, *again)
    return (
        f"lineage {name} starts from {model.place}: fingerprint {generation.fingerprint[:16]}, trained for levels "
        f"up to {recipe.start_level}, inherits {told}\ngrow it with: {grow}"
        f"{unkept}"
    )


def _trained_level(store: LineageStore, entries: Sequence[Entry], number: int) -> int:
    """Return the highest level that a generation or one of its ancestors was trained on.

    The recipe says which levels are trained on; without it, return the highest level that they targeted.
    """
    aims = {one: entries[one].generation.target_levels for one in ancestors(entries, [number])}
    try:
        recipe = recall_recipe(store)
    except RecipeError:
        return max(max(targets) for targets in aims.values())
    return max(trained_level(recipe, one, targets) for one, targets in aims.items())


def _changes(name: str, model: GenerationModel, overrides: Sequence[str]) -> list[str]:
    base = {"model": model.model_dump(mode="json")}
    return [f"base={json.dumps(base)}", *overrides, f"name={json.dumps(name)}"]
