"""Stores that a stranger made: what no reader expects is refused by its name, and nothing is followed, awaited or run.

Copies of lineages, before they are imported: test_hostile_copies.py. All commands: test_hostile_walk.py. Bytes of any
form: tests/property and tests/fuzz.
"""

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.copies import lineage, rewrite
from support.lineage_factory import PROMOTED

from bootstrap import reading
from bootstrap.bench.lineage import opened_files
from bootstrap.canonical import canonical_json, digest_of
from bootstrap.cli.main import main
from bootstrap.errors import StoreCorrupt, StoreError
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.lock import lineage_lock
from bootstrap.store.verify import verify


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lineage(tmp_path_factory.mktemp("sound"), plan=(PROMOTED,)).root


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    """The folder of a lineage, to be spoiled."""
    shutil.copytree(sound, tmp_path / "store" / "addition")
    return tmp_path / "store" / "addition"


def one(root: Path, pattern: str) -> Path:
    return sorted(root.glob(pattern))[0]


def a_link(path: Path) -> None:
    """Replace a file or folder by a link to a sound copy of it outside the store."""
    outside = next(parent for parent in path.parents if parent.name == "store").parent / f"outside-{path.name}"
    path.rename(outside)
    path.symlink_to(outside)


def a_pipe(path: Path) -> None:
    remove(path)
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    remove(path)
    here = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def a_folder(path: Path) -> None:
    remove(path)
    path.mkdir()


def a_device(path: Path) -> None:
    """A link to one: only root can make a device, and a link is refused before it is looked behind."""
    remove(path)
    path.symlink_to("/dev/zero")


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


