"""The base of a lineage: generation 0's weights before its own training steps."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from bootstrap.canonical import sha256
from bootstrap.config.base import ByType, Later, OnDisk, Settings
from bootstrap.config.few_shot import ExampleFile, as_file
from bootstrap.ids import ForeignGeneration

SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>", "<unk>")
"""First entries of a scratch model's vocabulary, in order; the task's characters follow."""
RESERVED_ARGUMENTS = frozenset(
    {
        "add_generation_prompt",
        "chat_template",
        "continue_final_message",
        "conversation",
        "documents",
        "max_length",
        "messages",
        "padding",
        "return_assistant_tokens_mask",
        "return_dict",
        "return_tensors",
        "tokenize",
        "tokenizer_kwargs",
        "tools",
        "truncation",
    }
)
"""Arguments of `apply_chat_template` that are no setting of the template."""


def scratch_vocabulary(characters: Sequence[str]) -> dict[str, int]:
    """Return token -> id of a model from scratch over a task's `characters`, which may include tags."""
    return {token: index for index, token in enumerate((*SPECIAL_TOKENS, *characters))}


class ModelSettings(Settings):
    """Weights from outside the lineage; the answers hold where a kind says nothing else."""

    is_scratch: ClassVar[bool] = False
    """Whether its weights are random and its vocabulary is the task's characters."""

    @property
    @abstractmethod
    def told(self) -> str:
        """The model in a few words."""

    @property
    def as_scratch(self) -> "ScratchModel | None":
        """The model itself if its weights are random."""
        return None

    @property
    def as_pretrained(self) -> "PretrainedModel | None":
        """The model itself if it is a folder that a lineage can start from."""
        return None

    @property
    def as_generation(self) -> "GenerationModel | None":
        """The model itself if it is a generation of another lineage."""
        return None

    @property
    def is_pretrained(self) -> bool | None:
        """Whether its weights go back to a folder; None where that is unknown."""
        return not self.is_scratch

    @property
    def folder(self) -> Path | None:
        """Its Hugging Face folder; None without one."""
        return None

    @property
    def written(self) -> str | None:
        """The folder as the recipe writes it."""
        return None

    @property
    def declared_length(self) -> int | None:
        """Tokens of its longest sequence, prompt and completion together; None where only its files tell."""
        return None

    @property
    def trained_level(self) -> int:
        """Highest level that it was trained for; 0 where that is unknown."""
        return 0


class ScratchModel(ModelSettings):
    """A fresh Llama without positional encoding (`SmolLM3ForCausalLM`, all layers NoPE), one token a character."""

    is_scratch: ClassVar[bool] = True
    type: Literal["scratch"] = "scratch"
    hidden_size: int = Field(default=96, ge=8)
    """Width of the residual stream."""
    intermediate_size: int = Field(default=192, ge=8)
    """Width of the SwiGLU layer."""
    num_layers: int = Field(default=3, ge=1)
    """Number of transformer blocks."""
    num_heads: int = Field(default=4, ge=1)
    """Attention heads of a block; they divide `hidden_size`."""
    max_length: int = Field(default=128, ge=8)
    """Tokens of the longest sequence, prompt and completion together."""
    initializer_range: float = Field(default=0.02, gt=0)
    """Standard deviation of the initial weights."""

    @property
    def told(self) -> str:
        return "random weights"

    @property
    def as_scratch(self) -> "ScratchModel":
        return self

    @property
    def declared_length(self) -> int:
        return self.max_length

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "ScratchModel":
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_heads {self.num_heads}; "
                f"use {self.hidden_size // self.num_heads * self.num_heads} or another number of heads"
            )
        return self


class FolderModel(OnDisk, ModelSettings):
    """A local Hugging Face folder: config.json, safetensors weights, tokenizer files."""

    type: Literal["folder"] = "folder"
    path: str = Field(min_length=1)
    """The folder; relative paths start at the recipe's folder."""

    @property
    def told(self) -> str:
        return self.path

    @property
    def folder(self) -> Path:
        return Path(self.path)


