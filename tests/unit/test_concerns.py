"""A run says when a generation is hopeless though nothing failed, and which setting to change."""

from typing import Any

import pytest
from support import lineage_factory, tiny
from support.lineage_factory import SETTINGS

from bootstrap.evaluation.concerns import concerns
from bootstrap.ledger_records import Accounting, Generation


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> list[Generation]:
    root = tmp_path_factory.mktemp("store") / "addition"
    return [entry.generation for entry in lineage_factory.build(root, plan=(lineage_factory.PROMOTED,))]


def with_accounting(generation: Generation, **counts: Any) -> Generation:
    return generation.model_copy(update={"accounting": Accounting(**counts)})


def without_right_answers(generation: Generation) -> Generation:
    levels = tuple(row.model_copy(update={"num_correct": 0, "accuracy": 0.0}) for row in generation.report.levels)
    return generation.model_copy(update={"report": generation.report.model_copy(update={"levels": levels})})


def test_a_generation_that_learns_is_no_concern(grown: list[Generation]) -> None:
    assert [concern for one in grown for concern in concerns(one, SETTINGS)] == []


def test_a_base_that_answers_nothing_right_is_to_be_trained_longer(grown: list[Generation]) -> None:
    [told] = concerns(without_right_answers(grown[0]), SETTINGS)
    assert told == (
        "it answers none of the 6000 held-out prompts right, and RL has nothing to reward in a model that never "
        "succeeds; train it longer (base.steps[0].updates, now 6) or start from a model that knows more (base.model)"
    )


def test_a_base_that_masters_no_level_it_was_shown_is_to_be_trained_longer(grown: list[Generation]) -> None:
    weak = grown[0].model_copy(update={"report": grown[0].report.model_copy(update={"frontier": 0})})
    [told] = concerns(weak, SETTINGS)
    assert told.startswith("it masters no level, not even those it was shown (best: level 1 at 99.7%), and later")
    assert "aim beyond level 4; train it longer (base.steps[0].updates, now 6)" in told
    untrained = SETTINGS.model_copy(update={"base": SETTINGS.base.model_copy(update={"steps": ()})})
    assert list(concerns(weak, untrained)) == [], "a pretrained model begins somewhere"


def test_without_steps_the_base_is_first_to_be_shown_references(grown: list[Generation]) -> None:
    untrained = SETTINGS.model_copy(update={"base": SETTINGS.base.model_copy(update={"steps": ()})})
    [told] = concerns(without_right_answers(grown[0]), untrained)
    assert "first show it references (base.steps: [{type: sft}])" in told


def test_where_no_answer_passes_prompts_are_to_be_asked_more_often(grown: list[Generation]) -> None:
    [told] = concerns(with_accounting(grown[1], rollouts=48, verdicts=48, failed=48), SETTINGS)
    assert told.startswith(
        "none of its 48 answers passed the verifier exact, so no reward tells a better one; ask each"
    )
    assert "(generations.steps[0].group_size)" in told and "`bootstrap samples gen-1 --worst`" in told


def test_where_all_are_right_the_aim_is_to_be_raised(grown: list[Generation]) -> None:
    dropped = {"zero variance (all right)": 40, "zero variance (all wrong)": 8}
    counts = {"rollouts": 48, "verdicts": 48, "passed": 40, "failed": 8, "dropped": dropped}
    [told] = concerns(with_accounting(grown[1], **counts), SETTINGS)
    assert told == (
        "none of its 48 own answers was trained on (zero variance (all right): 40); aim higher (generations.curriculum)"
    )


def test_weights_that_did_not_change_have_learnt_nothing(grown: list[Generation]) -> None:
    same = grown[1].model_copy(update={"fingerprint": grown[0].fingerprint})
    [told] = concerns(same, SETTINGS)
    assert told.startswith("its weights are those that it started from, so nothing was learnt; raise the learning rate")


def test_the_setting_is_that_of_the_generations_stage(grown: list[Generation]) -> None:
    stages = [{"name": "first", "steps": [tiny.REJECTION]}]
    settings = tiny.recipe(generations={"stages": stages})
    [told] = concerns(with_accounting(grown[1], rollouts=8, verdicts=8, failed=8), settings)
    assert "(generations.stages[0].steps[0].source.samples_per_prompt)" in told
