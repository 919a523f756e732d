"""Whatever happens to programs, zygotes or the process that owns them, nothing of the sandbox stays behind."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import bootstrap
from bootstrap.bench.sandbox import bench_sandbox, footprint
from bootstrap.sandbox.job import CallJob, Ending, Job, Level, Limits, ScriptJob
from bootstrap.sandbox.pool import Sandbox
from bootstrap.sandbox.probes import available_levels

pytestmark = pytest.mark.sandbox

ROOT = Path(bootstrap.__file__).parents[1]
LEVELS = [level for level, reason in available_levels().items() if not reason and level is not Level.REFUSE]
MIXED: list[tuple[Job, Ending]] = [
    (CallJob(code="def f(x):\n    return x", function="f", inputs=[([1], {})]), Ending.DONE),
    (ScriptJob(code="print(len(input()))", stdin="x" * 100_000), Ending.DONE),
    (ScriptJob(code="print(1)", stdin="x" * 100_000), Ending.DONE),
    (ScriptJob(code="import os\nos.abort()"), Ending.CRASH),
    (ScriptJob(code="while True:\n    print('x' * 1000)"), Ending.OUTPUT_LIMIT),
    (ScriptJob(code="import os\nos.fork()"), Ending.ERROR),
    (ScriptJob(code="while True:\n    pass"), Ending.CPU_LIMIT),
    (ScriptJob(code="kept = bytearray(2**40)"), Ending.MEMORY),
    (CallJob(code="import os\nos._exit(0)", function="f", inputs=[([1], {})]), Ending.PROTOCOL),
    (ScriptJob(code="import os\nwhile True:\n    os.dup(0)"), Ending.ERROR),
    (ScriptJob(code="("), Ending.FORMAT),
]


def test_1500_executions_leave_nothing_behind() -> None:
    row = bench_sandbox(executions=1500, processes=2, level=None)
    assert (row.processes_left, row.descriptors_left, row.files_left) == (0, 0, 0)
    # What allocators keep varies by a megabyte; a kilobyte lost by each execution would be more.
    assert row.megabytes_grown < 1.5
    # Which rates are good is for the machine to say; a sealed execution that costs more than a bare one never is.
    assert row.sealed_per_second > row.bare_per_second


def test_programs_that_end_badly_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = footprint()
    with Sandbox(level=Level.SEAL, limits=Limits(cpu_seconds=0.1)) as sandbox:
        sandbox.run([job for job, _ in MIXED])
        warm = footprint()
        outcomes = sandbox.run([job for job, _ in MIXED] * 10)
        open_still = footprint()
    after = footprint()
    assert [outcome.ending for outcome in outcomes] == [ending for _, ending in MIXED] * 10
    assert open_still.added_since(before) == warm.added_since(before)
    assert open_still.resident_mb - warm.resident_mb < 8
    assert after.added_since(before) == (0, 0, 0)


@pytest.mark.parametrize("level", LEVELS)
def test_when_the_owner_is_killed_everything_dies_with_it(level: Level) -> None:
    code = (
        "import os, threading, time\n"
        "from bootstrap.bench.sandbox import family\n"
        "from bootstrap.sandbox.job import Level, ScriptJob\nfrom bootstrap.sandbox.pool import Sandbox\n"
        f"sandbox = Sandbox(level=Level({level.value!r}))\n"
        "jobs = [ScriptJob(code='while True: pass')] * 2\n"
        "threading.Thread(target=sandbox.run, args=(jobs,), daemon=True).start()\n"
        # Two zygotes with a child each, at the least.
        "while len(found := family(os.getpid())) < 5: time.sleep(0.05)\n"
        "print(*found, flush=True)\ntime.sleep(600)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    family = [int(number) for number in owner.stdout.readline().split()]
    assert len(family) >= 5
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    deadline = time.monotonic() + 60
    while (alive := [pid for pid in family if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive == []


def test_a_killed_zygote_takes_its_child_along() -> None:
    outside = footprint()
    with Sandbox(level=Level.SEAL, processes=1, limits=Limits(cpu_seconds=2)) as sandbox:
        before = footprint()
        [outcome] = sandbox.run([ScriptJob(code="import os\nprint(os.getppid())")])
        os.kill(int(outcome.stdout), signal.SIGKILL)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            [outcome] = sandbox.run([ScriptJob(code="print(1)")])
            if outcome.ending is Ending.DONE:
                break
        after = footprint()
    assert outcome.stdout == "1\n"
    # The folder of temporary files is everybody's here.
    assert after.added_since(outside)[:2] == before.added_since(outside)[:2]
