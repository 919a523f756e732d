"""A training step of the user's own: one function, named by the recipe as `module:function` or by an entry point.

    def step(groups: list[list[Sample]], *, tools: RoundTools, **options) -> list[Lesson]

It is called once a round. `groups` has a list of sampled and judged answers for each prompt of the round. The result
names what the round trains on, each made by `sample.learn(rl=..., ce=..., kl=...)`:

| weight | stream | of |
|---|---|---|
| `rl` | policy gradient: an advantage for the sample, or a list with one for each token | judged answers |
| `ce` | cross-entropy: how much the text is imitated | answers and references |
| `kl` | divergence to the step's teacher (`teaching`) | answers and references |

Other answers are dropped with that reason; the first right answer of each group joins the replay pool in any case. Each
stream is a mean over its own tokens; replayed sequences (`distillation`) join the streams as in an `rl` step. One
optimizer update follows, so that answers are on policy and nothing is clipped.

The function has to be pure: its result depends on its arguments alone, randomness comes from `tools.rng`, and nothing
is kept between rounds, or a killed run does not resume as it began. Any other result, and any error, stops the run with
the function's name. It is tried on invented answers before anything is grown. It runs in the driver's process with all
its rights.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, cycle, islice
from random import Random
from statistics import fmean
from typing import Any, NamedTuple

from bootstrap.config.plugin_step import PluginStep
from bootstrap.errors import RecipeError
from bootstrap.ids import RoundId
from bootstrap.plugins import number, per_token
from bootstrap.prompts.task import Task
from bootstrap.records import Example, Rollout, Selection, Status, Use, Verdict
from bootstrap.seeds import generator
from bootstrap.stages.assembly import assemble, distilled, divergence_form, teacher_of
from bootstrap.stages.context import Context, Meter, Plan
from bootstrap.stages.encoding import completion_tokens
from bootstrap.stages.generate import common_fault, generate, judge, requests, sampling, spread
from bootstrap.stages.tables import Tables
from bootstrap.stages.trainer import Round, Trainer
from bootstrap.stages.visits import EpochDraws

TRIED_GROUPS = 2
"""Invented groups for the trial of the function."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """A text that a round can train on: the model's answer, or the task's reference."""

    source: str
    """Id of the rollout, or of a reference's prompt."""
    prompt: str
    text: str
    level: int
    task: str
    num_tokens: int = 0
    """Tokens of an answer, its end included; 0 for a reference."""
    right: bool | None = None
    """The verdict on an answer; None where nothing could judge it, and for a reference."""
    reward: float | None = None
    """None where `right` is."""
    truncated: bool = False
    """Whether the length limit cut it."""

    def learn(self, *, rl: float | Sequence[float] = 0.0, ce: float = 0.0, kl: float = 0.0) -> "Lesson":
        """Return the sample with its weights on the three streams."""
        return Lesson(sample=self, rl=rl, ce=ce, kl=kl)


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """A sample with its weights on the three streams."""

    sample: Sample
    rl: float | Sequence[float]
    """An advantage for all of its tokens, or one for each."""
    ce: float
    kl: float


@dataclass(frozen=True, kw_only=True)
class RoundTools:
    """What a round gives the function beside its groups."""

    number: int
    """Number of the round, from 0."""
    rounds: int
    """Number of rounds in the step."""
    target_levels: tuple[int, ...]
    """Levels that the generation aims at."""
    rng: Random
    """Random numbers of the round, the same whenever the round is repeated."""
    task: Task = field(repr=False)
    shown: list[Sample] = field(default_factory=list, repr=False)
    """References given out so far."""

    def references(self, count: int) -> list[Sample]:
        """Return `count` reference answers of train prompts, up to the task's `base_level`."""
        levels, seed = range(1, self.task.settings.base_level + 1), self.rng.getrandbits(63)
        pairs = self.task.demonstrate(levels, count, seed=seed, mixed=True)
        found = [Sample(source=p.id, prompt=p.text, text=a, level=p.level, task=p.task) for p, a in pairs]
        self.shown.extend(found)
        return found


class _Weighed(NamedTuple):
    """A checked lesson."""

    sample: Sample
    rl: tuple[float, ...]
    """By token; empty for none."""
    ce: float
    kl: float


