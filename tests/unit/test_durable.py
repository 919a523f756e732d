"""The durable writer: complete or absent, one clear error, no name that leads elsewhere."""

import errno
import os
from pathlib import Path

import pytest
from support.store_doubles import FailingFiles

from bootstrap.errors import StoreError
from bootstrap.store import durable


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_written_file_replaces_the_old_one_and_leaves_nothing_else(tmp_path: Path):
    durable.write_file(tmp_path / "a", b"old")
    durable.write_file(tmp_path / "a", b"new content")
    assert (tmp_path / "a").read_bytes() == b"new content"
    assert names(tmp_path) == ["a"]


def test_outside_these_tests_a_sync_is_the_systems_own():
    assert durable.Files.fsync is os.fsync and "fsync" in vars(durable.OS)


def test_an_empty_file_and_a_large_one_are_written_whole(tmp_path: Path):
    large = bytes(range(256)) * 40_000
    durable.write_file(tmp_path / "empty", b"")
    durable.write_file(tmp_path / "large", large)
    assert (tmp_path / "empty").read_bytes() == b""
    assert (tmp_path / "large").read_bytes() == large


def test_a_write_that_the_system_cuts_short_is_continued(tmp_path: Path):
    class Stingy(durable.Files):
        def write(self, descriptor: int, data: memoryview) -> int:
            return super().write(descriptor, data[:3])

    durable.write_file(tmp_path / "a", b"0123456789", files=Stingy())
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def test_exclusive_creation_refuses_an_existing_file_and_keeps_it(tmp_path: Path):
    durable.create_exclusively(tmp_path / "a", b"first")
    with pytest.raises(FileExistsError):
        durable.create_exclusively(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first"
    assert names(tmp_path) == ["a"]


def test_an_exclusively_created_file_is_read_only(tmp_path: Path):
    durable.create_exclusively(tmp_path / "a", b"first")
    assert (tmp_path / "a").stat().st_mode & 0o222 == 0


def test_a_folder_appears_whole_with_its_subfolder(tmp_path: Path):
    assert durable.write_folder(tmp_path / "f", {"b": b"2", "model/config.json": b"{}", "model/weights": b"w"})
    assert (tmp_path / "f/b").read_bytes() == b"2"
    assert (tmp_path / "f/model/config.json").read_bytes() == b"{}"
    assert names(tmp_path / "f/model") == ["config.json", "weights"]
    assert names(tmp_path) == ["f"]


def test_a_folder_that_stands_there_stays_as_it_is(tmp_path: Path):
    durable.write_folder(tmp_path / "f", {"a": b"1"})
    assert not durable.write_folder(tmp_path / "f", {"a": b"2", "b": b"3"})
    assert (tmp_path / "f/a").read_bytes() == b"1"
    assert names(tmp_path / "f") == ["a"]
    assert names(tmp_path) == ["f"]


def test_a_folder_finished_by_another_process_meanwhile_stays_as_it_is(tmp_path: Path):
    class Overtaken(durable.Files):
        def rename(self, source: Path, target: Path) -> None:
            durable.write_folder(target, {"a": b"theirs"})
            super().rename(source, target)

    assert not durable.write_folder(tmp_path / "f", {"a": b"ours"}, files=Overtaken())
    assert (tmp_path / "f/a").read_bytes() == b"theirs"
    assert names(tmp_path) == ["f"]


def test_an_empty_folder_may_be_filled(tmp_path: Path):
    (tmp_path / "f").mkdir()
    assert durable.write_folder(tmp_path / "f", {"a": b"1"})
    assert names(tmp_path / "f") == ["a"]


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "a/b/c", "", ".", "a//b", "a\\b", "a\0b", ".tmp-x"])
def test_a_name_that_leads_elsewhere_is_refused_and_nothing_is_written(tmp_path: Path, name: str):
    with pytest.raises(StoreError, match="cannot name a stored file"):
        durable.write_folder(tmp_path / "f", {"good": b"1", name: b"2"})
    assert names(tmp_path) == []


