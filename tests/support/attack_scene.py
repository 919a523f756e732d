"""What the attacks are aimed at, all of it planted by the test itself, and the evidence of what they did to it.

A `Scene` plants secrets (in the environment, in files, in an open descriptor, in this process's memory), canary files,
listeners on loopback and unix addresses, and a process to be attacked. `Scene.assert_intact` looks at each from outside
the sandbox: nothing here believes what an attack says of itself.
"""

import contextlib
import ctypes
import hashlib
import os
import random
import resource
import secrets
import select
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import bootstrap

PR_SET_CHILD_SUBREAPER = 36
IPC_RMID = 0
LIBC = ctypes.CDLL(None, use_errno=True)


def secret() -> str:
    """Return a secret as attacks look for it: `PLANTED-` and 32 hexadecimal digits."""
    return f"PLANTED-{secrets.token_hex(16)}"


class Scene:
    """One set of targets in `folder`; use as a context manager, around the creation of the sandbox under attack."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = f"planted-{secrets.token_hex(8)}"
        """Part of the name of everything an attack tries to leave behind."""
        self.ipc_key = int(secrets.token_hex(3), 16) + 1
        """Key of the System V objects that attacks try to make."""
        self.secrets = {kind: secret() for kind in ("environment", "file", "token", "checkpoint", "answers", "fd")}
        self.answer = [secret()]
        """In this process's memory alone, as an expected answer would be."""
        self.listeners: dict[str, socket.socket] = {}
        self.stack = contextlib.ExitStack()

    def __enter__(self) -> "Scene":
        """Plant everything."""
        self.children = set(children(os.getpid()))
        # Whoever daemonises below this process becomes its child instead of the system's, so that none can hide.
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.stack.callback(LIBC.prctl, PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        self.folder.chmod(0o755)
        self._plant_files()
        self._plant_environment()
        self._plant_descriptors()
        self._listen()
        self.victim = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(900)"])
        self.stack.callback(self.victim.wait)
        self.stack.callback(self.victim.kill)
        self.victim_state = self._victim_state()
        self.own_state = self._own_state()
        self.files = snapshot(self.folder)
        self.library = library_state()
        return self

    def __exit__(self, *_: object) -> None:
        """Take everything away, and what attacks have left too, so that a hole is found and does not last."""
        self.stack.close()
        for pid in set(children(os.getpid())) - self.children:
            # Ended orphans; else they pile up as zombies from one set of targets to the next.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        for path in self._marked():
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        for find, remove in (
            (lambda: LIBC.shmget(self.ipc_key, 0, 0), lambda found: LIBC.shmctl(found, IPC_RMID, None)),
            (lambda: LIBC.msgget(self.ipc_key, 0), lambda found: LIBC.msgctl(found, IPC_RMID, None)),
            (lambda: LIBC.semget(self.ipc_key, 0, 0), lambda found: LIBC.semctl(found, 0, IPC_RMID)),
        ):
            if (found := find()) >= 0:
                remove(found)
        LIBC.mq_unlink(f"/{self.mark}".encode())

    def _plant_files(self) -> None:
        home = self.folder / "home"
        (home / ".cache" / "huggingface").mkdir(parents=True)
        self.paths = {
            "a file of the host": (self.folder / "secret.txt", "file"),
            "a token cache": (home / ".cache" / "huggingface" / "token", "token"),
            "a checkpoint": (self.folder / "model.safetensors", "checkpoint"),
            "the data set with answers": (self.folder / "answers.jsonl", "answers"),
        }
        for path, kind in self.paths.values():
            path.write_text(self.secrets[kind])
        # The canaries stand open to everybody: only the sandbox keeps an attack from them.
        self.canary = self.folder / "canary.txt"
        self.canary.write_text("alive")
        self.canary.chmod(0o666)
        self.canary_folder = self.folder / "canaries"
        self.canary_folder.mkdir()
        self.canary_folder.chmod(0o777)
        (self.canary_folder / "inner.txt").write_text("alive")

    def _plant_environment(self) -> None:
        for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "PLANTED"):
            before = os.environ.get(name)
            os.environ[name] = self.secrets["environment"]
            self.stack.callback(restore, name, before)

    def _plant_descriptors(self) -> None:
        path = self.folder / "fd.txt"
        path.write_text(self.secrets["fd"])
        fd = os.open(path, os.O_RDWR)
        os.set_inheritable(fd, True)
        self.stack.callback(os.close, fd)
        near, far = socket.socketpair()
        far.set_inheritable(True)
        far.send(self.secrets["fd"].encode())
        near.send(self.secrets["fd"].encode())
        for end in (near, far):
            self.stack.enter_context(contextlib.closing(end))

    def _listen(self) -> None:
        self.unix_path = self.folder / "listener.sock"
        self.abstract = f"\0{self.mark}"
        stream, datagram = socket.SOCK_STREAM, socket.SOCK_DGRAM
        addresses: dict[str, tuple[int, int, object]] = {
            "tcp": (socket.AF_INET, stream, ("127.0.0.1", 0)),
            "udp": (socket.AF_INET, datagram, ("127.0.0.1", 0)),
            "unix": (socket.AF_UNIX, stream, str(self.unix_path)),
            "abstract": (socket.AF_UNIX, stream, self.abstract),
            "abstract datagram": (socket.AF_UNIX, datagram, self.abstract + "-datagram"),
        }
        if has_ipv6_loopback():
            addresses["tcp6"] = (socket.AF_INET6, stream, ("::1", 0))
        for name, (family, kind, address) in addresses.items():
            listener = socket.socket(family, kind)
            self.stack.enter_context(contextlib.closing(listener))
            listener.bind(address)
            if kind == stream:
                listener.listen(16)
            self.listeners[name] = listener

    def port(self, name: str) -> int:
        """Return a listener's port; 9 where the machine has no such address."""
        return self.listeners[name].getsockname()[1] if name in self.listeners else 9

    def header(self) -> str:
        """Return the lines that tell an attack where everything is; the secrets themselves are not among them."""
        constants = {
            "MARK": self.mark,
            "IPC_KEY": self.ipc_key,
            "CANARY": str(self.canary),
            "CANARY_FOLDER": str(self.canary_folder),
            "FOLDER": str(self.folder),
            "HOME": str(Path.home()),
            "REPOSITORY": str(Path(bootstrap.__file__).resolve().parents[1]),
            "PATHS": {name: str(path) for name, (path, _) in self.paths.items()},
            "TCP": self.port("tcp"),
            "TCP6": self.port("tcp6"),
            "UDP": self.port("udp"),
            "UNIX": str(self.unix_path),
            "ABSTRACT": self.abstract,
            "PARENT": os.getpid(),
            "VICTIM": self.victim.pid,
        }
        return "".join(f"{name} = {value!r}\n" for name, value in constants.items())

    def hits(self) -> list[str]:
        """Return the listeners that somebody has reached."""
        ready, _, _ = select.select(list(self.listeners.values()), [], [], 0)
        return [name for name, listener in self.listeners.items() if listener in ready]

    def leftovers(self) -> list[str]:
        """Return what attacks left on the host: marked files anywhere, core files, IPC objects with our key or name."""
        found = [str(path) for path in self._marked()]
        found += [f"core file {path}" for path in Path.cwd().glob("core*") if path.is_file()]
        for kind in ("shm", "msg", "sem"):
            table = Path("/proc/sysvipc", kind)
            lines = table.read_text().splitlines()[1:] if table.exists() else []
            found += [f"System V {kind}" for line in lines if int(line.split()[0]) == self.ipc_key]
        queue = LIBC.mq_open(f"/{self.mark}".encode(), os.O_RDONLY)
        if queue >= 0:
            os.close(queue)
            found.append("POSIX message queue")
        return found

    def _marked(self) -> list[Path]:
        """Return the files and folders with the mark, wherever an attack may have put one outside the scene."""
        library = Path(random.__file__).parent
        folders = [Path(name) for name in ("/", "/tmp", "/var/tmp", "/dev", "/dev/shm", "/dev/mqueue", "/run")]
        folders += [Path.cwd(), Path.home(), library, library / "site-packages", library / "__pycache__"]
        folders += [Path("/sys/fs/cgroup")]
        return [path for folder in dict.fromkeys(folders) if folder.is_dir() for path in marked(folder, self.mark)]

    def assert_intact(self) -> None:
        """Assert that no target was touched."""
        assert snapshot(self.folder) == self.files
        assert self.hits() == []
        assert self.leftovers() == []
        assert library_state() == self.library
        assert self.victim.poll() is None
        assert self._victim_state() == self.victim_state
        assert self._own_state() == self.own_state

    def assert_silent(self, text: str) -> None:
        """Assert that no secret is in a text that came out of the sandbox."""
        for kind, value in {**self.secrets, "answer": self.answer[0]}.items():
            assert value not in text, kind

    def _victim_state(self) -> tuple[object, ...]:
        pid = self.victim.pid
        limits = [resource.prlimit(pid, kind) for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_CPU)]
        stopped = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("T", "t")
        tracer = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("TracerPid"))
        return *limits, nice(pid), os.sched_getaffinity(pid), os.sched_getscheduler(pid), stopped, tracer

    def _own_state(self) -> tuple[object, ...]:
        limits = [resource.getrlimit(kind) for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_CPU)]
        return *limits, nice(os.getpid()), os.sched_getaffinity(0), os.sched_getscheduler(0), socket.gethostname()


