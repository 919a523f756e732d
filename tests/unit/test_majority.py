"""The vote: who may vote, who wins, and what becomes of the group when nobody does."""

import random
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from bootstrap.config.answers import Tagged
from bootstrap.config.models import MajorityVerifier, roles
from bootstrap.config.verifiers import RubricVerifier
from bootstrap.errors import VerifierError
from bootstrap.records import Status
from bootstrap.scoring.sanity import Case, sanity_check
from bootstrap.scoring.verifier import Answer, Judgement, Tools, build_verifier


def group(*texts: str, name: str = "g", prompt: str = "6*7=", **changes: Any) -> list[Answer]:
    """Return the answers of one group; the reference is wrong on purpose, since no vote may look at it."""
    return [Answer(prompt=prompt, text=text, reference="never", group=name, **changes) for text in texts]


def judged(answers: list[Answer], *, tools: Tools | None = None, **settings: Any) -> list[Judgement]:
    return build_verifier(MajorityVerifier(**settings), tools=tools).judge(answers)


def statuses(judgements: list[Judgement]) -> str:
    """Return one letter per judgement: P, F or U."""
    return "".join(judgement.status[0] for judgement in judgements)


class Elders:
    """Generations with a fixed answer each; None stands for one that the length limit cuts."""

    def __init__(self, answers: Mapping[str | int, str | None]) -> None:
        self.answers = answers
        self.prompts: list[str] = []

    def complete(
        self, prompts: list[str], *, model: str | int, samples: int, temperature: float, max_new_tokens: int, seed: int
    ) -> list[list[str]]:
        self.prompts += prompts
        text = self.answers[model]
        return [[] if text is None else [text] * samples for _ in prompts]


@pytest.mark.parametrize(
    ("texts", "settings", "expected"),
    [
        (("42", "42", "41"), {}, "PPF"),
        (("42", " 42\n", "41"), {}, "PPF"),
        (("42", "42", "41", "40"), {}, "PPFF"),
        (("42", "42", "41", "40"), {"min_share": 0.51}, "FFFF"),
        (("42", "42", "41"), {"min_share": 2 / 3}, "PPF"),
        (("42", "42", "41", "41"), {}, "FFFF"),
        (("42", "41"), {}, "FF"),
        (("42", "41", "40"), {"min_share": 0.1}, "FFF"),
        (("42", "42"), {"min_share": 1.0}, "PP"),
        (("42",), {}, "U"),
    ],
)
def test_most_votes_win_and_ties_fail_the_whole_group(
    texts: tuple[str, ...], settings: dict[str, Any], expected: str
) -> None:
    assert statuses(judged(group(*texts), **settings)) == expected


def test_an_answer_alone_is_unverifiable_and_the_reason_names_the_remedy() -> None:
    [found] = judged(group("42"))
    assert found.status is Status.UNVERIFIABLE
    assert "evaluation.verifier" in found.reason


def test_cut_and_missing_answers_have_no_vote_and_fail() -> None:
    cut = group("42", "42", "42", truncated=True)
    assert statuses(judged([*cut, *group("41", "41")])) == "FFFPP"
    tagged = group("<answer>42</answer>", "<answer>42</answer>!", "42", "42", "42")
    assert statuses(judged(tagged, answer=Tagged())) == "PPFFF"
    assert statuses(judged([*cut, *group("41")])) == "FFFF", "one vote is no vote"


def test_answers_much_shorter_than_the_longest_have_no_vote() -> None:
    texts = ("7", "7", "7", "7531", "7531")
    assert statuses(judged(group(*texts))) == "PPPFF"
    found = judged(group(*texts), min_length_ratio=0.5)
    assert statuses(found) == "FFFPP"
    assert found[0].reason == "shorter than 0.5 of the group's longest"
    assert statuses(judged(group("753", "753", "7531"), min_length_ratio=0.75)) == "PPF", "at the bound it still votes"
    assert statuses(judged(group("", "", ""), min_length_ratio=1.0)) == "PPP"


def test_groups_are_apart_and_keep_their_order() -> None:
    mixed = [
        answer
        for pair in zip(group("1", "1", "2", name="a"), group("2", "2", "1", name="b"), strict=True)
        for answer in pair
    ]
    assert statuses(judged(mixed)) == "PPPPFF"
    assert judged([]) == []


def test_the_verdict_does_not_depend_on_the_order_of_the_answers() -> None:
    answers = group("42", "41", "42", "40", "41", "42", "")
    expected = {answer.text: judgement for answer, judgement in zip(answers, judged(answers), strict=True)}
    for seed in range(10):
        shuffled = random.Random(seed).sample(answers, len(answers))
        assert judged(shuffled) == [expected[answer.text] for answer in shuffled]


def test_voters_decide_and_are_not_judged() -> None:
    elders = Elders({"base": "41", "champion": "41", 3: None})
    tools = Tools(models=elders)
    answers = [*group("42", "42", "41"), *group("8", name="h", prompt="2*4=")]
    found = judged(answers, tools=tools, voters=("base", "champion"))
    assert statuses(found) == "FFPF"
    assert found[2].reason == "with the majority: 3 of 5 votes"
    assert elders.prompts == ["6*7=", "2*4="] * 2, "each prompt once per voter"
    assert statuses(judged(group("42", "42", "41"), tools=tools, voters=("base", 3))) == "FFF"
    assert statuses(judged(group("42", "42", "41"), tools=tools, voters=(3,))) == "PPF", "a cut answer has no vote"
    assert statuses(judged(group("41"), tools=tools, voters=("base",))) == "P", "with voters nobody stands alone"
    assert statuses(judged(group("41"), tools=tools, voters=(3,))) == "F", "they may still not agree on anything"
    many = judged(
        group("42", "42", "42"), tools=tools, voters=("base",), voter_samples=4, voter_temperature=1.0, min_share=0.1
    )
    assert statuses(many) == "FFF"


def test_without_a_lineage_no_generation_can_vote() -> None:
    with pytest.raises(VerifierError, match="no lineage here"):
        build_verifier(MajorityVerifier(voters=("base",)))


def test_the_vote_withstands_the_sanity_check_of_verifiers_of_groups() -> None:
    case = Case(prompt="6*7=", reference="42", right="42", wrong=["41", "43", "4", ""])
    assert sanity_check(build_verifier(MajorityVerifier()), [case]) == 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"voter_samples": 2}, "without voters"),
        ({"voters": ["base", "base"]}, "twice"),
        ({"voters": ["base"], "voter_samples": 2}, "all alike"),
        ({"voters": ["elder"]}, "voters"),
        ({"min_share": 0}, "min_share"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MajorityVerifier.model_validate(settings)


def test_the_generations_that_a_rubric_asks_are_listed_once_each() -> None:
    rubric = RubricVerifier.model_validate(
        {
            "components": [
                {"name": "vote", "verifier": {"type": "majority", "voters": ["parent", 0]}},
                {
                    "name": "inner",
                    "verifier": {
                        "type": "rubric",
                        "components": [
                            {"name": "again", "verifier": {"type": "majority", "voters": [0]}},
                            {
                                "name": "said",
                                "verifier": {"type": "judge", "rubric": "Right.", "model": {"type": "generation"}},
                            },
                        ],
                    },
                },
                {"name": "exact", "verifier": {"type": "exact"}},
            ]
        }
    )
    assert roles(rubric) == (("voter", "parent"), ("voter", 0), ("judge", "champion"))
