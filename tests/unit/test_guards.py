"""Guards: which bounds are refused, which are broken, and what becomes of the gate's decision."""

from collections.abc import Collection
from pathlib import Path

import pytest
from pydantic import ValidationError
from support import tiny
from support.lineage_factory import PROMOTED, REJECTED, UNGATED, build

from bootstrap.config.conflicts import Conflicts
from bootstrap.config.guards import DEFAULT_GUARDS, LATER_GUARDS, RANGES, Guard
from bootstrap.config.recipe import Recipe
from bootstrap.evaluation.guards import apply_guards, distrusted, findings
from bootstrap.ledger_records import Annotations, Decision, DiagnosticMetric, Diagnostics, Edge, Generation, GuardAction
from bootstrap.stages.answers import contributors
from bootstrap.store.ledger import Entry

BETTER = Decision(promoted=True, reason="level 5: 0.1 -> 0.9", champion=0)
WORSE = Decision(promoted=False, reason="rejected: level 5 0.1 -> 0.1 is no significant improvement", champion=0)


SAMPLED_BY_CHAMPION = tiny.REJECTION | {"source": {"type": "rejection", "prompts": 8, "sampler": "champion"}}


def stage(name: str, **settings: object) -> dict[str, object]:
    return {"name": name, "steps": [tiny.RL], **settings}


def guard(metric: str = "truncated", **settings: object) -> Guard:
    return Guard.model_validate({"metric": metric, **settings})


def ill(*guards: Guard, **values: float) -> Diagnostics:
    """Health with the findings of these guards."""
    diagnostics = Diagnostics(**values)
    return diagnostics.model_copy(update={"findings": findings(diagnostics, guards)})


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> list[Generation]:
    """Base, promoted, rejected, promoted: the champion is generation 3."""
    entries = build(tmp_path_factory.mktemp("store") / "addition", plan=(PROMOTED, REJECTED, PROMOTED))
    return [entry.generation for entry in entries]


def warned(generation: Generation) -> Generation:
    return generation.model_copy(update={"diagnostics": ill(guard(max=0.1), truncated=0.2)})


def test_the_bound_itself_is_within_bounds() -> None:
    assert findings(Diagnostics(truncated=0.1), [guard(max=0.1)]) == ()
    assert findings(Diagnostics(entropy=0.1), [guard("entropy", min=0.1)]) == ()


def test_what_was_not_measured_breaks_nothing() -> None:
    assert findings(Diagnostics(), DEFAULT_GUARDS) == ()


def test_a_finding_says_what_is_beyond_which_bound() -> None:
    diagnostics = Diagnostics(length_ratio=2.5, entropy=0.0004)
    found = findings(
        diagnostics, [guard("length_ratio", min=0.5, max=2.0), guard("entropy", min=0.001, action="roll_back")]
    )
    assert [str(one) for one in found] == [
        "length_ratio 2.5 is above 2 (warn)",
        "entropy 0.0004 is below 0.001 (roll back)",
    ]


def test_one_metric_may_have_several_guards() -> None:
    early, late = guard(max=0.1), guard(max=0.3, action="stop")
    assert [one.action for one in findings(Diagnostics(truncated=0.2), [early, late])] == [GuardAction.WARN]
    assert [one.action for one in findings(Diagnostics(truncated=0.4), [early, late])] == [
        GuardAction.WARN,
        GuardAction.STOP,
    ]


@pytest.mark.parametrize("decision", [BETTER, WORSE])
def test_without_a_guard_that_rejects_the_gates_word_stands(decision: Decision, earlier: list[Generation]) -> None:
    for diagnostics in (Diagnostics(truncated=0.9), ill(guard(max=0.1), truncated=0.9)):
        champion = len(earlier) if decision.promoted else earlier[-1].champion
        assert apply_guards(decision, diagnostics, earlier=earlier) == (decision, champion)


