"""Low-rank adapters (LoRA, arXiv:2106.09685; DoRA, arXiv:2402.09353) through peft, put into a model in place.

An adapter's folder holds peft's files (`adapter_model.safetensors`, `adapter_config.json`), `base.json` with the
fingerprint of its base, and the tokenizer's files: `PeftModel.from_pretrained` opens it over the base. The base is
frozen, and several adapted models share its tensors.

Left out: adapters of embeddings, several active adapters, dropout.
"""

import json
import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import safetensors.torch
import torch
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from peft.helpers import DoraCaching
from peft.tuners.lora import LoraLayer, LoraModel
from peft.tuners.lora.dora import DoraLinearLayer
from torch import nn
from transformers import PreTrainedModel

from bootstrap.canonical import json_file
from bootstrap.config.training import LoraAdapter
from bootstrap.errors import ModelFault, RecipeError
from bootstrap.records import Checkpoint
from bootstrap.store.fingerprint import ADAPTER_BASE, ADAPTER_CONFIG, ADAPTER_WEIGHTS, fingerprint_model
from bootstrap.store.model_folder import check_folder
from bootstrap.training import model as models
from bootstrap.training.precision import matrices, sharing
from bootstrap.training.rows import own_rows

PEFT_PREFIX = "base_model.model."
"""peft's prefix of tensor names in a file."""
_FIXED = {
    "base_model_name_or_path": None,
    "bias": "none",
    "fan_in_fan_out": False,
    "inference_mode": True,
    "lora_dropout": 0.0,
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
}
"""Entries that every adapter_config.json shares."""


def fresh(base: PreTrainedModel, settings: LoraAdapter, *, seed: int) -> PreTrainedModel:
    """Return the base with a new adapter, which changes no output yet; the same seed gives the same adapter.

    Raises RecipeError for a target that names no matrix of the model.
    """
    model = without_start(base, settings)
    start(model, seed=seed)
    return model


def without_start(base: PreTrainedModel, settings: LoraAdapter) -> PreTrainedModel:
    """Return the base with an adapter before `start`. Raises RecipeError as `fresh`."""
    targets = _targets(base, settings.targets)
    return _injected(base, r=settings.rank, lora_alpha=settings.alpha, target_modules=targets, use_dora=settings.dora)


@torch.no_grad()
def start(model: PreTrainedModel, *, seed: int) -> None:
    """Give an adapter the values that change no output, also where each process holds some rows of every tensor."""
    # Drawn in float32 (peft rounds its own start to the base's type) and on the CPU: the same for every device.
    generator = torch.Generator().manual_seed(seed)
    for layer in _layers(model).values():
        down, up = (part["default"].get_parameter("weight") for part in (layer.lora_A, layer.lora_B))
        drawn = torch.empty(down.shape)
        nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)
        own_rows(down).copy_(own_rows(down, of=drawn))
        own_rows(up).zero_()
        if _config(model).use_dora:
            weight = layer.get_base_layer().get_parameter("weight")
            lengths = torch.linalg.norm(own_rows(weight).float(), dim=1)
            own_rows(_magnitudes(layer).weight).copy_(lengths)


def load(base: PreTrainedModel, files: Mapping[str, bytes]) -> PreTrainedModel:
    """Return the base with a folder's adapter.

    Raises ModelFault for an adapter that is none, does not fit the base or is not finite.
    """
    check_folder(files)
    with models.library_faults(ADAPTER_CONFIG):
        return _loaded(base, files)


def _loaded(base: PreTrainedModel, files: Mapping[str, bytes]) -> PreTrainedModel:
    tensors = {n.removeprefix(PEFT_PREFIX): t for n, t in safetensors.torch.load(files[ADAPTER_WEIGHTS]).items()}
    model = without_weights(base, files[ADAPTER_CONFIG], tensors)
    expected = get_peft_model_state_dict(model)
    broken = [n for n, t in tensors.items() if t.shape != expected[n].shape or not torch.isfinite(t).all()]
    if broken:
        raise ModelFault(f"adapter with a wrong shape or values that are not finite: {', '.join(broken[:3])}")
    set_peft_model_state_dict(model, tensors)
    return model


def without_weights(base: PreTrainedModel, configuration: bytes, names: Collection[str]) -> PreTrainedModel:
    """Return the base with an adapter before its weights are read, which have these names in a file, less peft's
    prefix.

    Raises ModelFault for another kind of adapter, and for names that do not fit the base.
    """
    config = json.loads(configuration)
    if different := sorted(key for key, value in _FIXED.items() if config.get(key) != value):
        raise ModelFault(f"{ADAPTER_CONFIG} has {', '.join(different)} of another kind of adapter; train one here")
    model = _injected(base, **{name: config[name] for name in ("r", "lora_alpha", "target_modules", "use_dora")})
    expected = get_peft_model_state_dict(model)
    if set(names) != expected.keys():
        unknown, missing = sorted(set(names) - expected.keys()), sorted(expected.keys() - set(names))
        raise ModelFault(f"the adapter does not fit its base: unknown {unknown[:3]}, missing {missing[:3]}")
    return model


