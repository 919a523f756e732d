"""Which levels of confinement hold on this machine: each is tried against the probe attacks, once per process."""

from functools import cache

from bootstrap.errors import SandboxUnavailable
from bootstrap.sandbox.job import Level
from bootstrap.sandbox.pool import Sandbox


def available_levels() -> dict[Level, str]:
    """Return for every level an empty text when it withstands all probes, else one sentence why not and what to do."""
    return {level: _reason(level) for level in Level}


@cache
def _reason(level: Level) -> str:
    try:
        Sandbox(processes=1, min_level=level, level=level).close()
    except SandboxUnavailable as error:
        return str(error)
    return ""
