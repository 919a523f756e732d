"""Alpha over a lineage: what equal candidates are promoted by stays within alpha, whatever is promoted in between."""

from dataclasses import replace
from random import Random

import pytest
from support import tiny

from bootstrap.evaluation.spending import shared_alpha
from bootstrap.ledger_records import GenerationOutcome
from bootstrap.planning.plan import make_plan
from bootstrap.stages.bar import improvement_test


def levels(promoted, *, alpha=0.06, planned=None):
    """Return what each candidate of a lineage is tested at, the next one included; `planned`: by candidate."""
    spent, found = 0.0, []
    planned = planned or [len(promoted) + 1] * (len(promoted) + 1)
    for place, count in enumerate(planned):
        found.append(shared_alpha(alpha, spent=spent, remaining=count - place))
        if place < len(promoted) and not promoted[place]:
            spent += found[-1]
    return found


def test_what_is_left_is_shared_equally():
    assert levels([False] * 5) == pytest.approx([0.01] * 6)


def test_a_promotion_spends_nothing():
    assert levels([True, True, False], alpha=0.06) == pytest.approx([0.015, 0.02, 0.03, 0.03])


def test_a_lineage_that_is_carried_on_shares_what_is_left():
    assert levels([False, False], planned=[2, 2, 4]) == pytest.approx([0.03, 0.03, 0.0])
    assert levels([True, False], planned=[2, 2, 4]) == pytest.approx([0.03, 0.06, 0.0])
    assert levels([False, True], planned=[2, 2, 4]) == pytest.approx([0.03, 0.03, 0.015])


def test_what_is_spent_in_equal_parts_leaves_nothing():
    assert shared_alpha(0.05, spent=sum([0.05 / 3] * 3), remaining=1) == 0.0
    assert shared_alpha(0.01, spent=sum([0.01 / 7] * 7), remaining=2) == 0.0


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    recipe = tiny.recipe(count=2, gate={"min_prompts": 10, "spending": "lineage"})
    return recipe, tiny.grow(recipe, tmp_path_factory.mktemp("shared") / "tiny")


@pytest.mark.torch
@pytest.mark.training
def test_the_gate_tests_at_the_share_and_says_so(two):
    _, entries = two
    decision = entries[1].generation.decision
    assert decision.improvement.alpha == pytest.approx(0.025)
    promoted = decision.promoted
    told = "alpha 0.025 of 0.05 over the lineage"
    assert told in decision.reason
    assert entries[2].generation.decision.improvement.alpha == pytest.approx(0.05 if promoted else 0.025)


@pytest.mark.torch
@pytest.mark.training
@pytest.mark.parametrize(
    ("outcome", "alpha"), [(GenerationOutcome.PROMOTED, 0.04 / 3), (GenerationOutcome.REJECTED, 0.01)]
)
def test_siblings_are_one_comparison(two, outcome, alpha):
    _, entries = two
    steps = [tiny.RL]
    stages = [
        {"name": "pairs", "generations": 4, "branches": 2, "steps": steps},
        {"name": "ungated", "generations": 2, "gate": "never", "steps": steps},
        {"name": "rest", "generations": 3, "steps": steps},
    ]
    recipe = tiny.recipe(generations={"stages": stages}, gate={"min_prompts": 10, "spending": "lineage"})
    assert recipe.num_compared == 5
    first = entries[1].generation
    tested = first.decision.improvement.model_copy(update={"alpha": 0.005})
    decision = first.decision.model_copy(update={"improvement": tested})
    committed = [
        first.model_copy(update={"number": number, "outcome": GenerationOutcome.REJECTED, "decision": decision})
        for number in range(7)
    ]
    committed[4] = committed[4].model_copy(update={"outcome": outcome})
    found = improvement_test(recipe, committed, recipe.generations.position(7))
    assert (found.alpha, found.branches) == (pytest.approx(alpha), 1)
    pair = improvement_test(recipe, committed[:3], recipe.generations.position(3))
    assert (pair.level, pair.branches) == (pytest.approx(0.005), 2)


