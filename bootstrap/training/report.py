"""Findings about the ends, padding, chat template and weights of a model, from its files.

A finding is one line: what the files say, and what is used where they disagree or say nothing. Left out: refusals
(`sources.py`).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bootstrap.errors import RecipeError
from bootstrap.training.chat import TEMPLATE, arguments_of, end_of_turn_of, framing_of, taught_end, template_of
from bootstrap.training.special_tokens import ends_named, token_text, tokenizer_of


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What opening a model tells."""

    ends: tuple[int, ...]
    """Every token at which sampling stops."""
    rows: int
    """Of the embedding."""
    is_tied: bool


def findings(files: Mapping[str, bytes], facts: Facts) -> list[str]:
    """Return the lines on a model folder. The files' own texts in them are escaped."""
    told = _Told(files, facts)
    return [*told.weights(), *told.ends(), *told.padding(), *told.template()]


class _Told:
    def __init__(self, files: Mapping[str, bytes], facts: Facts) -> None:
        self.files, self.facts = files, facts
        self.config, self.generation, self.settings = (
            json.loads(files.get(name, b"{}"))
            for name in ("config.json", "generation_config.json", "tokenizer_config.json")
        )
        self.tokenizer = tokenizer_of(files)

    def weights(self) -> Iterator[str]:
        if self.facts.is_tied:
            yield "weights: the output matrix is the embedding (tied); it is stored once and trained as one"

    def ends(self) -> Iterator[str]:
        inner = self.config.get("text_config") or {}
        in_config = tuple(dict.fromkeys((*ends_named(self.config), *ends_named(inner))))
        in_generation, eos = ends_named(self.generation), self._number(token_text(self.settings, "eos_token"))
        if set(in_config) != set(in_generation):
            yield (
                f"end tokens: config.json names {self._several(in_config)}, generation_config.json names "
                f"{self._several(in_generation)}; sampling stops at all of them"
            )
        named = dict.fromkeys((*in_config, *in_generation))
        if beyond := [end for end in named if not 0 <= end < self.facts.rows]:
            yield f"end tokens: {self._several(beyond)} is beyond the embedding's {self.facts.rows} rows; left out"
        if eos is not None and eos not in named:
            yield (
                f"end tokens: the tokenizer's eos_token is {self._one(eos)}, which neither configuration names; "
                "sampling stops there too"
            )
        shown = self._number(end_of_turn_of(self.files))
        if shown is not None and shown != eos:
            yield (
                f"end tokens: the chat template ends an answer with {self._one(shown)}, the tokenizer's eos_token is "
                f"{self._several(() if eos is None else (eos,))}; training teaches the template's, or with chat: plain "
                "the tokenizer's"
            )
        taught = self._number(taught_end(self.files))
        if taught is None:
            yield "end tokens: the tokenizer names no eos_token; set one, or training has no end to teach"
        else:
            yield f"answers end with {self._one(taught)}; sampling stops at {self._several(self.facts.ends)}"

    def padding(self) -> Iterator[str]:
        pad, text = self.config.get("pad_token_id"), token_text(self.settings, "pad_token")
        own = self._number(text)
        fills = next((one for one in (own, *self.facts.ends) if one is not None and one < self.facts.rows), None)
        used = "no token fills gaps" if fills is None else f"{self._one(fills)} fills gaps, which nobody reads"
        if text is not None and (own is None or own >= self.facts.rows):
            yield f"padding: the tokenizer's pad_token {text!r} is no token of the model; {used}"
        elif own is not None and own in self.facts.ends:
            yield (
                f"padding: pad_token is also the end token {self._one(own)}; padding is never read, so the end is "
                "taught all the same"
            )
        elif text is None and pad is None:
            yield f"padding: none is named; {used}"

    def template(self) -> Iterator[str]:
        if template_of(self.files) is None:
            yield (
                "chat template: none, so the model reads prompts as plain text; if it was trained on turns, put its "
                f"template into the folder as {TEMPLATE}, and if it was not, base.model.examples shows it the form"
            )
            return
        try:
            framing = framing_of(self.files)
            opening = framing.opening("1 + 1 = ?")
        except RecipeError as error:
            yield f"chat template: {error}"
            return
        if end_of_turn_of(self.files) is None:
            yield "chat template: it writes no token after an answer; training teaches the tokenizer's eos_token"
        if opening:
            yield f"chat template: a prompt ends with {opening!r}, so answers are judged with that before them"
        if known := arguments_of(self.files):
            yield f"chat template: it reads the arguments {', '.join(known)} (base.model.template_arguments)"

    def _number(self, text: str | None) -> int | None:
        return None if text is None else self.tokenizer.token_to_id(text)

    def _one(self, token: int) -> str:
        text = self.tokenizer.id_to_token(token) if token >= 0 else None
        return f"token {token}" if text is None else f"{text!r} ({token})"

    def _several(self, tokens: Sequence[Any]) -> str:
        return " and ".join(map(self._one, tokens)) or "none"
