"""`bootstrap verifier check` and `bootstrap rescore`: what they print, and how they end."""

import json
from pathlib import Path

import pytest
from support import tiny

from bootstrap.cli.main import main
from bootstrap.cli.remembered import recall_recipe, remember_recipe
from bootstrap.config.files import FileTask
from bootstrap.config.load import load_recipe, recipe_of
from bootstrap.errors import RecipeError
from bootstrap.prompts.build import build_task
from bootstrap.store.lineage_store import LineageStore

CAREFUL = """
def verify(text, *, reference, prompt, margin=0):
    try:
        number = int(text) if text.isascii() and len(text) < 20 else None
    except ValueError:
        return False
    return number is not None and abs(number - int(reference)) <= margin
"""
GULLIBLE = """
def verify(text, *, reference, prompt):
    return reference in text or "PASS" in text
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "careful_verifier.py").write_text(CAREFUL)
    (tmp_path / "gullible_verifier.py").write_text(GULLIBLE)
    monkeypatch.chdir(tmp_path)


def findings(capsys: pytest.CaptureFixture[str]) -> dict[str, dict]:
    return {row["case"]: row for row in json.loads(capsys.readouterr().out)["findings"]}


def test_a_built_in_verifier_is_checked_by_its_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verifier", "check", "numeric", "answer.type=tagged", "--json"]) == 0
    found = findings(capsys)
    assert found["the right answer '<answer>42</answer>'"]["status"] == "PASS"
    assert found["the wrong answer '<answer>41</answer>'"]["status"] == "FAIL"
    assert all(row["ok"] for row in found.values())


@pytest.mark.parametrize(
    "arguments",
    [
        ["format"],
        ["format", "think_tag=reason", "answer_tag=result"],
        ["language"],
        ["language", "language=ru", "within.type=whole"],
        ["length", "max_tokens=10", "soft_tokens=3"],
        ["length", "max_tokens=2", "soft_tokens=1"],
    ],
)
def test_a_verifier_of_form_is_checked_with_right_and_wrong_forms(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verifier", "check", *arguments, "--json"]) == 0
    found = findings(capsys)
    assert [row["status"] for case, row in found.items() if case.startswith("the right answer '")] == ["PASS"]
    wrong = [row["status"] for case, row in found.items() if case.startswith("the wrong answer '")]
    assert wrong and set(wrong) == {"FAIL"}


def test_a_careful_plug_in_stands_the_check(plugins: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verifier", "check", "careful_verifier:verify", "settings.margin=0"]) == 0
    printed = capsys.readouterr().out
    assert "orders to a judge" in printed


def test_a_gullible_plug_in_is_found_out(plugins: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verifier", "check", "gullible_verifier:verify", "--json"]) == 4
    captured = capsys.readouterr()
    assert "must not give reward" in captured.err
    rows = {row["case"]: row for row in json.loads(captured.out)["findings"]}
    assert not rows["PASSED"]["ok"]
    assert not rows["the right answer inside other text"]["ok"]
    assert rows["nothing"]["ok"]


def test_the_users_own_answers_are_used(plugins: None, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["careful_verifier:verify", "settings.margin=2", "--reference", "7", "--wrong", "12", "--json"]
    assert main(["verifier", "check", *asked]) == 0
    assert findings(capsys)["the wrong answer '12'"]["status"] == "FAIL"
    assert main(["verifier", "check", "careful_verifier:verify", "settings.margin=2"]) == 4
    assert "failed" in capsys.readouterr().err


def test_a_recipe_brings_verifier_and_answers(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = Path(__file__).parents[2] / "pipelines" / "addition.yaml"
    assert main(["verifier", "check", "--recipe", str(recipe), "--json"]) == 0
    assert sum(row["status"] == "PASS" for row in findings(capsys).values()) >= 4


def test_rows_that_the_verifier_cannot_read_are_not_checked_and_planned_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(odd: str) -> None:
        rows = ({"prompt": f"q{n}", "answer": "words" if f"q{n}" == odd else str(n)} for n in range(40))
        (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    write("")
    (tmp_path / "small.yaml").write_text(
        "name: small\ntask: {type: file, path: rows.jsonl, heldout_fraction: 0.25}\nverifier: {type: numeric}\n"
        "base: {model: {type: scratch, max_length: 400}, steps: [{type: sft, updates: 1}]}\n"
        "generations: {count: 1, steps: [{type: rl, rounds: 1}]}\nevaluation: {lookahead: 0}\n"
    )
    # The one that is shown to the verifier first.
    first = build_task(FileTask(path=str(tmp_path / "rows.jsonl"), heldout_fraction=0.25)).heldout(1, 1)[0]
    write(first.text)
    assert main(["verifier", "check", "--recipe", str(tmp_path / "small.yaml"), "--json"]) == 0
    assert findings(capsys)
    assert main(["plan", str(tmp_path / "small.yaml"), "--json", "--store", str(tmp_path / "runs")]) == 0
    [note] = [n for n in json.loads(capsys.readouterr().out)["notes"] if "left out" in n]
    assert note.endswith(f"1 with a reference that numeric cannot read: no number (line {int(first.key)})")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a verifier"),
        (["no_such_module:verify"], "no_such_module"),
        (["exact", "answer.type=nowhere"], "answer"),
        (["exact", "--right", "4"], "--right and --wrong need --reference"),
        (["json_schema", "json_schema={}"], "needs answers to be checked with"),
        (["regex", "pattern=a"], "needs answers to be checked with"),
        (["language", "language=ja"], "needs answers to be checked with"),
        (["length", "max_tokens=100000000", "soft_tokens=3"], "needs answers to be checked with"),
        (
            ["judge"],
            "verifier judge: model: missing; add it with one of the types endpoint, generation; rubric: missing",
        ),
        (["json_schema"], "verifier json_schema: json_schema: missing; add it (The schema"),
        (["majority", "voters=[base]"], "asks generations of a lineage"),
        (["random"], "nothing to check"),
    ],
)
def test_what_cannot_be_checked_says_what_is_missing(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verifier", "check", *arguments]) in (2, 4)
    assert message in capsys.readouterr().err


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    tiny.grow(tiny.recipe(count=1, gate={"min_prompts": 10, "alpha": 0.9}), root / "tiny")
    return root


@pytest.mark.torch
@pytest.mark.training
def test_rescoring_by_the_same_verifier_lets_everything_stand(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rescore", "--store", str(store)]) == 0
    assert "every promotion and rejection stands" in capsys.readouterr().out


@pytest.mark.torch
@pytest.mark.training
def test_rescoring_by_another_recipe_takes_its_verifier_alone(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = LineageStore(store / "tiny").header().identity
    other = {**recipe_of(identity).model_dump(mode="json"), "name": "other"}
    (tmp_path / "short_verifier.py").write_text(
        "def verify(text, *, reference, prompt):\n    return text == reference and len(text) < 4\n"
    )
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "other.yaml"
    path.write_text(json.dumps({**other, "verifier": {"type": "plugin", "uses": "short_verifier:verify"}}))
    # The task's base levels reach to answers of four characters, so this verifier fails its sanity check.
    assert main(["rescore", "--store", str(store), "--recipe", str(path)]) == 4
    assert "failed its sanity check" in capsys.readouterr().err
    path.write_text(json.dumps({**other, "verifier": {"type": "exact", "answer": {"type": "whole", "strip": True}}}))
    assert main(["rescore", "--store", str(store), "--recipe", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["generation"] for row in found["generations"]] == [0, 1]
    path.write_text(json.dumps({**other, "task": {"type": "reversal", "alphabet": "abc", "base_level": 4}}))
    assert main(["rescore", "--store", str(store), "--recipe", str(path)]) == 2
    assert "another task" in capsys.readouterr().err


def test_what_the_identity_leaves_out_is_remembered_for_later(tmp_path: Path) -> None:
    """A judge's address and a task file's path are no part of a lineage, and still needed to judge again."""
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"prompt": "{n}+1=", "answer": "{n + 1}"}}\n' for n in range(200)))
    judge = {
        "type": "judge",
        "rubric": "r",
        "model": {"type": "endpoint", "url": "http://127.0.0.1:1/v1", "model": "m"},
    }
    recipe = {
        "name": "kept",
        "task": {"type": "file", "path": "rows.jsonl", "max_prompt_length": 16, "max_answer_length": 8},
        "verifier": judge,
        "base": {"model": {"type": "scratch", "max_length": 64}, "steps": [{"type": "sft", "updates": 2}]},
        "generations": {"count": 1, "steps": [{"type": "rl", "rounds": 2}]},
        "tracking": {"uri": "http://user:secret@127.0.0.1:1"},
        "max_unverifiable": 0.5,
    }
    path = tmp_path / "kept.yaml"
    path.write_text(json.dumps(recipe))
    loaded, folder = load_recipe(path), LineageStore(tmp_path / "runs" / "kept")
    folder.open("kept", identity=loaded.identity())
    with pytest.raises(RecipeError, match="run the lineage's recipe once more"):
        recall_recipe(folder)
    remember_recipe(folder, loaded, folder=tmp_path)
    found = recall_recipe(folder)
    assert found.identity() == loaded.identity()
    assert (found.task, found.verifier, found.max_unverifiable) == (loaded.task, loaded.verifier, 0.5)
    kept = folder.root / "recipe.json"
    text = kept.read_text()
    assert "secret" not in text
    for damaged in (text[: len(text) // 2], text.replace('"max_unverifiable"', '"of_another_version"'), "[]"):
        kept.write_text(damaged)
        with pytest.raises(RecipeError, match=r"(?s)recipe\.json.*run the lineage's recipe once more"):
            recall_recipe(folder)
