"""Ids of samples and of a generation's artifacts: each is parsed and printed here alone.

    g3.s0.u17                    round 17 of step 0 of generation 3
    g3.s0.u17.p4                 group: the samples of prompt 4 of that round
    g3.s0.u17.p4.k2              its sample 2
    g3.s0.u17.propose.k4         proposal of problem 4 in self-play, which is prompt 4 of the round
    g0.NAME.g3.s0.u17.p4.k2      a sample that a fork inherited from lineage NAME
    greedy.l5.p0.k0              held-out answer: level 5, prompt 0; `sampled` and `final` likewise
    greedy.TASK.l5.p0.k0         the same for a task of the panel
    step-0                       role of the artifact of step 0
    NAME@gen-3                   generation 3 of lineage NAME

Ids derive from positions, never from time. Records and tables hold them as text. Left out: ids of prompts, which are
hexadecimal without a dot (`records.Prompt`), and ids of artifacts, which are hashes.
"""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from bootstrap.errors import StoreCorrupt

_PROPOSE = "propose"
_ROLLOUT = re.compile(rf"(?:g0\.(.+)\.)?g(\d+)\.s(\d+)\.u(\d+)\.(?:p(\d+)|{_PROPOSE})\.k(\d+)")
_HELDOUT = re.compile(r"(greedy|sampled|final)\.(?:(.+)\.)?l(\d+)\.p\d+\.k\d+")
_STEP = re.compile(r"step-(\d{1,9})")
_FOREIGN = re.compile(r"(?!\.{1,2}@)([^/\\\0\ud800-\udfff]+)@gen-(\d{1,9})")


def group_id(prefix: object, place: int) -> str:
    """Return the group of one prompt's samples; `place`: the prompt's, in the round or held-out set named `prefix`."""
    return f"{prefix}.p{place}"


def is_rollout(source: str) -> bool:
    """Whether the source of a trained sequence is a rollout; otherwise it is a prompt, shown with its reference."""
    return "." in source


@dataclass(frozen=True, slots=True)
class SampleId:
    """One sample of any group."""

    group: str
    number: int

    def __str__(self) -> str:
        return f"{self.group}.k{self.number}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the id in `text`. Raises ValueError for any other text."""
        group, mark, number = text.rpartition(".k")
        if not mark:
            raise ValueError(f"{text!r} names no sample of a group")
        return cls(group, int(number))


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundId:
    """One round of a training step."""

    generation: int
    step: int
    number: int = 0

    def __str__(self) -> str:
        return f"g{self.generation}.s{self.step}.u{self.number}"

    def proposal(self, place: int) -> str:
        """Return the id of the model's proposal for problem `place` of the round (self-play)."""
        return str(SampleId(f"{self}.{_PROPOSE}", place))


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutId:
    """One rollout of a training step."""

    round: RoundId
    place: int | None
    """The prompt's place in the round; None for a proposal."""
    sample: int
    """The sample's number in its group; for a proposal, its problem's place in the round."""
    lineage: str = ""
    """The lineage that a fork inherited it from; empty for the lineage's own."""

    def __str__(self) -> str:
        own = self.round.proposal(self.sample) if self.place is None else str(SampleId(self._group, self.sample))
        return f"g0.{self.lineage}.{own}" if self.lineage else own

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the id in a store's `text`. Raises StoreCorrupt for any other text."""
        if (found := _ROLLOUT.fullmatch(text)) is None:
            raise StoreCorrupt(f"{text!r} is no id of a rollout; restore the lineage from a copy")
        lineage, generation, step, number, place, sample = found.groups()
        return cls(
            round=RoundId(generation=int(generation), step=int(step), number=int(number)),
            place=None if place is None else int(place),
            sample=int(sample),
            lineage=lineage or "",
        )

    def inherited_from(self, lineage: str) -> Self:
        """Return its id in a fork of `lineage`."""
        return replace(self, lineage=f"{lineage}.g0.{self.lineage}" if self.lineage else lineage)

    @property
    def is_proposal(self) -> bool:
        return self.place is None

    @property
    def contributor(self) -> int:
        """Its generation in this lineage; 0 for inherited rollouts."""
        return 0 if self.lineage else self.round.generation

    @property
    def solutions(self) -> str:
        """The group of the answers to a proposal's problem."""
        assert self.is_proposal, f"{self} proposes nothing"
        return group_id(self.round, self.sample)

    @property
    def _group(self) -> str:
        assert self.place is not None, "a proposal has no prompt of its own"
        return group_id(self.round, self.place)


class Asking(StrEnum):
    """How held-out prompts are asked."""

    GREEDY = "greedy"
    SAMPLED = "sampled"
    FINAL = "final"
    """Greedily, on prompts of the final set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldoutId:
    """The held-out prompts of one level, asked in one way."""

    asking: Asking
    level: int
    task: str = ""
    """A task of the panel; empty for the run's own."""

    def __str__(self) -> str:
        return ".".join(filter(None, (self.asking, self.task, f"l{self.level}")))

    @classmethod
    def of_answer(cls, text: str) -> Self | None:
        """Return the prompts that a rollout answers; None for one of a training step."""
        if (found := _HELDOUT.fullmatch(text)) is None:
            return None
        asking, task, level = found.groups()
        return cls(asking=Asking(asking), level=int(level), task=task or "")


@dataclass(frozen=True, order=True, slots=True)
class StepRole:
    """The role of a step's artifact in its generation; ordered by step."""

    index: int

    def __str__(self) -> str:
        return f"step-{self.index}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the role in `text`; None for that of another artifact."""
        found = _STEP.fullmatch(text)
        return None if found is None else cls(int(found[1]))


@dataclass(frozen=True, slots=True)
class ForeignGeneration:
    """A generation of another lineage."""

    lineage: str
    number: int

    def __str__(self) -> str:
        return f"{self.lineage}@gen-{self.number}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the generation in `text`; None for another kind of model, and where no folder can have the name."""
        found = _FOREIGN.fullmatch(text)
        return None if found is None else cls(found[1], int(found[2]))
