"""Texts of prompts and answers are data: what reads like a control token in them is tokenised as the letters it is.

A tokenizer takes the text of a special token for that token wherever it stands, so that a row which holds `<eos>` would
end itself. Only the tokenizer (around every text) and the chat template may write control tokens. Texts that hold none,
which are nearly all, are tokenised as ever; a template's text is taken apart at those that the prompt brought in, since
once it is rendered no one can tell whose they are.
"""

import re
from collections.abc import Callable, Sequence

from tokenizers import Tokenizer

from bootstrap.training.chat import Framing

Encode = Callable[[str, bool, bool], Sequence[int]]
"""(text, whether the tokenizer adds its special tokens, whether control tokens are letters) -> tokens."""
_PRIVATE = range(0xE000, 0xF900)
"""Characters that mean nothing, of which a prompt holds few."""


def control_tokens(tokenizer: Tokenizer) -> re.Pattern[str] | None:
    """Return what finds the texts of a tokenizer's special tokens, None where it has none."""
    texts = [
        token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special and token.content
    ]
    # The longer ones first, for one may begin with another.
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True)))) if texts else None


def prompt_tokens(
    prompt: str, framing: Framing, *, controls: re.Pattern[str] | None, encode: Encode
) -> tuple[int, ...]:
    """Return the tokens of a prompt as it is shown to the model. Raises RecipeError when the template refuses it."""
    if controls is None or not controls.search(prompt):
        return tuple(encode(framing.text(prompt), framing.adds_special_tokens, False))
    if framing.template is None:
        return tuple(encode(prompt, framing.adds_special_tokens, True))
    texts = dict(enumerate(controls.findall(prompt)))
    mark = next(chr(code) for code in _PRIVATE if chr(code) not in prompt)
    numbers = iter(texts)
    held = controls.sub(lambda _: f"{mark}{next(numbers)}{mark}", prompt)
    pieces = re.split(f"{mark}([0-9]+){mark}", framing.text(held))
    tokens: list[int] = []
    for place, piece in enumerate(pieces):
        if piece:
            brought = place % 2 == 1
            tokens += encode(texts[int(piece)] if brought else piece, framing.adds_special_tokens, brought)
    return tuple(tokens)
