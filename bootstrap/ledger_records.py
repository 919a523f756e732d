"""Records of the ledger: reports, decisions, generations, and annotations.

    LevelReport -> Report -> LevelTest -> Decision -> Generation    Diagnostics -> GuardBreach

All are frozen pydantic models without logic, stored as canonical JSON. Left out: records between stages (`records.py`),
and the file format (`store/ledger.py`).
"""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from bootstrap.ids import StepRole
from bootstrap.records import Record
from bootstrap.schema import SCHEMA_VERSION


class GenerationOutcome(StrEnum):
    """A generation's place in the lineage."""

    BASE = "base"
    PROMOTED = "promoted"
    REJECTED = "rejected"
    UNGATED = "ungated"
    """Ungated: by the recipe not compared with the champion, as a student or a control."""


class Interval(Record):
    low: float
    high: float
    confidence: float = 0.95


class LevelReport(Record):
    """Held-out results at one level. Sampled metrics are None if only greedy answers were drawn."""

    level: int
    num_prompts: int
    num_correct: int
    accuracy: float
    """Greedy exact-match share."""
    interval: Interval
    """Wilson interval of `accuracy`."""
    num_unverifiable: int = 0
    num_repeated: int = 0
    """Prompts that a lower level shares; their one answer counts in both."""
    mean_length: float
    """Mean completion tokens of greedy answers, end-of-sequence included."""
    truncated: float
    """Share of greedy answers cut by the length limit."""
    num_samples: int = 0
    """Samples per prompt behind the sampled metrics."""
    pass_at_1: float | None = None
    pass_at_k: float | None = None
    """Unbiased `1 - C(n-c, k) / C(n, k)` (arXiv:2107.03374) at `k`, or at `num_samples` // 2."""
    k: int = 0
    majority_at_k: float | None = None
    entropy: float | None = None
    """Mean entropy per sampled token, in nats."""
    distinct_answers: float | None = None
    """Mean number of distinct sampled answers per prompt."""


class Share(Record):
    """Greedy held-out results on one level's prompts of a slice, without those that a lower level shares."""

    level: int
    num_prompts: int
    num_correct: int
    num_unverifiable: int
    accuracy: float
    """Share of right answers among judged ones; 0 without any."""
    interval: Interval
    """Wilson interval of `accuracy`."""


class Report(Record):
    """Evaluation of one set of weights on frozen held-out prompts."""

    fingerprint: str
    suite: str
    """Digest of the held-out prompts."""
    levels: tuple[LevelReport, ...]
    frontier: int
    """Highest level with all levels up to it mastered; 0 without any. Levels with few prompts (`gate.min_prompts`)
    count together with the next."""
    generalization_margin: int
    """Generalization margin: number of consecutive levels beyond the trained ones with at least half of the answers
    right."""
    mastered: float
    """Accuracy from which a level counts as mastered."""
    parts: dict[str, tuple[LevelReport, ...]] = Field(default_factory=dict)
    """Greedy results by part of a mixture and level; empty for a single task."""
    slices: dict[str, tuple[Share, ...]] = Field(default_factory=dict)
    """Greedy results by slice of a fixed data set and level; empty without declared slices."""
    panel: dict[str, tuple[LevelReport, ...]] = Field(default_factory=dict)
    """Greedy results by task of the evaluation's panel and level."""

    def level(self, number: int) -> LevelReport | None:
        return next((row for row in self.levels if row.level == number), None)


class DiagnosticMetric(StrEnum):
    """The metrics that a guard can watch: the numeric fields of `Diagnostics`, and the jump of accuracy."""

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
    ACCURACY_JUMP = "accuracy_jump"
    """Measured anew by every process that grows the generation, so a record has it only where it broke its bound."""


