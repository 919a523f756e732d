"""Texts of prompts and answers are data: what reads like a control token in them is tokenised as the letters it is.

A tokenizer takes the text of a special token for that token wherever it stands, so that a row which holds `<eos>` would
end itself. Only the tokenizer (around every text) and the chat template may write control tokens. Texts that hold none,
which are nearly all, are tokenised as ever. The others are tokenised whole, by a copy of the tokenizer that knows its
control tokens by other names; in a template's text, those that the template wrote are renamed likewise:

    prompt      a<eos>                 the copy's added tokens    <eos> -> a stand-in of the same id
    rendered    U:a<eos><eos>          what the copy reads        U:a<eos>(stand-in)

Whose a control token is can be told only while the prompt's are marks, since a rendered text does not say. Cut in
pieces, a text would get other tokens: many tokenizers begin each piece with a blank.
"""

import json
import re
from collections.abc import Callable, Sequence

from tokenizers import Tokenizer

from bootstrap.training.chat import Framing

Encode = Callable[[str, bool], Sequence[int]]
"""(text, whether the tokenizer adds its special tokens) -> tokens."""
_PRIVATE = range(0xE000, 0xF900)
"""Characters that mean nothing, of which a prompt holds few."""


class Letters:
    """What a tokenizer makes of texts in which its control tokens are letters."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        names = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
        # The longer ones first, for one may begin with another.
        self._names = sorted(names - {""}, key=lambda name: (-len(name), name))
        self._controls = re.compile("|".join(map(re.escape, self._names))) if self._names else None
        self._copy: tuple[str, Tokenizer] | None = None
        """The mark in its stand-ins, and the copy: a large vocabulary takes a second to copy, and one serves nearly
        all texts."""

    def are_in(self, text: str) -> bool:
        """Return whether a text holds the text of a control token."""
        return self._controls is not None and self._controls.search(text) is not None

    def tokens(self, text: str, *, adds_special_tokens: bool) -> tuple[int, ...]:
        """Return the tokens of a text, all of which is data."""
        return self._encoded(text, _mark(text), adds_special_tokens)

    def prompt(self, prompt: str, framing: Framing) -> tuple[int, ...]:
        """Return the tokens of a prompt as it is shown. Raises RecipeError when the template refuses it."""
        assert self._controls is not None, "a prompt without control tokens is tokenised as ever"
        if framing.template is None:
            return self.tokens(prompt, adds_special_tokens=framing.adds_special_tokens)
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
        """Return what the copy calls each control token."""
        return {name: f"{mark}{number}{mark}" for number, name in enumerate(self._names)}

    def _encoded(self, text: str, mark: str, adds_special_tokens: bool) -> tuple[int, ...]:
        if self._copy is None or self._copy[0] != mark:
            self._copy = mark, _renamed(self._tokenizer, self._stand_ins(mark))
        return tuple(self._copy[1].encode(text, add_special_tokens=adds_special_tokens).ids)


def prompt_tokens(prompt: str, framing: Framing, *, letters: Letters, encode: Encode) -> tuple[int, ...]:
    """Return the tokens of a prompt as it is shown to the model; `encode`: for those without control tokens.

    Raises RecipeError when the template refuses it.
    """
    if letters.are_in(prompt):
        return letters.prompt(prompt, framing)
    return tuple(encode(framing.text(prompt), framing.adds_special_tokens))


def _mark(*texts: str) -> str:
    """Return a character that is in none of the texts."""
    return next(chr(code) for code in _PRIVATE if not any(chr(code) in text for text in texts))


def _renamed(tokenizer: Tokenizer, names: dict[str, str]) -> Tokenizer:
    """Return a copy that calls some tokens otherwise, under the ids that they have.

    In the vocabulary too: a Unigram model takes the text of its `</s>` for that token on its own.
    """
    found = json.loads(tokenizer.to_str())
    for token in found["added_tokens"]:
        token["content"] = names.get(token["content"], token["content"])
    model = found["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {names.get(text, text): number for text, number in model["vocab"].items()}
    else:
        model["vocab"] = [[names.get(text, text), score] for text, score in model["vocab"]]
    if model.get("unk_token") is not None:
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    if model.get("merges"):
        pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
        model["merges"] = [[a, b] for a, b in pairs if not names.keys() & {a, b, a + b}]
    copy = Tokenizer.from_str(json.dumps(found))
    # What is cut or filled up to a length is left to whoever batches the tokens.
    copy.no_truncation()
    copy.no_padding()
    moved = [name for name, other in names.items() if copy.token_to_id(other) != tokenizer.token_to_id(name)]
    assert not moved, f"control tokens have other ids in the copy: {moved}"
    return copy