class PluginTrainer(Trainer[PluginStep]):
    """Each round samples groups from the current weights; one update trains on what the function chooses."""

    def __init__(self, context: Context, plan: Plan, step: PluginStep, *, index: int) -> None:
        super().__init__(context, plan, step, index=index)
        self.samples = step.prompts_per_update > 0
        self.function = step.found()
        self.levels = plan.levels(step.levels)
        self.how = sampling(context, levels=self.levels, temperature=step.temperature)
        self.epochs = EpochDraws(context, plan, measured=step.measures) if step.draws_epochs else None

    def resume(self, tables: Tables) -> None:
        if self.epochs is not None:
            self.epochs.resume(tables)

    def drawn(self, tables: Tables) -> int:
        return self.step.num_prompts

    def round(self, number: int, tables: Tables, meter: Meter) -> Round:
        step = self.step
        rollouts, verdicts = self._answers(number, meter) if self.samples else ([], [])
        groups = _groups(rollouts, verdicts)
        tools = RoundTools(
            number=number,
            rounds=step.rounds,
            target_levels=self.plan.target_levels,
            rng=generator(self.seed("round", number), "function"),
            task=self.context.task,
        )
        lessons = _lessons(self.function, step, groups, tools)
        selections = _selections(rollouts, verdicts, lessons, step)
        tables.rollouts += rollouts
        tables.verdicts += verdicts
        tables.selections += selections
        meter.useful_tokens += sum(
            len(rollout.tokens)
            for rollout, selection in zip(rollouts, selections, strict=True)
            if selection.use is not Use.NONE or selection.replay
        )
        own = self._examples(lessons, rollouts)
        batch = assemble(
            own,
            distilled(self.context, self.plan, step.distillation, self.encoder, seed=self.seed("replay", number)),
            rl=float(max(completion_tokens([example for example in own if example.advantages]), 1)),
            temperature=step.temperature,
            **divergence_form(step.distillation, step.teaching),
        )
        rewards = [verdict.reward for verdict in verdicts if verdict.reward is not None]
        entropies = [entropy for rollout in rollouts for entropy in rollout.entropies]
        differing = [len({sample.reward for sample in group} - {None}) > 1 for group in groups]
        return Round(
            batches=[batch],
            reward=fmean(rewards) if rewards else None,
            informative_groups=fmean(differing) if differing else None,
            entropy=fmean(entropies) if entropies else None,
            length=fmean(len(rollout.tokens) for rollout in rollouts) if rollouts else None,
            common_fault=common_fault(verdicts),
        )

    def _answers(self, number: int, meter: Meter) -> tuple[list[Rollout], list[Verdict]]:
        """Return the round's answers, those of a prompt together, and their verdicts."""
        context, step = self.context, self.step
        prompts = [
            prompt
            for level, count in spread(step.prompts_per_update, self.levels, seed=self.seed("levels", number))
            for prompt in (
                context.task.draw(level, count, seed=self.seed("prompts", number, level))
                if self.epochs is None
                else self.epochs.draw(level, count)
            )
        ]
        prefix = RoundId(generation=self.plan.number, step=self.index, number=number)
        asked = requests(prompts, prefix=prefix, samples=step.group_size, seed=context.recipe.seed)
        rollouts = generate(context, asked, self.how, shape=self.plan.shape, meter=meter)
        verdicts = judge(context, rollouts, prompts, meter=meter)
        if self.epochs is not None:
            self.epochs.end_round(rollouts, verdicts)
        return rollouts, verdicts

    def _examples(self, lessons: Sequence[_Weighed], rollouts: Sequence[Rollout]) -> list[Example]:
        """Return answers as they were sampled, then references in the student's tokens."""
        by_id = {rollout.id: rollout for rollout in rollouts}
        answers, references = list[Example](), list[Example]()
        for sample, rl, ce, kl in lessons:
            example = Example(source=sample.source, ce_weight=ce, kl_weight=kl)
            if kl:
                assert self.step.teaching is not None, "a weight kl was checked to have a teacher"
                teacher = teacher_of(self.plan, self.step.teaching, sample.level, sample.task)
                example = replace(example, teacher=teacher)
            if (rollout := by_id.get(sample.source)) is None:
                references.append(replace(example, prompt_text=sample.prompt, completion_text=sample.text))
            else:
                tokens, length = rollout.prompt_tokens + rollout.tokens, len(rollout.prompt_tokens)
                example = replace(example, tokens=tokens, num_prompt_tokens=length)
                answers.append(replace(example, advantages=rl, logprobs=rollout.logprobs))
        return [*answers, *self.encoder.encode(references)]


def rehearse(step: PluginStep, task: Task) -> None:
    """Call the function with invented answers of a task. Raises RecipeError as a round does."""
    pairs = task.demonstrate([task.settings.base_level], TRIED_GROUPS if step.prompts_per_update else 0, seed=0)
    groups = [
        [
            Sample(
                source=f"{prompt.id}/{place}",
                prompt=prompt.text,
                text=text,
                level=prompt.level,
                task=prompt.task,
                num_tokens=len(text) + 1,
                right=not place,
                reward=float(not place),
            )
            for place, text in enumerate(islice(chain([answer], cycle(task.wrong_answers(prompt))), step.group_size))
        ]
        for prompt, answer in pairs
    ]
    tools = RoundTools(
        number=0, rounds=step.rounds, target_levels=(task.settings.base_level + 1,), rng=Random(0), task=task
    )
    _lessons(step.found(), step, groups, tools)


