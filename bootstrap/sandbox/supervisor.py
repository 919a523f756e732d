"""The one thread that supervises the zygotes: it starts and probes them, feeds jobs, watches limits and kills.

    submit() in any thread --tasks--> supervisor thread --job's kind, descriptors--> zygote --fork--> sealed child
                          <--settle--                   <--pidfd, status, CPU time--
                          <-----------"sealed", then report, output---------- child
                          ------------code, inputs, once it is sealed-------->

Who waits for whom, and for how long:

| waits | for | at most |
|---|---|---|
| supervisor | any event | the next look at a running job |
| zygote | its child's end | until the supervisor kills the child |
| supervisor | a zygote's word of its child's start or end | `SILENCE_SECONDS` from the wall limit or the kill |
| a new zygote's slot | the probe attacks | `STARTUP_SECONDS` |
| a job that a busy machine held up | all running jobs, so as to run alone | their wall limits |

This thread starts the zygotes (the kernel kills them when it ends), owns every descriptor and takes every decision. So
only the eventfd that wakes it needs a lock: other threads write there, and its number must not be another file's by
then. A child is killed through its pidfd, never by pid.

Left out: the rules for a sealed child (`policy`), and the outcome of its traces (`judge`).
"""

import json
import os
import selectors
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial

from bootstrap.errors import SandboxUnavailable
from bootstrap.sandbox import kernel
from bootstrap.sandbox.attacks import BREACHED, PROBE_CPU_SECONDS, Attack, Targets
from bootstrap.sandbox.job import Ending, Level, Limits, Outcome
from bootstrap.sandbox.judge import Judgement, Traces, encode_payload, judge
from bootstrap.sandbox.launch import Setup, Zygote, start_zygote
from bootstrap.sandbox.policy import THREAD_LIMIT
from bootstrap.sandbox.zygote import MAX_SCRATCH_FILES, MESSAGE_BYTES

STARTUP_SECONDS = 60.0
"""Bound on a zygote's start: to load its modules and withstand the probes on a busy machine."""
FIRST_LOOK = 0.02
"""Seconds until the first look at a running job; most have ended by then."""
LONGEST_LOOK = 0.05
SILENCE_SECONDS = 10.0
"""A zygote that owes an answer for so long has stalled and is replaced."""
CHUNK = 64 * 2**10
ASLEEP_SHARE = 0.02
"""A job that was ready to run for at most this share of its time slept all along."""
WAITING_SHARE = 0.5
"""A job that was ready to run for less than this share of its time waited of its own accord."""


@dataclass(slots=True)
class Task:
    """A job that is not settled yet."""

    kind: str
    """`call`, `script` or `trusted`."""
    limits: Limits
    payload: bytes
    """The child's first input: see `judge.encode_payload`."""
    num_values: int | None
    """Values owed; None for a script."""
    settle: Callable[[Outcome, Traces | None], None]
    """Called once, in the supervisor's thread, with the outcome and the traces behind it."""
    stdin: bytes = b""
    """A script's standard input."""
    may_retry: bool = True
    was_stuck: bool = False
    """It hit its wall limit once."""
    runs_alone: bool = False
    """No other job may run at the same time."""
    had_trouble: bool = False


@dataclass(slots=True)
class _Run:
    """A task that runs in a child."""

    task: Task
    traces: Traces
    unsent: memoryview
    started: float
    next_look: float
    answer_by: float
    """When the zygote counts as dead without news of the child."""
    fds: dict[str, int] = field(default_factory=dict)
    """This side's ends: `job`, `stdout`, `stderr`, `report`; and `pidfd` once the child is forked."""
    pid: int = 0
    """The child's pid as this process sees it; 0 until the first look."""
    is_killed: bool = False
    was_ready: float | None = None
    """Share of its time in which it was ready to run, once it hit its wall limit; None if unknown."""


