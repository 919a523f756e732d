"""Texts that end an answer: found while tokens are drawn, and cut off the decoded answer.

The tokens that spell such a text were sampled, so they stay in the rollout with their log-probabilities.
"""

from collections.abc import Callable, Sequence

from torch import Tensor

MARGIN = 8
"""Tokens looked at beyond the longest text's bytes: some tokens decode to nothing, or to parts of a character."""


class StopTexts:
    """Looks for texts at the end of completions; `decode`: rows of tokens -> their texts."""

    def __init__(self, texts: Sequence[str], decode: Callable[[list[list[int]]], list[str]]) -> None:
        self._texts = tuple(texts)
        self._decode = decode
        self._window = MARGIN + max((len(text.encode()) for text in texts), default=0)

    def __bool__(self) -> bool:
        return bool(self._texts)

    def reached(self, tokens_BR: Tensor) -> list[int]:
        """Return the rows whose completion so far (B, R) holds one of the texts.

        Only each row's last tokens are decoded; a row where they hold one is decoded whole, since a decoder may treat
        its first token otherwise.
        """
        ends = self._decode(tokens_BR[:, -self._window :].tolist())
        rows = [row for row, text in enumerate(ends) if self._found(text)]
        whole = self._decode(tokens_BR[rows].tolist()) if rows else []
        return [row for row, text in zip(rows, whole, strict=True) if self._found(text)]

    def ends(self, tokens: list[int]) -> bool:
        """Return whether one completion so far holds one of the texts; otherwise as `reached`."""
        return bool(self) and all(self._found(self._decode([part])[0]) for part in (tokens[-self._window :], tokens))

    def before(self, text: str) -> str:
        """Return an answer up to the first of the texts."""
        places = [place for stop in self._texts if (place := text.find(stop)) >= 0]
        return text[: min(places)] if places else text

    def _found(self, text: str) -> bool:
        return any(stop in text for stop in self._texts)
