"""The dry run: what a recipe would do, generation by generation, and what it would cost. Touches nothing.

Committed generations are shown with what became of them. The others assume that each reaches exactly what it practises
and is promoted, unless the gate leaves it alone. FLOPs are those that the ledger counts, by its formulas. Counts are
upper bounds where the run decides (every proposal of self-play is solved, every prompt gets all its samples, a level
that cannot be counted has all the held-out prompts asked for), except for groups whose rewards are all equal, which
are most (`INFORMATIVE_SHARE`). Answers count as long as the longest right one, or as the recipe lets them be, a
proposed problem as long as a target's, and the proposer's few tokens not at all. A pretrained model's tokens are
counted by its folder's tokenizer on a sample of prompts. Seconds come from assumed rates until generations are
committed; from then on the rates are scaled so that the plan of those agrees with their measured time. Left out: Ray,
MLflow, verification time and what verifiers ask, the measuring of diagnostics, answers to prompts asked again with a
hint, the evaluation of retained levels above the target, and in memory the weights of teachers and references.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import Field, computed_field

from bootstrap import processor
from bootstrap.compute import (
    MAX_LOGITS,
    MUON_COPIES,
    MUON_PORTION,
    ModelShape,
    forward_flops,
    generate_flops,
    llama_shape,
    train_flops,
)
from bootstrap.config.base_model import ModelSettings, scratch_vocabulary
from bootstrap.config.distillation import Taught
from bootstrap.config.model_origins import ModelOrigins
from bootstrap.config.models import LineageModel, Model, means_best, outside_model, server_model, told
from bootstrap.config.recipe import Recipe
from bootstrap.config.sources import Replay
from bootstrap.config.step import Portion, Words
from bootstrap.config.steps import Step
from bootstrap.config.tasks import tasks_of
from bootstrap.errors import RecipeError, VerifierError
from bootstrap.learner_records import RatioLevel
from bootstrap.ledger_records import Generation
from bootstrap.levels import level_range
from bootstrap.prompts.build import build_task
from bootstrap.prompts.overlap import files_of
from bootstrap.prompts.task import Task, own_level
from bootstrap.records import Checkpoint, Example, Prompt, Record
from bootstrap.scoring.verifier import Tools
from bootstrap.selection.curriculum import (
    aims_by,
    drawn_levels,
    last_evaluated,
    replay_levels,
    target_levels,
    trained_level,
)
from bootstrap.stages.bar import improvement_test
from bootstrap.stages.checks import check_tasks, notes_on
from bootstrap.stages.encoding import Encoder
from bootstrap.stages.readable import leave_out_by_settings
from bootstrap.stages.siblings import stands_for
from bootstrap.stages.verifiers import awaited
from bootstrap.store.ledger import Entry
from bootstrap.training.chat import framed

RATES = {"train": 2e10, "generate": 5e9, "evaluate": 1e10}
"""Assumed FLOP/s of one worker on one CPU core by phase; decoding waits for memory and Python more than for matmuls."""
WIDE = 512
"""Width from which a model's matmuls outweigh what surrounds them."""
WIDE_RATES = {
    "bf16": {"train": 1e11, "generate": 6e10, "evaluate": 6e10},
    "fp32": {"train": 6e10, "generate": 3e10, "evaluate": 3e10},
    "emulated bf16": {"train": 1.2e10, "generate": 6e9, "evaluate": 6e9},
}
"""The same of models this wide, by the precision of their matmuls."""
INFORMATIVE_SHARE = 0.15
"""Assumed share of groups with unequal rewards, where only those carry a gradient: the six generations of
`pipelines/quickstart.yaml` have 0.08 to 0.27, since a level is mastered long before its generation ends."""
SAMPLED_PROMPTS = 32
"""Prompts drawn to measure a level's lengths."""


class StepPlan(Record):
    """One training step: what it does, in words, and how much."""

    type: str
    summary: str
    updates: int
    data: str
    teachers: tuple[str, ...]


class GenerationPlan(Record):
    """One generation, committed or to come."""

    number: int
    status: str
    """`planned`, or the outcome of a committed one."""
    start: str
    """Whose weights it starts from, in words."""
    parent: int | None
    """That generation; None for generation 0, and while the gate has yet to decide it."""
    teachers: tuple[int, ...] | None
    """The generations it learns from by distillation; None while the gate has yet to decide one of them."""
    target_levels: tuple[int, ...]
    steps: tuple[StepPlan, ...]
    tokens: dict[str, int]
    """By phase: generate, train, evaluate; recorded counts for a committed generation."""
    flops: dict[str, float]
    seconds: float
    """Wall time: measured for a committed generation."""

    @computed_field
    @property
    def name(self) -> str:
        return f"gen-{self.number}"