class PretrainedModel(FolderModel):
    """A local Hugging Face folder that a lineage starts from; its chat template frames the prompts."""

    chat: Literal["template", "plain"] = "template"
    """`template`: a prompt is a user's turn in the folder's chat template, if it has one. `plain`: the model reads the
    prompt as it is."""
    system: str | None = Field(default=None, min_length=1)
    """System prompt before each user's turn; null leaves the template's own."""
    template_arguments: Annotated[dict[str, bool | int | float | str | None], Later({})] = Field(default={})
    """Arguments of the chat template, as `{enable_thinking: false}`; each must be one that the template reads."""
    examples: Annotated[
        ExampleFile | None, BeforeValidator(as_file, json_schema_input_type=ExampleFile | str | None), Later(None)
    ] = None
    """Few-shot examples before each prompt: a JSON Lines file with `prompt`, as the model reads the task's prompts, and
    `answer`. In a chat template they are earlier turns; otherwise they are text, `Question: ...` and `Answer:` on lines
    of their own, the prompt takes the same form, and the next `Question:` is a stop text."""
    prefill: Annotated[str | None, Later(None)] = Field(default=None, min_length=1)
    """Beginning of every answer, put at the end of the prompt: the model goes on from there. Answers are judged without
    it, except for a reasoning tag that it opens, as `<think>`."""
    stop: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Later([])] = ()
    """Texts that end an answer, beside its end tokens; the answer is what stands before the first of them."""
    min_new_tokens: Annotated[int, Later(0)] = Field(default=0, ge=0)
    """Tokens before which an answer cannot end: end tokens have probability zero there, in sampling and in the policy
    gradient alike. A stop text ends an answer at once."""

    def __hash__(self) -> int:
        # The arguments are a dictionary, which has no hash of its own.
        return int(sha256(self.model_dump_json().encode())[:15], 16)

    @property
    def as_pretrained(self) -> "PretrainedModel":
        return self

    def pinned(self) -> Self:
        """Return the model with the hash of the few-shot file. Raises ValueError, with the remedy, if it is no such."""
        if self.examples is None:
            return self
        return self.model_copy(update={"examples": self.examples.pinned()})

    @model_validator(mode="after")
    def _system_prompt_is_shown(self) -> "PretrainedModel":
        if self.system is not None and self.chat == "plain":
            raise ValueError("a system prompt has no effect with chat plain; remove system, or set chat: template")
        if self.template_arguments and self.chat == "plain":
            raise ValueError("template_arguments have no effect with chat plain; remove them, or set chat: template")
        return self

    @field_validator("template_arguments")
    @classmethod
    def _arguments_of_the_template(cls, arguments: dict[str, object]) -> dict[str, object]:
        if taken := sorted(RESERVED_ARGUMENTS & arguments.keys()):
            raise ValueError(f"{', '.join(taken)} cannot be set; name arguments that the template itself reads")
        return arguments


class GenerationModel(ModelSettings):
    """A generation of another lineage in the same store, rejected ones too: what `bootstrap fork` writes.

    The answers that the other lineage has accumulated by then are inherited, if both have the same task. `bootstrap
    show` prints a generation's hashes.
    """

    type: Literal["generation"] = "generation"
    lineage: str = Field(pattern=r"^[^/.@][^/@]*$")
    """The other lineage's name: that of its folder."""
    number: int = Field(ge=0)
    """Number of the generation there."""
    fingerprint: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 fingerprint of the generation's weights."""
    record: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Hash of its ledger record, which identifies all that made it."""
    level: int = Field(ge=1)
    """Highest level that it was trained for, if above the task's `base_level`: the curriculum goes on from there, while
    references still end at `base_level`."""
    pretrained: Annotated[bool | None, Later(None)] = None
    """Whether its weights go back to a pretrained model's folder, whose defaults the recipe has then; null: unknown."""

    @property
    def told(self) -> str:
        return self.place

    @property
    def as_generation(self) -> "GenerationModel":
        return self

    @property
    def is_pretrained(self) -> bool | None:
        return self.pretrained

    @property
    def trained_level(self) -> int:
        return self.level

    @property
    def place(self) -> str:
        """Where it is found, as `bootstrap fork` is told: `addition@gen-3`."""
        return str(ForeignGeneration(self.lineage, self.number))


BaseModelSource = Annotated[ScratchModel | PretrainedModel | GenerationModel, ByType()]
