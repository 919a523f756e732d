"""Weights in memory, in bytes, and in the hands of plain transformers."""

import json

import pytest
import safetensors.torch
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bootstrap.compute import llama_shape
from bootstrap.config.base_model import ScratchModel
from bootstrap.config.optimizers import AdamW
from bootstrap.errors import FingerprintMismatch, RecipeError
from bootstrap.pool import LocalPool
from bootstrap.records import Batch, Normalizers
from bootstrap.store.fingerprint import fingerprint_safetensors
from bootstrap.training import model as models
from bootstrap.training.model import build_scratch, export, load, model_shape

pytestmark = pytest.mark.torch

CHARACTERS = "0123456789+="


@pytest.fixture(scope="module")
def scratch():
    return build_scratch(ScratchModel(), CHARACTERS, seed=0)


def test_the_demonstrations_model_has_280224_parameters(scratch):
    model, tokenizer = scratch
    assert len(tokenizer) == 16
    assert sum(p.numel() for p in model.parameters()) == 280_224
    assert model.config.no_rope_layers == [0, 0, 0]


def test_the_flop_formulas_shape_agrees_with_the_model(scratch):
    expected = llama_shape(num_layers=3, hidden_size=96, intermediate_size=192, vocab_size=16)
    assert model_shape(scratch[0]) == expected


def test_weights_are_hashed_where_they_lie_as_their_file_would_be(monkeypatch):
    model, _ = build_scratch(ScratchModel(), CHARACTERS, seed=0)
    for number, dtype in enumerate((torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.bool)):
        model.register_buffer(f"turned_{number}", torch.arange(6).reshape(3, 2).to(dtype).T)
    model.register_buffer("number", torch.tensor(1.5))
    model.register_buffer("empty", torch.zeros(0, 4))
    model.lm_head.weight = model.model.embed_tokens.weight
    model.all_tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}
    expected = fingerprint_safetensors(models.weights_bytes(model))
    monkeypatch.delattr(models, "weights_bytes")
    assert models.fingerprint(model) == expected
    model.get_buffer("number").fill_(2.5)
    assert models.fingerprint(model) != expected


def test_a_checkpoint_takes_one_hash_of_every_worker(monkeypatch):
    pool = LocalPool(2, batch_rows=8)
    pool.build(ScratchModel(), CHARACTERS, seed=0)
    pool.broadcast("begin", AdamW())
    pool.metrics(pool.update(Batch(examples=[], normalizers=Normalizers()), lr_factor=1.0, grad_clip=1.0))
    hashed = []

    def counting(model):
        hashed.append(model)
        return fingerprint(model)

    fingerprint = models.fingerprint
    monkeypatch.setattr(models, "fingerprint", counting)
    checkpoint, _ = pool.training_state()
    assert pool.broadcast("fingerprint") == [checkpoint.fingerprint] * 2
    assert hashed == [pool.workers[1].model], (
        "the first worker's is that of its export, which the other one vouches for"
    )
    next(iter(pool.workers[0].model.parameters())).data[0, 0] += 1
    with pytest.raises(FingerprintMismatch, match="workers hold different weights"):
        pool.training_state()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(scratch):
    prints = [export(*build_scratch(ScratchModel(), CHARACTERS, seed=s), passed_on={}).fingerprint for s in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]


def test_building_a_model_leaves_the_global_generator_alone():
    state = torch.random.get_rng_state()
    build_scratch(ScratchModel(), CHARACTERS, seed=5)
    assert torch.equal(state, torch.random.get_rng_state())


def test_plain_transformers_opens_an_exported_folder(scratch, tmp_path):
    model, tokenizer = scratch
    for name, data in export(model, tokenizer, passed_on={}).files.items():
        (tmp_path / name).write_bytes(data)
    theirs, their_tokenizer = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert type(theirs).__name__ == "SmolLM3ForCausalLM"
    encoded = their_tokenizer("12+34=", return_tensors="pt")
    assert encoded["input_ids"].tolist() == [tokenizer.encode("12+34=")]
    assert encoded["input_ids"][0, 0] == tokenizer.bos_token_id
    with torch.no_grad():
        assert torch.equal(theirs(encoded["input_ids"]).logits, model.eval()(encoded["input_ids"]).logits)
    assert their_tokenizer.decode(encoded["input_ids"][0], skip_special_tokens=True) == "12+34="


def test_a_folder_in_bytes_round_trips_to_the_same_fingerprint(scratch):
    first = export(*scratch, passed_on={})
    model, tokenizer = load(first.files)
    again = export(model, tokenizer, passed_on={})
    assert again.fingerprint == first.fingerprint
    assert dict(again.files) == dict(first.files)


def broken(files, **changes):
    tensors = safetensors.torch.load(files["model.safetensors"])
    for name, value in changes.items():
        if value is None:
            del tensors[name.replace("__", ".")]
        else:
            tensors[name.replace("__", ".")] = value
    return {**files, "model.safetensors": safetensors.torch.save(tensors)}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model__norm__weight": None}, "missing"),
        ({"stranger": torch.zeros(1)}, "unknown"),
        ({"model__norm__weight": torch.full((96,), torch.nan)}, "not finite"),
        ({"model__norm__weight": torch.ones(95)}, "wrong shape"),
    ],
)
def test_weights_that_do_not_fit_are_refused(scratch, change, told):
    files = broken(export(*scratch, passed_on={}).files, **change)
    with pytest.raises(RecipeError, match=told):
        load(files)


def test_a_config_that_asks_for_remote_code_runs_none(scratch):
    files = dict(export(*scratch, passed_on={}).files)
    config = json.loads(files["config.json"])
    config["auto_map"] = {"AutoModelForCausalLM": "evil.Model"}
    model, _ = load({**files, "config.json": json.dumps(config).encode()})
    assert type(model).__module__.startswith("transformers.")
