"""Texts of prompts and answers are data: a control token's text in them is tokenised as letters.

A tokenizer reads the text of a special token as that token anywhere, so a row that holds `<eos>` would end itself. Only
the tokenizer (around every text) and the chat template may write control tokens. Texts without any, nearly all, are
tokenised as usual. The others are tokenised whole, by a copy of the tokenizer in which control tokens have other names
(stand-ins); in a framed prompt, the template's own control tokens are renamed likewise:

    prompt      a<eos>                 the copy's added tokens    <eos> -> a stand-in of the same id
    framed      U:a<eos><eos>          the copy reads             U:a<eos>(stand-in)

The prompt's control tokens are marked before framing, since a framed text does not tell whose they are. A text is not
cut in pieces, because many tokenizers begin each piece with a blank.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from tokenizers import Tokenizer

from bootstrap.training.chat import Framing
from bootstrap.training.special_tokens import rules_kept

Encode = Callable[[str, bool], Sequence[int]]
"""(text, whether the tokenizer adds its special tokens) -> tokens."""
_PRIVATE = range(0xE000, 0xF900)
"""Private-use characters, of which a prompt holds few."""


class Letters:
    """Tokenises texts in which control tokens are letters."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        names = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
        # The longer ones first: one may begin with another.
        self._names = sorted(names - {""}, key=lambda name: (-len(name), name))
        self._controls = re.compile("|".join(map(re.escape, self._names))) if self._names else None
        self._copy: tuple[str, Tokenizer] | None = None
        """The mark in the copy's stand-ins, and the copy, kept because copying a large vocabulary takes a second."""

    def are_in(self, text: str) -> bool:
        """Return whether a text holds the text of a control token."""
        return self._controls is not None and self._controls.search(text) is not None

    def tokens(self, text: str, *, adds_special_tokens: bool) -> tuple[int, ...]:
        """Return the tokens of a text that is data as a whole."""
        return self._encoded(text, _mark(text), adds_special_tokens)

    def prompt(self, prompt: str, framing: Framing) -> tuple[int, ...]:
        """Return the tokens of a framed prompt. Raises RecipeError when the template refuses the prompt."""
        assert self._controls is not None, "a prompt without control tokens is tokenised as usual"
        if framing.template is None:
            return self.tokens(framing.text(prompt), adds_special_tokens=framing.adds_special_tokens)
        brought = self._controls.findall(prompt)
        numbers = iter(range(len(brought)))
        mark = _mark(prompt)
        rendered = framing.text(self._controls.sub(lambda _: f"{mark}{next(numbers)}{mark}", prompt))
        other = _mark(prompt, rendered, mark)
        stand_ins = self._stand_ins(other)
        pieces = re.split(f"{mark}([0-9]+){mark}", rendered)
        text = "".join(
            brought[int(piece)] if place % 2 else self._controls.sub(lambda found: stand_ins[found.group()], piece)
            for place, piece in enumerate(pieces)
        )
        return self._encoded(text, other, framing.adds_special_tokens)

    def _stand_ins(self, mark: str) -> dict[str, str]:
        """Return each control token's name in the copy."""
        return {name: f"{mark}{number}{mark}" for number, name in enumerate(self._names)}

    def _encoded(self, text: str, mark: str, adds_special_tokens: bool) -> tuple[int, ...]:
        if self._copy is None or self._copy[0] != mark:
            self._copy = mark, _renamed(self._tokenizer, self._stand_ins(mark))
        with rules_kept():
            return tuple(self._copy[1].encode(text, add_special_tokens=adds_special_tokens).ids)


def prompt_tokens(prompt: str, framing: Framing, *, letters: Letters, encode: Encode) -> tuple[int, ...]:
    """Return the tokens of a framed prompt; `encode` serves prompts without control tokens.

    Raises RecipeError when the template refuses the prompt.
    """
    if letters.are_in(prompt):
        return letters.prompt(prompt, framing)
    return tuple(encode(framing.text(prompt), framing.adds_special_tokens))


def prompt_encoder(framing: Framing, tokenizer: Any) -> Callable[[str], tuple[int, ...]]:
    """Return what turns a prompt's text into the tokens of the framed prompt, by a tokenizer of transformers."""
    letters = Letters(tokenizer.backend_tokenizer)

    def tokens(text: str, adds: bool) -> list[int]:
        with rules_kept():
            return tokenizer.encode(text, add_special_tokens=adds)

    return lambda prompt: prompt_tokens(prompt, framing, letters=letters, encode=tokens)


def _mark(*texts: str) -> str:
    """Return a private-use character that is in none of the texts."""
    return next(chr(code) for code in _PRIVATE if not any(chr(code) in text for text in texts))


def _renamed(tokenizer: Tokenizer, names: dict[str, str]) -> Tokenizer:
    """Return a copy in which some tokens have other names and the same ids.

    The vocabulary is renamed too: a Unigram model by itself reads the text of its `</s>` as that token.
    """
    found = json.loads(tokenizer.to_str())
    for token in found["added_tokens"]:
        token["content"] = names.get(token["content"], token["content"])
    model = found["model"]
    match model["vocab"]:
        case dict(numbers):
            model["vocab"] = {names.get(text, text): number for text, number in numbers.items()}
        case scores:
            model["vocab"] = [[names.get(text, text), score] for text, score in scores]
    if model.get("unk_token") is not None:
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    if model.get("merges"):
        pairs = [pair.split(" ") if type(pair) is str else pair for pair in model["merges"]]
        model["merges"] = [[a, b] for a, b in pairs if not names.keys() & {a, b, a + b}]
    copy = Tokenizer.from_str(json.dumps(found))
    # Whoever batches the tokens cuts and pads them.
    copy.no_truncation()
    copy.no_padding()
    moved = [name for name, other in names.items() if copy.token_to_id(other) != tokenizer.token_to_id(name)]
    assert not moved, f"control tokens have other ids in the copy: {moved}"
    return copy
