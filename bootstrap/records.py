"""The pipeline on one page: what flows from stage to stage, and what the ledger keeps of it.

    Prompt -> Rollout -> Verdict -> Selection -> Example (a Batch) -> Checkpoint -> Report -> Decision -> Generation

High-volume records are slotted dataclasses (they become parquet rows); what the ledger keeps is made of frozen
pydantic models (they become canonical JSON). Nothing here computes; the stages do.

Ids are readable and derived from position, never from time: a rollout drawn as prompt 4, sample 2 of update 17 in step
0 of generation 3 is `g3.s0.u17.p4.k2`; its group (the samples of one prompt) is `g3.s0.u17.p4`. In self-play, prompt 4
of that update is what the model wrote as rollout `g3.s0.u17.propose.k4`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 3
MEASURED = "measured"
"""Metadata of a row's field that differs from run to run: tables, which are hashed, leave it out."""


class Split(StrEnum):
    """Which part of a task's prompts one belongs to; decided by the hash of its question."""

    TRAIN = "train"
    HELDOUT = "heldout"
    """Prompts that gates ask."""
    FINAL = "final"
    """Prompts that no gate sees, for one comparison at the end."""


class Role(StrEnum):
    """What a model was asked for."""

    SOLVE = "solve"
    """An answer."""
    PROPOSE = "propose"
    """A problem (self-play)."""


class Finish(StrEnum):
    """Why a completion ended."""

    STOP = "stop"
    LENGTH = "length"

    @property
    def is_truncated(self) -> bool:
        return self is Finish.LENGTH


class Status(StrEnum):
    """A verifier's finding. `UNVERIFIABLE` is never a number: trouble with judging is not a wrong answer."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNVERIFIABLE = "UNVERIFIABLE"


class Use(StrEnum):
    """What became of a rollout in the step that drew it."""

    RL = "rl"
    """It carried a policy gradient."""
    CE = "ce"
    """It was imitated (cross-entropy)."""
    NONE = "none"
    """It gave no gradient in this step; `Selection.reason` says why."""


class RatioLevel(StrEnum):
    """Of what the importance ratio of a token in the `rl` stream is: `r = exp(log-ratio)`."""

    TOKEN = "token"
    """Of the token."""
    SEQUENCE = "sequence"
    """Of its completion: the geometric mean of the tokens' ratios (GSPO, arXiv:2507.18071)."""
    PRODUCT = "product"
    """Of its completion: the product of the tokens' ratios, the exact weight of the whole sequence."""


class Surrogate(StrEnum):
    """What the `rl` stream does with the ratio `r` of a token and its advantage `A`; bounds are the batch's clips."""

    CLIPPED = "clipped"
    """`min(r A, clip(r) A)`: no gradient where the clip acts (PPO, arXiv:1707.06347)."""
    TRUNCATED = "truncated"
    """`stop_gradient(clip(r)) A logprob`: every token keeps a gradient, of bounded weight (CISPO, arXiv:2506.13585)."""
    MASKED = "masked"
    """`stop_gradient(r) A logprob` where `r` is within the bounds, nothing elsewhere."""


class GuideForm(StrEnum):
    """How a frozen model bears on the tokens of the `rl` stream.

    `k1`, `k2`, `k3` are estimators of KL(policy || guide) from the sampled token alone (Schulman 2020), with
    `d = logprob under the guide - logprob`: `-d`, `d^2 / 2`, `exp(d) - d - 1`. In the reward k1 alone, and in the loss
    k2 and k3 alone, have a gradient that leads to the guide (`training/loss.py`).
    """

    REWARD_K1 = "reward_k1"
    """The advantage falls by the estimate at sampling time, summed from the token to the completion's end."""
    TOKEN_K1 = "token_k1"
    """The advantage falls by the token's own estimate alone: on-policy distillation (reverse KL, discount 0)."""
    LOSS_K2 = "loss_k2"
    """The estimate is differentiated as a term of the loss."""
    LOSS_K3 = "loss_k3"

    @property
    def in_loss(self) -> bool:
        return self in (GuideForm.LOSS_K2, GuideForm.LOSS_K3)

    @property
    def estimator(self) -> str:
        return self.value.rsplit("_", 1)[1]


