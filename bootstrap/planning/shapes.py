"""The shape and the tokenizer of each model that a recipe's generations start from.

Left out: bias terms, and the parameters of adapters, which are few.
"""

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bootstrap.compute import ModelShape, llama_shape
from bootstrap.config.base_model import ModelSettings, scratch_vocabulary
from bootstrap.config.model_files import json_in
from bootstrap.config.recipe import Recipe
from bootstrap.errors import RecipeError
from bootstrap.reading import named_folder
from bootstrap.records import Checkpoint
from bootstrap.stages.encoding import Encoder
from bootstrap.training.chat import framed_by

SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
"""What a configuration in Hugging Face terms must give."""


def shape_of_config(config: dict[str, Any]) -> ModelShape:
    """Return the shape of a Hugging Face configuration of the Llama family.

    Raises RecipeError for a configuration that names its sizes otherwise, or gives sizes that no model has.
    """
    if missing := [name for name in SIZES if type(config.get(name)) is not int]:
        raise RecipeError(
            f"base.model: its config.json gives no {', '.join(missing)}; start from a model of the Llama family, or "
            "from scratch"
        )
    given = [*SIZES, *(name for name in ("head_dim", "num_key_value_heads") if config.get(name) is not None)]
    if wrong := [f"{name} {config[name]!r}" for name in given if type(config[name]) is not int or config[name] < 1]:
        raise RecipeError(
            f"base.model: its config.json gives {', '.join(wrong)}, which is no positive whole number; fetch the "
            "folder again"
        )
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    heads = config["num_attention_heads"]
    head_size = config.get("head_dim") or hidden // heads
    keys = config.get("num_key_value_heads") or heads
    attention = 2 * hidden * head_size * (heads + keys)
    block = attention + 3 * hidden * config["intermediate_size"]
    matmul = layers * block + hidden * config["vocab_size"]
    embedding = 0 if config.get("tie_word_embeddings") else hidden * config["vocab_size"]
    return ModelShape(
        num_layers=layers,
        hidden_size=hidden,
        num_matmul_parameters=matmul,
        num_parameters=matmul + embedding + (2 * layers + 1) * hidden,
    )


def shape_of_folder(folder: Path) -> ModelShape:
    """Return the shape of the model in a local folder. Raises RecipeError, as `shape_of_config` does."""
    return shape_of_config(_config_of_folder(folder))


def _config_of_folder(folder: Path) -> dict[str, Any]:
    return json_in(folder / "config.json")


class PlannedModel:
    """A model that generations of a recipe start from, as far as a plan needs to know it.

    `forked`: the configuration, in Hugging Face terms, of a model that lies in another lineage's store.
    """

    def __init__(self, recipe: Recipe, model: ModelSettings, *, forked: dict[str, Any] | None) -> None:
        self._recipe, self._model, self._forked = recipe, model, forked

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its configuration in Hugging Face terms."""
        if self._model.folder is not None:
            return _config_of_folder(self._model.folder)
        scratch = self._model.as_scratch
        if scratch is None:
            assert self._forked is not None, "who plans a fork has found its origin"
            return self._forked
        return {
            "hidden_size": scratch.hidden_size,
            "intermediate_size": scratch.intermediate_size,
            "num_hidden_layers": scratch.num_layers,
            "num_attention_heads": scratch.num_heads,
            "vocab_size": len(scratch_vocabulary(self._recipe.task.characters)),
        }

    @cached_property
    def shape(self) -> ModelShape:
        """Its shape; with `training.adapter` all parameters are frozen."""
        if (scratch := self._model.as_scratch) is not None:
            return llama_shape(
                num_layers=scratch.num_layers,
                hidden_size=scratch.hidden_size,
                intermediate_size=scratch.intermediate_size,
                vocab_size=self.config["vocab_size"],
            )
        shape = shape_of_config(self.config)
        if self._recipe.training.adapter is None:
            return shape
        return replace(shape, num_frozen_matmul_parameters=shape.num_matmul_parameters)

    @cached_property
    def encoder(self) -> Encoder | None:
        """The tokenizer of a pretrained model; None where a token is a character, or the model lies in a store."""
        model = self._model.as_pretrained
        if model is None:
            return None
        with named_folder(Path(model.path)) as folder:
            files = framed_by(folder.contents(lambda name: name.endswith((".json", ".jinja"))), model)
        return Encoder(Checkpoint(fingerprint="", files=files))
