"""Lineages that look at several tasks: a panel that is watched, and what another verifier would say of it."""

from pathlib import Path

import pytest
from support import tiny

from bootstrap.evaluation.report import OutcomeRow
from bootstrap.plan import make_plan
from bootstrap.prompts.build import build_task
from bootstrap.scoring.exact import ExactMatch
from bootstrap.scoring.verifier import build_verifier, passed
from bootstrap.stages.context import Watched
from bootstrap.stages.evaluate import PANEL_FILE
from bootstrap.stages.rescore import Rescorer
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.tables import from_parquet
from bootstrap.store.verify import verify

REVERSAL = {"type": "reversal", "alphabet": "abc", "base_level": 2, "heldout_fraction": 0.5}
PANEL = {"backwards": {"task": REVERSAL, "levels": [1, 4], "prompts_per_level": 30}}
WATCHED = tiny.recipe(
    steps=[tiny.REJECTION], evaluation=tiny.EVALUATION | {"panel": PANEL}, gate={"min_prompts": 10, "alpha": 0.9}
)


@pytest.fixture(autouse=True)
def _quick_probe(monkeypatch):
    monkeypatch.setattr("bootstrap.loop.PROBE_SECONDS", 0.02)


@pytest.fixture(scope="module")
def watched(tmp_path_factory) -> tuple[Path, list[Entry]]:
    root = tmp_path_factory.mktemp("watched")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bootstrap.loop.PROBE_SECONDS", 0.02)
        return root, tiny.grow(WATCHED, root)


def test_every_generation_answers_the_panels_held_out_prompts(watched):
    root, entries = watched
    task, store = build_task(WATCHED.evaluation.panel["backwards"].task), LineageStore(root)
    asked = [(level, prompt.id) for level in (1, 4) for prompt in task.heldout(level, 30)]
    for entry in entries:
        evaluation = store.artifact(entry.generation.artifacts["evaluation"])
        rows = from_parquet(evaluation.read(PANEL_FILE), OutcomeRow)
        assert [(row.level, row.prompt_id) for row in rows] == asked
        levels = entry.generation.report.panel["backwards"]
        assert [row.level for row in levels] == [1, 4]
        for level in levels:
            assert level.num_correct == sum(row.correct for row in rows if row.level == level.level)
    # A string of one symbol is its own reverse, so what learns to copy answers some of level 1.
    assert entries[-1].generation.report.panel["backwards"][0].num_correct
    assert not verify(root).problems


def test_the_gate_compares_the_panel_with_the_champions(watched):
    _, entries = watched
    for entry in entries[1:]:
        decision = entry.generation.decision
        own = entry.generation.report.panel["backwards"]
        theirs = entries[decision.champion].generation.report.panel["backwards"]
        test = decision.panel["backwards"]
        assert test.num_prompts == sum(row.num_prompts for row in own)
        assert test.gained - test.lost == sum(row.num_correct for row in own) - sum(row.num_correct for row in theirs)
        assert entry.generation.verifiers["panel backwards"] == entry.generation.verifiers["exact"]


def test_a_panel_changes_nothing_in_what_is_trained(watched, tmp_path):
    _, entries = watched
    alone = tiny.grow(tiny.recipe(steps=[tiny.REJECTION], gate={"min_prompts": 10, "alpha": 0.9}, count=1), tmp_path)
    assert [e.generation.fingerprint for e in alone] == [e.generation.fingerprint for e in entries[:2]]
    assert [e.generation.report.levels for e in alone] == [e.generation.report.levels for e in entries[:2]]
    more = entries[0].generation.compute.tokens["evaluate"] - alone[0].generation.compute.tokens["evaluate"]
    assert more > 0


def test_the_plan_counts_the_panel():
    alone = WATCHED.model_copy(update={"evaluation": WATCHED.evaluation.model_copy(update={"panel": {}})})
    more, less = (make_plan(recipe, lineage="x", workers=1).generations[1] for recipe in (WATCHED, alone))
    # Answers of 1 and of 4 symbols, each with its end.
    assert more.tokens["evaluate"] - less.tokens["evaluate"] == 30 * (2 + 5)
    assert more.flops["evaluate"] > less.flops["evaluate"]


def rescored(watched, panel_verifier):
    root, entries = watched
    exact = build_verifier(WATCHED.verifier)
    settings = WATCHED.evaluation.panel["backwards"]
    panel = {"backwards": Watched(settings=settings, task=build_task(settings.task), verifier=panel_verifier)}
    rescorer = Rescorer(
        WATCHED,
        store=LineageStore(root),
        task=build_task(WATCHED.task),
        verifiers={("verifier",): exact},
        examiner=exact,
        panel=panel,
    )
    return rescorer.rescore(entries)


def test_the_same_verifiers_find_what_is_recorded_of_the_panel(watched):
    for row, entry in zip(rescored(watched, build_verifier(WATCHED.verifier)), watched[1], strict=True):
        assert (row.heldout, row.differs) == ({}, False)
        if row.decision is not None:
            assert row.decision == entry.generation.decision


def test_another_verifier_of_the_panel_changes_its_verdicts_alone(watched):
    class Lax(ExactMatch):
        def judge_one(self, answer):
            return passed("exact")

    rows = rescored(watched, Lax(WATCHED.verifier, None))
    wrong = sum(r.num_prompts - r.num_correct for r in watched[1][0].generation.report.panel["backwards"])
    assert rows[0].heldout == {"FAIL -> PASS": wrong}
    assert rows[1].decision.panel["backwards"].candidate == 1.0


def test_a_champions_panel_judged_by_another_version_is_judged_again(tmp_path, monkeypatch):
    settings = WATCHED.model_copy(update={"generations": WATCHED.generations.model_copy(update={"count": 0})})
    tiny.grow(settings, tmp_path)

    class Lax(ExactMatch):
        """Finds every answer to a panel prompt right that is longer than what its base level shows."""

        def __init__(self, settings, tools) -> None:
            super().__init__(settings, tools)
            self.version = "lax"

        def judge_one(self, answer):
            return passed("exact") if len(answer.reference) > 3 else super().judge_one(answer)

    # The recipe's own task is judged by the class as it is, for it is built first.
    kinds = iter([ExactMatch])
    monkeypatch.setattr("bootstrap.scoring.exact.ExactMatch", lambda settings, tools: next(kinds, Lax)(settings, tools))
    settings = WATCHED.model_copy(update={"generations": WATCHED.generations.model_copy(update={"count": 1})})
    last = tiny.grow(settings, tmp_path)[-1].generation
    assert last.verifiers["panel backwards"] == "lax"
    base = LineageStore(tmp_path).ledger.read()[0].generation.report.panel["backwards"]
    assert base[1].accuracy < 0.5
    right, asked = base[0].num_correct + base[1].num_prompts, base[0].num_prompts + base[1].num_prompts
    assert last.decision.panel["backwards"].champion == right / asked
