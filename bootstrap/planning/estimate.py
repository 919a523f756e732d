"""What generations cost: tokens, FLOPs by the formulas of the ledger (`compute.py`), seconds, memory.

Counts are upper bounds where the run decides (every proposal of self-play is solved, every prompt gets all its samples,
a level that cannot be counted has all the held-out prompts asked for), except for groups whose rewards are all equal,
which are most (`INFORMATIVE_SHARE`). An answer counts as long as the longest right one, or as the recipe lets it be; a
proposed problem as long as a target's. Seconds come from assumed rates and a fixed part (`overhead.py`) until
generations are committed; from then on both are scaled to the measured time of those.

Left out: verification and what verifiers ask, answers to prompts asked again with a hint, the proposer's tokens, and
the evaluation of retained levels above the target.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cached_property
from statistics import fmean
from typing import Any

from bootstrap.compute import ModelShape, forward_flops, generate_flops, train_flops
from bootstrap.config.base_model import ModelSettings
from bootstrap.config.distillation import Taught
from bootstrap.config.model_origins import ModelOrigins
from bootstrap.config.models import Model, outside_model, server_model
from bootstrap.config.recipe import Recipe
from bootstrap.config.steps import Step
from bootstrap.errors import VerifierError
from bootstrap.ledger_records import Annotations
from bootstrap.planning.lengths import SAMPLED_PROMPTS, Lengths, num_heldout
from bootstrap.planning.memory import MemoryPlan, plan_memory
from bootstrap.planning.overhead import GENERATION
from bootstrap.planning.rates import rates_of
from bootstrap.planning.shapes import PlannedModel, shape_of_folder
from bootstrap.prompts.build import build_task
from bootstrap.prompts.task import own_level
from bootstrap.scoring.verifier import Tools
from bootstrap.selection.curriculum import drawn_levels, last_evaluated, replay_levels
from bootstrap.stages.fitting import TextModel, leave_out_unfit, text_models
from bootstrap.stages.readable import leave_out_by_settings
from bootstrap.stages.resolver import Resolver, candidates
from bootstrap.store.ledger import Entry

INFORMATIVE_SHARE = 0.15
"""Assumed share of groups with unequal rewards, where only those carry a gradient: the six generations of
`pipelines/quickstart.yaml` have 0.08 to 0.27, since a level is mastered long before its generation ends."""


class CostEstimates:
    """The estimates of a recipe's models: generation 0's, and those of stages that start from another."""

    def __init__(
        self,
        recipe: Recipe,
        resolvers: Sequence[Resolver],
        *,
        config: dict[str, Any] | None = None,
        models: Sequence[TextModel] | None = None,
        tools: Tools | None = None,
    ) -> None:
        """`resolvers`: of all generations. `models`: what reads the rows of files; None for those in folders.

        Raises RecipeError when the models or a verifier can use too few rows of a file.
        """
        self.recipe = recipe
        self._config = config
        self._origins = ModelOrigins(
            recipe, last=len(resolvers) - 1, meant=lambda name, number: candidates(resolvers[number].find(name))
        )
        self.task = build_task(recipe.task)
        self.panel = {name: build_task(watched.task) for name, watched in recipe.evaluation.panel.items()}
        for task in (self.task, *self.panel.values()):
            leave_out_unfit(task, text_models(recipe) if models is None else models, tools=tools)
        self.unread: list[str] = []
        """Notes that say where it is not known here which rows of a file the verifiers can use."""
        judged = [(self.task, verifier) for verifier in (*recipe.verifiers().values(), recipe.eval_verifier)]
        judged += [(self.panel[name], watched.verifier) for name, watched in recipe.evaluation.panel.items()]
        for task, verifier in judged:
            try:
                leave_out_by_settings(task, verifier, tools=tools)
            except VerifierError as error:
                # A plan may be made where the run's packages, or what confines its programs, are not.
                self.unread.append(f"which rows the verifier {verifier.type} can use is not known here: {error}")
        self._made: dict[ModelSettings, CostEstimate] = {}
        self._heldout: dict[int, int] = {}

    def num_heldout(self, level: int) -> int:
        """Return the held-out prompts of a level that an evaluation asks, at most."""
        level = own_level(self.task, level)
        if level not in self._heldout:
            self._heldout[level] = num_heldout(self.task, level, self.recipe.evaluation.most_prompts)
        return self._heldout[level]

    def of(self, number: int) -> "CostEstimate":
        """Return the estimate of a generation's model."""
        return self._of_model(self._origins.of(number))

    def _of_model(self, origin: ModelSettings | None) -> "CostEstimate":
        # The size of one of several models is not known yet; the lineage's own stands for it.
        model = origin or self.recipe.base.model
        if model not in self._made:
            self._made[model] = CostEstimate(self, PlannedModel(self.recipe, model, forked=self._config))
        return self._made[model]

    def shape_of(self, name: Model, number: int) -> ModelShape:
        """Return the shape of a model that a generation's steps name."""
        outside = outside_model(name)
        if outside is not None and outside.folder is not None:
            return shape_of_folder(outside.folder)
        return self._of_model(self._origins.named(name, number=number)).model.shape

    def memory(self, memory: int | None, *, recipe: Recipe | None = None) -> MemoryPlan:
        """Return the plan of the model that takes most, in `memory` bytes of a worker; None sets no bound.

        `recipe`: this one changed in how it trains.
        """
        estimates = {self.of(number) for number in range(self.recipe.generations.count + 1)}
        plans = [plan_memory(recipe or self.recipe, one.model, one.lengths, memory=memory) for one in estimates]
        return max(plans, key=lambda plan: plan.needed)

    def pace(self, entries: Sequence[Entry]) -> float:
        """Return measured over estimated seconds of the committed generations; 1 when there are none."""
        measured = estimated = 0.0
        for entry in entries:
            generation = entry.generation
            measured += wall_seconds(entry.annotations)
            estimated += self.of(generation.number).seconds(
                generation.number, generation.target_levels, workers=generation.num_workers
            )
        return measured / estimated if measured and estimated else 1.0


