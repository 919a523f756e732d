"""A script reads its input in any way that works on a judge, at every level of confinement that holds here."""

from collections.abc import Iterator

import pytest

from bootstrap.errors import SandboxUnavailable
from bootstrap.sandbox.job import CallJob, Ending, Level, Limits, ScriptJob
from bootstrap.sandbox.pool import Sandbox
from bootstrap.sandbox.probes import available_levels

pytestmark = pytest.mark.sandbox

WAYS = {
    "input": "print(input())",
    "sys.stdin": "import sys\nprint(sys.stdin.readline().strip())",
    "sys.stdin.buffer": "import sys\nprint(sys.stdin.buffer.read().decode().split()[0], '3')",
    "open(0)": "print(open(0).read().strip())",
    "/dev/stdin": "print(open('/dev/stdin').read().strip())",
    "/dev/stdin, raw": "import os\nprint(os.read(os.open('/dev/stdin', os.O_RDONLY), 99).decode().strip())",
    "/dev/stdin, named": "print(open(mode='r', file='/dev/stdin').read().strip())",
    "/dev/stdin, raw and named": (
        "import os\nprint(os.read(os.open(path='/dev/stdin', flags=os.O_RDONLY), 99).decode().strip())"
    ),
    "/dev/stdin in bytes": "print(open(b'/dev/stdin').read().strip())",
    "/dev/stdin as a path": "from pathlib import Path\nprint(Path('/dev/stdin').read_text().strip())",
    "/proc/self/fd/0": "print(open('/proc/self/fd/0').read().strip())",
    "fileinput": "import fileinput\nfor line in fileinput.input():\n    print(line.strip())",
    "all of its size": "import io, os\nprint(io.BytesIO(os.read(0, os.fstat(0).st_size)).readline().decode().strip())",
    "a mapping": "import mmap\nprint(mmap.mmap(0, 0, prot=mmap.PROT_READ)[:].decode().strip())",
    "twice": "import sys\nsys.stdin.read()\nsys.stdin.seek(0)\nprint(sys.stdin.read().strip())",
    "to /dev/stdout": "print(input(), file=open('/dev/stdout', 'w'))",
    "asyncio": "import asyncio\nasync def main():\n    print(input())\nasyncio.run(main())",
    "asyncio with threads": "import asyncio\nprint(asyncio.run(asyncio.to_thread(input)))",
    "asyncio with timers": (
        "import asyncio\nasync def late():\n    await asyncio.sleep(0.01)\n    return input()\n"
        "async def main():\n    print(*await asyncio.gather(late(), asyncio.sleep(0, '')), sep='')\nasyncio.run(main())"
    ),
}


@pytest.fixture(scope="module", params=[Level.SEAL, Level.SEAL_NS, Level.BWRAP])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    holds = not available_levels()[request.param]
    # Where a level does not hold, the one below it stands for it.
    with Sandbox(level=request.param if holds else Level.SEAL, processes=1, limits=Limits(cpu_seconds=2)) as sandbox:
        yield sandbox


def test_every_way_to_read_the_input_reads_it(sandbox: Sandbox) -> None:
    outcomes = sandbox.run([ScriptJob(code=code, stdin="2 3\n") for code in WAYS.values()])
    said = {
        name: (outcome.ending, outcome.stdout, outcome.detail) for name, outcome in zip(WAYS, outcomes, strict=True)
    }
    assert said == dict.fromkeys(WAYS, (Ending.DONE, "2 3\n", ""))


def test_nobody_can_change_the_input(sandbox: Sandbox) -> None:
    ways = ("os.write(0, b'x')", "os.ftruncate(0, 0)", "mmap.mmap(0, 0)", "os.pwrite(0, b'x', 0)")
    code = "import mmap, os\ntry:\n    {}\nexcept OSError:\n    print(open(0).read())"
    outcomes = sandbox.run([ScriptJob(code=code.format(way), stdin="abc") for way in ways])
    assert [outcome.stdout for outcome in outcomes] == ["abc\n"] * len(ways)


def test_a_program_holds_its_four_descriptors_alone(sandbox: Sandbox) -> None:
    code = (
        "import os\ndef f():\n    held = []\n    for fd in range(64):\n        try:\n            os.fstat(fd)\n"
        "        except OSError:\n            continue\n        held.append(fd)\n    return held\n"
    )
    script, call = sandbox.run(
        [ScriptJob(code=code + "print(f())"), CallJob(code=code, function="f", inputs=[([], {})])]
    )
    assert script.stdout == "[0, 1, 2, 3]\n"
    assert call.values == ([0, 1, 2, 3],)


def test_a_function_has_no_input_and_none_of_its_job(sandbox: Sandbox) -> None:
    code = "import sys\ndef f(x):\n    return sys.stdin.read()"
    [outcome] = sandbox.run([CallJob(code=code, function="f", inputs=[([1], {})])])
    assert outcome.values == ("",)


def test_the_stand_in_for_open_is_no_method_of_a_class_that_holds_it(sandbox: Sandbox) -> None:
    code = "class Reader:\n    opener = open\nprint(Reader().opener('/dev/stdin').read())"
    assert sandbox.run([ScriptJob(code=code, stdin="abc")])[0].stdout == "abc\n"


@pytest.mark.parametrize(
    ("folder", "cause"), [("/tmp/" + "d" * 300, "File name too long"), ("/dev/null/x", "Not a directory")]
)
def test_a_folder_for_temporary_files_that_will_not_do_is_named_with_the_cause(
    monkeypatch: pytest.MonkeyPatch, folder: str, cause: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", folder)
    with pytest.raises(SandboxUnavailable, match=f"folder for temporary files: {cause}; name another.*TMPDIR"):
        Sandbox(level=Level.SEAL, processes=1)


def test_letters_beyond_ascii_in_the_folder_for_temporary_files_do_no_harm(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("\u00fcber \u65e5\u672c")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with Sandbox(level=Level.SEAL, processes=1) as sandbox:
        assert sandbox.run([ScriptJob(code="print(1)")])[0].stdout == "1\n"
