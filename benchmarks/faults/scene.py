"""What every fault needs: a tiny lineage, a driver to disturb, and the ledger of an undisturbed one to compare with."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from bootstrap.errors import StoreError
from bootstrap.store.ledger import Ledger
from bootstrap.store.verify import verify

WAIT_SECONDS = 300.0
"""Bound on every wait for a driver."""
NOWHERE = "http://127.0.0.1:9"
"""A tracking server that refuses connections: pages wait in the outbox."""
LINEAGE = "tiny"

_STEP = {
    "type": "rl",
    "rounds": 30,
    "prompts_per_update": 4,
    "group_size": 4,
    "checkpoint_every": 5,
    "distillation": {"batch_size": 8},
}
RECIPE = {
    "name": LINEAGE,
    "task": {"type": "copy", "alphabet": "abc", "base_level": 4, "heldout_fraction": 0.5},
    "base": {
        "model": {"type": "scratch", "hidden_size": 32, "intermediate_size": 48, "num_layers": 2, "num_heads": 2},
        "steps": [
            {
                "type": "sft",
                "updates": 60,
                "batch_size": 32,
                "checkpoint_every": 30,
                "optimizer": {"type": "muon_adamw", "muon_lr": 0.02, "adamw_lr": 0.01},
            }
        ],
    },
    "generations": {"count": 2, "steps": [_STEP]},
    "evaluation": {"prompts_per_level": 40, "lookahead": 1, "sampled": {"prompts": 6, "samples": 4, "k": 2}},
    "gate": {"min_prompts": 10},
    "resources": {"batch_rows": 64},
}
"""Three-symbol copying, two generations of thirty rounds: ten seconds, and a checkpoint every second."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command ended."""

    code: int
    """Exit code; the negative number of the signal that killed it."""
    seconds: float
    text: str
    """Standard output and standard error."""

    @property
    def is_clear(self) -> bool:
        """Whether no traceback was printed."""
        return "Traceback (most recent call last)" not in self.text


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a fault did."""

    kind: str
    """`survived`, `refused`, or what went wrong."""
    ending: Ending
    lost: float | None = None
    """Seconds of work that had to be done again; None where there was none to lose."""
    is_equal: bool | None = None
    """Whether the ledger ends as the undisturbed one; None where nothing was grown."""


def _heed_signals() -> None:
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


class Driver:
    """A `bootstrap` command in a process of its own."""

    def __init__(self, arguments: Sequence[str], *, environment: dict[str, str], injection: str | None) -> None:
        child = ["-m", "bootstrap"] if injection is None else ["-m", "benchmarks.faults.child", injection]
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, *child, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # Whatever started this benchmark may have it ignore them.
            preexec_fn=_heed_signals,
        )

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds. Raises RuntimeError where the command ends before, or the bound is reached."""
        while not condition():
            if self.process.poll() is not None or time.monotonic() - self.started > WAIT_SECONDS:
                raise RuntimeError(f"the driver did not come so far:\n{self.end(signal.SIGKILL).text}")
            time.sleep(0.005)

    def end(self, by: signal.Signals | None = None) -> Ending:
        """Wait until it ends, after sending it a signal if one is given."""
        if by is not None and self.process.poll() is None:
            self.process.send_signal(by)
        try:
            text, _ = self.process.communicate(timeout=WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            text, _ = self.process.communicate()
            text += f"\nkilled by the benchmark: it had not ended after {WAIT_SECONDS:.0f} s"
        return Ending(self.process.returncode, time.monotonic() - self.started, text)


@dataclass(frozen=True)
class Scene:
    """A folder with a recipe, and how to run it."""

    folder: Path
    environment: dict[str, str] = field(
        default_factory=lambda: {**os.environ, "MLFLOW_TRACKING_URI": NOWHERE, "OMP_NUM_THREADS": "1"}
    )

    @cached_property
    def recipe(self) -> Path:
        """The recipe's file; JSON is YAML."""
        path = self.folder / "tiny.yaml"
        path.write_text(json.dumps(RECIPE))
        return path

    @cached_property
    def undisturbed(self) -> Path:
        """A store whose lineage nobody disturbed; copy it before use."""
        store = self.folder / "undisturbed"
        ending = self.grow(store)
        if ending.code:
            raise RuntimeError(f"the undisturbed run failed:\n{ending.text}")
        return store

    @cached_property
    def hashes(self) -> list[str]:
        """The undisturbed ledger."""
        return self.ledger(self.undisturbed)

    def ledger(self, store: Path) -> list[str]:
        """Return the hashes of a store's records."""
        return [entry.hash for entry in Ledger(store / LINEAGE).read()]

    def store(self, name: str) -> Path:
        """Return an empty folder for a store."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        return path

    def copy(self, name: str) -> Path:
        """Return a copy of the undisturbed store."""
        path = self.store(name)
        shutil.copytree(self.undisturbed, path)
        return path

    def start(self, *arguments: str, injection: str | None = None, **changes: str) -> Driver:
        """Start a command; `changes` are environment variables."""
        return Driver(arguments, environment={**self.environment, **changes}, injection=injection)

    def start_growing(self, store: Path, *, injection: str | None = None, ray: bool = False, **changes: str) -> Driver:
        """Start growing the lineage, in one process unless `ray` is asked for."""
        where = ["--workers", "1"] if ray else ["--local", "--workers", "1"]
        return self.start("run", str(self.recipe), "--store", str(store), *where, injection=injection, **changes)

    def grow(self, store: Path, *, injection: str | None = None, **changes: str) -> Ending:
        """Grow the lineage to its end."""
        return self.start_growing(store, injection=injection, **changes).end()

    def is_equal(self, store: Path) -> bool:
        """Whether a store is whole and its ledger is the undisturbed one."""
        try:
            return self.ledger(store) == self.hashes and not verify(store / LINEAGE).problems
        except StoreError:
            return False

    def resumed(self, store: Path, disturbed: Ending, *, lost: float | None) -> Outcome:
        """Run the same command again, undisturbed, and say how that ended."""
        ending = self.grow(store)
        equal = self.is_equal(store)
        good = ending.code == 0 and equal and disturbed.is_clear
        return Outcome("survived" if good else "LOST", disturbed, lost=lost, is_equal=equal)

    def refused(self, ending: Ending, *, code: int, names: str = "") -> Outcome:
        """Judge a command that must refuse with one clear error which holds `names`."""
        good = ending.code == code and ending.is_clear and names in ending.text
        return Outcome("refused" if good else f"NOT REFUSED (exit {ending.code})", ending)


def unsaved_seconds(store: Path) -> float:
    """Return the seconds since the last file of a store was written: what a kill at this moment loses."""
    times = [path.stat().st_mtime for path in (store / LINEAGE).rglob("*") if path.is_file() and path.name != "LOCK"]
    return max(0.0, time.time() - max(times)) if times else 0.0
