"""Lineages that were grown with the split of prompts' texts: they go on as they began, and nothing else goes on."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import tiny

from bootstrap.cli.fork import fork_lineage
from bootstrap.cli.main import main
from bootstrap.cli.remembered import FILE_NAME, recall_recipe, remember_recipe
from bootstrap.config.load import load_recipe, recipe_of
from bootstrap.config.recipe import Recipe
from bootstrap.errors import RecipeError
from bootstrap.planning.plan import make_plan
from bootstrap.prompts.build import build_task
from bootstrap.prompts.files import Rows
from bootstrap.records import Prompt, Split
from bootstrap.scoring.verifier import Tools
from bootstrap.stages.rescore import Rescorer
from bootstrap.stages.tables import Tables
from bootstrap.stages.verifiers import open_verifiers
from bootstrap.store.lineage_store import LineageStore

pytestmark = pytest.mark.training

TASK = {"type": "addition", "base_level": 2, "heldout_fraction": 0.3}
KEYS = ("split_by", "final_fraction")


def recipe(**changes: Any) -> Recipe:
    return tiny.recipe(task={**TASK, **changes}, steps=[tiny.REJECTION], count=1)


def without(data: Any) -> Any:
    """The data as a version wrote them that knew nothing of questions."""
    if isinstance(data, dict):
        return {name: without(value) for name, value in data.items() if name not in KEYS}
    return [without(value) for value in data] if isinstance(data, list) else data


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a lineage `tiny` whose header and remembered recipe are of such a version."""
    found = tmp_path_factory.mktemp("store")
    settings = recipe(split_by="text")
    tiny.grow(settings, found / "tiny")
    lineage = LineageStore(found / "tiny")
    assert without(lineage.header().identity) == lineage.header().identity, "it is the identity that it had then"
    remember_recipe(lineage, settings, folder=found)
    path = found / "tiny" / FILE_NAME
    path.write_text(json.dumps(without(json.loads(path.read_text()))))
    return found


def test_what_is_stored_without_a_rule_was_split_by_texts(store: Path) -> None:
    lineage = LineageStore(store / "tiny")
    for stored in (
        recipe_of(lineage.header().identity),
        recall_recipe(lineage),
        load_recipe(store / "tiny" / FILE_NAME),
    ):
        assert stored.task.split_by == "text"
        assert stored.digest() == lineage.header().digest
    assert main(["verify", "--store", str(store), "--lineage", "tiny"]) == 0


def test_a_recipe_without_the_key_splits_questions_and_is_another(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(without(recipe().model_dump(mode="json"))))
    loaded = load_recipe(path)
    assert loaded.task.split_by == "question"
    assert loaded.digest() != recipe(split_by="text").digest()
    assert recipe(final_fraction=0.0).digest() == recipe().digest() != recipe(final_fraction=0.1).digest()


def test_it_goes_on_by_its_own_recipe_and_trains_on_nothing_that_its_gate_holds_out(store: Path) -> None:
    longer = load_recipe(store / "tiny" / FILE_NAME, ["generations.count=2"])
    entries = tiny.grow(longer, store / "tiny")
    assert [entry.generation.number for entry in entries] == [0, 1, 2]
    task = build_task(longer.task)
    held_out = {prompt.id for level in range(1, 6) for prompt in task.heldout(level, 2000)}
    tables = Tables.read(LineageStore(store / "tiny").artifact(entries[2].generation.artifacts["step-0"]))
    assert tables.rollouts and not {rollout.prompt_id for rollout in tables.rollouts} & held_out
    assert all(task.split_of(rollout.prompt_text) is Split.TRAIN for rollout in tables.rollouts)


