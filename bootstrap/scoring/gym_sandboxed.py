"""reasoning-gym's scorers that evaluate answers, as the sandbox runs them; the zygote loads this module at its start.

Left out: the answers that may come here (`gym.py`).
"""

from collections.abc import Mapping
from typing import Any

from reasoning_gym.factory import create_dataset


def score(*, dataset: str, config: Mapping[str, Any], entry: Mapping[str, Any], answer: str) -> float | str:
    """Return the score of an answer, or a text that names the scorer's exception."""
    try:
        return float(create_dataset(dataset, seed=0, size=1, **config).score_answer(answer, dict(entry)))
    # Hostile text may make third-party code raise anything.
    except Exception as error:
        return f"scorer raised {type(error).__name__}"


# Warm up before the fork: sympy imports much of itself at its first use, which each forked job would repeat.
for _name in ("simple_integration", "intermediate_integration", "countdown", "polynomial_multiplication"):
    _dataset = create_dataset(_name, seed=0, size=1)
    _dataset.score_answer(_dataset[0]["answer"], _dataset[0])
