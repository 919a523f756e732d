"""The interface of verifiers, and how rollouts become verdicts.

A verdict is PASS, FAIL or UNVERIFIABLE. UNVERIFIABLE is trouble with judging, never a wrong answer: it has no reward,
and too large a share of it stops the run.

Left out: comparing answers (one module per verifier, `exact.py` the simplest), finding them in completions
(`extract.py`), and trust in a verifier (`sanity.py`).
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
from bootstrap.schema import hashed

PATIENCE = 5
"""`Answer.patience` of answers with a known verdict, so that a slow machine fails no row and no sanity check."""
REASONS_SHOWN = 3
MAX_REASON = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One completion to judge, with everything that a verifier may know about it."""

    prompt: str
    text: str
    reference: str
    truncated: bool = False
    """Whether the length limit cut it."""
    num_tokens: int = 0
    """Completion tokens, the end-of-sequence token included."""
    group: str = ""
    """Shared by the answers to one prompt by the same weights."""
    task: str = ""
    """The prompt's `task`."""
    whole: bool = False
    """Whether `text` holds everything from the answer's beginning, including a reasoning tag at the prompt's end.

    False where the shown prompt is unknown: a reasoning that is closed and never opened then counts as opened by it.
    """
    patience: int = 1
    """Factor on the CPU time that a verifier allows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """A verifier's judgement of one answer."""

    status: Status
    reward: float | None
    """None exactly when the status is UNVERIFIABLE."""
    breakdown: Mapping[str, float] = field(default_factory=dict)
    """Reward by component."""
    reason: str
    sandbox: str = ""
    """Level of the sandbox that judging used; empty without one."""
    cpu_seconds: float = 0.0
    """CPU time of judging in other processes."""

    def __post_init__(self) -> None:
        assert (self.reward is None) == (self.status is Status.UNVERIFIABLE), "UNVERIFIABLE is never a number"


def passed(name: str, reason: str = "right", *, reward: float = 1.0) -> Judgement:
    """Return a PASS of the verifier `name`."""
    return Judgement(status=Status.PASS, reward=reward, breakdown={name: reward}, reason=reason)


WRONG = "wrong"
"""The reason of an answer that is well formed but not right."""


def failed(name: str, reason: str = WRONG, *, reward: float = 0.0) -> Judgement:
    """Return a FAIL of the verifier `name`."""
    return Judgement(status=Status.FAIL, reward=reward, breakdown={name: reward}, reason=reason)


def unverifiable(reason: str) -> Judgement:
    """Return an UNVERIFIABLE; `reason` says what prevented a judgement."""
    return Judgement(status=Status.UNVERIFIABLE, reward=None, reason=reason)


Progress = Callable[[str, int, int], None]
"""Called while a verifier reads a file's rows: with the file, the rows done, and the rows in all."""


class Verifier(Protocol):
    """Judges answers. The same answers always get the same judgements, however busy the machine is."""

    name: str
    version: str
    """First 16 hex digits of SHA-256 over the code's meaning and the settings."""
    judges: Judges

    def judge(self, answers: Sequence[Answer]) -> list[Judgement]:  # pyright: ignore[reportReturnType]  # a protocol
        """Return one judgement per answer, in order.

        Trouble with one answer is UNVERIFIABLE. An exception is a defect or trouble with all answers; it stops the run.
        """

    def close(self) -> None:
        """Release processes and connections. May be called again."""


class Reader(Verifier, Protocol):
    """A verifier that compares answers with references and asks neither a model nor a server."""

    def reads(self, references: Sequence[str]) -> list[str]:  # pyright: ignore[reportReturnType]  # a protocol
        """Return why each reference cannot be compared with; "" where it can.

        Reasons name kinds, so that they can be counted. Raises VerifierError for any other trouble.
        """


class AnswerVerifier(ABC):
    """A verifier that judges each answer by itself."""

    name: str
    version: str
    judges: Judges

    @abstractmethod
    def judge_one(self, answer: Answer) -> Judgement:
        """Return the judgement of one answer. A ValueError makes it UNVERIFIABLE."""

    def judge(self, answers: Sequence[Answer]) -> list[Judgement]:
        return [self._guarded(answer) for answer in answers]

    def reads(self, references: Sequence[str]) -> list[str]:
        """Return "" for each reference: any text can be compared with (see `Reader`)."""
        return [""] * len(references)

    def close(self) -> None:  # noqa: B027 - most verifiers hold nothing
        pass

    def _guarded(self, answer: Answer) -> Judgement:
        try:
            return self.judge_one(answer)
        # One answer that cannot be judged must not cost the others.
        except ValueError as error:
            return unverifiable(f"{type(error).__name__}: {error}")


class Models(Protocol):
    """Asks generations of the lineage, on behalf of verifiers."""

    def complete(
        self,
        prompts: Sequence[str],
        *,
        model: LineageModel,
        samples: int,
        temperature: float,
        max_new_tokens: int,
        seed: int,
    ) -> list[list[str]]:  # pyright: ignore[reportReturnType]  # a protocol
        """Return up to `samples` completions of each prompt by a generation, named by place, number or stage.

        Truncated completions are left out.
        """


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What verifiers may use beyond the answers."""

    processes: int = 1
    """Sandboxed processes at once."""
    cache: Path | None = None
    """Folder for judge models' replies and the list of unreadable rows; None keeps them in memory."""
    progress: Progress | None = None
    models: Models | None = None
    host: Callable[[verifiers.Verifier], Verifier] | None = None
    """Builds a verifier that holds a model, in another process; None builds it in this one."""


def build_verifier(settings: verifiers.Verifier, *, tools: Tools | None = None) -> Verifier:
    """Return the verifier that the settings name, and import its module only then.

    Raises VerifierError when a package, a model or confinement is missing, with the remedy.
    """
    tools = tools or Tools()
    if settings.is_hosted and tools.host is not None:
        return tools.host(settings)
    module, name = settings.built_by.split(":")
    return getattr(importlib.import_module(module), name)(settings, tools)


def version_of(*modules: str, settings: Settings, also: str = "") -> str:
    """Return a verifier's version: first 16 hex digits of SHA-256 over its modules' meaning and its settings.

    The definitions that they use of shared modules count too (`meaning.py`). Settings count under the names that ids
    are made of (`schema.py`); operational ones, such as a server's address, do not count. `also`: anything else that
    decides on verdicts, as the version of a library.
    """
    chosen = json.dumps(hashed(identity_of(settings)), sort_keys=True)
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

    `tell` receives the number of judgements by status, before anything is raised. Raises VerifierError when the share
    of UNVERIFIABLE ones exceeds `max_unverifiable`.
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
    """Return a text, perhaps a model's, as one bounded line with control characters and surrogates escaped."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: MAX_REASON + 1])
    return shown if len(shown) <= MAX_REASON else f"{shown[: MAX_REASON - 3]}..."
