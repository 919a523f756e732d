"""Which scored rollouts train the candidate, with a reason for each. Every rollout gets exactly one Selection.

`accept` serves rejection sampling, `select_groups` and `select_batch` reinforcement learning. Left out: advantages and
weights (`training/`), and drawing from the replay pool (`replay.py`).
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from bootstrap.records import Rollout, Selection, Status, Use, Verdict

COMPARED = "compared"
VERIFIED_BY = {False: "verified", True: "verified, found with a hint"}
"""Reason of an imitated answer, by whether its prompt had a hint."""
TRUNCATED = "cut by the length limit: counted in its group's mean, masked from the loss"
OFF_POLICY = "sampler and trainer disagree: counted in its group's mean, masked from the loss"
OFF_POLICY_ALONE = "sampler and trainer disagree: masked from the loss"
"""The same for an answer of a zero-variance group, which only a teacher gives a gradient."""


def accept(
    rollouts: Sequence[Rollout],
    verdicts: Sequence[Verdict],
    *,
    filter: Literal["verified", "none"],
    max_per_prompt: int,
) -> list[Selection]:
    """Return the selections of rejection sampling, in order: imitated are right, distinct answers, capped per prompt.

    The cap of `max_per_prompt` keeps easy prompts from crowding out hard ones (ReST-EM, arXiv:2312.06585); equal
    answers to one prompt train once (RFT, arXiv:2308.01825). Filter `none` is the control without a verifier: it keeps
    every answer, right, wrong or unverifiable, under the same cap. Imitated answers also join the replay pool.
    """
    assert max_per_prompt >= 1, f"a cap of {max_per_prompt} accepts nothing"
    answers: set[tuple[str, str]] = set()
    accepted: Counter[str] = Counter()
    selections = []
    for rollout, verdict in pairs(rollouts, verdicts):
        # A prompt with a hint and the same one without count as one.
        prompt = rollout.imitated_prompt
        answer = (prompt, rollout.text)
        if filter == "verified" and verdict.status is not Status.PASS:
            selections.append(_drop(rollout, f"not verified: {verdict.reason}"))
        elif answer in answers:
            selections.append(_drop(rollout, "duplicate answer of the same prompt"))
        elif accepted[prompt] == max_per_prompt:
            selections.append(_drop(rollout, f"over the cap of {max_per_prompt} per prompt"))
        else:
            answers.add(answer)
            accepted[prompt] += 1
            reason = VERIFIED_BY[bool(rollout.unhinted)] if filter == "verified" else "unfiltered"
            selections.append(Selection(rollout_id=rollout.id, use=Use.CE, replay=True, reason=reason))
    return selections


def differ(rewards: Sequence[float]) -> bool:
    """Whether a group's rewards differ, so that its members can be compared."""
    return len(set(rewards)) > 1


def select_groups(
    rollouts: Sequence[Rollout],
    verdicts: Sequence[Verdict],
    *,
    zero_variance: Literal["drop", "keep"],
    useful: Callable[[Sequence[float]], bool] = differ,
    mask_truncated: bool = False,
) -> tuple[list[Selection], tuple[str, ...]]:
    """Return the selections, in order, and the informative groups: those whose judged members differ in reward.

    Unverifiable members leave their group; at least two others have to remain. A zero-variance group has advantage 0
    throughout and gives no gradient; with `zero_variance="keep"` the algorithm still counts its tokens in the mean, and
    the reason says so. The first right answer of every group joins the replay pool. `useful`: whether rewards that
    differ give an advantage, for algorithms that need more than a difference. `mask_truncated`: answers cut by the
    length limit are compared but give no gradient themselves.
    """
    judged: dict[str, list[Verdict]] = {}
    for rollout, verdict in pairs(rollouts, verdicts):
        members = judged.setdefault(rollout.group, [])
        if verdict.status is not Status.UNVERIFIABLE:
            members.append(verdict)
    reasons = {group: _uninformative(members, zero_variance, useful) for group, members in judged.items()}
    dropped = {group: reason for group, reason in reasons.items() if reason}
    return _select(rollouts, verdicts, dropped, mask_truncated), tuple(
        group for group in judged if group not in dropped
    )