PLACES = {
    "the header": "lineage.json",
    "a record": "ledger/000001.json",
    "a manifest": "artifacts/weights-*/manifest.json",
    "weights": "artifacts/weights-*/model.safetensors",
    "a table": "artifacts/evaluation-*/outcomes.parquet",
}
FOLDERS = {"the ledger": "ledger", "the artifacts": "artifacts", "an artifact": "artifacts/evaluation-*"}
KINDS = {"symbolic link": a_link, "pipe": a_pipe, "socket": a_socket, "folder": a_folder, "symbolic link to": a_device}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_regular_file_is_one_problem(
    root: Path, place: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = one(root, PLACES[place])
    KINDS[kind](path)
    assert main(["verify", "--store", str(root.parent)]) == 3
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    told = [problem for problem in verify(root).problems if "where a regular file is needed" in problem.message]
    assert len(told) == 1 and str(path) in told[0].message and f"is a {kind.removesuffix(' to')}" in told[0].message


@pytest.mark.parametrize("place", FOLDERS)
@pytest.mark.parametrize("make", [a_link, a_pipe])
def test_a_folder_that_is_none_is_a_problem(root: Path, place: str, make: Callable[[Path], None]) -> None:
    path = one(root, FOLDERS[place])
    make(path)
    told = [problem.message for problem in verify(root).problems]
    assert any(str(path) in message and "where a folder is needed" in message for message in told), told


def test_the_store_may_be_a_link_and_a_lineage_in_it_may_not(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (named := root.parent.with_name("named")).symlink_to(root.parent)
    assert main(["verify", "--store", str(named)]) == 0
    elsewhere = root.parent.with_name("elsewhere")
    root.rename(elsewhere)
    root.symlink_to(elsewhere)
    capsys.readouterr()
    assert main(["verify", "--store", str(root.parent)]) == 3
    said = capsys.readouterr().out
    assert f"{root} is a symbolic link" in " ".join(said.split()) and ": 1 problem" in said


def test_nothing_is_written_through_a_link(root: Path) -> None:
    victim = root.parent.parent / "victim"
    victim.write_bytes(b"mine")
    (root / "LOCK").unlink(missing_ok=True)
    (root / "LOCK").symlink_to(victim)
    with pytest.raises(StoreCorrupt, match="is no regular file"), lineage_lock(root):
        pass
    assert victim.read_bytes() == b"mine"
    (root / "LOCK").unlink()
    outside = root.parent.parent / "outside"
    (root / "work").rename(outside)
    (root / "work").symlink_to(outside)
    (outside / ".tmp-kept").write_bytes(b"mine")
    with pytest.raises(StoreCorrupt, match="is a symbolic link"):
        LineageStore(root).sweep()
    assert (outside / ".tmp-kept").read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["lineage.json", "ledger/000001.json", "artifacts/weights-*/manifest.json"])
def test_a_file_larger_than_its_kind_is_not_read(root: Path, name: str) -> None:
    path = one(root, name)
    path.chmod(0o644)
    os.truncate(path, reading.MAX_JSON_BYTES + 1)
    assert any("more than the" in problem.message for problem in verify(root).problems)


def test_weights_of_a_terabyte_of_nothing_are__and_never_held(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = one(root, "artifacts/weights-*/model.safetensors")
    path.chmod(0o644)
    os.truncate(path, 1 << 40)
    assert any("expected" in problem.message for problem in verify(root).problems)
    monkeypatch.setattr(reading, "total_memory", lambda: 1 << 30)
    with pytest.raises(StoreError, match="more than this machine has memory for"):
        reading.Root(root).read(path.relative_to(root).as_posix(), most=reading.MAX_BYTES)


DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize("name", ["lineage.json", "ledger/000001.json", "artifacts/weights-*/manifest.json"])
@pytest.mark.parametrize("data", [DEEP, b'{"a":' * 100_000, b"[" * 500 + b"]" * 500, b'{"a": ' + b"9" * 10**6 + b"}"])
def test_deep_and_huge_json_is_one_problem(root: Path, name: str, data: bytes) -> None:
    path = one(root, name)
    rewrite(path, data)
    problems = [problem for problem in verify(root).problems if str(path) in problem.message]
    assert len(problems) == 1
    assert "nested" in problems[0].message or "digits" in problems[0].message or "Expecting" in problems[0].message


def test_parsing_refuses_what_no_record_has() -> None:
    assert reading.parsed(b'{"a": [1, 2.5, null, {"b": "\\u0000"}]}') == {"a": [1, 2.5, None, {"b": "\0"}]}
    for data in (b'{"a": 1, "a": 2}', b"[NaN]", b"[-Infinity]", b"[1e999]", b"9" * 41, DEEP, b"\xff", b""):
        with pytest.raises(ValueError):
            reading.parsed(data)
    assert reading.parsed(b'{"a": 1, "a": NaN}', strict=False)["a"] != 0
    deepest = b"[" * reading.MAX_DEPTH + b"]" * reading.MAX_DEPTH
    assert reading.parsed(b'["' + b"[" * 500 + b'"]') and reading.parsed(deepest)


def edge(place: str) -> Callable[[dict[str, Any]], None]:
    def change(payload: dict[str, Any]) -> None:
        made = {"role": "init", "generation": None, "external": place, "record": "0" * 64, "fingerprint": "f" * 64}
        payload.update(edges=[made])

    return change


@pytest.mark.parametrize("above", ["../outside/secret", "/{outside}/secret", "..", ".", "a\0b", "\ud800", "../secret"])
def test_an_edge_that_leads_out_of_the_store_opens_nothing(root: Path, tmp_path: Path, above: str) -> None:
    outside = tmp_path / "outside" / "secret"
    shutil.copytree(root, outside)
    shutil.copytree(root, tmp_path / "secret")
    path = max((root / "ledger").iterdir())
    for final in (root / "artifacts").glob("final-*"):
        shutil.rmtree(final)
    record = json.loads(path.read_bytes())
    edge(f"{above.format(outside=outside.parent)}@gen-1")(record["payload"])
    record["hash"] = digest_of({"payload": record["payload"], "previous": record["previous"]})
    rewrite(path, canonical_json(record))
    with opened_files(tmp_path) as opened:
        report = verify(root)
    assert not [name for name in opened if not name.startswith(f"{root}/")]
    assert len(report.unproven) == 1 and not report.problems


def test_links_of_the_hubs_cache_are_followed_and_no_others(tmp_path: Path) -> None:
    blob = "ab" * 20
    (snapshot := tmp_path / "models--a--b" / "snapshots" / "c0ffee").mkdir(parents=True)
    (blobs := tmp_path / "models--a--b" / "blobs").mkdir()
    (blobs / blob).write_bytes(b"{}")
    (snapshot / "config.json").symlink_to(f"../../blobs/{blob}")
    (snapshot / "original").mkdir()
    with reading.named_folder(snapshot) as folder:
        assert folder.contents(lambda name: True) == {"config.json": b"{}"}
    for target in ("../../blobs/../../../secret", str(blobs / blob), "../../../models--a--b/blobs/" + blob):
        (tmp_path / "secret").write_bytes(b"secret")
        (snapshot / "config.json").unlink()
        (snapshot / "config.json").symlink_to(target)
        with reading.named_folder(snapshot) as folder, pytest.raises(StoreCorrupt, match="is a symbolic link"):
            folder.contents(lambda name: True)
    # A blob that is itself a link leads nowhere either.
    (blobs / blob).unlink()
    (blobs / blob).symlink_to(tmp_path / "secret")
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to(f"../../blobs/{blob}")
    with reading.named_folder(snapshot) as folder, pytest.raises(StoreCorrupt, match="is a symbolic link"):
        folder.contents(lambda name: True)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a//b", "a/./b", "a\0", "\ud800", ""])
def test_a_name_that_leads_elsewhere_is_never_opened(root: Path, name: str) -> None:
    for work in (reading.Root(root).read, reading.Root(root).size):
        with pytest.raises(StoreCorrupt, match="names no file below a folder"):
            work(name)


def test_a_sound_store_is_clean(root: Path) -> None:
    assert verify(root).is_clean
