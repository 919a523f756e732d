"""Programs drawn from a grammar of hostile primitives: whatever they combine, the sandbox's promises hold."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from support.attack_arena import Arena
from support.attack_grammar import programs
from support.attack_programs import Attack

from bootstrap.sandbox.job import Ending

pytestmark = pytest.mark.sandbox

PROGRAMS = 40
"""Programs at each level, the same ones on every machine."""
KNOWN = frozenset(Ending) - {Ending.TROUBLE}


def test_generated_programs_break_no_promise(arena: Arena, record_property: Callable[[str, object], None]) -> None:
    ran = []

    @settings(
        max_examples=PROGRAMS,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(code=programs())
    def contained(code: str) -> None:
        outcome = arena.attack(Attack(row=0, name="generated", code=code, endings=KNOWN))
        ran.append(outcome.ending)

    contained()
    record_property("programs", len(ran))
    assert len(ran) == PROGRAMS
    assert len(set(ran)) > 3
