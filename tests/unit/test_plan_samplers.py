"""What vLLM does not serve is told before a run, without torch and without vLLM."""

from typing import Any

import pytest
from support import tiny

from bootstrap.errors import RecipeError
from bootstrap.planning.plan import make_plan

VLLM = {"resources": {"samplers": {"engine": "vllm"}}}
WIDE = {"model": {**tiny.MODEL, "hidden_size": 64, "num_heads": 2}, "steps": tiny.recipe().base.model_dump()["steps"]}


def planned(**changes: Any) -> None:
    make_plan(tiny.recipe(**{"base": WIDE, **VLLM, **changes}), lineage="tiny", workers=1)


def test_a_model_that_vllm_serves_is_planned() -> None:
    planned()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"base": {**WIDE, "model": tiny.MODEL}}, r"attention heads of .* and this model's have 16"),
        ({"guards": [{"metric": "entropy", "min": 0.1, "action": "stop"}]}, "a guard watches entropy"),
        ({"steps": (tiny.RL, {**tiny.REJECTION, "source": {"type": "rejection", "sampler": "base"}})}, "sampler base"),
    ],
)
def test_what_vllm_does_not_serve_is_refused_with_the_remedy(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError, match=told) as refused:
        planned(**changes)
    assert "engine: transformers" in str(refused.value)
