"""Reading a folder's special tokens, for the driver (which has no transformers) and the workers alike."""

from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer

from bootstrap.errors import RecipeError

NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""The special tokens that a tokenizer_config.json names."""


def token_text(settings: Mapping[str, Any], name: str) -> str | None:
    """Return a special token's text (a string, or in older files an object with `content`), None if absent."""
    value = settings.get(name)
    return value.get("content") if isinstance(value, Mapping) else value


def end_of_sequence(settings: Mapping[str, Any]) -> str:
    """Return the end-of-sequence token's text. Raises RecipeError when the tokenizer has none."""
    text = token_text(settings, "eos_token")
    if text is None:
        raise RecipeError(
            "the model's tokenizer_config.json names no eos_token, so no answer could end; "
            "set tokenizer.eos_token and save the folder again with save_pretrained"
        )
    return text


def end_id(tokenizer: Tokenizer, settings: Mapping[str, Any], *, rows: int | None) -> int:
    """Return the token that answers are taught to end with.

    `rows`: of the embedding, if known. Raises RecipeError when there is no such token, or the model cannot draw it.
    """
    text = end_of_sequence(settings)
    found = tokenizer.token_to_id(text)
    if found is None:
        raise RecipeError(
            f"the model's tokenizer_config.json names the eos_token {text!r}, which tokenizer.json has no token for, "
            "so no answer could end; name one of its tokens there"
        )
    if rows is not None and found >= rows:
        raise RecipeError(
            f"the eos_token {text!r} is token {found}, and the model's embedding has {rows} rows, so no answer could "
            "end; name another eos_token in tokenizer_config.json, or resize the embedding "
            "(model.resize_token_embeddings) and save the folder again"
        )
    return found


def ends_named(settings: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the end tokens that a config.json or generation_config.json names: one, several or none."""
    value = settings.get("eos_token_id")
    return tuple(one for one in (value if isinstance(value, list) else [value]) if isinstance(one, int))