class LineagePlan(Record):
    """The whole dry run."""

    lineage: str
    recipe_digest: str
    workers: int
    num_parameters: int
    memory_bytes_per_worker: int
    """Weights, gradients, optimizer state, caches and activations; without Python and torch themselves."""
    calibrated: bool
    """Whether `seconds` rest on committed generations instead of assumed rates."""
    generations: tuple[GenerationPlan, ...]
    notes: tuple[str, ...] = Field(default=())
    """What a reader of the recipe should know: controls, and settings that limit what can be learnt."""

    @property
    def planned(self) -> tuple[GenerationPlan, ...]:
        return tuple(generation for generation in self.generations if generation.status == "planned")

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON data, with the totals of what is still to be done."""
        totals = {
            "tokens": sum(sum(generation.tokens.values()) for generation in self.planned),
            "flops": sum(sum(generation.flops.values()) for generation in self.planned),
            "seconds": sum(generation.seconds for generation in self.planned),
        }
        return {**self.model_dump(mode="json"), "remaining": totals}


def make_plan(
    recipe: Recipe,
    *,
    lineage: str,
    workers: int,
    entries: Sequence[Entry] = (),
    config: dict[str, Any] | None = None,
    tools: Tools | None = None,
) -> LineagePlan:
    """Return the plan of `recipe` on `workers` processes, `entries` being what its lineage has committed so far.

    `config`: the base model's configuration in Hugging Face terms, which the recipe of a fork does not lead to.
    `tools`: what the verifiers use that read the rows of a file. Raises RecipeError when they read too few.
    """
    committed = [entry.generation for entry in entries]
    last = max(recipe.generations.count, len(committed) - 1)
    estimates = _Estimates(recipe, config, last=last, tools=tools)
    if len(committed) <= last:
        check_tasks(recipe, estimates.task, estimates.panel)
    pace = _pace(estimates, entries)
    generations: list[GenerationPlan] = []
    for number, targets in enumerate(_aims(recipe, committed, last=last, highest=estimates.task.highest_level)):
        estimate = estimates.of(number)
        if number < len(committed):
            parent = committed[number].parent
            start = f"gen-{parent}" if parent is not None else _start(recipe, committed, number)
            teachers: tuple[int, ...] | None = committed[number].teachers
        else:
            start = _start(recipe, committed, number)
            parent, teachers = _parent(recipe, committed, number), _teachers(recipe, committed, number)
        plan = GenerationPlan(
            number=number,
            status="planned",
            start=start,
            parent=parent,
            teachers=teachers,
            target_levels=targets,
            steps=tuple(_describe(recipe, step, targets, number=number) for step in recipe.steps_of(number)),
            tokens=estimate.tokens(number, targets),
            flops=estimate.flops(number, targets),
            seconds=pace * estimate.seconds(number, targets, workers=workers),
        )
        if number < len(committed):
            entry = entries[number]
            plan = plan.model_copy(
                update={
                    "status": entry.generation.outcome.value,
                    "tokens": dict(entry.generation.compute.tokens),
                    "flops": dict(entry.generation.compute.flops),
                    "seconds": sum(entry.annotations.seconds.values()),
                }
            )
        generations.append(plan)
    return LineagePlan(
        lineage=lineage,
        recipe_digest=recipe.digest(),
        workers=workers,
        num_parameters=estimates.of(0).shape.num_parameters,
        memory_bytes_per_worker=estimates.memory_bytes(),
        calibrated=bool(entries),
        generations=tuple(generations),
        notes=(
            *notes(recipe),
            *_spent(recipe, entries),
            *estimates.unread,
            *dict.fromkeys(note for task in (estimates.task, *estimates.panel.values()) for note in _left_out(task)),
            *notes_on(recipe, estimates.task, estimates.panel),
            *_uncounted(estimates, levels={level for generation in generations for level in generation.target_levels}),
        ),
    )


def _spent(recipe: Recipe, entries: Sequence[Entry]) -> Iterator[str]:
    """Yield where the lineage has spent its alpha, so that nothing it grows can be promoted."""
    if not entries or len(entries) > recipe.generations.count:
        return
    position = recipe.generations.position(len(entries))
    test = improvement_test(recipe, [entry.generation for entry in entries], position)
    if not test.alpha:
        yield (
            "the lineage's alpha is spent by rejections, so the gate will promote nothing more; `bootstrap fork` "
            "begins a lineage with an alpha of its own"
        )


def notes(recipe: Recipe) -> Iterator[str]:
    """Yield what is allowed but worth knowing before the machine is busy with it."""
    if recipe.spends_over_lineage and recipe.num_compared > 1:
        alpha, shares = recipe.gate.alpha, recipe.num_compared
        yield (
            f"gate.alpha {alpha:g} is shared by {shares} comparisons: the first is tested at {alpha / shares:.2g}, "
            "a rejection spends what it was tested at, and a promotion spends nothing"
        )
    if recipe.has_fixed_data and not any(task.final_fraction for task in tasks_of(recipe.task).values()):
        yield (
            "there is no final set: the gate's own prompts, used again and again, flatter what it promotes; "
            "task.final_fraction: 0.05 keeps prompts for one comparison at the end"
        )
    steps = [step for _, step in recipe.generation_steps()]
    if not any(step.num_prompts for step in steps):
        yield (
            f"no step samples the target levels: nothing beyond level {recipe.task.base_level} is shown to training, "
            "and the gate promotes only what generalises by itself (a control: continued training)"
        )
    if _is_unfiltered(steps):
        yield "filter none trains on wrong answers too (a control: no verifier); expect the gate to reject"
    if any(verifier.judges == "nothing" for verifier in recipe.verifiers().values()):
        yield "verifier random rewards right and wrong answers alike (a control); expect the gate to reject"
    algorithms = [(step, step.policy_gradient) for step in steps if step.policy_gradient is not None]
    if any(step.anchor is None and step.own_teaching is None for step, _ in algorithms):
        yield "distillation null leaves nothing to hold old levels (a control: policy gradient alone)"
    for _, algorithm in algorithms:
        idle = [
            *([f"dual_clip {algorithm.dual_clip:g}"] if algorithm.dual_clip is not None else []),
            *([f"ratio {algorithm.ratio}"] if algorithm.ratio is RatioLevel.SEQUENCE else []),
        ]
        if idle and algorithm.updates_per_round == 1 and algorithm.correction is None:
            yield (
                f"{' and '.join(idle)} never acts: with one update a round importance ratios are 1; for more of them "
                "set algorithm.mini_batches or inner_epochs"
            )
    if any(step.pays_for_anything for step in steps):
        yield "the proposer is not paid for what can be learnt (a control: problems of any difficulty)"
    yield from filter(None, (awaited(recipe, place) for place in recipe.verifiers()))
    if _precision(recipe) == "emulated bf16":
        yield (
            "this machine's processor has no instructions for bf16: it is emulated, some five times slower than fp32 "
            "(training.precision: auto takes bf16 only where every worker has them)"
        )


def _precision(recipe: Recipe) -> str:
    """Return what the matmuls are computed in where the workers' processor is this machine's."""
    wanted, has_bf16 = recipe.training.precision, bool(recipe.resources.gpus_per_worker) or processor.has_bf16()
    if wanted == "auto":
        return "bf16" if has_bf16 else "fp32"
    return wanted if wanted == "fp32" or has_bf16 else "emulated bf16"


def _left_out(task: Task) -> Iterator[str]:
    """Yield what a task from a file leaves out."""
    for rows in files_of(task).values():
        if rows.left_out:
            yield f"rows of {rows.settings.path} that are left out: {rows.left_out.told()}"


def _uncounted(estimates: "_Estimates", *, levels: Collection[int]) -> Iterator[str]:
    """Yield that evaluation is an upper bound, where it is; `levels`: all that are aimed at."""
    evaluation = estimates.recipe.evaluation
    last = last_evaluated(levels, lookahead=evaluation.lookahead, highest=estimates.task.highest_level)
    own = {own_level(estimates.task, level) for level in range(1, last + 1)}
    asked = [(estimates.task, level, evaluation.prompts_per_level) for level in sorted(own)]
    for name, task in estimates.panel.items():
        watched = evaluation.panel[name]
        asked += [(task, level, watched.prompts_per_level) for level in watched.asked]
    if any(task.num_heldout(level, count) is None for task, level, count in asked):
        yield (
            "evaluation is planned with all the held-out prompts asked for (prompts_per_level), an upper bound: how "
            "many a level has is known once it is drawn"
        )


def _num_heldout(task: Task, level: int, count: int) -> int:
    """Return the held-out prompts of a level that are asked, at most, where `count` are asked for."""
    found = task.num_heldout(level, count)
    return count if found is None else found


def shape_of_config(config: dict[str, Any]) -> ModelShape:
    """Return the shape of a Hugging Face configuration of the Llama family; bias terms are left out.

    Raises RecipeError for a configuration that names its sizes otherwise.
    """
    wanted = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
    if missing := [name for name in wanted if not isinstance(config.get(name), int)]:
        raise RecipeError(
            f"base.model: its config.json gives no {', '.join(missing)}; start from a model of the Llama family, or "
            "from scratch"
        )
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    heads = config["num_attention_heads"]
    head_size = config.get("head_dim") or hidden // heads
    keys = config.get("num_key_value_heads") or heads
    attention = 2 * hidden * head_size * (heads + keys)
    block = attention + 3 * hidden * config["intermediate_size"]
    matmul = layers * block + hidden * config["vocab_size"]
    embedding = 0 if config.get("tie_word_embeddings") else hidden * config["vocab_size"]
    return ModelShape(
        num_layers=layers,
        hidden_size=hidden,
        num_matmul_parameters=matmul,
        num_parameters=matmul + embedding + (2 * layers + 1) * hidden,
    )


class _Lengths:
    """A task's texts in tokens, special tokens included: an encoder's, or one for each character."""

    def __init__(self, task: Task, encoder: Encoder | None) -> None:
        self.task, self.encoder = task, encoder
        self._drawn: dict[int, list[tuple[int, int]]] = {}

    def pairs(self, shown: Sequence[tuple[Prompt, str]]) -> list[tuple[int, int]]:
        """Return the tokens of prompts and of their answers."""
        if self.encoder is None:
            return [(1 + len(prompt.text), len(answer) + 1) for prompt, answer in shown]
        encoded = self.encoder.encode(
            [Example(source=prompt.id, prompt_text=prompt.text, completion_text=answer) for prompt, answer in shown]
        )
        return [(e.num_prompt_tokens, len(e.tokens) - e.num_prompt_tokens) for e in encoded]

    def prompts(self, level: int) -> list[int]:
        """Return the tokens of some prompts of a level."""
        return [prompt for prompt, _ in self._sample(level)]

    def answer(self, level: int) -> float:
        """Return the tokens of the longest answer: of the right ones, or as the task's own limit lets it be."""
        settings = tasks_of(self.task.settings).values()
        limits = [float(one.answer_limit) for one in settings if one.answer_limit]
        if len(limits) == len(settings):
            return max(limits)
        if self.encoder is None:
            return max([1.0 + self.task.max_answer_length(level), *limits])
        return max([*(float(answer) for _, answer in self._sample(level)), *limits])

    def _sample(self, level: int) -> list[tuple[int, int]]:
        # A generation may have been grown when levels past the task's last one repeated it.
        level = own_level(self.task, level)
        if level not in self._drawn:
            drawn = self.task.draw(level, SAMPLED_PROMPTS, seed=0)
            self._drawn[level] = self.pairs([(prompt, self.task.solution(prompt)) for prompt in drawn])
        return self._drawn[level]


