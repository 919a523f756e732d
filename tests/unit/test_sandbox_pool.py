"""What the sandbox gives honest programs, how each limit ends the others, and that it fails closed."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

import bootstrap
from bootstrap.config.answers import MathVerifier
from bootstrap.config.code import CodeVerifier
from bootstrap.errors import SandboxUnavailable
from bootstrap.sandbox import kernel, supervisor
from bootstrap.sandbox.job import CallJob, Ending, Job, Level, Limits, Outcome, ScriptJob, TrustedJob
from bootstrap.sandbox.judge import Traces, judge
from bootstrap.sandbox.pool import DECIDING_MODULES, Sandbox
from bootstrap.sandbox.probes import available_levels
from bootstrap.sandbox.wire import Refused, decode_value, encode_value
from bootstrap.scoring.code import Code
from bootstrap.scoring.math import Math
from bootstrap.scoring.verifier import Tools

pytestmark = pytest.mark.sandbox

LIMITS = Limits(cpu_seconds=0.5, address_space=256 * 2**20, output_bytes=4096, value_bytes=1024, depth=8)
SQUARE = CallJob(code="def f(x):\n    return x * x", function="f", inputs=[([7], {})])
ROOT = Path(bootstrap.__file__).parents[1]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(level=Level.SEAL, limits=LIMITS) as sandbox:
        yield sandbox


def script(code: str, stdin: str = "") -> ScriptJob:
    return ScriptJob(code=code, stdin=stdin)


def returning(expression: str, before: str = "") -> CallJob:
    return CallJob(code=f"{before}\ndef f():\n    return {expression}", function="f", inputs=[([], {})])


def only(sandbox: Sandbox, job: Job) -> Outcome:
    [outcome] = sandbox.run([job])
    assert outcome.level is sandbox.level
    assert len(outcome.detail) <= 300
    assert outcome.detail.isprintable()
    return outcome


# Honest programs


def test_a_function_is_called_once_per_input_and_its_values_come_back_in_order(sandbox: Sandbox) -> None:
    code = "seen = []\ndef f(x, *, scale=1):\n    seen.append(x)\n    return [x * scale, len(seen)]"
    inputs = [([2], {}), ([3], {"scale": 10}), ([], {"x": 4})]
    outcome = only(sandbox, CallJob(code=code, function="f", inputs=inputs))
    assert outcome.ending is Ending.DONE
    assert outcome.values == ([2, 1], [30, 2], [4, 3])
    assert 0 < outcome.cpu_seconds < 1
    assert outcome.wall_seconds > 0


def test_every_json_value_comes_back_as_it_was(sandbox: Sandbox) -> None:
    values = [
        None,
        True,
        0,
        -17,
        10**300,
        1.5,
        -0.0,
        1e300,
        "",
        'é\n"\\\u2028😀',
        [],
        {},
        [[1, [2]], {"a": {"b": None}}],
    ]
    code = "def f(x):\n    return x"
    outcome = only(sandbox, CallJob(code=code, function="f", inputs=[([value], {}) for value in values]))
    assert [repr(value) for value in outcome.values] == [repr(value) for value in values]


def test_tuples_come_back_as_lists(sandbox: Sandbox) -> None:
    assert only(sandbox, returning("(1, (2, 3))")).values == ([1, [2, 3]],)


def test_a_script_reads_its_input_and_its_output_comes_back(sandbox: Sandbox) -> None:
    outcome = only(sandbox, script("import sys\nn = int(input())\nprint(n, sys.stdin.read().split())", "3\nä b\n"))
    assert (outcome.ending, outcome.stdout) == (Ending.DONE, "3 ['ä', 'b']\n")


@pytest.mark.parametrize("reading", ["sys.stdin.read()", "open(0).read()", "sys.stdin.buffer.read()"])
def test_more_input_than_a_pipe_holds_arrives(sandbox: Sandbox, reading: str) -> None:
    outcome = only(sandbox, script(f"import sys\nprint(len({reading}))", "x" * 300_000))
    assert outcome.stdout == "300000\n"


def test_input_that_nobody_reads_does_no_harm(sandbox: Sandbox) -> None:
    assert only(sandbox, script("print(1)", "x" * 300_000)).stdout == "1\n"


@pytest.mark.parametrize("ending", ["", "exit()", "quit(0)", "import sys; sys.exit()", "raise SystemExit(0)"])
def test_a_script_may_end_itself_with_status_0(sandbox: Sandbox, ending: str) -> None:
    outcome = only(sandbox, script(f"import atexit\natexit.register(print, 'bye')\nprint('hi')\n{ending}"))
    assert (outcome.ending, outcome.stdout) == (Ending.DONE, "hi\nbye\n")


def test_a_script_waits_for_its_threads(sandbox: Sandbox) -> None:
    code = (
        "import sys, threading, time\nsys.setrecursionlimit(10**6)\nthreading.stack_size(2**26)\n"
        "def depth(n):\n    return n and 1 + depth(n - 1)\n"
        "threading.Thread(target=lambda: (time.sleep(0.1), print(depth(10**4)))).start()"
    )
    assert only(sandbox, script(code)).stdout == "10000\n"


def test_a_script_that_buffers_its_own_output_loses_none(sandbox: Sandbox) -> None:
    code = (
        "import io, os, sys\n"
        "class Fast(io.StringIO):\n"
        "    def flush(self):\n"
        "        os.write(1, self.getvalue().encode())\n"
        "        self.seek(0), self.truncate()\n"
        "sys.stdout = Fast()\nprint('late')"
    )
    assert only(sandbox, script(code)).stdout == "late\n"


def test_common_imports_work(sandbox: Sandbox) -> None:
    names = "base64 bisect collections csv decimal difflib hashlib heapq itertools json math numpy random re zlib"
    code = (
        f"for n in {names!r}.split():\n    try:\n        __import__(n)\n    except ImportError as e:\n        print(e)"
    )
    # The standard library alone: what is installed beside it stays unseen.
    assert only(sandbox, script(code)).stdout == "No module named 'numpy'\n"


def test_outcomes_come_in_the_order_of_their_jobs(sandbox: Sandbox) -> None:
    slow = "import time\ndef f(x):\n    time.sleep((7 - x) / 50)\n    return x"
    jobs = [CallJob(code=slow, function="f", inputs=[([number], {})]) for number in range(8)]
    assert [outcome.values for outcome in sandbox.run(jobs)] == [(number,) for number in range(8)]
    assert sandbox.run([]) == []


def test_many_threads_may_use_one_sandbox(sandbox: Sandbox) -> None:
    def square(number: int) -> list[tuple[object, ...]]:
        job = CallJob(code="def f(x):\n    return x * x", function="f", inputs=[([number], {})])
        return [outcome.values for outcome in sandbox.run([job, SQUARE])]

    with ThreadPoolExecutor(12) as threads:
        assert list(threads.map(square, range(24))) == [[(number**2,), (49,)] for number in range(24)]


def test_the_same_program_does_the_same_in_every_zygote() -> None:
    code = "import random\nprint({'a', 'b', 'c', 'd', 'e'}, random.random(), hash('salt'))"
    outputs = set()
    for _ in range(2):
        with Sandbox(level=Level.SEAL, limits=LIMITS) as sandbox:
            outputs |= {outcome.stdout for outcome in sandbox.run([script(code)] * 4)}
    assert len(outputs) == 1


def test_a_program_that_patches_everything_still_gets_its_values(sandbox: Sandbox) -> None:
    before = (
        "import builtins, io, json, os, signal, sys\n"
        "put = setattr\n"
        "for name in list(vars(builtins)):\n"
        "    if name not in ('__import__', '__build_class__'):\n"
        "        put(builtins, name, None)\n"
        "json.dumps = json.loads = json.encoder = sys.exit = os.write = os._exit = print = None\n"
        "sys.stdout = sys.stderr = None\nsys.settrace(None)\nsignal.setitimer(signal.ITIMER_PROF, 1000)"
    )
    assert only(sandbox, returning("[6 * 7, 'x']", before)).values == ([42, "x"],)


def test_values_are_taken_when_they_are_returned(sandbox: Sandbox) -> None:
    code = "kept = []\ndef f(x):\n    kept.append(x)\n    return kept"
    outcome = only(sandbox, CallJob(code=code, function="f", inputs=[([1], {}), ([2], {})]))
    assert outcome.values == ([1], [1, 2])


# Endings


@pytest.mark.parametrize(
    ("code", "ending"),
    [
        ("", Ending.FORMAT),
        ("# a comment\n\n  # and another", Ending.FORMAT),
        ("def f(:", Ending.FORMAT),
        ("x = 1\x00", Ending.FORMAT),
        ("x = '\ud800'", Ending.FORMAT),
        ("#" * LIMITS.code_bytes + "\nx", Ending.FORMAT),
        ("x = 1", Ending.ERROR),
        ("f = 3", Ending.ERROR),
        ("def f():\n    raise ValueError('no')", Ending.ERROR),
        ("def f():\n    return f()", Ending.ERROR),
        ("def f():\n    raise KeyboardInterrupt", Ending.ERROR),
        ("class E(Exception):\n    def __str__(self):\n        raise SystemExit\ndef f():\n    raise E", Ending.ERROR),
        ("import sys\nsys.exit(0)", Ending.PROTOCOL),
        ("def f():\n    raise SystemExit", Ending.PROTOCOL),
        ("import os\ndef f():\n    os._exit(0)", Ending.PROTOCOL),
        ("def f():\n    return bytearray(2**40)", Ending.MEMORY),
        ("def f():\n    return 'x' * 10**9", Ending.MEMORY),
        ("def f():\n    while True:\n        pass", Ending.CPU_LIMIT),
        ("def f():\n    print('x' * 5000, flush=True)", Ending.OUTPUT_LIMIT),
        ("import sys\ndef f():\n    sys.stderr.write('x' * 5000 + '\\n')", Ending.OUTPUT_LIMIT),
        ("import os\ndef f():\n    os.abort()", Ending.CRASH),
        ("import ctypes\ndef f():\n    ctypes.string_at(0)", Ending.CRASH),
    ],
)
def test_a_function_that_fails_ends_as_what_it_did(sandbox: Sandbox, code: str, ending: Ending) -> None:
    outcome = only(sandbox, CallJob(code=code, function="f", inputs=[([], {})]))
    assert (outcome.ending, outcome.values) == (ending, ())


@pytest.mark.parametrize(
    ("code", "ending"),
    [
        ("print(1)\nraise SystemExit(3)", Ending.ERROR),
        ("import sys\nprint(1)\nsys.exit('no')", Ending.ERROR),
        ("import os\nos._exit(7)", Ending.ERROR),
        ("print(1)\n1 / 0", Ending.ERROR),
        ("while True:\n    print('x' * 100)", Ending.OUTPUT_LIMIT),
        ("import os\nos.write(1, b'x' * 4097)", Ending.OUTPUT_LIMIT),
        ("import os\nos.write(3, b'done\\n')", Ending.PROTOCOL),
        ("kept = []\nwhile True:\n    kept.append(bytearray(2**20))", Ending.MEMORY),
        ("import collections, itertools\ncollections.deque(itertools.repeat(0), maxlen=0)", Ending.CPU_LIMIT),
    ],
)
def test_a_script_that_fails_ends_as_what_it_did(sandbox: Sandbox, code: str, ending: Ending) -> None:
    outcome = only(sandbox, script(code))
    assert (outcome.ending, outcome.stdout) == (ending, "")


def test_output_up_to_the_limit_is_allowed(sandbox: Sandbox) -> None:
    outcome = only(sandbox, script("import os\nos.write(1, b'x' * 4000)\nos.write(2, b'x' * 96)"))
    assert (outcome.ending, len(outcome.stdout)) == (Ending.DONE, 4000)


def test_output_that_is_no_text_is_replaced(sandbox: Sandbox) -> None:
    assert only(sandbox, script("import os\nos.write(1, b'a\\xffb')")).stdout == "a\ufffdb"


@pytest.mark.parametrize(
    ("expression", "ending"),
    [
        ("float('nan')", Ending.TYPE),
        ("float('-inf')", Ending.TYPE),
        ("10 ** 4300", Ending.TYPE),
        ("'\\ud800'", Ending.TYPE),
        ("{1: 2}", Ending.TYPE),
        ("{1, 2}", Ending.TYPE),
        ("b'x'", Ending.TYPE),
        ("1j", Ending.TYPE),
        ("object()", Ending.TYPE),
        ("range(3)", Ending.TYPE),
        ("type('I', (int,), {})(3)", Ending.TYPE),
        ("type('S', (str,), {})('3')", Ending.TYPE),
        ("[type('L', (list,), {})()]", Ending.TYPE),
        ("{type('S', (str,), {})('k'): 1}", Ending.TYPE),
        ("'x' * 1100", Ending.PROTOCOL),
        ("[[[[[[[[[1]]]]]]]]]", Ending.PROTOCOL),
        ("(lambda x: x.append(x) or x)([])", Ending.PROTOCOL),
    ],
)
def test_what_json_cannot_hold_is_refused(sandbox: Sandbox, expression: str, ending: Ending) -> None:
    assert only(sandbox, returning(expression)).ending is ending


def test_the_largest_values_allowed_pass(sandbox: Sandbox) -> None:
    assert only(sandbox, returning("'x' * 1022")).values == ("x" * 1022,)
    assert only(sandbox, returning("[[[[[[[[1]]]]]]]]")).ending is Ending.DONE
    with Sandbox(level=Level.SEAL, limits=Limits(), processes=1) as wide:
        assert only(wide, returning("-10 ** 4299")).values == (-(10**4299),)


def test_a_program_that_lowers_the_limits_on_digits_gets_its_value(sandbox: Sandbox) -> None:
    assert only(sandbox, returning("10 ** 700", "import sys\nsys.set_int_max_str_digits(640)")).values == (10**700,)


@pytest.mark.parametrize(
    "report",
    [
        b"done\n1\n2\n",
        b"done\n",
        b"done\n1",
        b"done\n 1\n",
        b"done\n1\n\n",
        b"done\nNaN\n",
        b"done\n1e999\n",
        b'done\n{"a":1,"a":2}\n',
        b'done\n"\\ud800"\n',
        b"done\n[" + b"[" * 200 + b"\n",
        b"DONE\n1\n",
        b'trouble\n"mine"\n',
        b'idle\n"mine"\n',
        b"runtime_error\n1\n",
        b"PASSED",
        b"\xff\x00",
    ],
)
def test_a_forged_report_is_no_report(sandbox: Sandbox, report: bytes) -> None:
    code = f"import os\ndef f():\n    os.write(3, {report!r})\n    os._exit(0)"
    assert only(sandbox, CallJob(code=code, function="f", inputs=[([], {})])).ending is Ending.PROTOCOL


def test_no_program_can_make_its_end_look_like_trouble(sandbox: Sandbox) -> None:
    for code in ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "import os\nos._exit(1)"):
        assert only(sandbox, script(code)).ending is Ending.ERROR
    code = "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (1, 1))"
    assert only(sandbox, script(code)).ending is Ending.ERROR


# Limits


def test_cpu_time_decides_and_not_the_clock(sandbox: Sandbox) -> None:
    outcome = only(sandbox, returning("time.sleep(0.8) or 1", "import time"))
    assert (outcome.ending, outcome.values) == (Ending.DONE, (1,))
    assert outcome.cpu_seconds < 0.2
    burning = only(sandbox, script("try:\n    while True:\n        pass\nexcept BaseException:\n    pass"))
    assert burning.ending is Ending.CPU_LIMIT
    assert LIMITS.cpu_seconds < burning.cpu_seconds < LIMITS.cpu_seconds + 0.3


def test_the_cpu_time_of_all_threads_counts(sandbox: Sandbox) -> None:
    code = (
        "import threading\ndef burn():\n    while True: pass\n[threading.Thread(target=burn).start() for _ in range(4)]"
    )
    outcome = only(sandbox, script(code))
    assert outcome.ending is Ending.CPU_LIMIT
    assert outcome.cpu_seconds < LIMITS.cpu_seconds + 0.4


def test_more_threads_than_allowed_end_the_program(sandbox: Sandbox) -> None:
    code = (
        "import threading, time\nthreading.stack_size(32768)\n"
        "for _ in range(200):\n    threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\ntime.sleep(9)"
    )
    outcome = only(sandbox, script(code))
    assert outcome.ending is Ending.ERROR
    assert "64 threads" in outcome.detail


def test_a_program_that_only_waits_is_idle() -> None:
    limits = Limits(cpu_seconds=0.05)
    with Sandbox(level=Level.SEAL, limits=limits) as sandbox:
        start = time.monotonic()
        idle, square = sandbox.run([script("import time\ntime.sleep(1000)"), SQUARE])
        elapsed = time.monotonic() - start
    assert idle.ending is Ending.IDLE
    assert square.values == (49,)
    # It was tried twice before it was judged.
    assert elapsed >= 2 * limits.wall_seconds


def test_a_job_that_the_machine_does_not_get_round_to_is_trouble() -> None:
    # Stopped from outside, it was ready to run for most of its time and used none: no fault of the program's.
    traces = Traces(1, report=bytearray(b"sealed\n"), status=signal.SIGKILL)
    assert judge(traces, LIMITS).ending is Ending.TROUBLE
    assert judge(Traces(1, report=bytearray(b"Landlock: denied\n")), LIMITS).ending is Ending.TROUBLE


# The wire


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" 1",
        b"1 ",
        b"01",
        b"[1, 2]",
        b"[1,]",
        b'{"a":1,"a":1}',
        b'"\xc3\xa9"',
        b'"\\ud83d"',
        b'"\\u0041"',
        b"1.0e0",
        b"1e999",
        b"NaN",
        b"-Infinity",
        b"nul",
        b"9" * 4301,
        b"[" * 9 + b"]" * 9,
        b'"' + b'\\"' * 5000,
        b'"' * 9999,
    ],
)
def test_only_what_the_encoder_writes_is_read(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode_value(data, max_bytes=20_000, max_depth=8)


@pytest.mark.parametrize("unit", [b"[", b'{"a":', b'"', b'\\"', b'"[', b"1", b"[],"])
def test_reading_a_bomb_costs_next_to_nothing(unit: bytes) -> None:
    bomb = unit * (16 * 2**10 // len(unit))
    for data in (bomb, b"[" + bomb, b'"' + bomb):
        seconds = []
        for _ in range(3):
            start = time.process_time()
            with suppress(ValueError):
                decode_value(data, max_bytes=16 * 2**10, max_depth=32)
            seconds.append(time.process_time() - start)
        # The least, because the collector may take its turn in any one of them.
        assert min(seconds) < 0.05


def test_a_value_shared_many_times_is_bounded_by_what_it_would_take_to_write() -> None:
    value: list[object] = [0]
    for _ in range(30):
        value = [value] * 10
    with pytest.raises(Refused) as caught:
        encode_value(value, max_bytes=2**14, max_depth=32)
    assert caught.value.ending is Ending.PROTOCOL


def test_a_program_that_empties_its_own_pipes_spoils_its_own_report_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine reads the report late; what a program can take out of the pipe by then is none of our words."""
    read = supervisor.Supervisor._receive

    def read_late(self: supervisor.Supervisor, run: supervisor._Run, name: str) -> None:
        time.sleep(0.2)
        read(self, run, name)

    steal = """
    import os
    taken = b""
    for fd in range(16):
        try:
            taken += os.read(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK), 65536)
        except OSError:
            pass
    """
    with Sandbox(level=Level.SEAL, limits=LIMITS) as sandbox:
        monkeypatch.setattr(supervisor.Supervisor, "_receive", read_late)
        outcome = only(sandbox, returning("taken.decode()", before=textwrap.dedent(steal)))
    assert (outcome.ending, outcome.values) == (Ending.DONE, ("",))


