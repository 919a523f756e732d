"""The working folder that a job may ask for: bounded, wiped, its own, and at level `bwrap` alone."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from support.attack_arena import at_rest
from support.attack_programs import LIMITS, Attack, body, text
from support.attack_scene import Scene, wait_for_rest

from bootstrap.errors import SandboxUnavailable
from bootstrap.sandbox.job import CallJob, Ending, Level
from bootstrap.sandbox.pool import Sandbox

pytestmark = pytest.mark.sandbox

SCRATCH = replace(LIMITS, cpu_seconds=1.0, scratch_bytes=2**20)
LARGEST = 8 * SCRATCH.scratch_bytes
"""Bytes that all files of a job may hold together."""
KNOWN = frozenset(Ending) - {Ending.TROUBLE, Ending.IDLE}

WRITER = CallJob(
    code=text(
        """
        import os, tempfile
        def solve(x):
            seen = os.listdir(".")
            os.makedirs("a/b")
            with open("a/b/file", "w") as file:
                file.write(x)
            os.rename("a/b/file", "file")
            with tempfile.TemporaryDirectory(dir=".") as folder:
                pass
            return [seen, open("file").read()]
        """
    ),
    function="solve",
    inputs=[(("text",), {})],
)

FILL = """
import os
def fill(size):
    total = 0
    try:
        for n in range(100):
            with open(f"{MARK}-{n}", "wb", buffering=0) as file:
                for _ in range(64):
                    total += file.write(bytes(size))
    except OSError:
        pass
    return total
"""

ATTACKS = [
    body(5, "one file", "os.environ.clear()\nreturn fill(2**20) > 2**20 * 8", KNOWN, before=FILL, values=(False,)),
    body(5, "small writes", "return fill(2**14) > 2**20 * 8", KNOWN, before=FILL, values=(False,)),
    body(5, "sparse", "with open(MARK, 'wb') as file:\n    file.truncate(2**30)", frozenset({Ending.ERROR})),
    body(
        6, "inodes", "for n in range(20000):\n    open(f'{MARK}-{n}', 'x').close()\nreturn 'through'", KNOWN, values=()
    ),
    body(
        6,
        "folders",
        "import os\nfor n in range(20000):\n    os.mkdir(f'{MARK}-{n}')\nreturn 'through'",
        KNOWN,
        values=(),
    ),
    body(6, "closed folder", "import os\nos.mkdir('a')\nos.mkdir('a/b')\nos.mkdir('a/b/c', 0)\nreturn 0", KNOWN),
    body(6, "closed by its mask", "import os\nos.umask(0o777)\nos.mkdir('a')\nopen('b', 'x').close()\nreturn 0", KNOWN),
    body(6, "deep folders", "import os\nfor n in range(3000):\n    os.mkdir('d')\n    os.chdir('d')\nreturn 0", KNOWN),
    *(
        body(22, name, lines, frozenset({Ending.ERROR}), before="import os, stat\n")
        for name, lines in (
            ("symbolic link", "os.symlink(CANARY, MARK)\nreturn open(MARK).read()"),
            ("hard link", "os.link(CANARY, MARK)"),
            ("device", "os.mknod(MARK, 0o600 | stat.S_IFCHR, os.makedev(1, 3))"),
            ("named pipe", "os.mkfifo(MARK)"),
            ("permissions", "open(MARK, 'x').close()\nos.chmod(MARK, 0o4777)"),
            ("execution", "open(MARK, 'x').write('#!/bin/true')\nos.execv(MARK, ['x'])"),
            ("outside", "open(CANARY, 'a').write('dead')"),
            ("above", "open('../' + MARK, 'x')"),
            ("the root", "open('/' + MARK, 'x')"),
            ("temporary folder", "open('/tmp/' + MARK, 'x')"),
            ("shared memory", "open('/dev/shm/' + MARK, 'x')"),
        )
    ),
]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with Scene(tmp_path_factory.mktemp("scratch")) as scene:
        yield scene


@pytest.fixture(scope="module")
def sandbox(level: Level) -> Iterator[Sandbox | None]:
    """A sandbox with a working folder, or None where the level rightly refuses to have one."""
    if level is Level.BWRAP:
        with Sandbox(level=level, processes=1, limits=SCRATCH) as sandbox:
            yield sandbox
    else:
        with pytest.raises(SandboxUnavailable):
            Sandbox(level=level, processes=1, limits=SCRATCH).close()
        yield None


def test_a_job_has_a_fresh_working_folder_at_bwrap_alone(sandbox: Sandbox | None, level: Level) -> None:
    assert (sandbox is not None) == (level is Level.BWRAP)
    if sandbox:
        for outcome in sandbox.run([WRITER, WRITER]):
            assert (outcome.ending, outcome.values) == (Ending.DONE, ([[], "text"],)), outcome


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label)
def test_the_working_folder_is_no_way_out(sandbox: Sandbox | None, scene: Scene, level: Level, attack: Attack) -> None:
    assert (sandbox is not None) == (level is Level.BWRAP)
    if sandbox:
        processes = len(at_rest())
        (outcome,) = sandbox.run([attack.job(scene.header())])
        assert outcome.ending in attack.endings, outcome
        if outcome.ending is Ending.DONE and attack.values is not None:
            assert outcome.values == attack.values
        scene.assert_intact()
        (honest,) = sandbox.run([WRITER])
        assert (honest.ending, honest.values) == (Ending.DONE, ([[], "text"],)), honest
        assert len(wait_for_rest(processes)) <= processes
