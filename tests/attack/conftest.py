"""Runs every test that asks for `level` at each level this machine offers, and says which levels are absent and why."""

from collections.abc import Iterator
from functools import cache

import pytest
from support.attack_arena import Arena, arena_at
from support.attack_policy import absent_lines
from support.attack_scene import Scene

from bootstrap.sandbox.job import Level
from bootstrap.sandbox.probes import available_levels


@cache
def levels() -> dict[Level, str]:
    """Return each level of confinement with the reason why it is not available here, or ""."""
    return {level: reason for level, reason in available_levels().items() if level is not Level.REFUSE}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise over the levels available; `seal` is always among them, so that its absence fails tests."""
    if "level" in metafunc.fixturenames:
        offered = [level for level, reason in levels().items() if not reason or level is Level.SEAL]
        metafunc.parametrize("level", offered, ids=str, scope="module")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print which levels the attacks ran at."""
    for level, reason in levels().items():
        terminalreporter.write_line(f"sandbox level {level}: {reason or 'attacked'}")
    for name, reason in absent_lines().items():
        terminalreporter.write_line(f"sandbox policy line `{name}` is absent here: {reason}")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The targets of all attacks of a module."""
    with Scene(tmp_path_factory.mktemp("scene")) as scene:
        yield scene


@pytest.fixture(scope="module")
def arena(level: Level, scene: Scene) -> Iterator[Arena]:
    """A sandbox with one slot, so that the honest run after an attack comes from the same zygote."""
    with arena_at(level, scene) as arena:
        yield arena