# Functions of ours


def test_a_trusted_function_is_called_and_no_program_sees_its_module() -> None:
    with Sandbox(level=Level.SEAL, limits=LIMITS, preload=["json", "yaml"]) as sandbox:
        trusted = TrustedJob(function="yaml:safe_load", arguments={"stream": "[1, {a: b}]"})
        broken = TrustedJob(function="yaml:safe_load", arguments={"stream": "["})
        outcomes = sandbox.run([trusted, broken, script("import yaml"), script("import bootstrap.sandbox.runner")])
    assert outcomes[0].values == ([1, {"a": "b"}],)
    assert outcomes[1].ending is Ending.ERROR
    assert [outcome.detail for outcome in outcomes[2:]] == [
        "ModuleNotFoundError: No module named 'yaml'",
        "ModuleNotFoundError: No module named 'bootstrap'",
    ]


def test_a_module_that_does_not_exist_cannot_be_preloaded() -> None:
    with pytest.raises(SandboxUnavailable, match="no_such_module"):
        Sandbox(level=Level.SEAL, preload=["no_such_module"])


# Failing closed


def test_at_level_refuse_nothing_runs() -> None:
    with Sandbox(level=Level.REFUSE, min_level=Level.REFUSE) as sandbox:
        [outcome] = sandbox.run([SQUARE])
    assert (outcome.ending, outcome.level) == (Ending.TROUBLE, Level.REFUSE)


