"""Tiny models that vLLM serves on a CPU: heads of 32 numbers."""

from collections.abc import Mapping, Sequence
from functools import cache

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from bootstrap.config.base_model import ScratchModel
from bootstrap.config.training import LoraAdapter
from bootstrap.store.fingerprint import fingerprint_model
from bootstrap.training import chat, lora
from bootstrap.training import model as models

CHARACTERS = "0123456789+="
SHARPER = 3
"""Factor of the output matrix: a fresh model's choices are all alike."""


def scratch(
    seed: int, *, hidden_size: int = 128, min_new_tokens: int = 0, stop: Sequence[str] = ()
) -> Mapping[str, bytes]:
    """Return a folder of a model from scratch."""
    found = _scratch(seed, hidden_size)
    return chat.framed(found, chat=False, system=None, min_new_tokens=min_new_tokens, stop=stop)


@cache
def _scratch(seed: int, hidden_size: int) -> Mapping[str, bytes]:
    settings = ScratchModel(hidden_size=hidden_size, num_layers=2, num_heads=4, max_length=64)
    model, tokenizer = models.build_scratch(settings, CHARACTERS, seed=seed)
    return _exported(model, tokenizer)


@cache
def llama(seed: int, *, tied: bool) -> Mapping[str, bytes]:
    """Return a folder of a Llama with the tokenizer of a model from scratch."""
    tokenizer = models.character_tokenizer(CHARACTERS, max_length=64)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
        bos_token_id=1,
        eos_token_id=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    return _exported(model.float(), tokenizer)


def _exported(model: PreTrainedModel, tokenizer) -> Mapping[str, bytes]:
    with torch.no_grad():
        models.output_matrix(model).mul_(SHARPER)
    return models.export(model, tokenizer, passed_on={}).files


def adapter_of(base: Mapping[str, bytes], *, seed: int) -> Mapping[str, bytes]:
    """Return an adapter's folder that changes the base's answers."""
    model, _ = models.load(base)
    adapted = lora.fresh(model, LoraAdapter(rank=4), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.1, generator=generator)
    return lora.export(adapted, base=fingerprint_model(base), passed_on=models.passed_on(base)).files
