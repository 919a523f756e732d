"""Steps that imitate: `sft` on references or on newly accepted answers, `distill` on the lineage's answers."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from bootstrap.config.sources import References, Rejection
from bootstrap.config.steps import DistillStep, SftStep
from bootstrap.ids import RoundId, SampleId
from bootstrap.prompts.programs import ProgramTask
from bootstrap.prompts.working import ShownWorking
from bootstrap.records import Example, Prompt, Rollout, Sampling, Selection, Status, Use
from bootstrap.seeds import generator
from bootstrap.selection.epochs import Passes
from bootstrap.selection.filters import accept
from bootstrap.stages.assembly import assemble, distilled, divergence_form, replay_examples
from bootstrap.stages.context import Context, Meter, Plan
from bootstrap.stages.generate import common_fault, num_easier_variants, requests, sampling, spread
from bootstrap.stages.samplers import answers, judge_answers
from bootstrap.stages.tables import Tables
from bootstrap.stages.trainer import Round, Trainer
from bootstrap.stages.visits import EpochDraws


class SupervisedTrainer(Trainer[SftStep | DistillStep]):
    """Makes batches of sequences that exist before the first update, for cross-entropy or a divergence."""

    samples = False

    def __init__(self, context: Context, plan: Plan, step: SftStep | DistillStep, *, index: int) -> None:
        super().__init__(context, plan, step, index=index)
        self.newest: list[Example] = []

    def drawn(self, tables: Tables) -> int:
        return self.step.num_prompts

    def prepare(self, tables: Tables, meter: Meter) -> None:
        for _, source in self.step.rejections():
            self._sample(source, tables, meter)

    def _sample(self, source: Rejection, tables: Tables, meter: Meter) -> None:
        """Sample answers on the source's levels and select those that pass its filter."""
        context, plan = self.context, self.plan
        prompts = []
        levels = plan.levels(source.levels)
        epochs = EpochDraws(context, plan, measured=source.measures) if source.draw == "epochs" else None
        for level, count in spread(source.prompts, levels, seed=self.seed("levels")):
            if epochs is not None:
                prompts += epochs.draw(level, count)
                continue
            easier = num_easier_variants(count, level, source.easier_variants)
            draw = context.task.draw
            prompts += draw(level, count - easier, seed=self.seed("prompts", level))
            if easier:
                # The name is a part of the seed: another one would draw other prompts.
                prompts += draw(level, easier, seed=self.seed("stepping_stones", level), easier_variant=True)
        asked = requests(prompts, prefix=self._round(), samples=source.samples_per_prompt, seed=context.recipe.seed)
        how = sampling(context, levels=levels, temperature=source.temperature, top_k=source.top_k, top_p=source.top_p)
        context.observe(plan.event("generate", 0, len(asked)))
        policy = plan.start.fingerprint if self.index == 0 else None
        tables.rollouts = answers(context, plan, source, asked, how, encoder=self.encoder, policy=policy, meter=meter)
        tables.verdicts = judge_answers(context, tables.rollouts, prompts, meter=meter)
        if source.hints != "never":
            self._retry(source, prompts, how, tables, policy=policy, meter=meter)
        tables.selections = accept(
            tables.rollouts, tables.verdicts, filter=source.filter, max_per_prompt=source.max_accepted_per_prompt
        )
        if source.sampler != "start":
            tables.selections = [self._writable(*pair) for pair in zip(tables.rollouts, tables.selections, strict=True)]
        kept = {s.rollout_id for s in tables.selections if s.use is Use.CE}
        meter.useful_tokens += sum(len(r.tokens) for r in tables.rollouts if r.id in kept)
        nothing = "" if kept else "no answer passed the filter, so this step trains on replayed answers alone"
        fault = common_fault(tables.verdicts)
        context.observe(plan.event("select", len(kept), len(tables.rollouts), message=nothing, warning=fault))

    def _retry(
        self,
        source: Rejection,
        prompts: Sequence[Prompt],
        how: Sampling,
        tables: Tables,
        *,
        policy: str | None,
        meter: Meter,
    ) -> None:
        """Ask prompts whose answers were all wrong as often again, with a hint (STaR, arXiv:2203.14465).

        The new answers join their prompts' groups, numbered after the first ones, and are judged alike.
        """
        context, samples = self.context, source.samples_per_prompt
        task = ShownWorking.of(context.task)
        statuses: dict[str, set[Status]] = {}
        for rollout, verdict in zip(tables.rollouts, tables.verdicts, strict=True):
            statuses.setdefault(rollout.group, set()).add(verdict.status)
        twice = requests(prompts, prefix=self._round(), samples=2 * samples, seed=context.recipe.seed)
        again = [
            request
            for place, request in enumerate(twice)
            if place % (2 * samples) >= samples
            and statuses[SampleId.parse(request.id).group] == {Status.FAIL}
            and (source.hints == "references" or request.prompt.level <= context.recipe.task.base_level)
        ]
        if not again:
            return
        hinted = [replace(request, prompt=task.hint(request.prompt)) for request in again]
        context.observe(self.plan.event("generate", 0, len(hinted), message="wrong ones are asked again with a hint"))
        found = answers(context, self.plan, source, hinted, how, encoder=self.encoder, policy=policy, meter=meter)
        found = [replace(r, unhinted=asked.prompt.text) for r, asked in zip(found, again, strict=True)]
        tables.rollouts += found
        tables.verdicts += judge_answers(context, found, [request.prompt for request in hinted], meter=meter)

    def _round(self) -> RoundId:
        return RoundId(generation=self.plan.number, step=self.index)

    def resume(self, tables: Tables) -> None:
        kept = {s.rollout_id for s in tables.selections if s.use is Use.CE}
        own = not self.step.samplers()
        self.newest = [
            _imitate(r) if own and not r.unhinted else self._imitate_text(r) for r in tables.rollouts if r.id in kept
        ]

    def _writable(self, rollout: Rollout, selection: Selection) -> Selection:
        """Return the selection, which drops what the student's vocabulary cannot write."""
        if selection.use is Use.CE and not (rollout.text and self.encoder.writes(rollout.text)):
            return Selection(
                rollout_id=rollout.id, use=Use.NONE, replay=False, reason="the student's vocabulary cannot write it"
            )
        return selection

    def _imitate_text(self, rollout: Rollout) -> Example:
        """Return an example in the student's own tokens and without a hint, of an answer by another model or hinted."""
        [(prompt, completion)] = self.encoder.pairs([(rollout.imitated_prompt, rollout.text)])
        if rollout.finish.is_truncated:
            completion = completion[:-1]
        return Example(source=rollout.id, tokens=(*prompt, *completion), num_prompt_tokens=len(prompt), ce_weight=1.0)

    def round(self, number: int, tables: Tables, meter: Meter) -> Round:
        step, seed, examples = self.step, self.seed("round", number), list[Example]()
        if step.anchor is not None:
            examples += distilled(self.context, self.plan, step.anchor, self.encoder, seed=seed)
        for _, source in step.rejections():
            examples += self._newest(source, step.batch_size, seed=seed)
        for _, source in step.shown():
            examples += self._references(source, step.batch_size, number=number, seed=seed)
        return Round(batches=[assemble([], examples, **divergence_form(step.anchor))])

    @cached_property
    def _passes(self) -> Passes[Prompt]:
        """Epochs of the prompts whose references are shown."""
        prompts = list[Prompt]()
        for level in range(1, self.context.recipe.task.base_level + 1):
            shown = self.context.task.every_shown(level)
            assert shown is not None, "epochs of other than fixed data are refused when the recipe is loaded"
            prompts += shown
        return Passes(prompts, seed=self.seed("references"))

    def _newest(self, source: Rejection, count: int, *, seed: int) -> list[Example]:
        """Return `count` examples: accepted answers, and replayed sequences beside them."""
        num_newest = round(source.newest_share * count) if self.newest else 0
        rng = generator(seed, "newest")
        examples = [rng.choice(self.newest) for _ in range(num_newest)]
        if (rest := count - num_newest) > 0:
            examples += replay_examples(self.context, self.plan, source.replay, self.encoder, count=rest, seed=seed)
        if self.newest:
            # Where the lineage has nothing to replay yet, the newest answers fill the batch.
            examples += [rng.choice(self.newest) for _ in range(count - len(examples))]
        return examples

    def _references(self, source: References, count: int, *, number: int, seed: int) -> list[Example]:
        """Return `count` examples: the task's references, and a share of problems that are put."""
        task, levels = self.context.task, range(1, self.context.recipe.task.base_level + 1)
        if source.forms is not None:
            task = ShownWorking.of(task).showing(source.forms)
        proposals = round(source.proposals * count)
        if source.draw == "epochs":
            shown = [(prompt, task.solution(prompt)) for prompt in self._passes.take(number * count, count)]
        else:
            shown = task.demonstrate(levels, count - proposals, seed=seed, mixed=True)
        if proposals:
            shown += ProgramTask.of(self.context.task).demonstrate_proposals(levels, proposals, seed=seed)
        return self.encoder.encode(
            [Example(source=p.id, prompt_text=p.text, completion_text=a, ce_weight=1.0) for p, a in shown]
        )


def _imitate(rollout: Rollout) -> Example:
    return Example(
        source=rollout.id,
        tokens=rollout.prompt_tokens + rollout.tokens,
        num_prompt_tokens=len(rollout.prompt_tokens),
        ce_weight=1.0,
    )