def test_a_level_below_the_least_acceptable_one_is_refused() -> None:
    with pytest.raises(SandboxUnavailable, match="below the least acceptable"):
        Sandbox(level=Level.SEAL, min_level=Level.SEAL_NS)


def test_a_working_folder_needs_the_strongest_level() -> None:
    with pytest.raises(SandboxUnavailable, match="takes level bwrap"):
        Sandbox(level=Level.SEAL, limits=Limits(scratch_bytes=2**20))


def test_the_strongest_level_that_holds_is_taken() -> None:
    strongest = max((level for level, reason in available_levels().items() if not reason), key=lambda each: each.rank)
    with Sandbox(processes=1) as sandbox:
        assert sandbox.level is strongest
        assert sandbox.run([SQUARE])[0].level is strongest


def confined(body: str, *, denied: list[str]) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process that is denied some system calls, as a container's profile would."""
    numbers = {"landlock_create_ruleset": 444, "seccomp": 317, "unshare": 272, "mount": 165, "setns": 308}
    lines = ["import struct", "from bootstrap.sandbox import linux", "linux.drop_capabilities()", "linux.prctl(38, 1)"]
    lines.append("code = [struct.pack('=HBBI', 0x20, 0, 0, 0)]")
    for name in denied:
        if name == "clone namespaces":
            # load the number; clone? load the flags; any namespace? EPERM
            lines.append("code += [struct.pack('=HBBI', *i) for i in ((0x15, 0, 3, 56), (0x20, 0, 0, 16),")
            lines.append("         (0x45, 0, 1, 0x7E020000), (6, 0, 0, 0x50001), (0x20, 0, 0, 0))]")
        else:
            lines.append(
                f"code += [struct.pack('=HBBI', 0x15, 0, 1, {numbers[name]}), struct.pack('=HBBI', 6, 0, 0, 0x50001)]"
            )
    lines += ["linux.install_filter(b''.join([*code, struct.pack('=HBBI', 6, 0, 0, 0x7FFF0000)]))", body]
    return subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


