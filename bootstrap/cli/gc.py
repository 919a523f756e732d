"""`bootstrap gc`: free weights that nothing needs, never records; what was freed stays known and can be put back.

Kept besides what `--keep` names: the champion, generation 0, what a run that goes on needs (`stages/needed.py`), bases
under adapters that stay, unfinished work, and what other lineages of the store start from or name.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bootstrap.cli import render
from bootstrap.cli.command import command
from bootstrap.cli.remembered import FILE_NAME, recall_recipe
from bootstrap.cli.stores import lineages, parted
from bootstrap.errors import RecipeError, StoreError
from bootstrap.ledger_records import GenerationOutcome
from bootstrap.lineage import text
from bootstrap.lineage.queries import find
from bootstrap.stages.needed import needed
from bootstrap.store import gc
from bootstrap.store.freed import unpack_command
from bootstrap.store.gc import Held
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import HEADER_NAME, LineageStore
from bootstrap.store.lock import lineage_lock
from bootstrap.store.names import ARTIFACTS_FOLDER

_LAST = re.compile(r"last=([0-9]+)")
_FORMS = "champion, promoted, base, last=N and generations, separated by commas, as champion,last=3"


def free_weights(stores: Sequence[LineageStore], *, keep: str, yes: bool, as_json: bool) -> None:
    """Print which weights can be freed and why others stay; free them with `yes`, or after a yes on a terminal.

    All lineages are looked at before anything is freed. One that cannot be freed, as while a run writes it, stops none
    of the others; its error is raised at the end. Raises RecipeError for a `keep` that means nothing, LineageLocked,
    StoreError.
    """
    faults, told = dict[str, StoreError](), dict[str, Mapping[str, Any]]()
    looked = list[tuple[LineageStore, list[Held]]]()
    for store in stores:
        with _noted(faults, store):
            looked.append((store, _looked_at(store, keep)))
    for store, found in looked:
        if not as_json:
            _print(store, found)
        going = [one for one in found if not one.kept and one.size]
        freed = 0
        if going and (yes or (not as_json and _is_agreed(going))):
            with _noted(faults, store):
                freed = _freed(store, going, keep=keep)
        told[store.root.name] = _json(store, found, freed=freed)
        if as_json or store.root.name in faults:
            continue
        if freed:
            render.say(f"freed {_size(freed)}; every record, answer and report is kept")
        elif going:
            render.say("nothing is freed yet; add --yes to free it")
    if as_json:
        for name, fault in faults.items():
            told[name] = {**told.get(name, {}), "error": str(fault)}
        render.print_json(told)
    _tell(faults)


def put_weights_back(stores: Sequence[LineageStore], folder: Path) -> None:
    """Put back the freed weights that lie in a folder; a lineage that fails stops none of the others.

    Raises RecipeError where the folder has none, LineageLocked, StoreError.
    """
    if folder.is_file():
        raise RecipeError(
            f"{folder} is a file: if it is an exported lineage, unpack it with `{unpack_command(folder)}`, and name DIR"
        )
    back, faults = 0, dict[str, StoreError]()
    for store in stores:
        with _noted(faults, store), lineage_lock(store.root):
            for one in gc.restore(gc.weights_of_lineage(store, store.ledger.read(), {}), folder):
                back += 1
                render.say(f"lineage {store.root.name}: the weights of {one.name} are back")
    _tell(faults)
    if not back:
        raise RecipeError(f"{folder} holds no weights that were freed; name an exported model, a lineage or a store")


@contextmanager
def _noted(faults: dict[str, StoreError], store: LineageStore) -> Iterator[None]:
    """Note the error of the block by the lineage's name, so that the others have their turn."""
    try:
        yield
    except StoreError as error:
        faults[store.root.name] = error


def _tell(faults: Mapping[str, StoreError]) -> None:
    """Raise the last error, which the command's end prints, once the others are printed in the same form."""
    for fault in [*faults.values()][:-1]:
        render.warn(f"error: {fault}")
    if faults:
        raise [*faults.values()][-1]


def _freed(store: LineageStore, going: Sequence[Held], *, keep: str) -> int:
    """Free these weights as far as they can still go, and return the bytes."""
    with lineage_lock(store.root):
        # Looked at again: a run may have ended meanwhile.
        agreed = {one.artifact.path for one in going}
        return gc.free(store, [one for one in _looked_at(store, keep) if not one.kept and one.artifact.path in agreed])


