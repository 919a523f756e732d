"""Lineages that look at several tasks: a panel that is watched, and what another verifier would say of it."""

import json
from pathlib import Path

import pytest
from support import tiny

from bootstrap.cli.main import main
from bootstrap.cli.show import print_generation
from bootstrap.config.load import recipe_of
from bootstrap.evaluation.report import OutcomeRow
from bootstrap.lineage import queries
from bootstrap.lineage.card import model_card
from bootstrap.planning.plan import make_plan
from bootstrap.pool import LocalPool
from bootstrap.prompts.build import build_task
from bootstrap.records import Batch, Status
from bootstrap.scoring.exact import ExactMatch
from bootstrap.scoring.verifier import Tools, build_verifier, passed
from bootstrap.stages.answers import answers_of
from bootstrap.stages.context import Watched
from bootstrap.stages.heldout import PANEL_FILE
from bootstrap.stages.rescore import Rescorer
from bootstrap.stages.tables import Tables
from bootstrap.stages.verifiers import open_verifiers
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.tables import from_parquet
from bootstrap.store.verify import verify

pytestmark = pytest.mark.training

REVERSAL = {"type": "reversal", "alphabet": "abc", "base_level": 2, "heldout_fraction": 0.5}
PANEL = {"backwards": {"task": REVERSAL, "levels": [1, 4], "prompts_per_level": 30}}
WATCHED = tiny.recipe(
    steps=[tiny.REJECTION], evaluation=tiny.EVALUATION | {"panel": PANEL}, gate={"min_prompts": 10, "alpha": 0.9}
)


@pytest.fixture(scope="module")
def watched(tmp_path_factory) -> tuple[Path, list[Entry]]:
    root = tmp_path_factory.mktemp("watched")
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
    backwards = build_task(WATCHED.evaluation.panel["backwards"].task)
    few, many = (len(backwards.heldout(level, 30)) for level in (1, 4))
    assert few < many == 30
    # Answers of 1 and of 4 symbols, each with its end.
    assert more.tokens["evaluate"] - less.tokens["evaluate"] == 2 * few + 5 * many
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
        eval_verifier=exact,
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


# A few updates of so small a model pass the gate by luck: with this split of the sums they do.
SUM = {"type": "addition", "base_level": 2}
BACK = {"type": "reversal", "alphabet": "0123", "base_level": 2, "heldout_fraction": 0.5}
COPY = {"type": "copy", "alphabet": "0123", "base_level": 1, "heldout_fraction": 0.5}
PARTS = {"back": {"task": BACK, "weight": 3}, "sum": {"task": SUM}}
TAUGHT = {
    "type": "distill",
    "updates": 2,
    "distillation": {
        "loss": "forward_kl",
        "batch_size": 16,
        "teacher": "base",
        "routes": [{"task": "sum", "teacher": "parent"}],
    },
}
MIXED_STEPS = [tiny.REJECTION, tiny.RL | {"easier_variants": 0.5}, TAUGHT]
MIXED = tiny.recipe(
    generations={"stages": [{"name": "mixed", "generations": 2, "gate": "always", "steps": MIXED_STEPS}]},
    task={"type": "mixture", "base_level": 2, "parts": PARTS},
    verifier={"type": "by_task", "tasks": {"sum": {"type": "numeric"}, "back": {"type": "exact"}}},
    evaluation=tiny.EVALUATION | {"panel": {"copy": {"task": COPY, "levels": [1, 2], "prompts_per_level": 20}}},
    gate={"min_prompts": 10, "panel_margin": 1},
)


class Spy(LocalPool):
    """Keeps every batch that reaches the learner."""

    def __init__(self) -> None:
        super().__init__(1, batch_rows=64)
        self.batches: list[Batch] = []

    def update(self, batch: Batch, **how):
        self.batches.append(batch)
        return super().update(batch, **how)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> tuple[Path, list[Entry], Spy]:
    root, spy = tmp_path_factory.mktemp("mixed"), Spy()
    return root, tiny.grow(MIXED, root, pool=spy), spy


