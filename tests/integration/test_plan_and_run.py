"""`plan` and `run` agree: before each generation is grown, the plan shows what its record holds afterwards."""

from typing import Any

import pytest
from support import tiny

from bootstrap.config.recipe import Recipe
from bootstrap.ledger_records import GenerationOutcome
from bootstrap.planning.plan import make_plan
from bootstrap.stages.resolver import Resolver, Undecided
from bootstrap.store.ledger import Entry

pytestmark = [pytest.mark.torch, pytest.mark.training]

END = {"type": "stage", "stage": "twins"}


def taught(*teachers: Any) -> list[dict[str, Any]]:
    given = tiny.DISTILL["distillation"]
    return [tiny.DISTILL | {"updates": 1, "distillation": given | {"teacher": teacher}} for teacher in teachers]


SHORT = tiny.RL | {"rounds": 1, "prompts_per_update": 2}
SAMPLED = tiny.REJECTION | {"updates": 1, "source": {"type": "rejection", "prompts": 4, "sampler": "previous"}}
HELD = SHORT | {"algorithm": {"type": "grpo", "kl": {"model": "champion", "weight": 0.1}}}
STAGES: list[dict[str, Any]] = [
    {"name": "prepared", "gate": "always", "steps": [SHORT, *taught("base")]},
    {"name": "twins", "generations": 2, "branches": 2, "steps": [SHORT, *taught("parent")]},
    {"name": "ungated", "gate": "never", "init": END, "steps": [SAMPLED, *taught(1)]},
    {"name": "again", "init": "base", "steps": [HELD, *taught(END, "champion")]},
    {"name": "merged", "steps": [{"type": "merge", "models": ["champion", END]}]},
    {"name": "student", "gate": "never", "init": tiny.MODEL | {"num_layers": 1}, "steps": taught("champion")},
    {"name": "last", "init": "previous", "gate": "never", "steps": [SHORT, *taught(END, 0)]},
]
ROLES = {"init": "init", "merged": "merged", "teachers": "teacher", "samplers": "sampler", "references": "reference"}


@pytest.fixture(scope="module")
def lineage(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, list[Entry]]:
    recipe = tiny.recipe(generations={"stages": STAGES})
    return recipe, tiny.grow(recipe, tmp_path_factory.mktemp("lineage"))


Lineage = tuple[Recipe, list[Entry]]


def test_the_lineage_has_promoted_rejected_and_ungated_generations(lineage: Lineage) -> None:
    recipe, entries = lineage
    assert len(entries) == recipe.generations.count + 1
    assert {entry.generation.outcome for entry in entries} == set(GenerationOutcome)


def test_the_plan_of_the_next_generation_is_what_its_record_holds(lineage: Lineage) -> None:
    recipe, entries = lineage
    for number in range(1, len(entries)):
        planned = make_plan(recipe, lineage="tiny", workers=1, entries=entries[:number]).generations[number]
        grown = entries[number].generation
        assert planned.status == "planned"
        assert (planned.parent, planned.teachers) == (grown.parent, grown.teachers), grown.name
        assert planned.target_levels == grown.target_levels, grown.name
        if grown.parent is not None:
            assert planned.start in (f"gen-{grown.parent}", f"gen-{grown.parent} (champion)")
        else:
            assert planned.start == {6: "a merge", 7: "random weights"}.get(grown.number, planned.start)


def test_every_edge_from_a_model_is_one_that_the_resolver_names(lineage: Lineage) -> None:
    recipe, entries = lineage
    committed = [entry.generation for entry in entries]
    for grown in committed[1:]:
        models = Resolver(recipe, committed[: grown.number], grown.number)
        for role, edge_role in ROLES.items():
            found = getattr(models, role)
            wanted = set(found.values()) if role != "init" else {found} - {None}
            assert {e.generation for e in grown.edges if e.role == edge_role} == wanted, (grown.name, role)
        assert models.champion == grown.decision.champion


def test_a_plan_made_earlier_shows_the_same_or_that_it_is_undecided(lineage: Lineage) -> None:
    recipe, entries = lineage
    undecided = 0
    for seen in range(len(entries)):
        early = make_plan(recipe, lineage="tiny", workers=1, entries=entries[:seen]).generations
        committed = [entry.generation for entry in entries[:seen]]
        for number in range(max(seen, 1), len(entries)):
            grown, init = entries[number].generation, Resolver(recipe, committed, number).init
            if isinstance(init, Undecided):
                undecided += 1
                assert early[number].parent is None and grown.parent in init.candidates
            else:
                assert early[number].parent == grown.parent == init
            assert early[number].teachers in (None, grown.teachers)
    assert undecided


def test_the_names_mean_whom_they_say(lineage: Lineage) -> None:
    _, entries = lineage
    generations = [entry.generation for entry in entries]
    best = generations[4].parent
    assert best in (2, 3), "the best of the twins"
    assert generations[4].teachers == (1,)
    assert (generations[5].parent, generations[5].teachers) == (0, (best, generations[4].champion))
    assert generations[6].parents == tuple(sorted({best, generations[5].champion}))
    assert generations[7].parents == ()
    assert (generations[8].parent, generations[8].teachers) == (7, (best, 0))
