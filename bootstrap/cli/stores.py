"""Which lineage a command means: a store is a folder with one folder per lineage. Reads only."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from bootstrap.cli.command import command
from bootstrap.errors import RecipeError, StoreError
from bootstrap.lineage.tracking import ARTIFACTS_FOLDER
from bootstrap.store.durable import store_errors
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

DEFAULT_STORE = Path("runs")


def lineages(store: Path) -> list[str]:
    """Return the names of the lineages in a store. Raises StoreError where the store itself cannot be read."""
    try:
        return sorted(folder.name for folder in store.iterdir() if folder.is_dir() and LineageStore(folder).exists)
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


def choose(store: Path, lineage: str | None) -> LineageStore:
    """Return the lineage called `lineage`, or the store's only one.

    Raises StoreError naming those there are when it does not exist, or when none is named and there are several.
    """
    names = lineages(store)
    if not names:
        raise no_lineage(store)
    if lineage is None:
        if len(names) > 1:
            raise StoreError(f"the store {store} holds several lineages; choose one with --lineage: {', '.join(names)}")
        lineage = names[0]
    if lineage not in names:
        close = difflib.get_close_matches(lineage, names, n=1)
        hint = f"did you mean {close[0]}? There is {', '.join(names)}" if close else f"there is {', '.join(names)}"
        raise StoreError(f"the store {store} holds no lineage {lineage!r}; {hint}")
    return LineageStore(store / lineage)


def no_lineage(store: Path) -> StoreError:
    """Return the error about a store without any lineage."""
    return StoreError(f"the store {store} holds no lineage yet; start one with `{command('run', 'RECIPE')}`")


def several(store: Path, lineage: str | None) -> list[LineageStore]:
    """Return the lineage called `lineage`, or all of the store's. Raises StoreError as `choose`."""
    if lineage is None and len(names := lineages(store)) > 1:
        return [LineageStore(store / name) for name in names]
    return [choose(store, lineage)]


def check_name(lineage: str) -> str:
    """Return a lineage's name that can be a folder's. Raises RecipeError for one that leads elsewhere or is taken."""
    # `@` stands between a lineage and a generation of it.
    if not lineage or lineage != Path(lineage).name or lineage.startswith(".") or "@" in lineage:
        raise RecipeError(f"{lineage!r} cannot name a lineage; use letters, digits, `-` and `_`, without `/` and `@`")
    if lineage == ARTIFACTS_FOLDER:
        raise RecipeError(f"{lineage!r} is where MLflow keeps artifacts in a store; give the lineage another name")
    return lineage


def new_folder(folder: Path) -> Path:
    """Return the absolute path of a folder that is new or empty. Raises RecipeError for one in use, StoreError."""
    folder = folder.absolute()
    with store_errors(folder, doing="read"):
        if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
            raise RecipeError(f"{folder} exists and is not an empty folder; name a new folder, or empty this one first")
    return folder


def committed(store: LineageStore) -> Sequence[Entry]:
    """Return the committed generations; none when the lineage does not exist yet. Raises StoreError, StoreCorrupt."""
    return store.ledger.read() if store.exists else []