def test_a_recipe_that_splits_questions_is_refused_with_the_reason_and_the_remedies(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(without(recipe().model_dump(mode="json"))))
    before = {one: one.read_bytes() for one in store.rglob("*") if one.is_file() and one.name != "LOCK"}
    assert main(["run", str(path), "--local", "--store", str(store)]) != 0
    message = capsys.readouterr().err
    assert 'task.split_by: (absent) -> "question"' in message
    assert "Its held-out questions were chosen by the texts of prompts" in message
    assert f"run {store / 'tiny' / FILE_NAME}" in message and "--lineage NAME" in message
    assert {one: one.read_bytes() for one in store.rglob("*") if one.is_file() and one.name != "LOCK"} == before
    assert main(["plan", str(path), "--store", str(store)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "this is the plan of a new lineage" in told and "Its held-out questions were chosen by the texts" in told
    assert main(["rescore", "--lineage", "tiny", "--recipe", str(path), "--store", str(store)]) == 2
    assert "set split_by: text" in capsys.readouterr().err


def test_a_fork_goes_on_with_its_origins_rule_and_no_other(store: Path, tmp_path: Path) -> None:
    fork_lineage("tiny@1", "heir", ["generations.count=0"], recipe_path=None, store=store)
    assert recall_recipe(LineageStore(store / "heir")).task.split_by == "text"
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(without(recipe().model_dump(mode="json"))))
    with pytest.raises(RecipeError, match=r"held out, since those were chosen by text; set task\.split_by to text"):
        fork_lineage("tiny@1", "other", [], recipe_path=path, store=store)
    with pytest.raises(RecipeError, match=r"kept for the final comparison; set task\.final_fraction to 0 or less"):
        fork_lineage("tiny@1", "final", ["task.final_fraction=0.2"], recipe_path=None, store=store)
    assert not (store / "other").exists() and not (store / "final").exists()


def test_a_lineage_that_aimed_beyond_a_files_last_level_goes_on_at_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Levels past the last one held its rows then, so a file of one level had a second and a third."""
    rows = [{"prompt": f"{a}{b}=", "answer": f"{a}{b}"} for a in "abcd" for b in "abcdefgh"]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    task = {
        "type": "file",
        "path": str(tmp_path / "rows.jsonl"),
        "alphabet": "abcdefgh=",
        "max_prompt_length": 4,
        "max_answer_length": 4,
        "heldout_fraction": 0.5,
        "split_by": "text",
    }
    own = Rows._prompts

    def repeated(self: Rows, level: int, split: Split) -> list[Prompt]:
        return [replace(prompt, level=level) for prompt in own(self, 1, split)]

    with monkeypatch.context() as patch:
        patch.setattr(Rows, "_prompts", repeated)
        patch.setattr(Rows, "highest_level", property(lambda self: None, lambda self, value: None), raising=False)
        before = tiny.grow(tiny.recipe(task=task, steps=[tiny.REJECTION], count=1), tmp_path / "tiny")
    assert before[1].generation.target_levels == (2,)
    assert [row.level for row in before[1].generation.report.levels] == [1, 2, 3]

    longer = tiny.recipe(task=task, steps=[tiny.REJECTION], count=2)
    plan = make_plan(longer, lineage="tiny", workers=1, entries=before)
    assert [generation.target_levels for generation in plan.generations] == [(1,), (2,), (1,)]
    entries = tiny.grow(longer, tmp_path / "tiny")
    assert entries[2].generation.target_levels == (1,)
    assert [row.level for row in entries[2].generation.report.levels] == [1]

    built = build_task(longer.task)
    with open_verifiers(longer, built, Tools(processes=1)) as (verifiers, eval_verifier, panel):
        store = LineageStore(tmp_path / "tiny")
        rescorer = Rescorer(
            longer, store=store, task=built, verifiers=verifiers, eval_verifier=eval_verifier, panel=panel
        )
        found = rescorer.rescore(entries)
    assert [row.heldout for row in found] == [{}, {}, {}]
    assert [row.num_heldout for row in found] == [
        sum(level.num_prompts - level.num_repeated for level in entry.generation.report.levels) for entry in entries
    ]
