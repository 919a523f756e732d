"""Drawing by epochs: every prompt of fixed data once before any comes again, steered by measured pass rates.

    prompts of a level --permutation of the epoch--> those due, each once --> results --> due again in a later epoch

- An epoch is a seeded permutation of the prompts that are due. It goes on over rounds, steps and generations.
- A prompt whose last group was neither all right nor all wrong is due in every epoch, and so is one without a group.
- After the n-th group in a row that was all right, or all wrong, a prompt sits out 2^(n-1) epochs, at most
  `MOST_SKIPPED`. It then comes back and is measured again.
- Where nothing is due, the prompts that are due soonest are.
- A round holds no prompt twice while others are due. Results of a round count from the next one on.

The state follows from the history alone: visits in the order of drawing, with their results. A run that was killed
rebuilds it and draws the same prompts. A history that was drawn otherwise (at random, or before rows were left out) is
read alike: what was visited waits for the next epoch. Left out: where a history comes from (`stages/visits.py`).
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby
from typing import Generic, TypeVar

from bootstrap.canonical import digest_of
from bootstrap.seeds import generator

Item = TypeVar("Item")
MOST_SKIPPED = 8
"""Most epochs that a prompt sits out."""


class Uninformative(StrEnum):
    """What all answers of a group were."""

    RIGHT = "right"
    WRONG = "wrong"


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """One draw of a prompt and what came of it."""

    round: str
    """Its round, as `g3.s0.u17`."""
    prompt_id: str
    level: int
    right: int
    judged: int
    """Answers that were judged; fewer than 2 measure nothing."""

    def unmeasured(self) -> "Visit":
        """Return the visit without its results."""
        return replace(self, right=0, judged=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Streak:
    """Uninformative groups of one prompt in a row."""

    kind: Uninformative
    length: int


class Epochs:
    """The state of drawing from one level's prompts."""

    def __init__(self, prompts: Sequence[str], *, seed: int) -> None:
        """`prompts`: their ids, in the order of the file; one at least."""
        self.prompts, self._seed, self._known = prompts, seed, frozenset(prompts)
        self.number = 0
        """The epoch, from 0."""
        self.returned = 0
        """Draws of prompts that had sat out."""
        self.skipped = dict.fromkeys(Uninformative, 0)
        """Times that a prompt sat out an epoch, by what its last group was."""
        self._last: dict[str, int] = {}
        """Prompt -> the epoch of its last visit."""
        self._waits: dict[str, int] = {}
        """Prompt -> epochs that it sits out since; none where it is missing."""
        self._streaks: dict[str, _Streak] = {}
        self._round: set[str] = set()
        """Prompts drawn since the last results."""
        self._begin(0)

    @property
    def position(self) -> float:
        """Epochs so far: whole ones, and the share of this one that was drawn."""
        return self.number + self._done / max(self._done + len(self._left), 1)

    @property
    def uninformative(self) -> dict[Uninformative, int]:
        """Number of prompts whose last group was all right, and all wrong."""
        kinds = [streak.kind for streak in self._streaks.values()]
        return {kind: kinds.count(kind) for kind in Uninformative}

    def draw(self, count: int) -> list[str]:
        """Return the next `count` prompts, which count as visited."""
        drawn = []
        for _ in range(count):
            self._go_on()
            chosen = next((name for name in self._left if name not in self._round), next(iter(self._left)))
            self._visit(chosen)
            drawn.append(chosen)
        return drawn

    def replay(self, visits: Sequence[Visit]) -> None:
        """Take up one round of the history: its draws, then its results."""
        for visit in visits:
            self._go_on()
            self._visit(visit.prompt_id)
        self.measured(visits)

    def measured(self, visits: Iterable[Visit]) -> None:
        """Take up the results of prompts drawn, which ends their round."""
        for visit in visits:
            if visit.judged >= 2 and visit.prompt_id in self._known:
                self._measure(visit)
        self._round.clear()

    def _measure(self, visit: Visit) -> None:
        name = visit.prompt_id
        if 0 < visit.right < visit.judged:
            self._streaks.pop(name, None)
            self._waits.pop(name, None)
            return
        kind = Uninformative.RIGHT if visit.right else Uninformative.WRONG
        known = self._streaks.get(name)
        length = known.length + 1 if known is not None and known.kind is kind else 1
        self._streaks[name] = _Streak(kind=kind, length=length)
        self._waits[name] = min(2 ** (length - 1), MOST_SKIPPED)
        if name in self._left and self._due(name) > self.number:
            # The epoch began in the round that drew it.
            del self._left[name]
            self.skipped[kind] += 1

    def _visit(self, name: str) -> None:
        if name not in self._known:
            return
        if name in self._left:
            del self._left[name]
            self._done += 1
        self.returned += self._waits.pop(name, 0) > 0
        self._last[name] = self.number
        self._round.add(name)

    def _due(self, name: str) -> int:
        """Return the first epoch that a prompt is drawn in again; 0 for one without a visit."""
        return self._last[name] + 1 + self._waits.get(name, 0) if name in self._last else 0

    def _go_on(self) -> None:
        """Begin the next epoch if this one has no prompt left."""
        if self._left:
            return
        idle = min(map(self._due, self.prompts)) - self.number - 1
        if idle > 0:
            # Epochs in which nothing is due do not count.
            self._last = {name: last - idle for name, last in self._last.items()}
        self._begin(self.number + 1)

    def _begin(self, number: int) -> None:
        due = [name for name in self.prompts if self._due(name) <= number]
        for name in self._known.difference(due):
            self.skipped[self._streaks[name].kind] += 1
        self.number, self._done = number, 0
        # A plain dict is slow to find its first key where many before it were deleted.
        self._left = OrderedDict.fromkeys(generator(self._seed, "epoch", number).sample(due, len(due)))
        """Prompts of the epoch that are still to be drawn, in order."""


class Passes(Generic[Item]):
    """An endless row of epochs, each a seeded permutation of all items, for what has no results to steer by."""

    def __init__(self, items: Sequence[Item], *, seed: int) -> None:
        self._items, self._seed, self._orders = items, seed, dict[int, list[Item]]()

    def take(self, start: int, count: int) -> list[Item]:
        """Return `count` items from place `start` on."""
        places = (divmod(place, len(self._items)) for place in range(start, start + count))
        return [self._order(number)[place] for number, place in places]

    def _order(self, number: int) -> list[Item]:
        if number not in self._orders:
            # A batch may cross from one epoch into the next; earlier ones are not asked for again.
            self._orders = {known: order for known, order in self._orders.items() if known == number - 1}
            self._orders[number] = generator(self._seed, "pass", number).sample(self._items, len(self._items))
        return self._orders[number]


def next_prompts(prompts: Sequence[str], history: Iterable[Visit], count: int, *, seed: int) -> list[str]:
    """Return the next `count` of a level's prompts (ids, in the order of the file) after a history of visits."""
    return after(prompts, history, seed=seed).draw(count)


def after(prompts: Sequence[str], history: Iterable[Visit], *, seed: int) -> Epochs:
    """Return the state of drawing from a level's prompts after a history of visits, in the order of drawing."""
    state = Epochs(prompts, seed=seed)
    for visits in rounds(history):
        state.replay(visits)
    return state


def rounds(history: Iterable[Visit]) -> Iterator[list[Visit]]:
    """Yield the visits of each round."""
    return (list(visits) for _, visits in groupby(history, key=lambda visit: visit.round))


def digest(history: Iterable[Visit]) -> str:
    """Return SHA-256 over a history."""
    return digest_of([[v.round, v.prompt_id, v.level, v.right, v.judged] for v in history])
