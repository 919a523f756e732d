"""Alpha over a lineage: what equal candidates are promoted by stays within alpha, whatever is promoted in between."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import tiny

from bootstrap.evaluation.spending import shared_alpha
from bootstrap.records import Outcome
from bootstrap.stages.bar import test_of as improvement_test  # pytest would collect a name that begins with `test`


@pytest.mark.parametrize(
    ("promoted", "shares"),
    [((), 1), ((False,), 1), ((True,), 2), ((True, True), 3), ((True, False), 1), ((True, False, True), 2)],
)
def test_a_promotion_passes_its_share_on(promoted, shares):
    assert shared_alpha(0.06, planned=6, promoted=promoted) == pytest.approx(0.01 * shares)


def test_no_candidate_is_tested_at_more_than_alpha():
    assert shared_alpha(0.05, planned=3, promoted=[True] * 9) == pytest.approx(0.05)


@given(st.lists(st.booleans(), min_size=1, max_size=24))
def test_candidates_that_are_no_better_share_alpha(better):
    """Where only what is better is promoted, the levels of all others add up to alpha at most (union bound)."""
    spent = [
        shared_alpha(0.05, planned=len(better), promoted=better[:place]) for place, one in enumerate(better) if not one
    ]
    assert sum(spent) <= 0.05 + 1e-12


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    recipe = tiny.recipe(count=2, gate={"min_prompts": 10, "spending": "lineage"})
    return recipe, tiny.grow(recipe, tmp_path_factory.mktemp("shared") / "tiny")


def test_the_gate_tests_at_the_share_and_says_so(two):
    _, entries = two
    decision = entries[1].generation.decision
    assert decision.improvement.alpha == pytest.approx(0.025)
    promoted = decision.promoted
    told = "alpha 0.025 of 0.05 over 2 comparisons"
    assert told in decision.reason
    assert entries[2].generation.decision.improvement.alpha == pytest.approx(0.05 if promoted else 0.025)


@pytest.mark.parametrize(("outcome", "alpha"), [(Outcome.PROMOTED, 0.02), (Outcome.REJECTED, 0.01)])
def test_siblings_are_one_comparison(two, outcome, alpha):
    _, entries = two
    steps = [tiny.RL]
    stages = [
        {"name": "pairs", "generations": 4, "branches": 2, "steps": steps},
        {"name": "aside", "generations": 2, "gate": "never", "steps": steps},
        {"name": "rest", "generations": 3, "steps": steps},
    ]
    recipe = tiny.recipe(generations={"stages": stages}, gate={"min_prompts": 10, "spending": "lineage"})
    assert recipe.num_compared == 5
    first = entries[1].generation
    committed = [first.model_copy(update={"number": number, "outcome": Outcome.REJECTED}) for number in range(7)]
    committed[4] = committed[4].model_copy(update={"outcome": outcome})
    found = improvement_test(recipe, committed, recipe.generations.position(7))
    assert (found.alpha, found.branches) == (pytest.approx(alpha), 1)
    pair = improvement_test(recipe, committed[:3], recipe.generations.position(3))
    assert (pair.level, pair.branches) == (pytest.approx(0.005), 2)


def test_fixed_data_share_alpha_unless_told_otherwise(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "1+1=", "answer": "2"}\n')
    task = {"type": "file", "path": str(path), "alphabet": "0123456789+=", "max_prompt_length": 9}
    assert tiny.recipe(task=task).spends_over_lineage
    assert not tiny.recipe(task=task, gate={"min_prompts": 10, "spending": "generation"}).spends_over_lineage
    assert not tiny.recipe().spends_over_lineage
    assert tiny.recipe().identity() == tiny.recipe(gate={"min_prompts": 10, "spending": "auto"}).identity()
    assert "spending" not in tiny.recipe().identity()["gate"]


def test_the_targets_prompts_count_together(tmp_path):
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
