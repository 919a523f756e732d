"""The texts of a model's folder, which may be a stranger's: of the types and sizes that their readers take for granted.

    config.json, generation_config.json, tokenizer.json, tokenizer_config.json, adapter_config.json, chat templates

Left out: the weights (`store/model_folder.py`), and values that a model's own class refuses (`training/model.py`).
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from bootstrap.errors import ModelFault
from bootstrap.reading import named_folder, parsed

CONFIG, TOKENIZER, TOKENIZER_CONFIG = "config.json", "tokenizer.json", "tokenizer_config.json"
GENERATION_CONFIG, ADAPTER_CONFIG, TEMPLATE = "generation_config.json", "adapter_config.json", "chat_template.jinja"
TEXTS = (CONFIG, TOKENIZER, TOKENIZER_CONFIG, GENERATION_CONFIG)
"""Files of a whole model that hold JSON objects."""
MOST = 2**31 - 1
"""Of a size: libraries hold them as 32-bit numbers in places."""
MOST_TEMPLATE = 1 << 20
"""Characters of a chat template; published ones have up to some ten thousand."""
MOST_PADDING = 1 << 20
"""Tokens that a tokenizer may pad each text to: the context of the longest models."""
MOST_GROWTH = 1000
"""Times that a tokenizer's replacements may lengthen a text, all one after the other; published ones reach about 3."""
COUNTS = (
    "num_hidden_layers",
    "num_layers",
    "n_layer",
    "n_layers",
    "num_experts",
    "num_local_experts",
    "n_routed_experts",
    "num_labels",
)
"""Settings in config.json that say how many modules, or names, are made."""
WIDTHS = ("vocab_size", "hidden_size", "n_embd", "d_model")
"""Settings in config.json that are dimensions of a model's embedding."""
_POSITIVE = (
    *("vocab_size", "hidden_size", "n_embd", "d_model", "num_hidden_layers", "n_layer", "n_layers"),
    *("num_attention_heads", "n_head", "n_heads", "max_position_embeddings", "n_positions"),
)
_SIZES = {
    *(*COUNTS, *WIDTHS, *_POSITIVE),
    *("num_key_value_heads", "num_experts_per_tok", "n_shared_experts", "n_inner", "n_ctx", "q_lora_rank"),
    *("intermediate_size", "moe_intermediate_size", "head_dim", "kv_lora_rank", "d_ff", "ffn_dim"),
    *("word_embed_proj_dim", "decoder_layers", "encoder_layers"),
}
_NAMED_TOKENS = ("eos_token_id", "bos_token_id", "pad_token_id")
_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_IMPLEMENTATIONS = ("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation")
_TOLD = 40
"""Characters of a stranger's value in a message."""


def check_texts(files: Mapping[str, bytes]) -> None:
    """Raise ModelFault, which names file and key, for a text of another form; missing files are passed over."""
    for name in TEXTS:
        if name in files:
            _CHECKS[name](text_in(files, name))
    if TEMPLATE in files:
        _check_template(TEMPLATE, "the template", _decoded(TEMPLATE, files[TEMPLATE]))


def check_texts_in(folder: Path) -> None:
    """Check the texts in a folder that a person names. Raises ModelFault as `check_texts`, StoreError."""
    with named_folder(folder) as place:
        check_texts(place.contents(lambda name: name in (*TEXTS, TEMPLATE)))