class GuardAction(StrEnum):
    """A guard's action for a generation outside its bound; all but `warn` also reject the generation."""

    WARN = "warn"
    """A warning, in the run's progress and in the generation's record."""
    REJECT = "reject"
    """The candidate does not become champion, whatever the gate decides."""
    STOP = "stop"
    """The run ends after the commit; only `--past-guards` continues it."""
    ROLL_BACK = "roll_back"
    """The champion returns to the last one that broke no guard, warnings included, or to generation 0."""

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
    """Signs of collapse in one generation; each is None if the lineage cannot measure it.

    The fixed prompts are held-out prompts of the base levels, the same in every generation (`diagnostics.prompts`).
    """

    entropy: float | None = None
    """Mean entropy per sampled token in nats, over held-out prompts of the target levels."""
    distinct_answers: float | None = None
    """Mean number of distinct answers among such a prompt's samples."""
    pass_at_k_change: float | None = None
    """Mean pass@k on the fixed prompts less generation 0's; None for generation 0."""
    length_ratio: float | None = None
    """Mean tokens of greedy held-out answers over the parent's, on the same prompts, levels up to the target."""
    truncated: float | None = None
    """Share of greedy held-out answers cut by the length limit, levels up to the target."""
    kl_parent: float | None = None
    """KL(this || parent) in nats per token of its own samples on the fixed prompts, whole vocabulary."""
    kl_base: float | None = None
    """KL(this || generation 0), likewise."""
    model_made: float | None = None
    """Share of model-made sequences among the trained ones, counted once per use in an update."""
    disagreement: float | None = None
    """Share of sampled held-out answers that the training and the eval verifier judge differently; None if they are the
    same."""
    overlap: float | None = None
    """Share of trained prompts that share an n-gram with a held-out prompt."""
    findings: tuple[GuardBreach, ...] = ()
    """The broken guards of the recipe."""

    def value(self, metric: DiagnosticMetric) -> float | None:
        if metric is DiagnosticMetric.ACCURACY_JUMP:
            return next((finding.value for finding in self.findings if finding.metric is metric), None)
        return getattr(self, metric.value)


class LevelTest(Record):
    """Paired comparison of the candidate on held-out prompts of one or more levels, each prompt counted once.

    Retention may compare with the best of the champion line, which may be earlier champions (`reference`); `champion`,
    `gained` and `lost` then refer to these.
    """

    levels: tuple[int, ...]
    num_prompts: int
    """Prompts that were judged for both sides."""
    candidate: float
    champion: float
    gained: int
    """Prompts that only the candidate answers right."""
    lost: int
    """Prompts that only the champion answers right."""
    p_value: float | None = None
    """Exact McNemar, two-sided for improvement, one-sided for the loss in a slice; None without a test."""
    difference_low: float
    """Lower confidence bound of candidate - champion."""
    passed: bool
    reference: tuple[int, ...] = ()
    """The generations compared with, ascending; empty for improvement, which is over the champion, and in old
    records."""
    alpha: float | None = None
    """Level of the test; None without a test, and in old records."""
    margin: float | None = None
    """Largest allowed fall; None for improvement, and in old records."""


class Decision(Record):
    """The gate's judgement, with all its tests."""

    promoted: bool
    reason: str
    champion: int | None
    """Generation compared with; None for generation 0."""
    improvement: LevelTest | None = None
    retention: tuple[LevelTest, ...] = ()
    """Of each level that the champion line has mastered, or several small ones together: none may fall by more than the
    margin."""
    pooled: LevelTest | None = None
    """Non-inferiority to the champion on all these levels together; None without a mastered level, and in old
    records."""
    slices: dict[str, LevelTest] = Field(default_factory=dict)
    """Tests that the candidate is below the best of the line by chance alone: `slice NAME` and unmastered `level N` of
    fixed data, and `panel TASK` where an earlier champion was better."""
    panel: dict[str, LevelTest] = Field(default_factory=dict)
    """By task of the evaluation's panel, over all its levels, against the champion."""


class ComputeCost(Record):
    """Compute cost: FLOPs by phase of a generation and all its ancestors, each once."""

    start: dict[str, float]
    """FLOPs by phase of generation 0."""
    since: dict[str, float]
    """FLOPs by phase of all later ancestors and the generation itself."""


