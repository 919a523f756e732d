"""The `rl` step: sample -> score -> advantage -> update, with distillation on replayed levels in the same loss."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from bootstrap.config.distillation import OnPolicyDistillation
from bootstrap.config.steps import RlStep
from bootstrap.ids import RolloutId, RoundId
from bootstrap.learner_records import KlForm, TokenScores
from bootstrap.records import Example, KlTarget, Prompt, Rollout, Selection, Status, Use, Verdict
from bootstrap.selection.filters import (
    COMPARED,
    OFF_POLICY,
    OFF_POLICY_ALONE,
    TRUNCATED,
    more_samples,
    select_batch,
    select_groups,
)
from bootstrap.selection.retirement import PassRates, draw_unsolved
from bootstrap.stages.assembly import assemble, distilled, divergence_form, teacher_of
from bootstrap.stages.context import Context, Meter, Plan
from bootstrap.stages.generate import common_fault, generate, judge, num_easier_variants, requests, sampling, spread
from bootstrap.stages.reference import ReferencePolicy
from bootstrap.stages.tables import Tables
from bootstrap.stages.trainer import Round, Trainer
from bootstrap.stages.until import EarlyEnd
from bootstrap.stages.visits import EpochDraws
from bootstrap.training.algorithms.stream import policy_form, rl_streams
from bootstrap.training.bounds import largest_difference

HELD = "no advantage: counted in the mean and held to the reference"
"""Reason of a kept zero-variance answer: only KL acts on it."""


class RlTrainer(Trainer[RlStep]):
    """Samples groups from the current weights each round; the round's updates train on them, in mini-batches."""

    samples = True

    def __init__(self, context: Context, plan: Plan, step: RlStep, *, index: int) -> None:
        super().__init__(context, plan, step, index=index)
        self.updates_per_round = step.algorithm.updates_per_round
        self.levels = plan.levels(step.levels)
        self.how = sampling(context, levels=self.levels, temperature=step.temperature)
        self.reference = ReferencePolicy(context, plan, step, index=index) if step.algorithm.kl is not None else None
        self.rates = plan.rates.copy()
        self.ending = EarlyEnd(step.until, plan.target_levels, rounds=step.rounds)
        self.epochs = EpochDraws(context, plan, measured=step.measures) if step.draws_epochs else None

    def resume(self, tables: Tables) -> None:
        self.rates.add(tables.rollouts, tables.verdicts)
        if self.epochs is not None:
            self.epochs.resume(tables)
        rounds = _by_round(tables)
        for number in range(self._rounds_done(tables)):
            self._end_round(*rounds.get(number, ((), ())))

    def _end_round(self, rollouts: Sequence[Rollout], verdicts: Sequence[Verdict]) -> None:
        self.ending.end_round(rollouts, verdicts)
        self.ended = self.ending.reason

    def _rounds_done(self, tables: Tables) -> int:
        return len(tables.updates) // self.updates_per_round

    def drawn(self, tables: Tables) -> int:
        """Return the prompts of all rounds, and one more for each group that was replaced.

        With `retire` a level may have had fewer, so the rounds' draws are repeated.
        """
        step = self.step
        compared = {s.rollout_id for s in tables.selections if s.reason in (COMPARED, TRUNCATED, OFF_POLICY)}
        informative: dict[int, set[int]] = {number: set() for number in range(self._rounds_done(tables))}
        for identifier in compared:
            rollout = RolloutId.parse(identifier)
            assert rollout.place is not None, "a step that proposes nothing has answers alone"
            informative[rollout.round.number].add(rollout.place)
        total, rates = 0, self.plan.rates.copy()
        rounds = _by_round(tables) if step.retire is not None else {}
        for number, places in informative.items():
            drawn = 0
            for again in range(step.algorithm.redraws + 1):
                wanted = step.prompts_per_update - sum(place < drawn for place in places)
                drawn += wanted if step.retire is None else len(self._prompts(number, wanted, again, rates=rates))
            total += drawn
            rates.add(*rounds.get(number, ((), ())))
        return total

    def _prompts(self, number: int, count: int, again: int, *, rates: PassRates) -> list[Prompt]:
        """Return `count` prompts of a round, fewer where prompts are solved by the `rates` before it.

        `again`: the round's redraw; 0 is the first draw.
        """
        prompts, step = list[Prompt](), self.step
        names = (again,) if again else ()
        solved = rates.solved(step.retire) if step.retire is not None else frozenset()
        for level, share in spread(count, self.levels, seed=self.seed("levels", number, *names)):
            if self.epochs is not None:
                prompts += self.epochs.draw(level, share)
                continue
            easier = num_easier_variants(share, level, step.easier_variants)
            # The names are parts of seeds: other ones would draw other prompts.
            for kind, wanted in (("prompts", share - easier), ("stepping_stones", easier)):
                if wanted:
                    draw = partial(
                        self.context.task.draw,
                        level,
                        seed=self.seed(kind, number, level, *names),
                        easier_variant=kind == "stepping_stones",
                    )
                    prompts += draw_unsolved(draw, wanted, solved=solved)
        return prompts

    def round(self, number: int, tables: Tables, meter: Meter) -> Round:
        context, plan, step = self.context, self.plan, self.step
        kl_targets = self.reference.kl_targets(number) if self.reference is not None else ()
        prompts = self._prompts(number, step.prompts_per_update, 0, rates=self.rates)
        prefix = RoundId(generation=plan.number, step=self.index, number=number)
        rollouts, verdicts = self._answers(prompts, prefix, meter)
        selections, informative = self._select(rollouts, verdicts)
        for again in range(1, step.algorithm.redraws + 1):
            if not (missing := step.prompts_per_update - len(informative)):
                break
            further = self._prompts(number, missing, again, rates=self.rates)
            found, judged = self._answers(further, prefix, meter, earlier=prompts)
            prompts, rollouts, verdicts = [*prompts, *further], [*rollouts, *found], [*verdicts, *judged]
            selections, informative = self._select(rollouts, verdicts)
        keeps = step.algorithm.keeps_zero_variance
        held = keeps and bool(kl_targets)
        mask = step.algorithm.truncated_answers == "mask"
        if step.teaching is not None or held:
            reason = "taught" if step.teaching is not None else HELD
            selections = [
                s if mask and r.finish.is_truncated else _joined(s, v, reason)
                for r, s, v in zip(rollouts, selections, verdicts, strict=True)
            ]
        self.rates.add(rollouts, verdicts)
        self._end_round(rollouts, verdicts)
        if self.epochs is not None:
            self.epochs.end_round(rollouts, verdicts)
        groups = _judged_groups(rollouts, verdicts)
        rewards = {v.rollout_id: v.reward for v in verdicts if v.reward is not None}
        zero_variance = [r for name, group in groups.items() if name not in informative for r in group]
        learned = [groups[name] for name in informative]
        others = zero_variance if step.teaching is not None or held else []
        taught = self._teachers([r for group in [*learned, others] for r in group])
        token_scores = self._recompute_logprobs([r for group in [*learned, others] for r in group], kl_targets, meter)
        streams = rl_streams(
            learned,
            rewards,
            step.algorithm,
            zero_variance=zero_variance if keeps else (),
            max_new_tokens=self.how.max_new_tokens,
            masked={r.id for r in rollouts if r.finish.is_truncated} if mask else (),
            others=others,
            kl_targets=kl_targets,
            taught=_token_rewards(step.teaching, taught),
            token_scores=token_scores,
            seed=self.seed("entropy", number),
        )
        streams = [(_diverging(examples, step.teaching, taught), count) for examples, count in streams]
        corrects = step.algorithm.correction is not None
        masked = {e.source for examples, _ in streams for e in examples if corrects and _is_masked(e)}
        selections = [_left_out(s) if s.rollout_id in masked else s for s in selections]
        tables.rollouts += rollouts
        tables.verdicts += verdicts
        tables.selections += selections
        useful = {s.rollout_id for s in selections if s.use is Use.RL or s.replay}
        meter.useful_tokens += sum(len(r.tokens) for r in rollouts if r.id in useful)
        batches = []
        for inner in range(step.algorithm.updates_per_round):
            examples, rl_count = streams[inner % len(streams)]
            seed = self.seed("replay", number, inner)
            batches.append(
                assemble(
                    [example for example in examples if example.source not in masked],
                    distilled(context, plan, step.distillation, self.encoder, seed=seed),
                    rl=rl_count,
                    temperature=step.temperature,
                    **policy_form(step.algorithm),
                    **divergence_form(step.distillation, step.teaching),
                )
            )
        entropies = [entropy for r in rollouts for entropy in r.entropies]
        return Round(
            batches=batches,
            reward=sum(rewards.values()) / len(rewards) if rewards else None,
            informative_groups=len(informative) / len(prompts) if prompts else None,
            entropy=sum(entropies) / len(entropies) if entropies else None,
            length=sum(len(r.tokens) for r in rollouts) / len(rollouts) if rollouts else None,
            mismatch=_mismatch(rollouts, token_scores) if step.algorithm.recomputes_logprobs else None,
            logprob_difference=largest_difference(rollouts, token_scores),
            recomputed=frozenset(token_scores),
            common_fault=common_fault(verdicts),
        )

    def _recompute_logprobs(
        self, rollouts: Sequence[Rollout], kl_targets: tuple[KlTarget, ...], meter: Meter
    ) -> dict[str, TokenScores]:
        """Map each rollout to the token scores of the trainer's model; empty where the algorithm asks for none.

        With a critic they also hold what the KL targets take from each token's reward.
        """
        if not self.step.algorithm.recomputes_logprobs:
            return {}
        paying = (
            [kl_target for kl_target in kl_targets if not kl_target.form.in_loss]
            if self.step.critic is not None
            else []
        )
        examples = [
            Example(
                source=r.id,
                tokens=r.prompt_tokens + r.tokens,
                num_prompt_tokens=len(r.prompt_tokens),
                advantages=(0.0,) * len(r.tokens),
                logprobs=r.logprobs,
                kl_targets=tuple(paying),
            )
            for r in rollouts
            if r.tokens
        ]
        with meter.clock("train"):
            token_scores = self.context.learners.recompute_logprobs(examples, temperature=self.step.temperature)
        shape = self.plan.shape
        moved = shape.num_parameters * shape.bytes_per_parameter * self.context.learners.size
        meter.count("train", flops=sum(r.flops for r in token_scores), tokens=0, bytes_moved=moved)
        return {scores.source: scores for scores in token_scores}

    def _teachers(self, rollouts: Sequence[Rollout]) -> dict[str, str]:
        """Map each rollout to its teacher's fingerprint; empty without a teacher."""
        if self.step.teaching is None:
            return {}
        return {r.id: teacher_of(self.plan, self.step.teaching, r.level, r.task) for r in rollouts}

    def _answers(
        self, prompts: Sequence[Prompt], prefix: RoundId, meter: Meter, *, earlier: Sequence[Prompt] = ()
    ) -> tuple[list[Rollout], list[Verdict]]:
        """Return rollouts and verdicts of some of the round's prompts, group by group.

        `earlier`: prompts of the round that have theirs; the new ones are numbered after them. With `initial_samples`,
        hard prompts get more samples, and a group's first and further samples are judged apart.
        """
        step, context = self.step, self.context
        if not prompts:
            return [], []
        everyone = requests([*earlier, *prompts], prefix=prefix, samples=step.group_size, seed=context.recipe.seed)
        asked = everyone[len(earlier) * step.group_size :]
        if step.initial_samples is None:
            rollouts = generate(context, asked, self.how, shape=self.plan.shape, meter=meter)
            return rollouts, judge(context, rollouts, prompts, meter=meter)
        places = [divmod(place, step.group_size) for place in range(len(asked))]
        first = [request for request, (_, sample) in zip(asked, places, strict=True) if sample < step.initial_samples]
        found = generate(context, first, self.how, shape=self.plan.shape, meter=meter)
        judged = judge(context, found, prompts, meter=meter)
        sizes = [
            step.initial_samples
            + more_samples(
                [v.status is Status.PASS for v in judged[at : at + step.initial_samples]], at_most=step.group_size
            )
            for at in range(0, len(judged), step.initial_samples)
        ]
        rest = [
            request
            for request, (prompt, sample) in zip(asked, places, strict=True)
            if step.initial_samples <= sample < sizes[prompt]
        ]
        if rest:
            further = generate(context, rest, self.how, shape=self.plan.shape, meter=meter, policy=found[0].policy)
            found += further
            judged += judge(context, further, prompts, meter=meter)
        order = {request.id: place for place, request in enumerate(asked)}
        pairs = sorted(zip(found, judged, strict=True), key=lambda pair: order[pair[0].id])
        return [rollout for rollout, _ in pairs], [verdict for _, verdict in pairs]

    def _select(
        self, rollouts: Sequence[Rollout], verdicts: Sequence[Verdict]
    ) -> tuple[list[Selection], tuple[str, ...]]:
        algorithm = self.step.algorithm
        mask = algorithm.truncated_answers == "mask"
        if algorithm.compares == "group":
            return select_groups(
                rollouts,
                verdicts,
                zero_variance="keep" if algorithm.keeps_zero_variance else "drop",
                useful=algorithm.informative,
                mask_truncated=mask,
            )
        must_differ = not algorithm.learns_from_equal_rewards
        selections, informative = select_batch(rollouts, verdicts, mask_truncated=mask, must_differ=must_differ)
        return selections, informative if algorithm.compares == "batch" else ()


