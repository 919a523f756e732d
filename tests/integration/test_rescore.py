"""Re-judging stored answers: nothing changes under the same verifier, and another one's verdicts change the gate."""

import json
from pathlib import Path

import pytest
from support import tiny

from bootstrap.cli.remembered import remember_recipe
from bootstrap.cli.rescore import rescore_lineage
from bootstrap.config.answers import ExactVerifier
from bootstrap.config.load import recipe_of
from bootstrap.errors import RecipeError, VerifierError
from bootstrap.prompts.build import build_task
from bootstrap.records import Status
from bootstrap.scoring.exact import ExactMatch
from bootstrap.scoring.verifier import AnswerVerifier, Judgement, build_verifier, failed, passed, unverifiable
from bootstrap.stages.rescore import Rescorer
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

pytestmark = pytest.mark.training

RECIPE = tiny.recipe(steps=[tiny.REJECTION], gate={"min_prompts": 10, "alpha": 0.9})


@pytest.fixture(scope="module")
def lineage(tmp_path_factory: pytest.TempPathFactory) -> tuple[LineageStore, list[Entry]]:
    root = tmp_path_factory.mktemp("lineage")
    entries = tiny.grow(RECIPE, root)
    return LineageStore(root), entries


class Judge(AnswerVerifier):
    """Says of every answer what it is told to."""

    name, version, judges = "told", "0", "answer"

    def __init__(self, say) -> None:
        self._say = say

    def judge_one(self, answer) -> Judgement:
        return self._say(answer)


def rescored(lineage, *, verifier, eval_verifier):
    store, entries = lineage
    task = build_task(RECIPE.task)
    rescorer = Rescorer(
        RECIPE, store=store, task=task, verifiers={("verifier",): verifier}, eval_verifier=eval_verifier, panel={}
    )
    return rescorer.rescore(entries)


def test_the_same_verifier_finds_what_is_recorded(lineage):
    exact = build_verifier(ExactVerifier())
    rows = rescored(lineage, verifier=exact, eval_verifier=exact)
    assert [row.number for row in rows] == [0, 1, 2]
    for row, entry in zip(rows, lineage[1], strict=True):
        assert (row.training, row.heldout, row.differs) == ({}, {}, False)
        assert row.num_heldout == sum(level.num_prompts for level in entry.generation.report.levels)
        assert row.recorded == {"exact": exact.version}
        if row.decision is not None:
            assert row.decision == entry.generation.decision
    assert rows[1].num_training == 20


def test_a_stricter_verifier_changes_verdicts_and_takes_every_promotion_back(lineage):
    nothing = Judge(lambda answer: failed("told"))
    rows = rescored(lineage, verifier=nothing, eval_verifier=nothing)
    _, entries = lineage
    for row, entry in zip(rows, entries, strict=True):
        right = sum(level.num_correct for level in entry.generation.report.levels)
        assert row.heldout == ({"PASS -> FAIL": right} if right else {})
        assert row.training == ({"PASS -> FAIL": n} if (n := entry.generation.accounting.passed) else {})
    assert [row.number for row in rows if row.differs] == [
        e.generation.number for e in entries[1:] if e.generation.decision.promoted
    ]


def test_a_promotion_that_another_verifier_would_have_made_is_named(lineage):
    """Only the last generation's answers pass, so that it would have been promoted whatever was recorded."""
    _, entries = lineage
    exact = build_verifier(ExactVerifier())
    last = entries[-1].generation
    rows = rescored(lineage, verifier=None, eval_verifier=exact)
    assert all(row.num_training == 0 for row in rows)

    class Favour(Judge):
        """Passes the answers of the second evaluation to come on."""

        calls = 0

        def judge(self, answers):
            self.calls += 1
            return [passed("told") if self.calls >= last.number + 1 else failed("told") for _ in answers]

    favoured = rescored(lineage, verifier=None, eval_verifier=Favour(None))
    assert favoured[-1].decision is not None
    assert favoured[-1].decision.promoted
    assert favoured[-1].differs is (not last.decision.promoted)


def test_too_many_answers_that_cannot_be_judged_stop_the_rescoring(lineage):
    doubt = Judge(lambda answer: unverifiable("no idea"))
    with pytest.raises(VerifierError, match=r"could not judge .*no idea"):
        rescored(lineage, verifier=None, eval_verifier=doubt)


def test_votes_of_generations_are_left_out_and_held_out_answers_are_judged_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    vote = {"type": "majority", "voters": ["base"]}
    changes = {"verifier": vote, "evaluation": {**tiny.EVALUATION, "verifier": {"type": "exact"}}}
    recipe = tiny.recipe(steps=[tiny.REJECTION], count=1, **changes)
    store = LineageStore(tmp_path / recipe.name)
    entries = tiny.grow(recipe, store.root)
    remember_recipe(store, recipe, folder=tmp_path)
    rescore_lineage(store, recipe_path=None, as_json=True)
    [_, told] = json.loads(capsys.readouterr().out)["generations"]
    assert told["num_training"] == 0 and told["heldout_changes"] == {}
    assert told["num_heldout"] == sum(level.num_prompts for level in entries[1].generation.report.levels)
    rescore_lineage(store, recipe_path=None, as_json=False)
    assert "left out: verifier majority asks generations" in capsys.readouterr().out


def test_the_stored_recipe_is_the_one_the_lineage_grows_from(lineage):
    store, _ = lineage
    stored = recipe_of(store.header().identity)
    assert stored.identity() == RECIPE.identity()
    with pytest.raises(RecipeError, match="not one of this version"):
        recipe_of({**store.header().identity, "task": {"type": "gone"}})


def test_verdicts_are_stored_without_what_is_measured(lineage):
    store, entries = lineage
    from bootstrap.stages.tables import Tables

    tables = Tables.read(store.artifact(entries[1].generation.artifacts["step-0"]))
    assert {verdict.cpu_seconds for verdict in tables.verdicts} == {0.0}
    assert {verdict.status for verdict in tables.verdicts} <= {Status.PASS, Status.FAIL}


def test_a_lineages_folder_holds_no_cache_unless_a_model_was_asked(lineage, tmp_path: Path):
    store, _ = lineage
    assert not store.cache_folder.exists()


def test_a_champion_judged_by_another_version_is_judged_again_before_the_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Both sides of a comparison are judged alike, also when the verifier changed between two generations."""
    settings = {"steps": [tiny.REJECTION], "gate": {"min_prompts": 10, "alpha": 0.9}}
    before = tiny.grow(tiny.recipe(count=1, **settings), tmp_path)
    champion = before[before[-1].generation.champion].generation
    target = champion.report.level(5)
    assert target is not None and target.accuracy < 0.5

    class Lax(ExactMatch):
        """Finds everything right that is longer than what training saw references of."""

        def __init__(self, settings, tools) -> None:
            super().__init__(settings, tools)
            self.version = "lax"

        def judge_one(self, answer) -> Judgement:
            return passed("exact") if len(answer.reference) > 4 else super().judge_one(answer)

    monkeypatch.setattr("bootstrap.scoring.exact.ExactMatch", Lax)
    last = tiny.grow(tiny.recipe(count=2, **settings), tmp_path)[-1].generation
    assert last.verifiers == {"exact": "lax"}
    assert last.decision.improvement is not None
    assert last.decision.improvement.champion == last.decision.improvement.candidate == 1.0
