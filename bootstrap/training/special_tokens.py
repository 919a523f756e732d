"""Reading a tokenizer_config.json, for the driver (which has no transformers) and the workers alike."""

from collections.abc import Mapping
from typing import Any

from bootstrap.errors import RecipeError


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
