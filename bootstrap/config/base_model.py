"""Generation 0's weights before its own training steps: where a lineage begins."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PrivateAttr, ValidationInfo, field_serializer, model_validator

from bootstrap.config.base import ByType, Settings
from bootstrap.ids import ForeignGeneration

SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>", "<unk>")
"""First entries of a scratch model's vocabulary, in this order; the task's characters follow."""
MODEL_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
"""What a Hugging Face folder must hold to be read as a model."""


def scratch_vocabulary(characters: Sequence[str]) -> dict[str, int]:
    """Return token -> id of a model from scratch over a task's `characters`, some of which may be tags."""
    return {token: index for index, token in enumerate((*SPECIAL_TOKENS, *characters))}


def missing_files(folder: Path) -> str | None:
    """Return which of `MODEL_FILES` a folder lacks and what to do about it; None when it has all of them."""
    missing = [name for name in MODEL_FILES if not (folder / name).is_file()]
    if not missing:
        return None
    return (
        f"{folder} lacks {', '.join(missing)}; save the model and its fast tokenizer with save_pretrained, "
        "weights in one safetensors file (max_shard_size)"
    )


class ModelSettings(Settings):
    """Weights from outside the lineage; the properties hold where a kind says nothing else."""

    is_scratch: ClassVar[bool] = False
    """Whether its weights are random and its vocabulary is the task's characters."""

    @property
    def told(self) -> str:
        """What it is, in words."""
        raise NotImplementedError

    @property
    def as_scratch(self) -> "ScratchModel | None":
        """The model itself if its weights are random."""
        return None

    @property
    def as_pretrained(self) -> "PretrainedModel | None":
        """The model itself if a lineage can start from it and it lies in a folder."""
        return None

    @property
    def as_generation(self) -> "GenerationModel | None":
        """The model itself if it is a generation of another lineage."""
        return None

    @property
    def folder(self) -> Path | None:
        """Where it lies as a Hugging Face folder; None where it does not."""
        return None

    @property
    def written(self) -> str | None:
        """That folder as the recipe writes it."""
        return None

    @property
    def declared_length(self) -> int | None:
        """Tokens of its longest sequence, prompt and completion together; None where its own files say."""
        return None

    @property
    def trained_level(self) -> int:
        """Highest level that it is known to be trained for; 0 where nothing is known."""
        return 0


class ScratchModel(ModelSettings):
    """A fresh Llama without positional encoding (`SmolLM3ForCausalLM`, all layers NoPE) over the task's characters."""

    is_scratch: ClassVar[bool] = True
    type: Literal["scratch"] = "scratch"
    hidden_size: int = Field(default=96, ge=8)
    """Width of the residual stream."""
    intermediate_size: int = Field(default=192, ge=8)
    """Width of the SwiGLU layer."""
    num_layers: int = Field(default=3, ge=1)
    num_heads: int = Field(default=4, ge=1)
    max_length: int = Field(default=128, ge=8)
    """Longest sequence the configuration declares, prompt and completion together."""
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


class FolderModel(ModelSettings):
    """A local Hugging Face folder: config.json, safetensors weights, tokenizer files."""

    has_path: ClassVar[bool] = True
    type: Literal["folder"] = "folder"
    path: str = Field(min_length=1)
    """The folder; relative paths start at the recipe's own folder."""
    _written: str = PrivateAttr(default="")

    @model_validator(mode="after")
    def _start_at_the_recipe(self, info: ValidationInfo) -> "FolderModel":
        self._written = self.path
        if info.context and "folder" in info.context:
            # The class is frozen for everyone else; this is still part of its making.
            object.__setattr__(
                self, "path", str((Path(info.context["folder"]) / Path(self.path).expanduser()).resolve())
            )
        return self

    @property
    def told(self) -> str:
        return self.path

    @property
    def folder(self) -> Path:
        return Path(self.path)

    @property
    def written(self) -> str:
        return self._written or self.path

    @field_serializer("path")
    def _as_written(self, path: str) -> str:
        """Identities hold the path as the recipe has it, so that they do not depend on where the recipe lies."""
        return self.written


class PretrainedModel(FolderModel):
    """A local Hugging Face folder that a lineage starts from; a chat template in it frames the prompts."""

    chat: Literal["template", "plain"] = "template"
    """How prompts reach the model: as a user's turn in the folder's chat template, if it has one, or as they are."""
    system: str | None = Field(default=None, min_length=1)
    """System prompt before each user's turn; null leaves it to the template."""

    @property
    def as_pretrained(self) -> "PretrainedModel":
        return self

    @model_validator(mode="after")
    def _system_prompt_is_shown(self) -> "PretrainedModel":
        if self.system is not None and self.chat == "plain":
            raise ValueError("a system prompt has no effect with chat plain; remove system, or set chat: template")
        return self


class GenerationModel(ModelSettings):
    """A generation of another lineage in the same store, rejected ones too: what `bootstrap fork` writes.

    The answers that the other lineage has accumulated by then are inherited, if both have the same task. `bootstrap
    show` prints a generation's hashes.
    """

    type: Literal["generation"] = "generation"
    lineage: str = Field(pattern=r"^[^/.@][^/@]*$")
    """The other lineage's name: that of its folder."""
    number: int = Field(ge=0)
    fingerprint: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of its weights."""
    record: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Hash of its ledger record, which stands for all that went into it."""
    level: int = Field(ge=1)
    """Highest level that it was trained for, if above the task's `base_level`: the curriculum goes on from there, while
    references still end at `base_level`."""

    @property
    def told(self) -> str:
        return self.place

    @property
    def as_generation(self) -> "GenerationModel":
        return self

    @property
    def trained_level(self) -> int:
        return self.level

    @property
    def place(self) -> str:
        """Where it is found, as `bootstrap fork` is told: `addition@gen-3`."""
        return str(ForeignGeneration(self.lineage, self.number))


BaseModelSource = Annotated[ScratchModel | PretrainedModel | GenerationModel, ByType()]