class _Estimates:
    """The estimates of a recipe's models: generation 0's, and those of stages that start from another."""

    def __init__(self, recipe: Recipe, config: dict[str, Any] | None, *, last: int, tools: Tools | None = None) -> None:
        """Raise RecipeError when a file holds too many rows that its verifier cannot use."""
        self.recipe = recipe
        self._origins = ModelOrigins(recipe, last=last)
        self._config = config
        self.task = build_task(recipe.task)
        self.panel = {name: build_task(watched.task) for name, watched in recipe.evaluation.panel.items()}
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
        self._made: dict[ModelSettings, _Estimate] = {}
        self._heldout: dict[int, int] = {}

    def num_heldout(self, level: int) -> int:
        """Return the held-out prompts of a level that an evaluation asks, at most."""
        level = own_level(self.task, level)
        if level not in self._heldout:
            self._heldout[level] = _num_heldout(self.task, level, self.recipe.evaluation.prompts_per_level)
        return self._heldout[level]

    def of(self, number: int) -> "_Estimate":
        """Return the estimate of a generation's model."""
        return self._made_of(self._origins.of(number))

    def _made_of(self, origin: ModelSettings | None) -> "_Estimate":
        # Where the gate decides between several models, the lineage's own stands for them: their size is not known yet.
        model = origin or self.recipe.base.model
        if model not in self._made:
            self._made[model] = _Estimate(self, model=model, config=self._config)
        return self._made[model]

    def shape_of(self, name: Model, number: int) -> ModelShape:
        """Return the shape of a model that a generation's steps name."""
        outside = outside_model(name)
        if outside is not None and outside.folder is not None:
            return shape_of_config(json.loads((outside.folder / "config.json").read_bytes()))
        return self._made_of(self._origins.named(name, number=number)).shape

    def memory_bytes(self) -> int:
        """Return bytes of one worker at its fullest."""
        return max(self.of(number).memory_bytes() for number in range(self.recipe.generations.count + 1))


