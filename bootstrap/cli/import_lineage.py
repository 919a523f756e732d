"""`bootstrap import FILE`: take a whole lineage into a store, without running any of its code.

Its recipe is read as settings: no plug-in that it names is imported, and no file or address is opened. Left out: the
proof by hashes (`store/transfer.py`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bootstrap.canonical import canonical_json
from bootstrap.cli.command import command
from bootstrap.cli.commands.options import DEFAULT_STORE
from bootstrap.cli.remembered import FILE_NAME
from bootstrap.config.load import REMEMBERED_WITHOUT, is_remembered, load_recipe
from bootstrap.errors import RecipeError, StoreCorrupt
from bootstrap.lineage.text import count, plain
from bootstrap.reading import parsed
from bootstrap.store import durable
from bootstrap.store.copies import shown
from bootstrap.store.lineage_store import HEADER_NAME, LineageStore
from bootstrap.store.transfer import import_lineage

_OUTSIDE = {
    "uses": "the code",
    "url": "the server",
    "key_variable": "the secret in the environment variable",
    "path": "the files in",
    "heldout": "the files in",
    "hub": "the hub's data set",
}
"""Setting -> what it names, one or several."""


def import_whole(place: Path, store: Path) -> str:
    """Make the lineage in the tar file or folder `place` one of the folder `store`; return what to print.

    Raises StoreError and StoreCorrupt as `import_lineage`.
    """
    done = import_lineage(place, store, _inspect)
    name, grown = done.listed.lineage, count(done.num_generations, "generation")
    where = () if store == DEFAULT_STORE else ("--store", store)
    if not done.is_new:
        return (
            f"lineage {name}: the store {store} holds its {grown} already; nothing is changed\n"
            f"last record: {done.listed.head}"
        )
    recipe = store / name / FILE_NAME
    lines = [
        f"lineage {name}: {grown}, {len(done.listed.files)} files in {store / name}; every "
        "hash verified, none of its code run",
        f"last record: {done.listed.head}",
        *(f"not proved: {plain(sentence)}" for sentence in done.unproven),
        f"look at it with: {command('lineage', '--lineage', name, *where)}",
    ]
    if recipe.is_file():
        # Of the settings as they are read: a recipe may write some of them shorter.
        foreign = dict.fromkeys(_foreign(load_recipe(recipe, check_folders=False).model_dump(mode="json")))
        lines += [f"a run of its recipe would use {what}" for what in foreign]
        lines.append(f"go on with it after reading the recipe: {command('run', recipe, *where)}")
    return "\n".join(lines)


def _inspect(staged: LineageStore, target: Path) -> None:
    """Refuse a header and a recipe that do not belong together; let the recipe's relative paths start at `target`."""
    header = staged.header()
    match header.identity:
        case {"task": {"type": str()}, "base": {"model": {"type": str()}, "steps": list()}, "generations": dict()}:
            pass
        case _:
            raise StoreCorrupt(f"{HEADER_NAME} holds no recipe's settings; nothing is imported")
    path, kept = staged.root / FILE_NAME, staged.kept(FILE_NAME)
    if kept is None:
        return
    try:
        # JSON first: the reader of recipes also takes YAML, whose references can mean more than there is memory for.
        stored = parsed(kept, strict=False)
        if not is_remembered(path):
            raise RecipeError("it is no recipe that a lineage remembers")
        recipe = load_recipe(path, check_folders=False)
    except ValueError as error:
        told = shown(str(error).replace(f"{staged.root}/", ""))
        raise StoreCorrupt(f"{FILE_NAME} cannot be read: {told}; nothing is imported") from None
    if (recipe.name, recipe.digest()) != (header.lineage, header.digest):
        raise StoreCorrupt(
            f"{FILE_NAME} is the recipe of lineage {recipe.name} with the digest {recipe.digest()}, expected "
            f"{header.lineage} with {header.digest}; nothing is imported"
        )
    # The reader of recipes leaves these out.
    if any(stored["recipe"].get(name) for name in REMEMBERED_WITHOUT):
        raise StoreCorrupt(
            f"{FILE_NAME} names where a run would publish (tracking) or whom it would notify (notify), which no "
            "lineage remembers; nothing is imported"
        )
    durable.write_file(path, canonical_json({**stored, "folder": str(target)}))


def _foreign(stored: Any) -> Iterator[str]:
    """Yield what a recipe names outside itself: code, servers and their keys, files, data sets."""
    match stored:
        case dict():
            for name, value in stored.items():
                if name in _OUTSIDE:
                    several = value if isinstance(value, list) else [value]
                    yield from (f"{_OUTSIDE[name]} {plain(one, limit=200)}" for one in several if isinstance(one, str))
                yield from _foreign(value)
        case list():
            for value in stored:
                yield from _foreign(value)
