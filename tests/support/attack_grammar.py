"""A grammar of hostile programs: the primitives of the attacks, drawn and put together by hypothesis.

Each statement stands alone, may swallow what stops it, and never blocks by intent: programs that sleep cost the
wall-clock limit and are tested by name instead.
"""

import textwrap

from hypothesis import strategies as st
from support.attack_programs import SYSCALL

MODULES = (
    *("os", "posix", "ctypes", "socket", "_socket", "subprocess", "_posixsubprocess", "multiprocessing", "threading"),
    *("mmap", "fcntl", "resource", "signal", "gc", "inspect", "json", "sqlite3", "asyncio", "tempfile", "_thread"),
    *("sys", "faulthandler", "readline", "pty", "curses", "select", "ssl", "bootstrap", "conftest", "site"),
)
TARGETS = (
    *("CANARY", "CANARY_FOLDER", "CANARY_FOLDER + '/inner.txt'", "CANARY_FOLDER + '/new'", "FOLDER + '/secret.txt'"),
    *("FOLDER + '/answers.jsonl'", "MARK", "'/dev/shm/' + MARK", "'/tmp/' + MARK", "'/proc/self/root' + CANARY"),
)
"""What may be changed: planted, or with the scene's mark, so that a program which gets through does no harm."""
SIGHTS = (
    *("HOME", "'/etc/passwd'", "'/proc/self/mem'", "'/proc/1/environ'", "'/dev/kmsg'", "'..'", "'.'", "'/'"),
    *("f'/proc/{PARENT}/environ'", "f'/proc/{os.getppid()}/fd/3'", "os.__file__", "'/dev/fd/3'", "FOLDER"),
)
"""What may be looked at."""
MODES = ("'rb'", "'wb'", "'ab'", "'r+b'", "'xb'")
CHANGES = (
    *("os.unlink({p})", "os.chmod({p}, 0)", "os.chown({p}, 1, 1)", "os.truncate({p}, 0)", "os.utime({p}, (1, 1))"),
    *("os.symlink({p}, MARK)", "os.link({p}, '/tmp/' + MARK)", "os.rename({p}, {p} + '2')", "os.mkdir({p})"),
    *("os.rmdir({p})", "os.mkfifo({p})", "os.setxattr({p}, 'user.x', b'x')", "os.removexattr({p}, 'user.x')"),
)
LOOKS = (
    *("open({p}, 'rb', 0).read(100)", "os.listdir({p})", "os.chdir({p})", "os.readlink({p})", "os.chroot({p})"),
    *("os.execv({p}, ['x'])", "os.open({p}, os.O_PATH)"),
)
SYSTEM_CALLS = (
    # Process creation, execution, sockets, other processes, namespaces, kernel interfaces, IPC, users (x86-64).
    *(57, 58, 435, 59, 322, 41, 42, 43, 44, 46, 49, 50, 53, 101, 310, 311, 312, 434, 438, 424, 425, 426, 427, 321),
    *(323, 298, 272, 308, 165, 166, 155, 161, 428, 429, 430, 431, 432, 442, 319, 447, 29, 30, 64, 68, 69, 240, 241),
    *(105, 106, 113, 114, 117, 119, 116, 126, 135, 246, 313, 175, 248, 249, 250, 303, 304, 302, 141, 203, 144, 314),
    *(251, 90, 91, 92, 93, 94, 268, 260, 280, 188, 197, 133, 259, 82, 83, 84, 86, 87, 88, 76, 77, 157, 158, 160, 10),
)
ARGUMENTS = ("-1", "0", "1", "2", "3", "64", "4096", "2**31 - 1", "2**63 - 1", "VICTIM", "PARENT", "CANARY.encode()")
FORKS = ("os.fork()", "libc.fork()", "syscall(56, 17, 0, 0, 0, 0)", "syscall(56, 0x8000 | 17, 0, 0, 0, 0)")
SOCKETS = (
    "socket.create_connection(('127.0.0.1', TCP), 1)",
    "socket.create_connection(('::1', TCP6), 1)",
    "socket.socket(2, 2).sendto(b'x', ('127.0.0.1', UDP))",
    "socket.socket(1, 1).connect(UNIX)",
    "socket.socket(1, 1).connect(ABSTRACT)",
    "socket.socket(1, 2).sendto(b'x', ABSTRACT + '-datagram')",
    "socket.create_server(('127.0.0.1', 0))",
)
PROCESSES = (
    "os.kill({p}, {s})",
    "os.setpriority(0, {p}, 19)",
    "os.sched_setaffinity({p}, {{0}})",
    "resource.prlimit({p}, resource.RLIMIT_NOFILE, (3, 3))",
    "signal.pthread_kill(threading.get_ident(), {s})",
)
PATCHES = (
    *("builtins.len = lambda _: 0", "builtins.type = lambda *_: int", "builtins.isinstance = lambda *_: True"),
    *("json.dumps = lambda *a, **k: '[9]'", "sys.stdout = None", "os.write = lambda *_: 1", "sys.modules.clear()"),
    *("sys.setrecursionlimit(30)", "builtins.print = print.__class__", "os._exit = lambda *_: None"),
    *("sys.exit = lambda *_: None", "gc.freeze()", "sys.setprofile(lambda *_: None)", "vars(builtins).clear()"),
    *("signal.signal(15, signal.SIG_IGN)", "signal.setitimer(2, 0)", "threading.excepthook = os.abort"),
    *("sys.excepthook = lambda *_: os._exit(0)", "atexit.register(os._exit, 0)", "sys.meta_path.clear()"),
    *("resource.setrlimit(resource.RLIMIT_CPU, (99, 99))", "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))"),
)
OUTPUTS = (
    *("print('PASSED')", "print('[9]', file=sys.stderr)", "os.write(1, b'\\xff\\0[9]\\n')", "print('x' * 2**17)"),
    *("os.write({n}, b'[9]\\n')", "os.write({n}, bytes(8))", "os.write({n}, b'\\xff' * 64)", "os.close({n})"),
    *("os.dup2(1, {n})", "os.ftruncate({n}, 0)", "os.lseek({n}, 0, 0)", "os.set_blocking({n}, False)"),
)
ENDS = ("sys.exit(0)", "os._exit(0)", "os._exit(1)", "os.abort()", "os.kill(os.getpid(), 9)", "ctypes.string_at(0)")
SPENDING = ("bytearray(2**29)", "[bytearray(2**20) for _ in range(600)]", "sum(range(10**12))", "10 ** 10 ** 7")
RESULTS = (
    *("x", "x * x", "None", "True", "'[9]'", "[x]", "{'passed': True}", "{1: 2}", "(x,)", "b'x'", "{x}", "object()"),
    *("float('nan')", "'\\ud800'", "10 ** 5000", "'x' * 10**6", "[[]] * 10**4", "solve", "type('I', (int,), {})(9)"),
)
IMPORTS = (
    "import atexit, builtins, ctypes, gc, json, os, resource, signal, socket, sys, threading\n" + SYSCALL.strip() + "\n"
)