def text_in(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    """Return the object in one of the JSON files. Raises ModelFault for anything else."""
    try:
        found = parsed(_decoded(name, files[name]).encode(), strict=False)
    except ValueError as error:
        raise ModelFault(f"{name} is not valid JSON: {error}") from error
    if type(found) is not dict:
        raise ModelFault(f"{name} is no JSON object")
    return found


def parts_of(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield a config.json and the part of it that is about text, where a model has others."""
    yield config
    if type(inner := config.get("text_config")) is dict:
        yield inner


def vocabulary(tokenizer: Mapping[str, Any]) -> dict[str, int]:
    """Return token -> id of a tokenizer.json, added tokens included. Raises ModelFault for a file of another form."""
    match tokenizer.get("model"):
        # Unigram models list (token, score) in order of ids.
        case {"vocab": list(scores)} if all(type(one) is list and len(one) == 2 for one in scores):
            found = [(token, number) for number, (token, _) in enumerate(scores)]
        case {"vocab": dict(numbers)}:
            found = list(numbers.items())
        case _:
            raise ModelFault(f"{TOKENIZER} holds no vocabulary (model.vocab)")
    added = tokenizer.get("added_tokens") or []
    is_sound = type(added) is list and all(type(one) is dict for one in added)
    _wanted(is_sound, TOKENIZER, "added_tokens", added, "a list of objects")
    found += [(token.get("content"), token.get("id")) for token in added]
    if not found or any(type(text) is not str or not _is_count(number) for text, number in found):
        raise ModelFault(f"{TOKENIZER} holds no vocabulary (model.vocab) of tokens with their numbers")
    return dict(found)


def _check_config(config: Mapping[str, Any]) -> None:
    file = CONFIG
    inner = config.get("text_config")
    _wanted(inner is None or type(inner) is dict, file, "text_config", inner, "an object")
    kind = config.get("model_type")
    _wanted(kind is None or type(kind) is str, file, "model_type", kind, "a text")
    for part in parts_of(config):
        for key in _SIZES & part.keys():
            # Layers may differ in size.
            value, least = part[key], int(key in _POSITIVE)
            sizes = value if type(value) is list else [value]
            is_sound = all(one is None or (_is_count(one) and one >= least) for one in sizes)
            _wanted(is_sound, file, key, value, f"a whole number from {least} to {MOST}")
        _check_named_tokens(part, file)
    inside = [config]
    while inside:
        part = inside.pop()
        inside += [value for value in part.values() if type(value) is dict]
        for key in _IMPLEMENTATIONS:
            # A name with a slash is a repository, whose code transformers would fetch and run.
            is_known = "/" not in str(part.get(key))
            _wanted(is_known, file, key, part.get(key), "the name of an implementation in transformers")


def _check_generation(config: Mapping[str, Any]) -> None:
    _check_named_tokens(config, GENERATION_CONFIG)


def _check_named_tokens(part: Mapping[str, Any], file: str) -> None:
    for key in _NAMED_TOKENS:
        value = part.get(key)
        numbers = value if type(value) is list else [value]
        is_sound = all(one is None or (type(one) is int and abs(one) <= MOST) for one in numbers)
        _wanted(is_sound, file, key, value, "the number of a token")


def _check_tokenizer(tokenizer: Mapping[str, Any]) -> None:
    vocabulary(tokenizer)
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        if _growth(tokenizer.get(part)) > MOST_GROWTH:
            raise ModelFault(
                f"the rules of {part} in {TOKENIZER} may make a text more than {MOST_GROWTH} times as long; fetch it "
                "again, or shorten them"
            )
    match tokenizer.get("padding"):
        case None:
            return
        case {"strategy": strategy, **others}:
            length = strategy.get("Fixed", 0) if type(strategy) is dict else 0
            for key, value in (("padding.strategy", length), ("padding", others.get("pad_to_multiple_of") or 0)):
                _wanted(_is_count(value) and value <= MOST_PADDING, TOKENIZER, key, value, "a length")
        case other:
            _wanted(False, TOKENIZER, "padding", other, "an object with its strategy")


def _growth(rules: Any) -> int:
    """Return how many times as long a text may be after rules of a tokenizer.json; what they hold is its own bound."""
    growth, inside = 1, [rules]
    while inside:
        match inside.pop():
            case {"type": "Replace", "content": str(text)}:
                # Of each character at most.
                growth *= max(1, len(text))
            case {"type": "Prepend", "prepend": str(text)}:
                growth *= len(text) + 1
            case {"type": "TemplateProcessing", "single": list(pieces), "pair": list(others), **rest}:
                growth *= max(1, len(pieces), len(others))
                inside.append(rest)
            case {"ids": list(ids)}:
                growth *= max(1, len(ids))
            case dict(parts):
                inside += parts.values()
            case list(parts):
                inside += parts
    return growth


def _check_tokenizer_config(settings: Mapping[str, Any]) -> None:
    file = TOKENIZER_CONFIG
    for key in _SPECIAL:
        value = settings.get(key)
        # Older files write a token as an object.
        text = value.get("content") if type(value) is dict else value
        _wanted(text is None or _is_text(text), file, key, value, "a token's text")
    side, length = settings.get("padding_side", "left"), settings.get("model_max_length", 1)
    _wanted(side in ("left", "right"), file, "padding_side", side, "left or right")
    is_sound = length is None or (type(length) in (int, float) and length > 0)
    _wanted(is_sound, file, "model_max_length", length, "a positive number")
    match settings.get("chat_template"):
        case None:
            return
        case list() as named:
            for entry in named:
                is_named = type(entry) is dict and type(entry.get("name")) is str
                _wanted(is_named, file, "chat_template", named, "a text, or a list of objects with name and template")
                _check_template(file, "chat_template", entry.get("template"))
        case source:
            _check_template(file, "chat_template", source)


def _check_template(file: str, key: str, source: Any) -> None:
    _wanted(_is_text(source) and len(source) <= MOST_TEMPLATE, file, key, source, f"a text of up to {MOST_TEMPLATE}")


def check_adapter(files: Mapping[str, bytes]) -> None:
    """Raise ModelFault for an adapter_config.json of another form than this program writes."""
    config, file = text_in(files, ADAPTER_CONFIG), ADAPTER_CONFIG
    targets = config.get("target_modules")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    _wanted(_is_count(rank) and rank > 0, file, "r", rank, "a positive whole number")
    is_sound = isinstance(alpha, int | float) and abs(alpha) <= MOST
    _wanted(is_sound, file, "lora_alpha", alpha, "a number")
    # A text would be a regular expression.
    is_sound = type(targets) is list and all(type(one) is str for one in targets)
    _wanted(is_sound, file, "target_modules", targets, "a list of names")
    dora = config.get("use_dora")
    _wanted(type(dora) is bool, file, "use_dora", dora, "true or false")


_CHECKS: dict[str, Callable[[Mapping[str, Any]], None]] = {
    CONFIG: _check_config,
    TOKENIZER: _check_tokenizer,
    TOKENIZER_CONFIG: _check_tokenizer_config,
    GENERATION_CONFIG: _check_generation,
}


def _wanted(is_sound: bool, file: str, key: str, value: Any, wanted: str) -> None:
    if not is_sound:
        told = repr(value[:_TOLD] if type(value) is str else value)
        shown = told if type(value) in (int, float, bool, str, type(None)) else f"a {type(value).__name__}"
        raise ModelFault(f"{file} has {shown} as {key}, where {wanted} is needed")


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= MOST


def _is_text(value: Any) -> bool:
    """Whether a value is a text that can be written, without halves of a pair of surrogates."""
    return type(value) is str and (value.isascii() or not any("\ud800" <= one <= "\udfff" for one in value))


def _decoded(name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ModelFault(f"{name} is no text in UTF-8") from error