LEVELS_AS_JSON = (
    "import json\nfrom bootstrap.sandbox.probes import available_levels\nprint(json.dumps(available_levels()))\n"
    "from bootstrap.sandbox.pool import Sandbox\nfrom bootstrap.sandbox.job import ScriptJob\n"
)


def test_in_a_locked_down_container_the_seal_holds_and_the_stronger_levels_say_why_not() -> None:
    body = LEVELS_AS_JSON + "with Sandbox() as s: print(s.level, s.run([ScriptJob(code='print(6 * 7)')])[0].stdout)"
    done = confined(body, denied=["unshare", "mount", "setns", "clone namespaces"])
    assert done.returncode == 0, done.stderr
    levels, said = done.stdout.split("\n", 1)
    levels = json.loads(levels)
    assert levels["seal"] == ""
    assert "cannot start" in levels["seal+ns"]
    assert levels["bwrap"]
    assert said.split() == ["seal", "42"]


def test_without_landlock_nothing_runs_and_the_message_says_what_to_do() -> None:
    done = confined(LEVELS_AS_JSON + "Sandbox()", denied=["landlock_create_ruleset"])
    levels = json.loads(done.stdout)
    assert levels.pop("refuse") == ""
    assert all("Landlock" in reason and "use Linux 5.13 or newer" in reason for reason in levels.values())
    assert done.returncode == 1
    assert "SandboxUnavailable" in done.stderr


