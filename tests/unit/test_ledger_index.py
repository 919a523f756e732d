"""The index beside the ledger: it never says anything but what the ledger says, whatever becomes of its file."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support import lineage_factory
from support.store_doubles import ANNOTATIONS, toy_generation

from bootstrap.bench.lineage import opened_files
from bootstrap.canonical import canonical_json
from bootstrap.errors import StoreCorrupt
from bootstrap.ledger_records import GenerationOutcome
from bootstrap.store import index, index_file
from bootstrap.store.ledger import Entry, Ledger
from bootstrap.store.lineage_store import LineageStore

PROMOTED = GenerationOutcome.PROMOTED
STORED = Path(__file__).parents[1] / "golden" / "stored" / "schema-3.tar.gz"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of this test's indexes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "bootstrap" / "index"


@pytest.fixture
def store(tmp_path: Path, cache: Path) -> LineageStore:
    lineage_factory.build(tmp_path / "store" / "addition")
    return LineageStore(tmp_path / "store" / "addition")


@pytest.fixture
def proven(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the record files that are proven from now on."""
    found, prove = list[str](), index.prove

    def counted(path: Path, data: bytes, *, previous: str | None) -> Entry:
        found.append(path.name)
        return prove(path, data, previous=previous)

    monkeypatch.setattr(index, "prove", counted)
    return found


def is_the_ledger(store: LineageStore) -> bool:
    """Whether the index gives what the ledger holds, outlines included."""
    entries, there = index.read(store), store.ledger.read()
    outlines = [
        (entry.hash, entry.annotations, entry.generation.model_dump(exclude={"edges"})) for entry in entries.outlines
    ]
    return list(entries) == there and outlines == [
        (entry.hash, entry.annotations, entry.generation.model_dump(exclude={"edges"})) for entry in there
    ]


def only_file(cache: Path) -> Path:
    [path] = cache.iterdir()
    return path


def rewrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def test_entries_are_those_of_the_ledger_the_first_time_and_the_next(store: LineageStore):
    assert is_the_ledger(store)
    assert is_the_ledger(store)


def test_a_ledger_without_records_has_no_entries(tmp_path: Path, cache: Path):
    (tmp_path / "ledger").mkdir()
    assert list(index.read(LineageStore(tmp_path))) == [] and not cache.exists()


def test_records_of_an_earlier_schema_are_read_under_the_names_of_today(tmp_path: Path, cache: Path):
    with tarfile.open(STORED) as archive:
        archive.extractall(tmp_path, filter="data")
    store = LineageStore(tmp_path / "lineage")
    assert is_the_ledger(store) and is_the_ledger(store)
    assert index.read(store)[0].generation.schema_version == 3


def test_an_outline_lacks_data_edges_and_nothing_else(store: LineageStore):
    entries = index.read(store)
    for whole, outline in zip(entries, entries.outlines, strict=True):
        kept = tuple(edge for edge in whole.generation.edges if edge.role != "data")
        assert outline.generation == whole.generation.model_copy(update={"edges": kept})
    assert any(
        len(entry.generation.edges) > len(entries.outlines[at].generation.edges) for at, entry in enumerate(entries)
    )


def test_only_new_records_are_proven_and_each_record_is_opened_once(store: LineageStore, proven: list[str]):
    index.read(store)
    assert proven == ["000000.json", "000001.json", "000002.json", "000003.json"]
    proven.clear()
    with opened_files(store.root) as opened:
        index.read(store)
    assert not proven and sorted(Path(path).name for path in opened) == [path.name for path in store.ledger.paths()]
    lineage_factory.grow(store, outcome=PROMOTED)
    assert is_the_ledger(store) and proven == ["000004.json"]


def test_an_entry_is_read_from_its_file_when_it_is_asked_for(store: LineageStore):
    entries = index.read(store)
    with opened_files(store.root) as opened:
        assert entries[-1].generation.number == entries[-1].generation.champion == 3
        assert entries[1:3] == store.ledger.read()[1:3]
        assert entries.outlines[2].generation.number == 2
    assert [Path(path).name for path in opened[:3]] == ["000003.json", "000001.json", "000002.json"]


