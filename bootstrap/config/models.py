"""Verifiers that ask models: a judge, a reward model, a vote."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from bootstrap.config.answers import Judges, Place, Whole
from bootstrap.config.base import Settings
from bootstrap.config.base_model import FolderModel

LineageModel = Literal["parent", "champion", "base"] | Annotated[int, Field(ge=0)]
"""A generation of the lineage: by its place, or by number."""


class Endpoint(Settings):
    """A server with OpenAI's chat completions interface: vLLM, `transformers serve`, a hosted model."""

    type: Literal["endpoint"] = "endpoint"
    url: str = Field(pattern=r"^https?://")
    """Base address, as `http://127.0.0.1:8000/v1`."""
    model: str = Field(min_length=1)
    key_variable: str | None = Field(default=None, pattern=r"^[A-Z_][A-Z0-9_]*$")
    """Environment variable that holds the key; recipes hold no secrets."""
    concurrency: int = Field(default=4, ge=1)
    """Requests under way at once."""
    timeout_seconds: float = Field(default=60, gt=0)
    retries: int = Field(default=4, ge=0)
    """Further tries after a failure that may pass, with exponential backoff."""


class GenerationJudge(Settings):
    """A generation of this lineage judges."""

    type: Literal["generation"] = "generation"
    generation: LineageModel = "champion"


class JudgeVerifier(Settings):
    """A language model compares the answer with the reference by a rubric, in both orders, and a majority decides."""

    judges: ClassVar[Judges] = "answer"
    type: Literal["judge"] = "judge"
    model: Annotated[Endpoint | GenerationJudge, Field(discriminator="type")]
    rubric: str = Field(min_length=1)
    """What makes an answer right, in words for the judge."""
    votes: int = Field(default=3, ge=1)
    """Judgements per answer, each with a random order of answer and reference."""
    temperature: float = Field(default=0.0, ge=0)
    max_tokens: int = Field(default=16, ge=1)
    """Length of one judgement."""
    budget: int = Field(default=100_000, ge=1)
    """Most requests in one run; beyond it answers are unverifiable."""


class RewardModelVerifier(Settings):
    """A sequence-classification model scores prompt and answer together."""

    judges: ClassVar[Judges] = "form"
    type: Literal["reward_model"] = "reward_model"
    model: FolderModel
    label: int = Field(default=0, ge=0)
    """Which of the model's outputs is the score."""
    activation: Literal["none", "sigmoid", "softmax"] = "sigmoid"
    """What makes the output a reward."""
    pass_score: float = 0.5
    """From which reward the verdict is PASS."""
    batch_size: int = Field(default=16, ge=1)
    max_length: int = Field(default=2048, ge=8)
    """Tokens of prompt and answer; longer ones cannot be judged."""


class MajorityVerifier(Settings):
    """The answer most of a group agrees on counts as right: self-consistency, without any reference."""

    judges: ClassVar[Judges] = "group"
    type: Literal["majority"] = "majority"
    answer: Place = Whole(strip=True)
    min_share: float = Field(default=0.5, gt=0, le=1)
    """Share of the votes that the winner needs; below it the whole group is FAIL."""
    voters: tuple[LineageModel, ...] = ()
    """Earlier generations that answer too; their answers vote and are not judged."""
    voter_samples: int = Field(default=1, ge=1)
    """Answers of each voter to one prompt."""
    min_length_ratio: float = Field(default=0.0, ge=0, le=1)
    """Answers shorter than this share of the group's longest have no vote (length filter, arXiv:2502.01612)."""