def _token_rewards(teaching: OnPolicyDistillation | None, teachers: Mapping[str, str]) -> dict[str, KlTarget]:
    """Map each rollout to the KL target by which its teacher rewards each token; empty where none does."""
    if teaching is None or teaching.loss != "token_reward":
        return {}
    return {
        name: KlTarget(model=teacher, weight=teaching.weight, form=KlForm.TOKEN_K1)
        for name, teacher in teachers.items()
    }


def _diverging(
    examples: list[Example], teaching: OnPolicyDistillation | None, teachers: Mapping[str, str]
) -> list[Example]:
    """Return the examples, in the `kl` stream too where whole distributions are compared with their teachers'."""
    if teaching is None or teaching.loss == "token_reward":
        return examples
    return [replace(e, kl_weight=teaching.weight, teacher=teachers[e.source]) for e in examples]


def _is_masked(example: Example) -> bool:
    """Whether the correction removes an example's whole gradient."""
    held = any(example.anchor_penalty_weights) or any(kl_target.form.in_loss for kl_target in example.kl_targets)
    taught = held or bool(example.kl_weight) or bool(example.returns)
    return bool(example.importance) and not any(example.importance) and not taught


def _mismatch(rollouts: Sequence[Rollout], token_scores: Mapping[str, TokenScores]) -> float | None:
    """Return mean |trainer's - sampler's log-probability| per token; None for no token."""
    distances = [
        abs(theirs - mine)
        for rollout in rollouts
        if rollout.id in token_scores
        for theirs, mine in zip(rollout.logprobs, token_scores[rollout.id].logprobs, strict=True)
    ]
    return sum(distances) / len(distances) if distances else None


