"""What the ledger keeps: reports, decisions, generations, and what is noted beside them.

    LevelReport -> Report -> LevelTest -> Decision -> Generation    Diagnostics -> GuardBreach

All are frozen pydantic models, which become canonical JSON. Nothing here computes; the stages do. Left out: what flows
between stages (`records.py`), and the file format (`store/ledger.py`).
"""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from bootstrap.ids import StepRole
from bootstrap.records import Record

SCHEMA_VERSION = 3


class GenerationOutcome(StrEnum):
    """A generation's place in the lineage."""

    BASE = "base"
    PROMOTED = "promoted"
    REJECTED = "rejected"
    UNGATED = "ungated"
    """Kept beside the champion and not compared with it, by the recipe's word: a student, a control."""

    @property
    def may_be_champion(self) -> bool:
        return self in (GenerationOutcome.BASE, GenerationOutcome.PROMOTED)


class Interval(Record):
    low: float
    high: float
    confidence: float = 0.95


class LevelReport(Record):
    """Held-out results at one level. Sampled metrics are None where only greedy answers were taken."""

    level: int
    num_prompts: int
    num_correct: int
    accuracy: float
    """Greedy exact-match share."""
    interval: Interval
    """Wilson interval of `accuracy`."""
    num_unverifiable: int = 0
    num_repeated: int = 0
    """Prompts that a lower level asks too; their one answer counts here as well."""
    mean_length: float
    """Completion tokens of greedy answers, end-of-sequence included."""
    truncated: float
    """Share of greedy answers cut by the length limit."""
    num_samples: int = 0
    """Samples per prompt behind the sampled metrics."""
    pass_at_1: float | None = None
    pass_at_k: float | None = None
    """Unbiased `1 - C(n-c, k) / C(n, k)` (arXiv:2107.03374) at k = `num_samples` // 2 or as `k` says."""
    k: int = 0
    majority_at_k: float | None = None
    entropy: float | None = None
    """Mean entropy per sampled token, in nats."""
    distinct_answers: float | None = None
    """Mean number of distinct sampled answers per prompt."""


class Share(Record):
    """Greedy held-out results on one level's prompts of a slice, without those that a lower level asks too."""

    level: int
    num_prompts: int
    num_correct: int
    num_unverifiable: int
    accuracy: float
    """Share of right answers among those that could be judged; 0 where none could."""
    interval: Interval
    """Wilson interval of `accuracy`."""


class Report(Record):
    """What the evaluation found about one set of weights on frozen held-out prompts."""

    fingerprint: str
    suite: str
    """Digest of the held-out prompts."""
    levels: tuple[LevelReport, ...]
    frontier: int
    """Highest level with all levels up to it mastered; 0 when none is. Levels with few prompts (`gate.min_prompts`)
    count together with the next."""
    generalization_margin: int
    """Number of consecutive levels beyond those trained with at least half of the answers right."""
    mastered: float
    """The accuracy from which a level counts as mastered."""
    parts: dict[str, tuple[LevelReport, ...]] = Field(default_factory=dict)
    """Greedy results on the parts of a mixture, level by level; empty where the task is one."""
    slices: dict[str, tuple[Share, ...]] = Field(default_factory=dict)
    """Greedy results by slice of a fixed data set, level by level; empty where no slice is declared."""
    panel: dict[str, tuple[LevelReport, ...]] = Field(default_factory=dict)
    """Greedy results on the tasks of the evaluation's panel, level by level."""

    def level(self, number: int) -> LevelReport | None:
        return next((row for row in self.levels if row.level == number), None)


class DiagnosticMetric(StrEnum):
    """What a guard can watch: the fields of `Diagnostics` that are numbers."""

    ENTROPY = "entropy"
    DISTINCT_ANSWERS = "distinct_answers"
    PASS_AT_K_CHANGE = "pass_at_k_change"
    LENGTH_RATIO = "length_ratio"
    TRUNCATED = "truncated"
    KL_PARENT = "kl_parent"
    KL_BASE = "kl_base"
    MODEL_MADE = "model_made"
    DISAGREEMENT = "disagreement"
    OVERLAP = "overlap"


class GuardAction(StrEnum):
    """What a guard does with a generation that is out of its bound; each of the later three also rejects it."""

    WARN = "warn"
    """Say so, in the run's progress and in the generation's record."""
    REJECT = "reject"
    """The candidate does not become champion, whatever the gate says."""
    STOP = "stop"
    """The run ends once the generation is committed; only `--past-guards` goes on."""
    ROLL_BACK = "roll_back"
    """The champion returns to the last one that broke no guard at all, warnings included; generation 0 if none is."""

    @property
    def rejects(self) -> bool:
        return self is not GuardAction.WARN


class GuardBreach(Record):
    """A bound that a generation broke."""

    metric: DiagnosticMetric
    value: float
    side: Literal["min", "max"]
    bound: float
    action: GuardAction

    def __str__(self) -> str:
        way = "below" if self.side == "min" else "above"
        return f"{self.metric} {self.value:.4g} is {way} {self.bound:g} ({self.action.replace('_', ' ')})"


