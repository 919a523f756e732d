"""The pipeline on one page: the records that flow from stage to stage.

    Prompt -> Rollout -> Verdict -> Selection -> Example (a Batch) -> Checkpoint -> Report -> Decision -> Generation

All are slotted dataclasses without logic; high-volume ones become parquet rows. Ids are text, as stored; `ids.py`
parses them.

Left out: forms of losses and the learner's results (`learner_records.py`), and the ledger's records
(`ledger_records.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from bootstrap.ids import RolloutId, SampleId
from bootstrap.learner_records import KlForm, RatioLevel, Surrogate

MEASURED = "measured"
"""Marks a row's field that differs from run to run; the hashed tables leave it out."""


class Split(StrEnum):
    """A prompt's part of its task, decided by the hash of its question."""

    TRAIN = "train"
    HELDOUT = "heldout"
    """Asked by the gate; never trained on."""
    FINAL = "final"
    """Asked once, after the last generation."""


class Role(StrEnum):
    """What a rollout was sampled for."""

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
    """A verifier's finding. `UNVERIFIABLE` has no reward: trouble with judging is not a wrong answer."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNVERIFIABLE = "UNVERIFIABLE"


class Use(StrEnum):
    """The use of a rollout in the step that drew it."""

    RL = "rl"
    """Policy gradient."""
    CE = "ce"
    """Imitation (cross-entropy)."""
    NONE = "none"
    """No gradient; `Selection.reason` says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """One question, without its answer: only a task's `reference` knows that, for verifiers alone."""

    id: str
    """First 16 hex digits of SHA-256 over the task's name and the text."""
    task: str
    level: int
    text: str
    split: Split
    easier_variant: bool = False
    """An easier variant of the level (for addition: one operand shorter)."""
    key: str = ""
    """The task's key to the reference, as a data set's name and seed, where the text does not suffice."""
    slice: str = ""
    """Its group in reports beside the level, as a subject; empty for none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One completion to sample."""

    id: str
    """The future rollout's id."""
    prompt: Prompt
    seed: int
    """This sample's own, so that its result does not depend on the batch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """Settings of sampling. Temperature 0 is greedy."""

    temperature: float
    max_new_tokens: int
    top_k: int = 0
    """Number of likeliest tokens kept; 0 keeps all."""
    top_p: float = 1.0
    """Probability of the smallest set of tokens kept; 1 keeps all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """One completion, with the data for learning from it and for proving its origin."""

    id: str
    group: str
    prompt_id: str
    prompt_text: str
    prompt_key: str = ""
    """The prompt's `key`."""
    task: str = ""
    """The prompt's `task`."""
    level: int
    """The prompt's; a proposal has its problem's level, 0 without a valid problem."""
    sample_index: int
    prompt_tokens: tuple[int, ...]
    tokens: tuple[int, ...]
    """Completion tokens, a sampled end-of-sequence token included."""
    logprobs: tuple[float, ...]
    """Log-probability of each completion token under the exact sampling distribution."""
    entropies: tuple[float, ...]
    """Entropy of that distribution at each completion token, in nats."""
    text: str
    """The decoded completion without its final end token, up to the first stop text; it begins with the open reasoning
    tag, as `<think>`, if the framed prompt ends with one."""
    finish: Finish
    policy: str
    """Fingerprint of the sampling weights."""
    seed: int
    unhinted: str = ""
    """The prompt's text without its hint; empty for a prompt without a hint."""

    @classmethod
    def to(cls, request: Request, **answer: Any) -> "Rollout":
        """Return the rollout that answers a request; `answer`: the fields beyond the request's."""
        prompt, sample = request.prompt, SampleId.parse(request.id)
        return cls(
            id=request.id,
            group=sample.group,
            prompt_id=prompt.id,
            prompt_text=prompt.text,
            prompt_key=prompt.key,
            task=prompt.task,
            level=prompt.level,
            sample_index=sample.number,
            seed=request.seed,
            **answer,
        )

    @property
    def imitated_prompt(self) -> str:
        """The prompt's text for imitation and replay: never with a hint."""
        return self.unhinted or self.prompt_text

    @property
    def role(self) -> Role:
        """The role of a training step's rollout, by its id."""
        return Role.PROPOSE if RolloutId.parse(self.id).is_proposal else Role.SOLVE


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """A verifier's judgement of one rollout."""

    rollout_id: str
    status: Status
    reward: float | None
    """None exactly when the status is UNVERIFIABLE."""
    breakdown: Mapping[str, float]
    """Reward by component."""
    reason: str
    verifier: str
    version: str
    """Hash of the verifier's code and settings."""
    sandbox: str = ""
    """Confinement level of the answer's code; empty if none ran."""
    cpu_seconds: float = field(default=0.0, metadata={MEASURED: True})
    """CPU time of judging outside the driver's process; in no stored table."""

    def __post_init__(self) -> None:
        assert (self.reward is None) == (self.status is Status.UNVERIFIABLE), "UNVERIFIABLE has no reward"


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """The use of one rollout. Every rollout has exactly one."""

    rollout_id: str
    use: Use
    replay: bool
    """Whether it joins the lineage's replay pool when the generation is committed."""
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class KlTarget:
    """A KL target: a frozen model that one sequence's `rl` stream is held to, or taught by."""

    model: str
    """Its fingerprint."""
    weight: float
    form: KlForm


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One sequence for the learner, with its weight on each stream; the learner knows no algorithm beyond these.

    A batch's loss is the sum of three streams over completion tokens, each divided by its `Normalizers` entry:

    - `rl`: clipped policy gradient with per-token `advantages`
    - `ce`: negative log-likelihood
    - `kl`: divergence to a teacher's full distribution
    """

    source: str
    """Id of its rollout, or of the prompt whose reference it shows."""
    tokens: tuple[int, ...] = ()
    """Prompt and completion tokens; empty while the sequence is still text."""
    num_prompt_tokens: int = 0
    prompt_text: str | None = None
    """Of a sequence given as text."""
    completion_text: str | None = None
    """Of a sequence that is still to be tokenised."""
    advantages: tuple[float, ...] = ()
    """`rl` weight of each completion token; empty outside that stream."""
    logprobs: tuple[float, ...] = ()
    """Log-probabilities of the completion tokens at sampling time, for the `rl` stream's ratio."""
    importance: tuple[float, ...] = ()
    """Constant weight of each completion token's advantage, KL targets' rewards included; empty for 1."""
    loss_scale: float = 1.0
    """Factor of `advantages` from their aggregation; it also scales the other terms of the `rl` stream."""
    values: tuple[float, ...] = ()
    """The critic's value of each completion token's state at sampling time; empty with `returns`."""
    returns: tuple[float, ...] = ()
    """Targets of the critic's values; empty if the critic learns nothing from the sequence."""
    anchor_penalty_weights: tuple[float, ...] = ()
    """Anchor penalty: each completion token's weight of `|logprob - logprob at sampling time|`; empty for none."""
    kl_targets: tuple[KlTarget, ...] = ()
    """KL targets of the `rl` stream; empty outside that stream."""
    ce_weight: float = 0.0
    kl_weight: float = 0.0
    teacher: str | None = None
    """Fingerprint of the teacher of the `kl` stream."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Normalizers:
    """Divisor of each stream's sum: a count over the whole batch, however it is sharded."""

    rl: float = 1.0
    ce: float = 1.0
    kl: float = 1.0
    value: float = 1.0
    """Of the critic's loss, which has its own gradient."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """The data of one optimizer update."""

    examples: Sequence[Example]
    normalizers: Normalizers
    clip_low: float | None = None
    """The importance ratio's lower clip is `1 - clip_low`; None for none."""
    clip_high: float | None = None
    surrogate: Surrogate = Surrogate.CLIPPED
    ratio_level: RatioLevel = RatioLevel.TOKEN
    dual_clip: float | None = None
    """Largest ratio for a negative advantage, in `clipped`; None for no bound (arXiv:1912.09729)."""
    value_clip: float | None = None
    """Largest change of a critic's value since sampling that still lowers its loss; None for no bound."""
    kl_beta: float = 0.0
    """Divergence of the `kl` stream: 0 is KL(teacher || student), 1 is KL(student || teacher), between them the
    generalised Jensen-Shannon divergence (arXiv:2306.13649)."""
    kl_top_k: int = 0
    """Number of the teacher's likeliest tokens compared, all others as one; 0 compares the whole vocabulary."""
    temperature: float = 1.0
    """Sampling temperature, at which the `rl` stream's ratios are taken."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """Weights in transit: a Hugging Face folder as bytes, and its fingerprint."""

    fingerprint: str
    files: Mapping[str, bytes]
    """File name -> content: config.json, model.safetensors, tokenizer files."""
    stored: str = ""
    """The folder of a store that they were read from; empty for weights just made, and for folders that people name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Progress for display; no result depends on it."""

    generation: int
    stage: str
    """read (rows of a file), generate, select, train, evaluate, diagnose."""
    done: int = 0
    total: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    message: str = ""
    warning: str = ""
    """A lasting notice for the user, sent once."""


Observer = Callable[[Event], None]


class Record(BaseModel):
    """Base of records kept as canonical JSON, mainly by the ledger: frozen, without extra fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
