"""What every verifier offers, and how rollouts become verdicts.

A verifier finds PASS, FAIL or UNVERIFIABLE. UNVERIFIABLE is trouble with judging, never a wrong answer: it carries no
reward, and too large a share of it stops the run.

Left out: how answers are compared (one module per verifier, `exact.py` the simplest), where in a completion the answer
stands (`extract.py`), and whether a verifier deserves trust (`sanity.py`).
"""

import hashlib
import importlib
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bootstrap.config import verifiers
from bootstrap.config.answers import Judges
from bootstrap.config.base import Settings, identity_of
from bootstrap.config.models import LineageModel
from bootstrap.errors import VerifierError
from bootstrap.meaning import meaning_of
from bootstrap.records import Rollout, Status, Verdict

PATIENCE = 5
"""`Answer.patience` of answers whose verdict is known: how fast a machine is decides on no row, and on no sanity
check.
"""
REASONS_SHOWN = 3
MAX_REASON = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One completion to judge, with all that a verifier may know about it."""

    prompt: str
    text: str
    reference: str
    truncated: bool = False
    """Whether the length limit cut it."""
    num_tokens: int = 0
    """Completion tokens, the end-of-sequence token included."""
    group: str = ""
    """Answers that share it answer the same prompt, by the same weights."""
    task: str = ""
    """The prompt's `task`."""
    whole: bool = False
    """Whether `text` is known to begin where the answer does: a reasoning tag that the prompt as shown ended with
    stands before the completion. False where it is not known how the prompt was shown: a reasoning that is closed and
    never opened then counts as opened by the prompt."""
    patience: int = 1
    """How many times the CPU time that a verifier allows judging it may take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What a verifier says about one answer."""

    status: Status
    reward: float | None
    """None exactly when the status is UNVERIFIABLE."""
    breakdown: Mapping[str, float] = field(default_factory=dict)
    """Reward by component."""
    reason: str
    sandbox: str = ""
    """Level of confinement under which the answer's code ran; empty where none did."""
    cpu_seconds: float = 0.0
    """CPU time that judging took outside this process."""

    def __post_init__(self) -> None:
        assert (self.reward is None) == (self.status is Status.UNVERIFIABLE), "UNVERIFIABLE is never a number"


def passed(name: str, reason: str = "right", *, reward: float = 1.0) -> Judgement:
    """Return a PASS of the verifier `name`."""
    return Judgement(status=Status.PASS, reward=reward, breakdown={name: reward}, reason=reason)


WRONG = "wrong"
"""The reason of an answer that is well formed and not right."""


def failed(name: str, reason: str = WRONG, *, reward: float = 0.0) -> Judgement:
    """Return a FAIL of the verifier `name`."""
    return Judgement(status=Status.FAIL, reward=reward, breakdown={name: reward}, reason=reason)


def unverifiable(reason: str) -> Judgement:
    """Return an UNVERIFIABLE; `reason` says what kept the verifier from judging."""
    return Judgement(status=Status.UNVERIFIABLE, reward=None, reason=reason)


Progress = Callable[[str, int, int], None]
"""Told, while a verifier reads a file's rows, which file that is, how many of its rows are done, and of how many."""


class Verifier(Protocol):
    """Judges answers. The same answers always get the same judgements, whatever else the machine does."""

    name: str
    version: str
    """First 16 hex digits of SHA-256 over what the code means and the settings."""
    judges: Judges

    def judge(self, answers: Sequence[Answer]) -> list[Judgement]:
        """Return one judgement per answer, in order.

        Trouble with one answer is UNVERIFIABLE; an exception is a defect, or trouble with all, and stops the run.
        """

    def close(self) -> None:
        """Let go of processes and connections. May be repeated."""


class Reader(Verifier, Protocol):
    """A verifier that compares answers with references and asks no one about them."""

    def reads(self, references: Sequence[str]) -> list[str]:
        """Return for each reference why no answer could be judged by it, or "" where answers can be.

        Reasons name kinds, so that they can be counted. Raises VerifierError for trouble with anything else.
        """


class AnswerVerifier(ABC):
    """A verifier that judges each answer by itself."""

    name: str
    version: str
    judges: Judges

    @abstractmethod
    def judge_one(self, answer: Answer) -> Judgement:
        """Return the judgement of one answer; a ValueError means that this one cannot be judged."""

    def judge(self, answers: Sequence[Answer]) -> list[Judgement]:
        return [self._guarded(answer) for answer in answers]

    def reads(self, references: Sequence[str]) -> list[str]:
        """Return "" for each reference: any text will do (see `Reader`)."""
        return [""] * len(references)

    def close(self) -> None:  # noqa: B027 - most verifiers hold nothing
        pass

    def _guarded(self, answer: Answer) -> Judgement:
        try:
            return self.judge_one(answer)
        # Fault tolerance is the intent: one answer that cannot be judged must not cost the others.
        except ValueError as error:
            return unverifiable(f"{type(error).__name__}: {error}")