def test_a_removed_folder_is_gone_and_removing_it_again_is_no_error(tmp_path: Path):
    durable.write_folder(tmp_path / "f", {"a": b"1", "s/b": b"2"}, mode=durable.READ_ONLY)
    durable.remove_folder(tmp_path / "f")
    durable.remove_folder(tmp_path / "f")
    assert names(tmp_path) == []


def test_removing_a_folder_does_not_follow_links_out_of_it(tmp_path: Path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").write_bytes(b"1")
    durable.write_folder(tmp_path / "f", {"a": b"1"})
    (tmp_path / "f/link").symlink_to(tmp_path / "outside")
    durable.remove_folder(tmp_path / "f")
    assert names(tmp_path / "outside") == ["kept"]


def test_a_removal_that_stops_half_way_leaves_no_half_folder_under_its_name(tmp_path: Path):
    durable.write_folder(tmp_path / "f", {"a": b"1", "b": b"2"})
    # rename, three for the folder's sync, then the first unlink.
    with pytest.raises(StoreError):
        durable.remove_folder(tmp_path / "f", files=FailingFiles(at=5, code=errno.EIO))
    assert not (tmp_path / "f").exists()
    assert durable.sweep(tmp_path) == 1
    assert names(tmp_path) == []


def test_a_sweep_removes_leftovers_and_nothing_else(tmp_path: Path):
    (tmp_path / ".tmp-0123").write_bytes(b"torn")
    (tmp_path / ".tmp-4567").mkdir()
    (tmp_path / ".tmp-4567/x").write_bytes(b"staged")
    durable.write_file(tmp_path / "a", b"1")
    assert durable.sweep(tmp_path) == 2
    assert names(tmp_path) == ["a"]


def test_a_removed_file_is_gone_and_removing_it_again_is_no_error(tmp_path: Path):
    durable.write_file(tmp_path / "a", b"1")
    durable.remove_file(tmp_path / "a")
    durable.remove_file(tmp_path / "a")
    assert names(tmp_path) == []


def test_a_folder_is_made_with_its_ancestors_and_making_it_again_is_no_error(tmp_path: Path):
    durable.make_folder(tmp_path / "a/b/c")
    durable.make_folder(tmp_path / "a/b/c")
    assert (tmp_path / "a/b/c").is_dir()


def test_a_file_where_a_folder_is_needed_is_one_clear_error(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(StoreError, match="a file stands where a folder is needed"):
        durable.make_folder(tmp_path / "a")
    with pytest.raises(StoreError, match="a file stands where a folder is needed"):
        durable.make_folder(tmp_path / "a/b")


def test_a_missing_folder_is_one_clear_error_naming_path_and_remedy(tmp_path: Path):
    with pytest.raises(StoreError) as caught:
        durable.write_file(tmp_path / "missing" / "a", b"1")
    assert str(tmp_path / "missing" / "a") in str(caught.value)
    assert "--store" in str(caught.value)


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission"),
        (errno.EIO, "check the disk"),
    ],
)
def test_each_failing_system_call_is_one_clear_error_and_leaves_nothing_half_written(
    tmp_path: Path, code: int, remedy: str
):
    for at in range(6):
        files = FailingFiles(at=at, code=code)
        with pytest.raises(StoreError) as caught:
            durable.write_file(tmp_path / "a", b"content", files=files)
        assert remedy in str(caught.value)
        assert "--store" in str(caught.value)
        assert str(tmp_path / "a") in str(caught.value)
        assert names(tmp_path) in ([], ["a"])
        assert not (tmp_path / "a").exists() or (tmp_path / "a").read_bytes() == b"content"


def test_no_descriptor_stays_open_after_a_failure(tmp_path: Path):
    before = len(os.listdir("/proc/self/fd"))
    for at in range(12):
        files = FailingFiles(at=at, code=errno.EIO)
        with pytest.raises(StoreError):
            durable.write_folder(tmp_path / f"f{at}", {"a": b"1", "s/b": b"2"}, files=files)
    assert len(os.listdir("/proc/self/fd")) == before