@pytest.mark.parametrize("action", ["reject", "stop"])
def test_a_guard_overrules_the_gate_and_says_what_that_would_have_done(action: str, earlier: list[Generation]) -> None:
    decision, champion = apply_guards(BETTER, ill(guard(max=0.1, action=action), truncated=0.9), earlier=earlier)
    assert (decision.promoted, champion) == (False, 3)
    assert decision.reason == (
        f"rejected: guard truncated 0.9 is above 0.1 ({action}); the gate would have promoted it (level 5: 0.1 -> 0.9)"
    )


def test_a_guard_adds_its_reason_to_the_gates_rejection(earlier: list[Generation]) -> None:
    decision, _ = apply_guards(WORSE, ill(guard(max=0.1, action="reject"), truncated=0.9), earlier=earlier)
    assert decision.reason == f"{WORSE.reason}; guard truncated 0.9 is above 0.1 (reject)"


def test_a_roll_back_returns_to_the_last_champion_that_broke_no_guard(earlier: list[Generation]) -> None:
    diagnostics = ill(guard(max=0.3, action="roll_back"), truncated=0.9)
    sound, first, second, third = earlier
    assert apply_guards(BETTER, diagnostics, earlier=earlier)[1] == 3
    decision, champion = apply_guards(BETTER, diagnostics, earlier=[sound, first, second, warned(third)])
    assert champion == 1
    assert "(roll back); the champion returns to gen-1;" in decision.reason
    assert apply_guards(BETTER, diagnostics, earlier=[sound, warned(first), second, warned(third)])[1] == 0


def test_a_roll_back_falls_on_generation_0_when_no_champion_was_within_bounds(earlier: list[Generation]) -> None:
    diagnostics = ill(guard(max=0.3, action="roll_back"), truncated=0.9)
    assert apply_guards(BETTER, diagnostics, earlier=[warned(one) for one in earlier])[1] == 0


def test_what_is_left_ungated_leaves_the_champion_where_it_is(earlier: list[Generation]) -> None:
    diagnostics = ill(guard(max=0.3, action="roll_back"), truncated=0.9)
    sound, first, second, third = earlier
    decision, champion = apply_guards(WORSE, diagnostics, earlier=[sound, first, second, warned(third)], ungated=True)
    assert champion == 3
    assert decision.reason == f"{WORSE.reason}; guard truncated 0.9 is above 0.3 (roll back)"


def test_generation_0_is_never_rejected() -> None:
    base = Decision(promoted=True, reason="generation 0: frontier 4", champion=None)
    assert apply_guards(base, ill(guard(max=0.1, action="stop"), truncated=0.9), earlier=[]) == (base, 0)


def test_default_guards_only_warn_and_watch_each_metric_but_one() -> None:
    defaults = (*DEFAULT_GUARDS, *LATER_GUARDS)
    assert {one.action for one in defaults} == {GuardAction.WARN}
    assert set(DiagnosticMetric) - {one.metric for one in defaults} == {DiagnosticMetric.DISTINCT_ANSWERS}


def test_the_jump_of_accuracy_is_watched_in_every_recipe_with_guards_and_is_no_part_of_older_identities() -> None:
    own = guard("accuracy_jump", max=0.5, action="stop")
    assert tiny.recipe().all_guards == (*DEFAULT_GUARDS, *LATER_GUARDS)
    assert tiny.recipe(guards=[guard(max=0.2).model_dump()]).all_guards == (guard(max=0.2), *LATER_GUARDS)
    assert tiny.recipe(guards=[own.model_dump()]).all_guards == (own,)
    assert tiny.recipe(guards=[]).all_guards == ()
    assert "accuracy_jump" not in str(tiny.recipe().identity())