@dataclass(slots=True)
class _Slot:
    """A zygote, with room for one child at a time."""

    zygote: Zygote
    targets: Targets
    deadline: float
    is_up: bool = False
    """Its zygote has said hello."""
    is_proven: bool = False
    """Its zygote has withstood the probes."""
    probes: deque[Attack] = field(default_factory=deque)
    asked_for_signals: bool = False
    run: _Run | None = None


class Supervisor:
    """The zygotes of one level, with their thread."""

    def __init__(self, setup: Setup, level: Level, *, processes: int) -> None:
        """Start the zygotes and probe them; `failure` is then "" or why they cannot be used."""
        self.failure = ""
        self._setup = setup
        self._level = level
        self._processes = processes
        self._inbox: deque[Task] = deque()
        self._alone: deque[Task] = deque()
        self._slots: list[_Slot] = []
        self._is_stopping = False
        self._requests: dict[tuple[str, Limits], bytes] = {}
        self._started = threading.Event()
        self._wakeup_lock = threading.Lock()
        self._is_wakeup_closed = False
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._live, name="sandbox-supervisor", daemon=True)
        self._thread.start()
        self._started.wait()

    @property
    def is_alive(self) -> bool:
        """Whether tasks can still be settled."""
        return self._thread.is_alive()

    def submit(self, tasks: Iterable[Task]) -> None:
        """Hand over tasks, from any thread."""
        self._inbox.extend(tasks)
        self._wake()  # no effect when closed meanwhile: the caller sees `is_alive`

    def close(self) -> None:
        """End zygotes, children and the thread; unsettled tasks end as TROUBLE. May be called again."""
        self._is_stopping = True
        self._wake()
        self._thread.join()
        with self._wakeup_lock:
            if not self._is_wakeup_closed:
                self._is_wakeup_closed = True
                os.close(self._wakeup)

    def _wake(self) -> None:
        with self._wakeup_lock:
            if not self._is_wakeup_closed:
                os.eventfd_write(self._wakeup, 1)

    # Life

    def _live(self) -> None:
        try:
            self._selector.register(self._wakeup, selectors.EVENT_READ, self._on_wakeup)
            for _ in range(self._processes):
                self._slots.append(self._make_slot())
            while not self._is_stopping and not self.failure:
                self._dispatch()
                for key, _ in self._selector.select(self._patience()):
                    # An earlier event of the same round may have closed what a later one is about.
                    if self._selector.get_map().get(key.fd) is key:
                        key.data()
                self._look_around()
                if all(slot.is_proven for slot in self._slots):
                    self._started.set()
        except SandboxUnavailable as error:
            self.failure = str(error)
        finally:
            if not self._is_stopping and not self.failure:
                self.failure = "the sandbox's own thread failed; its traceback says why"
            self._end()

    def _end(self) -> None:
        for slot in self._slots:
            if slot.run:
                run, slot.run = slot.run, None
                self._kill(run)
                self._close_run(run)
                self._inbox.append(run.task)
            slot.zygote.end()
            slot.targets.close()
        self._selector.close()
        for task in (*self._alone, *self._inbox):
            self._settle(task, Judgement(Ending.TROUBLE, "the sandbox was closed"))
        self._started.set()

    def _fail(self, reason: str) -> None:
        self.failure = self.failure or reason

    def _on_wakeup(self) -> None:
        os.eventfd_read(self._wakeup)

    def _patience(self) -> float:
        moments = [slot.run.next_look for slot in self._slots if slot.run]
        moments += [slot.deadline for slot in self._slots if not slot.is_proven]
        return max(0.0, min(moments) - time.monotonic()) if moments else 3600.0

    # Zygotes and their probes

    def _make_slot(self) -> _Slot:
        try:
            targets = Targets()
        except (OSError, UnicodeError) as error:
            cause = getattr(error, "strerror", None) or error
            raise SandboxUnavailable(
                f"its probes cannot plant files in the folder for temporary files: {cause}; name another, short and "
                "writable, in TMPDIR"
            ) from None
        try:
            zygote = start_zygote(self._setup, self._level)
        except SandboxUnavailable:
            targets.close()
            raise
        slot = _Slot(zygote, targets, deadline=time.monotonic() + STARTUP_SECONDS)
        self._selector.register(zygote.control, selectors.EVENT_READ, partial(self._on_zygote, slot))
        return slot

    def _on_zygote(self, slot: _Slot) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(slot.zygote.control, MESSAGE_BYTES, 1)
        except ConnectionError:
            data, fds = b"", []
        if not data:
            self._on_zygote_death(slot)
            return
        message = json.loads(data)
        if "hello" in message:
            slot.is_up = True
            slot.probes.extend(slot.targets.attacks(self._setup.limits, pool_pid=os.getpid()))
        elif "pending" in message:
            if message["pending"]:
                self._fail("the probe attack `signal the zygote` succeeded")
            slot.is_proven = True
            slot.targets.close()
        elif "forked" in message:
            assert slot.run
            slot.run.fds["pidfd"] = fds[0]
            if slot.run.is_killed:
                self._kill(slot.run)
        else:
            assert slot.run
            if message["too_many_files"]:
                self._stop(slot.run, Ending.OUTPUT_LIMIT, f"more than {MAX_SCRATCH_FILES} files")
            self._on_exit(slot, message["exited"], message["cpu"])

    def _on_zygote_death(self, slot: _Slot, how: str = "the zygote died") -> None:
        self._selector.unregister(slot.zygote.control)
        run, slot.run = slot.run, None
        if run:
            # The kernel kills the child with its zygote; this is to be sure.
            self._kill(run)
            self._close_run(run)
        said = slot.zygote.end()
        slot.targets.close()
        self._slots.remove(slot)
        if slot.is_proven:
            self._slots.append(self._make_slot())
            if run:
                self._retry_or_settle(run, Judgement(Ending.TROUBLE, how))
        else:
            self._fail(f"its processes cannot start: {said or how}")
            if run:
                self._settle(run.task, Judgement(Ending.TROUBLE, how))

    def _probe(self, slot: _Slot) -> None:
        if slot.probes:
            attack = slot.probes.popleft()
            limits = replace(self._setup.limits, cpu_seconds=PROBE_CPU_SECONDS)
            payload = encode_payload({"code": attack.code})
            settle = partial(self._on_probed, slot, attack)
            self._launch(slot, Task("script", limits, payload, None, settle, may_retry=False))
        elif not slot.asked_for_signals:
            slot.asked_for_signals = True
            self._tell(slot, b'{"kind": "signals"}')

    def _on_probed(self, slot: _Slot, attack: Attack, outcome: Outcome, traces: Traces | None) -> None:
        said = bytes(traces.stdout) if traces else b""
        if BREACHED.encode() in said or slot.targets.secret.encode() in said or not attack.is_withstood():
            self._fail(f"the probe attack `{attack.name}` succeeded")
        elif outcome.ending not in attack.expected:
            self._fail(f"the probe attack `{attack.name}` ended as {outcome.ending} ({outcome.detail})")

    # Runs

    def _dispatch(self) -> None:
        running = [slot.run for slot in self._slots if slot.run]
        if any(run.task.runs_alone for run in running):
            return
        for slot in self._slots:
            if slot.run or not slot.is_up:
                continue
            if not slot.is_proven:
                self._probe(slot)
            elif self._alone:
                if not any(other.run for other in self._slots):
                    self._launch(slot, self._alone.popleft())
                    return
            elif self._inbox:
                self._launch(slot, self._inbox.popleft())

    def _launch(self, slot: _Slot, task: Task) -> None:
        now = time.monotonic()
        run = slot.run = _Run(
            task,
            Traces(task.num_values),
            memoryview(task.payload),
            started=now,
            next_look=now + FIRST_LOOK,
            answer_by=now + task.limits.wall_seconds + SILENCE_SECONDS,
        )
        theirs = []
        for name in ("job", "stdout", "stderr", "report"):
            if name == "stderr" and task.kind != "script":
                # A function's output is counted and thrown away, so one pipe takes both.
                theirs.append(theirs[-1])
                continue
            reading, writing = os.pipe()
            ours, other = (writing, reading) if name == "job" else (reading, writing)
            os.set_blocking(ours, False)
            run.fds[name] = ours
            theirs.append(other)
            if name != "job":
                self._selector.register(ours, selectors.EVENT_READ, partial(self._receive, run, name))
        # A function's standard input is the rest of its job: nothing.
        theirs.append(kernel.file_of(task.stdin) if task.kind == "script" else theirs[0])
        key = (task.kind, task.limits)
        if key not in self._requests:
            request = {"kind": task.kind, "limits": asdict(task.limits)}
            self._requests[key] = json.dumps(request).encode("ascii")
        self._tell(slot, self._requests[key], theirs)
        for fd in set(theirs):
            os.close(fd)

    def _tell(self, slot: _Slot, message: bytes, fds: Iterable[int] = ()) -> None:
        # The next reading finds out that a zygote has died.
        with suppress(ConnectionError):
            socket.send_fds(slot.zygote.control, [message], list(fds))

    def _feed(self, run: _Run, *, is_registered: bool = True) -> None:
        fd = run.fds["job"]
        try:
            while run.unsent:
                run.unsent = run.unsent[os.write(fd, run.unsent) :]
        except BlockingIOError:
            if not is_registered:
                self._selector.register(fd, selectors.EVENT_WRITE, partial(self._feed, run))
            return
        except BrokenPipeError:
            pass  # the child ended before it read everything
        if is_registered:
            self._selector.unregister(fd)
        os.close(run.fds.pop("job"))

    def _receive(self, run: _Run, name: str) -> None:
        try:
            data = os.read(run.fds[name], CHUNK)
        except BlockingIOError:
            return
        limits, traces = run.task.limits, run.traces
        if name == "report":
            was_sealed = traces.is_sealed
            traces.report += data
            if traces.is_sealed and not was_sealed:
                # Not earlier: a program can open its own pipes for reading and take unread bytes out of them.
                self._feed(run, is_registered=False)
            if len(traces.report) > traces.report_room(limits):
                self._stop(run, Ending.PROTOCOL, "the report is too long")
        elif name == "stdout" and len(traces.stdout) <= limits.output_bytes:
            traces.stdout += data
        else:
            traces.num_error_bytes += len(data)
        if len(traces.stdout) + traces.num_error_bytes > limits.output_bytes:
            self._stop(run, Ending.OUTPUT_LIMIT, f"more than {limits.output_bytes} bytes of output")
        if not data or run.is_killed:
            self._close_fd(run, name)

    def _stop(self, run: _Run, ending: Ending, detail: str) -> None:
        """Kill a run for a reason; the first reason stands."""
        run.traces.killed = run.traces.killed or (ending, detail)
        self._kill(run)

    def _kill(self, run: _Run) -> None:
        run.is_killed = True
        run.answer_by = time.monotonic() + SILENCE_SECONDS
        if "pidfd" in run.fds:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(run.fds["pidfd"], signal.SIGKILL)

    def _close_fd(self, run: _Run, name: str) -> None:
        fd = run.fds.pop(name)
        if fd in self._selector.get_map():
            self._selector.unregister(fd)
        os.close(fd)

    def _close_run(self, run: _Run) -> None:
        for name in list(run.fds):
            self._close_fd(run, name)

    def _on_exit(self, slot: _Slot, status: int, cpu_seconds: float) -> None:
        run, slot.run = slot.run, None
        assert run
        for name in ("stdout", "stderr", "report"):
            # The pipes hold everything that it wrote; nothing waits for their end, which another holder could delay.
            while name in run.fds:
                before = len(run.traces.report), len(run.traces.stdout), run.traces.num_error_bytes
                self._receive(run, name)
                if before == (len(run.traces.report), len(run.traces.stdout), run.traces.num_error_bytes):
                    break
        self._close_run(run)
        run.traces.status = status
        run.traces.cpu_seconds = cpu_seconds
        judgement = judge(run.traces, run.task.limits)
        if judgement.ending is Ending.IDLE:
            if not run.task.was_stuck and run.task.may_retry:
                run.task.was_stuck = True
                # A program that slept all along needs no quiet machine, and must not hold up the others.
                run.task.runs_alone = run.was_ready is None or run.was_ready > ASLEEP_SHARE
                (self._alone if run.task.runs_alone else self._inbox).append(run.task)
                return
            if run.was_ready is None or run.was_ready >= WAITING_SHARE:
                judgement = Judgement(Ending.TROUBLE, "the machine did not get round to it, twice")
        self._retry_or_settle(run, judgement)

    def _retry_or_settle(self, run: _Run, judgement: Judgement) -> None:
        task = run.task
        if judgement.ending is Ending.TROUBLE and task.may_retry and not task.had_trouble and not task.was_stuck:
            task.had_trouble = True
            self._inbox.appendleft(task)
        else:
            self._settle(task, judgement, run)

    def _settle(self, task: Task, judgement: Judgement, run: _Run | None = None) -> None:
        is_done = judgement.ending is Ending.DONE
        text = run.traces.stdout.decode("utf-8", "replace") if run and is_done and task.kind == "script" else ""
        outcome = Outcome(
            ending=judgement.ending,
            values=judgement.values,
            stdout=text,
            detail=judgement.detail,
            cpu_seconds=run.traces.cpu_seconds if run else 0.0,
            wall_seconds=time.monotonic() - run.started if run else 0.0,
            level=self._level,
        )
        task.settle(outcome, run.traces if run else None)

    # Watching

    def _look_around(self) -> None:
        now = time.monotonic()
        for slot in list(self._slots):  # one whose zygote has stalled is replaced meanwhile
            if slot.run and slot.run.answer_by <= now:
                self._on_zygote_death(slot, f"the zygote said nothing for {SILENCE_SECONDS:g} s")
                continue
            if slot.run and slot.run.next_look <= now:
                self._look(slot.run, now)
            if not slot.is_proven and slot.deadline <= now:
                self._fail(f"its processes did not withstand the probes within {STARTUP_SECONDS:g} s")

    def _look(self, run: _Run, now: float) -> None:
        run.next_look = now + LONGEST_LOOK
        if "pidfd" not in run.fds or run.is_killed:
            return
        run.pid = run.pid or kernel.number_of(run.fds["pidfd"])
        limits = run.task.limits
        used, num_threads = kernel.usage(run.pid)
        if used > limits.cpu_seconds:
            self._stop(run, Ending.CPU_LIMIT, f"more than {limits.cpu_seconds:g} s of CPU time")
        elif num_threads > THREAD_LIMIT:
            self._stop(run, Ending.ERROR, f"more than {THREAD_LIMIT} threads")
        elif now - run.started > limits.wall_seconds:
            if kernel.has_ended(run.fds["pidfd"]):
                return  # it kept its limit, and only the zygote's word is due
            run.was_ready = kernel.readiness(run.pid, used, now - run.started)
            self._stop(run, Ending.IDLE, f"waited without using its CPU time for {limits.wall_seconds:g} s")
        else:
            # The CPU limit cannot be reached sooner than this.
            soonest = (limits.cpu_seconds - used) / (os.cpu_count() or 1)
            run.next_look = now + min(LONGEST_LOOK, max(soonest, 0.002))
