"""What both sides share: the bases, and the curriculum with its clock."""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bootstrap.config.recipe import Recipe
    from bootstrap.prompts.task import Task
    from bootstrap.rollouts.engine import TransformersEngine

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "pipelines" / "quickstart.yaml"
BASES = ROOT / "build" / "trl"
STEP_LEVEL, STEP_PROMPTS, GROUP, STEP_TOKENS = 6, 64, 8, 8
STEP_LR = 1e-6
"""Too small to change what is answered: every step has the same work."""
WARM_UP = 2
"""Steps before the clock starts."""
TARGET, ALMOST_HALF = 0.95, 0.4
WINDOW = 512
"""Latest samples whose pass rate counts."""
HELD_OUT = 200
"""Held-out sums of a level."""


def now() -> tuple[float, float]:
    """Return seconds by the clock on the wall and of this process's CPU time."""
    return time.perf_counter(), time.process_time()


@dataclass(kw_only=True)
class Climb:
    """The curriculum of both sides: when a level is reached, and what the clock has counted by then."""

    task: "Task"
    level: int
    last: int
    greedy: "Callable[[], TransformersEngine]"
    every: int = 2
    """Updates between two measurements."""
    limit: float = math.inf
    """CPU seconds after which it is given up."""
    spent: float = 0.0
    """CPU seconds so far."""
    wall: float = 0.0
    """The same by the clock on the wall."""
    updates: int = 0
    samples: int = 0
    reached: list[dict[str, float]] = field(default_factory=list)
    passed_at: float | None = None
    """Seconds after which the pass rate of the last level's latest samples was high enough."""
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))
    began: tuple[float, float] = (0.0, 0.0)
    enough: float | None = None
    """Pass rate of the last level's latest samples that ends it all; None ends as `is_over` says."""

    @property
    def is_over(self) -> bool:
        if self.enough is not None:
            return self.drawn_level == self.last and bool(self.recent) and self.pass_rate >= self.enough
        return self.spent > self.limit or (self.level > self.last and self.passed_at is not None)

    @property
    def pass_rate(self) -> float:
        return sum(self.recent) / len(self.recent)

    @property
    def drawn_level(self) -> int:
        return min(self.level, self.last)

    def start(self) -> None:
        self.began = now()

    def stop(self) -> None:
        wall, spent = now()
        self.wall += wall - self.began[0]
        self.spent += spent - self.began[1]

    def after_update(self, right: Sequence[bool]) -> bool:
        """Take up an update's answers, with the clock stopped; return whether the level has been reached."""
        self.updates += 1
        self.samples += len(right)
        self.recent.extend(right)
        is_last, is_full = self.drawn_level == self.last, len(self.recent) == WINDOW
        if is_last and is_full and self.passed_at is None and self.pass_rate >= TARGET:
            self.passed_at = self.spent
        if self.level > self.last or self.updates % self.every or self.heldout(self.level) < TARGET:
            return False
        self.reached.append({"level": self.level, "seconds": self.spent, "wall": self.wall, "updates": self.updates})
        self.level += 1
        if self.level <= self.last:
            self.recent.clear()
        return True

    def heldout(self, level: int) -> float:
        """Return the share of a level's held-out sums that greedy decoding gets right."""
        from bootstrap.records import Finish, Request, Sampling

        prompts = self.task.heldout(level, HELD_OUT)
        asked = [Request(id=f"g0.s0.u0.p{i}.k0", prompt=prompt, seed=0) for i, prompt in enumerate(prompts)]
        how = Sampling(temperature=0.0, max_new_tokens=self.task.max_answer_tokens(level))
        answers = self.greedy().generate(asked, how, policy="")
        return sum(
            answer.finish is Finish.STOP and answer.text == self.task.reference(prompt)
            for answer, prompt in zip(answers, prompts, strict=True)
        ) / len(prompts)

    def result(self) -> dict[str, Any]:
        return {
            "reached": self.reached,
            "passed_at": self.passed_at,
            "spent": self.spent,
            "wall": self.wall,
            "updates": self.updates,
            "samples": self.samples,
            "old": {level: self.heldout(level) for level in range(1, self.last)},
        }


def recipe_of(seed: int, overrides: Sequence[str] = ()) -> "Recipe":
    """Return the quickstart's recipe with another seed."""
    from bootstrap.config.load import load_recipe

    return load_recipe(QUICKSTART, [f"seed={seed}", *overrides])
