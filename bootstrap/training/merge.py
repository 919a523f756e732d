"""Several models' weights -> one model's, without an optimizer: weighted means and TIES, by peft's merge functions.

`linear`: sum of w_i theta_i, with weights that sum to 1 (model soups, arXiv:2203.05482).

`ties` (arXiv:2306.01708): the task vectors tau_i = theta_i - theta_onto keep their largest `density` share, matrix by
matrix as in peft; their sum elects each entry's sign, and theta_onto moves by the mean of the w_i tau_i of that sign.
Models equal to theta_onto leave it unchanged.

Adapters of one base are merged as their updates s B A of its matrices, then cut to their rank again by SVD (peft's
`svd` and `ties_svd`). Combining the B and the A separately (peft's `linear` and `ties`) would multiply one adapter's B
with another's A. The base is theta_onto, and its update is zero.

Left out: models of different shapes, DoRA, and the choice of generations (`stages/merge.py`).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Literal

import safetensors.torch
import torch
from peft.utils.merge_utils import task_arithmetic, ties

from bootstrap.errors import RecipeError
from bootstrap.records import Checkpoint
from bootstrap.store.fingerprint import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    MODEL_WEIGHTS,
    base_fingerprint,
    fingerprint_model,
)
from bootstrap.store.pretrained import IMPORT

Tensors = Mapping[str, torch.Tensor]
TOKENIZER = "tokenizer.json"
DOWN, UP = ".lora_A.weight", ".lora_B.weight"


def merge(
    models: Sequence[Mapping[str, bytes]],
    *,
    method: Literal["linear", "ties"],
    weights: Sequence[float],
    density: float,
    onto: Mapping[str, bytes] | None = None,
) -> Checkpoint:
    """Return the merged model of folders of one shape, in the form of the first; deterministic.

    `weights`: one per model. `density`: share of each task vector's entries that `ties` keeps. `onto`: the whole model
    that `ties` takes task vectors from; None for adapters. Raises RecipeError for models that do not fit together.
    """
    bases = {base_fingerprint(files) for files in models}
    if len(bases) != 1:
        raise RecipeError("models to merge are all whole, or adapters of one base; these rest upon different ones")
    for file in (TOKENIZER, IMPORT):
        if len({files.get(file) for files in [*models, *([onto] if onto is not None else [])]}) != 1:
            raise RecipeError(
                f"models to merge have different {file} files, so they read other tokens or come with other licences; "
                "name generations that descend from one model"
            )
    combined = torch.tensor(weights, dtype=torch.float64)
    name = MODEL_WEIGHTS if bases == {None} else ADAPTER_WEIGHTS
    tensors = _alike([*models, *([onto] if onto is not None else [])], name)
    if name == ADAPTER_WEIGHTS:
        merged = _adapters(tensors, models, method=method, weights=combined, density=density)
    elif method == "linear":
        merged = {key: task_arithmetic([one[key] for one in tensors], combined) for key in tensors[0]}
    else:
        assert onto is not None, "task vectors of whole models are counted from one"
        *others, start = tensors
        merged = {key: start[key] + ties([one[key] - start[key] for one in others], combined, density) for key in start}
    stored = {key: tensor.float().contiguous() for key, tensor in merged.items()}
    files = {**models[0], name: safetensors.torch.save(stored, metadata={"format": "pt"})}
    return Checkpoint(fingerprint=fingerprint_model(files), files=files)


def _alike(models: Sequence[Mapping[str, bytes]], name: str) -> list[dict[str, torch.Tensor]]:
    """Return the models' tensors in float64. Raises RecipeError unless names and shapes agree."""
    found = [{key: t.double() for key, t in safetensors.torch.load(files[name]).items()} for files in models]
    shapes = [{key: tuple(tensor.shape) for key, tensor in tensors.items()} for tensors in found]
    for other in shapes[1:]:
        different = sorted(key for key in shapes[0].keys() | other.keys() if shapes[0].get(key) != other.get(key))
        if different:
            key = different[0]
            raise RecipeError(
                f"models of different shapes cannot be merged: {key} is {shapes[0].get(key, 'absent')} against "
                f"{other.get(key, 'absent')}; name generations that descend from one model (ties counts generation 0 "
                "in), or distill one into the other"
            )
    return found


def _adapters(
    tensors: Sequence[Tensors],
    models: Sequence[Mapping[str, bytes]],
    *,
    method: Literal["linear", "ties"],
    weights: torch.Tensor,
    density: float,
) -> dict[str, torch.Tensor]:
    settings = [json.loads(files[ADAPTER_CONFIG]) for files in models]
    if any(one != settings[0] for one in settings):
        raise RecipeError("adapters to merge have different settings (adapter_config.json); name ones trained alike")
    rank, scaling = settings[0]["r"], settings[0]["lora_alpha"] / settings[0]["r"]
    merged: dict[str, torch.Tensor] = {}
    for key in tensors[0]:
        if not key.endswith(DOWN):
            assert key.endswith(UP), f"{key} is no part of a plain LoRA adapter"
            continue
        up = key.removesuffix(DOWN) + UP
        updates = [scaling * one[up] @ one[key] for one in tensors]
        update = task_arithmetic(updates, weights) if method == "linear" else ties(updates, weights, density)
        left, sizes, right = torch.linalg.svd(update, full_matrices=False)
        # A matrix smaller than the rank has fewer directions; the other rows stay zero.
        merged[up], merged[key] = torch.zeros_like(tensors[0][up]), torch.zeros_like(tensors[0][key])
        merged[up][:, : len(sizes)] = left[:, :rank] * sizes[:rank] / scaling
        merged[key][: len(sizes)] = right[:rank]
    return merged