def _lessons(
    function: Callable[..., Any], step: PluginStep, groups: Sequence[Sequence[Sample]], tools: RoundTools
) -> list[_Weighed]:
    """Return the function's lessons that have a weight. Raises RecipeError when it fails or returns something else."""
    try:
        found = function([list(group) for group in groups], tools=tools, **step.options)
    # A foreign function may raise anything; whatever it is, the user needs to hear which function it was.
    except Exception as error:
        raise RecipeError(
            f"the step {step.uses} raised {type(error).__name__}: {error}; fix it, and run again"
        ) from error
    answers = {id(sample) for group in groups for sample in group}
    known = answers | {id(sample) for sample in tools.shown}
    lessons: dict[int, _Weighed] = {}
    try:
        if not isinstance(found, list | tuple):
            raise ValueError(f"a {type(found).__name__}")
        for lesson in found:
            if not isinstance(lesson, Lesson):
                raise ValueError(f"a {type(lesson).__name__} for a lesson")
            where = f"the text {lesson.sample.text!r:.40}"
            if (name := id(lesson.sample)) not in known:
                raise ValueError(f"{where}, which it was not given")
            if name in lessons:
                raise ValueError(f"{where} twice")
            lessons[name] = _weighed(lesson, where, is_answer=name in answers, is_taught=step.teaching is not None)
    except ValueError as error:
        raise RecipeError(
            f"the step {step.uses} returned {error}; it must return a list of sample.learn(rl=..., ce=..., kl=...) of "
            "samples that it was given, each once"
        ) from None
    return [weighed for weighed in lessons.values() if weighed.rl or weighed.ce or weighed.kl]


def _weighed(lesson: Lesson, where: str, *, is_answer: bool, is_taught: bool) -> _Weighed:
    """Return a lesson's weights as plain numbers. Raises ValueError for one that cannot be."""
    sample = lesson.sample
    advantage = per_token(lesson.rl, sample.num_tokens, f"rl of {where}")
    if isinstance(advantage, list):
        each, is_reinforced = advantage, any(advantage)
    else:
        each, is_reinforced = [advantage] * sample.num_tokens, advantage != 0
    ce, kl = number(lesson.ce, f"ce of {where}"), number(lesson.kl, f"kl of {where}")
    if min(ce, kl) < 0:
        raise ValueError(f"a weight ce or kl below 0 for {where}")
    if is_reinforced and not is_answer:
        raise ValueError(f"a weight rl for {where}, a reference, which the model did not sample")
    if is_reinforced and sample.right is None:
        raise ValueError(f"a weight rl for {where}, which nothing could judge")
    if kl and not is_taught:
        raise ValueError(f"a weight kl for {where}, and the step names no teacher (teaching)")
    return _Weighed(sample, tuple(each) if any(each) else (), ce, kl)


def _groups(rollouts: Sequence[Rollout], verdicts: Sequence[Verdict]) -> list[list[Sample]]:
    """Return the answers of each prompt in the function's terms."""
    groups: dict[str, list[Sample]] = {}
    for rollout, verdict in zip(rollouts, verdicts, strict=True):
        sample = Sample(
            source=rollout.id,
            prompt=rollout.prompt_text,
            text=rollout.text,
            level=rollout.level,
            task=rollout.task,
            num_tokens=len(rollout.tokens),
            right=None if verdict.status is Status.UNVERIFIABLE else verdict.status is Status.PASS,
            reward=verdict.reward,
            truncated=rollout.finish.is_truncated,
        )
        groups.setdefault(rollout.group, []).append(sample)
    return list(groups.values())


def _selections(
    rollouts: Sequence[Rollout], verdicts: Sequence[Verdict], lessons: Sequence[_Weighed], step: PluginStep
) -> list[Selection]:
    """Return the use of each answer, by its lesson or left out; the first right one of a group is replayed."""
    by_source = {lesson.sample.source: lesson for lesson in lessons}
    found, replayed = [], set[str]()
    for rollout, verdict in zip(rollouts, verdicts, strict=True):
        lesson = by_source.get(rollout.id)
        replay = verdict.status is Status.PASS and rollout.group not in replayed
        replayed |= {rollout.group} if replay else set()
        use = Use.NONE if lesson is None else Use.RL if lesson.rl else Use.CE
        reason = f"{'left out' if lesson is None else 'chosen'} by {step.uses}"
        found.append(Selection(rollout_id=rollout.id, use=use, replay=replay, reason=reason))
    return found
