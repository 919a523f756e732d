"""The `self_play` step: propose -> read -> solve -> score -> one update for both roles, beside distillation.

    model --"?"--> proposals --executor--> problems --model--> solutions --verifier--> verdicts
      ^                |                                          |                        |
      |                +-- malformed, too large, repeated: 0      +--- solver's reward <---+
      |                +-- held out: dropped                                               |
      +--- one policy gradient: solver's reward, proposer's reward <--- solve rates -------+

Absolute Zero (arXiv:2505.03335) for a task that reads and answers any problem of its form (`TaskSettings.executes`).
The solver earns the verifier's reward, the proposer its problem's learnability (`scoring/learnability.py`). Rewards are
compared within a role (`RoleRelative`), and each role's loss is the mean over its own tokens.

A proposal whose problem belongs to the held-out split is dropped from everything: the split is a hash, which no model
could learn to avoid. Solutions join the replay pool, as in the `rl` step; proposals never do.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from statistics import fmean
from typing import Any

from bootstrap.config.self_play import SelfPlayStep
from bootstrap.ids import RolloutId, RoundId
from bootstrap.prompts.programs import ProgramTask
from bootstrap.records import Batch, Example, Prompt, Request, Rollout, Sampling, Selection, Split, Status, Use, Verdict
from bootstrap.scoring import learnability
from bootstrap.scoring.verifier import printable, version_of
from bootstrap.seeds import derive_seed
from bootstrap.selection.filters import select_batch, select_groups
from bootstrap.stages.assembly import assemble, distilled, divergence_form
from bootstrap.stages.context import Context, Meter, Plan
from bootstrap.stages.generate import common_fault, generate, judge, requests, sampling
from bootstrap.stages.reference import ReferencePolicy
from bootstrap.stages.tables import SelfPlayRow, Tables
from bootstrap.stages.trainer import Round, Trainer
from bootstrap.training.algorithms.stream import policy_form, rl_stream

PROPOSER = "learnability"
"""Name of the judge of proposals."""
HELD_OUT = "belongs to the held-out split: dropped"


class ProposalFault(StrEnum):
    """Why a proposal is not solved."""

    MALFORMED = "no problem"
    HELD_OUT = HELD_OUT
    TOO_LARGE = "too large"
    REPEATED = "repeated"


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """One text that the model proposed, and the executor's reading of it."""

    rollout: Rollout
    problem: Prompt | None
    """None when the text is no problem."""
    fault: ProposalFault | None
    """None when it is kept, to be solved."""