class Diagnostics(Record):
    """Signs of collapse in one generation; each is None where the lineage has nothing to measure it by.

    The fixed prompts are held-out prompts of the base levels, the same in every generation (`diagnostics.prompts`).
    """

    entropy: float | None = None
    """Mean entropy per sampled token in nats, over held-out prompts of the target levels."""
    distinct_answers: float | None = None
    """Mean number of distinct answers among the samples of such a prompt."""
    pass_at_k_change: float | None = None
    """Mean pass@k on the fixed prompts less that of generation 0 on the same prompts; None for generation 0."""
    length_ratio: float | None = None
    """Mean tokens of greedy held-out answers over those of the parent, same prompts, levels up to the target."""
    truncated: float | None = None
    """Share of greedy held-out answers that the length limit cut, levels up to the target."""
    kl_parent: float | None = None
    """KL(this || parent) in nats per token of its own samples on the fixed prompts, whole vocabulary."""
    kl_base: float | None = None
    """KL(this || generation 0), likewise."""
    model_made: float | None = None
    """Share of model-made sequences among those trained on, each counted as often as an update used it."""
    disagreement: float | None = None
    """Share of sampled held-out answers on which the verifier of training and that of evaluation differ; None where
    they are the same."""
    overlap: float | None = None
    """Share of the prompts trained on that have an n-gram in common with one held-out prompt."""
    findings: tuple[GuardBreach, ...] = ()
    """The recipe's guards that it broke."""

    def value(self, metric: DiagnosticMetric) -> float | None:
        return getattr(self, metric.value)


class LevelTest(Record):
    """Paired comparison of the candidate on the same held-out prompts, each counted once, of one or more levels.

    What must be kept may be compared with the best that the champion line has reached there, which may be earlier
    champions (`reference`); `champion`, `gained` and `lost` are then about those.
    """

    levels: tuple[int, ...]
    num_prompts: int
    """Prompts that both sides were judged on."""
    candidate: float
    champion: float
    gained: int
    """Prompts that only the candidate answers."""
    lost: int
    """Prompts that only the champion answers."""
    p_value: float | None = None
    """Exact McNemar, two-sided for improvement, one-sided for the loss in a slice; None where none is tested."""
    difference_low: float
    """Lower confidence bound of candidate - champion."""
    passed: bool
    reference: tuple[int, ...] = ()
    """The generations whose answers the candidate is compared with, ascending; empty for improvement, which is over the
    champion, and in records from before it was kept."""
    alpha: float | None = None
    """Level of the test; None where none is tested, and in records from before it was kept."""
    margin: float | None = None
    """Largest fall allowed; None for improvement, and in records from before it was kept."""


class Decision(Record):
    """The gate's judgement, with everything it rests on."""

    promoted: bool
    reason: str
    champion: int | None
    """Generation compared with; None for generation 0."""
    improvement: LevelTest | None = None
    retention: tuple[LevelTest, ...] = ()
    """Of each level that the champion line has mastered, or of several small ones together: none may fall by more than
    the margin."""
    pooled: LevelTest | None = None
    """Of all these levels together, against the champion: non-inferiority; None where no level was mastered, and in
    records from before it was tested."""
    slices: dict[str, LevelTest] = Field(default_factory=dict)
    """What may be below the best of the line by chance alone: `slice NAME` and `level N` below mastered of fixed data,
    and `panel TASK` that an earlier champion did better at."""
    panel: dict[str, LevelTest] = Field(default_factory=dict)
    """By task of the evaluation's panel, all its levels together, against the champion."""


class ComputeCost(Record):
    """FLOPs by phase of a generation and all that it descends from, each generation once."""

    start: dict[str, float]
    """Of generation 0: the price of the start."""
    since: dict[str, float]
    """Of all others."""


class Edge(Record):
    """A typed arrow from an earlier generation, or from a model outside the lineage, into this one."""

    role: str
    """init, merged, teacher, sampler, reference, judge, voter, data."""
    generation: int | None
    """None for a model outside the lineage."""
    external: str | None = None
    """That model's place as the recipe writes it, `LINEAGE@gen-N` for a generation of another lineage."""
    record: str | None = None
    """Hash of that generation's ledger record."""
    compute_cost: ComputeCost | None = None
    """What that generation cost; None for everything but a generation of another lineage."""
    fingerprint: str
    """Weights' fingerprint; for data edges the digest of the pool taken from that generation; for a server, which
    shows no weights, the name of its model."""


class ArtifactRef(Record):
    """A stage output as the ledger names it."""

    id: str
    """Hash of what made it."""
    digest: str
    """SHA-256 of its manifest, which holds the SHA-256 of every file."""
    path: str
    """Folder, relative to the lineage's."""


class Compute(Record):
    """Deterministic part of the compute ledger: counts, not seconds."""

    flops: dict[str, float] = Field(default_factory=dict)
    """By phase: generate, train, evaluate, diagnostics, verify (judges and voters of the lineage)."""
    tokens: dict[str, int] = Field(default_factory=dict)
    """By phase: generate, train (forward and backward), evaluate, diagnostics, verify."""
    useful_tokens: int = 0
    """Generated tokens with non-zero advantage, or selected for imitation or replay."""
    verdicts: int = 0

    @property
    def total_flops(self) -> float:
        return sum(self.flops.values())

    @property
    def total_tokens(self) -> int:
        return sum(self.tokens.values())


