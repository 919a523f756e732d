"""The pipeline on one page: what flows from stage to stage.

    Prompt -> Rollout -> Verdict -> Selection -> Example (a Batch) -> Checkpoint -> Report -> Decision -> Generation

All are slotted dataclasses; high-volume ones become parquet rows. Nothing here computes; the stages do. Ids
are text here, as they are stored; `ids.py` says what they are made of.

Left out: how a batch is learned from and what the learner tells of it (`learner_records.py`), and what the ledger keeps
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """One question. It holds no answer: only a task's `reference` knows it, and only verifiers ask."""

    id: str
    """First 16 hex digits of SHA-256 over the task's name and the text."""
    task: str
    level: int
    text: str
    split: Split
    easier_variant: bool = False
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
        """The prompt's text that the answer is imitated and replayed under: never one with a hint."""
        return self.unhinted or self.prompt_text

    @property
    def role(self) -> Role:
        """What the model was asked for, as the id of a training step's rollout says."""
        return Role.PROPOSE if RolloutId.parse(self.id).is_proposal else Role.SOLVE


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
class KlTarget:
    """A frozen model that the `rl` stream of one sequence is held to, or taught by."""

    model: str
    """Its fingerprint."""
    weight: float
    form: KlForm


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
    """Constant weight of each completion token's advantage, KL targets' rewards included; empty for 1."""
    loss_scale: float = 1.0
    """What `advantages` were multiplied by for their aggregation; terms of the `rl` stream beside them need it too."""
    values: tuple[float, ...] = ()
    """The critic's value of each completion token's state at sampling time; empty with `returns`."""
    returns: tuple[float, ...] = ()
    """What the critic's values should become; empty when it learns nothing from the sequence."""
    anchor_penalty_weights: tuple[float, ...] = ()
    """Weight of `|logprob - logprob at sampling time|` of each completion token in the `rl` stream; empty for none."""
    kl_targets: tuple[KlTarget, ...] = ()
    """Models that bear on the `rl` stream's tokens; empty when the sequence takes no part in it."""
    ce_weight: float = 0.0
    kl_weight: float = 0.0
    teacher: str | None = None
    """Fingerprint of the teacher of the `kl` stream."""


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
    """read (rows of a file), generate, select, train, evaluate, diagnose."""
    done: int = 0
    total: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    message: str = ""
    warning: str = ""
    """What whoever watches should know even if they look later; told once."""


Observer = Callable[[Event], None]


class Record(BaseModel):
    """Base of what is kept as canonical JSON, by the ledger above all: frozen, closed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
