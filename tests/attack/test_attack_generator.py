"""Programs drawn from a grammar of hostile primitives: whatever they combine, the sandbox's promises hold."""

import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from support.attack_arena import Arena
from support.attack_grammar import programs
from support.attack_programs import Attack

from bootstrap.sandbox.job import Ending

pytestmark = pytest.mark.sandbox

SECONDS = 4.0
"""Time box at each level."""
FEWEST = 12
"""Programs that must fit into it even on a loaded machine."""
KNOWN = frozenset(Ending) - {Ending.TROUBLE}


def test_generated_programs_break_no_promise(arena: Arena, record_property: Callable[[str, object], None]) -> None:
    end = time.monotonic() + SECONDS
    ran = []

    @settings(
        max_examples=100,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(code=programs())
    def contained(code: str) -> None:
        if time.monotonic() < end or len(ran) < FEWEST:
            outcome = arena.attack(Attack(row=0, name="generated", code=code, endings=KNOWN))
            ran.append(outcome.ending)

    contained()
    record_property("programs", len(ran))
    assert len(ran) >= FEWEST
    assert len(set(ran)) > 3
