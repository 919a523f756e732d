"""An import or export that is killed, or whose disk fails, at any operation leaves nothing that a reader could see."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.copies import contents, lineage
from support.store_doubles import FailingFiles, Killed, KilledFiles, UnsyncedFiles

from bootstrap.cli.import_lineage import import_whole
from bootstrap.cli.stores import lineages
from bootstrap.errors import StoreError
from bootstrap.store import durable
from bootstrap.store.archive import parts_of_archive
from bootstrap.store.copies import list_of
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.transfer import Transfer, export_lineage, import_lineage
from bootstrap.store.verify import verify

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy")
    export_lineage(lineage(folder / "store", plan=()), folder / "a.tar", {})
    return folder / "a.tar"


def taken(copy: Path, store: Path, files: durable.Files) -> Transfer:
    return import_lineage(copy, store, lambda *_: None, files=files)


def kills(copy: Path, folder: Path) -> Iterator[Path]:
    """Import with the process killed at operation N, for N = 0, 1, ... until it lives to the end; yield each store."""
    for at in range(10_000):
        files, store = KilledFiles(at=at), folder / f"{at}"
        try:
            taken(copy, store, files)
        except Killed:
            yield store
        else:
            assert at > 50, "most operations are the import's own"
            return


def test_a_killed_import_is_absent_or_complete_and_the_next_one_tidies_up(copy: Path, tmp_path: Path) -> None:
    complete = 0
    for store in kills(copy, tmp_path):
        found = lineages(store) if store.exists() else []
        assert found in ([], ["addition"])
        if found:
            assert verify(store / "addition").is_clean
            complete += 1
        assert taken(copy, store, UnsyncedFiles()).is_new is not bool(found)
        assert [path.name for path in store.iterdir()] == ["addition"]
        assert verify(store / "addition").is_clean
    assert complete < 5, "only what follows the renaming may die after it"


@pytest.mark.parametrize("persistent", [False, True])
def test_a_full_disk_ends_an_import_with_one_error_and_leaves_the_store_as_it_was(
    copy: Path, tmp_path: Path, persistent: bool
) -> None:
    for at in range(10_000):
        files, store = FailingFiles(at=at, code=errno.ENOSPC, persistent=persistent), tmp_path / f"{at}"
        try:
            taken(copy, store, files)
        except StoreError as error:
            assert "no space is left on the disk" in str(error)
            assert not store.exists() or lineages(store) in ([], ["addition"])
            assert not (store / "addition").exists() or verify(store / "addition").is_clean
            taken(copy, store, UnsyncedFiles())
            assert [path.name for path in store.iterdir()] == ["addition"]
        if not files.has_failed:
            return
    raise AssertionError("it never came to an end")


def test_what_another_lineages_killed_import_left_goes_with_the_next_import(copy: Path, tmp_path: Path) -> None:
    left = tmp_path / "store" / ".tmp-import-another"
    (left / "ledger").mkdir(parents=True)
    (left / "lineage.json").write_text("{}")
    assert lineages(tmp_path / "store") == []
    import_whole(copy, tmp_path / "store")
    assert lineages(tmp_path / "store") == ["addition"] and not left.exists()


def test_a_killed_export_leaves_no_file_under_the_name(tmp_path: Path) -> None:
    store = lineage(tmp_path / "store", plan=())
    listed = list_of(store, store.ledger.read(), {})
    for at in range(10_000):
        target = tmp_path / f"{at}.tar"
        try:
            durable.create_from(target, parts_of_archive(listed, store.root, {}), files=KilledFiles(at=at))
        except Killed:
            if target.exists():
                taken(target, tmp_path / f"{at}", UnsyncedFiles())
        else:
            break
    assert at > 20


def test_a_file_that_changes_during_the_export_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = lineage(tmp_path / "store", plan=())
    victim = next(store.root.rglob("model.safetensors"))
    before, made = contents(tmp_path), list_of

    def changed(*arguments: object) -> object:
        listed = made(*arguments)
        victim.chmod(0o644)
        victim.write_bytes(bytes(victim.stat().st_size))
        return listed

    monkeypatch.setattr("bootstrap.store.transfer.list_of", changed)
    for name in ("a.tar", "a"):
        with pytest.raises(StoreError, match=r"model\.safetensors is not as listed.*something writes to the store"):
            export_lineage(LineageStore(store.root), tmp_path / name, {})
        victim.write_bytes(before[victim.relative_to(tmp_path).as_posix()])
    assert contents(tmp_path) == before
