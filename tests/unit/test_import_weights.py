"""Imported weights give the logits that transformers gives for their source, whatever names they come under."""

import json
import re
import socket
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from support.pretrained import small_folder, write
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
)

from bootstrap.cli.main import main
from bootstrap.config.optimizers import AdamW
from bootstrap.errors import RecipeError
from bootstrap.records import Batch, Checkpoint, Example, Normalizers, Prompt, Request, Sampling, Split
from bootstrap.stages.encoding import Encoder
from bootstrap.stages.weights import read_model_folder
from bootstrap.training import fidelity
from bootstrap.training.model import load
from bootstrap.training.sources import read_source
from bootstrap.worker import Worker

pytestmark = pytest.mark.torch

BASE = small_folder()
TENSORS = safetensors.torch.load(BASE["model.safetensors"])
EMBEDDING = TENSORS["model.embed_tokens.weight"]
INNER = {name: tensor for name, tensor in TENSORS.items() if tensor is not EMBEDDING}
HEAD = torch.randn(EMBEDDING.shape, generator=torch.Generator().manual_seed(3))
TOKENS = torch.tensor([[1, 5, 6, 7, 24], [1, 9, 8, 0, 2]])


def with_config(files, **settings):
    return {**files, "config.json": json.dumps({**json.loads(files["config.json"]), **settings}).encode()}


def folder_of(tensors, **settings):
    stored = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
    weights = safetensors.torch.save(stored, metadata={"format": "pt"})
    return with_config({**BASE, "model.safetensors": weights}, **settings)


def gpt2(*, drop_prefix: bool, buffers: bool):
    """Return a folder as GPT-2's on the hub: no prefix, and the masks that its layers held."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=25, n_embd=16, n_layer=2, n_head=2, n_positions=12, bos_token_id=1, eos_token_id=2)
    state = GPT2LMHeadModel(config).state_dict()
    start = "" if drop_prefix else "transformer."
    tensors = {
        start + name.removeprefix("transformer."): tensor for name, tensor in state.items() if "lm_head" not in name
    }
    if buffers:
        tensors |= {f"{start}h.{layer}.attn.bias": torch.ones(1, 1, 12, 12).bool() for layer in range(2)}
        tensors |= {f"{start}h.{layer}.attn.masked_bias": torch.tensor(-1e4) for layer in range(2)}
    files = folder_of(tensors)
    return {**files, "config.json": config.to_json_string(use_diff=False).encode()}


def gpt_neox():
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=25,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.2,
    )
    tensors = dict(GPTNeoXForCausalLM(config).state_dict())
    tensors |= {
        "gpt_neox.layers.0.attention.bias": torch.ones(1, 1, 32, 32).bool(),
        "gpt_neox.layers.0.attention.masked_bias": torch.tensor(-1e9),
        "gpt_neox.layers.0.attention.rotary_emb.inv_freq": torch.ones(2),
    }
    return {**folder_of(tensors), "config.json": config.to_json_string(use_diff=False).encode()}


def saved(kind, **settings):
    """Return a folder as transformers itself saves a model of a type."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, vocab_size=25, **settings))
    with tempfile.TemporaryDirectory() as place:
        model.save_pretrained(place)
        return {**BASE, **{path.name: path.read_bytes() for path in Path(place).iterdir()}}


def mixtral():
    """Return a mixture of experts: on the hub each has weights of its own, in memory they are one tensor."""
    wide = {"hidden_size": 32, "intermediate_size": 16, "num_attention_heads": 4, "num_key_value_heads": 2}
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    return saved("mixtral", num_hidden_layers=1, num_local_experts=3, num_experts_per_tok=2, **wide, **ends)


def codegen():
    """Return a model whose configuration knows no padding."""
    return saved(
        "codegen", n_embd=32, n_layer=1, n_head=4, n_positions=64, rotary_dim=4, bos_token_id=1, eos_token_id=2
    )


def in_precision(dtype):
    return folder_of({name.removeprefix("model."): tensor.to(dtype) for name, tensor in TENSORS.items()})