def test_a_step_of_the_seal_that_fails_stops_the_child_before_it_reads_its_job() -> None:
    body = (
        "import os\nfrom bootstrap.sandbox import confine\nfrom bootstrap.sandbox.bpf import compile_policy\n"
        "from bootstrap.sandbox.job import Limits\nfrom bootstrap.sandbox.policy import Policy\n"
        "seal = confine.Seal(Policy(), compile_policy(Policy(), linux.architecture()), os.open('/dev/null', 0))\n"
        "for parent in (0, os.getppid()):\n"
        "    child = os.fork()\n"
        "    if child: os.waitpid(child, 0)\n"
        "    else:\n"
        "        try: confine.confine(seal, Limits(), parent=parent or -1)\n"
        "        except confine.SealError as e: os.write(1, (str(e) + '\\n').encode())\n"
        "        os._exit(0)\n"
        "child = os.fork()\n"
        "if child: os.waitpid(child, 0)\n"
        "else:\n"
        "    try: confine.confine(seal, Limits(), parent=os.getppid())\n"
        "    except confine.SealError as e: os.write(1, (str(e) + '\\n').encode())\n"
        "    os._exit(0)\n"
    )
    said = confined(body, denied=[]).stdout.splitlines()
    assert [line.partition(":")[0] for line in said] == ["die with the zygote", "die with the zygote", "Landlock"]


