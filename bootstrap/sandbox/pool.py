"""The sandbox as the rest of the program sees it: jobs in, outcomes out.

    with Sandbox() as sandbox:
        [outcome] = sandbox.run([ScriptJob(code="print(6 * 7)")])

Left out: supervision of zygotes (`supervisor`) and the rules for jobs (`policy`).
"""

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType

from bootstrap.errors import SandboxUnavailable
from bootstrap.sandbox import landlock, linux
from bootstrap.sandbox.bpf import compile_policy
from bootstrap.sandbox.job import CallJob, Ending, Job, Level, Limits, Outcome, TrustedJob
from bootstrap.sandbox.judge import Traces, encode_payload
from bootstrap.sandbox.launch import Setup
from bootstrap.sandbox.policy import Policy
from bootstrap.sandbox.supervisor import Supervisor, Task

DECIDING_MODULES = tuple(
    f"{__package__}.{name}"
    for name in (
        *("bpf", "confine", "job", "judge", "kernel", "landlock", "launch", "linux", "policy", "pool", "runner"),
        *("stand_ins", "supervisor", "wire", "zygote"),
    )
)
"""All modules that decide how a job ends, for the versions of verifiers; the imports above load each of them."""


class _Batch:
    """The jobs of one call of `run`."""

    def __init__(self, size: int) -> None:
        self.outcomes: list[Outcome | None] = [None] * size
        self.left = size
        self.done = threading.Event()

    def settle(self, index: int, outcome: Outcome, _: Traces | None = None) -> None:
        self.outcomes[index] = outcome
        self.left -= 1
        if not self.left:
            self.done.set()


class Sandbox:
    """Runs hostile programs and returns their outcomes; thread-safe. Close it, or use it as a context manager."""

    def __init__(
        self,
        *,
        processes: int = 2,
        min_level: Level = Level.SEAL,
        level: Level | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        preload: Sequence[str] = (),
        policy: Policy = Policy(),  # noqa: B008 - frozen
    ) -> None:
        """Start the zygotes and probe them.

        `level`: exactly this one; None: the strongest that withstands the probe attacks. `passed_over` then maps the
        stronger levels to why they do not hold here. `preload`: modules that a `TrustedJob` may call into. `policy`:
        for tests of the policy itself.

        Raises SandboxUnavailable when no level from `min_level` up withstands the probes.
        """
        assert processes > 0
        self.level = Level.REFUSE
        self.passed_over: dict[Level, str] = {}
        self.limits = limits
        self._setup = Setup(limits=limits, preload=tuple(preload), policy=policy)
        self._processes = processes
        self._supervisor: Supervisor | None = None
        candidates = [level] if level else sorted(Level, key=lambda each: each.rank, reverse=True)
        candidates = [each for each in candidates if each.rank >= min_level.rank]
        if not candidates:
            raise SandboxUnavailable(
                f"level {level} is below the least acceptable one, {min_level}; ask for {min_level} or a stronger level"
            )
        for candidate in candidates:
            if candidate is Level.REFUSE:
                return
            reason = self._open(candidate)
            if not reason:
                return
            self.passed_over[candidate] = reason
        reasons: dict[str, list[str]] = {}
        for candidate, reason in self.passed_over.items():
            reasons.setdefault(reason, []).append(candidate.value)
        named = "; ".join(f"{', '.join(levels)}: {reason}" for reason, levels in reasons.items())
        raise SandboxUnavailable(
            f"model-written code cannot be confined here as this run demands ({named}); "
            "see to what is named, accept a weaker level, or use a recipe without code tasks"
        )

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Return the outcome of each job, in order; up to `processes` of them run at once.

        Raises SandboxUnavailable when a zygote no longer withstands the probes, and ValueError for inputs that are not
        JSON. At level `refuse` every outcome is TROUBLE.
        """
        if self._supervisor is None:
            return [Outcome(ending=Ending.TROUBLE, detail="nothing runs at level refuse") for _ in jobs]
        batch = _Batch(len(jobs))
        tasks = []
        for index, job in enumerate(jobs):
            settle = partial(batch.settle, index)
            made = self._make_task(job, settle)
            if isinstance(made, Outcome):
                settle(made)
            else:
                tasks.append(made)
        if tasks:
            self._supervisor.submit(tasks)
            # The jobs' wall limits bound this wait: the supervisor enforces them and settles every task before it ends.
            while not batch.done.wait(timeout=1.0) and self._supervisor.is_alive:
                pass
        if self._supervisor.failure:
            raise SandboxUnavailable(
                f"the sandbox no longer holds at level {self.level}: {self._supervisor.failure}; "
                "nothing more runs in it; see to what is named and start again"
            )
        return [
            outcome or Outcome(ending=Ending.TROUBLE, detail="the sandbox was closed", level=self.level)
            for outcome in batch.outcomes
        ]

    def close(self) -> None:
        """End the zygotes and everything in them; unfinished jobs end as TROUBLE. May be called again."""
        if self._supervisor is not None:
            self._supervisor.close()

    def _make_task(self, job: Job, settle: Callable[..., None]) -> Task | Outcome:
        if isinstance(job, TrustedJob):
            module = job.function.partition(":")[0]
            assert module in self._setup.preload, f"{module} is not preloaded"
            content = {"function": job.function, "arguments": dict(job.arguments)}
            return Task("trusted", self.limits, encode_payload(content), 1, settle)
        try:
            size = len(job.code.encode("utf-8"))
        except UnicodeEncodeError:
            return self._format("the program is no valid text")
        if size > self.limits.code_bytes:
            return self._format(f"more than {self.limits.code_bytes} bytes of code")
        if isinstance(job, CallJob):
            assert job.inputs, "a program that is called on nothing proves nothing"
            inputs = [[list(positional), dict(named)] for positional, named in job.inputs]
            content = {"code": job.code, "function": job.function, "inputs": inputs, "python": job.python}
            limits = self._widened(job.patience, value_bytes=job.value_bytes, depth=job.depth)
            return Task("call", limits, encode_payload(content), len(inputs), settle)
        limits = self._widened(job.patience, output_bytes=job.output_bytes)
        stdin = job.stdin.encode("utf-8", "surrogateescape")
        return Task("script", limits, encode_payload({"code": job.code}), None, settle, stdin=stdin)

    def _widened(self, patience: int, **wanted: int) -> Limits:
        """Return the pool's limits with `patience` times the CPU time and the others at least as wanted.

        Raised limits are powers of two, so that few distinct ones occur.
        """
        wider = {
            name: 1 << (size - 1).bit_length() for name, size in wanted.items() if size > getattr(self.limits, name)
        }
        return replace(self.limits, cpu_seconds=patience * self.limits.cpu_seconds, **wider)

    def _format(self, detail: str) -> Outcome:
        return Outcome(ending=Ending.FORMAT, detail=detail, level=self.level)

    def _open(self, level: Level) -> str:
        """Start the supervisor at a level; return "" or why the level cannot be used."""
        try:
            linux.require_linux()
            landlock.abi()
            if not os.path.exists("/proc/self/fdinfo"):
                return "there is no /proc, by which running programs are watched; mount it"
            compile_policy(self._setup.policy, linux.architecture())
            if self.limits.scratch_bytes and level is not Level.BWRAP:
                return "it has no working folder that can be written (limits.scratch_bytes), which takes level bwrap"
        except SandboxUnavailable as error:
            return str(error)
        supervisor = Supervisor(self._setup, level, processes=self._processes)
        if supervisor.failure:
            supervisor.close()
        else:
            self.level = level
            self._supervisor = supervisor
        return supervisor.failure