class SelfPlayTrainer(Trainer[SelfPlayStep]):
    """Lets the current weights propose and solve each round; the round's inner epochs train on both."""

    samples = True

    def __init__(self, context: Context, plan: Plan, step: SelfPlayStep, *, index: int) -> None:
        super().__init__(context, plan, step, index=index)
        self.task = ProgramTask.of(context.task)
        self.updates_per_round = step.algorithm.inner_epochs
        self.highest = max(plan.target_levels) + step.reach
        self.solving = sampling(context, levels=[self.highest], temperature=step.temperature)
        limit = self.task.max_problem_tokens(self.highest)
        self.proposing = Sampling(temperature=step.temperature, max_new_tokens=limit)
        self.version = version_of(learnability.__name__, settings=step)
        self.reference = ReferencePolicy(context, plan, step, index=index) if step.algorithm.kl is not None else None
        self.recent: deque[str] = deque(maxlen=step.window)

    def resume(self, tables: Tables) -> None:
        kept = {v.rollout_id for v in tables.verdicts if v.verifier == PROPOSER and v.status is not Status.FAIL}
        self.recent.extend(r.text for r in tables.rollouts if r.id in kept)

    def drawn(self, tables: Tables) -> int:
        """Return the prompts of the step: in each round the one that asks for problems, and each kept problem."""
        kept = sum(v.verifier == PROPOSER and v.status is not Status.FAIL for v in tables.verdicts)
        return self.step.rounds + kept

    def round(self, number: int, tables: Tables, meter: Meter) -> Round:
        plan, step = self.plan, self.step
        kl_targets = self.reference.kl_targets(number) if self.reference is not None else ()
        prefix = RoundId(generation=plan.number, step=self.index, number=number)
        proposals = self._propose(prefix, meter)
        solutions, verdicts = self._solve(proposals, prefix, meter)
        rates = _solve_rates(solutions, verdicts)
        earned = [self._verdict(proposal, rates) for proposal in proposals]
        proposing = self._select_proposals(proposals, earned)
        solving, groups = self._select_solutions(solutions, verdicts)
        texts = [replace(p.rollout, level=p.problem.level if p.problem else 0) for p in proposals]
        tables.rollouts += [*texts, *solutions]
        tables.verdicts += [*earned, *verdicts]
        tables.selections += [*proposing, *solving]
        rewards = {v.rollout_id: v.reward for v in (*earned, *verdicts) if v.reward is not None}
        compared = {s.rollout_id for s in proposing if s.use is Use.RL}
        own = [rollout for rollout in texts if rollout.id in compared]
        seed = self.seed("entropy", number)
        policy, solver_count = self._stream(groups, rewards, self.solving, kl_targets=kl_targets, seed=seed)
        further, count = self._stream([own] if own else [], rewards, self.proposing, kl_targets=kl_targets, seed=seed)
        rl_count = solver_count if policy else count
        policy += [_scaled(example, step.proposer_weight * rl_count / count) for example in further]
        useful = {s.rollout_id for s in (*proposing, *solving) if s.use is Use.RL or s.replay}
        meter.useful_tokens += sum(len(r.tokens) for r in (*texts, *solutions) if r.id in useful)
        tables.self_play.append(_row(number, proposals, earned, rates))
        entropies = [entropy for r in (*texts, *solutions) for entropy in r.entropies]
        solved = [v.reward for v in verdicts if v.reward is not None]
        return Round(
            batches=[self._batch(policy, rl_count, number, epoch) for epoch in range(step.algorithm.inner_epochs)],
            reward=fmean(solved) if solved else None,
            informative_groups=sum(0 < rate < 1 for rate in rates.values()) / len(rates) if rates else None,
            entropy=fmean(entropies) if entropies else None,
            length=fmean(len(r.tokens) for r in solutions) if solutions else None,
            common_fault=common_fault(verdicts),
        )

    def _propose(self, prefix: RoundId, meter: Meter) -> list[Proposal]:
        """Return the round's proposals; kept ones join the window of recent problems at once."""
        asked = [
            Request(
                id=(rid := prefix.proposal(place)),
                prompt=self.task.proposing,
                seed=derive_seed(self.context.recipe.seed, "rollout", rid),
            )
            for place in range(self.step.proposals)
        ]
        found = []
        for rollout in generate(self.context, asked, self.proposing, shape=self.plan.shape, meter=meter):
            problem = None if rollout.finish.is_truncated else self.task.read(rollout.text)
            fault = self._fault(problem)
            if fault is None:
                self.recent.append(rollout.text)
            found.append(Proposal(rollout=rollout, problem=problem, fault=fault))
        return found

    def _fault(self, problem: Prompt | None) -> ProposalFault | None:
        if problem is None:
            return ProposalFault.MALFORMED
        if problem.split is not Split.TRAIN:
            return ProposalFault.HELD_OUT
        if problem.level > self.highest:
            return ProposalFault.TOO_LARGE
        return ProposalFault.REPEATED if problem.text in self.recent else None

    def _solve(
        self, proposals: Sequence[Proposal], prefix: RoundId, meter: Meter
    ) -> tuple[list[Rollout], list[Verdict]]:
        """Return answers to the kept problems, whose ids have their proposals' places, and their verdicts."""
        kept = [(place, p.problem) for place, p in enumerate(proposals) if p.fault is None and p.problem is not None]
        if not kept:
            return [], []
        seed, samples = self.context.recipe.seed, self.step.group_size
        asked = [
            request
            for place, problem in kept
            for request in requests([problem], prefix=prefix, samples=samples, seed=seed, first=place)
        ]
        policy = proposals[0].rollout.policy
        rollouts = generate(self.context, asked, self.solving, shape=self.plan.shape, meter=meter, policy=policy)
        return rollouts, judge(self.context, rollouts, [problem for _, problem in kept], meter=meter)

    def _verdict(self, proposal: Proposal, rates: dict[str, float]) -> Verdict:
        """Return the verdict on a proposal; `rates`: solve rates by group of solutions."""
        rollout = proposal.rollout
        verdict = partial(Verdict, rollout_id=rollout.id, verifier=PROPOSER, version=self.version)
        if proposal.fault is not None:
            about = printable(rollout.text) if proposal.fault is ProposalFault.MALFORMED else ""
            reason = f"{proposal.fault}: {about}" if about else str(proposal.fault)
            return verdict(status=Status.FAIL, reward=0.0, breakdown={"valid": 0.0}, reason=reason)
        rate = rates.get(RolloutId.parse(rollout.id).solutions)
        if rate is None:
            reason = "no solution could be judged"
            return verdict(status=Status.UNVERIFIABLE, reward=None, breakdown={}, reason=reason)
        reward = 1.0 if self.step.proposer_reward == "valid" else learnability.learnability(rate)
        breakdown = {"valid": 1.0, "solve_rate": rate}
        return verdict(status=Status.PASS, reward=reward, breakdown=breakdown, reason=f"solved {rate:.0%}")

    def _select_proposals(self, proposals: Sequence[Proposal], verdicts: Sequence[Verdict]) -> list[Selection]:
        """Return a selection for each proposal: none is replayed, and held-out ones are not compared."""
        if self.step.proposer_reward == "none":
            return [_unused(v, "the proposer is not trained") for v in verdicts]
        pairs = [(p, v) for p, v in zip(proposals, verdicts, strict=True) if p.fault is not ProposalFault.HELD_OUT]
        chosen, _ = select_batch([p.rollout for p, _ in pairs], [v for _, v in pairs], mask_truncated=self._masks())
        by_id = {s.rollout_id: replace(s, replay=False) for s in chosen}
        return [by_id.get(v.rollout_id, _unused(v, HELD_OUT)) for v in verdicts]

    def _select_solutions(
        self, rollouts: Sequence[Rollout], verdicts: Sequence[Verdict]
    ) -> tuple[list[Selection], list[list[Rollout]]]:
        """Return a selection for each solution, and the compared ones in a list for each baseline."""
        if self.step.algorithm.solver_baseline == "problem":
            selections, informative = select_groups(
                rollouts, verdicts, zero_variance="drop", mask_truncated=self._masks()
            )
        else:
            selections, informative = select_batch(rollouts, verdicts, mask_truncated=self._masks())
        groups: dict[str, list[Rollout]] = {name: [] for name in informative}
        for rollout, verdict in zip(rollouts, verdicts, strict=True):
            if rollout.group in groups and verdict.status is not Status.UNVERIFIABLE:
                groups[rollout.group].append(rollout)
        if self.step.algorithm.solver_baseline == "problem":
            return selections, list(groups.values())
        together = [rollout for group in groups.values() for rollout in group]
        return selections, [together] if together else []

    def _masks(self) -> bool:
        return self.step.algorithm.truncated_answers == "mask"

    def _stream(
        self, groups: Sequence[Sequence[Rollout]], rewards: dict[str, float], how: Sampling, **more: Any
    ) -> tuple[list[Example], float]:
        """Return one role's examples and their normalizer."""
        masked = {r.id for group in groups for r in group if r.finish.is_truncated} if self._masks() else set()
        return rl_stream(groups, rewards, self.step.algorithm, max_new_tokens=how.max_new_tokens, masked=masked, **more)

    def _batch(self, policy: Sequence[Example], rl_count: float, number: int, epoch: int) -> Batch:
        step, seed = self.step, self.seed("replay", number, epoch)
        return assemble(
            policy,
            distilled(self.context, self.plan, step.distillation, self.encoder, seed=seed),
            rl=rl_count,
            temperature=step.temperature,
            **policy_form(step.algorithm),
            **divergence_form(step.distillation),
        )