def select_batch(
    rollouts: Sequence[Rollout],
    verdicts: Sequence[Verdict],
    *,
    mask_truncated: bool = False,
    must_differ: bool = True,
) -> tuple[list[Selection], tuple[str, ...]]:
    """Return the same as `select_groups` for an algorithm that compares all samples of a round with one another.

    Every group with a judged member is informative. If all rewards of the round are equal and `must_differ` is set,
    none is; an algorithm with a critic learns from equal rewards too.
    """
    judged = [(r.group, v.reward) for r, v in pairs(rollouts, verdicts) if v.reward is not None]
    teaches = differ([reward for _, reward in judged]) or not must_differ
    informative = tuple(dict.fromkeys(group for group, _ in judged)) if teaches else ()
    reason = "zero variance (equal rewards in the whole round)"
    dropped = {rollout.group: reason for rollout in rollouts if rollout.group not in informative}
    return _select(rollouts, verdicts, dropped, mask_truncated), informative


def _select(
    rollouts: Sequence[Rollout], verdicts: Sequence[Verdict], dropped: Mapping[str, str], mask_truncated: bool
) -> list[Selection]:
    """Return the selections, in order. `dropped`: group -> reason, of the groups that give no gradient."""
    selections = []
    kept: set[str] = set()
    for rollout, verdict in zip(rollouts, verdicts, strict=True):
        right = verdict.status is Status.PASS and rollout.group not in kept
        kept |= {rollout.group} if right else set()
        if verdict.status is Status.UNVERIFIABLE:
            selections.append(_drop(rollout, f"unverifiable: {verdict.reason}"))
        elif rollout.group in dropped:
            selections.append(_drop(rollout, dropped[rollout.group], replay=right))
        elif mask_truncated and rollout.finish.is_truncated:
            selections.append(_drop(rollout, TRUNCATED, replay=right))
        else:
            selections.append(Selection(rollout_id=rollout.id, use=Use.RL, replay=right, reason=COMPARED))
    return selections


def _uninformative(
    members: Sequence[Verdict], zero_variance: Literal["drop", "keep"], useful: Callable[[Sequence[float]], bool]
) -> str | None:
    """Return the reason why a group gives no gradient; None if it does. `members`: its judged verdicts."""
    if len(members) < 2:
        return "fewer than two judged answers to compare"
    rewards = [member.reward for member in members if member.reward is not None]
    counted = ", counted in the mean" if zero_variance == "keep" else ""
    if differ(rewards):
        return None if useful(rewards) else f"no advantage: the rest of the group is as good{counted}"
    statuses = {member.status for member in members}
    kind = {frozenset({Status.PASS}): "all right", frozenset({Status.FAIL}): "all wrong"}
    return f"zero variance ({kind.get(frozenset(statuses), 'equal rewards')}){counted}"


def more_samples(passed: Sequence[bool], *, at_most: int) -> int:
    """Return the number of further samples to draw for a prompt, so that at most `at_most` are drawn in total.

    `passed`: whether each sample so far is right. Adaptive group size: the group grows until it is expected to hold two
    right samples at the pass rate so far, so easy prompts stop early; a prompt without a right answer gets all samples.
    sGPO (arXiv:2606.08854) sizes for one right answer and discards the samples that measured the rate. Here they stay
    in the group, which already holds a right answer if the rate is above 0, so sizing for one would never grow it.
    The size depends on the compared answers, so a group's mean is slightly biased.
    """
    right = sum(passed)
    wanted = math.ceil(2 * len(passed) / right) if right else at_most
    return max(min(wanted, at_most) - len(passed), 0)


def pairs(rollouts: Iterable[Rollout], verdicts: Iterable[Verdict]) -> list[tuple[Rollout, Verdict]]:
    """Return each rollout with its verdict; both in the same order."""
    found = list(zip(rollouts, verdicts, strict=True))
    for rollout, verdict in found:
        assert rollout.id == verdict.rollout_id, f"verdict of {verdict.rollout_id} stands beside rollout {rollout.id}"
    return found


def _drop(rollout: Rollout, reason: str, *, replay: bool = False) -> Selection:
    return Selection(rollout_id=rollout.id, use=Use.NONE, replay=replay, reason=reason)
