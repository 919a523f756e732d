"""Which split a prompt belongs to (train, held out, final), and the hashes behind that and its id.

The hash of a prompt's question alone decides. The question is what is asked, in whatever form: `1+23=` and `23+1=` ask
the same, and so does a file's row under two templates. With `split_by: text` the hash of the whole text decides, as in
lineages that were grown so.
"""

import hashlib
import unicodedata
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple, Self

from bootstrap.canonical import sha256
from bootstrap.config.task import TaskSettings
from bootstrap.records import Prompt, Split

HASHES = 2**64
"""Number of values of the part of a hash that decides the split."""


def changed_share(settings: TaskSettings, split: Split) -> tuple[str, str]:
    """Return the share in the settings to change, and how, for a split with too few prompts."""
    if settings.holds_out_by_hash:
        name = "final_fraction" if split is Split.FINAL else "heldout_fraction"
        change = "lower" if split is Split.TRAIN else "raise"
    else:
        # The two share the rows that lie apart.
        name, change = "final_fraction", "raise" if split is Split.FINAL else "lower"
    return f"task.{name} {getattr(settings, name):g}", change


def normalised(text: str) -> str:
    """Return a text in Unicode's composed form (NFC), each run of white space as one blank, without any at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def prompt_id(task: str, text: str) -> str:
    """Return the first 16 hex digits of SHA-256 over task name, newline and text."""
    return _hash(task, text)[:8].hex()


class Bounds(NamedTuple):
    """Ends of the splits among the `HASHES` values of a question's hash: held out, then final, then train."""

    heldout: int
    final: int

    @classmethod
    def of(cls, heldout: float, final: float) -> Self:
        """Return the bounds of two shares of `HASHES`: their exact integer parts."""
        return cls(int(Fraction(heldout) * HASHES), int((Fraction(heldout) + Fraction(final)) * HASHES))

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that exist."""
        return (Split.TRAIN, Split.HELDOUT) if self.final == self.heldout else tuple(Split)

    def share(self, split: Split) -> int:
        """Return the number of hash values of a split."""
        if split is Split.TRAIN:
            return HASHES - self.final
        return self.heldout if split is Split.HELDOUT else self.final - self.heldout

    def split_of(self, kind: str, question: str) -> Split:
        """Return the split of a question: where bytes 8-15 of its hash, as an integer, lie among the bounds.

        `kind`: what questions of the task are hashed with. An id is made of bytes 0-7, so it says nothing about the
        split.
        """
        value = int.from_bytes(_hash(kind, question)[8:16], "big")
        return Split.HELDOUT if value < self.heldout else Split.FINAL if value < self.final else Split.TRAIN


def suite_digest(prompts: Sequence[Prompt]) -> str:
    """Return the SHA-256 of the prompts' ids, in order."""
    return sha256("".join(f"{prompt.id}\n" for prompt in prompts).encode())


def _hash(name: str, text: str) -> bytes:
    return hashlib.sha256(f"{name}\n{text}".encode()).digest()
