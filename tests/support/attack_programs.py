"""The attacks on the sandbox, as data: program text, and the endings that count as contained.

Each program gets the constants of `Scene.header` in front. One that only searches must end DONE with nothing found; one
that acts raises what stopped it, and returns where it got through, so that DONE is never among its endings. Numbers of
system calls are those of x86-64, written down here a second time so that a slip in the policy's table shows. An attack
that gets through must do no harm: what it changes is planted, what belongs to the machine is at most opened, and what
it makes carries the scene's mark.

Judging answers (rows 35 and 36 of the list, forged verdicts) and logs (row 39) is not for here.
"""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bootstrap.sandbox.job import CallJob, Ending, Limits, ScriptJob

LIMITS = Limits(cpu_seconds=0.2, address_space=192 * 2**20)

IDLE_LIMITS = Limits(cpu_seconds=0.05, address_space=192 * 2**20)

STOPPED = frozenset({Ending.ERROR})
"""An exception said no."""
DIED = frozenset({Ending.CRASH})
SPENT = frozenset({Ending.CPU_LIMIT})
FULL = frozenset({Ending.MEMORY})
FOUND_NOTHING = frozenset({Ending.DONE})
UNFINISHED = frozenset({Ending.PROTOCOL})
NO_VALUE = frozenset({Ending.TYPE})

SYSCALL = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
def syscall(number, *arguments):
    whole = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return checked(libc.syscall(ctypes.c_long(number), *whole))
"""
"""Raw system calls by ctypes, without the C library's and Python's own checks."""

SEARCH = """
import os, re
SECRET = re.compile(b"PLANTED-[0-9a-f]{32}")
def search(data):
    return [match.decode() for match in SECRET.findall(data)]
def search_file(path):
    try:
        with open(path, "rb", buffering=0, opener=lambda *a: os.open(a[0], os.O_RDONLY | os.O_NONBLOCK)) as file:
            return search(file.read(2**20) or b"")
    except OSError:
        return []
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attack:
    """One hostile program and what counts as contained."""

    row: int
    """In the list of the 40 attacks; 0: not in it."""
    name: str
    code: str
    endings: frozenset[Ending]
    values: tuple[Any, ...] | None = None
    """What it must return where it ends DONE; None: anything."""
    at_most: int | None = None
    """Largest number that it may report in `count=...`."""
    inputs: Sequence[Any] = (3,)
    script: bool = False
    limits: Limits = LIMITS

    @property
    def label(self) -> str:
        """The test's name."""
        return f"{self.row:02d}-{self.name}"

    def job(self, header: str) -> CallJob | ScriptJob:
        """Return it as a job against the scene that a header describes."""
        code = header + self.code
        if self.script:
            return ScriptJob(code=code)
        return CallJob(code=code, function="solve", inputs=[((value,), {}) for value in self.inputs])


HONEST = CallJob(code="def solve(x):\n    return x * x\n", function="solve", inputs=[((x,), {}) for x in (2, 3, 4)])
HONEST_VALUES = (4, 9, 16)


def text(code: str) -> str:
    """Return a program's text without the indentation it has here."""
    return textwrap.dedent(code).lstrip("\n")


def body(row: int, name: str, lines: str, endings: frozenset[Ending], *, before: str = "", **more: Any) -> Attack:
    """Return an attack from the lines inside `solve(x)`."""
    code = before + "def solve(x):\n" + textwrap.indent(text(lines), "    ")
    return Attack(row=row, name=name, code=code, endings=endings, **more)


def whole(row: int, name: str, code: str, endings: frozenset[Ending], **more: Any) -> Attack:
    """Return an attack from a whole program."""
    return Attack(row=row, name=name, code=text(code), endings=endings, **more)


def syscalls(row: int, cases: Iterable[tuple[str, str]]) -> list[Attack]:
    """Return one attack per (name, expression): a raw system call that must be refused."""
    return [body(row, name, f"return {call}", STOPPED, before=SYSCALL) for name, call in cases]


def stopped(row: int, cases: Iterable[tuple[str, str]], *, before: str = "") -> list[Attack]:
    """Return one attack per (name, lines) that must end in an exception."""
    return [body(row, name, lines, STOPPED, before=before) for name, lines in cases]


def bomb(row: int, name: str, step: str, *, at_most: int, before: str = "", tries: int = 200) -> Attack:
    """Return an attack that repeats a step until it fails and reports how often it worked (`n`)."""
    lines = f"""
kept = []
n = 0
try:
    for n in range({tries}):
        kept.append({step})
except (OSError, RuntimeError, ValueError):
    pass
raise RuntimeError(f"count={{n}}")
"""
    endings = STOPPED | {Ending.MEMORY, Ending.CRASH}
    return body(row, name, lines, endings, before=before, at_most=at_most)


MACHINE_CODE = """
import ctypes, mmap, os
def machine_code(text):
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex(text))
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    result = ctypes.CFUNCTYPE(ctypes.c_long)(address)()
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result
"""
"""Machine code in a page of its own: system calls without the C library."""

FORKS = [
    # A child that gets through ends at once: what counts is that it could be made.
    *stopped(
        1,
        [
            ("os.fork", "import os\nreturn os.fork() or os._exit(0)"),
            ("posix.fork", "import posix\nreturn posix.fork() or posix._exit(0)"),
            ("forkpty", "import os\nreturn os.forkpty()[0] or os._exit(0)"),
            ("fork bomb", "import os\nfor _ in range(5):\n    os.fork()"),
            ("multiprocessing fork", "import multiprocessing\nmultiprocessing.get_context('fork').Process().start()"),
            ("multiprocessing spawn", "import multiprocessing\nmultiprocessing.get_context('spawn').Process().start()"),
            ("subprocess", "import subprocess\nreturn subprocess.run(['/bin/true']).returncode"),
            ("posix_spawn", "import os\nreturn os.posix_spawn('/bin/true', ['true'], {})"),
            ("popen", "import os\nreturn os.popen('echo x').read()"),
            ("system", "import os\nif os.system('true') != 0:\n    raise OSError('refused')"),
        ],
    ),
    body(1, "libc fork", "return checked(libc.fork()) or os._exit(0)", STOPPED, before=SYSCALL),
    *syscalls(
        1,
        [
            ("fork call", "syscall(57) or os._exit(0)"),
            ("vfork call", "syscall(58) or os._exit(0)"),
            ("clone call", "syscall(56, 17, 0, 0, 0, 0) or os._exit(0)"),
            ("clone with another parent", "syscall(56, 0x8000 | 17, 0, 0, 0, 0) or os._exit(0)"),
            ("clone3 call", "syscall(435, (ctypes.c_uint64 * 11)(0, 0, 0, 0, 17), 88) or os._exit(0)"),
        ],
    ),
    body(1, "machine code", "return machine_code('b8390000000f05c3') or os._exit(0)", STOPPED, before=MACHINE_CODE),
]