class Edge(Record):
    """A typed edge from an earlier generation, or from a model outside the lineage, to this one."""

    role: str
    """init, merged, teacher, sampler, reference, judge, voter, data."""
    generation: int | None
    """None for a model outside the lineage."""
    external: str | None = None
    """The outside model as the recipe names it; `LINEAGE@gen-N` for a generation of another lineage."""
    record: str | None = None
    """Hash of that generation's ledger record."""
    exported: str | None = Field(default=None, exclude_if=lambda value: value is None)
    """Hash of the ledger record of the generation that an outside model was exported from, as its folder says."""
    compute_cost: ComputeCost | None = None
    """Compute cost of a generation of another lineage; None for any other model."""
    fingerprint: str
    """Weights' fingerprint; for data edges the digest of the pool taken from that generation; for a server, whose
    weights are hidden, its model's name."""


class ArtifactRef(Record):
    """A stage output as the ledger names it."""

    id: str
    """Hash of the inputs that made it."""
    digest: str
    """SHA-256 of its manifest, which holds every file's SHA-256."""
    path: str
    """Folder, relative to the lineage's."""


class Compute(Record):
    """The deterministic part of compute accounting: counts, not seconds."""

    flops: dict[str, float] = Field(default_factory=dict)
    """By phase: generate, train, evaluate, diagnostics, verify (judges and voters of the lineage)."""
    tokens: dict[str, int] = Field(default_factory=dict)
    """By phase: generate, train (forward and backward), evaluate, diagnostics, verify."""
    useful_tokens: int = 0
    """Generated tokens with a non-zero advantage, or selected for imitation or replay."""
    verdicts: int = 0

    @property
    def total_flops(self) -> float:
        return sum(self.flops.values())

    @property
    def total_tokens(self) -> int:
        return sum(self.tokens.values())


class Accounting(Record):
    """Accounting of one generation: what became of every prompt drawn."""

    prompts_drawn: int = 0
    rollouts: int = 0
    verdicts: int = 0
    passed: int = 0
    failed: int = 0
    unverifiable: int = 0
    trained: int = 0
    """Rollouts selected for a gradient in this generation; a step's usage table counts how often each was used."""
    replayed: int = 0
    """Rollouts added to the replay pool: one right answer per prompt."""
    dropped: dict[str, int] = Field(default_factory=dict)
    """Rollouts not selected for a gradient, by reason."""
    ended: dict[str, str] = Field(default_factory=dict, exclude_if=lambda value: not value)
    """Steps that ended before their last round (`step-0`) -> why. Left out where there is none."""


class Drawing(Record):
    """How a generation drew prompts of fixed data by epochs."""

    drawn: int
    """Draws of prompts."""
    distinct: int
    """Distinct prompts among them."""
    prompts: int
    """Train prompts of the levels that it drew from."""
    epochs: dict[int, float]
    """By level: epochs over the lineage so far, the generation's included, as 1.37."""
    skipped_right: int
    """Times that a prompt sat out an epoch that began in this generation, since its last group was all right."""
    skipped_wrong: int
    """The same for groups that were all wrong."""
    returned: int
    """Draws of prompts that had sat out."""
    all_right: int
    """Prompts whose last group was all right, at the end."""
    all_wrong: int
    """Prompts whose last group was all wrong, at the end."""
    replayable: int
    """Prompts with a verified answer in the replay pool at the start."""


