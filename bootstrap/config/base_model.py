"""Generation 0's weights before its own training steps: where a lineage begins."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, ValidationInfo, field_serializer, model_validator

from bootstrap.config.base import Settings


class ScratchModel(Settings):
    """A fresh Llama without positional encoding (`SmolLM3ForCausalLM`, all layers NoPE) over the task's characters."""

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

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "ScratchModel":
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_heads {self.num_heads}; "
                f"use {self.hidden_size // self.num_heads * self.num_heads} or another number of heads"
            )
        return self


class FolderModel(Settings):
    """A local Hugging Face folder: config.json, safetensors weights, tokenizer files."""

    type: Literal["folder"] = "folder"
    path: str = Field(min_length=1)
    """The folder; relative paths start at the recipe's own folder."""
    _written: str = PrivateAttr(default="")

    @model_validator(mode="after")
    def _start_at_the_recipe(self, info: ValidationInfo) -> "FolderModel":
        self._written = self.path
        if info.context and "folder" in info.context:
            # The class is frozen for everyone else; this is still part of its making.
            object.__setattr__(self, "path", str((Path(info.context["folder"]) / self.path).expanduser().resolve()))
        return self

    @field_serializer("path")
    def _as_written(self, path: str) -> str:
        """Identities hold the path as the recipe has it, so that they do not depend on where the recipe lies."""
        return self._written or path


BaseModelSource = Annotated[ScratchModel | FolderModel, Field(discriminator="type")]