def threads(name: str, before: str, start: str) -> Attack:
    """Return an attack that starts threads until it may not, and keeps them."""
    lines = f"""
n = 0
try:
    for n in range(150):
        {start}
except RuntimeError:
    raise RuntimeError(f"count={{n}}")
time.sleep(1)
return n
"""
    return body(2, name, lines, STOPPED | FULL, before=before, at_most=64)


THREAD = "threading.Thread(target=time.sleep, args=(30,), daemon=True).start()"

THREADS = [
    threads("threads", "import threading, time\n", THREAD),
    threads("small stacks", "import threading, time\nthreading.stack_size(65536)\n", THREAD),
    threads(
        "_thread", "import _thread, time\n_thread.stack_size(65536)\n", "_thread.start_new_thread(time.sleep, (30,))"
    ),
]

MEMORY = [
    body(3, "one block", "return len(bytearray(2**30))", FULL | SPENT),
    body(3, "many blocks", "return len([bytearray(2**20) for _ in range(1024)])", FULL | SPENT),
    body(3, "doubling", "text = 'x'\nwhile len(text) < 2**30:\n    text += text\nreturn len(text)", FULL | SPENT),
    body(3, "huge integer", "return (10 ** 10 ** 8).bit_length()", FULL | SPENT),
    body(3, "huge list", "return len([0] * 2**27)", FULL | SPENT),
    body(3, "map", "import mmap\nreturn len(mmap.mmap(-1, 2**29))", FULL | STOPPED),
    body(
        3,
        "raised limits",
        """
        import resource
        for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
            try:
                resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            except (OSError, ValueError):
                pass
        return len(bytearray(2**29))
        """,
        FULL | SPENT,
    ),
    bomb(
        4, "memfd", "open(os.memfd_create(MARK), 'wb').write(bytes(2**20))", at_most=0, before="import os\n", tries=32
    ),
    bomb(
        4,
        "pipes",
        "grown()",
        at_most=32,
        before=text(
            """
        import fcntl, os
        def grown():
            ends = os.pipe()
            fcntl.fcntl(ends[1], 1031, 2**20)
            return ends
        """
        ),
    ),
    *syscalls(
        4,
        [
            ("System V shared memory", "syscall(29, IPC_KEY, 2**20, 0o1600)"),
            ("System V messages", "syscall(68, IPC_KEY, 0o1600)"),
            ("System V semaphores", "syscall(64, IPC_KEY, 1, 0o1600)"),
            ("memfd call", "syscall(319, b'x', 0)"),
            ("secret memory", "syscall(447, 0)"),
        ],
    ),
    body(
        4,
        "POSIX messages",
        "return checked(libc.mq_open(f'/{MARK}'.encode(), 0o102, 0o600, None))",
        STOPPED,
        before=SYSCALL,
    ),
    body(
        4,
        "POSIX shared memory",
        "return checked(libc.shm_open(MARK.encode(), 0o102, 0o600))",
        STOPPED,
        before=SYSCALL,
    ),
    body(
        4,
        "multiprocessing shared memory",
        """
        from multiprocessing.shared_memory import SharedMemory
        return SharedMemory(name=MARK, create=True, size=2**20).size
        """,
        STOPPED,
    ),
]

FILL = """
import os
def fill(folder):
    file = open(os.path.join(folder, f"{MARK}-{len(files)}"), "wb", buffering=0)
    files.append(file)
    return file.write(bytes(2**20))
files = []
"""

FOLDERS = ("/tmp", "/var/tmp", "/dev/shm", "/dev", "/", "/run")

DISK = [
    *(bomb(5, f"many files in {folder}", f"fill({folder!r})", at_most=0, before=FILL, tries=8) for folder in FOLDERS),
    bomb(5, "many files in the working folder", "fill('.')", at_most=0, before=FILL, tries=8),
    bomb(5, "many files in the home folder", "fill(HOME)", at_most=0, before=FILL, tries=8),
    bomb(5, "many files in an open folder", "fill(CANARY_FOLDER)", at_most=0, before=FILL, tries=8),
    bomb(
        5,
        "files without a name",
        "os.write(os.open('/tmp', os.O_TMPFILE | os.O_RDWR), bytes(2**20))",
        at_most=0,
        before="import os\n",
        tries=8,
    ),
    bomb(5, "tempfile", "tempfile.TemporaryFile().write(bytes(2**20))", at_most=0, before="import tempfile\n", tries=8),
    body(5, "sparse file", "with open(f'/tmp/{MARK}', 'wb') as file:\n    file.truncate(2**24)", STOPPED),
    bomb(6, "in the working folder", "open(f'{MARK}-{n}', 'x').close()", at_most=0, tries=1000),
    bomb(6, "in /tmp", "open(f'/tmp/{MARK}-{n}', 'x').close()", at_most=0, tries=1000),
    bomb(6, "folders", "os.mkdir(f'/tmp/{MARK}-{n}')", at_most=0, before="import os\n", tries=1000),
]

FLOOD = frozenset({Ending.OUTPUT_LIMIT})

OUTPUT = [
    body(7, "stdout", "for _ in range(2**16):\n    print('x' * 1000)", FLOOD),
    body(7, "stderr", "import sys\nfor _ in range(2**16):\n    print('x' * 1000, file=sys.stderr)", FLOOD),
    body(7, "single bytes", "import os\nfor _ in range(2**18):\n    os.write(1, b'x')", FLOOD),
    body(7, "no line ends", "import sys\nfor _ in range(2**16):\n    sys.stdout.write('x' * 1000)", FLOOD),
    body(7, "one great write", "import os\nfor _ in range(64):\n    os.write(2, bytes(2**20))", FLOOD),
    body(7, "both in turn", "import os\nfor n in range(2**17):\n    os.write(1 + n % 2, bytes(512))", FLOOD),
    whole(7, "script", "for _ in range(2**16):\n    print('x' * 1000)", FLOOD, script=True),
    whole(7, "while defining", "for _ in range(2**16):\n    print('x' * 1000)\ndef solve(x): return x", FLOOD),
]

SPIN = """
def spin():
    while True:
        pass
"""

