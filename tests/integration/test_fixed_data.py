"""A lineage of a pretrained model on files: rows that it cannot read, solutions that it cannot be shown, an own file
for the gate. Plan, run, fork and rescoring see the same rows, also where the model's folder is gone."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import tiny
from support.pretrained import small_folder, write

from bootstrap.cli.fork import fork_lineage
from bootstrap.cli.remembered import FILE_NAME, remember_recipe
from bootstrap.cli.run import planned
from bootstrap.config.load import load_recipe
from bootstrap.errors import RecipeError
from bootstrap.evaluation.report import OutcomeRow
from bootstrap.prompts.build import build_task
from bootstrap.records import Batch, Split
from bootstrap.stages import findings
from bootstrap.stages.fitting import leave_out_unfit, text_models
from bootstrap.stages.tables import Tables
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.tables import from_parquet

pytestmark = [pytest.mark.torch, pytest.mark.training]

CHARACTERS = "abc=0123456789+ SUA:\n"
LONG, UNREAD, UNSHOWN = 3, 4, 5
"""Places of rows: too long a prompt, a character without a token, too long a solution."""


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "_found", {})


def rows(first: str, count: int) -> Iterator[dict[str, Any]]:
    for n in range(count):
        yield {
            "q": f"{first}{n}=",
            "a": f"is {n} = {n % 3}",
            "worked": f"{n} + a\n{n % 3}",
            "part": "a" * (1 + n % 2),
        }


def recipe_in(folder: Path) -> Path:
    train = list(rows("a", 40))
    train[LONG]["q"] = "a" * 60
    train[UNREAD]["q"] = "\u4e03="
    train[UNSHOWN]["worked"] = "b" * 60
    for name, listed in (("train", train), ("test", rows("b", 30))):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in listed))
    write(small_folder(characters=CHARACTERS, max_length=64, chat=True), folder / "model")
    settings = {
        "name": "fixed",
        "task": {
            "type": "file",
            "path": "train.jsonl",
            "heldout": "test.jsonl",
            "columns": {"prompt": "q", "answer": "a", "solution": "worked", "slice": "part"},
            "extract": "= ([0-9]+)",
            "final_fraction": 0.4,
        },
        "verifier": {"type": "exact", "answer": {"type": "last_line"}},
        "base": {
            "model": {"type": "folder", "path": "model"},
            "steps": [{"type": "sft", "updates": 30, "batch_size": 8}],
        },
        "generations": {"count": 1, "steps": [tiny.RL | {"prompts_per_update": 16, "distillation": None}]},
        "evaluation": {"prompts_per_level": 30, "lookahead": 0, "sampled": None},
        "gate": {"min_prompts": 10},
        "resources": {"batch_rows": 64},
    }
    (folder / "recipe.yaml").write_text(json.dumps(settings))
    return folder / "recipe.yaml"


class Keeping(tiny.Watched):
    """A pool that keeps the batches it learns from."""

    @property
    def shown(self) -> set[str]:
        return {text for batch in self.batches for text in _texts(batch)}


def _texts(batch: Batch) -> Iterator[str]:
    for example in batch.examples:
        yield example.prompt_text or ""


def test_plan_run_fork_and_rescoring_see_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = recipe_in(tmp_path)
    recipe, plan = planned(path, (), store=tmp_path, lineage=None, workers=1)
    [served] = [note for note in plan.notes if "that serve" in note]
    files = f"{tmp_path / 'train.jsonl'} and {tmp_path / 'test.jsonl'}"
    assert f"rows of {files} that serve: 38 to train on, " in served
    assert served.endswith(
        "; at most 32 tokens of prompt (max_prompt_tokens) and 32 tokens of answer (max_answer_tokens)"
    )
    [left_out] = [note for note in plan.notes if "left out" in note]
    assert "1 with a prompt over task.max_prompt_tokens 32 (line train.jsonl:4)" in left_out
    assert "1 with a prompt that the model's tokenizer cannot read (line train.jsonl:5)" in left_out
    [hidden] = [note for note in plan.notes if "not shown" in note]
    assert "1 with a solution over task.max_answer_tokens 32 (line train.jsonl:6)" in hidden

    base, entry = tiny.grow(recipe, tmp_path / "fixed", fresh=True)
    store = LineageStore(tmp_path / "fixed")
    remember_recipe(store, recipe, folder=tmp_path)
    sampled = Tables.read(store.artifact(entry.generation.artifacts["step-0"])).rollouts
    drawn = {rollout.prompt_text for rollout in sampled}
    assert drawn and drawn <= {row["q"] for n, row in enumerate(rows("a", 40)) if n not in (LONG, UNREAD)}
    outcomes = from_parquet(
        store.artifact(entry.generation.artifacts["evaluation"]).read("outcomes.parquet"), OutcomeRow
    )
    task = build_task(recipe.task)
    assert {row.prompt_id for row in outcomes} == {prompt.id for prompt in task.heldout(1, 30)}
    assert {prompt.text for prompt in (*task.heldout(1, 30), *task.final(1, 30))} == {row["q"] for row in rows("b", 30)}
    assert set(base.generation.report.slices) == {"a", "aa"}

    # The fork's tokenizer lies in the origin's store, and the model's folder may be gone.
    shutil.rmtree(tmp_path / "model")
    monkeypatch.setattr(findings, "_found", {})
    fork_lineage("fixed@1", "heir", (), recipe_path=None, store=tmp_path)
    heir = load_recipe(tmp_path / "heir" / FILE_NAME)
    for settings, lineage in ((heir, LineageStore(tmp_path / "heir")), (recipe, store)):
        task = build_task(settings.task)
        leave_out_unfit(task, text_models(settings, lineage))
        assert {row.line for row in task.as_rows.rows(Split.TRAIN)} == set(range(1, 41)) - {LONG + 1, UNREAD + 1}
    tiny.grow(heir, tmp_path / "heir", fresh=True)
    monkeypatch.setattr(findings, "_found", {})
    task = build_task(heir.task)
    leave_out_unfit(task, text_models(heir, LineageStore(tmp_path / "heir")))
    assert task.as_rows.left_out.total() == 2


def test_no_row_is_shown_whose_solution_is_too_long(tmp_path: Path) -> None:
    recipe, pool = load_recipe(recipe_in(tmp_path), ["generations.count=0"]), Keeping()
    tiny.grow(recipe, tmp_path / "fixed", pool=pool)
    assert "a5=" not in pool.shown and {"a6=", "a7="} <= pool.shown


def test_without_anything_to_show_a_step_on_references_is_refused_by_the_plan(tmp_path: Path) -> None:
    path = recipe_in(tmp_path)
    with pytest.raises(
        RecipeError, match=r"no solution of level 1 can be shown: 37 with a solution that exact finds wrong \("
    ):
        planned(path, ["verifier.answer={type: whole}"], store=tmp_path, lineage=None, workers=1)