def test_recalled_entries_are_those_read_and_open_no_record_that_is_known(store: LineageStore):
    whole = list(index.read(store))
    with opened_files(store.ledger.folder) as opened:
        recalled = index.recall(store)
        assert [link.hash for link in recalled.links] == [entry.hash for entry in whole]
    assert {Path(path).name for path in opened} <= {"", "ledger", "000000.json", f"{len(whole) - 1:06d}.json"}
    assert list(recalled) == whole and index.links(whole) == index.links(list(recalled))


def test_a_record_that_is_not_what_the_chain_says_is_refused_when_it_is_recalled(store: LineageStore):
    index.read(store)
    newest = store.ledger.paths()[-1]
    rewrite(newest, newest.read_bytes().replace(b'"seed":', b'"seed":1'))
    with pytest.raises(StoreCorrupt, match=newest.name):
        index.recall(store)


def test_a_file_that_changes_after_it_was_proven_is_refused(store: LineageStore):
    entries = index.read(store)
    rewrite(store.ledger.path(1), store.ledger.path(2).read_bytes())
    with pytest.raises(StoreCorrupt, match=r"000001\.json is corrupt: expected the previous"):
        entries[1]


def test_changed_annotations_are_shown(store: LineageStore):
    index.read(store)
    record = json.loads(store.ledger.path(1).read_bytes())
    record["annotations"]["host"] = "elsewhere"
    rewrite(store.ledger.path(1), canonical_json(record))
    assert index.read(store).outlines[1].annotations.host == "elsewhere"
    assert is_the_ledger(store)


@pytest.mark.parametrize(
    "damage",
    [
        lambda ledger: rewrite(ledger.path(1), ledger.path(1).read_bytes().replace(b'"seed":7', b'"seed":8')),
        lambda ledger: rewrite(ledger.path(1), b"{}"),
        lambda ledger: rewrite(ledger.path(2), ledger.path(1).read_bytes()),
        lambda ledger: ledger.path(1).unlink(),
        lambda ledger: ledger.path(0).unlink(),
        lambda ledger: (ledger.folder / "notes.txt").write_text("hello"),
    ],
)
def test_what_the_ledger_refuses_is_refused_in_the_same_words(store: LineageStore, damage: Callable[[Ledger], None]):
    index.read(store)
    damage(store.ledger)
    with pytest.raises(StoreCorrupt) as expected:
        store.ledger.read()
    with pytest.raises(StoreCorrupt) as found:
        index.read(store)
    assert str(found.value) == str(expected.value)


def test_a_record_that_is_known_from_another_chain_is_refused(tmp_path: Path, store: LineageStore):
    for place, seed in (("a", 1), ("b", 2)):
        (tmp_path / place / "ledger").mkdir(parents=True)
        ledger = Ledger(tmp_path / place)
        ledger.append(toy_generation(0, {}), ANNOTATIONS)
        ledger.append(toy_generation(1, {}, seed=seed), ANNOTATIONS)
        ledger.append(toy_generation(2, {}), ANNOTATIONS)
        assert is_the_ledger(LineageStore(tmp_path / place))
    rewrite(Ledger(tmp_path / "a").path(1), Ledger(tmp_path / "b").path(1).read_bytes())
    with pytest.raises(StoreCorrupt, match=r"000002\.json is corrupt: expected the previous record's hash"):
        index.read(LineageStore(tmp_path / "a"))


