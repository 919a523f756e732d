"""Special tokens of a model's folder, read without transformers, which the driver lacks."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from textwrap import shorten
from typing import Any

from tokenizers import Tokenizer

from bootstrap.errors import ModelFault, RecipeError

_BRIEF = 200
"""Most characters quoted of the library's error."""
NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""The special tokens that a tokenizer_config.json names."""


def tokenizer_of(files: Mapping[str, bytes]) -> Tokenizer:
    """Return the tokenizer in a folder's tokenizer.json. Raises ModelFault for one that the library cannot open."""
    try:
        return Tokenizer.from_str(files["tokenizer.json"].decode())
    except Exception as error:
        # The library raises a bare Exception.
        if type(error) is not Exception and not isinstance(error, ValueError):
            raise
        told = shorten(str(error), _BRIEF, placeholder=" ...")
        raise ModelFault(
            f"tokenizer.json cannot be opened: {told}; fetch it again, or save the model's fast tokenizer with "
            "save_pretrained"
        ) from error


@contextmanager
def rules_kept() -> Iterator[None]:
    """Raise ModelFault where a tokenizer gives up on a text while this lasts, as after too many tries of a rule."""
    try:
        yield
    except BaseException as error:
        # The library's panics derive from BaseException alone, and their class is nowhere to import.
        if type(error).__name__ != "PanicException":
            raise
        told = shorten(str(error), _BRIEF, placeholder=" ...")
        raise ModelFault(
            f"the rules in tokenizer.json fail on a text: {told}; leave that text out, or use another tokenizer"
        ) from error


def token_text(settings: Mapping[str, Any], name: str) -> str | None:
    """Return a special token's text (a string, or in older files an object with `content`), None if absent."""
    match settings.get(name):
        case {"content": text}:
            return text
        case {}:
            return None
        case text:
            return text


def added_tokens(files: Mapping[str, bytes]) -> dict[str, int]:
    """Return text -> id of the tokens that a folder's tokenizer.json adds to its model's vocabulary."""
    return {token["content"]: token["id"] for token in _added(files)}


def control_tokens(files: Mapping[str, bytes]) -> tuple[str, ...]:
    """Return the texts that a folder's tokenizer reads as control tokens anywhere."""
    return tuple(token["content"] for token in _added(files) if token.get("special") and token["content"])


def _added(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    return json.loads(files.get("tokenizer.json", b"{}")).get("added_tokens") or []


def end_id(tokenizer: Tokenizer, text: str | None, *, rows: int | None) -> int:
    """Return the id of the token that training teaches as the end of an answer.

    `text`: the token's; `rows`: of the embedding, if known. Raises RecipeError for a missing token, and for one that
    the model cannot draw.
    """
    if text is None:
        raise RecipeError(
            "the model's tokenizer_config.json names no eos_token, so no answer could end; "
            "set tokenizer.eos_token and save the folder again with save_pretrained"
        )
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
    match settings.get("eos_token_id"):
        case list(named):
            return tuple(one for one in named if isinstance(one, int))
        case int(one):
            return (one,)
    return ()
