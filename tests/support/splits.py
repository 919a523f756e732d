"""The split of a question, from its task and the shares of the splits."""

from bootstrap.prompts.splits import Bounds
from bootstrap.records import Split


def split_of(kind: str, question: str, *, heldout_fraction: float, final_fraction: float = 0.0) -> Split:
    """Return the split of a question that is hashed with `kind`."""
    return Bounds.of(heldout_fraction, final_fraction).split_of(kind, question)
