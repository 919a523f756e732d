"""The gate on a file's rows: slices and levels below `mastered` are kept, alpha is shared, a prompt is asked once."""

import json
from itertools import product

import pytest
from support import tiny

from bootstrap.evaluation.report import OutcomeRow
from bootstrap.pool import LocalPool
from bootstrap.prompts.build import build_task
from bootstrap.scoring.verifier import Tools
from bootstrap.stages.rescore import Rescorer
from bootstrap.stages.verifiers import open_verifiers
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.tables import from_parquet

pytestmark = pytest.mark.training

ROWS = [
    {"prompt": f"{word}=", "answer": word, "level": level, "slice": f"{word[0]}..."}
    for level in (1, 2)
    for word in map("".join, product("abcde", repeat=level + 1))
]


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fixed")
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    task = {
        "type": "file",
        "path": str(folder / "rows.jsonl"),
        "alphabet": "abcde=",
        "max_prompt_length": 4,
        "max_answer_length": 3,
        "base_level": 2,
        "heldout_fraction": 0.4,
    }
    recipe = tiny.recipe(task=task)
    return recipe, folder / "tiny", tiny.grow(recipe, folder / "tiny")


def test_every_slice_and_level_below_mastered_is_tested(grown):
    _, _, entries = grown
    for entry in entries[1:]:
        decision, report = entry.generation.decision, entry.generation.report
        champion = entries[decision.champion].generation.report
        below = {row.level for row in champion.levels} - {n for test in decision.retention for n in test.levels}
        assert {f"level {n}" for n in below} | {f"slice {name}" for name in champion.slices} == set(decision.slices)
        for name, shares in report.slices.items():
            test, asked = decision.slices[f"slice {name}"], sum(share.num_prompts for share in shares)
            assert test.num_prompts == asked
            assert test.candidate == pytest.approx(sum(share.num_correct for share in shares) / asked)


def test_slices_of_the_report_are_those_of_the_file(grown):
    _, _, entries = grown
    report = entries[0].generation.report
    assert set(report.slices) == {f"{letter}..." for letter in "abcde"}
    asked = sum(share.num_prompts for shares in report.slices.values() for share in shares)
    assert asked == sum(row.num_prompts for row in report.levels)


def test_alpha_is_shared(grown):
    recipe, _, entries = grown
    assert recipe.spends_over_lineage
    assert entries[1].generation.decision.improvement.alpha == pytest.approx(0.025)


def test_a_decision_taken_again_is_the_same(grown):
    recipe, root, entries = grown
    store, task = LineageStore(root), build_task(recipe.task)
    with open_verifiers(recipe, task, Tools()) as (verifiers, eval_verifier, panel):
        rescorer = Rescorer(
            recipe, store=store, task=task, verifiers=verifiers, eval_verifier=eval_verifier, panel=panel
        )
        found = rescorer.rescore(entries)
    assert [one.decision for one in found[1:]] == [entry.generation.decision for entry in entries[1:]]


MIXTURE = {
    "type": "mixture",
    "base_level": 1,
    "parts": {
        "back": {"task": {"type": "reversal", "alphabet": "abcdef", "base_level": 2, "heldout_fraction": 0.5}},
        "file": {"before": ">"},
    },
}


def test_a_prompt_that_stands_in_several_levels_is_asked_once(tmp_path):
    """The file's one level stands in every level of the mixture."""
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": row["prompt"], "answer": row["answer"]}) for row in ROWS))
    part = {"type": "file", "path": str(path), "alphabet": "abcdef=", "max_prompt_length": 4, "max_answer_length": 3}
    parts = {**MIXTURE["parts"], "file": {"task": part, "before": ">"}}
    recipe = tiny.recipe(task={**MIXTURE, "parts": parts}, count=1, steps=[tiny.REJECTION])
    asked = []

    class Asked(LocalPool):
        def generate(self, requests, how, *, by=None):
            asked.extend(request for request in requests if request.id.startswith("greedy."))
            return super().generate(requests, how, by=by)

    entries = tiny.grow(recipe, tmp_path / "tiny", pool=Asked(1, batch_rows=64))
    base = entries[0].generation
    first, second = base.report.levels[:2]
    assert first.num_repeated == 0 and 0 < second.num_repeated < second.num_prompts
    store = LineageStore(tmp_path / "tiny")
    rows = from_parquet(store.artifact(base.artifacts["evaluation"]).read("outcomes.parquet"), OutcomeRow)
    assert len({row.prompt_id for row in rows}) == len(rows)
    assert len(rows) == sum(row.num_prompts - row.num_repeated for row in base.report.levels)
    evaluated = [request.prompt.id for request in asked[: len(rows)]]
    assert sorted(evaluated) == sorted(row.prompt_id for row in rows)
    test = entries[1].generation.decision.improvement
    assert test.num_prompts <= second.num_prompts
