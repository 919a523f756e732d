"""How a model folder's prompts look to the model, for people: their form, the known characters, the end of an answer.

From the folder's texts alone, without torch. Left out: tokens (`data_text.py`) and how long an answer may be.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from bootstrap.training.chat import Framing, framing_of, taught_end
from bootstrap.training.special_tokens import tokenizer_of

PLACE = "{prompt}"
"""Stands for the prompt in `HowAsked.form`."""
MOST_CHARACTERS = 400
"""Entries of a vocabulary up to which it counts as an alphabet."""


@dataclass(frozen=True, kw_only=True)
class HowAsked:
    """How prompts are put to one model."""

    framing: Framing
    form: str
    """What the model reads, with the tokenizer's own special tokens, for the prompt `{prompt}`."""
    alphabet: tuple[str, ...]
    """Every character, or longer entry, that a character tokenizer knows; empty for other tokenizers."""
    end: str | None
    """The token that ends an answer."""

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end an answer beside that token."""
        return self.framing.choices.stop


def how_asked(files: Mapping[str, bytes]) -> HowAsked:
    """Return how a folder's model is asked. Raises RecipeError for a chat template that is no Jinja, or refuses."""
    framing = framing_of(files)
    opening, closing = tokens_around(files) if framing.adds_special_tokens else ("", "")
    return HowAsked(
        framing=framing,
        form=opening + framing.text(PLACE) + closing,
        alphabet=_alphabet(files),
        end=taught_end(files),
    )


def tokens_around(files: Mapping[str, bytes]) -> tuple[str, str]:
    """Return the texts of the special tokens that a folder's tokenizer adds before and after a text."""
    tokenizer = tokenizer_of(files)
    # It adds them around any text; one entry of its own stands for it.
    found = tokenizer.encode(next(iter(tokenizer.get_vocab(with_added_tokens=False)), ""))
    mask = list(found.special_tokens_mask)
    outside = [token for token, special in zip(found.tokens, mask, strict=True) if special]
    before = mask.index(0) if 0 in mask else len(outside)
    return "".join(outside[:before]), "".join(outside[before:])


def _alphabet(files: Mapping[str, bytes]) -> tuple[str, ...]:
    found = json.loads(files["tokenizer.json"])
    match found:
        case {"model": {"type": "WordLevel", "vocab": {**vocabulary}}, "added_tokens": [*added]}:
            special = {token["content"] for token in added}
            own = sorted(set(vocabulary) - special, key=lambda entry: vocabulary[entry])
            return tuple(own) if len(own) <= MOST_CHARACTERS else ()
    return ()