@pytest.mark.parametrize("data", [b"", b"no database at all", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_index_is_replaced(store: LineageStore, cache: Path, proven: list[str], data: bytes):
    index.read(store)
    only_file(cache).write_bytes(data)
    assert is_the_ledger(store)
    proven.clear()
    assert is_the_ledger(store) and not proven


def test_a_flipped_byte_anywhere_in_the_index_changes_no_answer(store: LineageStore, cache: Path):
    index.read(store)
    intact = only_file(cache).read_bytes()
    expected = store.ledger.read()
    for position in range(0, len(intact), 499):
        damaged = bytearray(intact)
        damaged[position] ^= 0x55
        only_file(cache).write_bytes(damaged)
        entries = index.read(store)
        assert list(entries) == expected, position
        assert [entry.annotations for entry in entries.outlines] == [entry.annotations for entry in expected], position


def test_an_index_cut_short_changes_no_answer(store: LineageStore, cache: Path):
    index.read(store)
    intact = only_file(cache).read_bytes()
    for length in range(0, len(intact), len(intact) // 12):
        only_file(cache).write_bytes(intact[:length])
        assert is_the_ledger(store), length


def test_a_row_that_was_changed_is_not_believed(store: LineageStore, cache: Path):
    index.read(store)
    with sqlite3.connect(only_file(cache)) as connection:
        connection.execute("UPDATE records SET outline = replace(outline, 'promoted', 'rejected')")
    connection.close()
    assert is_the_ledger(store)


def test_an_index_that_came_with_a_store_is_not_opened(store: LineageStore, cache: Path, tmp_path: Path):
    index.read(store)
    for folder in (store.root, store.root / "cache", store.root.parent):
        folder.mkdir(exist_ok=True)
        shutil.copy(only_file(cache), folder / "index.db")
    shutil.rmtree(cache)
    before = sorted((path, path.stat().st_mtime_ns) for path in store.root.rglob("*"))
    with opened_files(tmp_path / "store") as opened:
        assert is_the_ledger(store)
    assert not [path for path in opened if path.endswith(".db")]
    assert sorted((path, path.stat().st_mtime_ns) for path in store.root.rglob("*")) == before


def test_a_moved_store_is_known_and_a_copy_goes_its_own_way(store: LineageStore, cache: Path, proven: list[str]):
    index.read(store)
    proven.clear()
    moved = LineageStore(store.root.rename(store.root.with_name("moved")))
    copy = LineageStore(Path(shutil.copytree(moved.root, moved.root.with_name("copy"))))
    assert is_the_ledger(moved) and is_the_ledger(copy) and not proven
    lineage_factory.grow(copy, outcome=PROMOTED)
    lineage_factory.grow(moved, outcome=GenerationOutcome.REJECTED)
    for _ in range(2):
        assert is_the_ledger(moved) and is_the_ledger(copy)
    assert proven == ["000004.json", "000004.json"] and len(list(cache.iterdir())) == 1


def test_without_a_place_to_write_the_answers_are_the_same(
    store: LineageStore, proven: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert is_the_ledger(store) and is_the_ledger(store)
    assert len(proven) == 8


def test_a_folder_that_others_may_write_is_not_used(store: LineageStore, cache: Path, proven: list[str]):
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    assert is_the_ledger(store) and is_the_ledger(store)
    assert len(proven) == 8 and not list(cache.iterdir())


def test_a_link_in_the_place_of_an_index_is_replaced_and_not_followed(store: LineageStore, cache: Path, tmp_path: Path):
    index.read(store)
    place = only_file(cache)
    theirs = place.rename(tmp_path / "theirs.db")
    before = theirs.read_bytes()
    place.symlink_to(theirs)
    lineage_factory.grow(store, outcome=PROMOTED)
    assert is_the_ledger(store)
    assert theirs.read_bytes() == before and not place.is_symlink()


def test_while_another_process_holds_the_index_the_answers_are_the_same(
    store: LineageStore, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    index.read(store)
    monkeypatch.setattr(index_file, "WAIT_SECONDS", 0.0)
    other = sqlite3.connect(only_file(cache), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    lineage_factory.grow(store, outcome=PROMOTED)
    assert is_the_ledger(store)
    other.execute("ROLLBACK")
    other.close()
    assert is_the_ledger(store)


KILLED = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE records SET hash = 'half', outline = randomblob(200000)")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_writer_killed_in_the_middle_leaves_nothing_wrong(store: LineageStore, cache: Path, proven: list[str]):
    index.read(store)
    proven.clear()
    ended = subprocess.run([sys.executable, "-c", KILLED, str(only_file(cache))], check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL and len(list(cache.iterdir())) == 2
    assert is_the_ledger(store) and not proven


def test_a_commit_opens_one_record_however_long_the_ledger_is(tmp_path: Path):
    (tmp_path / "ledger").mkdir()
    ledger = Ledger(tmp_path)
    for number in range(6):
        with opened_files(ledger.folder) as opened:
            ledger.append(toy_generation(number, {}), ANNOTATIONS)
        assert len([path for path in opened if path.endswith(".json")]) == min(number, 1)