def test_a_zygote_that_dies_is_replaced_and_its_job_done_again() -> None:
    with Sandbox(level=Level.SEAL, processes=1, limits=Limits(cpu_seconds=2)) as sandbox:
        [first] = sandbox.run([script("import os\nprint(os.getppid())")])
        killer = threading.Timer(0.5, os.kill, (int(first.stdout), signal.SIGKILL))
        killer.start()
        slow = CallJob(code="import time\ndef f():\n    time.sleep(1)\n    return 5", function="f", inputs=[([], {})])
        [outcome] = sandbox.run([slow])
        assert (outcome.ending, outcome.values) == (Ending.DONE, (5,))
        [second] = sandbox.run([script("import os\nprint(os.getppid())")])
        assert second.stdout != first.stdout


@pytest.mark.parametrize("is_running", [False, True])
def test_a_zygote_that_stalls_is_replaced_and_its_job_done_again(
    monkeypatch: pytest.MonkeyPatch, *, is_running: bool
) -> None:
    monkeypatch.setattr(supervisor, "SILENCE_SECONDS", 1.0)
    limits = Limits(cpu_seconds=0.25)
    with Sandbox(level=Level.SEAL, processes=1, limits=limits) as sandbox:
        zygote = int(only(sandbox, script("import os\nprint(os.getppid())")).stdout)
        # Before it forks, or between its child's start and end.
        stopper = threading.Timer(0.3 if is_running else 0, os.kill, (zygote, signal.SIGSTOP))
        stopper.start()
        if not is_running:
            stopper.join()
        start = time.monotonic()
        outcome = only(sandbox, returning("time.sleep(0.8) or 5", "import time"))
        stopper.join()
        assert (outcome.ending, outcome.values) == (Ending.DONE, (5,))
        assert time.monotonic() - start > limits.wall_seconds + 1.0