def _solve_rates(rollouts: Sequence[Rollout], verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Map each group to the share of right solutions among the judged ones; groups without any are left out."""
    passed: dict[str, list[bool]] = {}
    for rollout, verdict in zip(rollouts, verdicts, strict=True):
        if verdict.status is not Status.UNVERIFIABLE:
            passed.setdefault(rollout.group, []).append(verdict.status is Status.PASS)
    return {group: fmean(found) for group, found in passed.items()}


def _unused(verdict: Verdict, reason: str) -> Selection:
    return Selection(rollout_id=verdict.rollout_id, use=Use.NONE, replay=False, reason=reason)


def _scaled(example: Example, factor: float) -> Example:
    """Return the example with `factor` times the weight in the `rl` stream."""
    return replace(
        example,
        advantages=tuple(factor * value for value in example.advantages),
        loss_scale=factor * example.loss_scale,
        anchor_penalty_weights=tuple(factor * value for value in example.anchor_penalty_weights),
    )


def _row(
    number: int, proposals: Sequence[Proposal], verdicts: Sequence[Verdict], rates: dict[str, float]
) -> SelfPlayRow:
    total = len(proposals)
    faults = [proposal.fault for proposal in proposals]
    levels = [p.problem.level for p in proposals if p.fault is None and p.problem is not None]
    earned = [
        v.reward
        for p, v in zip(proposals, verdicts, strict=True)
        if v.reward is not None and p.fault is not ProposalFault.HELD_OUT
    ]
    return SelfPlayRow(
        update=number,
        proposals=total,
        valid_share=faults.count(None) / total,
        malformed_share=faults.count(ProposalFault.MALFORMED) / total,
        heldout_share=faults.count(ProposalFault.HELD_OUT) / total,
        repeated_share=faults.count(ProposalFault.REPEATED) / total,
        too_large_share=faults.count(ProposalFault.TOO_LARGE) / total,
        distinct_share=len({p.rollout.text for p in proposals}) / total,
        learnable_share=sum(0 < rate < 1 for rate in rates.values()) / total,
        proposer_reward=fmean(earned) if earned else None,
        solve_rate=fmean(rates.values()) if rates else None,
        level=fmean(levels) if levels else None,
        max_level=max(levels, default=None),
        length=fmean(len(p.rollout.tokens) for p in proposals),
    )
