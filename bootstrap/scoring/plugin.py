"""A verifier of the user's own: one function, named by the recipe as `module:function` or by an entry point.

    def verify(text: str, *, reference: str, prompt: str, **settings) -> bool | float | tuple[bool, float] | None

`text` is the completion. It returns whether the answer is right (reward 1 or 0), or a reward (PASS from 1), or both, or
None where it cannot judge; a ValueError says the same with a reason. Anything else that it returns or raises is a
defect of the function and stops the run with its name. Answers that the length limit cut are FAIL without asking it.

A function that asks no one, no model and no server, may say which references it can read:

    def reads(reference: str, **settings) -> str: ...  # "", or why no answer to it could be judged
    verify.reads = reads

It is then asked about every row of a file before a run, and judges the row's own answer: what it cannot read or finds
wrong is left out. Without `reads` it judges rollouts and the sanity check's few answers alone, since it may cost money.

`bootstrap verifier check` shows what hostile answers get from it. It runs in the driver's process with all its rights:
code that a model wrote belongs into the verifier `code`.
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
    """Asks the function."""

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
        """Whether the function says which references it reads, and hence that it asks no one."""
        return self._reads is not None

    def reads(self, references: Sequence[str]) -> list[str]:
        """Return what the function's `reads` says of each, "" without one (see `Reader`). Raises VerifierError when it
        fails or returns what is no text."""
        return [self._unread(reference) for reference in references]

    def _unread(self, reference: str) -> str:
        if self._reads is None:
            return ""
        try:
            found = self._reads(reference, **self._settings)
        # As for the function itself.
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
        """Return the judgement. Raises VerifierError when the function fails or returns what is no verdict."""
        if answer.truncated:
            return failed(self.name, "truncated")
        try:
            found = self._function(answer.text, reference=answer.reference, prompt=answer.prompt, **self._settings)
        except ValueError as error:
            return unverifiable(f"{self._uses}: {error}")
        # A foreign function may raise anything; whatever it is, the user needs to hear which function it was.
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