class Models(Protocol):
    """Generations of the lineage, for verifiers that ask them."""

    def complete(
        self,
        prompts: Sequence[str],
        *,
        model: LineageModel,
        samples: int,
        temperature: float,
        max_new_tokens: int,
        seed: int,
    ) -> list[list[str]]:
        """Return up to `samples` completions of each prompt by a generation, named by place, number or stage.

        Completions that the length limit cut are left out.
        """


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What verifiers may use beyond the answers."""

    processes: int = 1
    """Sandboxed processes at once."""
    cache: Path | None = None
    """Folder in which answers of models that judge are kept, and which rows cannot be read; None keeps them in
    memory."""
    progress: Progress | None = None
    models: Models | None = None
    host: Callable[[verifiers.Verifier], Verifier] | None = None
    """Builds a verifier that holds a model in a process of its own; None builds it in this one."""


def build_verifier(settings: verifiers.Verifier, *, tools: Tools | None = None) -> Verifier:
    """Return the verifier that the settings name; its module, with all that it needs, is imported only then.

    Raises VerifierError when what it needs is missing (a package, a model, confinement), with the remedy.
    """
    tools = tools or Tools()
    if settings.is_hosted and tools.host is not None:
        return tools.host(settings)
    module, name = settings.built_by.split(":")
    return getattr(importlib.import_module(module), name)(settings, tools)


def version_of(*modules: str, settings: Settings, also: str = "") -> str:
    """Return a verifier's version: first 16 hex digits of SHA-256 over what its modules mean and its settings.

    What they use of shared modules counts with them (`meaning.py`). Settings that are operational, such as a server's
    address, do not count. `also`: what else decides on verdicts, as the version of a library.
    """
    chosen = json.dumps(identity_of(settings), sort_keys=True)
    content = "\x1f".join([meaning_of(*modules), chosen, also])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def judge_within(
    verifier: Verifier,
    answers: Sequence[Answer],
    *,
    max_unverifiable: float,
    tell: Callable[[Mapping[Status, int]], None] | None = None,
) -> list[Judgement]:
    """Return one judgement per answer, in order.

    `tell` is given their number by status, first of all. Raises VerifierError when the share of UNVERIFIABLE ones
    exceeds `max_unverifiable`.
    """
    judgements = verifier.judge(answers) if answers else []
    assert len(judgements) == len(answers), (
        f"{verifier.name} gave {len(judgements)} judgements of {len(answers)} answers"
    )
    if tell is not None:
        tell(Counter(judgement.status for judgement in judgements))
    unjudged = [judgement for judgement in judgements if judgement.status is Status.UNVERIFIABLE]
    if len(unjudged) > max_unverifiable * len(judgements):
        reasons = "; ".join(list(dict.fromkeys(printable(judgement.reason) for judgement in unjudged))[:REASONS_SHOWN])
        raise VerifierError(
            f"verifier {verifier.name} could not judge {len(unjudged)} of {len(judgements)} answers "
            f"({len(unjudged) / len(judgements):.1%}, at most {max_unverifiable:.1%} allowed): {reasons}. "
            "Repair what the verifier needs, or raise max_unverifiable in the recipe, and run again"
        )
    return judgements


def score(
    rollouts: Sequence[Rollout],
    references: Mapping[str, str],
    *,
    verifier: Verifier,
    max_unverifiable: float,
    tell: Callable[[Mapping[Status, int]], None] | None = None,
) -> list[Verdict]:
    """Return one verdict per rollout, in order; `references` maps prompt ids to right answers.

    `tell` as in `judge_within`. Raises VerifierError when the share of UNVERIFIABLE ones exceeds `max_unverifiable`.
    """
    answers = [
        Answer(
            prompt=rollout.prompt_text,
            text=rollout.text,
            reference=references[rollout.prompt_id],
            truncated=rollout.finish.is_truncated,
            num_tokens=len(rollout.tokens),
            group=rollout.group,
            task=rollout.task,
            whole=True,
        )
        for rollout in rollouts
    ]
    judgements = judge_within(verifier, answers, max_unverifiable=max_unverifiable, tell=tell)
    return [
        Verdict(
            rollout_id=rollout.id,
            status=judgement.status,
            reward=judgement.reward,
            breakdown=judgement.breakdown,
            reason=printable(judgement.reason),
            verifier=verifier.name,
            version=verifier.version,
            sandbox=judgement.sandbox,
            cpu_seconds=judgement.cpu_seconds,
        )
        for rollout, judgement in zip(rollouts, judgements, strict=True)
    ]


def printable(text: str) -> str:
    """Return text that may hold a model's words as one bounded line, control characters and surrogates escaped."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: MAX_REASON + 1])
    return shown if len(shown) <= MAX_REASON else f"{shown[: MAX_REASON - 3]}..."
