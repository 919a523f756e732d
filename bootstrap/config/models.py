"""Names of models in a recipe, and the verifiers that ask models: a judge, a vote, a reward model."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from bootstrap.config.answers import AnswerPlace, Judges, VerifierSettings, Whole
from bootstrap.config.base import ByType, Operational, Place, Settings
from bootstrap.config.base_model import FolderModel, ModelSettings, PretrainedModel, ScratchModel


class StageEnd(Settings):
    """The last generation of an earlier stage, or the best of its branches."""

    type: Literal["stage"] = "stage"
    stage: str
    """Its name."""


LineagePlace = Literal["parent", "champion", "previous", "base"] | Annotated[int, Field(ge=0)]
"""A generation of the lineage, by place or by number. `parent`: the one whose weights a generation starts from.
`previous`: the one before it and its siblings, whatever the gate said; of siblings, the best."""
LineageModel = LineagePlace | StageEnd
"""Every name of a generation of the lineage. `conflicts/models.py` refuses names that mean no generation where they
stand."""


class Endpoint(Settings):
    """A server with OpenAI's chat completions interface: vLLM, `transformers serve`, a hosted model."""

    type: Literal["endpoint"] = "endpoint"
    url: Annotated[str, Operational()] = Field(pattern=r"^https?://")
    """Base address, as `http://127.0.0.1:8000/v1`."""
    model: str = Field(min_length=1)
    """The model's name as the server knows it; for `transformers serve` also a local folder."""
    key_variable: Annotated[str | None, Operational()] = Field(default=None, pattern=r"^[A-Z_][A-Z0-9_]*$")
    """Environment variable that holds the key; recipes hold no secrets."""
    length_field: Annotated[Literal["max_tokens", "max_completion_tokens"], Operational()] = "max_tokens"
    """The server's name for the limit on a reply's tokens; some hosted models accept the second alone."""
    concurrency: Annotated[int, Operational()] = Field(default=4, ge=1, le=256)
    """Concurrent requests."""
    timeout_seconds: Annotated[float, Operational()] = Field(default=60, gt=0)
    """Longest wait for one reply, in seconds."""
    retries: Annotated[int, Operational()] = Field(default=4, ge=0, le=20)
    """Retries after a transient failure (no connection, 408, 429, 5xx), with exponential backoff."""

    @field_validator("url")
    @classmethod
    def _is_a_base_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if "@" in parts.netloc or parts.query:
            raise ValueError("recipes hold no secrets: put the key into an environment variable named by key_variable")
        if parts.path.rstrip("/").endswith("/chat/completions"):
            raise ValueError("give the base address, without /chat/completions")
        return url


class EndpointTeacher(Endpoint):
    """A model on a server as a source of answers to imitate; only its text is known."""

    system: str | None = Field(default=None, min_length=1)
    """System prompt before each prompt."""
    max_tokens: int = Field(default=256, ge=1)
    """Tokens of one answer; longer ones are cut and never accepted."""
    budget: Annotated[int, Operational()] = Field(default=100_000, ge=1)
    """Most questions asked in one step, cached replies and repeated tries not counted."""


Teacher = LineagePlace | Annotated[StageEnd | FolderModel, ByType()]
"""An earlier generation, or an external model with the same vocabulary."""
Reference = Literal["start"] | Teacher
"""The model that a KL term holds the policy to: `start`, the weights that the step starts from, or another model."""
Sampler = Literal["start"] | LineagePlace | Annotated[StageEnd | FolderModel | EndpointTeacher, ByType()]
"""The model that answers: `start`, the weights that the step starts from, or another model."""
Start = LineagePlace | Annotated[StageEnd | ScratchModel | PretrainedModel, ByType()]
"""Model that a generation starts from."""
Model = Start | Sampler
"""Every name of a model in a recipe."""


def outside_model(name: Model) -> ModelSettings | None:
    """Return the model outside the lineage that a name means; None for a generation and for a model on a server."""
    return name if isinstance(name, ModelSettings) else None


def server_model(name: Model) -> EndpointTeacher | None:
    """Return the model on a server that a name means; None for other names."""
    return name if isinstance(name, EndpointTeacher) else None


