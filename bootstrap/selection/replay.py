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

from bootstrap.canonical import canonical_json, sha256_of
from bootstrap.errors import RecipeError
from bootstrap.levels import level_range
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


class ReplayPool:
    """Entries by level, in the order they were added; of each prompt text only the first counts.

    Later answers to the same prompt are kept beside, for pools of certain generations (`latest`, `given_by`).
    """

    def __init__(self, entries: Iterable[PoolEntry] = ()) -> None:
        self._given: list[PoolEntry] = []
        self._by_level: dict[int, list[PoolEntry]] = {}
        self._texts: set[str] = set()
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
        """Return a pool of these generations' answers, including those to prompts that others answered earlier."""
        return ReplayPool(entry for entry in self._given if entry.generation in generations)

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
) -> list[Example]:
    """Return `count` examples as text, level uniform over `levels`, drawn with replacement.

    Levels up to `base_level` come from `demonstrate`, those above from the pool; pool levels without an entry are not
    drawn. An example's source is the id of the rollout, or of the prompt whose reference is shown. Raises RecipeError
    if no level has anything to replay.

    `decay`: the probability of an answer falls by this factor for every generation by which it is older than the newest
    on these levels; that of references does not. `min_reference_share`: least share of references among the examples;
    if the draw has fewer, references replace random examples from the pool.
    """
    assert 0 < decay <= 1 and 0 <= min_reference_share <= 1, f"decay {decay}, share {min_reference_share}"
    if count == 0:
        return []
    available = [level for level in levels if level <= base_level or pool.entries(level)]
    if not available:
        raise RecipeError(
            f"there is nothing to replay on {level_range(levels)}: the pool holds answers of "
            f"{level_range(pool.levels)} and references end at level {base_level}; use data: accumulate, draw more "
            "prompts or samples, or replay nothing (distillation: null, newest_share: 1.0)"
        )
    rng = generator(seed, "replay")
    ages = _Ages(pool, available, base_level=base_level, decay=decay) if decay < 1 else None
    drawn = [rng.choice(available) for _ in range(count)] if ages is None else ages.draw_levels(rng, count)
    base_levels = [level for level in available if level <= base_level] or range(1, base_level + 1)
    if min_reference_share and base_level:
        _show_more(drawn, rng, base_level=base_level, base_levels=base_levels, share=min_reference_share)
    num_shown = sum(level <= base_level for level in drawn)
    shown = demonstrate(base_levels, num_shown, derive_seed(seed, "demonstrate")) if num_shown else []
    assert len(shown) == num_shown, f"{num_shown} demonstrations were asked for, {len(shown)} came"
    rest = iter(shown)
    examples = []
    for level in drawn:
        if level <= base_level:
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


def _show_more(drawn: list[int], rng: Random, *, base_level: int, base_levels: Sequence[int], share: float) -> None:
    """Replace random pool levels in `drawn` by base levels until these are at least `share` of all."""
    from_pool = [place for place, level in enumerate(drawn) if level > base_level]
    # Rounded first: 0.07 * 100 is slightly above 7 in binary.
    wanted = math.ceil(round(share * len(drawn), 9))
    for place in rng.sample(from_pool, max(wanted - (len(drawn) - len(from_pool)), 0)):
        drawn[place] = rng.choice(base_levels)