class Generation(Record):
    """One node of the lineage, as committed. The ledger's hash covers every field."""

    schema_version: int = SCHEMA_VERSION
    number: int
    stage: str = ""
    """Name of its stage in the recipe; empty if all generations do the same."""
    lineage: str
    outcome: GenerationOutcome
    edges: tuple[Edge, ...]
    target_levels: tuple[int, ...]
    """Levels on which the gate demands improvement; for generation 0 the trained levels."""
    fingerprint: str
    recipe_digest: str
    code_version: str
    seed: int
    num_workers: int
    """Number of workers; with `batch_rows` it decides the order of float sums, hence the last bits."""
    batch_rows: int
    """Most sequences in one forward pass."""
    verifiers: dict[str, str]
    """Name -> version."""
    artifacts: dict[str, ArtifactRef]
    """By role: weights, evaluation, one per step (`step-0`, ...), an adapter's base, a fork's inheritance."""
    report: Report
    decision: Decision
    compute: Compute
    accounting: Accounting
    champion: int
    """The lineage's champion after this generation."""
    diagnostics: Diagnostics = Diagnostics()
    """Empty in old records."""
    drawing: Drawing | None = None
    """None where no step draws by epochs, and in old records."""

    @property
    def name(self) -> str:
        return f"gen-{self.number}"

    @property
    def steps(self) -> dict[StepRole, ArtifactRef]:
        """The artifacts of its steps, in the order of the steps."""
        roles = ((StepRole.parse(name), ref) for name, ref in self.artifacts.items())
        return dict(sorted((role, ref) for role, ref in roles if role is not None))

    @property
    def stops(self) -> bool:
        """Whether a guard ended the run here."""
        return any(finding.action is GuardAction.STOP for finding in self.diagnostics.findings)

    @property
    def parents(self) -> tuple[int, ...]:
        """The generations of the lineage that its initial weights come from: one, several merged, or none."""
        merged = tuple(e.generation for e in self.edges if e.role == "merged" and e.generation is not None)
        return merged or tuple(e.generation for e in self.edges if e.role == "init" and e.generation is not None)

    @property
    def parent(self) -> int | None:
        """The one generation that its initial weights come from; None after a merge or without one."""
        merged = any(edge.role == "merged" for edge in self.edges)
        return None if merged else next(iter(self.parents), None)

    @property
    def teachers(self) -> tuple[int, ...]:
        """The generations that taught it by distillation; teachers outside the lineage are in `edges` alone."""
        return tuple(e.generation for e in self.edges if e.role == "teacher" and e.generation is not None)


class FinalComparison(Record):
    """The delivered champion against generation 0 on the final set, unseen by gates; each prompt counts once."""

    record: str
    """Hash of the lineage's last ledger record at the time of the comparison."""
    generation: int
    """Number of that record's generation."""
    champion: int
    levels: tuple[int, ...]
    num_prompts: int
    """Prompts that were judged for both."""
    num_unverifiable: int
    accuracy: float
    """The champion's share of right greedy answers."""
    base_accuracy: float
    """Generation 0's."""
    gained: int
    """Prompts that only the champion answers right."""
    lost: int
    p_value: float
    """Exact two-sided McNemar."""
    difference: Interval | None
    """Score interval of accuracy - base_accuracy; None if nothing could be judged."""
    compute: Compute
    """Compute of the comparison, in no generation's accounting."""


SAMPLERS = "samplers"
"""Key in `Annotations.environment`: how many processes answered, and by which engine, as `2 with vllm`."""
SHARD = "shard"
"""Key in `Annotations.environment`: how many workers held one copy of the model together; absent for 1."""


class Annotations(Record):
    """Measurements of a generation, outside the ledger's hash because they differ from run to run."""

    started: str
    """ISO 8601, UTC."""
    finished: str
    host: str
    seconds: dict[str, float]
    """By stage: generate, score, train, evaluate, diagnostics, other."""
    cpu_seconds: dict[str, float] = Field(default_factory=dict)
    """CPU time outside the workers, by stage: score (sandboxed processes)."""
    versions: dict[str, str]
    bound_fraction: dict[str, float] = Field(default_factory=dict)
    """By phase: seconds at the machine's measured bound over actual seconds."""
    benchmark: dict[str, float] = Field(default_factory=dict)
    """matmul_flops and memory_bytes per second of all workers together."""
    environment: dict[str, str] = Field(default_factory=dict)
    """The workers' precision, and where known the Ray submission id, git commit and source digest."""
    checks: dict[str, float] = Field(default_factory=dict)
    """What was watched: largest ratio to a running median of gradients' norms and gains and of losses
    (`grad_norm_ratio`, `grad_gain_ratio`, `loss_ratio`, with a critic `critic_grad_norm_ratio` and
    `critic_grad_gain_ratio`), largest `critic_grad_norm`, largest `logprob_difference` between sampling and training,
    `accuracy_jump`; `num_redone` parts of steps, `num_probed` answers of the probe before the commit, FLOPs of what was
    done for watching alone. Empty in old records."""
