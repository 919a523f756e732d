"""A lineage leaves its store as one file or folder and is the same lineage in another one."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from support import lineage_factory
from support.copies import FORK, contents, fork, lineage, relist
from support.lineage_factory import PROMOTED, SETTINGS, build, grow

from bootstrap.cli.main import main
from bootstrap.cli.remembered import recall_recipe, remember_recipe
from bootstrap.cli.stores import lineages
from bootstrap.config.recipe import Recipe
from bootstrap.ledger_records import GenerationOutcome
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.lock import lineage_lock
from bootstrap.store.verify import verify

STORED = Path(__file__).parents[1] / "golden" / "stored"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    lineage(tmp_path / "here")
    return tmp_path / "here"


def run(*words: object) -> int:
    return main([str(word) for word in words])


def exported(store: Path, place: Path, name: str = "addition") -> Path:
    assert run("export", "--lineage", name, place, "--store", store) == 0
    return place


@pytest.mark.parametrize("form", ["copy.tar", "copy"])
def test_a_lineage_is_the_same_in_another_store(here: Path, tmp_path: Path, form: str) -> None:
    there = tmp_path / "there"
    copy = exported(here, tmp_path / form)
    assert run("import", copy, "--store", there) == 0
    before, after = contents(here / "addition"), contents(there / "addition")
    assert after.keys() == before.keys() | {"LOCK"}
    assert {name for name in before if before[name] != after[name]} == {"recipe.json"}
    assert verify(there / "addition").is_clean and not verify(there / "addition").unreferenced
    assert recall_recipe(LineageStore(there / "addition")) == recall_recipe(LineageStore(here / "addition"))
    assert json.loads(after["recipe.json"])["folder"] == str(there / "addition")


@pytest.mark.parametrize("form", [".tar", ""])
def test_the_copy_of_a_copy_has_the_same_bytes(here: Path, tmp_path: Path, form: str) -> None:
    first = exported(here, tmp_path / f"first{form}")
    assert run("import", first, "--store", tmp_path / "there") == 0
    second = exported(tmp_path / "there", tmp_path / f"second{form}")
    if form:
        assert first.read_bytes() == second.read_bytes()
    else:
        assert contents(first) == contents(second)


def test_freed_weights_stay_freed_in_a_copy_which_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "here" / "addition"
    build(store, plan=(PROMOTED, PROMOTED, PROMOTED))
    assert run("gc", "--keep", "champion", "--yes", "--store", tmp_path / "here") == 0
    copy = exported(tmp_path / "here", tmp_path / "a.tar")
    assert run("import", copy, "--store", tmp_path / "there") == 0
    assert "were freed: they are not in the copy" in "".join(capsys.readouterr())
    report = verify(tmp_path / "there" / "addition")
    assert report.is_clean and report.freed == verify(store).freed != ()


@pytest.mark.parametrize("form", ["full.tar", "full"])
def test_a_full_copy_gives_weights_back_that_were_freed(
    tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "here"
    build(here / "addition", plan=(PROMOTED, PROMOTED, PROMOTED))
    full = exported(here, tmp_path / form)
    assert run("gc", "--keep", "champion", "--yes", "--store", here) == 0
    before = contents(here)
    capsys.readouterr()
    assert run("import", full, "--store", here) == 3
    told = capsys.readouterr().err
    assert "the copy has weights that were freed there" in told and "another store" not in told
    assert contents(here) == before
    commands = told.split("`")[1::2]
    if form.endswith(".tar"):
        subprocess.run(commands.pop(0), shell=True, check=True, cwd=tmp_path, timeout=60)
    [restore] = commands
    words = [str(tmp_path / "DIR") if word == "DIR" else word for word in shlex.split(restore)]
    assert words[0] == "bootstrap" and run(*words[1:]) == 0
    assert verify(here / "addition").freed == ()
    assert run("import", full, "--store", here) == 0


def test_a_copy_that_lacks_freed_weights_alone_holds_nothing_new(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "here"
    build(here / "addition", plan=(PROMOTED, PROMOTED, PROMOTED))
    shutil.copytree(here, tmp_path / "full")
    assert run("gc", "--keep", "champion", "--yes", "--store", here) == 0
    copy = exported(here, tmp_path / "lean")
    assert run("import", copy, "--store", tmp_path / "full") == 0
    assert "nothing is changed" in capsys.readouterr().out
    # Without its mark, a weights file is missing, not freed.
    for mark in (copy / "artifacts").glob("*/freed.json"):
        mark.unlink()
    relist(copy)
    assert run("import", copy, "--store", tmp_path / "full") == 3
    assert "is in one of both alone" in capsys.readouterr().err


def test_the_file_unpacks_to_the_folder_and_the_folder_is_a_copy_too(here: Path, tmp_path: Path) -> None:
    with tarfile.open(exported(here, tmp_path / "a.tar")) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    assert contents(tmp_path / "unpacked" / "addition") == contents(exported(here, tmp_path / "folder"))
    assert run("import", tmp_path / "unpacked" / "addition", "--store", tmp_path / "there") == 0


def test_a_copy_says_nothing_of_the_machine_that_it_comes_from(here: Path, tmp_path: Path) -> None:
    (here / "addition" / "tracking.json").write_text('{"uri": "https://mlflow.example"}')
    (here / "addition" / "outbox").mkdir()
    (here / "addition" / "outbox" / "receipt.json").write_text("{}")
    with lineage_lock(here / "addition"):
        copy = exported(here, tmp_path / "copy")
    found = contents(copy)
    assert {name.partition("/")[0] for name in found} == {
        "artifacts", "copy.json", "ledger", "limits.json", "lineage.json", "recipe.json"
    }  # fmt: skip
    assert not [name for name, data in found.items() if str(tmp_path).encode() in data]


def test_artifacts_that_no_record_names_stay_at_home(here: Path, tmp_path: Path) -> None:
    LineageStore(here / "addition").put("step", {"unfinished": True}, {"updates.parquet": b"half"})
    copy = exported(here, tmp_path / "copy")
    assert b"half" not in contents(copy).values()


def test_an_imported_lineage_answers_every_command(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "there"
    assert run("import", exported(here, tmp_path / "a.tar"), "--store", there) == 0
    told = {}
    for store in (here, there):
        said = []
        for words in (["lineage", "--json"], ["show", "champion", "--json"], ["export", "--as", "json"]):
            capsys.readouterr()
            assert run(*words, "--store", store) == 0
            said.append(capsys.readouterr().out)
        told[store] = said
    assert told[here] == told[there]
    assert run("verify", "--store", there) == 0
    assert run("export", "champion", tmp_path / "model", "--store", there) == 0


def test_a_second_import_changes_nothing(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there, copy = tmp_path / "there", exported(here, tmp_path / "a.tar")
    assert run("import", copy, "--store", there) == 0
    before = {path: path.stat().st_mtime_ns for path in there.rglob("*")}
    capsys.readouterr()
    assert run("import", copy, "--store", there) == 0
    assert "holds its 3 generations already; nothing is changed" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in there.rglob("*")} == before


def test_a_lineage_of_the_same_name_is_never_overwritten(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = exported(here, tmp_path / "a.tar")
    build(tmp_path / "other" / "addition", plan=(PROMOTED, PROMOTED, PROMOTED))
    grow(LineageStore(here / "addition"), outcome=GenerationOutcome.PROMOTED)
    (tmp_path / "odd" / "addition").mkdir(parents=True)
    (tmp_path / "odd" / "addition" / "notes.txt").write_text("mine")
    for store, told in (("other", "has other records"), ("here", "has gone on since"), ("odd", "is no lineage")):
        before = contents(tmp_path / store)
        assert run("import", copy, "--store", tmp_path / store) == 3
        assert told in capsys.readouterr().err
        assert contents(tmp_path / store) == before


def test_a_fork_travels_with_what_it_inherited(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    origin = LineageStore(here / "addition").ledger.read()[1]
    made = fork(here, origin)
    first, copy, there = (
        exported(here, tmp_path / "a.tar"),
        exported(here, tmp_path / "w.tar", FORK),
        tmp_path / "there",
    )
    capsys.readouterr()
    assert run("import", copy, "--store", there) == 0
    assert "not proved: addition@gen-1 is not in this store" in capsys.readouterr().out
    assert (there / FORK / made.ledger.read()[0].generation.artifacts["inherited"].path / "answers.parquet").is_file()
    assert run("import", first, "--store", there) == 0
    assert verify(there / FORK).unproven == () and verify(there / FORK).is_clean
    assert run("import", copy, "--store", there) == 0


def test_a_fork_is_refused_where_its_origin_is_another_one(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fork(here, LineageStore(here / "addition").ledger.read()[1])
    copy = exported(here, tmp_path / "w.tar", FORK)
    build(tmp_path / "there" / "addition", plan=(GenerationOutcome.REJECTED,))
    assert run("import", copy, "--store", tmp_path / "there") == 3
    assert "ledger/000000.json: its init edge expects addition@gen-1" in capsys.readouterr().err
    assert lineages(tmp_path / "there") == ["addition"]


def test_a_lineage_of_schema_3_travels(tmp_path: Path) -> None:
    with tarfile.open(STORED / "schema-3.tar.gz") as archive:
        archive.extractall(tmp_path / "here", filter="data")
    (tmp_path / "here" / "lineage").rename(tmp_path / "here" / "stored")
    copy = exported(tmp_path / "here", tmp_path / "stored.tar", "stored")
    assert run("import", copy, "--store", tmp_path / "there") == 0
    found = LineageStore(tmp_path / "there" / "stored")
    assert [entry.generation.schema_version for entry in found.ledger.read()] == [3, 3, 3]
    assert recall_recipe(found).digest() == found.header().digest
    assert exported(tmp_path / "there", tmp_path / "again.tar", "stored").read_bytes() == copy.read_bytes()


def test_no_code_that_the_recipe_names_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trap_of_a_stranger.py").write_text("import pathlib\npathlib.Path('sprung').touch()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    settings = SETTINGS.model_dump(mode="json") | {"verifier": {"type": "plugin", "uses": "trap_of_a_stranger:judge"}}
    monkeypatch.setattr(lineage_factory, "SETTINGS", Recipe.model_validate(settings))
    lineage(tmp_path / "here")
    copy = exported(tmp_path / "here", tmp_path / "a.tar")
    capsys.readouterr()
    assert run("import", copy, "--store", tmp_path / "there") == 0
    assert "a run of its recipe would use the code trap_of_a_stranger:judge" in capsys.readouterr().out
    assert not (tmp_path / "sprung").exists() and "trap_of_a_stranger" not in sys.modules


def test_a_recipe_of_another_lineage_stays_at_home(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = SETTINGS.model_copy(update={"seed": 8})
    remember_recipe(LineageStore(here / "addition"), other, folder=tmp_path)
    copy = exported(here, tmp_path / "copy")
    assert "recipe.json is missing or of another recipe, and is left out" in capsys.readouterr().out
    assert not (copy / "recipe.json").exists()
    assert run("import", copy, "--store", tmp_path / "there") == 0


def test_a_damaged_lineage_is_not_exported(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    victim = sorted((here / "addition" / "artifacts").glob("weights-*/README.md"))[0]
    victim.chmod(0o644)
    victim.write_bytes(b"X" * victim.stat().st_size)
    assert run("export", "--lineage", "addition", tmp_path / "a.tar", "--store", here) == 3
    told = capsys.readouterr().err
    assert "is not sound" in told and victim.relative_to(here / "addition").as_posix() in told
    assert not (tmp_path / "a.tar").exists()


@pytest.mark.parametrize("form", ["a.tar", "a"])
def test_an_export_overwrites_nothing(
    here: Path, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = exported(here, tmp_path / form)
    before = contents(copy) if copy.is_dir() else copy.read_bytes()
    assert run("export", "--lineage", "addition", copy, "--store", here) == 3
    assert "exists; name a new" in capsys.readouterr().err
    assert (contents(copy) if copy.is_dir() else copy.read_bytes()) == before
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["export"], "name what to export: a model, `"),
        (["export", "champion"], "name a new folder for the model: `"),
        (["export", "gen-1", "--lineage", "addition"], "name a new folder for the model: `"),
        (["export", "--lineage", "addition", "a.tar.gz"], "a lineage is exported as .tar or as a folder"),
        (["export", "--as", "mermaid", "a.mmd"], "leave out 'a.mmd', and write it with > FILE"),
        (["export", "--as", "pdf"], "'pdf' is not one of"),
    ],
)
def test_a_command_line_without_sense_is_told_the_remedy(
    here: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words, "--store", here) == 2
    assert told in capsys.readouterr().err


def test_import_tells_lineages_and_models_apart(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = exported(here, tmp_path / "a.tar")
    for words, told in (
        ([copy, "models/a"], "is a lineage; leave out DIR"),
        ([here / "addition"], "is a lineage in a store; export it first: "),
        ([tmp_path / "lost.tar"], "there is no file"),
        (["owner/name"], "name a new folder for the model"),
        (["owner/name", "models/a", "--store", here], "is a model, which no store takes"),
    ):
        assert run("import", *words) == 2
        assert told in capsys.readouterr().err


def test_a_lineage_without_generations_is_not_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    LineageStore(tmp_path / "addition").open("addition", identity=SETTINGS.identity())
    assert run("export", "--lineage", "addition", tmp_path / "a.tar", "--store", tmp_path) == 3
    assert "has no committed generation yet" in capsys.readouterr().err


def test_two_imports_of_one_lineage_do_not_mix(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy, there = exported(here, tmp_path / "a.tar"), tmp_path / "there"
    with lineage_lock(there / ".tmp-import-addition"):
        assert run("import", copy, "--store", there) == 3
    assert "another process imports the lineage addition: process " in capsys.readouterr().err
    assert run("import", copy, "--store", there) == 0
    assert os.listdir(there) == ["addition"]


def test_a_full_disk_is_told_before_anything_is_written(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = exported(here, tmp_path / "a.tar")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=70_000))
    assert run("import", copy, "--store", tmp_path / "there") == 3
    assert "70000 free; free some space" in capsys.readouterr().err
    assert list((tmp_path / "there").iterdir()) == []