def stage_named(name: Model) -> str | None:
    """Return the stage whose end a name means; None for other names."""
    return name.stage if isinstance(name, StageEnd) else None


def number_named(name: Model) -> int | None:
    """Return the generation that a name means by its number; None for other names."""
    return name if isinstance(name, int) else None


def means_best(name: Model) -> bool:
    """Whether a name means the best of siblings (`branches`)."""
    return name == "previous" or stage_named(name) is not None


def told(name: Model) -> str:
    """Return a name in words, as `the champion`."""
    match name:
        case ModelSettings():
            return name.told
        case EndpointTeacher(model=model, url=url):
            return f"{model} at {url}"
        case StageEnd(stage=stage):
            return f"the last generation of {stage}"
        case int(number):
            return f"gen-{number}"
    return f"the {name}"


class GenerationJudge(Settings):
    """A generation of this lineage judges."""

    type: Literal["generation"] = "generation"
    generation: LineageModel = "champion"
    """The generation that judges."""


class JudgeVerifier(VerifierSettings):
    """A language model compares the answer with the reference by a rubric, blind to which is which; votes decide."""

    judges: ClassVar[Judges] = "answer"
    reads: ClassVar[str | None] = None
    built_by: ClassVar[str] = "bootstrap.scoring.judge:Judge"
    judges_alone: ClassVar[bool] = False
    type: Literal["judge"] = "judge"
    model: Annotated[Endpoint | GenerationJudge, ByType()]
    """The model that judges: on a server, or a generation of this lineage."""
    rubric: str = Field(min_length=1)
    """What makes an answer right, in words for the judge."""
    answer: AnswerPlace = Whole(strip=True)
    """The part of the completion that is judged."""
    accepts: Literal["equal", "no_worse"] = "equal"
    """`equal`: right means as right as the reference; an answer that the judge prefers to it is FAIL, because there the
    judge errs. `no_worse`: the reference is an example that may be surpassed; for tasks of taste."""
    votes: int = Field(default=2, ge=1, le=64)
    """Judgements per answer; answer and reference change places from one to the next. More than half must agree."""
    temperature: float = Field(default=0.0, ge=0)
    """0 lets the judge give its likeliest reply; there are two different questions then, one for each order."""
    max_tokens: int = Field(default=16, ge=1)
    """Length of one judgement; room for reasoning before the verdict, if the rubric asks for it."""
    max_answer_length: int = Field(default=20_000, ge=1)
    """Characters; longer answers are FAIL without being shown to the judge."""
    budget: Annotated[int, Operational()] = Field(default=100_000, ge=1)
    """Most questions asked in one run, cached replies and repeated tries not counted; beyond it answers are
    unverifiable."""

    @model_validator(mode="after")
    def _votes_can_differ(self) -> "JudgeVerifier":
        if self.temperature == 0 and self.votes > 2:
            raise ValueError(
                f"{self.votes} votes at temperature 0 repeat the same two questions, one for each order; "
                "set votes: 2, or a temperature above 0"
            )
        return self


class RewardModelVerifier(VerifierSettings):
    """A sequence-classification model scores prompt and answer together; it judges form, not right and wrong."""

    judges: ClassVar[Judges] = "form"
    built_by: ClassVar[str] = "bootstrap.scoring.reward_model:RewardModel"
    judges_alone: ClassVar[bool] = False
    is_hosted: ClassVar[bool] = True
    type: Literal["reward_model"] = "reward_model"
    model: FolderModel
    """Folder of the reward model."""
    input: Literal["auto", "chat", "pair"] = "auto"
    """`chat`: one turn of user and assistant in the tokenizer's chat template. `pair`: prompt and answer as the two
    segments of the tokenizer. `auto`: `chat` where the tokenizer has a template."""
    label: int = Field(default=0, ge=0)
    """Index of the output that is the score."""
    activation: Literal["none", "sigmoid", "softmax"] = "sigmoid"
    """Function from the model's output to the reward."""
    pass_score: float = 0.5
    """Reward from which the verdict is PASS."""
    unfinished_reward: float = 0.0
    """Reward of an answer that is too long or was cut, which is always FAIL. Without activation, choose a value below
    the model's scores of bad answers."""
    batch_size: Annotated[int, Operational()] = Field(default=16, ge=1)
    """Answers in one forward pass."""
    max_length: int = Field(default=2048, ge=8)
    """Most tokens of prompt and answer together; longer ones cannot be judged."""

    @property
    def reward_model(self) -> FolderModel:
        return self.model

    @property
    def can_be_negative(self) -> bool:
        """Whether its reward may be negative: without activation, or by what an unfinished answer gets."""
        return self.activation == "none" or self.unfinished_reward < 0

    @model_validator(mode="after")
    def _unfinished_never_passes(self) -> "RewardModelVerifier":
        if self.unfinished_reward >= self.pass_score:
            raise ValueError(
                f"unfinished_reward {self.unfinished_reward:g} reaches pass_score {self.pass_score:g}, so that endless "
                "answers would pay; lower it"
            )
        return self


