"""What every stage is given, the run's fixed parts and a generation's plan, and its meter of work and time."""

import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

from bootstrap import __version__
from bootstrap.compute import ModelShape
from bootstrap.config.base import Place, identity_of
from bootstrap.config.evaluation import PanelTask
from bootstrap.config.models import LineageModel, Reference, Sampler, Teacher
from bootstrap.config.recipe import Recipe
from bootstrap.config.sources import Levels
from bootstrap.config.training import Training
from bootstrap.evaluation.gate import Answers
from bootstrap.evaluation.protection import Protected
from bootstrap.ledger_records import Annotations, Compute
from bootstrap.pool import STAGE
from bootstrap.prompts.task import Task
from bootstrap.provenance import source_digest
from bootstrap.records import Checkpoint, Event, Observer, Prompt
from bootstrap.roles import Learners, Roles, Samplers
from bootstrap.scoring.verifier import Verifier
from bootstrap.selection.curriculum import levels_of
from bootstrap.selection.epochs import Visit
from bootstrap.selection.replay import PoolEntry, ReplayPool
from bootstrap.selection.retirement import PassRates
from bootstrap.stages.models import LineageModels
from bootstrap.store.lineage_store import LineageStore
from bootstrap.telemetry import Telemetry

HELD_OUT = "held-out "
"""Prefix of an eval verifier's name in the ledger."""
PANEL = "panel "
"""Prefix of a panel task's verifier in the ledger."""
RECORDED_PACKAGES = ("torch", "transformers", "ray", "mlflow", "numpy")
MEASURED = ("seconds", "cpu_seconds")
"""The fields that differ from run to run and add up."""
COUNTED = "num_"
"""Beginning of the names in `Meter.checks` that add up; of the others the largest counts."""


@dataclass(kw_only=True)
class Meter:
    """Counts (deterministic, part of the ledger) and seconds (annotations) of one generation.

    Reports to `telemetry`, except work taken over by `add`, which is reported already.
    """

    telemetry: Telemetry = field(default_factory=Telemetry)

    flops: dict[str, float] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    useful_tokens: int = 0
    verdicts: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    """CPU time spent outside the workers, such as that of sandboxed processes."""
    bytes_moved: dict[str, float] = field(default_factory=dict)
    """Least memory traffic by phase, all workers together; with FLOPs it gives the machine's bound."""
    checks: dict[str, float] = field(default_factory=dict)
    """What was watched (`Annotations.checks`)."""

    def note(self, name: str, value: float) -> None:
        """Take a watched number into `checks`."""
        known = self.checks.get(name, 0.0)
        self.checks[name] = known + value if name.startswith(COUNTED) else max(known, value)

    def count(self, phase: str, *, flops: float, tokens: int, bytes_moved: float = 0.0) -> None:
        self.flops[phase] = self.flops.get(phase, 0.0) + flops
        self.tokens[phase] = self.tokens.get(phase, 0) + tokens
        self.bytes_moved[phase] = self.bytes_moved.get(phase, 0.0) + bytes_moved
        self.telemetry.work(phase, tokens=tokens, flops=flops)

    @contextmanager
    def clock(self, phase: str) -> Iterator[None]:
        """Add the wall time of the block to a phase, and label the workers' calls in it with the phase."""
        start, label = time.perf_counter(), STAGE.set(phase)
        try:
            with self.telemetry.stage(phase):
                yield
        finally:
            STAGE.reset(label)
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start

    def add(self, other: Mapping[str, Any]) -> None:
        """Add another meter's `to_json`; missing parts count nothing."""
        for name in ("flops", "tokens", "bytes_moved", *MEASURED):
            mine = getattr(self, name)
            for phase, value in other.get(name, {}).items():
                mine[phase] = mine.get(phase, 0) + value
        for name, value in other.get("checks", {}).items():
            self.note(name, value)
        self.useful_tokens += other.get("useful_tokens", 0)
        self.verdicts += other.get("verdicts", 0)

    def to_json(self, *, measured: bool) -> dict[str, Any]:
        """Return the counts; with `measured` the seconds too."""
        data = self.compute().model_dump(mode="json") | {"bytes_moved": self.bytes_moved}
        return data | self.measured() if measured else data

    def measured(self) -> dict[str, dict[str, float]]:
        """Return the seconds and what was watched, which differ from run to run."""
        return {name: getattr(self, name) for name in (*MEASURED, "checks")}

    def bound_fraction(self, benchmark: Mapping[str, float]) -> dict[str, float]:
        """Return least possible over measured seconds by phase.

        The least is the longer of computing at the measured matmul rate and moving bytes at the measured bandwidth.
        """
        fractions = {}
        for phase, seconds in self.seconds.items():
            ideal = max(
                self.flops.get(phase, 0.0) / benchmark["matmul_flops"],
                self.bytes_moved.get(phase, 0.0) / benchmark["memory_bytes"],
            )
            if ideal and seconds:
                fractions[phase] = ideal / seconds
        return fractions

    def annotations(self, started: datetime, bound: Mapping[str, float], environment: Mapping[str, str]) -> Annotations:
        """Return what was measured from `started` until now; `bound`: the benchmarked rates of the machine."""
        return Annotations(
            started=started.isoformat(timespec="seconds"),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            host=platform.node(),
            seconds=self.seconds,
            cpu_seconds=self.cpu_seconds,
            versions={name: version(name) for name in RECORDED_PACKAGES},
            bound_fraction=self.bound_fraction(bound),
            benchmark=dict(bound),
            environment=dict(environment),
            checks=self.checks,
        )

    def compute(self) -> Compute:
        """Return the counts as the ledger keeps them."""
        return Compute(
            flops=dict(self.flops), tokens=dict(self.tokens), useful_tokens=self.useful_tokens, verdicts=self.verdicts
        )


