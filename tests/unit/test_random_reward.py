"""The coin: fair, independent of what an answer says, the same for the same answers, and trusted with nothing else."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from bootstrap.config.answers import ExactVerifier, RandomVerifier
from bootstrap.config.verifiers import Component, RubricVerifier
from bootstrap.records import Status
from bootstrap.scoring.sanity import Case, sanity_check
from bootstrap.scoring.verifier import Answer, build_verifier

RIGHT, WRONG = "42", "24"


def answers(text: str, *, groups: int = 400, size: int = 8) -> list[Answer]:
    return [
        Answer(prompt=f"{g}*7=", text=text, reference=RIGHT, group=f"g1.s0.u0.p{g}")
        for g in range(groups)
        for _ in range(size)
    ]


def rewards(given: list[Answer], **settings: float) -> list[float]:
    judgements = build_verifier(RandomVerifier.model_validate(settings)).judge(given)
    assert all((j.status is Status.PASS) == (j.reward == 1) for j in judgements)
    return [judgement.reward for judgement in judgements if judgement.reward is not None]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


@pytest.mark.parametrize("chance", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("text", [RIGHT, WRONG, "", "\ud800"])
def test_any_answer_is_rewarded_with_the_chance_of_the_recipe(text: str, chance: float) -> None:
    # 3,200 tosses: four standard errors are at most 0.036.
    assert mean(rewards(answers(text), chance=chance)) == pytest.approx(chance, abs=0.036)


def test_equal_answers_of_one_group_have_tosses_of_their_own() -> None:
    found = rewards(answers(RIGHT))
    groups = [sum(found[at : at + 8]) for at in range(0, len(found), 8)]
    # Eight fair tosses agree in 1 of 128 groups; with one toss for all they would agree in every one.
    assert mean([heads in (0, 8) for heads in groups]) < 0.05
    # The number of heads has the variance of eight independent tosses, 2; the standard error is 0.14.
    assert mean([(heads - 4) ** 2 for heads in groups]) == pytest.approx(2, abs=0.6)


def test_the_same_answers_have_the_same_tosses_in_any_order_of_groups_and_beside_any_others() -> None:
    given = [*answers(RIGHT, groups=20), *answers(WRONG, groups=20)]
    found = rewards(given)
    assert rewards(given) == found
    place = {id(answer): at for at, answer in enumerate(given)}
    by_group = sorted(given, key=lambda answer: (answer.group[::-1], answer.text))
    assert rewards(by_group) == [found[place[id(answer)]] for answer in by_group]
    assert rewards(given[:8]) == found[:8]


def test_another_seed_and_another_group_toss_anew() -> None:
    given = answers(RIGHT, groups=20)
    assert rewards(given, seed=1) != rewards(given)
    moved = [replace(answer, group=f"{answer.group}.later") for answer in given]
    assert rewards(moved) != rewards(given)


def test_a_sanity_check_has_nothing_to_prove_about_a_coin() -> None:
    assert (
        sanity_check(build_verifier(RandomVerifier()), [Case(prompt="", reference=RIGHT, right=RIGHT, wrong=[WRONG])])
        == 0
    )


def test_a_rubric_takes_no_coin() -> None:
    parts = (Component(name="right", verifier=ExactVerifier()), Component(name="luck", verifier=RandomVerifier()))
    with pytest.raises(ValidationError, match="luck tosses a coin"):
        RubricVerifier(components=parts)


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_a_coin_has_two_sides(chance: float) -> None:
    with pytest.raises(ValidationError):
        RandomVerifier(chance=chance)