FORMS = {
    "as it is": BASE,
    "tied, both stored": folder_of({**TENSORS, "lm_head.weight": EMBEDDING}),
    "tied, the head alone": folder_of({**INNER, "lm_head.weight": EMBEDDING}),
    "tied by config.json, with a head of its own": folder_of({**TENSORS, "lm_head.weight": HEAD}),
    "untied": folder_of({**TENSORS, "lm_head.weight": HEAD}, tie_word_embeddings=False),
    "no prefix": folder_of({name.removeprefix("model."): tensor for name, tensor in TENSORS.items()}),
    "frequencies of every layer": folder_of({**TENSORS, "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}),
    "code of its author, for a type that is known": with_config(BASE, auto_map={"AutoModelForCausalLM": "evil.Model"}),
    "float16, no prefix": in_precision(torch.float16),
    "bfloat16, no prefix": in_precision(torch.bfloat16),
    "GPT-2 as transformers has it": gpt2(drop_prefix=False, buffers=False),
    "GPT-2 with masks": gpt2(drop_prefix=False, buffers=True),
    "GPT-2 as on the hub": gpt2(drop_prefix=True, buffers=True),
    "GPT-NeoX with masks and frequencies": gpt_neox(),
    "Mixtral with an expert a weight": mixtral(),
    "CodeGen": codegen(),
}


@torch.inference_mode()
def logits(model):
    return model.eval()(TOKENS).logits


@pytest.fixture
def no_network(monkeypatch):
    def refused(*args):
        raise AssertionError("an import of a folder asks no network")

    monkeypatch.setattr(socket.socket, "connect", refused)


@pytest.mark.parametrize("form", FORMS)
def test_an_import_gives_the_logits_that_transformers_gives_for_its_source(form, tmp_path, no_network):
    source = write(FORMS[form], tmp_path / "source")
    expected = logits(AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32))
    assert main(["import", str(source), str(tmp_path / "m")]) == 0
    stored = AutoModelForCausalLM.from_pretrained(tmp_path / "m", dtype=torch.float32)
    assert torch.equal(logits(stored), expected)
    assert torch.equal(logits(load(read_model_folder(tmp_path / "m"))[0]), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_renamed_weights_keep_their_precision(dtype, tmp_path):
    found = read_source(str(write(in_precision(dtype), tmp_path / "source")))
    kept = safetensors.torch.load(found.files["model.safetensors"])
    assert kept.keys() == TENSORS.keys()
    assert all(torch.equal(kept[name], tensor.to(dtype)) for name, tensor in TENSORS.items())


def test_renamed_weights_in_several_files_become_one(tmp_path):
    stored = {name.removeprefix("model."): tensor for name, tensor in TENSORS.items()}
    parts = {"a.safetensors": sorted(stored)[::2], "b.safetensors": sorted(stored)[1::2]}
    index = {"metadata": {}, "weight_map": {name: part for part, names in parts.items() for name in names}}
    files = {name: data for name, data in BASE.items() if name != "model.safetensors"}
    files |= {part: safetensors.torch.save({n: stored[n] for n in names}) for part, names in parts.items()}
    files["model.safetensors.index.json"] = json.dumps(index).encode()
    found = read_source(str(write(files, tmp_path / "source")))
    assert torch.equal(logits(load(found.files)[0]), logits(load(BASE)[0]))


@pytest.mark.parametrize("form", ["GPT-2 as on the hub", "Mixtral with an expert a weight", "CodeGen"])
def test_an_imported_model_samples_with_its_own_probabilities_and_learns(form, tmp_path):
    files = read_source(str(write(FORMS[form], tmp_path / "source"))).files
    worker = Worker(batch_rows=8, device="cpu")
    worker.load(files, None)
    texts = ("a=", "abc=12")
    prompts = [Prompt(id=text, task="t", level=1, text=text, split=Split.TRAIN) for text in texts]
    requests = [Request(id=f"g0.s0.u0.p{at}.k0", prompt=prompt, seed=at) for at, prompt in enumerate(prompts)]
    for rollout in worker.generate(requests, Sampling(temperature=1.0, max_new_tokens=4)):
        tokens = torch.tensor([rollout.prompt_tokens + rollout.tokens])
        with torch.no_grad():
            theirs = worker.model(tokens).logits[0, len(rollout.prompt_tokens) - 1 : -1].log_softmax(-1)
        expected = theirs[torch.arange(len(rollout.tokens)), torch.tensor(rollout.tokens)]
        assert torch.allclose(torch.tensor(rollout.logprobs), expected, atol=1e-4)
    worker.begin(AdamW())
    taught = [Example(source=text, prompt_text=text, completion_text="12", ce_weight=1.0) for text in texts]
    encoded = Encoder(Checkpoint(fingerprint="f", files=files)).encode(taught)
    normalizers = Normalizers(rl=1, ce=6, kl=1)
    found = worker.gradient(Batch(examples=encoded, normalizers=normalizers, clip_low=0.2, clip_high=0.2)).flat
    assert np.isfinite(found).all() and np.abs(found).max() > 1e-3


def refusal(files, tmp_path) -> str:
    with pytest.raises(RecipeError) as caught:
        read_source(str(write(files, tmp_path / "source")))
    return str(caught.value)


REFUSED = {
    "a head is missing": (
        folder_of(TENSORS, tie_word_embeddings=False),
        r"lacks weights of its model: lm_head\.weight",
    ),
    "a layer is missing": (
        folder_of({name: tensor for name, tensor in TENSORS.items() if ".1.mlp" not in name}),
        "lacks weights of its model: model.layers.1.mlp.down_proj.weight",
    ),
    "names of a wrapper": (
        folder_of({f"_orig_mod.{name}": tensor for name, tensor in TENSORS.items()}),
        "holds _orig_mod.model.embed_tokens.weight, _orig_mod.model.layers",
    ),
    "a layer is left over": (with_config(BASE, num_hidden_layers=1), "its model does not use: model.layers.1."),
    "a value head is left over": (
        folder_of({**TENSORS, "v_head.summary.weight": torch.ones(1, 32)}),
        "its model does not use: v_head.summary.weight",
    ),
    "a bias that is no mask": (
        folder_of({**TENSORS, "model.layers.0.self_attn.bias": torch.ones(32)}),
        "its model does not use: model.layers.0.self_attn.bias",
    ),
    "quantised by bitsandbytes": (with_config(BASE, quantization_config={"load_in_8bit": True}), "load_in_8bit"),
    "quantised by MLX": (with_config(BASE, quantization={"bits": 4, "group_size": 64}), "what quantization says"),
    "quantised by AutoGPTQ": ({**BASE, "quantize_config.json": b"{}"}, r"what quantize_config\.json says"),
    "an adapter beside": ({**BASE, "adapter_config.json": b"{}"}, "holds an adapter"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_would_become_another_model_is_refused_by_name_with_a_remedy(form, tmp_path):
    files, expected = REFUSED[form]
    message = refusal(files, tmp_path)
    assert re.search(expected, message)
    assert any(word in message for word in ("save", "import the model they were made from", "choose"))


def test_a_model_that_answers_otherwise_once_it_is_stored_is_refused(tmp_path, monkeypatch):
    opened = fidelity.opened

    def shifted(files, *, place):
        found = opened(files, place=place)
        return replace(found, logits_BTV=found.logits_BTV + 0.01)

    monkeypatch.setattr(fidelity, "opened", shifted)
    message = refusal(BASE, tmp_path)
    assert "would become another model: opened here, its logits differ from its source's by up to 0.01" in message


def test_a_tokenizer_whose_class_names_its_end_is_stored_with_it(tmp_path):
    renamed = json.loads(BASE["tokenizer.json"].replace(b'"<eos>"', b'"<|endoftext|>"'))
    files = {
        **gpt2(drop_prefix=True, buffers=False),
        "tokenizer.json": json.dumps(renamed).encode(),
        "tokenizer_config.json": b'{"model_max_length": 12}',
    }
    source = write(files, tmp_path / "source")
    assert AutoTokenizer.from_pretrained(source).eos_token == "<|endoftext|>"
    settings = json.loads(read_source(str(source)).files["tokenizer_config.json"])
    assert settings["eos_token"] == "<|endoftext|>" and settings["model_max_length"] == 12


def test_a_folder_that_was_not_imported_is_refused_with_the_remedy():
    with pytest.raises(RecipeError, match=r"do not fit config\.json.*`bootstrap import`"):
        load(FORMS["no prefix"])
    with pytest.raises(RecipeError, match=r"ties lm_head\.weight to .* two different ones; `bootstrap import`"):
        load(FORMS["tied by config.json, with a head of its own"])
