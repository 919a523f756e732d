"""The resolver: what it says of generations that are committed, next, and further ahead than the gate has decided."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import lineage_factory, tiny
from support.lineage_factory import PROMOTED, REJECTED, UNGATED

from bootstrap.config.models import StageEnd
from bootstrap.config.recipe import Recipe
from bootstrap.ledger_records import Decision, Edge, Generation, GenerationOutcome
from bootstrap.planning.outlook import outlook
from bootstrap.stages.resolver import Resolver, Undecided, decided, expected, known

TWINS = StageEnd(stage="twins")


def taught(*teachers: Any) -> list[dict[str, Any]]:
    distill = {"type": "distill", "updates": 1, "distillation": {"loss": "forward_kl"}}
    return [distill | {"distillation": {**distill["distillation"], "teacher": teacher}} for teacher in teachers]


SAMPLED = {"type": "sft", "updates": 1, "source": {"type": "rejection", "prompts": 4, "sampler": "previous"}}
HELD = tiny.RL | {"algorithm": {"type": "grpo", "kl": {"model": "champion", "weight": 0.1}}}
END = {"type": "stage", "stage": "twins"}
VOTED = {"type": "majority", "voters": ["champion", "base"]}
STAGES: list[dict[str, Any]] = [
    {"name": "first", "generations": 2, "steps": [tiny.RL, *taught("base", "champion")]},
    {"name": "twins", "generations": 4, "branches": 2, "steps": [tiny.RL, *taught("champion")]},
    {"name": "ungated", "gate": "never", "init": END, "steps": [SAMPLED, *taught(1)]},
    {"name": "again", "init": "base", "gate": "always", "verifier": VOTED, "steps": [HELD, *taught("parent", END)]},
    {"name": "merged", "steps": [{"type": "merge", "models": ["champion", END]}]},
    {"name": "fresh", "gate": "never", "init": tiny.MODEL, "steps": [tiny.RL]},
    {"name": "last", "init": "previous", "steps": [tiny.RL, *taught("champion")]},
]
RECIPE = tiny.recipe(generations={"stages": STAGES})
LAST = RECIPE.generations.count


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Generation:
    root = tmp_path_factory.mktemp("store") / "addition"
    return lineage_factory.build(root, plan=(PROMOTED,))[1].generation


def grown(template: Generation, recipe: Recipe, promoted: Callable[[int], bool], *, count: int) -> list[Generation]:
    """Return generation 0 and `count` more, as a run commits them: each made of what the resolver says then."""
    committed: list[Generation] = []
    for number in range(count + 1):
        models = Resolver(recipe, committed, number)
        ungated = recipe.gate_of(number) == "never"
        passes = not ungated and promoted(number)
        outcome = PROMOTED if passes else UNGATED if ungated else REJECTED
        edges = [Edge(role="init", generation=decided(parent), fingerprint="f") for parent in models.parents]
        if models.merged:
            edges = [edge.model_copy(update={"role": "merged"}) for edge in edges]
        edges += [
            Edge(role="teacher", generation=decided(one), fingerprint="f")
            for one in dict.fromkeys(models.teachers.values())
            if one is not None
        ]
        made = {
            "number": number,
            "outcome": outcome if number else GenerationOutcome.BASE,
            "champion": number if passes or not number else committed[-1].champion,
            "decision": Decision(promoted=passes or not number, reason="", champion=0),
            "edges": tuple(edges),
            "target_levels": (number + 4,),
        }
        committed.append(template.model_copy(update=made))
    return committed


def named(models: Resolver) -> dict[Any, Any]:
    """Return all that a generation's names mean, by what they are for."""
    every = {"champion": models.champion, "init": models.init}
    for role in ("merged", "teachers", "samplers", "references", "asked"):
        every |= {(role, name): found for name, found in getattr(models, role).items()}
    return every


