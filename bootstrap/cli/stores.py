"""Find the lineage that a command names, and write what a command makes. A store holds one folder per lineage."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from bootstrap.cli.command import command
from bootstrap.errors import RecipeError, StoreCorrupt, StoreError
from bootstrap.lineage.queries import names_generation
from bootstrap.store import durable
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore


def lineages(store: Path) -> list[str]:
    """Return the names of a store's lineages, sorted. Raises StoreError when the store cannot be read."""
    try:
        folders = [path for path in store.iterdir() if path.is_dir() and not durable.is_temporary(path)]
        return sorted(folder.name for folder in folders if _is_lineage(folder))
    except FileNotFoundError:
        raise StoreError(
            f"there is no store {store.absolute()}; name another one with --store, or start with "
            f"`{command('run', 'RECIPE')}`"
        ) from None
    except NotADirectoryError:
        raise StoreError(f"the store {store} is a file, not a folder; name another one with --store") from None
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"cannot read the store {store}: {error.strerror}; check its permissions") from None


def _is_lineage(folder: Path) -> bool:
    """Whether a folder holds a lineage, be it a broken one: whoever asks for that is told why."""
    try:
        return LineageStore(folder).exists
    except StoreCorrupt:
        return True


def choose(store: Path, lineage: str | None) -> LineageStore:
    """Return the lineage called `lineage`, or the store's only one.

    Raises StoreError, naming the existing ones, for an unknown name, or when no name is given and there are several.
    """
    names = lineages(store)
    if not names:
        raise no_lineage(store)
    if lineage is None:
        if len(names) > 1:
            raise StoreError(
                f"the store {store} holds several lineages: {', '.join(names)}; name one (--lineage NAME, or "
                "NAME@gen-1 for a generation)"
            )
        lineage = names[0]
    if lineage not in names:
        close = difflib.get_close_matches(lineage, names, n=1)
        hint = f"did you mean {close[0]}? There is {', '.join(names)}" if close else f"there is {', '.join(names)}"
        raise StoreError(f"the store {store} holds no lineage {lineage!r}; {hint}")
    return LineageStore(store / lineage)


def parted(name: str) -> tuple[str, str]:
    """Return (`other`, `gen-3`) for `other@gen-3`; the lineage is empty for a name without one, as `gen-3`."""
    lineage, at, inside = name.rpartition("@")
    return (lineage, inside) if at and lineage else ("", name)


def located(store: Path, lineage: str | None, name: str) -> tuple[LineageStore, str]:
    """Return the lineage, and the name of the generation in it, that `gen-3` or `other@gen-3` means.

    `lineage`: that of a name without one. Raises StoreError as `choose`, RecipeError for a lineage's name alone.
    """
    other, inside = parted(name)
    if not other and not names_generation(inside) and inside in lineages(store):
        raise RecipeError(f"{inside} is a lineage; name a generation of it, for example {inside}@champion")
    return choose(store, other or lineage), inside


def no_lineage(store: Path) -> StoreError:
    """Return the error about a store without any lineage."""
    return StoreError(f"the store {store} holds no lineage yet; start one with `{command('run', 'RECIPE')}`")


def several(store: Path, lineage: str | None) -> list[LineageStore]:
    """Return the lineage called `lineage`, or all of the store's. Raises StoreError as `choose`."""
    if lineage is None and len(names := lineages(store)) > 1:
        return [LineageStore(store / name) for name in names]
    return [choose(store, lineage)]


def new_folder(folder: Path) -> Path:
    """Return the absolute path of a folder that is new or empty. Raises RecipeError for one in use, StoreError."""
    folder = folder.absolute()
    with durable.store_errors(folder, doing="read"):
        if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
            raise RecipeError(f"{folder} exists and is not an empty folder; name a new folder, or empty this one first")
    return folder


def write_new_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write `files` into a folder that `new_folder` returned, all or nothing. Raises RecipeError, StoreError."""
    durable.make_folder(folder.parent)
    if not durable.write_folder(folder, files):
        raise RecipeError(f"{folder} has been filled by someone else meanwhile; name a new folder")


def write_changed(store: LineageStore, name: str, data: bytes) -> None:
    """Write a file beside a lineage's header unless it holds `data` already. Raises StoreError."""
    if store.kept(name) != data:
        store.keep(name, data)


def committed(store: LineageStore) -> Sequence[Entry]:
    """Return the committed generations; empty while the lineage does not exist. Raises StoreError, StoreCorrupt."""
    return store.ledger.read() if store.exists else []