def test_a_zygote_that_stalls_before_it_tells_of_a_kill_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "SILENCE_SECONDS", 1.0)
    with Sandbox(level=Level.SEAL, processes=1, limits=Limits(cpu_seconds=0.5)) as sandbox:
        zygote = int(only(sandbox, script("import os\nprint(os.getppid())")).stdout)
        stopper = threading.Timer(0.2, os.kill, (zygote, signal.SIGSTOP))
        stopper.start()
        assert only(sandbox, script("while True: pass")).ending is Ending.CPU_LIMIT
        stopper.join()
        assert int(only(sandbox, script("import os\nprint(os.getppid())")).stdout) != zygote


def test_a_readiness_that_cannot_be_read_is_unknown_and_not_zero() -> None:
    with open("/proc/sys/kernel/pid_max", encoding="ascii") as text:
        nobody = int(text.read())
    assert kernel.readiness(nobody, 0.0, 1.0) is None
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        time.sleep(0.2)
        asleep = kernel.readiness(sleeper.pid, 0.0, 10.0)
        # CPU time of threads that have ended, which no file lists any more.
        busy = kernel.readiness(sleeper.pid, 3.0, 10.0)
        sleeper.kill()
    assert asleep is not None
    assert asleep < 0.1
    assert busy == 0.3


def test_a_program_whose_readiness_is_unknown_is_trouble_and_never_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    # As on a kernel without these statistics.
    monkeypatch.setattr(kernel, "readiness", lambda *_: None)
    with Sandbox(level=Level.SEAL, processes=1, limits=Limits(cpu_seconds=0.05)) as sandbox:
        assert only(sandbox, script("import time\ntime.sleep(1000)")).ending is Ending.TROUBLE


def test_a_sandbox_closed_twice_writes_into_no_file_of_others(tmp_path: Path) -> None:
    sandbox = Sandbox(level=Level.SEAL, processes=1, limits=LIMITS)
    assert sandbox._supervisor
    number = sandbox._supervisor._wakeup
    sandbox.close()
    with (tmp_path / "other").open("wb") as other:
        took_it = other.fileno() == number
        if not took_it:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(number)
            os.dup2(other.fileno(), number)
        sandbox.close()
        assert sandbox.run([SQUARE])[0].ending is Ending.TROUBLE
        # It is still open, and nothing was written.
        assert os.fstat(number).st_size == 0
        if not took_it:
            os.close(number)


