"""An rl step ends once its targets are answered rightly again and again, by what its rounds recorded alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError
from support import tiny
from support.rollouts import rollout, verdict

from bootstrap.config.base import identity_of
from bootstrap.config.steps import RlStep, Until
from bootstrap.lineage.queries import details
from bootstrap.records import Event, Rollout, Status, Verdict
from bootstrap.stages.tables import Tables
from bootstrap.stages.until import EarlyEnd
from bootstrap.store.lineage_store import LineageStore

UNTIL = Until(pass_rate=0.75, rounds=2)
WHY = "ended after round 8 of 12: for 2 rounds in a row, at least 5 % of the answers to its target levels passed"


def answers(*found: tuple[int, Status]) -> tuple[list[Rollout], list[Verdict]]:
    """Return a round's rollouts and verdicts, given their levels and statuses."""
    rollouts = [rollout(f"g1.s0.u0.p{place}.k0", level=level) for place, (level, _) in enumerate(found)]
    return rollouts, [verdict(one.id, status) for one, (_, status) in zip(rollouts, found, strict=True)]


GOOD = answers((5, Status.PASS), (5, Status.PASS), (5, Status.PASS), (5, Status.FAIL), (1, Status.FAIL))
BAD = answers((5, Status.PASS), (5, Status.FAIL), (1, Status.PASS), (1, Status.PASS))
UNKNOWN = answers((5, Status.UNVERIFIABLE), (1, Status.FAIL))


@pytest.mark.parametrize(
    ("rounds", "ends_after"),
    [
        ([GOOD, GOOD], 2),
        ([GOOD, BAD, GOOD, GOOD], 4),
        ([GOOD, UNKNOWN, GOOD], 3),
        ([BAD, BAD, BAD], None),
        ([GOOD] + [BAD, GOOD] * 5, None),
    ],
)
def test_it_ends_after_so_many_rounds_in_a_row_whose_answers_to_targets_pass(
    rounds: list[tuple[list[Rollout], list[Verdict]]], ends_after: int | None
) -> None:
    ending = EarlyEnd(UNTIL, (5,), rounds=60)
    reasons = []
    for one in rounds:
        ending.end_round(*one)
        reasons.append(bool(ending.reason))
    assert (reasons.index(True) + 1 if any(reasons) else None) == ends_after


def test_the_last_round_is_no_early_end_and_without_the_setting_there_is_none() -> None:
    for until, rounds in ((UNTIL, 2), (None, 60)):
        ending = EarlyEnd(until, (5,), rounds=rounds)
        for _ in range(2):
            ending.end_round(*GOOD)
        assert not ending.reason


def test_what_recipes_without_it_are_stays_as_it_was() -> None:
    assert "until" not in identity_of(RlStep()) and "until" in identity_of(RlStep(until=UNTIL))
    with pytest.raises(ValidationError, match="levels: reached draws none"):
        RlStep(until=UNTIL, levels="reached")


class Killed(Exception):
    """Stands for SIGKILL."""


@pytest.mark.torch
@pytest.mark.training
def test_a_killed_run_ends_after_the_same_round_and_tells_why(tmp_path: Path) -> None:
    step = {**tiny.RL, "rounds": 12, "checkpoint_every": 3, "until": {"pass_rate": 0.05, "rounds": 2}}
    recipe, messages = tiny.recipe(steps=(step,), count=1), set[str]()
    undisturbed = tiny.grow(recipe, tmp_path / "undisturbed")
    tiny.grow(tiny.recipe(steps=(step,), count=0), tmp_path / "tiny")

    def kill(stage: str, done: int) -> Callable[[Event], None]:
        def observe(event: Event) -> None:
            messages.add(event.message)
            if event.generation == 1 and event.stage == stage and event.done >= done:
                raise Killed

        return observe

    for stage, done in (("train", 7), ("evaluate", 0)):
        with pytest.raises(Killed):
            tiny.grow(recipe, tmp_path / "tiny", observe=kill(stage, done))
    again = tiny.grow(recipe, tmp_path / "tiny")
    assert [entry.hash for entry in again] == [entry.hash for entry in undisturbed] and WHY in messages
    made, [ref] = again[1].generation, again[1].generation.steps.values()
    assert made.accounting.ended == {"step-0": WHY} and made.accounting.prompts_drawn == 8 * 4
    assert len(Tables.read(LineageStore(tmp_path / "tiny").artifact(ref)).updates) == 8
    assert details(again[1], children=(), is_champion=True)["accounting"]["ended"] == {"step-0": WHY}
    assert "ended" not in again[0].generation.accounting.model_dump()
