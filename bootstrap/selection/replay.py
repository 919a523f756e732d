"""The replay pool: the lineage's own verified answers, accumulated over generations and never replaced.

Cross-entropy on them is the default anchor against forgetting. A divergence to the parent would not do: an eroded
parent would become the next teacher. Accumulating instead of replacing bounds the error of training on own data
(arXiv:2404.01413). Left out: which rollouts join the pool (`filters.py`), and their weight in the loss (`training/`).
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Literal

from bootstrap.canonical import canonical_json, sha256_of
from bootstrap.records import Example
from bootstrap.seeds import derive_seed, generator

Demonstrate = Callable[[Sequence[int], int, int], list[tuple[str, str, str]]]
"""(levels, count, seed) -> (prompt id, prompt text, reference answer) of `count` train prompts, level uniform."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolEntry:
    """One answer of the lineage that a later generation may learn from."""

    rollout_id: str
    generation: int
    """The generation that gave it. In a fork: 0 for answers of its origin, negative for those of older ancestors."""
    level: int
    prompt_text: str
    completion_text: str
    task: str = ""
    """The prompt's `task`."""


Kept = Literal["newest", "first", "shortest", "all"]
"""Which of several answers to one prompt text count."""


class ReplayPool:
    """Entries by level, in the order they were added; of each prompt text only the first counts.

    Later answers to the same prompt are kept beside, for pools of certain generations (`latest`, `given_by`) and of
    other answers (`keeping`).
    """

    def __init__(self, entries: Iterable[PoolEntry] = ()) -> None:
        self._given: list[PoolEntry] = []
        self._by_level: dict[int, list[PoolEntry]] = {}
        self._texts: set[str] = set()
        self._kept: dict[Kept, ReplayPool] = {}
        self._latest: dict[tuple[int, ...], ReplayPool] = {}
        self.add(entries)

    def __len__(self) -> int:
        return len(self._texts)

    @property
    def levels(self) -> tuple[int, ...]:
        """Levels with at least one entry, ascending."""
        return tuple(sorted(self._by_level))

    def add(self, entries: Iterable[PoolEntry]) -> int:
        """Add entries in order, and return the number of those whose prompt text is new."""
        before = len(self)
        self._kept.clear()
        self._latest.clear()
        for entry in entries:
            self._given.append(entry)
            if entry.prompt_text not in self._texts:
                self._texts.add(entry.prompt_text)
                self._by_level.setdefault(entry.level, []).append(entry)
        return len(self) - before

    def entries(self, level: int) -> Sequence[PoolEntry]:
        """Return the entries of a level, oldest first; empty without any. Not to be changed."""
        return self._by_level.get(level, ())

    def latest(self, *generations: int) -> "ReplayPool":
        """Return a pool of these generations' answers, including those to prompts that others answered earlier.

        Not to be added to.
        """
        if generations not in self._latest:
            self._latest[generations] = ReplayPool(entry for entry in self._given if entry.generation in generations)
        return self._latest[generations]

    def keeping(self, answers: Kept) -> "ReplayPool":
        """Return a pool in which the newest, the first, the shortest or all different answers to a prompt text count.

        Of answers that are equally short the newest counts. Not to be added to.
        """
        if answers == "first":
            return self
        if answers not in self._kept:
            self._kept[answers] = self._made_of(answers)
        return self._kept[answers]

    def _made_of(self, answers: Kept) -> "ReplayPool":
        chosen: dict[tuple[str, ...], PoolEntry] = {}
        for entry in self._given:
            key = (entry.prompt_text, entry.completion_text) if answers == "all" else (entry.prompt_text,)
            known = chosen.get(key)
            longer = known is not None and len(known.completion_text) < len(entry.completion_text)
            if known is None or answers == "newest" or (answers == "shortest" and not longer):
                chosen[key] = entry
        found = ReplayPool()
        for entry in chosen.values():
            found._texts.add(entry.prompt_text)
            found._by_level.setdefault(entry.level, []).append(entry)
        return found

    def given_by(self, generation: int) -> "ReplayPool":
        """Return a pool of one generation's answers; for generation 0 all that a fork inherited are among them."""
        return ReplayPool(entry for entry in self._given if max(entry.generation, 0) == generation)

    @property
    def given(self) -> Sequence[PoolEntry]:
        """All entries ever added, in order. Not to be changed."""
        return self._given

    def digest(self) -> str:
        """Return SHA-256 over all entries ever added, in order."""
        return sha256_of(
            canonical_json([e.rollout_id, e.generation, e.level, e.prompt_text, e.completion_text]) + b"\n"
            for e in self._given
        )