class _Estimate:
    """Lengths, tokens, FLOPs and memory of the stages of one of a recipe's models."""

    def __init__(self, family: _Estimates, *, model: ModelSettings, config: dict[str, Any] | None = None) -> None:
        self.family, self.model = family, model
        self.recipe, self.task = family.recipe, family.task
        self._config = config

    @cached_property
    def config(self) -> dict[str, Any]:
        """The model's configuration in Hugging Face terms."""
        if self.model.folder is not None:
            return json.loads((self.model.folder / "config.json").read_bytes())
        scratch = self.model.as_scratch
        if scratch is None:
            assert self._config is not None, "who plans a fork has found its origin"
            return self._config
        return {
            "hidden_size": scratch.hidden_size,
            "intermediate_size": scratch.intermediate_size,
            "num_hidden_layers": scratch.num_layers,
            "num_attention_heads": scratch.num_heads,
            "vocab_size": len(scratch_vocabulary(self.recipe.task.characters)),
        }

    @cached_property
    def shape(self) -> ModelShape:
        if (scratch := self.model.as_scratch) is not None:
            return llama_shape(
                num_layers=scratch.num_layers,
                hidden_size=scratch.hidden_size,
                intermediate_size=scratch.intermediate_size,
                vocab_size=self.config["vocab_size"],
            )
        shape = shape_of_config(self.config)
        if self.recipe.training.adapter is None:
            return shape
        # The adapter's own parameters are left out: they are few.
        return replace(shape, num_frozen_matmul_parameters=shape.num_matmul_parameters)

    @cached_property
    def encoder(self) -> Encoder | None:
        """The tokenizer of a pretrained model; None where a token is a character, or the model lies in a store."""
        model = self.model.as_pretrained
        if model is None:
            return None
        texts = (path for path in Path(model.path).iterdir() if path.suffix in (".json", ".jinja"))
        files = framed(
            {path.name: path.read_bytes() for path in texts}, chat=model.chat == "template", system=model.system
        )
        return Encoder(Checkpoint(fingerprint="", files=files))

    @cached_property
    def own(self) -> "_Lengths":
        return _Lengths(self.task, self.encoder)

    def lengths(self, level: int) -> tuple[float, float]:
        """Return mean prompt tokens and longest answer tokens at a level, special tokens included."""
        return fmean(self.own.prompts(level)), self.own.answer(level)

    @cached_property
    def watched(self) -> list[tuple[float, float, int]]:
        """Mean prompt tokens, longest answer tokens and prompts of each level of each task of the panel."""
        panel = [
            (watched, _Lengths(self.family.panel[name], self.encoder))
            for name, watched in self.recipe.evaluation.panel.items()
        ]
        return [
            (
                fmean(lengths.prompts(level)),
                lengths.answer(level),
                _num_heldout(lengths.task, level, watched.prompts_per_level),
            )
            for watched, lengths in panel
            for level in watched.asked
        ]

    def sequence(self, levels: Sequence[int]) -> float:
        """Return the mean tokens that training reads of a prompt with its answer, level uniform over `levels`.

        The last one is predicted and never read.
        """
        return fmean(sum(self.lengths(level)) for level in levels) - 1

    @cached_property
    def reference(self) -> float:
        """The same of a reference up to the base level, of mixed operand lengths."""
        levels = range(1, self.recipe.task.base_level + 1)
        shown = self.task.demonstrate(levels, 2 * SAMPLED_PROMPTS, seed=0, mixed=True)
        return fmean(map(sum, self.own.pairs(shown))) - 1

    def trained(self, step: Step, targets: Sequence[int]) -> tuple[float, float]:
        """Return tokens read per sequence and sequences that a step trains on, all streams together."""
        portions = step.portions(learned=_learned(step))
        count = sum(portion.count for portion in portions)
        if len(portions) == 1:
            return self._length(portions[0], step, targets), count
        tokens = sum(portion.count * self._length(portion, step, targets) for portion in portions)
        return tokens / count if count else 0.0, count

    def _length(self, portion: Portion, step: Step, targets: Sequence[int]) -> float:
        """Return tokens read per sequence of what a step trains on."""
        match portion.what:
            case "references":
                return self.reference
            case "replayed":
                return self.sequence(replay_levels(targets) or targets)
        return self.sequence(drawn_levels(step, targets))

    def _replayed(self, settings: Replay, replay: Sequence[int]) -> float:
        return self.reference if settings.data == "references" else self.sequence(replay)

    def tokens(self, number: int, targets: Sequence[int]) -> dict[str, int]:
        """Return tokens by phase; prompts count where they are trained on, not where they are only read."""
        steps, own = self.recipe.steps_of(number), self.lengths
        generated = sum(
            _groups(step)[0] * step.samples_per_prompt * fmean(own(level)[1] for level in drawn_levels(step, targets))
            for step in steps
        )
        trained = (length * count for length, count in (self.trained(step, targets) for step in steps))
        evaluated = sum(count * self.lengths(level)[1] for level, _, count in self._evaluated(targets))
        evaluated += sum(count * answer for _, answer, count in self.watched)
        return {
            "generate": round(generated),
            "train": round(sum(trained)),
            "evaluate": round(evaluated),
        }

    def flops(self, number: int, targets: Sequence[int]) -> dict[str, float]:
        """Return FLOPs by phase (formulas: compute.py). A sequence's mean length stands for all of them."""
        generate = train = evaluate = 0.0
        for step in self.recipe.steps_of(number):
            generate += self._sampling(step, targets, number=number)
            length, count = self.trained(step, targets)
            train += count * train_flops(self.shape, [length]) + self._frozen(step, targets, number=number)
        for level, prompts, count in self._evaluated(targets):
            evaluate += self._generate(self.shape, [self.lengths(level)], prompts, count / prompts)
        for prompt, answer, count in self.watched:
            evaluate += self._generate(self.shape, [(prompt, answer)], count, 1)
        return {"generate": generate, "train": train, "evaluate": evaluate}

    def _sampling(self, step: Step, targets: Sequence[int], *, number: int) -> float:
        """Return FLOPs of a step's answers, by whoever gives them; a server's are its own."""
        sampler = next((name for _, name in step.samplers()), "start")
        if server_model(sampler) is not None:
            return 0.0
        levels = drawn_levels(step, targets)
        lengths, prompts = [self.lengths(level) for level in levels], _groups(step)[0] / len(levels)
        return self._generate(self.family.shape_of(sampler, number), lengths, prompts, step.samples_per_prompt)

    def _frozen(self, step: Step, targets: Sequence[int], *, number: int) -> float:
        """Return FLOPs of forward passes that nothing is learnt from: of teachers and references, and to recompute
        log-probabilities.
        """

        def passes(taught: Taught | None, *, length: float) -> float:
            shapes = [self.family.shape_of(teacher, number) for _, teacher in taught.teachers()] if taught else []
            return fmean(forward_flops(shape, [length]) for shape in shapes) if shapes else 0.0

        total, algorithm, distillation = 0.0, step.policy_gradient, step.anchor
        if distillation is not None:
            length = self._replayed(distillation, replay_levels(targets) or targets)
            updates = step.num_rounds * (algorithm.updates_per_round if algorithm else 1)
            total += updates * distillation.batch_size * passes(distillation, length=length)
        if algorithm is None:
            return total
        own, epochs = _learned(step), algorithm.inner_epochs
        length = self.sequence(drawn_levels(step, targets))
        total += own * epochs * passes(step.own_teaching, length=length)
        if algorithm.recomputes_logprobs:
            total += own * forward_flops(self.shape, [length])
        if algorithm.kl is not None:
            total += own * epochs * forward_flops(self.family.shape_of(algorithm.kl.model, number), [length])
        return total

    def _generate(
        self, shape: ModelShape, lengths: Sequence[tuple[float, float]], prompts: float, samples: float
    ) -> float:
        total = 0.0
        for pair in lengths:
            prompt, answer = map(round, pair)
            prefill = generate_flops(shape, prefills=[prompt], completions=[])
            decode = generate_flops(shape, prefills=[], completions=[(prompt, answer)])
            total += prompts * (prefill + samples * decode)
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
        """Return wall time at the assumed rates."""
        rates = WIDE_RATES[_precision(self.recipe)] if self.shape.hidden_size >= WIDE else RATES
        return sum(flops / (rates[phase] * workers) for phase, flops in self.flops(number, targets).items())

    def memory_bytes(self) -> int:
        """Return bytes of one worker at its fullest: training or decoding `batch_rows` sequences of the longest kind.

        Training keeps weights, gradients and optimizer state (Muon: one moment, AdamW: two), and per token and layer
        about 16 vectors of the hidden size and 3 of the intermediate size for the backward pass, and the logits twice;
        where a large vocabulary makes too many logits (`MAX_LOGITS`), fewer sequences at once. After that, Muon's step
        keeps copies of a portion of the matrices (`MUON_PORTION`). Decoding keeps keys and values.
        """
        recipe, shape = self.recipe, self.shape
        highest = own_level(self.task, recipe.highest_level())
        answer = round(self.own.answer(highest))
        length = recipe.task.longest_sequence(highest)
        if self.encoder is not None:
            length = max(self.own.prompts(highest)) + answer
        rows, vocabulary = recipe.resources.batch_rows, self.config["vocab_size"]
        device = "cuda" if recipe.resources.gpus_per_worker else "cpu"
        trained_rows = min(rows, max(MAX_LOGITS[device] // vocabulary // answer, 1))
        steps = (*recipe.base.steps, *(step for _, step in recipe.generation_steps()))
        optimizers = [step.trained_by for step in steps if step.trained_by is not None]
        moments = max((optimizer.moments for optimizer in optimizers), default=1)
        per_token = shape.num_layers * (16 * shape.hidden_size + 3 * self.config["intermediate_size"])
        activations = trained_rows * (length * per_token + 2 * answer * vocabulary)
        cache = rows * length * 2 * shape.num_layers * shape.hidden_size
        trained = 0 if recipe.training.adapter is not None else shape.num_parameters
        copies = 0
        if trained and any(optimizer.copies_matrices for optimizer in optimizers):
            # The two matrices into the SwiGLU layer are the largest group of one shape.
            matrix = shape.hidden_size * self.config["intermediate_size"]
            copies = MUON_COPIES * min(2 * shape.num_layers * matrix, max(MUON_PORTION, matrix))
        numbers = shape.num_parameters + trained * (1 + moments) + max(activations, cache, copies)
        return round(numbers * shape.bytes_per_parameter)


def _is_unfiltered(steps: Iterable[Step]) -> bool:
    """Whether some step imitates wrong answers too."""
    return any(source.filter == "none" for step in steps for _, source in step.rejections())


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


def _pace(estimates: _Estimates, entries: Sequence[Entry]) -> float:
    """Return measured over planned seconds of the committed generations; 1 when there are none."""
    measured = planned = 0.0
    for entry in entries:
        generation = entry.generation
        measured += sum(entry.annotations.seconds.values())
        planned += estimates.of(generation.number).seconds(
            generation.number, generation.target_levels, workers=generation.num_workers
        )
    return measured / planned if measured and planned else 1.0


def _aims(recipe: Recipe, committed: Sequence[Generation], *, last: int, highest: int | None) -> list[tuple[int, ...]]:
    """Return the targets of generations 0 to `last`: recorded ones, and from then on those that `resolve` would find.

    A planned generation is assumed to have what it practises, and all below, right, and what it starts from had, a
    merge what any of its models had.
    """
    base_level = recipe.task.base_level
    aims: list[tuple[int, ...]] = []
    trained: list[int] = []
    found: list[dict[int, float]] = []
    for number in range(last + 1):
        if number < len(committed):
            generation = committed[number]
            aims.append(generation.target_levels)
            reached = trained_level(recipe, number, generation.target_levels)
            trained.append(max([reached, *(trained[one] for one in generation.parents)]))
            found.append({row.level: row.accuracy for row in generation.report.levels})
            continue
        start = recipe.start_level if highest is None else min(recipe.start_level, highest)
        targets, reached = tuple(range(1, start + 1)), start
        starts: list[int] = []
        if number:
            stage = recipe.generations.position(number).stage
            undecided = _undecided(recipe, committed, number)
            champion = undecided[-1] if undecided else _champion(recipe, committed, number) or 0
            init = champion if stage.init == "champion" else _parent(recipe, committed, number)
            merge = stage.steps[0].as_merge
            if init is None and not stage.parentless:
                # One of siblings to come, all of which aim at the same.
                init = recipe.generations.youngest(stage.init, number=number)
            starts = [init] if init is not None else []
            if merge is not None:
                named = (recipe.generations.youngest(name, number=number) for name in merge.models)
                starts, init = [champion if one is None else one for one in named], None
            decides = aims_by(stage, champion=champion, init=init)
            targets = target_levels(
                stage.curriculum,
                found[decides],
                base_level=base_level,
                rise=recipe.rise(number),
                trained=trained[decides],
                highest=highest,
            )
            reached = trained_level(recipe, number, targets)
        aims.append(targets)
        trained.append(max([reached, *(trained[one] for one in starts)]))
        had = {level: max(found[one].get(level, 0.0) for one in starts) for one in starts for level in found[one]}
        found.append(had | dict.fromkeys(range(1, reached + 1), 1.0))
    return aims


def _start(recipe: Recipe, committed: Sequence[Generation], number: int) -> str:
    """Return in words whose weights a planned generation starts from."""
    if number == 0:
        return told(recipe.base.model)
    position = recipe.generations.position(number)
    if position.stage.steps[0].as_merge is not None:
        return "a merge"
    if outside_model(position.stage.init) is not None:
        return told(position.stage.init)
    if position.stage.init == "champion":
        if undecided := _undecided(recipe, committed, number):
            return f"champion (gen-{undecided[-1]} if promoted)"
        return f"gen-{_champion(recipe, committed, number)}{' (champion)' if committed else ''}"
    if (parent := _parent(recipe, committed, number)) is not None:
        return f"gen-{parent}"
    youngest = recipe.generations.youngest(position.stage.init, number=number)
    siblings = recipe.generations.position(youngest).siblings
    return f"the best of gen-{siblings[0]} to gen-{siblings[-1]}"


def _champion(recipe: Recipe, committed: Sequence[Generation], number: int) -> int | None:
    """Return the champion when a planned generation's siblings begin, or None while the gate has yet to decide it."""
    if _undecided(recipe, committed, number):
        return None
    before = committed[: recipe.generations.position(number).eldest]
    return before[-1].champion if before else 0


def _undecided(recipe: Recipe, committed: Sequence[Generation], number: int) -> list[int]:
    """Return the generations before a planned one's siblings that the gate has yet to decide."""
    eldest = recipe.generations.position(number).eldest
    return [one for one in range(max(len(committed), 1), eldest) if recipe.gate_of(one) != "never"]


def _parent(recipe: Recipe, committed: Sequence[Generation], number: int) -> int | None:
    """Return the generation that a planned one starts from; None for another model, and while it is undecided."""
    if number == 0:
        return None
    stage = recipe.generations.position(number).stage
    if stage.parentless:
        return None
    return _number_of(recipe, committed, number, stage.init)


def _number_of(recipe: Recipe, committed: Sequence[Generation], number: int, name: LineageModel) -> int | None:
    """Return the generation that a name means in a planned one; None while it is undecided."""
    if name == "champion":
        return _champion(recipe, committed, number)
    if name == "parent":
        return _parent(recipe, committed, number)
    found = recipe.generations.youngest(name, number=number)
    assert found is not None, "every other name is of a generation that the recipe says"
    return _stands_for(recipe, committed, found) if means_best(name) else found


def _stands_for(recipe: Recipe, committed: Sequence[Generation], number: int) -> int | None:
    """Return who stands for a generation and its siblings; None while they are not all grown."""
    siblings = recipe.generations.position(number).siblings if number else range(1)
    if len(siblings) > 1 and siblings[-1] >= len(committed):
        return None
    return number if len(siblings) == 1 else stands_for(recipe.generations, committed, number)


def _teachers(recipe: Recipe, committed: Sequence[Generation], number: int) -> tuple[int, ...] | None:
    """Return the generations that teach a planned one, models outside the lineage left out; None while undecided."""
    if number == 0:
        return ()
    named = [
        _number_of(recipe, committed, number, teacher)
        for step in recipe.steps_of(number)
        for _, teacher in step.teachers()
        if outside_model(teacher) is None
    ]
    known = [teacher for teacher in dict.fromkeys(named) if teacher is not None]
    return None if None in named else tuple(known)


def _describe(recipe: Recipe, step: Step, targets: Sequence[int], *, number: int) -> StepPlan:
    """Return a step in words."""
    words = Words(
        drawn=level_range(drawn_levels(step, targets)),
        judged=f"judged by {recipe.verifiers()[recipe.verifier_place(number)].type}",
        references=_references(recipe),
        replayed=partial(_replayed, recipe, targets=targets),
        highest=targets[-1],
    )
    return StepPlan(
        type=step.type,
        summary=step.summary,
        updates=step.num_rounds,
        data=step.data(words),
        teachers=tuple(dict.fromkeys(one if isinstance(one, str) else told(one) for _, one in step.teachers())),
    )


def _references(recipe: Recipe) -> str:
    return f"references of levels 1-{recipe.task.base_level}"


def _replayed(recipe: Recipe, replay: Replay, *, targets: Sequence[int]) -> str:
    """Return in words what is replayed."""
    base = _references(recipe)
    kept = "own" if _is_unfiltered(step for _, step in recipe.generation_steps()) else "verified"
    # Between the base's level and the targets lie the levels that only the lineage's own answers can replay.
    grown = [level for level in replay_levels(targets) if level > recipe.task.base_level]
    words = {
        "accumulate": f"{base} and the lineage's {kept} answers of {level_range(grown)}" if grown else base,
        "latest": f"the parent generation's {kept} answers",
        "references": base,
    }[replay.data]
    words += f", {replay.decay:g} as likely with each generation of age" if replay.decay < 1 else ""
    return words + (f", at least {replay.min_reference_share:.0%} references" if replay.min_reference_share else "")