def kept_by(keep: str, store: LineageStore, entries: Sequence[Entry]) -> dict[int, str]:
    """Return generation -> which part of `keep` names it. Raises RecipeError."""
    found: dict[int, str] = {}
    for part in filter(None, (one.strip() for one in keep.split(","))):
        lineage, inside = parted(part)
        if lineage and lineage != store.root.name:
            # A name that no lineage has would free what was to stay.
            if lineage not in lineages(store.root.parent):
                raise RecipeError(f"--keep {part}: the store holds no lineage {lineage!r}; --keep takes {_FORMS}")
            continue
        last = _LAST.fullmatch(part)
        if last:
            numbers = list(range(len(entries)))[-int(last[1]) :] if int(last[1]) else []
        elif part == "promoted":
            numbers = [
                entry.generation.number
                for entry in entries
                if entry.generation.outcome in (GenerationOutcome.BASE, GenerationOutcome.PROMOTED)
            ]
        else:
            try:
                numbers = [find(entries, inside).generation.number]
            except RecipeError as error:
                raise RecipeError(f"--keep {part}: {error}; --keep takes {_FORMS}") from None
        for number in numbers:
            found.setdefault(number, part)
    return found


def _looked_at(store: LineageStore, keep: str) -> list[Held]:
    entries = store.ledger.read()
    if not entries:
        return []
    why = dict(needed(recall_recipe(store), [entry.generation for entry in entries]))
    for more in (_named_elsewhere(store, entries), kept_by(keep, store, entries)):
        for number, reason in more.items():
            if reason not in why.get(number, ""):
                why[number] = ", ".join(filter(None, (why.get(number), reason)))
    return gc.weights_of_lineage(store, entries, why)


def _named_elsewhere(store: LineageStore, entries: Sequence[Entry]) -> dict[int, str]:
    """Return the generations that other lineages of the store start from, or whose folders their recipes name."""
    found: dict[int, str] = {}
    for name in lineages(store.root.parent):
        if name == store.root.name:
            continue
        other = LineageStore(store.root.parent / name)
        match other.header().identity:
            case {"base": {"model": {"type": "generation", "lineage": store.root.name, "number": int(number)}}}:
                found[number] = f"lineage {name} starts from it"
        recipe = b"".join(filter(None, (other.kept(FILE_NAME), other.kept(HEADER_NAME)))).decode(errors="replace")
        for entry in entries:
            weights = entry.generation.artifacts.get("weights")
            if weights is not None and weights.path.rpartition("/")[2] in recipe:
                found.setdefault(entry.generation.number, f"the recipe of lineage {name} names it")
    return {number: why for number, why in found.items() if number < len(entries)}


def _print(store: LineageStore, found: Sequence[Held]) -> None:
    name, total = store.root.name, sum(one.size for one in found)
    rows = []
    for one in found:
        # A killed run may have freed one of two files.
        is_gone = one.is_freed and not one.size
        rows.append(
            {
                "generation": one.name,
                "weights": "freed" if is_gone else _size(one.size),
                "now": "" if is_gone else "stays" if one.kept else "can go",
                "because": "" if is_gone else one.kept,
            }
        )
    render.print_rows(f"weights of lineage {name}", rows)
    going = [one for one in found if not one.kept and one.size]
    if not going:
        render.say(f"lineage {name}: nothing to free of {_size(total)}")
        return
    render.say(f"lineage {name}: {_size(sum(one.size for one in going))} of {_size(total)} can be freed")
    if copies := gc.published(store.root.parent, going):
        place = store.root.parent / ARTIFACTS_FOLDER
        render.say(f"publishing has copied {_size(copies)} of them into {place}, where they stay")
    again = next((one.generations[0] for one in going if one.generations), None)
    if again is not None:
        where = ("--store", store.root.parent, "--lineage", name, "--into", "DIR")
        render.say(f"what makes them again: {command('reproduce', f'gen-{again}', *where)}")


def _is_agreed(going: Sequence[Held]) -> bool:
    """Ask on a terminal whether to free these weights; elsewhere the answer is no."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    try:
        return input(f"free {_size(sum(one.size for one in going))}? [y/N] ").strip().lower() in ("y", "yes")
    except (EOFError, KeyboardInterrupt):
        print()
        return False


def _json(store: LineageStore, found: Sequence[Held], *, freed: int) -> Mapping[str, Any]:
    return {
        "freed_bytes": freed,
        "copied_to_mlflow_bytes": gc.published(store.root.parent, [one for one in found if not one.kept]),
        "weights": [
            {
                "generations": list(one.generations),
                "folder": one.artifact.path.name,
                "bytes": one.size,
                "was_freed": one.is_freed,
                "kept_because": one.kept or None,
            }
            for one in found
        ],
    }


def _size(count: int) -> str:
    return text.si(count, unit="B")
