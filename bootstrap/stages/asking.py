"""Generations as people ask them: the evaluation's engine, framing, stops and limits, in this process alone.

    ChatJudge        task and eval verifier, as far as they can be had without code of others and without a network
    Respondent   one generation's weights, which answer a prompt as in its evaluation

A stored recipe may be somebody else's: plug-ins that it names are not imported, and servers and data sets that it names
are not asked. Answers come without a verdict then, and the judge says why. Left out: what is printed (`cli/chat.py`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from bootstrap.config.answers import VerifierSettings
from bootstrap.config.evaluation import Sampled
from bootstrap.config.recipe import Recipe
from bootstrap.config.tasks import tasks_of
from bootstrap.errors import RecipeError, VerifierError
from bootstrap.ids import Asking, HeldoutId
from bootstrap.memory import MemoryLimits
from bootstrap.pool import LocalPool
from bootstrap.prompts.build import build_task
from bootstrap.prompts.splits import prompt_id
from bootstrap.prompts.task import Task, own_level
from bootstrap.records import Checkpoint, Prompt, Rollout, Sampling, Split, Verdict
from bootstrap.scoring.verifier import Tools, Verifier, build_verifier, score
from bootstrap.stages.encoding import Encoder
from bootstrap.stages.evaluate import SEED
from bootstrap.stages.generate import requests
from bootstrap.stages.prepare import training_of
from bootstrap.store.fingerprint import base_fingerprint
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.training.asked import HowAsked, how_asked

UNKNOWN_TASK = "asked"
"""`Prompt.task` of a text that is no prompt of the lineage's task."""


class ChatJudge:
    """What a lineage can say about an answer: the task, which knows references, and the eval verifier."""

    def __init__(self, recipe: Recipe) -> None:
        """Open both where that is safe; `why_not` says why there is none, or is empty."""
        self.recipe = recipe
        self.task: Task | None = None
        self.verifier: Verifier | None = None
        self.why_not = _why_not(recipe)
        if self.why_not:
            return
        try:
            self.task = build_task(recipe.task)
            self.verifier = build_verifier(recipe.eval_verifier, tools=Tools())
        except (RecipeError, VerifierError) as error:
            # A file, a package or confinement that this machine lacks.
            self.why_not = str(error)

    def close(self) -> None:
        """Release the verifier's processes."""
        if self.verifier is not None:
            self.verifier.close()

    def prompt(self, text: str) -> Prompt | None:
        """Return the task's prompt that a text is; None without a task, or where it is none of its prompts."""
        return None if self.task is None else self.task.read(text)

    def reference(self, prompt: Prompt) -> str:
        """Return a right answer to one of the task's prompts."""
        assert self.task is not None, "only a task reads prompts"
        return self.task.solution(prompt)

    def verdicts(self, rollouts: Sequence[Rollout], prompt: Prompt) -> list[Verdict]:
        """Return the eval verifier's verdicts on answers to one of the task's prompts."""
        assert self.task is not None and self.verifier is not None, "only a task reads prompts"
        references = {prompt.id: self.task.reference(prompt)}
        return score(rollouts, references, verifier=self.verifier, max_unverifiable=1.0)

    def questions(self, level: int) -> Iterator[Prompt]:
        """Yield the held-out prompts of a level again and again; none without a task."""
        if self.task is None:
            return
        asked = self.task.heldout(own_level(self.task, level), self.recipe.evaluation.most_prompts)
        while asked:
            yield from asked

    def max_new_tokens(self, level: int) -> int:
        """Return the evaluation's limit on an answer's tokens at a level."""
        if self.task is not None:
            return self.task.max_answer_tokens(own_level(self.task, level))
        return max(one.most_answer_tokens(level) for one in tasks_of(self.recipe.task).values())


def _why_not(recipe: Recipe) -> str:
    """Return why no verdict can be had without code of others, a network or another model; empty where it can."""
    tasks, verifiers = tasks_of(recipe.task).values(), list(_all_parts(recipe.eval_verifier))
    if any(task.runs_own_code for task in tasks):
        return "its task is a plug-in, and what a stored recipe names is not imported"
    if any(task.downloads for task in tasks):
        return "its task reads a data set of the hub, which is not downloaded for this"
    others = [one.type_name for one in verifiers if not one.judges_alone]
    if others:
        return f"its verifier ({', '.join(dict.fromkeys(others))}) is a plug-in, or asks other models or answers"
    return ""


def _all_parts(settings: VerifierSettings) -> Iterator[VerifierSettings]:
    yield settings
    for _, part in settings.parts():
        yield from _all_parts(part)


@dataclass(frozen=True, kw_only=True)
class Respondent:
    """One generation's model, in a pool of its own with one worker."""

    name: str
    """As `gen-3`."""
    checkpoint: Checkpoint
    pool: LocalPool
    how: HowAsked

    @classmethod
    def of(cls, store: LineageStore, entries: Sequence[Entry], number: int, recipe: Recipe) -> "Respondent":
        """Load a committed generation's weights. Raises WeightsFreed, StoreCorrupt."""
        generation = entries[number].generation
        checkpoint = store.artifact(generation.artifacts["weights"]).checkpoint(generation.fingerprint)
        pool = LocalPool(1, batch_rows=recipe.resources.batch_rows)
        pool.configure(training_of(recipe, entries))
        pool.limit(MemoryLimits(memory=pool.memory(), halved={}, length=0, **recipe.resources.own_limits))
        if (base := base_fingerprint(checkpoint.files)) is not None:
            pool.provide(store.artifact(generation.artifacts["base"]).checkpoint(base))
        pool.hold(checkpoint)
        return cls(name=generation.name, checkpoint=checkpoint, pool=pool, how=how_asked(checkpoint.files))

    @cached_property
    def encoder(self) -> Encoder:
        """Its tokenizer."""
        return Encoder(self.checkpoint)

    def unknown(self, text: str) -> list[str]:
        """Return the characters of a text that the tokenizer has no token for."""
        if self.encoder.writes(text):
            return []
        return [character for character in dict.fromkeys(text) if not self.encoder.writes(character)]

    def answer(self, prompt: Prompt, sampling: Sampling, *, samples: int) -> list[Rollout]:
        """Return `samples` answers to a prompt."""
        asking = Asking.SAMPLED if sampling.temperature else Asking.GREEDY
        prefix = HeldoutId(asking=asking, level=prompt.level, task="")
        return self.pool.generate(requests([prompt], prefix=prefix, samples=samples, seed=SEED), sampling)


def as_prompt(text: str, *, level: int) -> Prompt:
    """Return a prompt for a text that is none of the task's."""
    identifier = prompt_id(UNKNOWN_TASK, text)
    return Prompt(id=identifier, task=UNKNOWN_TASK, level=level, text=text, split=Split.TRAIN)


def sampling_of(how: Sampled | None, *, max_new_tokens: int, samples: int) -> Sampling:
    """Return the evaluation's sampling: greedy for one answer, as its sampled answers for several."""
    if samples == 1:
        return Sampling(temperature=0.0, max_new_tokens=max_new_tokens)
    how = how or Sampled()
    return Sampling(temperature=how.temperature, max_new_tokens=max_new_tokens, top_k=how.top_k, top_p=how.top_p)
