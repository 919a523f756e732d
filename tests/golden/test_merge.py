"""Merged weights against values worked out by hand, and merged adapters against peft's own."""

import json

import pytest
import safetensors.torch
import torch
from peft import PeftModel
from support.pretrained import small_folder, write
from transformers import AutoModelForCausalLM

from bootstrap.config.optimizers import AdamW
from bootstrap.config.training import LoraAdapter, Training
from bootstrap.errors import RecipeError
from bootstrap.records import Batch, Example, Normalizers
from bootstrap.store.fingerprint import ADAPTER_CONFIG, MODEL_WEIGHTS, fingerprint_model
from bootstrap.training.merge import merge
from bootstrap.worker import Worker

pytestmark = pytest.mark.torch

TOKENS = (1, 4, 5, 6)


def folder(**tensors: list[float]) -> dict[str, bytes]:
    return {MODEL_WEIGHTS: safetensors.torch.save({name: torch.tensor(row) for name, row in tensors.items()})}


def weights(checkpoint) -> dict[str, list[float]]:
    found = safetensors.torch.load(checkpoint.files[MODEL_WEIGHTS])
    assert all(tensor.dtype == torch.float32 for tensor in found.values())
    return {name: tensor.tolist() for name, tensor in found.items()}


def test_linear_is_the_weighted_mean():
    models = [folder(a=[1.0, 2.0], b=[4.0]), folder(a=[3.0, -2.0], b=[8.0])]
    merged = merge(models, method="linear", weights=[0.25, 0.75], density=0.5)
    assert weights(merged) == {"a": [2.5, -1.0], "b": [7.0]}
    assert merged.fingerprint == fingerprint_model(merged.files)


def test_the_mean_of_equal_models_is_the_model_itself():
    torch.manual_seed(0)
    model = {MODEL_WEIGHTS: safetensors.torch.save({"a": torch.randn(50, 20)})}
    merged = merge([model] * 3, method="linear", weights=[1 / 3] * 3, density=0.5)
    assert merged.fingerprint == fingerprint_model(model)


def test_ties_trims_elects_signs_and_takes_the_mean_of_those_that_agree():
    base = folder(a=[10.0, 10.0, 10.0, 10.0])
    # Task vectors: (4, -3, 0.5, 1) and (2, 5, 3, -0.1). Kept half of each: (4, -3, 0, 0) and (0, 5, 3, 0).
    # Elected signs of the sums (4, 2, 3, 0): all positive, so -3 is left out; means of those that agree: 4, 5, 3, 0.
    models = [folder(a=[14.0, 7.0, 10.5, 11.0]), folder(a=[12.0, 15.0, 13.0, 9.9])]
    merged = merge(models, method="ties", weights=[1, 1], density=0.5, onto=base)
    assert weights(merged) == {"a": [14.0, 15.0, 13.0, 10.0]}
    halved = merge(models, method="ties", weights=[0.5, 1], density=0.5, onto=base)
    assert weights(halved) == {"a": [12.0, 15.0, 13.0, 10.0]}


def test_ties_of_two_that_agree_takes_their_mean():
    base, models = folder(a=[0.0, 0.0]), [folder(a=[2.0, 0.0]), folder(a=[4.0, 0.0])]
    assert weights(merge(models, method="ties", weights=[1, 1], density=0.5, onto=base)) == {"a": [3.0, 0.0]}


@pytest.mark.parametrize("other", [folder(a=[1.0]), folder(b=[1.0, 2.0]), folder(a=[1.0, 2.0], b=[1.0])])
def test_models_of_different_shapes_are_refused(other):
    with pytest.raises(RecipeError, match=r"different shapes cannot be merged: [ab] is"):
        merge([folder(a=[1.0, 2.0]), other], method="linear", weights=[0.5, 0.5], density=0.5)