@pytest.mark.torch
@pytest.mark.training
@pytest.mark.parametrize("seed", range(12))
def test_candidates_that_are_no_better_share_alpha(two, seed):
    """Where only what is better is promoted, the levels of all others add up to alpha at most (union bound), also where
    the lineage's length is set anew at every step."""
    rng = Random(seed)
    template, committed, spent = two[1][1].generation, [two[1][0].generation], 0.0
    for number in range(1, 25):
        count = rng.randrange(number, number + 20)
        recipe = tiny.recipe(count=count, gate={"min_prompts": 10, "spending": "lineage"})
        level = improvement_test(recipe, committed, recipe.generations.position(number)).level
        better = rng.random() < 0.5
        spent += 0.0 if better else level
        test = template.decision.improvement.model_copy(update={"alpha": level})
        decision = template.decision.model_copy(update={"improvement": test})
        outcome = GenerationOutcome.PROMOTED if better else GenerationOutcome.REJECTED
        committed.append(template.model_copy(update={"number": number, "decision": decision, "outcome": outcome}))
    assert 0 < spent <= 0.05 + 1e-12


def test_what_the_recipe_promotes_by_its_word_shares_nothing():
    generations = {"stages": [{"name": "all", "generations": 2, "gate": "always", "steps": [tiny.RL]}]}
    recipe = tiny.recipe(generations=generations, gate={"min_prompts": 10, "spending": "lineage"})
    assert recipe.num_compared == 0
    assert improvement_test(recipe, [], recipe.generations.position(1)).alpha == 0.05


def test_fixed_data_share_alpha_unless_told_otherwise(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "1+1=", "answer": "2"}\n')
    task = {"type": "file", "path": str(path), "alphabet": "0123456789+=", "max_prompt_length": 9}
    assert tiny.recipe(task=task).spends_over_lineage
    assert not tiny.recipe(task=task, gate={"min_prompts": 10, "spending": "generation"}).spends_over_lineage
    assert not tiny.recipe().spends_over_lineage
    assert tiny.recipe().identity() == tiny.recipe(gate={"min_prompts": 10, "spending": "auto"}).identity()
    assert "spending" not in tiny.recipe().identity()["gate"]


def test_the_targets_prompts_count_together():
    """Six gained and none lost are significant at 0.05: two levels of three prompts have them, one has not."""

    def settings(curriculum, prompts, **gate):
        generations = {"count": 4, "curriculum": curriculum, "steps": [tiny.RL]}
        evaluation = tiny.EVALUATION | {"prompts_per_level": prompts, "sampled": None}
        return tiny.recipe(generations=generations, evaluation=evaluation, gate={"min_prompts": 2, **gate})

    settings({"type": "given", "levels": [3, 5]}, 3)
    with pytest.raises(ValueError, match=r"all 3 prompts is not significant at gate\.alpha 0\.05, .*use 6 or more"):
        settings({"type": "given", "levels": [5]}, 3)
    with pytest.raises(ValueError, match=r"gate\.alpha 0\.05 / 4 comparisons, so .*use 4 or more"):
        settings({"type": "given", "levels": [3, 5]}, 3, spending="lineage")


def test_only_stages_that_are_compared_need_prompts_enough():
    def settings(*stages, prompts):
        named = [{"name": f"s{n}", "steps": [tiny.RL], **stage} for n, stage in enumerate(stages)]
        evaluation = tiny.EVALUATION | {"prompts_per_level": prompts, "sampled": None}
        return tiny.recipe(generations={"stages": named}, evaluation=evaluation, gate={"min_prompts": 2})

    settings({"gate": "never"}, {"gate": "always"}, prompts=4)
    settings({"generations": 8, "branches": 8}, {}, prompts=6)
    with pytest.raises(ValueError, match="8 branches, so nothing could be promoted; use 9 or more"):
        settings({"generations": 8, "branches": 8}, {"gate": "always"}, prompts=6)


@pytest.mark.torch
@pytest.mark.training
def test_a_plan_says_that_alpha_is_spent(two):
    longer = tiny.recipe(count=3, gate={"min_prompts": 10, "spending": "lineage"})
    rejected = {"outcome": GenerationOutcome.REJECTED}
    entries = [replace(entry, generation=entry.generation.model_copy(update=rejected)) for entry in two[1]]
    told = make_plan(longer, lineage="tiny", workers=1, entries=entries).notes
    assert any("alpha is spent by rejections" in note for note in told)
    assert not any("is spent" in note for note in make_plan(longer, lineage="tiny", workers=1).notes)
