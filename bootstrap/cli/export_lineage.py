"""`bootstrap export --lineage NAME FILE`: a whole lineage in one tar file or folder, for another store.

Left out: the form of the copy (`store/copies.py`, `store/archive.py`).
"""

from pathlib import Path

from bootstrap.canonical import canonical_json
from bootstrap.cli.command import command
from bootstrap.cli.remembered import FILE_NAME
from bootstrap.cli.stores import parted
from bootstrap.config.load import load_recipe
from bootstrap.errors import RecipeError
from bootstrap.lineage.queries import names_generation
from bootstrap.lineage.text import count, plain, si
from bootstrap.reading import parsed
from bootstrap.store.archive import SUFFIX
from bootstrap.store.copies import LIMITS_NAME
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.transfer import export_lineage

_HERE = "."
"""Stands for the folder that the recipe's relative paths start at, which is a place on this machine."""


def place_for_whole(given: str | None, lineage: str | None) -> Path:
    """Return the place for a copy of a whole lineage, the command's only argument.

    Raises RecipeError where it is missing or looks like a generation's name, or where no lineage is named.
    """
    whole = command("export", "--lineage", lineage or "NAME", f"{lineage or 'NAME'}{SUFFIX}")
    if given is None:
        raise RecipeError(f"name what to export: a model, `{command('export', 'champion', 'DIR')}`, or `{whole}`")
    if lineage is None or names_generation(parted(given)[1]):
        raise RecipeError(
            f"name a new folder for the model: `{command('export', given, 'DIR')}`; a whole lineage is exported with "
            f"`{whole}`"
        )
    return Path(given)


def export_whole(store: LineageStore, target: Path) -> str:
    """Write a copy of the lineage into the new tar file or folder `target`; return what to print.

    Raises RecipeError for another kind of archive, StoreError and StoreCorrupt as `export_lineage`.
    """
    if target.suffix in (".gz", ".zip", ".zst", ".xz", ".bz2", ".tgz", ".7z"):
        raise RecipeError(
            f"{target.name}: a lineage is exported as {SUFFIX} or as a folder, not compressed, since weights hardly "
            f"shrink; name it {target.name.split('.')[0]}{SUFFIX}"
        )
    kept = {LIMITS_NAME: store.kept(LIMITS_NAME), FILE_NAME: _recipe(store)}
    beside = {name: data for name, data in kept.items() if data is not None}
    done = export_lineage(store, target, beside)
    lines = [
        f"lineage {done.listed.lineage}: {count(done.num_generations, 'generation')}, {len(done.listed.files)} files, "
        f"{si(done.listed.num_bytes, unit='B')} in {target}; every hash verified",
        f"last record: {done.listed.head}",
        *(f"not proved: {plain(sentence)}" for sentence in done.unproven),
        f"take it into another store with: {command('import', target, '--store', 'DIR')}",
    ]
    if FILE_NAME not in beside:
        lines.insert(2, f"its {FILE_NAME} is missing or of another recipe, and is left out")
    return "\n".join(lines)


def _recipe(store: LineageStore) -> bytes | None:
    """Return the remembered recipe without this machine's folder; None where it is not that of the lineage."""
    kept = store.kept(FILE_NAME)
    try:
        if load_recipe(store.root / FILE_NAME, check_folders=False).digest() != store.header().digest:
            return None
    except RecipeError:
        return None
    return None if kept is None else canonical_json({**parsed(kept, strict=False), "folder": _HERE})