# --- adapters ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["tokenizer.json", "import.json"])
@pytest.mark.parametrize("place", [0, 1, "onto"])
def test_models_of_other_tokens_or_another_origin_are_refused(file, place):
    models = {0: folder(a=[1.0]), 1: folder(a=[2.0]), "onto": folder(a=[0.0])}
    for name, files in models.items():
        files[file] = b"{}" if name == place else b'{"other": 1}'
    with pytest.raises(RecipeError, match=f"different {file} files"):
        merge([models[0], models[1]], method="ties", weights=[1, 1], density=0.5, onto=models["onto"])


def adapter(seed: int, *, base: dict[str, bytes], rank: int = 4) -> dict[str, bytes]:
    """Return an adapter that has learned something, of its own by `seed`."""
    worker = Worker(batch_rows=8, device="cpu")
    worker.configure(Training(adapter=LoraAdapter(rank=rank, alpha=8)))
    worker.provide(base, fingerprint_model(base))
    worker.adapt(fingerprint_model(base), seed)
    worker.begin(AdamW(lr=0.05))
    example = Example(source="s", tokens=(1, 4, 5 + seed, 6, 7, 2), num_prompt_tokens=2, ce_weight=1.0)
    for _ in range(4):
        worker.step(Batch(examples=[example], normalizers=Normalizers(ce=4.0)), 1.0, 1.0)
    return dict(worker.export().files)


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([TOKENS])).logits


@pytest.fixture(scope="module")
def base() -> dict[str, bytes]:
    return small_folder()


@pytest.fixture(scope="module")
def adapters(base) -> list[dict[str, bytes]]:
    return [adapter(seed, base=base) for seed in (1, 2)]


@pytest.mark.parametrize(
    ("method", "theirs", "shares"), [("linear", "svd", [0.3, 0.7]), ("ties", "ties_svd", [1.0, 0.8])]
)
def test_merged_adapters_answer_as_pefts_do(base, adapters, tmp_path, method, theirs, shares):
    merged = merge(adapters, method=method, weights=shares, density=0.4)
    folders = [write(files, tmp_path / name) for files, name in zip(adapters, "ab", strict=True)]
    whole = write(base, tmp_path / "base")
    peft = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(whole), folders[0], adapter_name="a")
    peft.load_adapter(folders[1], adapter_name="b")
    alone = logits(peft)
    peft.add_weighted_adapter(["a", "b"], shares, "merged", combination_type=theirs, density=0.4)
    peft.set_adapter("merged")
    ours = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(whole), write(dict(merged.files), tmp_path / "merged")
    )
    assert torch.allclose(logits(ours), logits(peft), atol=1e-4)
    assert not torch.allclose(logits(ours), alone, atol=1e-2)


def test_the_mean_of_equal_adapters_answers_as_the_adapter(base, adapters, tmp_path):
    merged = merge([adapters[0]] * 2, method="linear", weights=[0.5, 0.5], density=0.5)
    whole = write(base, tmp_path / "base")
    found = [
        logits(PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(whole), write(dict(files), tmp_path / n)))
        for files, n in ((adapters[0], "one"), (merged.files, "merged"))
    ]
    assert torch.allclose(*found, atol=1e-4)


def test_a_merged_adapter_loads_and_trains_like_any(base, adapters):
    merged = merge(adapters, method="linear", weights=[0.5, 0.5], density=0.5)
    assert json.loads(merged.files[ADAPTER_CONFIG]) == json.loads(adapters[0][ADAPTER_CONFIG])
    worker = Worker(batch_rows=8, device="cpu")
    worker.configure(Training(adapter=LoraAdapter(rank=4, alpha=8)))
    worker.provide(base, fingerprint_model(base))
    assert worker.load(merged.files, merged.fingerprint) == merged.fingerprint
    assert worker.merge("linear", (0.5, 0.5), 0.5, False, *adapters).fingerprint == merged.fingerprint


def test_adapters_that_differ_in_base_or_settings_are_refused(base, adapters):
    for other, told in (
        (base, "different ones"),
        (adapter(1, base=small_folder(seed=5)), "different ones"),
        (adapter(1, base=base, rank=2), "different shapes"),
    ):
        with pytest.raises(RecipeError, match=told):
            merge([adapters[0], other], method="linear", weights=[0.5, 0.5], density=0.5)
