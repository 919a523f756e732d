"""CPU time decides, not the clock: what else the machine does changes no verdict."""

import subprocess
import sys

import pytest

from bootstrap.sandbox.job import CallJob, Ending, Level, Limits
from bootstrap.sandbox.pool import Sandbox

pytestmark = pytest.mark.sandbox

BUSY = 8
SLOW = """
import time
def solve(x):
    total = 0
    while time.process_time() < x:
        total = sum(range(20000))
    return total
"""


@pytest.fixture
def load():
    """Eight processes that want all of the cores, ended by their ids."""
    busy = [subprocess.Popen([sys.executable, "-I", "-S", "-c", "while True: pass"]) for _ in range(BUSY)]
    yield busy
    for process in busy:
        process.kill()
        process.wait()


def test_a_slow_honest_program_gives_the_same_values_under_eightfold_load(
    level: Level, load: list[subprocess.Popen[bytes]]
) -> None:
    job = CallJob(code=SLOW, function="solve", inputs=[((0.5,), {})])
    with Sandbox(level=level, processes=2, limits=Limits(cpu_seconds=1.0)) as sandbox:
        outcomes = sandbox.run([job, job])
    assert all(process.poll() is None for process in load)
    for outcome in outcomes:
        assert (outcome.ending, outcome.values) == (Ending.DONE, (199990000,)), outcome
        assert outcome.cpu_seconds >= 0.5