class Accounting(Record):
    """The accounting of one generation: every prompt drawn is accounted for."""

    prompts_drawn: int = 0
    rollouts: int = 0
    verdicts: int = 0
    passed: int = 0
    failed: int = 0
    unverifiable: int = 0
    trained: int = 0
    """Rollouts selected to give a gradient in this generation; a step's usage table counts how often each did."""
    replayed: int = 0
    """Rollouts given to the replay pool: of the right answers to a prompt, one."""
    dropped: dict[str, int] = Field(default_factory=dict)
    """Rollouts not selected to give a gradient, by reason."""


class Generation(Record):
    """One node of the lineage, as committed. Everything here is inside the ledger's hash."""

    schema_version: int = SCHEMA_VERSION
    number: int
    stage: str = ""
    """Name of the recipe's stage that it belongs to; empty where all generations do the same."""
    lineage: str
    outcome: GenerationOutcome
    edges: tuple[Edge, ...]
    target_levels: tuple[int, ...]
    """Levels whose improvement the gate demands; for generation 0 those that it was trained for."""
    fingerprint: str
    recipe_digest: str
    code_version: str
    seed: int
    num_workers: int
    """Workers that grew it: with `batch_rows` they decide in which order numbers are summed, hence the last bits."""
    batch_rows: int
    """Most sequences in one forward pass."""
    verifiers: dict[str, str]
    """Name -> version."""
    artifacts: dict[str, ArtifactRef]
    """By role: weights, evaluation, one per step (`step-0`, ...), an adapter's base, what a fork inherited."""
    report: Report
    decision: Decision
    compute: Compute
    accounting: Accounting
    champion: int
    """The lineage's champion once this generation is committed."""
    diagnostics: Diagnostics = Diagnostics()
    """Empty in records of lineages that were grown before it was measured."""

    @property
    def name(self) -> str:
        return f"gen-{self.number}"

    @property
    def steps(self) -> dict[StepRole, ArtifactRef]:
        """The artifacts of its steps, in the order in which these ran."""
        roles = ((StepRole.parse(name), ref) for name, ref in self.artifacts.items())
        return dict(sorted((role, ref) for role, ref in roles if role is not None))

    @property
    def stops(self) -> bool:
        """Whether a guard ended the run here."""
        return any(finding.action is GuardAction.STOP for finding in self.diagnostics.findings)

    @property
    def parents(self) -> tuple[int, ...]:
        """The generations of the lineage whose weights this one started from: one, those merged, or none."""
        merged = tuple(e.generation for e in self.edges if e.role == "merged" and e.generation is not None)
        return merged or tuple(e.generation for e in self.edges if e.role == "init" and e.generation is not None)

    @property
    def parent(self) -> int | None:
        """The one generation whose weights this one started from; None where several were merged."""
        merged = any(edge.role == "merged" for edge in self.edges)
        return None if merged else next(iter(self.parents), None)

    @property
    def teachers(self) -> tuple[int, ...]:
        """The generations it learned from by distillation; a teacher outside the lineage stands in `edges` alone."""
        return tuple(e.generation for e in self.edges if e.role == "teacher" and e.generation is not None)


class FinalComparison(Record):
    """The delivered champion against generation 0 on the final set, which no gate has seen; each prompt counts once."""

    record: str
    """Hash of the lineage's last ledger record when it was made."""
    generation: int
    """Number of that record's generation."""
    champion: int
    levels: tuple[int, ...]
    num_prompts: int
    """Prompts that both were judged on."""
    num_unverifiable: int
    accuracy: float
    """The champion's share of right greedy answers."""
    base_accuracy: float
    """Generation 0's."""
    gained: int
    """Prompts that only the champion answers."""
    lost: int
    p_value: float
    """Exact two-sided McNemar."""
    difference: Interval | None
    """Score interval of accuracy - base_accuracy; None where nothing could be judged."""
    compute: Compute
    """What it took, which no generation's accounting holds."""


class Annotations(Record):
    """What was measured around a generation; outside the ledger's hash, because it differs from run to run."""

    started: str
    """ISO 8601, UTC."""
    finished: str
    host: str
    seconds: dict[str, float]
    """By stage: generate, score, train, evaluate, diagnostics, other."""
    cpu_seconds: dict[str, float] = Field(default_factory=dict)
    """CPU time outside the workers, by stage: score, the sandboxed processes."""
    versions: dict[str, str]
    bound_fraction: dict[str, float] = Field(default_factory=dict)
    """By phase: ideal seconds at the machine's measured bound over measured seconds."""
    benchmark: dict[str, float] = Field(default_factory=dict)
    """matmul_flops and memory_bytes per second of all workers together."""
    environment: dict[str, str] = Field(default_factory=dict)
    """The workers' precision; Ray submission id, git commit, source digest: where known."""
