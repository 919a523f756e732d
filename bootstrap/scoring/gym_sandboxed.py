"""What the sandbox runs of reasoning-gym: the scorers that evaluate an answer. Loaded by the zygote before any answer.

Left out: everything else, above all which answers may come here (`gym.py`).
"""

from collections.abc import Mapping
from typing import Any

from reasoning_gym.factory import create_dataset


def score(*, dataset: str, config: Mapping[str, Any], entry: Mapping[str, Any], answer: str) -> float | str:
    """Return the score of an answer, or what the scorer raised over it."""
    try:
        return float(create_dataset(dataset, seed=0, size=1, **config).score_answer(answer, dict(entry)))
    # Hostile text may make third-party code raise anything.
    except Exception as error:
        return f"scorer raised {type(error).__name__}"


# Once before any answer: sympy imports much of itself when first used, and each forked job would do so again.
for _name in ("simple_integration", "intermediate_integration", "countdown", "polynomial_multiplication"):
    _dataset = create_dataset(_name, seed=0, size=1)
    _dataset.score_answer(_dataset[0]["answer"], _dataset[0])
