"""What programs and people do to the processes behind the sandbox, and one program to another."""

import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from support.attack_arena import at_rest
from support.attack_programs import HONEST, HONEST_VALUES, LIMITS, SEARCH, text
from support.attack_scene import descendants, wait_for_rest

from bootstrap.errors import SandboxUnavailable
from bootstrap.sandbox.job import CallJob, Ending, Level
from bootstrap.sandbox.policy import Policy
from bootstrap.sandbox.pool import Sandbox

pytestmark = pytest.mark.sandbox

ROOMY = replace(LIMITS, cpu_seconds=1.0)
SLOW = CallJob(
    code="import time\ndef solve(x):\n    while time.process_time() < 0.2:\n        pass\n    return x * x\n",
    function="solve",
    inputs=[((3,), {})],
)


@pytest.fixture
def sandbox(level: Level) -> Iterator[Sandbox]:
    with Sandbox(level=level, processes=1, limits=ROOMY) as sandbox:
        yield sandbox


def own_processes() -> list[int]:
    return sorted(at_rest())


def test_killing_any_process_of_the_sandbox_changes_no_result(sandbox: Sandbox) -> None:
    processes = own_processes()
    for position in range(len(processes)):
        left = own_processes()
        # One that was about to end may be gone.
        os.kill(left[min(position, len(left) - 1)], signal.SIGKILL)
        (outcome,) = sandbox.run([HONEST])
        assert (outcome.ending, outcome.values) == (Ending.DONE, HONEST_VALUES), outcome
        assert len(wait_for_rest(len(processes))) == len(processes)


def test_killing_the_zygote_amid_a_job_costs_only_time(sandbox: Sandbox) -> None:
    before = own_processes()
    outcomes = []
    runner = threading.Thread(target=lambda: outcomes.extend(sandbox.run([SLOW])))
    runner.start()
    # On a busy machine the job may be over before it is seen; then the kill comes after it.
    while len(descendants(os.getpid())) <= len(before) and runner.is_alive():
        time.sleep(0.001)
    os.kill(before[0], signal.SIGKILL)
    runner.join(timeout=300)
    assert [(outcome.ending, outcome.values) for outcome in outcomes] == [(Ending.DONE, (9,))]
    assert len(wait_for_rest(len(before))) == len(before)


def test_two_programs_at_once_cannot_reach_each_other(level: Level) -> None:
    secret = f"PLANTED-{secrets.token_hex(16)}"
    victim = CallJob(code=f"SECRET = {secret!r}\n{SLOW.code}", function="solve", inputs=[((3,), {})])
    spy = SEARCH + text(
        """
        import os, time
        def solve(x):
            hits = []
            while time.process_time() < 0.15:
                for pid in range(max(2, os.getpid() - 40), os.getpid() + 40):
                    if pid != os.getpid():
                        for name in ("environ", "cmdline", "mem", "fd/0", "fd/3"):
                            hits += search_file(f"/proc/{pid}/{name}")
                        try:
                            os.kill(pid, 0)
                            hits.append(f"signal to {pid}")
                        except OSError:
                            pass
            return hits
        """
    )
    hunter = CallJob(code=spy, function="solve", inputs=[((0,), {})])
    with Sandbox(level=level, processes=2, limits=ROOMY) as sandbox:
        first, second = sandbox.run([victim, hunter])
    assert (first.ending, first.values) == (Ending.DONE, (9,)), first
    assert (second.ending, second.values) == (Ending.DONE, ([],)), second


FLAWS = {
    "reading files": ("landlock: read_file",),
    "writing files": (
        *("landlock: write_file", "landlock: make_reg", "open: no writing", "openat: no writing", "deny: creat"),
    ),
    "connecting": ("deny: socket", "deny: connect", "landlock: connect_tcp"),
    "forking": ("deny: fork", "deny: vfork", "clone: threads alone"),
    "signalling": ("kill: own process alone", "landlock: signal"),
    "memory": ("rlimit: AS",),
}
"""Lines without which one of the probe attacks gets through at level `seal`."""


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_policy_with_a_hole_is_refused_at_the_start(flaw: str) -> None:
    with pytest.raises(SandboxUnavailable):
        Sandbox(level=Level.SEAL, processes=1, policy=Policy().without(*FLAWS[flaw])).close()
    assert descendants(os.getpid()) == {}
