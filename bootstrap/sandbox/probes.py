"""Finds the levels of confinement that hold on this machine: each is probed once per process."""

from functools import cache

from bootstrap.errors import SandboxUnavailable
from bootstrap.sandbox.job import Level
from bootstrap.sandbox.pool import Sandbox


def available_levels() -> dict[Level, str]:
    """Return level -> "" where it withstands all probes, else one sentence with the reason and the remedy."""
    return {level: _reason(level) for level in Level}


@cache
def _reason(level: Level) -> str:
    try:
        Sandbox(processes=1, min_level=level, level=level).close()
    except SandboxUnavailable as error:
        return str(error)
    return ""
