"""Chat templates in the style of published model families, and small models that speak them."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from support.pretrained import small_folder

from bootstrap.training.chat import TEMPLATE

LETTERS = "".join(chr(code) for code in range(32, 127)) + "\n"


class Family(NamedTuple):
    template: str
    tokens: tuple[str, ...]
    """Its control tokens; the first one is the tokenizer's end of sequence."""
    end: str | None
    """What the template writes after an answer."""
    arguments: Mapping[str, Any] = {}
    takes_system: bool = True
    opening: str = ""
    """What it begins the reasoning with, at the end of a prompt."""
    begins_alike: bool = True
    """Whether an answer in a conversation follows what a prompt ends with."""


_CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
_ASKS = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
_QWEN = _CHATML + (
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
_QWEN_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

FAMILIES = {
    "ChatML on a base's tokenizer": Family(_CHATML + _ASKS, _QWEN_TOKENS, "<|im_end|>"),
    "Qwen3, thinking": Family(_QWEN, _QWEN_TOKENS, "<|im_end|>", {"enable_thinking": True}),
    "Qwen3, not thinking": Family(_QWEN, _QWEN_TOKENS, "<|im_end|>", {"enable_thinking": False}, begins_alike=False),
    "Llama 3": Family(
        "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
        "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
        "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
        ("<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|eot_id|>",
    ),
    "Gemma": Family(
        "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('there is no system') }}{% endif %}"
        "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('turns must alternate') }}{% endif %}"
        "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
        "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
        ("<end>", "<start_of_turn>", "<end_of_turn>"),
        "<end_of_turn>",
        takes_system=False,
    ),
    "Mistral": Family(
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
        "{% elif m.role == 'assistant' %} {{ m.content }}{{ eos_token }}{% else %}{{ raise_exception('who?') }}"
        "{% endif %}{% endfor %}",
        ("</s>", "[INST]", "[/INST]"),
        "</s>",
        takes_system=False,
        begins_alike=False,
    ),
    "Phi": Family(
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}",
        ("<|endoftext|>", "<|end|>", "<|user|>", "<|system|>", "<|assistant|>"),
        "<|end|>",
    ),
    "DeepSeek R1, distilled": Family(
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% endif %}"
        "{% if m.role == 'user' %}<|User|>{{ m.content }}{% endif %}"
        "{% if m.role == 'assistant' %}<|Assistant|>{{ m.content.split('</think>') | last }}<|end_of_sentence|>"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}<|Assistant|><think>\n{% endif %}",
        ("<|end_of_sentence|>", "<|User|>", "<|Assistant|>"),
        "<|end_of_sentence|>",
        opening="<think>\n",
        begins_alike=False,
    ),
    "SmolLM2": Family(
        "{% if messages[0].role != 'system' %}<|im_start|>system\nYou answer.<|im_end|>\n{% endif %}" + _CHATML + _ASKS,
        ("<|im_end|>", "<|im_start|>", "<|endoftext|>"),
        "<|im_end|>",
    ),
    "no token after an answer": Family(
        "{% for m in messages %}{{ m.role | upper }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}ASSISTANT:{% endif %}",
        ("</s>",),
        None,
        begins_alike=False,
    ),
}


def speaking(tokens: tuple[str, ...], template: str | None = None, *, seed: int = 0) -> dict[str, bytes]:
    """Return a small folder with control tokens beside all printable characters; the first one ends sequences."""
    files = small_folder(seed=seed, characters=[*LETTERS, *tokens], max_length=2048)
    tokenizer, settings = (json.loads(files[name]) for name in ("tokenizer.json", "tokenizer_config.json"))
    settings["eos_token"] = tokens[0]
    vocabulary = tokenizer["model"]["vocab"]
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tokenizer["added_tokens"] += [{"id": vocabulary[token], "content": token, **plain} for token in tokens]
    # Control tokens are added ones alone; their text is letters where they are not looked for.
    tokenizer["pre_tokenizer"]["pattern"] = {"Regex": r"[\s\S]"}
    changed = {"tokenizer.json": tokenizer, "tokenizer_config.json": settings}
    # Only the tokenizer names an end, unless a test says otherwise.
    for name in ("config.json", "generation_config.json"):
        changed[name] = {**json.loads(files[name]), "eos_token_id": None}
    files |= {name: json.dumps(data).encode() for name, data in changed.items()}
    return files if template is None else {**files, TEMPLATE: template.encode()}


def number(files: Mapping[str, bytes], token: str) -> int:
    """Return a token's id."""
    return json.loads(files["tokenizer.json"])["model"]["vocab"][token]
