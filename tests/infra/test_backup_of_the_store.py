"""infra/store.py: a copy of a store that runs write to is whole, and goes back into an empty folder alone."""

import io
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from support.kubernetes import REPOSITORY
from support.lineage_factory import UNGATED, build, compare_finally, grow

from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.verify import verify

pytestmark = pytest.mark.slow

SCRIPT = REPOSITORY / "infra" / "store.py"
NAMES = ("first", "second")
COMMITS = 6
"""How many generations each lineage grows while a copy is made."""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    module = ModuleType("store")
    exec(compile(SCRIPT.read_text(), SCRIPT, "exec"), module.__dict__)
    return module


@pytest.fixture
def stores(tmp_path: Path) -> list[LineageStore]:
    """Two lineages with work in progress and an unfinished artifact each."""
    made = [LineageStore(tmp_path / "store" / name) for name in NAMES]
    for store in made:
        build(store.root, name=store.root.name)
        store.put_work("checkpoint", {}, {"weights": b"half"})
        (store.artifacts_folder / ".tmp-half").mkdir()
        (store.artifacts_folder / ".tmp-half" / "weights").write_bytes(b"half")
    return made


def growing(found: Iterable[Path], stores: list[LineageStore]) -> Iterator[Path]:
    """Pass on files, and commit to every lineage before each of the first ones."""
    for number, path in enumerate(found):
        if number < COMMITS:
            commit(stores)
        yield path


def commit(stores: list[LineageStore]) -> None:
    for store in stores:
        grow(store, outcome=UNGATED, name=store.root.name)
        compare_finally(store)


def test_a_copy_of_a_growing_store_is_whole_up_to_its_newest_record(
    script: ModuleType, stores: list[LineageStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before = {store.root.name: store.ledger.read() for store in stores}
    for store in stores:
        compare_finally(store)
    found, glob = script.files, Path.glob

    def glob_and_commit(path: Path, pattern: str) -> list[Path]:
        listed = list(glob(path, pattern))
        commit(stores)
        return listed

    monkeypatch.setattr(script, "files", lambda root: growing(found(root), stores))
    archive = io.BytesIO()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "glob", glob_and_commit)
        script.save(tmp_path / "store", archive)
    archive.seek(0)
    script.load(tmp_path / "copy", archive)
    for store in stores:
        name = store.root.name
        copied, grown = LineageStore(tmp_path / "copy" / name).ledger.read(), store.ledger.read()
        assert len(grown) == len(before[name]) + 2 + COMMITS
        assert copied == grown[: len(before[name]) + 1], "what was committed when the ledgers were listed, no later one"
        report = verify(tmp_path / "copy" / name)
        assert report.problems == () and report.unreferenced, "later artifacts came along, and no record names them"


@pytest.mark.parametrize("last", ["ledger", "artifacts"])
def test_a_copy_in_another_order_is_broken(
    last: str, script: ModuleType, stores: list[LineageStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What the order is for: ledgers after artifacts lack these, final comparisons after ledgers lack those."""
    folders = {"ledger": ("artifacts", "ledger"), "artifacts": ("ledger", "artifacts")}[last]

    def naive(root: Path) -> Iterator[Path]:
        for folder in ("lineage.json", *folders):
            yield from [path for name in NAMES for path in below(root / name / folder)]

    monkeypatch.setattr(script, "files", lambda root: growing(naive(root), stores))
    archive = io.BytesIO()
    script.save(tmp_path / "store", archive)
    archive.seek(0)
    script.load(tmp_path / "copy", archive)
    assert any(verify(tmp_path / "copy" / name).problems for name in NAMES)


def below(path: Path) -> Iterator[Path]:
    return iter([path]) if path.is_file() else (one for one in path.rglob("*") if one.is_file())


def test_the_archive_holds_what_is_finished_and_each_file_once(
    script: ModuleType, stores: list[LineageStore], tmp_path: Path
):
    compare_finally(stores[0])
    archive = io.BytesIO()
    count = script.save(tmp_path / "store", archive)
    archive.seek(0)
    with tarfile.open(fileobj=archive) as tar:
        names = tar.getnames()
    assert len(names) == len(set(names)) == count
    expected = {
        path.relative_to(tmp_path / "store").as_posix()
        for path in below(tmp_path / "store")
        if "work" not in path.parts and ".tmp-half" not in path.parts
    }
    assert set(names) == expected and any("/final-" in name for name in names)


def test_a_file_that_has_gone_is_left_out(
    script: ModuleType, stores: list[LineageStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    found = list(script.files(tmp_path / "store"))
    monkeypatch.setattr(script, "files", lambda root: [tmp_path / "store" / "gone", *found])
    assert script.save(tmp_path / "store", io.BytesIO()) == len(found)


def run(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-I", "-c", SCRIPT.read_text(), *words]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=60)


def test_the_commands_of_the_readme_copy_a_store_and_refuse_one_that_is_not_empty(
    stores: list[LineageStore], tmp_path: Path
):
    saved = run("save", str(tmp_path / "store"))
    assert saved.returncode == 0, saved.stderr
    loaded = run("load", str(tmp_path / "copy"), stdin=saved.stdout)
    assert loaded.returncode == 0, loaded.stderr
    for store in stores:
        copied = LineageStore(tmp_path / "copy" / store.root.name)
        assert copied.ledger.read() == store.ledger.read() and verify(copied.root).problems == ()
    again = run("load", str(tmp_path / "copy"), stdin=saved.stdout)
    assert again.returncode == 1 and b"is not empty" in again.stderr
    assert run("copy").returncode == 1