def test_what_the_gate_has_yet_to_decide_is_undecided_with_the_generations_that_it_can_become() -> None:
    resolve = partial(Resolver, RECIPE, [])
    first, second, twin = resolve(1), resolve(2), resolve(3)
    assert (first.champion, first.init, first.teachers) == (0, 0, {"base": 0, "champion": 0})
    assert second.champion == second.init == second.teachers["champion"] == Undecided((0, 1))
    assert twin.champion == resolve(4).champion == Undecided((0, 1, 2)), "siblings have one champion"
    assert resolve(7).init == Undecided((5, 6))
    assert resolve(8).init == 0
    assert resolve(8).champion == Undecided((0, 1, 2, 3, 4, 5, 6)), "what is left ungated is no champion to be"


def test_each_role_of_a_model_is_told_by_name() -> None:
    resolve = partial(Resolver, RECIPE, [])
    champion = Undecided((0, 1, 2, 3, 4, 5, 6))
    assert resolve(7).samplers == {"previous": Undecided((5, 6))}
    assert resolve(7).teachers == {1: 1}
    again = resolve(8)
    assert again.references == {"champion": champion}
    assert again.teachers == {"parent": 0, TWINS: Undecided((5, 6))}
    assert again.asked == {"champion": champion, "base": 0}
    merged = resolve(9)
    assert merged.init is None
    assert merged.merged == {"champion": Undecided((0, 1, 2, 3, 4, 5, 6, 8)), TWINS: Undecided((5, 6))}
    assert resolve(10).parents == (), "another model"
    assert resolve(11).init == 10


def test_a_merge_by_differences_is_made_of_the_base_too_but_of_adapters_not() -> None:
    merge = {"type": "merge", "method": "ties", "models": [1, 2]}
    stages = [{"name": "two", "generations": 2, "steps": [tiny.RL]}, {"name": "merged", "steps": [merge]}]
    recipe = tiny.recipe(generations={"stages": stages})
    assert Resolver(recipe, [], 3).parents == (1, 2, 0)
    adapted = recipe.model_copy(update={"training": recipe.training.model_copy(update={"adapter": object()})})
    assert Resolver(adapted, [], 3).parents == (1, 2)


def test_once_siblings_are_grown_the_best_of_them_stands_for_all(template: Generation) -> None:
    committed = grown(template, RECIPE, {1, 5}.__contains__, count=6)
    resolve = partial(Resolver, RECIPE, committed)
    assert resolve(7).init == 5
    assert resolve(8).teachers == {"parent": 0, TWINS: 5}
    assert resolve(5).champion == 1 and resolve(6).champion == 1, "from before them"


def test_a_generation_that_is_committed_is_asked_about_by_those_before_it(template: Generation) -> None:
    committed = grown(template, RECIPE, {1, 2, 5}.__contains__, count=LAST)
    for number in range(LAST + 1):
        then = named(Resolver(RECIPE, committed[:number], number))
        assert named(Resolver(RECIPE, committed, number)) == then


def test_who_is_decided_expected_and_known() -> None:
    undecided = Undecided((1, 4))
    assert (decided(3), expected(3), known(3)) == (3, 3, 3)
    assert (expected(undecided), known(undecided), known(None)) == (4, None, None)
    with pytest.raises(AssertionError):
        decided(undecided)


@given(promoted=st.sets(st.integers(1, LAST)))
def test_an_answer_stays_and_what_is_undecided_becomes_one_of_its_candidates(
    template: Generation, promoted: set[int]
) -> None:
    committed = grown(template, RECIPE, promoted.__contains__, count=LAST)
    for number in range(1, LAST + 1):
        then = named(Resolver(RECIPE, committed[:number], number))
        for seen in range(number):
            for role, found in named(Resolver(RECIPE, committed[:seen], number)).items():
                expected_now = found.candidates if isinstance(found, Undecided) else (found,)
                assert then[role] in expected_now, (number, seen, role)


@given(promoted=st.sets(st.integers(1, LAST)))
def test_what_the_outlook_says_of_the_next_generation_is_what_becomes_of_it(
    template: Generation, promoted: set[int]
) -> None:
    committed = grown(template, RECIPE, promoted.__contains__, count=LAST)
    for number in range(1, LAST + 1):
        resolvers = [Resolver(RECIPE, committed[:number], one) for one in range(LAST + 1)]
        planned = outlook(RECIPE, committed[:number], resolvers, highest=None)[number]
        assert planned.parent == committed[number].parent
        assert planned.teachers == committed[number].teachers
