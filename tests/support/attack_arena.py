"""One sandbox at one level amid the targets of a `Scene`, and what must hold around every attack on it."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from support.attack_programs import HONEST, HONEST_VALUES, LIMITS, STOPPED, Attack
from support.attack_scene import Scene, descendants, memory, reset_peak_memory, wait_for_rest

from bootstrap.sandbox.job import Ending, Job, Level, Outcome
from bootstrap.sandbox.pool import Sandbox

MISTAKES = ("NameError", "AttributeError", "TypeError", "ImportError", "ModuleNotFoundError", "SyntaxError", "KeyError")
"""What an attack that is itself broken ends with: that proves nothing."""
MAX_GROWTH = 32 * 2**20
"""Bytes by which this process's memory may peak while an attack runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arena:
    """A sandbox at one level amid a scene, and the number of its processes at rest."""

    sandbox: Sandbox
    scene: Scene
    level: Level
    processes: int

    def attack(self, attack: Attack) -> Outcome:
        """Run one attack and assert that it was contained: its ending, its targets, what it left and what it cost."""
        before = reset_peak_memory()
        (outcome,) = self.sandbox.run([attack.job(self.scene.header())])
        growth = memory("VmHWM") - before
        self.scene.assert_silent(repr(outcome))
        assert outcome.ending in attack.endings, outcome
        if attack.row and attack.endings == STOPPED:
            assert not outcome.detail.startswith(MISTAKES), outcome
        assert outcome.level is self.level
        if outcome.ending is Ending.DONE and attack.values is not None:
            assert outcome.values == attack.values
        if attack.at_most is not None and "count=" in outcome.detail:
            assert int(outcome.detail.rpartition("count=")[2]) <= attack.at_most
        assert growth < MAX_GROWTH
        assert outcome.wall_seconds < attack.limits.wall_seconds + 1
        assert outcome.cpu_seconds < attack.limits.cpu_seconds + 1
        self.assert_at_peace()
        return outcome

    def assert_at_peace(self) -> None:
        """Assert that an honest program gives its values, no process is left over and no target was touched."""
        (honest,) = self.sandbox.run([HONEST])
        assert (honest.ending, honest.values) == (Ending.DONE, HONEST_VALUES), honest
        left = wait_for_rest(self.processes)
        assert len(left) <= self.processes, left
        self.scene.assert_intact()

    def run(self, *jobs: Job) -> list[Outcome]:
        """Run jobs on the sandbox."""
        return self.sandbox.run(jobs)


@contextlib.contextmanager
def arena_at(level: Level, scene: Scene, *, processes: int = 1) -> Iterator[Arena]:
    """Open a sandbox amid a scene and let it come to rest; assert at the end that closing leaves nothing."""
    outside = len(descendants(os.getpid()))
    with Sandbox(level=level, processes=processes, limits=LIMITS) as sandbox:
        for outcome in sandbox.run([HONEST] * (2 * processes)):
            assert outcome.values == HONEST_VALUES, outcome
        yield Arena(sandbox=sandbox, scene=scene, level=level, processes=len(at_rest()))
    assert len(wait_for_rest(outside)) <= outside


def at_rest() -> dict[int, str]:
    """Return the processes below this one when their number no longer falls."""
    left = descendants(os.getpid())
    while len(fewer := wait_for_rest(len(left) - 1, seconds=0.5)) < len(left):
        left = fewer
    return left
