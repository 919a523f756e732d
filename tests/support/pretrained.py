"""A pretrained model small enough for a test: a Llama with rotary positions, grouped heads and a tied output matrix."""

import json
from pathlib import Path

import safetensors.torch
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from bootstrap.training.chat import TEMPLATE
from bootstrap.training.model import character_tokenizer, export

CHARACTERS = "abc=0123456789+ SUA:\n"
CHAT = (
    "{% for m in messages %}{{ {'system': 'S', 'user': 'U', 'assistant': 'A'}[m['role']] }}:{{ m['content'] }}\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}A:{% endif %}"
)


def small_llama(*, seed: int = 0, characters: str = CHARACTERS, max_length: int = 128) -> LlamaForCausalLM:
    """Return a model whose choices are far from uniform."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=4 + len(characters),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=max_length,
        tie_word_embeddings=True,
        initializer_range=0.2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlamaForCausalLM(config).eval()


def small_folder(
    *, seed: int = 0, chat: bool = False, characters: str = CHARACTERS, max_length: int = 128
) -> dict[str, bytes]:
    """Return a model folder in bytes."""
    tokenizer = character_tokenizer(characters, max_length=max_length)
    model = small_llama(seed=seed, characters=characters, max_length=max_length)
    files = dict(export(model, tokenizer, passed_on={}).files)
    return {**files, TEMPLATE: CHAT.encode()} if chat else files


def padded(files: dict[str, bytes], *, by: int) -> dict[str, bytes]:
    """Return a folder whose embedding and output matrix have some more rows, or with a negative number fewer.

    Further rows are far from zero, so that what looks at them shows it.
    """
    tensors = safetensors.torch.load(files["model.safetensors"])
    for name in tensors.keys() & {"model.embed_tokens.weight", "lm_head.weight"}:
        rows, width = tensors[name].shape
        more = torch.randn(max(by, 0), width, generator=torch.Generator().manual_seed(1))
        tensors[name] = torch.cat([tensors[name], more])[: rows + by].clone()
    config = json.loads(files["config.json"])
    config["vocab_size"] += by
    weights = safetensors.torch.save(tensors, metadata={"format": "pt"})
    return {**files, "config.json": json.dumps(config).encode(), "model.safetensors": weights}


def write(files: dict[str, bytes], folder: Path) -> Path:
    """Write a folder and return it."""
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder
