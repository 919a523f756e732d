"""The `rl` step: sample -> score -> advantage -> update, with distillation on replayed levels in the same loss."""

from bootstrap.config.steps import RlStep
from bootstrap.records import Batch, Normalizers, Prompt, Rollout, Status, Use, Verdict
from bootstrap.seeds import derive_seed
from bootstrap.selection.filters import select_groups
from bootstrap.stages.context import Context, Meter, Plan
from bootstrap.stages.encoding import Encoder, completion_tokens
from bootstrap.stages.generate import generate, judge, requests, sampling
from bootstrap.stages.step import Round, Tables
from bootstrap.stages.supervised import replay_examples, spread
from bootstrap.training.algorithms.grpo import rl_stream


class RlTrainer:
    """Each round samples groups from the current weights; its inner epochs train on them."""

    samples = True

    def __init__(self, context: Context, plan: Plan, step: RlStep, *, index: int) -> None:
        self.context, self.plan, self.step, self.index = context, plan, step, index
        self.encoder = Encoder(plan.start)
        self.updates_per_round = step.algorithm.inner_epochs
        self.num_prompts = step.updates * step.prompts_per_update
        self.how = sampling(context, levels=plan.target_levels, temperature=step.temperature)

    def prepare(self, tables: Tables, meter: Meter) -> None:
        pass

    def resume(self, tables: Tables) -> None:
        pass

    def _seed(self, *names: str | int) -> int:
        return derive_seed(self.context.recipe.seed, "step", self.plan.number, self.index, *names)

    def _prompts(self, number: int) -> list[Prompt]:
        prompts = []
        for level, count in spread(self.step.prompts_per_update, self.plan.target_levels):
            stones = round(self.step.stepping_stones * count)
            draw = self.context.task.draw
            if count > stones:
                prompts += draw(level, count - stones, seed=self._seed("prompts", number, level))
            if stones:
                prompts += draw(level, stones, seed=self._seed("stepping_stones", number, level), stepping_stone=True)
        return prompts

    def round(self, number: int, tables: Tables, meter: Meter) -> Round:
        context, plan, step = self.context, self.plan, self.step
        prompts = self._prompts(number)
        prefix = f"g{plan.number}.s{self.index}.u{number}"
        asked = requests(prompts, prefix=prefix, samples=step.group_size, seed=context.recipe.seed)
        rollouts = generate(context, asked, self.how, shape=plan.shape, meter=meter)
        verdicts = judge(context, rollouts, prompts, meter=meter)
        selections, live = select_groups(rollouts, verdicts, zero_variance=step.algorithm.zero_variance)
        tables.rollouts += rollouts
        tables.verdicts += verdicts
        tables.selections += selections
        groups = _judged_groups(rollouts, verdicts)
        rewards = {v.rollout_id: v.reward for v in verdicts if v.reward is not None}
        dead = [r for name, group in groups.items() if name not in live for r in group]
        policy, rl_count = rl_stream(
            [groups[name] for name in live],
            rewards,
            step.algorithm,
            num_dead_tokens=sum(len(r.tokens) for r in dead),
            num_dead_sequences=len(dead),
            max_new_tokens=self.how.max_new_tokens,
        )
        useful = {s.rollout_id for s in selections if s.use is Use.RL or s.replay}
        meter.useful_tokens += sum(len(r.tokens) for r in rollouts if r.id in useful)
        batches = []
        for epoch in range(step.algorithm.inner_epochs):
            replayed = []
            if step.distillation is not None:
                seed = self._seed("replay", number, epoch)
                count = step.distillation.batch_size
                replayed = replay_examples(context, plan, step.distillation, self.encoder, count=count, seed=seed)
            count = float(max(completion_tokens(replayed), 1))
            batches.append(
                Batch(
                    examples=[*policy, *replayed],
                    normalizers=Normalizers(rl=rl_count, ce=count, kl=count),
                    clip_low=step.algorithm.clip_low,
                    clip_high=step.algorithm.clip_high,
                    temperature=step.temperature,
                )
            )
        entropies = [entropy for r in rollouts for entropy in r.entropies]
        return Round(
            batches=batches,
            reward=sum(rewards.values()) / len(rewards) if rewards else None,
            live_groups=len(live) / len(prompts),
            entropy=sum(entropies) / len(entropies),
            length=sum(len(r.tokens) for r in rollouts) / len(rollouts),
        )


def _judged_groups(rollouts: list[Rollout], verdicts: list[Verdict]) -> dict[str, list[Rollout]]:
    """Return the members of each group that a verifier could judge."""
    groups: dict[str, list[Rollout]] = {}
    for rollout, verdict in zip(rollouts, verdicts, strict=True):
        if verdict.status is not Status.UNVERIFIABLE:
            groups.setdefault(rollout.group, []).append(rollout)
    return groups