def test_a_mixture_is_sampled_judged_and_replayed_part_by_part(mixed):
    root, entries, _ = mixed
    store, task = LineageStore(root), build_task(MIXED.task)
    statuses = set()
    for entry in entries[1:]:
        for role in ("step-0", "step-1"):
            tables = Tables.read(store.artifact(entry.generation.artifacts[role]))
            assert {rollout.task for rollout in tables.rollouts} == {"back", "sum"}
            for rollout, verdict in zip(tables.rollouts, tables.verdicts, strict=True):
                assert set(verdict.breakdown) == {"exact" if rollout.task == "back" else "numeric"}
                assert (rollout.task == "sum") is ("+" in rollout.prompt_text)
                statuses.add((rollout.task, verdict.status))
        answers = list(answers_of(store, entry.generation))
        assert all((answer.task == "sum") is ("+" in answer.prompt_text) for answer in answers)
    assert ("back", Status.PASS) in statuses
    held_out = {prompt.id for level in range(1, 6) for prompt in task.heldout(level, 40)}
    assert not verify(root).problems
    drawn = {
        r.prompt_id
        for role in ("step-0", "step-1")
        for r in Tables.read(store.artifact(entries[1].generation.artifacts[role])).rollouts
    }
    assert not drawn & held_out


def test_a_mixtures_report_tells_the_parts_apart_and_the_panel_beside(mixed):
    _, entries, _ = mixed
    for entry in entries:
        report = entry.generation.report
        assert set(report.parts) == {"back", "sum"}
        for row in report.levels:
            own = [part for rows in report.parts.values() for part in rows if part.level == row.level]
            assert sum(part.num_prompts for part in own) == row.num_prompts
            assert sum(part.num_correct for part in own) == row.num_correct
        assert [row.level for row in report.panel["copy"]] == [1, 2]
    assert sum(row.num_correct for rows in entries[0].generation.report.parts.values() for row in rows) > 0
    assert entries[1].generation.decision.panel["copy"].passed


def test_each_part_learns_from_its_own_teacher(mixed):
    root, entries, spy = mixed
    task, base = build_task(MIXED.task), entries[0].generation
    generation = entries[2].generation
    parent = entries[generation.parent].generation
    assert parent.number == 1, "the recipe promotes every generation by its word"
    taught = [b for b in spy.batches if any(e.kl_weight for e in b.examples)][-2:]
    shown = {p.id: p.task for p, _ in task.demonstrate([1, 2], 4000, seed=0)}
    shown |= {a.rollout_id: a.task for e in entries[1:] for a in answers_of(LineageStore(root), e.generation)}
    found = {(shown[e.source], e.teacher) for b in taught for e in b.examples if e.source in shown}
    assert found == {("back", base.fingerprint), ("sum", parent.fingerprint)}


def test_the_same_mixture_grows_the_same_lineage_and_rescores_as_recorded(mixed, tmp_path):
    root, entries, _ = mixed
    again = tiny.grow(MIXED, tmp_path)
    assert [e.hash for e in again] == [e.hash for e in entries]
    grown = recipe_of(LineageStore(root).header().identity)
    task = build_task(grown.task)
    with open_verifiers(grown, task, Tools()) as (verifiers, eval_verifier, panel):
        rescorer = Rescorer(
            grown, store=LineageStore(root), task=task, verifiers=verifiers, eval_verifier=eval_verifier, panel=panel
        )
        for row in rescorer.rescore(entries):
            assert (row.training, row.heldout, row.differs) == ({}, {}, False)


def test_show_and_the_card_tell_the_parts_and_the_panel(mixed, capsys):
    root, entries, _ = mixed
    print_generation(queries.show(entries, "gen-1"))
    told = capsys.readouterr().out
    card = model_card(entries[1], identity=LineageStore(root).header().identity)
    parts, panel = told.split("parts", 1)[1].split("panel", 1)
    assert "back" in parts and "sum" in parts and "copy" in panel
    assert "panel: copy" in panel
    for kind, names in {"By task:": ("back", "sum"), "Other tasks, not trained on:": ("copy",)}.items():
        rows = [line for line in card.partition(kind)[2].split("\n\n")[1].splitlines() if line.startswith("| ")][2:]
        assert {line.split()[1] for line in rows} == set(names)


def test_a_verifier_check_looks_at_every_part_with_its_own_answers(tmp_path, capsys):
    path = tmp_path / "mixed.json"
    recipe = MIXED.model_dump(mode="json")
    path.write_text(json.dumps(recipe), encoding="utf-8")
    assert main(["verifier", "check", "--recipe", str(path), "--json"]) == 0
    names = {finding["case"].partition(": ")[0] for finding in json.loads(capsys.readouterr().out)["findings"]}
    assert names == {"back", "sum"}
    back = {"type": "numeric", "answer": {"type": "last_line"}}
    recipe["verifier"]["tasks"]["back"] = back | {"relative_tolerance": "0.99"}
    path.write_text(json.dumps(recipe), encoding="utf-8")
    assert main(["verifier", "check", "--recipe", str(path), "--json"]) != 0
    failed = [f["case"] for f in json.loads(capsys.readouterr().out)["findings"] if not f["ok"]]
    assert failed and all(case.startswith("back: ") for case in failed)