class Outcome(StrEnum):
    """A generation's place in the lineage."""

    BASE = "base"
    PROMOTED = "promoted"
    REJECTED = "rejected"
    ASIDE = "aside"
    """Kept beside the champion and not compared with it, by the recipe's word: a student, a control."""

    @property
    def may_be_champion(self) -> bool:
        return self in (Outcome.BASE, Outcome.PROMOTED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """One question. It holds no answer: only a task's `reference` knows it, and only verifiers ask."""

    id: str
    """First 16 hex digits of SHA-256 over the task's name and the text."""
    task: str
    level: int
    text: str
    split: Split
    stepping_stone: bool = False
    """An easier variant of the level (for addition: one operand shorter)."""
    key: str = ""
    """What the task needs beside the text to find the reference again, as a data set's name and seed."""
    slice: str = ""
    """What it is counted with beside its level, as a subject; empty for none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One completion to sample."""

    id: str
    """The id of the rollout to be."""
    prompt: Prompt
    seed: int
    """Seed of this sample alone, so that the result does not depend on what else is in the batch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How completions are drawn. Temperature 0 is greedy."""

    temperature: float
    max_new_tokens: int
    top_k: int = 0
    """Keep the k most likely tokens; 0 keeps all."""
    top_p: float = 1.0
    """Keep the smallest set of tokens with at least this probability; 1 keeps all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """One completion, with what is needed to learn from it and to prove where it came from."""

    id: str
    group: str
    prompt_id: str
    prompt_text: str
    prompt_key: str = ""
    """The prompt's `key`."""
    task: str = ""
    """The prompt's `task`."""
    level: int
    """The prompt's; of a proposal, that of the problem it puts, 0 where it puts none."""
    sample_index: int
    prompt_tokens: tuple[int, ...]
    tokens: tuple[int, ...]
    """Completion tokens, the end-of-sequence token included when it was sampled."""
    logprobs: tuple[float, ...]
    """Log-probability of each completion token under the exact sampling distribution."""
    entropies: tuple[float, ...]
    """Entropy of that distribution at each completion token, in nats."""
    text: str
    """The completion decoded, special tokens left out; where the prompt as shown ended with an open reasoning tag, as
    `<think>`, that tag comes first."""
    finish: Finish
    policy: str
    """Fingerprint of the weights that sampled it."""
    seed: int
    unhinted: str = ""
    """For an answer to a prompt with a hint: the prompt's text without it. Empty where there was no hint."""

    @classmethod
    def to(cls, request: Request, **answer: Any) -> "Rollout":
        """Return the rollout that answers a request; `answer`: the fields that the request does not decide."""
        prompt, (group, sample) = request.prompt, request.id.rsplit(".k", 1)
        return cls(
            id=request.id,
            group=group,
            prompt_id=prompt.id,
            prompt_text=prompt.text,
            prompt_key=prompt.key,
            task=prompt.task,
            level=prompt.level,
            sample_index=int(sample),
            seed=request.seed,
            **answer,
        )

    @property
    def imitated_prompt(self) -> str:
        """The prompt's text that the answer is imitated and replayed under: never one with a hint."""
        return self.unhinted or self.prompt_text

    @property
    def role(self) -> Role:
        """What the model was asked for; the id says it."""
        return Role.PROPOSE if self.group.endswith(f".{Role.PROPOSE}") else Role.SOLVE


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a verifier found about one rollout."""

    rollout_id: str
    status: Status
    reward: float | None
    """None exactly when the status is UNVERIFIABLE."""
    breakdown: Mapping[str, float]
    """Reward by component; the reward never travels without it."""
    reason: str
    verifier: str
    version: str
    """Hash of the verifier's code and settings."""
    sandbox: str = ""
    """Level of confinement under which the answer's code ran; empty where none did."""
    cpu_seconds: float = field(default=0.0, metadata={MEASURED: True})
    """CPU time that judging took outside the driver's process. Measured, so it is in no stored table."""

    def __post_init__(self) -> None:
        assert (self.reward is None) == (self.status is Status.UNVERIFIABLE), "UNVERIFIABLE is never a number"


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What became of one rollout. Every rollout has exactly one."""

    rollout_id: str
    use: Use
    replay: bool
    """Whether it joins the lineage's replay pool once the generation is committed."""
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Guide:
    """A frozen model that the `rl` stream of one sequence is held to, or taught by."""

    model: str
    """Its fingerprint."""
    weight: float
    form: GuideForm


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One sequence for the learner, with its weight on each stream. The learner knows no algorithm beyond these.

    The loss over a batch is the sum of three streams, each divided by the batch's own `Normalizers` entry:
    `rl`: clipped policy gradient with per-token `advantages`; `ce`: negative log-likelihood; `kl`: divergence to a
    teacher's full distribution. Streams act on completion tokens only.
    """

    source: str
    """Id of the rollout, or of the prompt whose reference is shown, that this sequence is."""
    tokens: tuple[int, ...] = ()
    """Prompt and completion tokens; empty while the sequence is still text."""
    num_prompt_tokens: int = 0
    prompt_text: str | None = None
    """Of a sequence that was given as text."""
    completion_text: str | None = None
    """Of a sequence still to be tokenised before it reaches the learner."""
    advantages: tuple[float, ...] = ()
    """`rl` weight of each completion token; empty when the sequence takes no part in the stream."""
    logprobs: tuple[float, ...] = ()
    """Log-probabilities of the completion tokens at sampling time, for the `rl` stream's ratio."""
    importance: tuple[float, ...] = ()
    """Constant weight of each completion token's advantage, guides' rewards included; empty for 1."""
    loss_scale: float = 1.0
    """What `advantages` were multiplied by for their aggregation; terms of the `rl` stream beside them need it too."""
    values: tuple[float, ...] = ()
    """The critic's value of each completion token's state at sampling time; empty with `returns`."""
    returns: tuple[float, ...] = ()
    """What the critic's values should become; empty when it learns nothing from the sequence."""
    stay_weights: tuple[float, ...] = ()
    """Weight of `|logprob - logprob at sampling time|` of each completion token in the `rl` stream; empty for none."""
    guides: tuple[Guide, ...] = ()
    """Models that bear on the `rl` stream's tokens; empty when the sequence takes no part in it."""
    ce_weight: float = 0.0
    kl_weight: float = 0.0
    teacher: str | None = None
    """Fingerprint of the teacher of the `kl` stream."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What the weights under training say of one sequence's completion tokens, before an update learns from it."""

    source: str
    """The example's."""
    logprobs: tuple[float, ...]
    """At the temperature that was asked for."""
    values: tuple[float, ...]
    """The critic's, of each token's state; empty where there is no critic."""
    rewards: tuple[float, ...]
    """What each token earns from the example's guides in the reward: the KL estimates, negative, times the weights."""
    flops: float
    """Model FLOPs of the sequence's forward passes, the guides' included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Normalizers:
    """By what each stream's sum is divided: a count over the whole batch, however it is sharded."""

    rl: float = 1.0
    ce: float = 1.0
    kl: float = 1.0
    value: float = 1.0
    """Of the critic's loss, which has a gradient of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """All that one optimizer update learns from."""

    examples: Sequence[Example]
    normalizers: Normalizers
    clip_low: float | None = None
    """Lower clip of the importance ratio is `1 - clip_low`; None leaves it unclipped."""
    clip_high: float | None = None
    surrogate: Surrogate = Surrogate.CLIPPED
    ratio_level: RatioLevel = RatioLevel.TOKEN
    dual_clip: float | None = None
    """Largest ratio that counts for a negative advantage, for `clipped`; None for no bound (arXiv:1912.09729)."""
    value_clip: float | None = None
    """Largest change of a critic's value from that at sampling time that still lowers its loss; None for no bound."""
    kl_beta: float = 0.0
    """Divergence of the `kl` stream: 0 is KL(teacher || student), 1 is KL(student || teacher), between them the
    generalised Jensen-Shannon divergence (arXiv:2306.13649)."""
    kl_top_k: int = 0
    """Compare the teacher's k likeliest tokens and all others as one; 0 compares the whole vocabulary."""
    temperature: float = 1.0
    """Sampling temperature of the `rl` stream, so that ratios compare like with like."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateMetrics:
    """What one optimizer update reports: sums already divided by their normalizers."""

    loss: float
    rl_loss: float
    ce_loss: float
    kl_loss: float
    value_loss: float
    """The critic's; 0 without one."""
    grad_norm: float
    """Global L2 norm before clipping, the critic's head left out."""
    ratio_max: float
    """Largest importance ratio among `rl` tokens; 1 when there are none."""
    clip_fraction: float
    """Share of `rl` tokens whose ratio the clip bounds; but for `truncated` surrogates they give no gradient."""
    num_tokens: int
    """Tokens in the forward pass, padding left out."""
    flops: float
    """Model FLOPs of forward and backward, teachers' forward passes included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Divergence:
    """How far one model is from another on given completions: sums over their tokens."""

    nats: float
    """KL(model || other) over the whole vocabulary."""
    num_tokens: int
    """Completion tokens compared."""
    flops: float
    """Of both models' forward passes."""

    @property
    def per_token(self) -> float:
        return self.nats / self.num_tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """Weights on their way: a Hugging Face folder as bytes, and the fingerprint that proves it."""

    fingerprint: str
    files: Mapping[str, bytes]
    """File name -> content: config.json, model.safetensors, tokenizer files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Progress for whoever watches; never an input to anything."""

    generation: int
    stage: str
    """read (rows of a file), generate, select, train, evaluate, examine."""
    done: int = 0
    total: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    message: str = ""
    warning: str = ""
    """What whoever watches should know even if they look later; told once."""


Observer = Callable[[Event], None]


class Record(BaseModel):
    """Base of what the ledger keeps: frozen, closed, canonical as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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
    lead: int
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


class HealthMetric(StrEnum):
    """What a guard can watch: the fields of `Health` that are numbers."""

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


class Finding(Record):
    """A bound that a generation broke."""

    metric: HealthMetric
    value: float
    side: Literal["min", "max"]
    bound: float
    action: GuardAction

    def __str__(self) -> str:
        way = "below" if self.side == "min" else "above"
        return f"{self.metric} {self.value:.4g} is {way} {self.bound:g} ({self.action.replace('_', ' ')})"


class Health(Record):
    """Signs of collapse in one generation; each is None where the lineage has nothing to measure it by.

    The fixed prompts are held-out prompts of the base levels, the same in every generation (`health.prompts`).
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
    findings: tuple[Finding, ...] = ()
    """The recipe's guards that it broke."""

    def value(self, metric: HealthMetric) -> float | None:
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


class Spent(Record):
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
    spent: Spent | None = None
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
    """By phase: generate, train, evaluate, health, verify (judges and voters of the lineage)."""
    tokens: dict[str, int] = Field(default_factory=dict)
    """By phase: generate, train (forward and backward), evaluate, health, verify."""
    useful_tokens: int = 0
    """Generated tokens with non-zero advantage, or selected for imitation or replay."""
    verdicts: int = 0

    @property
    def total_flops(self) -> float:
        return sum(self.flops.values())

    @property
    def total_tokens(self) -> int:
        return sum(self.tokens.values())


class Books(Record):
    """The balance of one generation: every prompt drawn is accounted for."""

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
    outcome: Outcome
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
    books: Books
    champion: int
    """The lineage's champion once this generation is committed."""
    health: Health = Health()
    """Empty in records of lineages that were grown before it was measured."""

    @property
    def name(self) -> str:
        return f"gen-{self.number}"

    @property
    def stops(self) -> bool:
        """Whether a guard ended the run here."""
        return any(finding.action is GuardAction.STOP for finding in self.health.findings)

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
    """What it took, which no generation's books hold."""


class Annotations(Record):
    """What was measured around a generation; outside the ledger's hash, because it differs from run to run."""

    started: str
    """ISO 8601, UTC."""
    finished: str
    host: str
    seconds: dict[str, float]
    """By stage: generate, score, train, evaluate, health, other."""
    cpu_seconds: dict[str, float] = Field(default_factory=dict)
    """CPU time outside the workers, by stage: score, the sandboxed processes."""
    versions: dict[str, str]
    bound_fraction: dict[str, float] = Field(default_factory=dict)
    """By phase: ideal seconds at the machine's measured bound over measured seconds."""
    probe: dict[str, float] = Field(default_factory=dict)
    """matmul_flops and memory_bytes per second of all workers together."""
    environment: dict[str, str] = Field(default_factory=dict)
    """The workers' precision; Ray submission id, git commit, source digest: where known."""