@dataclass(frozen=True, kw_only=True)
class Watched:
    """One task of the evaluation's panel."""

    settings: PanelTask
    task: Task
    verifier: Verifier


@dataclass(frozen=True, kw_only=True)
class Context:
    """The parts of a run that stay the same from generation to generation."""

    recipe: Recipe
    training: Training
    """The recipe's, with the precision that its workers compute in."""
    task: Task
    verifiers: Mapping[Place, Verifier]
    """Judges of training answers, by place in the recipe (`Recipe.verifiers`)."""
    verifier: Verifier
    """The one of them that judges in the generation being grown."""
    eval_verifier: Verifier
    """The eval verifier, which judges held-out answers: `verifier` unless the recipe names another."""
    panel: Mapping[str, Watched]
    """Tasks that are evaluated beside the run's own, by name, in the names' order."""
    models: LineageModels
    """Generations that verifiers ask."""
    store: LineageStore
    roles: Roles
    observe: Observer
    answers: dict[int, list[PoolEntry]] = field(default_factory=dict)
    """Cache: what each committed generation gave to the replay pool."""
    known: dict[int, Answers] = field(default_factory=dict)
    """Cache: what each committed generation answered to held-out prompts, as the verifiers judge it now."""
    rates: dict[int, PassRates] = field(default_factory=dict)
    """Cache: how often each committed generation answered its prompts right."""
    visits: dict[int, list[Visit]] = field(default_factory=dict)
    """Cache: which prompts each committed generation drew, with their results."""
    made: set[str] = field(default_factory=set)
    """Ids of the artifacts that this process has made from beginning to end."""

    @property
    def learners(self) -> Learners:
        """Who trains."""
        return self.roles.learners

    @property
    def samplers(self) -> Samplers:
        """Who answers."""
        return self.roles.samplers

    def at(self, number: int) -> "Context":
        """Return the context of a generation, in which its stage's verifier judges."""
        return replace(self, verifier=self.verifiers[self.recipe.verifier_place(number)])

    def meter(self) -> Meter:
        """Return a fresh meter with the learners' telemetry."""
        return Meter(telemetry=self.learners.telemetry)

    def identity(self) -> dict[str, Any]:
        """Return what the id of every stage output depends on besides its own settings."""
        return {
            "code": __version__,
            "seed": self.recipe.seed,
            "task": identity_of(self.recipe.task),
            "training": identity_of(self.training),
            "verifiers": [self.verifier.version, self.eval_verifier.version],
            "workers": self.learners.size,
            **self._samplers_identity(),
            "batch_rows": self.recipe.resources.batch_rows,
            **self.recipe.resources.own_limits,
        }

    def _samplers_identity(self) -> dict[str, Any]:
        """Return what answers depend on where other processes give them than learn: their number and their engine."""
        settings = self.recipe.resources.samplers
        if settings is None:
            return {}
        return {"samplers": settings.processes, "engine": settings.engine}

    def heldout(self, level: int) -> list[Prompt]:
        """Return the held-out prompts of a level of the run's task that an evaluation asks."""
        return self.task.heldout(level, self.recipe.evaluation.most_prompts)

    def in_progress(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the key of unfinished work on `inputs`, the digest of the source among it.

        Unfinished work is not resumed under other source code. Finished work is keyed by the program's version instead,
        so that an edit does not undo it.
        """
        return {**inputs, "source": source_digest()}

    def verifier_versions(self) -> dict[str, str]:
        """Map names to versions; an eval verifier stands under `held-out NAME`, a panel task's under `panel TASK`."""
        versions = {self.verifier.name: self.verifier.version}
        if self.eval_verifier is not self.verifier:
            versions[f"{HELD_OUT}{self.eval_verifier.name}"] = self.eval_verifier.version
        return versions | {f"{PANEL}{name}": watched.verifier.version for name, watched in self.panel.items()}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one generation sets out with; every field is a function of the recipe and the lineage.

    Models are kept as the recipe names them -> (generation, None outside the lineage; weights).
    """

    number: int
    champion: int | None = None
    """The champion from before its siblings; None for generation 0."""
    init: int | None
    """Generation whose weights it starts from; None for generation 0, another model and a merge."""
    parents: tuple[int, ...] = ()
    """The generations whose weights it is made of: that one, or those merged."""
    start: Checkpoint
    shape: ModelShape
    target_levels: tuple[int, ...]
    replay_levels: tuple[int, ...] = ()
    protected: Protected = field(default_factory=Protected)
    """What the champion line has reached, which the gate lets no promotion cost."""
    pool: ReplayPool = field(default_factory=ReplayPool)
    teachers: Mapping[Teacher, tuple[int | None, Checkpoint]] = field(default_factory=dict)
    samplers: Mapping[Sampler, tuple[int | None, Checkpoint]] = field(default_factory=dict)
    """Sampler -> its generation and weights; servers and `start` left out."""
    merged: Mapping[LineageModel, tuple[int, Checkpoint]] = field(default_factory=dict)
    """Merged model -> its generation and weights; includes the base that TIES subtracts."""
    references: Mapping[Reference, tuple[int | None, Checkpoint]] = field(default_factory=dict)
    """KL reference model -> its generation and weights; `start` left out."""
    asked: Mapping[LineageModel, tuple[int, Checkpoint]] = field(default_factory=dict)
    """Judge or voter -> its generation and weights."""
    rates: PassRates = field(default_factory=PassRates)
    """How often its ancestors answered each prompt right; empty where no step retires prompts."""
    visits: tuple[Visit, ...] = ()
    """What earlier generations, and earlier steps of this one, drew; empty where no step draws by epochs."""

    def levels(self, wanted: Levels) -> tuple[int, ...]:
        """Return the levels that a step draws prompts from."""
        return levels_of(wanted, self.target_levels)

    def event(
        self,
        stage: str,
        done: int,
        total: int,
        *,
        message: str = "",
        warning: str = "",
        metrics: Mapping[str, float] = MappingProxyType({}),
    ) -> Event:
        """Return an event of this generation, `done` of `total` parts of a stage being done."""
        return Event(
            generation=self.number,
            stage=stage,
            done=done,
            total=total,
            metrics=dict(metrics),
            message=message,
            warning=warning,
        )