TIME = [
    body(8, "busy loop", "while True:\n    pass", SPENT),
    whole(8, "busy while defining", "while True:\n    pass", SPENT),
    whole(8, "busy script", "while True:\n    pass", SPENT, script=True),
    body(8, "busy in the kernel", "import os\nwhile True:\n    os.getppid()", SPENT),
    body(
        8,
        "busy in a thread",
        "import threading\nthread = threading.Thread(target=spin)\nthread.start()\nthread.join()",
        SPENT | STOPPED,
        before=SPIN,
    ),
    body(9, "input", "return input()", STOPPED | UNFINISHED),
    whole(9, "reads for ever", "import sys\nwhile True:\n    sys.stdin.read()", SPENT, script=True),
    body(
        10,
        "ignores signals",
        """
        import signal
        for number in signal.valid_signals():
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        while True:
            try:
                spin()
            except BaseException:
                pass
        """,
        SPENT,
        before=SPIN,
    ),
    body(
        10,
        "blocks signals",
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\nspin()",
        SPENT,
        before=SPIN,
    ),
    body(
        10,
        "stops timers and raises its limit",
        """
        import resource, signal
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 0)
        for ask in (
            lambda: resource.setrlimit(resource.RLIMIT_CPU, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)),
            lambda: resource.setrlimit(resource.RLIMIT_CPU, (resource.getrlimit(resource.RLIMIT_CPU)[1],) * 2),
            lambda: resource.prlimit(0, resource.RLIMIT_CPU, (1000, 1000)),
        ):
            try:
                ask()
            except (OSError, ValueError):
                pass
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
        spin()
        """,
        SPENT,
        before=SPIN,
    ),
    body(
        10,
        "catches everything",
        """
        import signal
        def again(*_):
            raise KeyboardInterrupt
        for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGXCPU, signal.SIGPROF, signal.SIGVTALRM):
            signal.signal(number, again)
        while True:
            try:
                spin()
            except BaseException:
                pass
        """,
        SPENT,
        before=SPIN,
    ),
    body(11, "deque", "import collections, itertools\ncollections.deque(itertools.repeat(0), maxlen=0)", SPENT),
    body(11, "sum", "return sum(range(10**12))", SPENT),
    body(11, "regular expression", "import re\nreturn re.match('(a+)+b', 'a' * 60)", SPENT),
    body(11, "power", "return pow(3, 10**7) % 7", SPENT | FULL),
]
"""Row 9's programs that sleep are in `IDLE`: they take the wall-clock limit twice."""

