"""A lineage -> a copy, and a copy -> a lineage of another store, everything proved by its hashes.

Neither runs any of the lineage's code: records, manifests and weights are read as data.

An import fills `<store>/.tmp-import-NAME`, which no reader sees, proves it there, and renames it to `<store>/NAME`. A
killed one leaves that folder, which the next import removes unless its lock is held. A lineage that is in the store is
never changed. Left out: the form of a copy (`archive.py`), and what its recipe may say (`cli/import_lineage.py`).
"""

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bootstrap.errors import LineageLocked, StoreCorrupt, StoreError
from bootstrap.store import archive, durable
from bootstrap.store.archive import Copy
from bootstrap.store.copies import BESIDE, LIST_NAME, CopyList, files_of, list_of, shown
from bootstrap.store.freed import FILE_NAME as FREED_NAME
from bootstrap.store.freed import can_be_freed, restore_command, unpack_command
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.lock import lineage_lock
from bootstrap.store.names import check_name
from bootstrap.store.verify import IntegrityProblem, verify

_STAGED = f"{durable.TEMPORARY_PREFIX}import-"
_SPARE_BYTES = 64 << 20
"""Of the disk, that an import leaves free."""
_MOST_TOLD = 3
"""Problems in one message."""
Inspection = Callable[[LineageStore, Path], None]
"""Refuses a lineage for what lies outside the hashes: the staged lineage, the place that it is going to have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Transfer:
    """An export or import that has happened."""

    listed: CopyList
    num_generations: int
    unproven: Sequence[str] = ()
    """Sentences on what could not be proved."""
    is_new: bool = True
    """False where the store held the same lineage already, and nothing was written."""


def export_lineage(store: LineageStore, target: Path, beside: Mapping[str, bytes]) -> Transfer:
    """Write a copy of the committed part of a lineage into the new tar file or folder `target`, all or nothing.

    `beside`: content of the files outside the hashes (`copies.BESIDE`). Raises StoreError where nothing is committed or
    `target` exists, StoreCorrupt where the lineage is not sound.
    """
    entries = store.ledger.read()
    if not entries:
        raise StoreError(f"the lineage in {store.root} has no committed generation yet: grow it with `bootstrap run`")
    if target.exists():
        raise StoreError(f"{target} exists; name a new file or folder")
    proved = _prove(store, place=str(store.root))
    listed = list_of(store, entries, beside)
    durable.make_folder(target.parent)
    if target.suffix == archive.SUFFIX:
        try:
            durable.create_from(target, archive.parts_of_archive(listed, store.root, beside))
        except FileExistsError:
            raise StoreError(f"{target} has been made by someone else meanwhile; name a new file") from None
    else:
        staged = durable.temporary_folder(target.absolute())
        try:
            data = listed.to_file()
            durable.fill_folder(staged, [(LIST_NAME, [data])])
            durable.fill_folder(staged, archive.contents_of(listed, store.root, beside))
            if not durable.give_name(staged, target):
                raise StoreError(f"{target} has been made by someone else meanwhile; name a new folder")
        finally:
            durable.discard(staged)
    return Transfer(listed=listed, num_generations=len(entries), unproven=proved)


def import_lineage(place: Path, store: Path, inspect: Inspection, *, files: durable.Files = durable.OS) -> Transfer:
    """Make the lineage in the copy `place` one of the folder `store`, all or nothing.

    `inspect` is called once everything else is proved. Raises RecipeError for a name that `store` cannot take,
    StoreError where the store has another lineage of that
    name, lacks room or cannot be written, StoreCorrupt naming the file that is not sound, LineageLocked while another
    process imports the lineage.
    """
    with archive.opened(place) as copy:
        target = store.absolute() / check_name(copy.listed.lineage, store)
        if target.exists():
            return _compared(copy, LineageStore(target))
        durable.make_folder(target.parent, files=files)
        _remove_leftovers(target.parent, files=files)
        _check_room(copy, target.parent)
        staged = LineageStore(target.with_name(f"{_STAGED}{target.name}"), files=files)
        with _staging(staged.root, files=files):
            durable.fill_folder(staged.root, copy.contents(), files=files)
            durable.make_folder(staged.work_folder, files=files)
            entries, unproven = _proved_copy(copy, staged)
            inspect(staged, target)
            if not durable.give_name(staged.root, target, files=files):
                raise StoreError(f"{target} has been made by someone else meanwhile; import again to compare")
        return Transfer(listed=copy.listed, num_generations=len(entries), unproven=unproven)


def _proved_copy(copy: Copy, staged: LineageStore) -> tuple[list[Entry], Sequence[str]]:
    """Return the records and what is unproven of a staged copy. Raises StoreCorrupt unless every hash agrees."""
    place = str(copy.place)
    try:
        unproven = _prove(staged, place=place)
        entries = staged.ledger.read()
        wanted = files_of(staged, entries).keys() if entries else set[str]()
    except StoreCorrupt:
        raise
    except StoreError as error:
        # Another version's: the folder that it names is gone by the time that somebody reads it.
        raise StoreError(f"{place}: {str(error).replace(f'{staged.root}/', '')}") from None
    if stray := sorted(copy.listed.files.keys() - wanted - set(BESIDE)):
        raise StoreCorrupt(f"{place} holds {stray[0]!r}, which no record of the lineage names; nothing is imported")
    if not entries or entries[-1].hash != copy.listed.head or entries[-1].generation.lineage != copy.listed.lineage:
        found = f"{entries[-1].generation.lineage!r} with {entries[-1].hash}" if entries else "no record"
        raise StoreCorrupt(
            f"{place}: {LIST_NAME} announces lineage {copy.listed.lineage} that ends with the record "
            f"{copy.listed.head}, found {found}; nothing is imported"
        )
    return entries, unproven


def _prove(store: LineageStore, *, place: str) -> Sequence[str]:
    """Return what is unproven of a lineage all of whose hashes agree. Raises StoreCorrupt naming each that does not."""
    report = verify(store.root)
    if not report.problems:
        gone = [f"the weights in {shown(folder)} were freed: they are not in the copy" for folder in report.freed]
        return [*report.unproven, *gone]
    told = [_fault(problem, store.root) for problem in report.problems]
    more = f" (and {len(told) - _MOST_TOLD} more)" if len(told) > _MOST_TOLD else ""
    raise StoreCorrupt(f"{place} is not sound: {'; '.join(told[:_MOST_TOLD])}{more}; take an intact copy")


def _fault(problem: IntegrityProblem, root: Path) -> str:
    """Return a problem as one short line, with places below the lineage's folder, whatever a stranger wrote there."""
    where = problem.path.replace(f"{root}/", "")
    told = problem.message.replace(f"{root}/", "").partition("; restore")[0]
    line = told if told.startswith(where) else f"{where}: {told}"
    return shown(line)