def draw_replay(
    pool: ReplayPool,
    *,
    levels: Sequence[int],
    count: int,
    base_level: int,
    demonstrate: Demonstrate,
    seed: int,
    ce_weight: float,
    kl_weight: float = 0.0,
    teacher: str | None = None,
    decay: float = 1.0,
    min_reference_share: float = 0.0,
    from_pool: bool = False,
) -> list[Example]:
    """Return `count` examples as text, level uniform over `levels`, drawn with replacement.

    Levels up to `base_level` come from `demonstrate`, those above from the pool; with `from_pool` all come from the
    pool. Pool levels without an entry are not drawn. An example's source is the id of the rollout, or of the prompt
    whose reference is shown. If no level has anything, the references of all base levels are drawn; with `from_pool`
    the pool's other levels, and of an empty pool as many references as `min_reference_share` asks, else nothing.

    `decay`: the probability of an answer falls by this factor for every generation by which it is older than the newest
    on these levels; that of references does not. `min_reference_share`: least share of references among the examples;
    if the draw has fewer, references replace random examples from the pool.
    """
    assert 0 < decay <= 1 and 0 <= min_reference_share <= 1, f"decay {decay}, share {min_reference_share}"
    if count == 0:
        return []
    shown_to = 0 if from_pool else base_level
    available = [level for level in levels if level <= shown_to or pool.entries(level)]
    if not available:
        available = [*pool.levels] if from_pool else []
    if not available:
        available = [*range(1, base_level + 1)]
        if from_pool:
            count, shown_to = _least(min_reference_share, count), base_level
    rng = generator(seed, "replay")
    ages = _Ages(pool, available, base_level=shown_to, decay=decay) if decay < 1 else None
    drawn = [rng.choice(available) for _ in range(count)] if ages is None else ages.draw_levels(rng, count)
    is_shown = [level <= shown_to for level in drawn]
    base_levels = [level for level in available if level <= base_level] or range(1, base_level + 1)
    if min_reference_share:
        _show_more(drawn, is_shown, rng, base_levels=base_levels, share=min_reference_share)
    num_shown = sum(is_shown)
    shown = demonstrate(base_levels, num_shown, derive_seed(seed, "demonstrate")) if num_shown else []
    assert len(shown) == num_shown, f"{num_shown} demonstrations were asked for, {len(shown)} came"
    rest = iter(shown)
    examples = []
    for level, by_reference in zip(drawn, is_shown, strict=True):
        if by_reference:
            source, prompt_text, completion_text = next(rest)
        else:
            entry = rng.choice(pool.entries(level)) if ages is None else ages.draw_entry(rng, level)
            source, prompt_text, completion_text = entry.rollout_id, entry.prompt_text, entry.completion_text
        examples.append(
            Example(
                source=source,
                prompt_text=prompt_text,
                completion_text=completion_text,
                ce_weight=ce_weight,
                kl_weight=kl_weight,
                teacher=teacher,
            )
        )
    return examples


class _Ages:
    """Draws with decay: an answer's weight is that in a uniform draw, times `decay` to the power of its age.

    A level's weight is therefore the mean over its answers of `decay ** age`; weights are normalised by the draw.
    """

    def __init__(self, pool: ReplayPool, levels: Sequence[int], *, base_level: int, decay: float) -> None:
        replayed = [level for level in levels if level > base_level]
        newest = max((entry.generation for level in replayed for entry in pool.entries(level)), default=0)
        self._levels, self._pool = levels, pool
        self._sums: Mapping[int, list[float]] = {
            level: list(accumulate(decay ** (newest - entry.generation) for entry in pool.entries(level)))
            for level in replayed
        }
        self._weights = [
            self._sums[level][-1] / len(self._sums[level]) if level in self._sums else 1.0 for level in levels
        ]

    def draw_levels(self, rng: Random, count: int) -> list[int]:
        return rng.choices(self._levels, weights=self._weights, k=count)

    def draw_entry(self, rng: Random, level: int) -> PoolEntry:
        return rng.choices(self._pool.entries(level), cum_weights=self._sums[level])[0]


def _show_more(
    drawn: list[int], is_shown: list[bool], rng: Random, *, base_levels: Sequence[int], share: float
) -> None:
    """Replace random answers of the pool in `drawn` by references until these are at least `share` of all."""
    from_pool = [place for place, by_reference in enumerate(is_shown) if not by_reference]
    wanted = _least(share, len(drawn))
    for place in rng.sample(from_pool, max(wanted - (len(drawn) - len(from_pool)), 0)):
        drawn[place], is_shown[place] = rng.choice(base_levels), True


def _least(share: float, count: int) -> int:
    """Return the least number of `count` that is a share of them."""
    # Rounded first: 0.07 * 100 is slightly above 7 in binary.
    return math.ceil(round(share * count, 9))