class MajorityVerifier(VerifierSettings):
    """The answer that most of a group agrees on is right: self-consistency, without a reference."""

    judges: ClassVar[Judges] = "group"
    built_by: ClassVar[str] = "bootstrap.scoring.majority:Majority"
    judges_alone: ClassVar[bool] = False
    type: Literal["majority"] = "majority"
    answer: AnswerPlace = Whole(strip=True)
    """Place of the answer in the completion."""
    min_share: float = Field(default=0.5, gt=0, le=1)
    """Least share of the votes for the winner; below it, or with a tie, the whole group is FAIL."""
    voters: tuple[LineageModel, ...] = ()
    """Earlier generations that vote too; their answers are not judged."""
    voter_samples: int = Field(default=1, ge=1)
    """Answers of each voter to one prompt."""
    voter_temperature: float = Field(default=0.0, ge=0)
    """Sampling temperature of voters; 0 is greedy."""
    voter_max_tokens: int = Field(default=256, ge=1)
    """Most tokens of a voter's answer; a longer one has no vote."""
    min_length_ratio: float = Field(default=0.0, ge=0, le=1)
    """Answers shorter than this share of the longest have no vote and are FAIL (length filter, arXiv:2502.01612)."""

    @model_validator(mode="after")
    def _voters_make_sense(self) -> "MajorityVerifier":
        if not self.voters and self.voter_samples > 1:
            raise ValueError("voter_samples has no effect without voters; name voters, or remove it")
        if len(set(self.voters)) < len(self.voters):
            raise ValueError("a voter stands twice; raise voter_samples to give all of them more votes")
        if self.voter_samples > 1 and self.voter_temperature == 0:
            raise ValueError(
                "several greedy answers of one voter are all alike; set voter_samples: 1 or voter_temperature above 0"
            )
        return self


def roles(settings: VerifierSettings) -> tuple[tuple[Literal["judge", "voter"], LineageModel], ...]:
    """Return the generations that a verifier asks, each with its role; a rubric asks those of its components."""
    match settings:
        case JudgeVerifier(model=GenerationJudge(generation=generation)):
            return (("judge", generation),)
        case MajorityVerifier(voters=voters):
            return tuple(("voter", voter) for voter in voters)
    return tuple(dict.fromkeys(role for _, part in settings.parts() for role in roles(part)))


def reply_limits(settings: VerifierSettings) -> Iterator[tuple[Place, int]]:
    """Yield the most tokens of what a verifier reads of the lineage's generations, each with its place below it."""
    match settings:
        case JudgeVerifier(model=GenerationJudge()):
            yield ("max_tokens",), settings.max_tokens
        case MajorityVerifier(voters=(_, *_)):
            yield ("voter_max_tokens",), settings.voter_max_tokens
    for place, part in settings.parts():
        yield from (((*place, *below), limit) for below, limit in reply_limits(part))


def reward_models(settings: VerifierSettings) -> tuple[FolderModel, ...]:
    """Return the reward models of a verifier, or of a rubric's components."""
    own = (settings.reward_model,) if settings.reward_model else ()
    return own or tuple(model for _, part in settings.parts() for model in reward_models(part))