class CostEstimate:
    """Tokens, FLOPs and seconds of the generations that go back to one of a recipe's models."""

    def __init__(self, family: CostEstimates, model: PlannedModel) -> None:
        self.family, self.model, self.recipe = family, model, family.recipe

    @cached_property
    def lengths(self) -> Lengths:
        """The lengths of the recipe's own task."""
        return Lengths(self.family.task, self.model.encoder)

    def _pair(self, level: int) -> tuple[float, float]:
        """Return mean prompt tokens and longest answer tokens at a level, special tokens included."""
        return fmean(self.lengths.prompts(level)), self.lengths.answer(level)

    @cached_property
    def _watched(self) -> list[tuple[float, float, int]]:
        """Mean prompt tokens, longest answer tokens and prompts of each level of each task of the panel."""
        panel = [
            (watched, Lengths(self.family.panel[name], self.model.encoder))
            for name, watched in self.recipe.evaluation.panel.items()
        ]
        return [
            (
                fmean(lengths.prompts(level)),
                lengths.answer(level),
                num_heldout(lengths.task, level, watched.prompts_per_level),
            )
            for watched, lengths in panel
            for level in watched.asked
        ]

    def _sequence(self, levels: Sequence[int]) -> float:
        """Return the mean tokens that training reads of a prompt with its answer, level uniform over `levels`.

        The last one is predicted and never read.
        """
        return fmean(sum(self._pair(level)) for level in levels) - 1

    @cached_property
    def _reference(self) -> float:
        """Mean tokens of a reference with its prompt, level uniform up to `base_level`."""
        levels = range(1, self.recipe.task.base_level + 1)
        shown = self.family.task.demonstrate(levels, 2 * SAMPLED_PROMPTS, seed=0, mixed=True)
        return fmean(map(sum, self.lengths.pairs(shown))) - 1

    def _trained(self, step: Step, targets: Sequence[int]) -> tuple[float, float]:
        """Return tokens read per sequence and sequences that a step trains on, all streams together."""
        portions = step.portions(learned=_learned(step))
        count = sum(portion.count for portion in portions)
        if len(portions) == 1:
            return self._length(portions[0].what, step, targets), count
        tokens = sum(portion.count * self._length(portion.what, step, targets) for portion in portions)
        return tokens / count if count else 0.0, count

    def _length(self, what: str, step: Step, targets: Sequence[int]) -> float:
        """Return tokens read per sequence of what a step trains on (`Portion.what`)."""
        match what:
            case "references":
                return self._reference
            case "replayed":
                return self._sequence(replay_levels(targets) or targets)
        return self._sequence(drawn_levels(step, targets))

    def tokens(self, number: int, targets: Sequence[int]) -> dict[str, int]:
        """Return tokens by phase; prompts count where they are trained on, not where they are only read."""
        steps, answer = self.recipe.steps_of(number), self.lengths.answer
        generated = sum(
            _groups(step)[0] * step.samples_per_prompt * fmean(map(answer, drawn_levels(step, targets)))
            for step in steps
        )
        trained = (length * count for length, count in (self._trained(step, targets) for step in steps))
        evaluated = sum(count * answer(level) for level, _, count in self._evaluated(targets))
        evaluated += sum(count * answer for _, answer, count in self._watched)
        return {"generate": round(generated), "train": round(sum(trained)), "evaluate": round(evaluated)}

    def flops(self, number: int, targets: Sequence[int]) -> dict[str, float]:
        """Return FLOPs by phase. A sequence's mean length stands for all of them."""
        generate = train = evaluate = 0.0
        for step in self.recipe.steps_of(number):
            generate += self._sampling(step, targets, number=number)
            length, count = self._trained(step, targets)
            train += count * train_flops(self.model.shape, [length]) + self._frozen(step, targets, number=number)
        for level, prompts, count in self._evaluated(targets):
            evaluate += _generate(self.model.shape, [self._pair(level)], prompts, count / prompts)
        for prompt, answer, count in self._watched:
            evaluate += _generate(self.model.shape, [(prompt, answer)], count, 1)
        return {"generate": generate, "train": train, "evaluate": evaluate}

    def _sampling(self, step: Step, targets: Sequence[int], *, number: int) -> float:
        """Return FLOPs of sampling a step's answers; 0 for a server's."""
        samplers = step.samplers()
        sampler: Model = samplers[0][1] if samplers else "start"
        if server_model(sampler) is not None:
            return 0.0
        levels = drawn_levels(step, targets)
        lengths, prompts = [self._pair(level) for level in levels], _groups(step)[0] / len(levels)
        return _generate(self.family.shape_of(sampler, number), lengths, prompts, step.samples_per_prompt)

    def _frozen(self, step: Step, targets: Sequence[int], *, number: int) -> float:
        """Return FLOPs of forward passes without a gradient: of teachers, references and recomputed log-probs."""

        def passes(taught: Taught | None, *, length: float) -> float:
            shapes = [self.family.shape_of(teacher, number) for _, teacher in taught.teachers()] if taught else []
            return fmean(forward_flops(shape, [length]) for shape in shapes) if shapes else 0.0

        total, algorithm, anchor = 0.0, step.policy_gradient, step.anchor
        if anchor is not None:
            length = self._length("references" if anchor.data == "references" else "replayed", step, targets)
            updates = step.num_rounds * (algorithm.updates_per_round if algorithm else 1)
            total += updates * anchor.batch_size * passes(anchor, length=length)
        if algorithm is None and step.own_teaching is None:
            return total
        own, epochs = _learned(step), algorithm.inner_epochs if algorithm else 1
        length = self._sequence(drawn_levels(step, targets))
        total += own * epochs * passes(step.own_teaching, length=length)
        if algorithm is None:
            return total
        if algorithm.recomputes_logprobs:
            total += own * forward_flops(self.model.shape, [length])
        if algorithm.kl is not None:
            total += own * epochs * forward_flops(self.family.shape_of(algorithm.kl.model, number), [length])
        return total

    def _evaluated(self, targets: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        """Yield (level, prompts, completions) of an evaluation: greedy everywhere, sampled on the targets."""
        evaluation = self.recipe.evaluation
        last = last_evaluated(targets, lookahead=evaluation.lookahead, highest=self.family.task.highest_level)
        for level in range(1, last + 1):
            count = self.family.num_heldout(level)
            yield level, count, count
            if evaluation.sampled and level in targets:
                count = min(evaluation.sampled.prompts, count)
                yield level, count, count * evaluation.sampled.samples

    def seconds(self, number: int, targets: Sequence[int], *, workers: int) -> float:
        """Return wall time at the assumed rates, the fixed part included."""
        rates = rates_of(self.recipe, self.model.shape)
        return GENERATION + sum(
            flops / (rates[phase] * workers) for phase, flops in self.flops(number, targets).items()
        )


def wall_seconds(measured: Annotations) -> float:
    """Return a generation's wall time: of its stages, or from start to commit where that is longer.

    A generation that was stopped and resumed has its earlier stages in the first alone.
    """
    began, ended = (datetime.fromisoformat(at) for at in (measured.started, measured.finished))
    return max(sum(measured.seconds.values()), (ended - began).total_seconds())


def _generate(shape: ModelShape, lengths: Sequence[tuple[float, float]], prompts: float, samples: float) -> float:
    """Return FLOPs of so many prompts of each (prompt, answer) length, each answered `samples` times."""
    total = 0.0
    for pair in lengths:
        prompt, answer = map(round, pair)
        prefill = generate_flops(shape, prefills=[prompt], completions=[])
        decode = generate_flops(shape, prefills=[], completions=[(prompt, answer)])
        total += prompts * (prefill + samples * decode)
    return total


def _groups(step: Step) -> tuple[float, float]:
    """Return the groups of samples that a step draws, those in place of others included, and those trained on."""
    wanted = step.num_prompts
    if not step.leaves_out_equal_rewards:
        return wanted, wanted
    redraws = step.policy_gradient.redraws if step.policy_gradient is not None else 0
    drawn = wanted * sum((1 - INFORMATIVE_SHARE) ** again for again in range(redraws + 1))
    return drawn, INFORMATIVE_SHARE * drawn


def _learned(step: Step) -> float:
    """Return a step's own samples that one epoch trains on."""
    return _groups(step)[1] * step.samples_per_prompt