def _compared(copy: Copy, there: LineageStore) -> Transfer:
    """Return that there was nothing to do, where the store holds the same lineage; else raise StoreError."""
    listed, place = copy.listed, there.root
    if not there.exists:
        raise StoreError(f"{place} exists and is no lineage; move it away, or name another store with --store")
    entries = there.ledger.read()
    if not entries or entries[-1].hash != listed.head:
        known = any(entry.hash == listed.head for entry in entries)
        how = (
            f"has gone on since: it has {len(entries)} generations, and that copy ends at one of them"
            if known
            else "has other records; a lineage is never overwritten, and its name is part of what its hashes cover"
        )
        raise StoreError(
            f"the lineage {listed.lineage} in {place.parent} {how}. Import the copy into another store with --store DIR"
        )
    here, copied = files_of(there, entries).keys(), listed.files.keys() - set(BESIDE)
    missing = sorted(here ^ copied)
    if all(_is_freed(name, here if name in copied else copied) for name in missing):
        if any(map(can_be_freed, copied - here)):
            raise _freed_here_error(copy, there)
    elif missing:
        raise StoreError(
            f"the lineage {listed.lineage} in {place.parent} has the same records, but {missing[0]} is in one of both "
            "alone. Import the copy into another store with --store DIR"
        )
    return Transfer(listed=listed, num_generations=len(entries), is_new=False)


def _is_freed(name: str, lacking: Collection[str]) -> bool:
    """Whether a file is missing among the names `lacking` because weights were freed, or is the mark of that."""
    mark = "/".join((*name.split("/")[:2], FREED_NAME))
    return name == mark or (can_be_freed(name) and mark in lacking)


def _freed_here_error(copy: Copy, there: LineageStore) -> StoreError:
    """Return the error that a copy has weights that were freed in the store."""
    is_packed = copy.place.is_file()
    how = f"Unpack it with `{unpack_command(copy.place)}`, then put" if is_packed else "Put"
    again = restore_command("DIR" if is_packed else copy.place, there.root)
    return StoreError(
        f"the lineage {copy.listed.lineage} in {there.root.parent} has the same records, and the copy has weights that "
        f"were freed there. {how} them back with `{again}`"
    )


def _check_room(copy: Copy, store: Path) -> None:
    with durable.store_errors(store, doing="read"):
        free = shutil.disk_usage(store).free
    if copy.listed.num_bytes + _SPARE_BYTES > free:
        raise StoreError(
            f"{copy.place} announces {copy.listed.num_bytes} bytes, and {store} has {free} free; free some space, or "
            "name another store with --store"
        )


@contextmanager
def _staging(folder: Path, *, files: durable.Files) -> Iterator[None]:
    """Hold the folder as its only writer; remove it at the end unless it has got its name by then.

    Raises LineageLocked while another process holds it.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(lineage_lock(folder))
        except LineageLocked as error:
            name = folder.name.removeprefix(_STAGED)
            raise LineageLocked(
                f"another process imports the lineage {name}: {error.owner or 'unknown'}; wait until it ends",
                owner=error.owner,
            ) from None
        stack.callback(durable.discard, folder, files=files)
        yield


def _remove_leftovers(store: Path, *, files: durable.Files) -> None:
    """Remove what killed imports have left, but not what a living one fills."""
    for folder in sorted(store.glob(f"{_STAGED}*")):
        try:
            with lineage_lock(folder):
                durable.discard(folder, files=files)
        except LineageLocked:
            continue
