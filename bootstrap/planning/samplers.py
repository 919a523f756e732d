"""What the engine of a recipe's samplers can serve, told before a run."""

from collections.abc import Iterator, Mapping
from typing import Any

from bootstrap.config.models import roles, server_model
from bootstrap.config.recipe import Recipe
from bootstrap.errors import RecipeError
from bootstrap.ledger_records import DiagnosticMetric, GuardAction
from bootstrap.rollouts.vllm_shapes import adapter_bound, head_size, require_head_size


def check_samplers(recipe: Recipe, config: Mapping[str, Any]) -> None:
    """Raise RecipeError for what vLLM does not serve; `config`: the base model's, in Hugging Face terms."""
    samplers = recipe.resources.samplers
    if samplers is None or samplers.engine != "vllm":
        return
    adapter_bound(recipe.training.adapter)
    require_head_size(head_size(config), device="cuda" if samplers.gpus else "cpu")
    acting = [guard for guard in recipe.guards if guard.action is not GuardAction.WARN]
    if any(guard.metric is DiagnosticMetric.ENTROPY for guard in acting):
        raise RecipeError(
            "a guard watches entropy, which vLLM does not tell (resources.samplers.engine: vllm); use engine: "
            "transformers, or leave that guard out"
        )
    if beside := list(dict.fromkeys(_models_beside(recipe))):
        raise RecipeError(
            f"resources.samplers.engine: vllm answers with the weights in training alone, and this recipe asks other "
            f"models of the lineage too: {', '.join(beside)}; use engine: transformers, or ask a server (type: "
            "endpoint)"
        )


def _models_beside(recipe: Recipe) -> Iterator[str]:
    """Yield the models that answer beside the one in training, as the recipe names them."""
    for verifier in recipe.verifiers().values():
        yield from (f"a verifier's {role} {model}" for role, model in roles(verifier))
    for _, step in recipe.generation_steps():
        for _, source in step.rejections():
            if source.sampler != "start" and server_model(source.sampler) is None:
                yield f"sampler {source.sampler}"