def parameters_of(model: PreTrainedModel) -> dict[str, nn.Parameter]:
    """Return an adapter's parameters by their names in a file, less peft's prefix."""
    found = {name: parameter for name, parameter in model.named_parameters() if "lora_" in name}
    return {_name_in_file(name): parameter for name, parameter in found.items()}


def _name_in_file(name: str) -> str:
    """Return a parameter's name in a file: without the adapter's, and a magnitude is no module there."""
    return name.replace(".default.weight", "" if "lora_magnitude_vector" in name else ".weight")


def is_adapted(model: PreTrainedModel) -> bool:
    """Whether the model has an adapter."""
    return hasattr(model, "peft_config")


def export(model: PreTrainedModel, *, base: str, passed_on: Mapping[str, bytes]) -> Checkpoint:
    """Return an adapted model's adapter as a folder in bytes, with the fingerprint of both.

    `base`: the base's fingerprint; `passed_on`: unchanged files of the base's folder.
    """
    tensors = {f"{PEFT_PREFIX}{n}": t.detach().cpu().contiguous() for n, t in get_peft_model_state_dict(model).items()}
    files = {
        **folder_files(model, base=base, passed_on=passed_on),
        ADAPTER_WEIGHTS: safetensors.torch.save(tensors, metadata={"format": "pt"}),
    }
    return Checkpoint(fingerprint=fingerprint_model(files), files=files)


def folder_files(model: PreTrainedModel, *, base: str, passed_on: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files of `export` beside the adapter's weights."""
    lora = _config(model)
    config = {
        **_FIXED,
        "r": lora.r,
        "lora_alpha": lora.lora_alpha,
        "target_modules": sorted(lora.target_modules or ()),
        "use_dora": lora.use_dora,
    }
    return {
        **passed_on,
        ADAPTER_CONFIG: json_file(config, indent=2),
        ADAPTER_BASE: json.dumps({"fingerprint": base}).encode(),
    }


def merge(base: Mapping[str, bytes], adapter: Mapping[str, bytes]) -> Checkpoint:
    """Return the whole model (float32) of a base's folder and an adapter's folder."""
    whole, tokenizer = models.load(base)
    model = load(whole, adapter)
    for name, layer in _layers(model).items():
        layer.merge(safe_merge=True)
        model.set_submodule(name, layer.get_base_layer())
    return models.export(model, tokenizer, passed_on=models.passed_on(adapter))


@contextmanager
def sampling(model: PreTrainedModel) -> Iterator[None]:
    """Cache DoRA's norms of the weights while these do not change."""
    if not is_adapted(model) or not _config(model).use_dora:
        yield
        return
    with DoraCaching():
        _forget(model)
        yield
    _forget(model)


def _forget(model: PreTrainedModel) -> None:
    for layer in _layers(model).values():
        _magnitudes(layer)._cache_clear()


def _config(model: PreTrainedModel) -> LoraConfig:
    return cast("LoraConfig", model.peft_config["default"])


def _magnitudes(layer: LoraLayer) -> DoraLinearLayer:
    return cast("DoraLinearLayer", layer.lora_magnitude_vector["default"])


class _FloatLinear(nn.Linear):
    """An adapter's matrix, in float32 even under autocast.

    Products this thin gain nothing from bf16; on a CPU they take many times longer in it.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.float())


def _injected(base: PreTrainedModel, **config: Any) -> PreTrainedModel:
    tuner = LoraModel(sharing(base), LoraConfig(task_type=_FIXED["task_type"], **config), "default")
    for name, parameter in tuner.model.named_parameters():
        parameter.requires_grad_("lora_" in name)
        if "lora_" in name:
            parameter.data = parameter.data.float()
    for layer in _layers(tuner.model).values():
        layer.lora_A["default"].__class__ = layer.lora_B["default"].__class__ = _FloatLinear
    return tuner.model.eval()


def _layers(model: nn.Module) -> dict[str, LoraLayer]:
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


def _targets(base: PreTrainedModel, wanted: str | tuple[str, ...]) -> list[str]:
    """Return the names of the modules that get an adapter, sorted."""
    there = {name.rpartition(".")[2] for name in matrices(base)}
    if wanted == "all-linear":
        return sorted(there)
    if unknown := sorted(set(wanted) - there):
        raise RecipeError(
            f"training.adapter.targets names {', '.join(unknown)}, and the model's matrices are "
            f"{', '.join(sorted(there))}; name some of these, or all-linear"
        )
    return sorted(set(wanted))
