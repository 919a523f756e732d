"""Every attack of the list on the sandbox itself, at every level this machine offers, judged from outside."""

import ast
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.attack_arena import Arena, at_rest
from support.attack_programs import ATTACKS, HONEST, HONEST_VALUES, IDLE, IDLE_LIMITS, Attack
from support.attack_scene import Scene, wait_for_rest

import bootstrap
from bootstrap.sandbox.job import Level, Outcome
from bootstrap.sandbox.pool import Sandbox
from bootstrap.sandbox.probes import available_levels

pytestmark = pytest.mark.sandbox

ELSEWHERE = {35, 36, 38, 39, 40}
"""Rows with tests of their own: `test_zygote.py`, `test_load.py`, and those of the code verifier and of logging."""
OBJECT_CHANNELS = {"pickle", "cloudpickle", "dill", "shelve", "marshal", "multiprocessing"}
"""Modules that turn bytes into objects by running code, or that build channels on one that does."""


def test_the_machine_offers_the_seal() -> None:
    assert available_levels()[Level.SEAL] == ""


def test_every_row_of_the_list_has_attacks() -> None:
    rows = Counter(attack.row for attack in ATTACKS + IDLE)
    assert set(rows) | ELSEWHERE == set(range(1, 41))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label)
def test_the_attack_is_contained(arena: Arena, attack: Attack) -> None:
    runs = 2 if attack.row == 37 else 1
    outcomes = [arena.attack(attack) for _ in range(runs)]
    assert len({(outcome.ending, repr(outcome.values)) for outcome in outcomes}) == 1


@pytest.mark.parametrize("attack", [attack for attack in ATTACKS if attack.row == 33], ids=lambda attack: attack.label)
def test_a_hostile_value_costs_the_parent_next_to_nothing(arena: Arena, attack: Attack) -> None:
    def seconds() -> float:
        start = time.process_time()
        arena.run(attack.job(arena.scene.header()))
        return time.process_time() - start

    # Once more where the first time was the machine's doing.
    assert seconds() < 0.05 or seconds() < 0.05


@pytest.fixture(scope="module")
def idle_outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[Level, str], Outcome]:
    """What programs that only wait come to, at all levels at once: they take the wall-clock limit twice, and no CPU."""
    offered = [level for level, reason in available_levels().items() if not reason and level is not Level.REFUSE]
    cases = [(level, attack) for level in offered for attack in IDLE]
    with Scene(tmp_path_factory.mktemp("idle")) as scene, ExitStack() as stack, ThreadPoolExecutor(16) as threads:
        # One sandbox each: the second time a program runs alone in its sandbox.
        sandboxes = [stack.enter_context(Sandbox(level=level, processes=1, limits=IDLE_LIMITS)) for level, _ in cases]
        processes = len(at_rest())
        jobs = [attack.job(scene.header()) for _, attack in cases]
        runs = threads.map(lambda sandbox, job: sandbox.run([job])[0], sandboxes, jobs)
        outcomes = {(level, attack.label): run for (level, attack), run in zip(cases, runs, strict=True)}
        for sandbox in sandboxes:
            assert sandbox.run([HONEST])[0].values == HONEST_VALUES
        assert len(wait_for_rest(processes)) <= processes
        scene.assert_intact()
    return outcomes


@pytest.mark.parametrize("attack", IDLE, ids=lambda attack: attack.label)
def test_a_program_that_only_waits_is_idle(
    idle_outcomes: dict[tuple[Level, str], Outcome], level: Level, attack: Attack
) -> None:
    outcome = idle_outcomes[level, attack.label]
    assert outcome.ending in attack.endings, outcome
    assert outcome.cpu_seconds < IDLE_LIMITS.cpu_seconds
    assert outcome.wall_seconds < 2 * IDLE_LIMITS.wall_seconds + 1


@pytest.mark.parametrize("package", ["sandbox", "scoring"])
def test_no_channel_carries_objects(package: str) -> None:
    found = []
    for path in sorted((Path(bootstrap.__file__).parent / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{path.name}: {name}" for name in names if name.split(".")[0] in OBJECT_CHANNELS]
    assert found == []