def test_levels_that_were_passed_over_are_named_with_their_reasons() -> None:
    reasons = available_levels()
    with Sandbox(processes=1) as sandbox:
        assert sandbox.passed_over.keys() == {
            level for level in Level if reasons[level] and level.rank > sandbox.level.rank
        }
        assert all(sandbox.passed_over.values())
    with Sandbox(processes=1, limits=Limits(scratch_bytes=2**20), min_level=Level.REFUSE) as sandbox:
        assert sandbox.level in (Level.BWRAP, Level.REFUSE)
        if sandbox.level is Level.REFUSE:
            assert "working folder" in sandbox.passed_over[Level.SEAL]


def test_the_versions_of_verifiers_cover_all_of_the_sandbox_but_its_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {path.stem for path in (ROOT / "bootstrap" / "sandbox").glob("*.py")}
    assert {name.rpartition(".")[2] for name in DECIDING_MODULES} == found - {"__init__", "attacks", "probes"}

    def versions() -> list[str]:
        made: list[Code | Math] = [Code(CodeVerifier(), Tools()), Math(MathVerifier(), Tools())]
        for verifier in made:
            verifier.close()
            verifier.close()
        return [verifier.version for verifier in made]

    before = versions()
    monkeypatch.setitem(sys.modules, "bootstrap.sandbox.wire", json)
    assert all(one != other for one, other in zip(before, versions(), strict=True))


def test_a_closed_sandbox_runs_nothing() -> None:
    sandbox = Sandbox(level=Level.SEAL, processes=1, limits=LIMITS)
    running = ThreadPoolExecutor(1).submit(sandbox.run, [script("import time\ntime.sleep(9)")])
    time.sleep(0.3)
    sandbox.close()
    sandbox.close()
    assert running.result(timeout=60)[0].ending is Ending.TROUBLE
    assert sandbox.run([SQUARE])[0].ending is Ending.TROUBLE


@pytest.mark.parametrize("level", [level for level in Level if level is not Level.REFUSE])
def test_each_level_runs_honest_programs_or_says_why_not(level: Level) -> None:
    reason = available_levels()[level]
    if reason:
        with pytest.raises(SandboxUnavailable):
            Sandbox(level=level)
        return
    with Sandbox(level=level, limits=LIMITS, preload=["yaml"]) as sandbox:
        trusted = TrustedJob(function="yaml:safe_load", arguments={"stream": "[1]"})
        done = sandbox.run([SQUARE, script("print(input())", "hello"), trusted, script("while True: pass")])
    assert [outcome.values for outcome in done] == [(49,), (), ([1],), ()]
    assert done[1].stdout == "hello\n"
    assert done[3].ending is Ending.CPU_LIMIT


def test_a_working_folder_is_empty_for_every_job() -> None:
    size = 2**20
    if available_levels()[Level.BWRAP]:
        # Where the one level with a folder does not hold, no other may give one.
        with pytest.raises(SandboxUnavailable, match="bwrap"):
            Sandbox(processes=1, limits=Limits(scratch_bytes=size))
        return
    with Sandbox(level=Level.BWRAP, processes=1, limits=Limits(scratch_bytes=size)) as sandbox:
        use = "import os\nos.makedirs('a/b')\nopen('a/b/c', 'w').write('x')\nprint(os.listdir(), open('a/b/c').read())"
        full = f"open('x', 'wb', buffering=0).write(b'x' * {size + 1}) == {size + 1} or 1 / 0"
        many = "n = 0\nwhile True:\n    open(str(n), 'w').close()\n    n += 1"
        outcomes = sandbox.run([script(code) for code in (use, use, full, many, use)])
    assert [outcome.stdout for outcome in outcomes] == ["['a'] x\n", "['a'] x\n", "", "", "['a'] x\n"]
    assert [outcome.ending for outcome in outcomes[2:4]] == [Ending.ERROR, Ending.OUTPUT_LIMIT]


def test_a_hidden_process_leaves_nothing_to_read() -> None:
    code = "from bootstrap.sandbox import linux\nlinux.hide_process()\nprint(linux.prctl(3))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n"
