"""Which scored rollouts train the candidate, and why each other one does not. Every rollout gets one Selection.

`accept` serves rejection sampling, `select_groups` and `select_batch` reinforcement learning. Left out: advantages and
weights (`training/`), and how the replay pool is drawn from (`replay.py`).
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from bootstrap.records import Rollout, Selection, Status, Use, Verdict

COMPARED = "compared"
VERIFIED_BY = {False: "verified", True: "verified, found with a hint"}
"""Why an answer is imitated, by whether its prompt had a hint."""
TRUNCATED = "cut by the length limit: counted in its group's mean, masked from the loss"
OFF_POLICY = "sampler and trainer disagree: counted in its group's mean, masked from the loss"
OFF_POLICY_ALONE = "sampler and trainer disagree: masked from the loss"
"""The same of an answer of no informative group, which a teacher alone has a word on."""


def accept(
    rollouts: Sequence[Rollout],
    verdicts: Sequence[Verdict],
    *,
    filter: Literal["verified", "none"],
    max_per_prompt: int,
) -> list[Selection]:
    """Return which rollouts are imitated, in order: right, distinct, at most `max_per_prompt` of each prompt.

    The cap keeps easy prompts from crowding out hard ones (ReST-EM, arXiv:2312.06585); equal answers of one prompt
    teach once (RFT, arXiv:2308.01825). Filter `none` is the control without a verifier: it keeps every answer, right,
    wrong or unjudged, under the same cap. What is imitated also joins the replay pool.
    """
    assert max_per_prompt >= 1, f"a cap of {max_per_prompt} accepts nothing"
    answers: set[tuple[str, str]] = set()
    accepted: Counter[str] = Counter()
    selections = []
    for rollout, verdict in _pairs(rollouts, verdicts):
        # Asked with a hint or without, it is one prompt.
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
    """Return whether a group's rewards differ, so that its members can be told apart."""
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

    Unverifiable members leave their group; fewer than two others cannot be compared. A group with equal rewards has
    advantage 0 throughout and gives no gradient; with `keep` the algorithm still counts its tokens in the mean, and
    the reason says so. The first right answer of a group joins the replay pool, whether or not the group is
    informative.
    `useful`: whether rewards that differ give an advantage at all, for algorithms that need more. `mask_truncated`:
    answers cut by the length limit are compared and give no gradient themselves.
    """
    judged: dict[str, list[Verdict]] = {}
    for rollout, verdict in _pairs(rollouts, verdicts):
        members = judged.setdefault(rollout.group, [])
        if verdict.status is not Status.UNVERIFIABLE:
            members.append(verdict)
    uninformative = {
        group: reason
        for group, members in judged.items()
        if (reason := _why_uninformative(members, zero_variance, useful))
    }
    return _select(rollouts, verdicts, uninformative, mask_truncated), tuple(
        group for group in judged if group not in uninformative
    )


def select_batch(
    rollouts: Sequence[Rollout],
    verdicts: Sequence[Verdict],
    *,
    mask_truncated: bool = False,
    must_differ: bool = True,
) -> tuple[list[Selection], tuple[str, ...]]:
    """Return what `select_groups` does for an algorithm that compares all samples of a round with one another.

    Every group with a judged member is informative, unless all rewards of the round are equal: then none is, if they
    `must_differ` to teach anything; a critic's expectations may do without.
    """
    judged = [(r.group, v.reward) for r, v in _pairs(rollouts, verdicts) if v.reward is not None]
    teaches = differ([reward for _, reward in judged]) or not must_differ
    informative = tuple(dict.fromkeys(group for group, _ in judged)) if teaches else ()
    reason = "zero variance (equal rewards in the whole round)"
    uninformative = {rollout.group: reason for rollout in rollouts if rollout.group not in informative}
    return _select(rollouts, verdicts, uninformative, mask_truncated), informative


def _select(
    rollouts: Sequence[Rollout], verdicts: Sequence[Verdict], uninformative: Mapping[str, str], mask_truncated: bool
) -> list[Selection]:
    """Return the selections when the groups in `uninformative` give no gradient, for the reason given there."""
    selections = []
    kept: set[str] = set()
    for rollout, verdict in zip(rollouts, verdicts, strict=True):
        right = verdict.status is Status.PASS and rollout.group not in kept
        kept |= {rollout.group} if right else set()
        if verdict.status is Status.UNVERIFIABLE:
            selections.append(_drop(rollout, f"unverifiable: {verdict.reason}"))
        elif rollout.group in uninformative:
            selections.append(
                Selection(rollout_id=rollout.id, use=Use.NONE, replay=right, reason=uninformative[rollout.group])
            )
        elif mask_truncated and rollout.finish.is_truncated:
            selections.append(Selection(rollout_id=rollout.id, use=Use.NONE, replay=right, reason=TRUNCATED))
        else:
            selections.append(Selection(rollout_id=rollout.id, use=Use.RL, replay=right, reason=COMPARED))
    return selections


def _why_uninformative(
    members: Sequence[Verdict], zero_variance: Literal["drop", "keep"], useful: Callable[[Sequence[float]], bool]
) -> str | None:
    """Return why a group gives no gradient, or None when it does."""
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
    """Return how many further samples a prompt is worth after those in `passed`, up to `at_most` in total.

    Adaptive group size: as many samples as are expected to hold two right ones at the pass rate of those in `passed`,
    so easy prompts stop early and the samples go to hard ones; a prompt with no right answer yet gets all. sGPO
    (arXiv:2606.08854) sizes for one right answer and throws away the samples that the rate is taken from. Here they
    stay in the group, which therefore holds the first right one already wherever the rate is known: sized for one, it
    would never grow. The size depends on the answers that are then compared, so a group's mean is not quite unbiased.
    """
    right = sum(passed)
    wanted = math.ceil(2 * len(passed) / right) if right else at_most
    return max(min(wanted, at_most) - len(passed), 0)


def _pairs(rollouts: Sequence[Rollout], verdicts: Sequence[Verdict]) -> list[tuple[Rollout, Verdict]]:
    pairs = list(zip(rollouts, verdicts, strict=True))
    for rollout, verdict in pairs:
        assert rollout.id == verdict.rollout_id, f"verdict of {verdict.rollout_id} stands beside rollout {rollout.id}"
    return pairs


def _drop(rollout: Rollout, reason: str) -> Selection:
    return Selection(rollout_id=rollout.id, use=Use.NONE, replay=False, reason=reason)