IDLE = [
    body(9, "sleep", "import time\ntime.sleep(600)", frozenset({Ending.IDLE})),
    whole(9, "pause", "import signal\nsignal.pause()", frozenset({Ending.IDLE}), script=True),
    body(9, "stops itself", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", frozenset({Ending.IDLE})),
]

CRASHES = [
    body(12, "null pointer", "import ctypes\nreturn ctypes.string_at(0)", DIED),
    body(12, "abort", "import os\nos.abort()", DIED),
    body(12, "own signal", "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", DIED),
    body(12, "killed by itself", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", STOPPED),
    whole(
        12,
        "recursion",
        """
        import sys
        sys.setrecursionlimit(10**9)
        class Deep:
            def __repr__(self):
                return repr([self])
        def solve(x):
            return repr(Deep())
        """,
        DIED | FULL | SPENT,
    ),
    body(12, "parentheses", "return eval('(' * 10**5 + ')' * 10**5)", STOPPED | FULL | DIED),
    body(12, "signs", "return eval('-' * 10**5 + '1')", STOPPED | FULL | DIED),
    whole(
        12,
        "parentheses in the program",
        "x = " + "(" * 20000 + ")" * 20000,
        frozenset({Ending.FORMAT, Ending.MEMORY, Ending.CRASH, Ending.ERROR}),
    ),
    body(
        13,
        "daemon",
        """
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(30)
            os._exit(0)
        return x
        """,
        STOPPED,
    ),
    body(
        13,
        "thread that holds the output",
        """
        import threading, time
        threading.Thread(target=time.sleep, args=(30,)).start()
        return x
        """,
        STOPPED | FOUND_NOTHING | UNFINISHED,
        values=(3,),
    ),
    body(14, "zombies", "import os\nfor _ in range(5):\n    if os.fork() == 0:\n        os._exit(0)", STOPPED),
    bomb(15, "copies", "os.dup(0)", at_most=64, before="import os\n", tries=5000),
    bomb(15, "pipes", "os.pipe()", at_most=64, before="import os\n", tries=5000),
    bomb(15, "open files", "open(os.__file__)", at_most=64, before="import os\n", tries=5000),
    bomb(
        15,
        "copies after raising the limit",
        "raised() or os.dup(0)",
        at_most=64,
        before=text(
            """
            import os, resource
            def raised():
                for hard in (65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1]):
                    try:
                        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
                    except (OSError, ValueError):
                        pass
            """
        ),
        tries=5000,
    ),
]

PROC = (
    SEARCH
    + """
import os
def numbers():
    listed = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return sorted({1, os.getppid(), PARENT, VICTIM, *listed})
def look(*names):
    try:
        pids = numbers()
    except OSError:
        pids = [1, os.getppid(), PARENT, VICTIM]
    return [hit for pid in ["self", *pids] for name in names for hit in search_file(f"/proc/{pid}/{name}")]
"""
)

SECRETS = [
    body(
        16,
        "own environment",
        """
        import os
        own = {name for name in os.environ if name not in ("LC_CTYPE", "OMP_NUM_THREADS")}
        return sorted(own)
        """,
        FOUND_NOTHING,
        values=([],),
    ),
    body(
        16,
        "environment of the C library",
        """
        entries = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, "environ")
        hits = []
        for n in range(1000):
            if not entries or entries[n] is None:
                return hits
            hits += search(entries[n])
        """,
        FOUND_NOTHING,
        before=SYSCALL + SEARCH,
        values=([],),
    ),
    body(16, "environments", "return look('environ')", FOUND_NOTHING, before=PROC, values=([],)),
    body(16, "command lines", "return look('cmdline', 'comm')", FOUND_NOTHING, before=PROC, values=([],)),
    body(
        16,
        "threads' environments",
        "return look('task/1/environ', 'root/proc/1/environ')",
        FOUND_NOTHING,
        before=PROC,
        values=([],),
    ),
    body(
        16,
        "open files of others",
        "return look(*(f'fd/{n}' for n in range(32)), 'cwd/fd.txt')",
        FOUND_NOTHING,
        before=PROC,
        values=([],),
    ),
    body(
        16,
        "memory of others",
        """
        hits = []
        for pid in (os.getppid(), PARENT, VICTIM, "self"):
            try:
                with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
                    for line in maps:
                        start, end = (int(x, 16) for x in line.split()[0].split("-"))
                        try:
                            memory.seek(start)
                            hits += search(memory.read(min(end - start, 2**24)))
                        except (OSError, OverflowError):
                            pass
            except OSError:
                pass
        return hits
        """,
        FOUND_NOTHING,
        before=PROC,
        values=([],),
    ),
    body(
        18,
        "descriptors",
        """
        import os
        hits = []
        for fd in range(3, 1024):
            for read in (lambda: os.pread(fd, 2**16, 0), lambda: os.read(fd, 2**16)):
                try:
                    os.set_blocking(fd, False)
                    hits += search(read())
                except OSError:
                    pass
        return hits
        """,
        FOUND_NOTHING | UNFINISHED,
        before=SEARCH,
        values=([],),
    ),
    body(
        18,
        "number of descriptors",
        """
        import os, stat
        kinds = []
        for fd in range(3, 1024):
            try:
                mode = os.fstat(fd).st_mode
            except OSError:
                continue
            kinds.append("pipe" if stat.S_ISFIFO(mode) else f"{mode:o}")
        return kinds
        """,
        FOUND_NOTHING,
        values=(["pipe"],),
    ),
]

HOSTS_FILES = [
    *(
        body(19, name, f"return open(PATHS[{name!r}]).read()", STOPPED)
        for name in ("a file of the host", "a token cache", "a checkpoint", "the data set with answers")
    ),
    *stopped(
        19,
        [
            ("passwd", "return open('/etc/passwd').read()"),
            ("shadow", "return open('/etc/shadow').read()"),
            ("home folder", "import os\nreturn os.listdir(HOME)"),
            ("root folder", "import os\nreturn os.listdir('/')"),
            ("tests", "import os\nreturn os.listdir(REPOSITORY + '/tests')"),
            ("recipes", "import os\nreturn os.listdir(REPOSITORY + '/pipelines')"),
            ("folder", "import os\nreturn os.listdir(FOLDER)"),
            ("by an upward path", "import os\nreturn open('../' * 20 + CANARY.lstrip('/')).read()"),
            ("by procfs", "return open('/proc/self/root' + CANARY).read()"),
            ("kernel's log", "return open('/dev/kmsg').read(10)"),
            ("a disk", "import glob\nreturn open((glob.glob('/dev/[svn]d*') or ['/dev/vda'])[0], 'rb').read(10)"),
            ("mapped", "import mmap, os\nreturn mmap.mmap(os.open(CANARY, os.O_RDONLY), 5, prot=1)[:]"),
            (
                "with the C library",
                "import ctypes\nif not ctypes.CDLL(None).fopen(CANARY.encode(), b'r'):\n    raise OSError('refused')",
            ),
            ("as an import", "import sys\nsys.path.insert(0, REPOSITORY)\nimport bootstrap.config.recipe"),
        ],
    ),
]

CONNECT = "import socket\n"

NETWORK = [
    *stopped(
        20,
        [
            ("tcp", "socket.create_connection(('127.0.0.1', TCP), 1).send(b'x')"),
            ("udp", "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', UDP))"),
            ("raw", "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).sendto(b'x', ('127.0.0.1', 0))"),
            ("packet", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)"),
            ("names", "return socket.getaddrinfo('localhost.example.invalid', 80)"),
            ("unix path", "socket.socket(socket.AF_UNIX).connect(UNIX)"),
            ("abstract", "socket.socket(socket.AF_UNIX).connect(ABSTRACT)"),
            (
                "abstract datagram",
                "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', ABSTRACT + '-datagram')",
            ),
            ("netlink", "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).bind((0, 0))"),
            ("vsock", "socket.socket(40, socket.SOCK_STREAM).connect((2, 80))"),
            ("tcp6", "socket.socket(socket.AF_INET6).connect(('::1', TCP6))"),
            ("tcp fast open", "socket.socket().sendto(b'x', socket.MSG_FASTOPEN, ('127.0.0.1', TCP))"),
            ("multipath tcp", "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).connect(('127.0.0.1', TCP))"),
            ("listens", "socket.create_server(('127.0.0.1', 0))"),
            # The module's own function; `socket.socketpair` is the sandbox's stand-in of pipes.
            ("pair", "import _socket\nreturn len(_socket.socketpair())"),
            ("kernel's ciphers", "socket.socket(38, socket.SOCK_SEQPACKET)"),
            ("urllib", "import urllib.request\nurllib.request.urlopen(f'http://127.0.0.1:{TCP}', timeout=1)"),
            ("asyncio", "import asyncio\nasyncio.run(asyncio.open_connection('127.0.0.1', TCP))"),
        ],
        before=CONNECT,
    ),
    *syscalls(
        20,
        [
            ("socket call", "syscall(41, 2, 1, 0)"),
            ("io_uring", "syscall(425, 8, (ctypes.c_char * 120)())"),
            ("io_uring registration", "syscall(427, 2**31 - 1, 0, 0, 0)"),
        ],
    ),
]

TARGETS = """
import ctypes, os, resource, signal
"""

SIGNALS = [
    *stopped(
        21,
        [
            ("kills a process", "os.kill(VICTIM, signal.SIGKILL)"),
            ("stops a process", "os.kill(VICTIM, signal.SIGSTOP)"),
            ("kills its parent", "os.kill(os.getppid(), signal.SIGKILL)"),
            ("asks after the supervisor", "os.kill(PARENT, 0)"),
            # Signal 0 asks for the same permission and does no harm where it is given.
            ("asks after everybody", "os.kill(-1, 0)"),
            ("kills a group", "os.killpg(os.getpgid(0), 0)"),
            ("limits of another", "resource.prlimit(VICTIM, resource.RLIMIT_NOFILE, (3, 3))"),
            ("limits of the supervisor", "resource.prlimit(PARENT, resource.RLIMIT_NOFILE)"),
            ("priority of another", "os.setpriority(os.PRIO_PROCESS, VICTIM, 19)"),
            ("own priority", "os.setpriority(os.PRIO_PROCESS, 0, -5)"),
            ("cores of another", "os.sched_setaffinity(VICTIM, {0})"),
            ("cores of the supervisor", "os.sched_setaffinity(PARENT, {0})"),
            ("schedule of another", "os.sched_setscheduler(VICTIM, os.SCHED_IDLE, os.sched_param(0))"),
            ("own schedule", "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))"),
        ],
        before=TARGETS,
    ),
    *syscalls(
        21,
        [
            ("tkill", "syscall(200, VICTIM, 9)"),
            ("tgkill", "syscall(234, VICTIM, VICTIM, 9)"),
            ("queued signal", "syscall(129, VICTIM, 9, (ctypes.c_int * 32)(9, 0, -1))"),
            ("queued signal to a thread", "syscall(297, VICTIM, VICTIM, 9, (ctypes.c_int * 32)(9, 0, -1))"),
            ("signal by pidfd", "syscall(424, syscall(434, VICTIM, 0), 9, 0, 0)"),
            ("input priority of another", "syscall(251, 1, VICTIM, 0x6000)"),
            ("schedule by attributes", "syscall(314, VICTIM, (ctypes.c_uint32 * 14)(56, 5), 0)"),
            ("clock", "syscall(227, 0, (ctypes.c_long * 2)(1, 2 * 10**9))"),
            ("host name", "syscall(170, os.uname().nodename.encode(), len(os.uname().nodename))"),
        ],
    ),
    body(
        21,
        "signal by descriptor owner",
        """
        import fcntl, os, signal, time
        reader, writer = os.pipe()
        fcntl.fcntl(reader, 10, signal.SIGKILL)
        fcntl.fcntl(reader, fcntl.F_SETOWN, VICTIM)
        fcntl.fcntl(reader, fcntl.F_SETFL, fcntl.fcntl(reader, fcntl.F_GETFL) | os.O_ASYNC)
        os.write(writer, b"x")
        raise OSError("sent; the victim's state shows whether it arrived")
        """,
        STOPPED,
    ),
]

MEMORY_OF_OTHERS = syscalls(
    17,
    [
        ("ptrace", "syscall(101, 0x4206, VICTIM, 0, 0)"),
        ("ptrace attach", "syscall(101, 16, VICTIM, 0, 0)"),
        ("process_vm_readv", "syscall(310, PARENT, (ctypes.c_long * 2)(0, 8), 1, (ctypes.c_long * 2)(0, 8), 1, 0)"),
        ("process_vm_writev", "syscall(311, PARENT, (ctypes.c_long * 2)(0, 8), 1, (ctypes.c_long * 2)(0, 8), 1, 0)"),
        ("pidfd_open", "syscall(434, PARENT, 0)"),
        ("pidfd_getfd", "syscall(438, syscall(434, PARENT, 0), 0, 0)"),
        ("kcmp", "syscall(312, PARENT, os.getpid(), 1, 0, 0)"),
        ("process_madvise", "syscall(440, syscall(434, PARENT, 0), (ctypes.c_long * 2)(0, 8), 1, 20, 0)"),
        ("perf", "syscall(298, (ctypes.c_uint32 * 32)(1, 128), PARENT, -1, -1, 0)"),
        ("page faults", "syscall(323, 1)"),
        ("bpf", "syscall(321, 0, (ctypes.c_uint32 * 32)(1, 4, 4, 1), 128)"),
    ],
)

WRITES = [
    *stopped(
        22,
        [
            ("absolute path", "open(CANARY, 'w').write('dead')"),
            ("appending", "open(CANARY, 'a').write('dead')"),
            ("upward path", "open('../' * 20 + CANARY.lstrip('/'), 'w').write('dead')"),
            ("symbolic link", "os.symlink(CANARY, MARK)\nopen(MARK, 'w').write('dead')"),
            ("symbolic link there", "os.symlink('/etc/passwd', CANARY_FOLDER + '/link')"),
            ("hard link", "os.link(CANARY, CANARY_FOLDER + '/link')"),
            ("hard link here", "os.link(CANARY, MARK)"),
            ("rename", "os.rename(CANARY, CANARY + '.gone')"),
            ("rename over", "os.rename(CANARY_FOLDER + '/inner.txt', CANARY)"),
            ("unlink", "os.unlink(CANARY)"),
            ("unlink inside", "os.unlink(CANARY_FOLDER + '/inner.txt')"),
            ("remove a tree", "import shutil\nshutil.rmtree(CANARY_FOLDER)"),
            ("truncate", "os.truncate(CANARY, 0)"),
            ("create", "open(CANARY_FOLDER + '/new', 'x')"),
            ("make a folder", "os.mkdir(CANARY_FOLDER + '/new')"),
            ("permissions", "os.chmod(CANARY, 0o777)"),
            ("permissions of a descriptor", "os.fchmod(os.open(os.__file__, os.O_RDONLY), 0o644)"),
            ("owner", "os.chown(CANARY, 12345, 12345)"),
            ("times", "os.utime(CANARY, (1, 1))"),
            ("attributes", "os.setxattr(CANARY, 'user.planted', b'x')"),
            ("by procfs", "open('/proc/self/root' + CANARY, 'w').write('dead')"),
            ("by the parent's root", "open(f'/proc/{os.getppid()}/root' + CANARY, 'w').write('dead')"),
            ("by the working folder of another", "open(f'/proc/{PARENT}/cwd/{MARK}', 'x')"),
            ("device node", "os.mknod(f'/tmp/{MARK}', 0o600 | stat.S_IFBLK, os.makedev(254, 0))"),
            ("device node here", "os.mknod(MARK, 0o600 | stat.S_IFCHR, os.makedev(1, 3))"),
            ("named pipe", "os.mkfifo(f'/tmp/{MARK}')"),
            ("memory device", "open('/dev/mem', 'r+b')"),
            ("terminal", "os.close(os.open('/dev/tty', os.O_WRONLY))"),
            ("a setting of the kernel", "os.close(os.open('/proc/sys/kernel/hostname', os.O_WRONLY))"),
            ("own score for the killer", "os.close(os.open('/proc/self/oom_score_adj', os.O_WRONLY))"),
            ("cgroup", "os.mkdir(f'/sys/fs/cgroup/{MARK}')"),
        ],
        before="import os, stat\n",
    ),
    *stopped(
        23,
        [
            ("module in the working folder", "open(f'{MARK}.py', 'x').close()"),
            ("module in the library", "open(f'{LIBRARY}/{MARK}.py', 'x').close()"),
            ("pth", "open(f'{LIBRARY}/site-packages/{MARK}.pth', 'x').close()"),
            ("byte code", "os.makedirs(f'{LIBRARY}/__pycache__/{MARK}')"),
            ("edit of the library", "os.close(os.open(random.__file__, os.O_WRONLY | os.O_APPEND))"),
            ("replaced library", "os.rename(random.__file__, random.__file__)"),
        ],
        before="import os, random\nLIBRARY = os.path.dirname(random.__file__)\n",
    ),
    body(
        23,
        "patched modules",
        """
        import builtins, json, random, sys
        random.random = lambda: 0.0
        json.dumps = json.loads = lambda *a, **k: None
        sys.modules["math"] = None
        builtins.len = lambda _: 7
        builtins.print = None
        return x
        """,
        FOUND_NOTHING | STOPPED | UNFINISHED | NO_VALUE,
        values=(3,),
    ),
]

EXECUTION = [
    *stopped(
        24,
        [
            ("execv", "os.execv('/bin/true', ['true'])"),
            ("shell", "os.execv('/bin/sh', ['sh', '-c', 'exit 0'])"),
            ("interpreter", "os.execv(sys.executable, [sys.executable, '-c', ''])"),
            ("setuid helper", "os.execv('/usr/bin/su', ['su'])"),
            ("with a preloaded library", "os.execve('/bin/true', ['true'], {'LD_PRELOAD': CANARY})"),
            ("by descriptor", "os.execve(os.open(sys.executable, os.O_RDONLY), ['x'], {})"),
            ("from memory", "fd = os.memfd_create('x')\nos.write(fd, b'#!/bin/true')\nos.execve(fd, ['x'], {})"),
            ("by the loader", "os.execv('/lib64/ld-linux-x86-64.so.2', ['ld', '/bin/true'])"),
            ("foreign library", "import ctypes\nctypes.CDLL(CANARY)"),
        ],
        before="import os, sys\n",
    ),
    *syscalls(
        24,
        [("execveat", "syscall(322, -100, b'/bin/true', 0, 0, 0)"), ("execve call", "syscall(59, b'/bin/true', 0, 0)")],
    ),
]

NAMESPACES = [
    *syscalls(
        25,
        [
            ("user namespace", "syscall(272, 0x10000000)"),
            ("mount namespace", "syscall(272, 0x20000)"),
            ("network namespace", "syscall(272, 0x40000000)"),
            ("cloned namespace", "syscall(56, 0x10000000 | 17, 0, 0, 0, 0) or os._exit(0)"),
            ("setns", "syscall(308, 0, 0)"),
            ("mount", "syscall(165, b'tmpfs', CANARY_FOLDER.encode(), b'tmpfs', 0, 0)"),
            ("bind mount", "syscall(165, CANARY_FOLDER.encode(), CANARY_FOLDER.encode(), 0, 4096, 0)"),
            ("umount", "syscall(166, CANARY_FOLDER.encode(), 0)"),
            ("pivot_root", "syscall(155, CANARY_FOLDER.encode(), CANARY_FOLDER.encode())"),
            ("file handle", "syscall(304, -100, (ctypes.c_uint32 * 32)(8, 1), 0)"),
            ("new mount interface", "syscall(430, b'tmpfs', 0)"),
            ("open tree", "syscall(428, -100, b'/', 1)"),
            ("move mount", "syscall(429, -100, CANARY_FOLDER.encode(), -100, CANARY_FOLDER.encode(), 0)"),
            ("mount attributes", "syscall(442, -100, CANARY_FOLDER.encode(), 0, (ctypes.c_uint64 * 4)(), 32)"),
            ("swap", "syscall(167, CANARY.encode(), 0)"),
            ("user", "syscall(105, 12345)"),
            ("groups", "syscall(116, 0, 0)"),
            ("capabilities", "syscall(126, (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(2**32 - 1))"),
            ("keys", "syscall(248, b'user', MARK.encode(), b'x', 1, -2)"),
            ("module", "syscall(175, b'x', 1, b'')"),
            ("personality", "syscall(135, 0x40000)"),
            ("restart", "syscall(169, 0, 0, 0, 0)"),
        ],
    ),
    *stopped(
        25,
        [
            ("chroot", "os.chroot('/tmp')"),
            ("chroot to here", "os.chroot('.')"),
        ],
        before="import os\n",
    ),
    body(26, "x32", "return machine_code('b8270000400f05c3')", DIED, before=MACHINE_CODE),
    body(26, "32 bits", "return machine_code('b814000000cd80c3')", DIED, before=MACHINE_CODE),
    body(26, "32-bit fork", "return machine_code('b802000000cd80c3') or os._exit(0)", DIED, before=MACHINE_CODE),
    body(26, "x32 fork", "return machine_code('b8390000400f05c3') or os._exit(0)", DIED, before=MACHINE_CODE),
]

EXITS = [
    body(27, "sys.exit inside", "import sys\nsys.exit(0)", UNFINISHED),
    body(27, "os._exit inside", "import os\nos._exit(0)", UNFINISHED),
    body(27, "SystemExit inside", "raise SystemExit", UNFINISHED),
    body(27, "exit group call", "syscall(231, 0)", UNFINISHED, before=SYSCALL),
    body(27, "later call", "import os\nif x == 4:\n    os._exit(0)\nreturn x * x", UNFINISHED, inputs=(2, 3, 4, 5)),
    whole(27, "sys.exit before", "import sys\nsys.exit(0)", UNFINISHED),
    whole(27, "os._exit before", "import os\nos._exit(0)", UNFINISHED),
    whole(27, "SystemExit before", "raise SystemExit(0)", UNFINISHED),
    whole(
        27,
        "atexit",
        "import atexit, os\natexit.register(os._exit, 0)\ndef solve(x):\n    raise SystemExit(0)",
        UNFINISHED,
    ),
    whole(
        27,
        "excepthook",
        "import os, sys\nsys.excepthook = lambda *_: os._exit(0)\ndef solve(x):\n    raise ValueError('no')",
        STOPPED,
    ),
    whole(
        27,
        "hook of threads",
        """
        import os, sys, threading
        threading.excepthook = sys.unraisablehook = lambda *_: os._exit(0)
        class Late:
            def __del__(self):
                raise ValueError
        def solve(x):
            Late()
            return x
        """,
        UNFINISHED,
    ),
    whole(27, "failing script", "import sys\nsys.exit(1)", STOPPED, script=True),
]

FORGED = ("PASSED", "1.0", '{"passed": true}', "[0, 9]", "DONE", "\x1b[2J\x1b[32mok", "a\0b", "\r9", "9")

PRINTS = [
    # Printing is no result: what comes out is what `solve` returned.
    *(
        body(28, f"prints {number}", f"print({line!r}, flush=True)\nreturn None", FOUND_NOTHING, values=(None,))
        for number, line in enumerate(FORGED)
    ),
    body(
        28,
        "prints invalid text",
        "import os\nos.write(1, b'\\xff\\xfe\\x00[1]\\n')\nos.write(2, b'\\xed\\xa0\\x80')\nreturn None",
        FOUND_NOTHING,
        values=(None,),
    ),
    whole(
        28,
        "script prints invalid text",
        "import os\nos.write(1, b'\\xff\\x00\\xed\\xa0\\x80')",
        FOUND_NOTHING,
        script=True,
    ),
]

VALUES = [
    *(
        body(29, name, f"return {expression}", NO_VALUE, before=text(before))
        for name, expression, before in (
            ("__eq__", "Any()", "class Any:\n    def __eq__(self, other): return True\n    __hash__ = None\n"),
            ("__bool__", "Any()", "class Any:\n    def __bool__(self): return True\n"),
            ("__class__", "Liar()", "class Liar:\n    __class__ = int\n    def __int__(self): return 9\n"),
            (
                "int",
                "Sub(9)",
                "class Sub(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\n",
            ),
            ("float", "Sub(9.0)", "class Sub(float):\n    def __eq__(self, other): return True\n"),
            ("str", "Sub('9')", "class Sub(str):\n    def __eq__(self, other): return True\n"),
            ("list", "Sub([9])", "class Sub(list):\n    def __eq__(self, other): return True\n"),
            ("dict", "Sub(x=9)", "class Sub(dict):\n    def __eq__(self, other): return True\n"),
            ("nested", "[{'a': Sub(9)}]", "class Sub(int):\n    def __eq__(self, other): return True\n"),
            ("key", "{Sub('a'): 1}", "class Sub(str):\n    pass\n"),
            ("enumeration", "E.A", "import enum\nclass E(enum.IntEnum):\n    A = 9\n"),
            (
                "array",
                "Array()",
                "class Array:\n    shape = ()\n    def tolist(self): return 9\n"
                "    def __array__(self): return self\n    def item(self): return 9\n",
            ),
            ("bytes", "b'9'", ""),
            ("set", "{9}", ""),
            ("complex", "9j", ""),
            ("function", "solve", ""),
            ("generator", "(y for y in [9])", ""),
            ("number as key", "{9: 9}", ""),
            ("fraction", "fractions.Fraction(9)", "import fractions\n"),
            (
                "reduce",
                "Evil()",
                "import os\nclass Evil:\n    def __reduce__(self): return os.system, ('touch ' + MARK,)\n",
            ),
        )
    ),
    *(
        body(33, name, f"return {expression}", NO_VALUE | UNFINISHED, before=text(before))
        for name, expression, before in (
            (
                "deep list",
                "deep()",
                "def deep():\n    value = []\n    for _ in range(50000):\n        value = [value]\n    return value\n",
            ),
            ("list in itself", "loop()", "def loop():\n    value = []\n    value.append(value)\n    return value\n"),
            (
                "deep dict",
                "deep()",
                "def deep():\n    value = {}\n    for _ in range(50000):\n        value = {'a': value}\n"
                "    return value\n",
            ),
            ("long string", "'x' * 10**7", ""),
            ("long list", "[0] * 10**6", ""),
            ("great integer", "10 ** 10**4", ""),
            ("greater integer", "1 << 3 * 10**6", ""),
            ("NaN", "float('nan')", ""),
            ("infinity", "[float('-inf')]", ""),
            ("lone surrogate", "'\\ud800'", ""),
            ("lone surrogate in a key", "{'\\udfff': 1}", ""),
        )
    ),
]

RAW = "import os\ndef say(data):\n    while data:\n        data = data[os.write(3, data):]\n"
"""Writes to the channel on which the sandbox reports; what stands there is hostile text like all else."""

REPORTS = [
    *(
        body(row, name, f"say({report})\nos._exit(0)", UNFINISHED, before=RAW, inputs=(2, 3, 4))
        for row, name, report in (
            (34, "fewer results", "b'done\\n4\\n9\\n'"),
            (34, "more results", "b'done\\n4\\n9\\n16\\n25\\n'"),
            (34, "two reports", "b'done\\n4\\n9\\n16\\ndone\\n4\\n9\\n16\\n'"),
            (34, "no end of line", "b'done\\n4\\n9\\n16'"),
            (34, "blank line", "b'done\\n4\\n9\\n\\n'"),
            (34, "nothing", "b''"),
            (34, "only done", "b'done\\n'"),
            (34, "a verdict", "b'PASS\\n4\\n9\\n16\\n'"),
            (34, "sealed again", "b'sealed\\ndone\\n4\\n9\\n16\\n'"),
            (34, "our own failure", "b'trouble\\n\"the machine failed\"\\n'"),
            (34, "idleness", "b'idle\\n\"waited\"\\n'"),
            (34, "no reason", "b'runtime_error\\n{}\\n'"),
            (34, "one array", "b'done\\n[4,9,16]\\n'"),
            (34, "endless report", "bytes(2**26)"),
            (32, "a pickle", "b'done\\n' + 3 * b'cos\\nsystem\\n(Vtrue\\ntR.\\n'"),
            (32, "a binary pickle", "b'\\x80\\x04\\x95' + bytes(64) + b'\\n'"),
            *(
                (33, f"raw {name}", f"b'done\\n4\\n9\\n' + {value} + b'\\n'")
                for name, value in (
                    ("depth", "b'[' * 15000"),
                    ("closed depth", "b'[' * 8000 + b']' * 8000"),
                    ("length", "b'1' * 10**7"),
                    ("digits", "b'1' * 16000"),
                    ("NaN", "b'NaN'"),
                    ("infinity", "b'-Infinity'"),
                    ("overflow", "b'1e999'"),
                    ("exponent", "b'16e0'"),
                    ("negative zero", "b'-0'"),
                    ("leading zero", "b'016'"),
                    ("duplicate keys", 'b\'{"a":1,"a":2}\''),
                    ("lone surrogate", "b'\"' + bytes([92]) + b'ud800\"'"),
                    ("invalid UTF-8", "b'\"\\xff\"'"),
                    ("byte order mark", "b'\\xef\\xbb\\xbf16'"),
                    ("blanks", "b' 16'"),
                    ("carriage return", "b'16\\r'"),
                    ("NUL", "b'16\\0'"),
                    ("trailing text", "b'16 16'"),
                    ("Python literal", "b'True'"),
                )
            ),
        )
    ),
    # As good as returning them: whoever compares finds other values than asked for.
    body(
        34,
        "reordered results",
        "say(b'done\\n16\\n9\\n4\\n')\nos._exit(0)",
        FOUND_NOTHING,
        before=RAW,
        inputs=(2, 3, 4),
        values=(16, 9, 4),
    ),
    body(34, "results before the end", "say(b'done\\n4\\n9\\n16\\n')\nreturn 0", UNFINISHED, before=RAW),
    body(34, "closed channel", "os.close(3)\nreturn x", UNFINISHED | STOPPED, before=RAW),
    body(34, "another channel", "os.dup2(1, 3)\nreturn x", UNFINISHED, before=RAW),
]

GAMES = [
    body(
        31,
        name,
        f"{patch}\nreturn x * x",
        FOUND_NOTHING | STOPPED | UNFINISHED | NO_VALUE | DIED,
        values=(9,),
    )
    for name, patch in (
        ("print", "import builtins\nbuiltins.print = lambda *a, **k: None"),
        (
            "json",
            "import json\njson.dumps = lambda *a, **k: '[0]'\njson.JSONEncoder.encode = lambda *a: '[0]'\n"
            "json.encoder.c_make_encoder = None",
        ),
        ("stdout", "import io, sys\nsys.stdout = sys.__stdout__ = sys.stderr = io.StringIO()"),
        ("no stdout", "import sys\ndel sys.stdout, sys.stderr, sys.__stdout__"),
        (
            "types",
            "import builtins\nbuiltins.type = lambda _: int\nbuiltins.isinstance = lambda *_: True\n"
            "builtins.int = builtins.len = builtins.repr = lambda *_: 0",
        ),
        ("no builtins", "import builtins\nfor name in list(vars(builtins)):\n    delattr(builtins, name)"),
        ("compile", "import builtins\nbuiltins.compile = builtins.exec = builtins.eval = lambda *_: None"),
        ("signals", "import signal\nfor n in (2, 10, 12, 14, 15):\n    signal.signal(n, lambda *_: 0)"),
        ("os", "import os\nos.write = os.read = os._exit = os.close = lambda *_: 0"),
        ("modules", "import sys\nsys.modules.clear()"),
        ("trace", "import sys\nsys.settrace(lambda *_: None)\nsys.setprofile(lambda *_: None)"),
        (
            "caller's frame",
            "import sys\nframe = sys._getframe()\nwhile frame:\n"
            "    frame.f_globals.clear() if frame.f_back else None\n    frame = frame.f_back",
        ),
        ("recursion limit", "import sys\nsys.setrecursionlimit(50)"),
        ("closed output", "import os\nos.close(1)\nos.close(2)"),
        ("garbage collector", "import gc\ngc.freeze()\ngc.set_threshold(1)"),
    )
]

FRAMES = [
    body(
        30,
        "frames",
        """
        import sys
        hits, frame = [], sys._getframe()
        while frame:
            hits += search(repr((frame.f_locals, frame.f_globals)).encode(errors="replace"))
            frame = frame.f_back
        return hits
        """,
        FOUND_NOTHING,
        before=SEARCH,
        values=([],),
    ),
    body(
        30,
        "all objects",
        """
        import gc
        hits = []
        for item in gc.get_objects():
            if type(item) in (dict, list, tuple, set):
                for inner in list(item.values()) if type(item) is dict else list(item):
                    if type(inner) in (str, bytes):
                        hits += search(inner if type(inner) is bytes else inner.encode(errors="replace"))
        return hits
        """,
        FOUND_NOTHING,
        before=SEARCH,
        values=([],),
    ),
    body(
        30,
        "traceback",
        """
        import inspect
        hits = []
        try:
            raise ValueError
        except ValueError as error:
            trace = error.__traceback__
            for record in inspect.getouterframes(trace.tb_frame):
                hits += search(repr(record.frame.f_locals).encode(errors="replace"))
        return hits
        """,
        FOUND_NOTHING,
        before=SEARCH,
        values=([],),
    ),
    body(
        30,
        "stored memory of the heap",
        """
        import ctypes, gc
        hits = []
        for item in gc.get_objects():
            hits += search(ctypes.string_at(id(item), 64))
        return hits
        """,
        FOUND_NOTHING,
        before=SEARCH,
        values=([],),
    ),
]

BOMBS_LATER = [
    body(
        37,
        "fork later",
        "import os\nif x == 4:\n    return os.fork() or os._exit(0)\nreturn x * x",
        STOPPED,
        inputs=(2, 3, 4),
    ),
    body(37, "loop later", "while x == 4:\n    pass\nreturn x * x", SPENT, inputs=(2, 3, 4)),
    body(37, "object later", "return object() if x == 4 else x * x", NO_VALUE, inputs=(2, 3, 4)),
    body(37, "crash later", "import os\nreturn os.abort() if x == 4 else x * x", DIED, inputs=(2, 3, 4)),
    body(37, "flood later", "while x == 4:\n    print('x' * 1000)\nreturn x * x", FLOOD, inputs=(2, 3, 4)),
    # Each is run twice: what one run leaves must not meet the next.
    *(
        body(37, f"second run by {name}", lines, FOUND_NOTHING, values=(0,), before="import os, random, sys\n")
        for name, lines in (
            ("module", "seen = getattr(random, 'seen', 0)\nrandom.seen = 1\nreturn seen"),
            ("modules", "seen = int(MARK in sys.modules)\nsys.modules[MARK] = os\nreturn seen"),
            (
                "working folder",
                "try:\n    os.mkdir(MARK)\nexcept OSError:\n    return int(os.path.exists(MARK))\nreturn 0",
            ),
            ("environment", "seen = int(MARK in os.environ)\nos.environ[MARK] = '1'\nreturn seen"),
        )
    ),
]

ATTACKS = [
    *FORKS,
    *THREADS,
    *MEMORY,
    *DISK,
    *OUTPUT,
    *TIME,
    *CRASHES,
    *SECRETS,
    *MEMORY_OF_OTHERS,
    *HOSTS_FILES,
    *NETWORK,
    *SIGNALS,
    *WRITES,
    *EXECUTION,
    *NAMESPACES,
    *EXITS,
    *PRINTS,
    *VALUES,
    *REPORTS,
    *GAMES,
    *FRAMES,
    *BOMBS_LATER,
]
"""All that end by themselves soon; see `IDLE` for those that do not."""