def test_a_jump_of_accuracy_is_recorded_where_it_breaks_its_bound() -> None:
    assert findings(Diagnostics(), LATER_GUARDS, accuracy_jump=0.02) == ()
    broken = findings(Diagnostics(), LATER_GUARDS, accuracy_jump=0.25)
    assert [str(one) for one in broken] == ["accuracy_jump 0.25 is above 0.02 (warn)"]
    assert Diagnostics(findings=broken).value(DiagnosticMetric.ACCURACY_JUMP) == 0.25
    assert Diagnostics().value(DiagnosticMetric.ACCURACY_JUMP) is None


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({}, "give min or max"),
        ({"min": 0.5, "max": 0.2}, "swap them"),
        ({"max": 1.0}, "never above 1, so max 1 cannot be broken; lower it"),
        ({"min": 0.0}, "never below 0, so min 0 cannot be broken; raise it"),
        ({"metric": "distinct_answers", "min": 1.0}, "never below 1"),
        ({"metric": "entropi", "max": 1}, "entropy"),
        ({"max": 0.1, "action": "ignore"}, "roll_back"),
    ],
)
def test_a_guard_that_cannot_act_is_refused(settings: dict[str, object], remedy: str) -> None:
    with pytest.raises(ValidationError, match=remedy):
        Guard.model_validate({"metric": "truncated", **settings})


@pytest.mark.parametrize(
    "stages",
    [
        [stage("a"), stage("b")],
        [stage("a", init=0, generations=2), stage("b", init=1, steps=[SAMPLED_BY_CHAMPION])],
        [stage("a"), stage("b"), stage("c", init="previous", gate="never")],
    ],
)
def test_a_roll_back_that_changes_what_is_grown_is_accepted(stages: list[dict[str, object]]) -> None:
    guards = [{"metric": "entropy", "min": 0.2, "action": "roll_back"}]
    assert tiny.recipe(generations={"stages": stages}, guards=guards).guards[0].action is GuardAction.ROLL_BACK


def spoken_against(generation: Generation, action: str, **changes: object) -> Generation:
    diagnostics = ill(guard(max=0.1, action=action), truncated=0.9)
    return generation.model_copy(update={"diagnostics": diagnostics, **changes})


def test_generations_that_a_guard_rejected_are_distrusted_and_those_that_it_warned_of_are_not(
    earlier: list[Generation],
) -> None:
    sound, first, second, third = earlier
    clean = second.model_copy(update={"diagnostics": Diagnostics()})
    assert distrusted([sound, first, clean, third]) == set(), "the gate's rejections keep their verified answers"
    for action in ("reject", "stop"):
        assert distrusted([sound, spoken_against(first, action), clean, third]) == {1}
    assert distrusted([sound, warned(first), clean, third]) == set()
    assert distrusted([spoken_against(sound, "stop"), first, clean, third]) == set(), "generation 0 stays"


def test_a_roll_back_leaves_the_champions_after_the_one_that_it_returns_to_and_their_children(
    earlier: list[Generation],
) -> None:
    sound, first, second, third = earlier
    # 1 is sound, 2 (warned of) descends from it and 3 from 2; 4 is no child of theirs and 5 rolls back to 1.
    chain = [
        sound,
        first,
        child(second, 2, of=1, champion=2),
        child(third, 3, of=2, champion=2),
        child(second, 4, of=1, champion=2),
        spoken_against(child(third, 5, of=2, champion=1), "roll_back"),
        child(third, 6, of=1, champion=6),
    ]
    assert distrusted(chain) == {2, 3, 5}
    ungated = chain[5].model_copy(update={"outcome": UNGATED, "champion": 2})
    assert distrusted([*chain[:5], ungated]) == {5}, "what is left ungated rolls no champion back"


def child(template: Generation, number: int, *, of: int, champion: int) -> Generation:
    edges = (Edge(role="init", generation=of, fingerprint="f" * 64),)
    changes = {"number": number, "champion": champion, "edges": edges, "diagnostics": Diagnostics()}
    return template.model_copy(update=changes)


