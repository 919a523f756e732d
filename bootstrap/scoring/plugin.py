"""A verifier of the user's own: one function, named by the recipe as `module:function` or by an entry point.

    def verify(text: str, *, reference: str, prompt: str, **settings) -> bool | float | tuple[bool, float] | None

    returned or raised     verdict on the completion `text`
    True, False            PASS with reward 1, FAIL with reward 0
    a finite number        that reward, PASS from 1
    a pair of both         as said
    None, or ValueError    UNVERIFIABLE, with the error as the reason
    anything else          none: the function is defective, and the run stops with its name

Truncated answers FAIL without a call.

A function that asks neither a model nor a server may say which references it can read:

    def reads(reference: str, **settings) -> str: ...  # "", or why no answer to it could be judged
    verify.reads = reads

Before a run it then judges every row of a file by the row's own answer, and rows that it cannot read or finds wrong are
left out. Without `reads` it judges only rollouts and the sanity check's few answers, since it may cost money.

`bootstrap verifier check` shows its judgements of hostile answers. It runs in the driver's process with all its rights:
use the verifier `code` to run code that a model wrote.
"""

from collections.abc import Sequence
from math import isfinite
from typing import Any

from bootstrap.config.verifiers import PluginVerifier
from bootstrap.errors import VerifierError
from bootstrap.plugins import Kind
from bootstrap.scoring.verifier import (
    Answer,
    AnswerVerifier,
    Judgement,
    Tools,
    failed,
    passed,
    unverifiable,
    version_of,
)

KIND = Kind(
    name="verifier",
    results="verdicts",
    written="verify(text, *, reference, prompt, **settings)",
    error=VerifierError,
)
READS = "reads(reference, **settings)"


class Plugin(AnswerVerifier):
    """Calls the function."""

    name, judges = "plugin", PluginVerifier.judges

    def __init__(self, settings: PluginVerifier, tools: Tools) -> None:
        """Raise VerifierError when the function is missing, unreadable, or does not take these arguments."""
        self._uses = settings.uses
        self._settings = settings.settings
        self._function = KIND.find(settings.uses)
        self._reads = getattr(self._function, "reads", None)
        KIND.check_signature(self._function, settings.uses, settings.settings, "", reference="", prompt="")
        if self._reads is not None:
            KIND.check_signature(self._reads, f"reads of {settings.uses}", settings.settings, "", written=READS)
        self.version = version_of(__name__, settings=settings, also=KIND.meaning(self._function, settings.uses))

    @property
    def is_reader(self) -> bool:
        """Whether the function says which references it reads, which only one that asks nobody does."""
        return self._reads is not None

    def reads(self, references: Sequence[str]) -> list[str]:
        """Return the function's `reads` of each reference, "" without one (see `Reader`).

        Raises VerifierError when `reads` fails or returns no text.
        """
        return [self._unread(reference) for reference in references]

    def _unread(self, reference: str) -> str:
        if self._reads is None:
            return ""
        try:
            found = self._reads(reference, **self._settings)
        # A foreign function may raise anything.
        except Exception as error:
            raise VerifierError(
                f"reads of the verifier {self._uses} raised {type(error).__name__}: {error}; mend it, or let it return "
                "why no answer to a reference can be judged"
            ) from error
        if not isinstance(found, str):
            raise VerifierError(
                f"reads of the verifier {self._uses} returned {_shown(found)}; it must return text: empty, or why no "
                "answer to the reference can be judged"
            )
        return found

    def judge_one(self, answer: Answer) -> Judgement:
        """Return the judgement. Raises VerifierError when the function fails or returns no verdict."""
        if answer.truncated:
            return failed(self.name, "truncated")
        try:
            found = self._function(answer.text, reference=answer.reference, prompt=answer.prompt, **self._settings)
        except ValueError as error:
            return unverifiable(f"{self._uses}: {error}")
        # A foreign function may raise anything, and the user needs its name.
        except Exception as error:
            raise VerifierError(
                f"the verifier {self._uses} raised {type(error).__name__}: {error}; mend it, or let it raise "
                "ValueError, or return None, for an answer that it cannot judge"
            ) from error
        return self._judgement(found)

    def _judgement(self, found: Any) -> Judgement:
        match found:
            case None:
                return unverifiable(f"{self._uses} cannot judge it")
            case bool():
                return passed(self.name) if found else failed(self.name)
            case int() | float() if _is_reward(found):
                reward = float(found)
                return passed(self.name, reward=reward) if reward >= 1 else failed(self.name, reward=reward)
            case (bool() as right, int() | float() as reward) if isinstance(found, tuple) and _is_reward(reward):
                verdict = passed if right else failed
                return verdict(self.name, reward=float(reward))
        raise VerifierError(
            f"the verifier {self._uses} returned {_shown(found)}; it must return True or False, a finite reward, "
            "a pair of both, or None"
        )


def _is_reward(value: float) -> bool:
    try:
        return isfinite(value)
    except OverflowError:
        return False


def _shown(value: Any) -> str:
    """Return a value's type and, for plain numbers, the value."""
    return f"{value!r}" if type(value) in (int, float) and abs(value) < 1e9 else f"a {type(value).__name__}"
