"""Power loss: what was acknowledged survives every disk state that a crash may leave, and no damage is accepted.

Kill -9 cannot show this, because the page cache survives it. `Disk` models what may not: un-synced data may be full,
torn, zeroed or gone, and un-synced changes of a folder may vanish in any combination.
"""

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.store_doubles import (
    IDENTITY,
    LINEAGE,
    NUM_GENERATIONS,
    ROLES,
    Disk,
    Killed,
    KilledFiles,
    RecordingFiles,
    UnsyncedFiles,
    toy_contents,
    toy_inputs,
    toy_run,
    write_picture,
)

from bootstrap.errors import StoreError
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.verify import verify

pytestmark = pytest.mark.slow

LOST = "acknowledged and lost"
REFUSED = "the store is refused as corrupt"
ACCEPTED = "damage accepted"
UNCHECKED = "damage that a reader without checksums accepts"
LINEAGE_FOLDER = "runs/toy"


def diagnose(root: Path, promises: set[tuple[str, ...]]) -> set[str]:
    """Open the lineage as the next run does; return which kinds of violation there are."""
    store = LineageStore(root, files=UnsyncedFiles())
    found = set()
    try:
        store.open(LINEAGE, identity=IDENTITY)
        num_records = len(store.ledger.read())
        if not verify(root).is_clean:
            found.add(REFUSED)
    except StoreError:
        num_records = 0
        found.add(REFUSED)
    for number in range(NUM_GENERATIONS):
        if ("record", str(number)) in promises and number >= num_records:
            found.add(LOST)
        for role in ROLES:
            promised = ("artifact", role, str(number)) in promises
            expected = toy_contents(role, number)
            try:
                artifact = store.find(role, toy_inputs(role, number))
                if artifact is None:
                    found |= {LOST} if promised else set()
                    continue
                unchecked = {name: (artifact.path / name).read_bytes() for name in artifact.files}
                found |= {UNCHECKED} if unchecked != expected else set()
                if artifact.read_all() != expected:
                    found.add(ACCEPTED)
            except StoreError:
                found |= {REFUSED, LOST} if promised else {REFUSED}
    return found


def violations(
    journal: list[tuple[Any, ...]],
    folder: Path,
    *,
    start: int = 0,
    limit: int = 64,
    seen: set[str] | None = None,
) -> Counter[str]:
    """Count crash states by kind of violation, over every state after each journal entry from `start` on.

    States in `seen` have been counted and are passed over.
    """
    disk, promises = Disk(), set()
    seen = set() if seen is None else seen
    counts: Counter[str] = Counter()
    for index, entry in enumerate(journal):
        if entry[0] == "acknowledge":
            promises.add(entry[1])
        else:
            disk.apply(entry)
        if index < start:
            continue
        for state in disk.states(limit=limit):
            key = repr((without_temporary_names(state), sorted(promises)))
            if key in seen:
                continue
            seen.add(key)
            place = folder / "state"
            write_picture(place, state)
            counts["states"] += 1
            counts.update(diagnose(place / LINEAGE_FOLDER, promises))
            shutil.rmtree(place)
    return counts


def without_temporary_names(state: dict[str, Any]) -> list[Any]:
    """Return the state in a form that does not depend on which random names the writers have drawn."""
    rows = []
    for name, node in state.items():
        shown = ".tmp" if name.startswith(".tmp-") else name
        rows.append((shown, without_temporary_names(node) if isinstance(node, dict) else node))
    return sorted(rows, key=repr)


def record(folder: Path, *, forget: str = "") -> RecordingFiles:
    base = folder / "live"
    base.mkdir()
    files = RecordingFiles(base, forget=forget)
    toy_run(LineageStore(base / LINEAGE_FOLDER, files=files), files.acknowledge)
    return files


def test_no_crash_state_loses_what_was_acknowledged_or_hides_damage(tmp_path: Path):
    counts = violations(record(tmp_path).journal, tmp_path)
    assert counts.pop("states") > 100
    assert counts == {}


def test_a_writer_that_does_not_sync_files_is_found_out_and_its_damage_refused(tmp_path: Path):
    counts = violations(record(tmp_path, forget="file").journal, tmp_path, limit=4)
    assert counts[LOST] > 0
    assert counts[UNCHECKED] > 0
    assert counts[ACCEPTED] == 0


def test_a_writer_that_does_not_sync_folders_is_found_out(tmp_path: Path):
    counts = violations(record(tmp_path, forget="folder").journal, tmp_path, limit=4)
    assert counts[LOST] > 0
    assert counts[ACCEPTED] == 0


class Unswept(LineageStore):
    """A store whose next run trusts what a killed writer left as it finds it."""

    def sweep(self) -> int:
        return 0


def killed_then_resumed(folder: Path, store_class: type[LineageStore]) -> Iterator[Counter[str]]:
    """Kill the run before each operation, the last first, resume it, lose power once it is done; yield violations."""
    whole = KilledFiles()
    (folder / "whole").mkdir()
    toy_run(store_class(folder / "whole" / LINEAGE_FOLDER, files=whole))
    assert whole.count > 100
    seen: set[str] = set()
    for at in reversed(range(whole.count)):
        base = folder / f"live-{at}"
        base.mkdir()
        files = RecordingFiles(base)
        with pytest.raises(Killed):
            toy_run(store_class(base / LINEAGE_FOLDER, files=KilledFiles(at=at, journal=files)))
        toy_run(store_class(base / LINEAGE_FOLDER, files=files), files.acknowledge)
        yield violations(files.journal, folder, start=len(files.journal) - 1, limit=8, seen=seen)
        shutil.rmtree(base)


def test_what_a_resumed_run_builds_on_survives_a_power_loss(tmp_path: Path):
    counts = sum(killed_then_resumed(tmp_path, LineageStore), Counter())
    assert counts.pop("states") > 0
    assert counts == {}


def test_a_resume_that_does_not_sync_what_it_found_is_found_out(tmp_path: Path):
    assert any(counts[LOST] for counts in killed_then_resumed(tmp_path, Unswept))


@pytest.mark.parametrize("forget", ["", "file", "folder"])
def test_the_model_of_the_disk_agrees_with_the_disk_where_nothing_is_lost(tmp_path: Path, forget: str):
    files = record(tmp_path, forget=forget)
    disk = Disk()
    for entry in files.journal:
        if entry[0] != "acknowledge":
            disk.apply(entry)
    write_picture(tmp_path / "model", next(disk.states(limit=2)))
    assert contents(tmp_path / "model") == contents(files.base)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
