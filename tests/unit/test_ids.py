"""Ids: what is printed is parsed again, and stored ids keep their form."""

import pytest

from bootstrap.errors import StoreCorrupt
from bootstrap.ids import (
    Asking,
    ForeignGeneration,
    HeldoutId,
    RolloutId,
    RoundId,
    SampleId,
    StepRole,
    group_id,
    is_rollout,
)

ROUND = RoundId(generation=3, step=0, number=17)


def test_a_rollouts_id_names_its_place() -> None:
    found = RolloutId.parse("g3.s0.u17.p4.k2")
    assert found == RolloutId(round=ROUND, place=4, sample=2)
    assert not found.is_proposal and found.contributor == 3
    assert group_id(found.round, 4) == SampleId.parse(str(found)).group == "g3.s0.u17.p4"


def test_a_proposals_id_names_the_group_of_its_solutions() -> None:
    found = RolloutId.parse(ROUND.proposal(4))
    assert str(found) == "g3.s0.u17.propose.k4" and found.is_proposal
    assert found.solutions == "g3.s0.u17.p4"


@pytest.mark.parametrize("own", ["g3.s0.u17.p4.k2", "g12.s3.u0.propose.k10"])
def test_what_a_fork_inherited_comes_from_its_generation_0(own: str) -> None:
    heir = RolloutId.parse(own).inherited_from("tiny")
    assert str(heir) == f"g0.tiny.{own}"
    assert heir.contributor == 0 and heir.round == RolloutId.parse(own).round
    again = heir.inherited_from("wide-2")
    assert str(again) == f"g0.wide-2.g0.tiny.{own}" and again.contributor == 0


@pytest.mark.parametrize(
    "text",
    ["g0.s0.u0.p0.k0", "g3.s1.u2.propose.k7", "g0.a.g1.s0.u0.p0.k0", "g0.b.g0.g1.s2.g1.s0.u0.propose.k0"],
)
def test_an_id_is_printed_as_it_was_parsed(text: str) -> None:
    assert str(RolloutId.parse(text)) == text


@pytest.mark.parametrize("text", ["", "a.k0", "g1.s0.u0.p0", "g1.s0.u0.k0", "g1.s0.u0.p0.k0.k1", "greedy.l1.p0.k0"])
def test_what_is_no_id_of_a_rollout_is_a_broken_store(text: str) -> None:
    with pytest.raises(StoreCorrupt, match="no id of a rollout; restore"):
        RolloutId.parse(text)


def test_any_group_has_samples() -> None:
    assert SampleId.parse("final.l3.p0.k12") == SampleId("final.l3.p0", 12)
    assert str(SampleId("a.b", 3)) == "a.b.k3"
    with pytest.raises(ValueError, match="no sample"):
        SampleId.parse("a.b")


def test_prompts_are_no_rollouts() -> None:
    assert is_rollout("g1.s0.u0.p0.k0") and not is_rollout("00ff00ff00ff00ff")


@pytest.mark.parametrize(
    ("prompts", "text"),
    [
        (HeldoutId(asking=Asking.GREEDY, level=5), "greedy.l5"),
        (HeldoutId(asking=Asking.SAMPLED, level=12), "sampled.l12"),
        (HeldoutId(asking=Asking.FINAL, level=1), "final.l1"),
        (HeldoutId(asking=Asking.GREEDY, level=2, task="a.b"), "greedy.a.b.l2"),
    ],
)
def test_held_out_answers_say_what_they_answer(prompts: HeldoutId, text: str) -> None:
    assert str(prompts) == text
    assert HeldoutId.of_answer(str(SampleId(group_id(prompts, 0), 3))) == prompts
    assert HeldoutId.of_answer("g1.s0.u0.p0.k0") is None


def test_steps_are_ordered_as_they_ran() -> None:
    roles = [StepRole.parse(text) for text in ("step-10", "step-2", "step-0")]
    assert [str(role) for role in sorted(role for role in roles if role is not None)] == ["step-0", "step-2", "step-10"]
    assert StepRole.parse("weights") is None and StepRole.parse("step-") is None


def test_a_generation_of_another_lineage_is_named_by_both() -> None:
    assert ForeignGeneration.parse("addition@gen-3") == ForeignGeneration("addition", 3)
    assert str(ForeignGeneration("addition", 3)) == "addition@gen-3"
    assert ForeignGeneration.parse("some/model") is None