def _by_round(tables: Tables) -> dict[int, tuple[list[Rollout], list[Verdict]]]:
    """Map each round to its rollouts and verdicts; rounds without any are left out."""
    rounds: dict[int, tuple[list[Rollout], list[Verdict]]] = {}
    for rollout, verdict in zip(tables.rollouts, tables.verdicts, strict=True):
        rollouts, verdicts = rounds.setdefault(RolloutId.parse(rollout.id).round.number, ([], []))
        rollouts.append(rollout)
        verdicts.append(verdict)
    return rounds


def _joined(selection: Selection, verdict: Verdict, reason: str) -> Selection:
    """Return the selection where every judged sample is trained on; `reason`: why it is trained on."""
    if selection.use is Use.RL or verdict.status is Status.UNVERIFIABLE:
        return selection
    return replace(selection, use=Use.RL, reason=reason)


def _left_out(selection: Selection) -> Selection:
    """Return the selection of an answer whose gradient the correction removes."""
    reason = OFF_POLICY if selection.reason == COMPARED else OFF_POLICY_ALONE
    return replace(selection, use=Use.NONE, reason=reason)


def _judged_groups(rollouts: list[Rollout], verdicts: list[Verdict]) -> dict[str, list[Rollout]]:
    """Map each group to its members that could be judged."""
    groups: dict[str, list[Rollout]] = {}
    for rollout, verdict in zip(rollouts, verdicts, strict=True):
        if verdict.status is not Status.UNVERIFIABLE:
            groups.setdefault(rollout.group, []).append(rollout)
    return groups