def test_answers_of_distrusted_generations_are_not_replayed(earlier: list[Generation]) -> None:
    def numbers(generations: list[Generation], parents: list[int], **more: Collection[int]) -> list[int]:
        nothing = Annotations(started="", finished="", host="", seconds={}, versions={})
        ledger = [Entry(generation=one, annotations=nothing, hash="", previous="") for one in generations]
        return [entry.generation.number for entry in contributors(ledger, parents, **more)]

    sound, first, second, third = earlier
    assert numbers([sound, first, second, third], [3]) == [0, 1, 2, 3]
    assert numbers([sound, first, spoken_against(second, "reject"), third], [3]) == [0, 1, 3]
    arm = child(third, 4, of=3, champion=3).model_copy(update={"outcome": UNGATED})
    assert numbers([sound, first, second, third, arm], [3]) == [0, 1, 2, 3]
    assert numbers([sound, first, second, third, arm], [1, 4]) == [0, 1, 2, 3, 4]
    assert numbers([sound, first, second, third, spoken_against(arm, "reject")], [4]) == [0, 1, 2, 3]
    assert numbers([sound, first, second, third], [1], siblings=range(2, 5)) == [0, 1]


def test_every_metric_has_a_range() -> None:
    assert set(RANGES) == set(DiagnosticMetric)


@pytest.mark.parametrize(
    ("changes", "settings", "remedy"),
    [
        ({"evaluation": {**tiny.EVALUATION, "sampled": None}}, {"metric": "entropy", "min": 0.2}, "evaluation.sampled"),
        ({"diagnostics": {"prompts": 0}}, {"metric": "kl_base", "max": 0.2}, "diagnostics.prompts is 0"),
        ({}, {"metric": "disagreement", "max": 0.2}, "set evaluation.verifier to another one"),
        (
            {"generations": {"count": 1, "init": "previous", "steps": [tiny.RL]}},
            {"metric": "entropy", "min": 0.2, "action": "roll_back"},
            "set init: champion, or action: reject",
        ),
        (
            {"generations": {"stages": [stage("a"), stage("b", init={"type": "stage", "stage": "a"})]}},
            {"metric": "entropy", "min": 0.2, "action": "roll_back"},
            "set init: champion, or action: reject",
        ),
        (
            {"generations": {"stages": [stage("a", init=0), stage("b", init=1), stage("c", init=2)]}},
            {"metric": "entropy", "min": 0.2, "action": "roll_back"},
            "no later generation starts from the champion",
        ),
    ],
)
def test_a_guard_that_never_acts_in_this_recipe_is_refused(
    changes: dict[str, object], settings: dict[str, object], remedy: str
) -> None:
    recipe = tiny.recipe(**changes)
    with pytest.raises((Conflicts, ValidationError), match=remedy):
        tiny.recipe(**changes, guards=[settings])
    assert recipe.guards == DEFAULT_GUARDS


def test_a_guard_on_disagreement_acts_where_a_stage_is_judged_by_another_verifier() -> None:
    guard = {"metric": "disagreement", "max": 0.2}
    stages = [{"name": "first", "steps": [tiny.RL]}, {"name": "last", "steps": [tiny.RL]}]
    for same in (None, {"type": "exact"}):
        stages[1]["verifier"] = same
        with pytest.raises((Conflicts, ValidationError), match=r"set evaluation\.verifier to another one"):
            tiny.recipe(generations={"stages": stages}, guards=[guard])
    stages[1]["verifier"] = {"type": "numeric"}
    tiny.recipe(generations={"stages": stages}, guards=[guard])


def test_a_recipe_that_was_written_out_with_its_defaults_loads_again() -> None:
    recipe = tiny.recipe(evaluation={**tiny.EVALUATION, "sampled": None}, diagnostics={"prompts": 0})
    assert Recipe.model_validate_json(recipe.model_dump_json(), context={"folder": Path()}) == recipe
