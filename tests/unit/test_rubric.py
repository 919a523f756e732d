"""Several verifiers, one reward: how they combine, what travels with it, and what is refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bootstrap.config import verifiers
from bootstrap.config.answers import Judges, Tagged
from bootstrap.config.verifiers import Component, RubricVerifier
from bootstrap.errors import VerifierError
from bootstrap.records import Status
from bootstrap.scoring.rubric import Rubric
from bootstrap.scoring.verifier import Answer, Judgement, Tools, Verifier, build_verifier, failed, passed, unverifiable

EXACT = verifiers.ExactVerifier(answer=Tagged())
FORMAT = verifiers.FormatVerifier()
LENGTH = verifiers.LengthVerifier(max_tokens=20, soft_tokens=10)
GOOD = "<think>so</think><answer>4</answer>"


@dataclass
class Fixed:
    """Says what it is told, and counts how often it is asked."""

    judgement: Judgement
    name: str = "fixed"
    version: str = "0"
    judges: Judges = "answer"
    batches: int = 0
    closed: int = 0

    def judge(self, answers: Sequence[Answer]) -> list[Judgement]:
        self.batches += 1
        return [self.judgement for _ in answers]

    def close(self) -> None:
        self.closed += 1


def rubric(*components: Component, **more: Any) -> Verifier:
    return build_verifier(RubricVerifier(components=components, **more))


def fixed(judgements: Sequence[Judgement], *, weights: Sequence[float] | None = None, **more: Any) -> Rubric:
    """Return a rubric whose components say these things; `more`: its settings."""
    places = range(len(judgements))
    weights = weights or [1.0] * len(judgements)
    components = tuple(Component(name=f"c{k}", verifier=EXACT, weight=w) for k, w in zip(places, weights, strict=True))
    made = Rubric(RubricVerifier(components=components, **more), Tools())
    made._verifiers = [Fixed(judgement) for judgement in judgements]
    return made


def judged(verifier: Verifier, text: str = "", **more: Any) -> Judgement:
    [judgement] = verifier.judge([Answer(prompt="?", text=text, reference="4", **more)])
    return judgement


RIGHT, HALF, WRONG = passed("fixed"), failed("fixed", reward=0.5), failed("fixed", "not four")


@pytest.mark.parametrize(
    ("combine", "weights", "judgements", "status", "reward"),
    [
        ("sum", [1, 1], [RIGHT, RIGHT], Status.PASS, 1.0),
        ("sum", [1, 1], [RIGHT, WRONG], Status.FAIL, 0.5),
        ("sum", [3, 1], [RIGHT, WRONG], Status.FAIL, 0.75),
        ("sum", [3, -1], [RIGHT, HALF], Status.FAIL, 1.25),
        ("product", [1, 1], [RIGHT, HALF], Status.FAIL, 0.5),
        ("product", [1, 1], [HALF, HALF], Status.FAIL, 0.25),
        ("product", [1, 1], [RIGHT, RIGHT], Status.PASS, 1.0),
        ("gate", [1, 1], [RIGHT, WRONG], Status.FAIL, 0.0),
        ("gate", [1, 3], [RIGHT, passed("fixed", reward=0.8)], Status.PASS, 0.85),
    ],
)
def test_rewards_combine_as_declared(combine: str, weights: list, judgements: list, status: Status, reward: float):
    judgement = judged(fixed(judgements, weights=weights, combine=combine))
    assert (judgement.status, judgement.reward) == (status, pytest.approx(reward))
    assert judgement.breakdown == {f"c{k}": each.reward for k, each in enumerate(judgements)}


@pytest.mark.parametrize("combine", ["sum", "product", "gate"])
def test_what_one_component_cannot_judge_none_judges(combine: str):
    judgement = judged(fixed([RIGHT, unverifiable("no server"), WRONG], combine=combine))
    assert (judgement.status, judgement.reward, judgement.breakdown) == (Status.UNVERIFIABLE, None, {})
    assert judgement.reason == "c1: no server; c2: not four"


def test_only_deciding_components_decide():
    shaped = rubric(
        Component(name="right", verifier=EXACT),
        Component(name="length", verifier=LENGTH, weight=0.5, decides=False),
        combine="gate",
    )
    long = judged(shaped, GOOD, num_tokens=21)
    assert long.status is Status.PASS
    assert long.reward == pytest.approx((1 - 0.5) / 1.5)
    assert long.breakdown == {"right": 1.0, "length": -1.0}
    assert long.reason == "length: 21 tokens"
    wrong = judged(shaped, "<answer>5</answer>", num_tokens=1)
    assert (wrong.status, wrong.reward) == (Status.FAIL, 0.0)


@pytest.mark.parametrize("combine", ["sum", "gate"])
def test_a_length_in_the_soft_zone_shapes_the_reward_and_makes_nothing_wrong(combine: str):
    shaped = rubric(Component(name="right", verifier=EXACT), Component(name="length", verifier=LENGTH), combine=combine)
    found = judged(shaped, GOOD, num_tokens=15)
    assert (found.status, found.reward) == (Status.PASS, pytest.approx((1 - 0.5) / 2))
    assert judged(shaped, "<answer>5</answer>", num_tokens=15).status is Status.FAIL
    assert judged(shaped, GOOD, num_tokens=21).status is Status.FAIL


def test_the_breakdown_of_a_nested_rubric_is_dotted():
    inner = RubricVerifier(
        components=(Component(name="right", verifier=EXACT), Component(name="form", verifier=FORMAT, weight=3))
    )
    outer = rubric(Component(name="all", verifier=inner), Component(name="form", verifier=FORMAT))
    judgement = judged(outer, "<answer>4</answer>")
    assert judgement.breakdown == {"all": 0.25, "all.right": 1.0, "all.form": 0.0, "form": 0.0}
    assert judgement.reward == 0.125
    assert judgement.reason.startswith("all: form: 0 <think>")


def test_each_component_sees_all_answers_once_and_is_closed():
    made = fixed([RIGHT, WRONG])
    answer = Answer(prompt="?", text="", reference="4")
    assert len(made.judge([answer] * 50)) == 50
    made.close()
    assert [(each.batches, each.closed) for each in made._verifiers] == [(1, 1), (1, 1)]


def test_cost_and_confinement_travel_with_the_judgement():
    costly = Judgement(status=Status.PASS, reward=1.0, reason="ran", sandbox="seal", cpu_seconds=1.5)
    judgement = judged(fixed([costly, RIGHT, costly]))
    assert (judgement.sandbox, judgement.cpu_seconds) == ("seal", 3.0)


@pytest.mark.parametrize(
    ("components", "judges"),
    [
        ([Component(name="a", verifier=EXACT), Component(name="b", verifier=FORMAT)], "answer"),
        ([Component(name="a", verifier=EXACT, decides=False), Component(name="b", verifier=FORMAT)], "form"),
        ([Component(name="a", verifier=verifiers.MajorityVerifier()), Component(name="b", verifier=FORMAT)], "group"),
    ],
)
def test_it_judges_what_its_deciding_components_judge(components: list[Component], judges: Judges):
    assert rubric(*components).judges == judges


def test_its_version_follows_its_components_and_their_places():
    parts = [Component(name="a", verifier=EXACT), Component(name="b", verifier=FORMAT)]
    made = [rubric(*parts), rubric(*parts), rubric(*parts[::-1]), rubric(*parts, combine="gate")]
    assert [made[0].version == other.version for other in made] == [True, True, False, False]
    changed = Rubric(RubricVerifier(components=parts), Tools())
    assert changed.version == made[0].version


def test_its_version_changes_with_the_code_of_a_component(monkeypatch: pytest.MonkeyPatch):
    settings = RubricVerifier(components=(Component(name="a", verifier=EXACT),))
    before = build_verifier(settings).version
    monkeypatch.setattr("bootstrap.scoring.rubric.build_verifier", lambda *_, **__: Fixed(RIGHT, version="other code"))
    assert build_verifier(settings).version != before


A = {"name": "a", "verifier": {"type": "exact"}}
B = {"name": "b", "verifier": {"type": "length", "max_tokens": 9, "soft_tokens": 3}}
NESTED = {"name": "n", "verifier": {"type": "rubric", "components": [A, B]}}
SCORE = {
    "name": "s",
    "verifier": {"type": "reward_model", "model": {"type": "folder", "path": "m"}, "activation": "none"},
}


@pytest.mark.parametrize(
    ("data", "remedy"),
    [
        ({"components": []}, "at least 1 item"),
        ({"components": [A, A]}, "a stands twice; give each"),
        ({"components": [A | {"weight": 0}]}, "at least one component a positive weight"),
        ({"components": [A, B | {"weight": -1}]}, "at least one component a positive weight"),
        ({"components": [A | {"weight": float("inf")}]}, "finite"),
        ({"components": [A | {"decides": False}]}, "decides: true"),
        ({"components": [A | {"weight": 2}], "combine": "product"}, "use combine: sum"),
        ({"components": [A, B], "combine": "product"}, "use combine: sum"),
        ({"components": [A, NESTED], "combine": "product"}, "the reward of n can be negative.*use combine: sum"),
        ({"components": [A, SCORE], "combine": "product"}, "the reward of s can be negative.*use combine: sum"),
        ({"components": [A | {"weight": 1e308}, B | {"weight": 1e308}]}, "no finite number; make them smaller"),
        ({"components": [A | {"name": "a.b"}]}, "must be of the form"),
    ],
)
def test_a_rubric_that_makes_no_sense_is_refused(data: dict, remedy: str):
    with pytest.raises(ValidationError, match=remedy):
        RubricVerifier.model_validate(data)


def test_a_product_may_hold_a_rubric_without_penalties():
    nested = {"name": "n", "verifier": {"type": "rubric", "components": [A]}}
    assert RubricVerifier.model_validate({"components": [A, nested], "combine": "product"}).combine == "product"


@pytest.mark.parametrize("kind", [verifiers.CodeVerifier, verifiers.MathVerifier])
def test_cpu_seconds_that_no_program_could_start_in_are_refused(kind: type):
    with pytest.raises(ValidationError, match=r"greater than or equal to 0\.02"):
        kind(cpu_seconds=0.019)
    assert kind(cpu_seconds=0.02).cpu_seconds == 0.02


def test_components_that_stand_are_closed_when_a_later_one_cannot_be_built(monkeypatch: pytest.MonkeyPatch):
    first = Fixed(RIGHT)

    def build(settings: Any, *, tools: Tools) -> Verifier:
        return first if isinstance(settings, verifiers.ExactVerifier) else build_verifier(settings, tools=tools)

    monkeypatch.setattr("bootstrap.scoring.rubric.build_verifier", build)
    broken = Component(name="b", verifier=verifiers.RegexVerifier(pattern="("))
    with pytest.raises(VerifierError, match="does not compile"):
        Rubric(RubricVerifier(components=(Component(name="a", verifier=EXACT), broken)), Tools())
    assert first.closed == 1


def test_what_a_component_lacks_stops_the_build():
    with pytest.raises(VerifierError, match="does not compile"):
        rubric(Component(name="a", verifier=EXACT), Component(name="b", verifier=verifiers.RegexVerifier(pattern="(")))


REWARDS = st.floats(-1, 1)


@settings(max_examples=60)
@given(st.lists(st.tuples(REWARDS, st.floats(0.01, 100)), min_size=1, max_size=5))
def test_a_mean_lies_between_the_least_and_the_greatest_reward(parts: list[tuple[float, float]]):
    rewards, weights = zip(*parts, strict=True)
    judgement = judged(fixed([passed("fixed", reward=reward) for reward in rewards], weights=weights))
    assert judgement.reward is not None
    assert min(rewards) - 1e-9 <= judgement.reward <= max(rewards) + 1e-9


@settings(max_examples=60)
@given(st.permutations([(RIGHT, 1.0), (HALF, 2.0), (WRONG, 3.0)]), st.sampled_from(["sum", "gate"]))
def test_the_order_of_components_does_not_matter(parts: list[tuple[Judgement, float]], combine: str):
    judgements, weights = zip(*parts, strict=True)
    judgement = judged(fixed(judgements, weights=weights, combine=combine))
    assert judgement.reward == pytest.approx(2 / 6 if combine == "sum" else 0)
