"""What every verifier offers, and how rollouts become verdicts.

A verifier finds PASS, FAIL or UNVERIFIABLE. UNVERIFIABLE is trouble with judging, never a wrong answer: it carries no
reward, and too large a share of it stops the run.

Left out: how answers are compared (one module per verifier, `exact.py`) and whether a verifier deserves trust
(`probe.py`).
"""

import hashlib
import importlib
import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bootstrap.config import verifiers
from bootstrap.config.base import Settings
from bootstrap.errors import VerifierError
from bootstrap.records import Rollout, Status, Verdict

CLASSES = {"exact": "bootstrap.scoring.exact:ExactMatch"}
"""Settings' `type` -> module and class; a verifier's module, with all that it needs, is imported only when named."""

REASONS_SHOWN = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What a verifier says about one answer."""

    status: Status
    reward: float | None
    """None exactly when the status is UNVERIFIABLE."""
    breakdown: Mapping[str, float]
    """Reward by component."""
    reason: str

    def __post_init__(self) -> None:
        assert (self.reward is None) == (self.status is Status.UNVERIFIABLE), "UNVERIFIABLE is never a number"


class Verifier(Protocol):
    """Judges answers one at a time; the same answer always gets the same judgement."""

    name: str
    version: str
    """First 16 hex digits of SHA-256 over the module's source and the settings."""

    def judge(self, text: str, *, reference: str, truncated: bool) -> Judgement:
        """Return the judgement of an answer; `truncated` says that the length limit cut it.

        A ValueError means that this one answer cannot be judged; anything else is a defect and stops the run.
        """


def build_verifier(settings: verifiers.Verifier) -> Verifier:
    """Return the verifier that the settings name."""
    module, name = CLASSES[settings.type].split(":")
    return getattr(importlib.import_module(module), name)(settings)


def version_of(module: str, *, settings: Settings) -> str:
    """Return the version of a verifier: first 16 hex digits of SHA-256 over its module's source and its settings."""
    source = inspect.getsource(sys.modules[module])
    return hashlib.sha256(f"{source}\x1f{settings.model_dump_json()}".encode()).hexdigest()[:16]


def judge(verifier: Verifier, text: str, *, reference: str, truncated: bool) -> Judgement:
    """Return the verifier's judgement, with a ValueError it raises turned into UNVERIFIABLE and its reason."""
    try:
        return verifier.judge(text, reference=reference, truncated=truncated)
    # Fault tolerance is the intent: one answer that cannot be judged must not cost the others.
    except ValueError as error:
        reason = f"{type(error).__name__}: {error}"
        return Judgement(status=Status.UNVERIFIABLE, reward=None, breakdown={}, reason=reason)


def score(
    rollouts: Sequence[Rollout], references: Mapping[str, str], *, verifier: Verifier, max_unverifiable: float
) -> list[Verdict]:
    """Return one verdict per rollout, in order; `references` maps prompt ids to right answers.

    Raises VerifierError when the share of UNVERIFIABLE verdicts exceeds `max_unverifiable`.
    """
    verdicts = []
    for rollout in rollouts:
        assert rollout.prompt_id in references, f"no reference for prompt {rollout.prompt_id} of {rollout.id}"
        judgement = judge(
            verifier,
            rollout.text,
            reference=references[rollout.prompt_id],
            truncated=rollout.finish.is_truncated,
        )
        verdicts.append(
            Verdict(
                rollout_id=rollout.id,
                status=judgement.status,
                reward=judgement.reward,
                breakdown=judgement.breakdown,
                reason=judgement.reason,
                verifier=verifier.name,
                version=verifier.version,
            )
        )
    unjudged = [verdict for verdict in verdicts if verdict.status is Status.UNVERIFIABLE]
    if len(unjudged) > max_unverifiable * len(verdicts):
        reasons = "; ".join(list(dict.fromkeys(verdict.reason for verdict in unjudged))[:REASONS_SHOWN])
        raise VerifierError(
            f"verifier {verifier.name} could not judge {len(unjudged)} of {len(verdicts)} answers "
            f"({len(unjudged) / len(verdicts):.1%}, at most {max_unverifiable:.1%} allowed): {reasons}. "
            "Repair what the verifier needs, or raise max_unverifiable in the recipe, and run again"
        )
    return verdicts