def _filled(templates: tuple[str, ...], **parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(lambda template, **values: template.format(**values), st.sampled_from(templates), **parts)


def _syscall(number: int, arguments: list[str]) -> str:
    return f"syscall({', '.join([str(number), *arguments])})"


targets = st.sampled_from(TARGETS)
statements = st.one_of(
    st.sampled_from(MODULES).map(lambda name: f"import {name}"),
    st.builds(_syscall, st.sampled_from(SYSTEM_CALLS), st.lists(st.sampled_from(ARGUMENTS), max_size=6)),
    st.builds(lambda path, mode: f"open({path}, {mode}, 0).write(b'dead')", targets, st.sampled_from(MODES)),
    _filled(CHANGES, p=targets),
    _filled(LOOKS, p=targets | st.sampled_from(SIGHTS)),
    st.sampled_from(SOCKETS),
    st.sampled_from(FORKS).map(lambda call: f"{call} or os._exit(0)"),
    _filled(PROCESSES, p=st.sampled_from(("VICTIM", "os.getppid()")), s=st.sampled_from(("0", "9", "19"))),
    st.sampled_from(PATCHES),
    _filled(OUTPUTS, n=st.integers(0, 8).map(str)),
    st.sampled_from(ENDS),
    st.sampled_from(SPENDING),
)


def _guarded(statement: str, swallow: bool) -> str:
    return f"try:\n    {statement}\nexcept BaseException:\n    pass\n" if swallow else statement + "\n"


guarded = st.builds(_guarded, statements, st.sampled_from((True, True, True, False)))


@st.composite
def programs(draw: st.DrawFn) -> str:
    """Draw a program that defines `solve(x)`: hostile while it is defined, inside the call, and in what it returns."""
    before = "".join(draw(st.lists(guarded, max_size=2)))
    inside = "".join(draw(st.lists(guarded, max_size=5))) + f"return {draw(st.sampled_from(RESULTS))}\n"
    return IMPORTS + before + "def solve(x):\n" + textwrap.indent(inside, "    ")