def restore(name: str, before: str | None) -> None:
    """Put an environment variable back as it was."""
    if before is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = before


def has_ipv6_loopback() -> bool:
    """Return whether ::1 can be bound here."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as trial:
            trial.bind(("::1", 0))
    except OSError:
        return False
    return True


def nice(pid: int) -> int:
    """Return a process's nice value."""
    return os.getpriority(os.PRIO_PROCESS, pid)


def marked(folder: Path, mark: str) -> list[Path]:
    """Return the entries of a folder that carry the mark; none where it cannot be read."""
    with contextlib.suppress(OSError):
        return [folder / name for name in os.listdir(folder) if mark in name]
    return []


def snapshot(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return path -> all that an attack could change about it, for everything below a folder."""
    state = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        state[str(path)] = (
            *(status.st_mode, status.st_uid, status.st_gid, status.st_nlink, status.st_size, status.st_mtime_ns),
            tuple(os.listxattr(path, follow_symlinks=False)),
            content,
        )
    return state


def library_state() -> tuple[object, ...]:
    """Return what changes when somebody writes to a module of the standard library or puts another in its place."""
    status = Path(random.__file__).stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def descendants(root: int) -> dict[int, str]:
    """Return pid -> command line of all living processes below a process (zombies of its own are the system's)."""
    found: dict[int, str] = {}
    waiting = [root]
    while waiting:
        parent = waiting.pop()
        for pid in children(parent):
            with contextlib.suppress(OSError):  # It ended between the listing and the look.
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z" or parent != root:
                    found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    waiting.append(pid)
    return found


def children(pid: int) -> list[int]:
    """Return the processes that any thread of a process has started or adopted."""
    found = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += [int(child) for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split()]
    return found


def wait_for_rest(count: int, *, seconds: float = 60.0) -> dict[int, str]:
    """Return the processes below this one as soon as at most `count` are left, or after some seconds."""
    deadline = time.monotonic() + seconds
    while len(left := descendants(os.getpid())) > count and time.monotonic() < deadline:
        time.sleep(0.005)
    return left


def reset_peak_memory() -> int:
    """Forget this process's peak of resident memory; return what is resident now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def memory(field: str) -> int:
    """Return a field of this process's memory status (`VmRSS`, `VmHWM`), in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024
