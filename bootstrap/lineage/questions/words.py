"""Words that questions take, apart from names of their lineage's own. Imports nothing, so that help needs no tables."""

from typing import Literal

Order = Literal["best", "worst"]
"""Of samples: the highest reward first, or the lowest."""
Origin = Literal["training", "heldout"]
"""Of samples: answers of a generation's steps, or to held-out prompts."""
Kind = Literal["generation", "verifier", "dataset", "model"]
"""What `taint` is asked about."""
