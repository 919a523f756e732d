"""Copies of lineages that a stranger made: every change is refused by the file's name, and nothing is left behind."""

import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.copies import contents, forge, is_untouched, lineage, relist, rewrite, tar_of
from support.lineage_factory import PROMOTED

from bootstrap.canonical import canonical_json, digest_of, sha256
from bootstrap.cli.main import main
from bootstrap.store import copies
from bootstrap.store.copies import BESIDE, LIST_NAME

ODD_TYPES = {
    "a symbolic link": tarfile.SYMTYPE,
    "a hard link": tarfile.LNKTYPE,
    "a character device": tarfile.CHRTYPE,
    "a block device": tarfile.BLKTYPE,
    "a pipe": tarfile.FIFOTYPE,
    "a folder": tarfile.DIRTYPE,
    "a contiguous file": tarfile.CONTTYPE,
    "a sparse file": tarfile.GNUTYPE_SPARSE,
    "a long name": tarfile.GNUTYPE_LONGNAME,
    "a long link": tarfile.GNUTYPE_LONGLINK,
    "an extended header": tarfile.XHDTYPE,
    "a global header": tarfile.XGLTYPE,
    "an unknown type": b"Z",
}
PRINT = {"fingerprint": "f" * 64}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sound copy, as `copy` and as `copy.tar`."""
    folder = tmp_path_factory.mktemp("sound")
    lineage(folder / "store", plan=(PROMOTED,))
    for form in ("copy", "copy.tar"):
        words = ["export", "--lineage", "addition", str(folder / form), "--store", str(folder / "store")]
        assert main(words) == 0
    return folder


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Path:
    """A copy in a folder, to be changed."""
    for name, data in contents(sound / "copy").items():
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / name).write_bytes(data)
    return tmp_path / "copy"


@pytest.fixture
def refusal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[Path], str]:
    """Import a copy into an empty store, see that it is refused without a trace, and return the message."""

    def told(place: Path) -> str:
        beside = {path for path in tmp_path.rglob("*") if "store" not in path.relative_to(tmp_path).parts}
        capsys.readouterr()
        assert main(["import", str(place), "--store", str(tmp_path / "store")]) == 3
        assert is_untouched(tmp_path / "store")
        assert {path for path in tmp_path.rglob("*") if "store" not in path.relative_to(tmp_path).parts} == beside
        said = capsys.readouterr()
        assert said.out == "" and said.err.startswith("error: ") and "Traceback" not in said.err
        assert len(said.err) < 2500 and said.err.removesuffix("\n").isprintable()
        return said.err

    return told


def members(copy: Path) -> list[tuple[Any, bytes]]:
    """Return what the tar file of a copy consists of, the list first."""
    found = contents(copy)
    names = [LIST_NAME, *sorted(found.keys() - {LIST_NAME})]
    return [(f"addition/{name}", found[name]) for name in names]


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.slow
def test_a_flipped_bit_in_any_file_is_refused_by_its_name(copy: Path, refusal: Callable[[Path], str]) -> None:
    found = contents(copy)
    assert len(found) > 35
    for name in sorted(found.keys() - {LIST_NAME}):
        rewrite(copy / name, flipped(found[name]))
        assert f"{name} is not as listed: expected SHA-256" in refusal(copy)
        rewrite(copy / name, found[name])


@pytest.mark.slow
def test_a_flipped_bit_in_the_list_is_refused(copy: Path, refusal: Callable[[Path], str]) -> None:
    data = (copy / LIST_NAME).read_bytes()
    for place in range(0, len(data), 97):
        rewrite(copy / LIST_NAME, data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert refusal(copy)


@pytest.mark.slow
def test_a_changed_file_is_refused_although_the_list_agrees(copy: Path, refusal: Callable[[Path], str]) -> None:
    """The list proves the way, the ledger the lineage: all but what lies outside the hashes is refused."""
    found = contents(copy)
    checked = 0
    for name in sorted(found.keys() - {LIST_NAME, *BESIDE}):
        data = found[name]
        if name.startswith("ledger/"):
            data = data.replace(b'"seed":7', b'"seed":8')
        elif name == "lineage.json":
            data = data.replace(b'"base_level":4', b'"base_level":5')
        else:
            data = flipped(data)
        assert data != found[name]
        rewrite(copy / name, data)
        relist(copy)
        told = refusal(copy)
        assert name in told, f"{name}: {told}"
        rewrite(copy / name, found[name])
        checked += 1
    assert checked > 35


@pytest.mark.slow
def test_a_lost_file_is_refused_by_its_name_whatever_the_list_says(copy: Path, refusal: Callable[[Path], str]) -> None:
    found = contents(copy)
    for name in sorted(found.keys() - {LIST_NAME, *BESIDE}):
        (copy / name).unlink()
        assert f"{name} is missing" in refusal(copy)
        relist(copy)
        told = refusal(copy)
        # Without its last record the ledger is a shorter one, and what hung on the record hangs on nothing.
        assert name in told or name == "lineage.json" or name == "ledger/000001.json", f"{name}: {told}"
        rewritten = copy / name
        rewritten.write_bytes(found[name])
        rewrite(copy / LIST_NAME, found[LIST_NAME])


@pytest.mark.parametrize("name", ["notes.txt", "ledger/LOCK", "LOCK", "tracking.json", "artifacts/x/y", "a/b/c/d/e"])
def test_a_file_that_no_lineage_has_is_refused(copy: Path, name: str, refusal: Callable[[Path], str]) -> None:
    (copy / name).parent.mkdir(parents=True, exist_ok=True)
    (copy / name).write_bytes(b"{}")
    assert re.search("does not list|is no folder of a lineage", refusal(copy))
    relist(copy)
    assert re.search("is no file of a lineage|is no folder of a lineage", refusal(copy))


def test_a_sound_artifact_that_no_record_names_is_refused(copy: Path, refusal: Callable[[Path], str]) -> None:
    from bootstrap.store.artifacts import put_artifact

    put_artifact(copy / "artifacts", "step", {"of": "nobody"}, {"payload.bin": b"anything"})
    relist(copy)
    assert "which no record of the lineage names" in refusal(copy)


@pytest.mark.parametrize("kind", ODD_TYPES)
@pytest.mark.parametrize("place", ["first", "last"])
def test_a_member_that_is_no_plain_file_is_refused(
    copy: Path, tmp_path: Path, kind: str, place: str, refusal: Callable[[Path], str]
) -> None:
    name = next(name for name in contents(copy) if name.startswith("ledger/"))
    odd = tarfile.TarInfo(f"addition/{name}")
    odd.type, odd.linkname = ODD_TYPES[kind], "/etc/passwd"
    plain = [member for member in members(copy) if member[0] != odd.name]
    order = [(odd, b""), *plain] if place == "first" else [*plain, (odd, b"")]
    assert "a copy has plain files alone" in refusal(tar_of(tmp_path / "odd.tar", order))


@pytest.mark.parametrize(
    "name",
    [
        "/etc/cron.d/x",
        "../x",
        "addition/../../x",
        "addition/ledger/../../x",
        "addition/./x",
        "other/x",
        "x",
        "addition//etc/x",
        "addition/ledger/000000.json",
        "addition/\x1b[2J",
        "addition/artifacts/a\\b",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(
    copy: Path, tmp_path: Path, name: str, refusal: Callable[[Path], str]
) -> None:
    assert "it holds" in refusal(tar_of(tmp_path / "odd.tar", [*members(copy), (name, b"x")]))


@pytest.mark.parametrize(
    "name",
    [
        "/etc/x",
        "../x",
        "ledger/../x",
        "a/../../x",
        "ledger/000000.json/x",
        ".",
        "ledger/",
        "\x1b[2J",
        "a\\b",
        "\x00",
        "é",
        "artifacts/.tmp-1/x",
        "artifacts/weights-0123456789abcdef/.tmp-x",
        "artifacts/weights-0123456789abcdef/..",
    ],
)
def test_a_listed_name_that_leads_elsewhere_is_refused(
    copy: Path, tmp_path: Path, name: str, refusal: Callable[[Path], str]
) -> None:
    listed = json.loads((copy / LIST_NAME).read_bytes())
    listed["files"][name] = {"sha256": sha256(b"x"), "size": 1}
    head = (f"addition/{LIST_NAME}", canonical_json(listed))
    try:
        extra = [(f"addition/{name}", b"x")]
        place = tar_of(tmp_path / "odd.tar", [head, *members(copy)[1:], *extra])
    except ValueError:
        place = tar_of(tmp_path / "odd.tar", [head, *members(copy)[1:]])
    assert "which is no file of a lineage" in refusal(place)


def test_links_and_pipes_in_a_folder_are_refused_and_not_followed(copy: Path, refusal: Callable[[Path], str]) -> None:
    (secret := copy.parent / "secret").write_bytes((copy / "lineage.json").read_bytes())
    for name, make in (
        ("lineage.json", lambda path: path.symlink_to(secret)),
        ("lineage.json", os.mkfifo),
        ("ledger", lambda path: path.symlink_to(copy.parent / "moved")),
    ):
        (copy / name).rename(copy.parent / "moved")
        make(copy / name)
        assert f"{name!r} is a link or a device" in refusal(copy)
        (copy / name).unlink()
        (copy.parent / "moved").rename(copy / name)


def test_a_list_that_is_a_link_or_a_pipe_is_refused(copy: Path, refusal: Callable[[Path], str]) -> None:
    (copy / LIST_NAME).rename(copy.parent / "list")
    (copy / LIST_NAME).symlink_to(copy.parent / "list")
    assert "is a symbolic link" in refusal(copy)
    (copy / LIST_NAME).unlink()
    os.mkfifo(copy / LIST_NAME)
    assert "is a pipe" in refusal(copy)


def test_an_archive_that_ends_early_is_refused_wherever_it_ends(
    sound: Path, tmp_path: Path, refusal: Callable[[Path], str]
) -> None:
    data = (sound / "copy.tar").read_bytes()
    for length in [0, 1, 511, 512, 513, *range(1024, len(data) - 1024, 7_919)]:
        (tmp_path / "short.tar").write_bytes(data[:length])
        assert "is no sound copy of a lineage" in refusal(tmp_path / "short.tar")


def test_other_files_named_tar_are_refused(tmp_path: Path, refusal: Callable[[Path], str]) -> None:
    for data in (b"", b"PK\x03\x04" + bytes(2000), b"\x1f\x8b" + bytes(2000), b"x" * 5000, bytes(5000)):
        (tmp_path / "odd.tar").write_bytes(data)
        assert "is no sound copy of a lineage" in refusal(tmp_path / "odd.tar")
    tar_of(tmp_path / "odd.tar", [("addition/lineage.json", b"{}")])
    assert f"it does not begin with {LIST_NAME}" in refusal(tmp_path / "odd.tar")


def test_what_is_given_twice_or_in_another_size_is_refused(
    copy: Path, tmp_path: Path, refusal: Callable[[Path], str]
) -> None:
    found = members(copy)
    assert "twice" in refusal(tar_of(tmp_path / "odd.tar", [*found, found[3]]))
    longer = [*found[:-1], (found[-1][0], found[-1][1] + b"x")]
    assert f"has {len(longer[-1][1])} bytes" in refusal(tar_of(tmp_path / "odd.tar", longer))


def test_a_bomb_is_refused_before_it_takes_room(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Callable[[Path], str]
) -> None:
    listed = json.loads((copy / LIST_NAME).read_bytes())
    weights = next(name for name in listed["files"] if name.endswith("safetensors"))
    for name, size, told in (
        (weights, 2**60, "free some space"),
        ("lineage.json", copies.MAX_JSON_BYTES + 1, "more than the"),
        ("recipe.json", copies.MAX_BESIDE_BYTES + 1, "more than the"),
        (weights, -1, "greater than or equal to 0"),
        (weights, 10**30, "less than or equal to"),
        (weights, 10**400, "digits"),
    ):
        wrong = {**listed, "files": {**listed["files"], name: {"sha256": "0" * 64, "size": size}}}
        rewrite(copy / LIST_NAME, json.dumps(wrong).encode())
        assert told in refusal(copy)
    rewrite(copy / LIST_NAME, canonical_json(listed))
    monkeypatch.setattr("bootstrap.store.copies.MAX_FILES", 10)
    assert "more than 10" in refusal(copy)
    monkeypatch.setattr("bootstrap.store.archive.MAX_DOCUMENT_BYTES", 100)
    assert "more than the 100" in refusal(copy)
    assert "more than 100" in refusal(tar_of(tmp_path / "big.tar", members(copy)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"schema_version": 2}, "another version of this program"),
        ({"format": "bootstrap model"}, "announces no lineage: 'format'"),
        ({"lineage": "../addition"}, "announces no lineage: 'lineage'"),
        ({"lineage": ".tmp-x"}, "announces no lineage: 'lineage'"),
        ({"lineage": "another"}, "announces lineage another"),
        ({"head": "0" * 64}, "announces lineage addition that ends with the record 000"),
        ({"extra": 1}, "announces no lineage: 'extra'"),
        ({"head": "\x1b[2J"}, "announces no lineage: 'head'"),
    ],
)
def test_a_list_that_says_something_else_is_refused(
    copy: Path, change: dict[str, Any], told: str, refusal: Callable[[Path], str]
) -> None:
    relist(copy, **change)
    assert told in refusal(copy)


@pytest.mark.parametrize("name", ["lineage.json", "recipe.json", "ledger/000001.json", "manifest.json", LIST_NAME])
@pytest.mark.parametrize(
    "data", [b"[" * 200_000, b"{}", b"[]", b"3", b"\xff", b"", b'{"a":' * 50_000 + b"1", b"&a [*a]"]
)
def test_json_of_any_form_is_refused_in_words(
    copy: Path, name: str, data: bytes, refusal: Callable[[Path], str]
) -> None:
    path = next(copy.rglob(name)) if name == "manifest.json" else copy / name
    rewrite(path, data)
    if name != LIST_NAME:
        relist(copy)
    assert refusal(copy)


def edges_of(value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda payload: payload.update(edges=value)


@pytest.mark.parametrize(
    ("told", "change"),
    [
        ("its champion is generation 99", lambda payload: payload.update(champion=99)),
        ("its champion is generation -1", lambda payload: payload.update(champion=-1)),
        ("it holds generation 7", lambda payload: payload.update(number=7)),
        ("the record belongs to lineage another", lambda payload: payload.update(lineage="another")),
        ("is not iterable", lambda payload: payload.update(schema_version=3, edges=5)),
        ("valid dictionary or instance of Report", lambda payload: payload.update(schema_version=3, report=5)),
        ("was written with schema version 99", lambda payload: payload.update(schema_version=99)),
        ("the record names no weights", lambda payload: payload.update(artifacts={})),
        ("cannot name a stored file", lambda payload: payload["artifacts"]["weights"].update(path="../../../etc")),
        ("cannot name a stored file", lambda payload: payload["artifacts"]["weights"].update(path="/etc")),
        ("records 0000", lambda payload: payload.update(fingerprint="0" * 64)),
        ("does not reconcile", lambda payload: payload["accounting"].update(passed=10**6)),
        ("names generation -1, which is not earlier", edges_of([{"role": "init", "generation": -1, **PRINT}])),
        ("names generation 5, which is not earlier", edges_of([{"role": "init", "generation": 5, **PRINT}])),
        ("expects the fingerprint ffff", edges_of([{"role": "init", "generation": 0, **PRINT}])),
        ("valid dictionary or instance of Edge", edges_of([3])),
    ],
)
def test_a_record_whose_hash_is_right_and_whose_content_is_not_is_refused(
    copy: Path, told: str, change: Callable[[dict[str, Any]], None], refusal: Callable[[Path], str]
) -> None:
    forge(copy, change)
    said = refusal(copy)
    assert told in said and ".tmp-" not in said.replace("prefix .tmp-", "")


@pytest.mark.parametrize("origin", ["/etc@gen-0", "../sound@gen-0", f"x@gen-{'9' * 5000}", "\x1b[2J@gen-1"])
def test_an_origin_is_sought_in_the_store_alone(
    copy: Path, tmp_path: Path, origin: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edge = {"role": "init", "generation": None, "external": origin, "record": "a" * 64, "fingerprint": "f"}
    forge(copy, edges_of([edge]))
    assert main(["import", str(copy), "--store", str(tmp_path / "store")]) == 0
    said = capsys.readouterr().out
    assert "not proved: " in said and "\x1b" not in said


def test_a_recipe_of_another_lineage_is_refused(copy: Path, refusal: Callable[[Path], str]) -> None:
    stored = json.loads((copy / "recipe.json").read_bytes())
    for change, told in (
        ({"seed": 8}, "is the recipe of lineage addition with the digest"),
        ({"name": "another"}, "is the recipe of lineage another"),
        ({"seed": "x"}, "cannot be read"),
        ({"unknown": 1}, "cannot be read"),
    ):
        rewrite(copy / "recipe.json", canonical_json({**stored, "recipe": {**stored["recipe"], **change}}))
        relist(copy)
        assert told in refusal(copy)


def test_a_header_without_a_recipes_settings_is_refused(copy: Path, refusal: Callable[[Path], str]) -> None:
    (copy / "recipe.json").unlink()
    header = json.loads((copy / "lineage.json").read_bytes())
    header |= {"identity": {}, "digest": digest_of({})}
    rewrite(copy / "lineage.json", canonical_json(header))
    previous = "0" * 64
    for path in sorted((copy / "ledger").iterdir()):
        record = json.loads(path.read_bytes())
        record["payload"]["recipe_digest"], record["previous"] = header["digest"], previous
        record["hash"] = previous = digest_of({"payload": record["payload"], "previous": previous})
        rewrite(path, canonical_json(record))
    for final in (copy / "artifacts").glob("final-*"):
        shutil.rmtree(final)
    relist(copy, head=previous)
    assert "holds no recipe's settings" in refusal(copy)
