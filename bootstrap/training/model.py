"""A model as weights in memory and as a Hugging Face folder in bytes; nothing is pickled and no remote code runs.

A folder travels as a mapping from file name to content, so a worker on another machine needs no shared disk.
"""

import json
import re
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from textwrap import shorten
from typing import Any, cast

import safetensors.torch
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    SmolLM3Config,
    SmolLM3ForCausalLM,
)
from transformers.initialization import no_init_weights

from bootstrap.canonical import json_file
from bootstrap.compute import ModelShape
from bootstrap.config.base_model import SPECIAL_TOKENS, ScratchModel, scratch_vocabulary
from bootstrap.errors import BootstrapError, ModelFault, RecipeError
from bootstrap.records import Checkpoint
from bootstrap.store.fingerprint import MODEL_WEIGHTS, fingerprint_safetensors, fingerprint_tensors, tensors_of
from bootstrap.store.model_folder import check_folder
from bootstrap.store.pretrained import IMPORT
from bootstrap.training.chat import taught_end
from bootstrap.training.choices import PROMPTING
from bootstrap.training.shortage import is_of_memory
from bootstrap.training.special_tokens import end_id, ends_named, token_text, tokenizer_of

LIBRARY_FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SafetensorError,
    StrictDataclassError,
    TypeError,
    ValueError,
)
"""Errors of transformers, torch and safetensors for broken files; they check few values, so most fail at first use:
0 heads divide, an unknown activation is looked up, torch asserts the padding's place and lacks types' products."""
_BRIEF = 300
"""Most characters quoted of a library's error."""
_BUFFERS = 1 << 30
"""Bytes of buffers that a model may have beside its weights, or as many as those: causal masks of old classes."""


def character_tokenizer(characters: Sequence[str], *, max_length: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token per character, with `<bos>` before every prompt.

    An entry of several characters, such as a tag, is one token.
    """
    vocabulary = scratch_vocabulary(characters)
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    longer = [re.escape(entry) for entry in characters if len(entry) > 1]
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("|".join([*longer, "."])), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", vocabulary["<bos>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        padding_side="left",
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )


def build_scratch(
    settings: ScratchModel, characters: Sequence[str], *, seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Return a fresh NoPE Llama and its character tokenizer; the same seed gives the same weights."""
    vocabulary = scratch_vocabulary(characters)
    tokenizer = character_tokenizer(characters, max_length=settings.max_length)
    config = SmolLM3Config(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        intermediate_size=settings.intermediate_size,
        num_hidden_layers=settings.num_layers,
        num_attention_heads=settings.num_heads,
        num_key_value_heads=settings.num_heads,
        no_rope_layers=[0] * settings.num_layers,
        max_position_embeddings=settings.max_length,
        initializer_range=settings.initializer_range,
        tie_word_embeddings=False,
        pad_token_id=vocabulary["<pad>"],
        bos_token_id=vocabulary["<bos>"],
        eos_token_id=vocabulary["<eos>"],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SmolLM3ForCausalLM(config)
    return model.float(), tokenizer


def load(files: Mapping[str, bytes]) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Return model (float32) and tokenizer from a folder's files.

    The generation configuration then names every token that ends an answer: those of both configuration files, the
    tokenizer's and the chat template's. Raises ModelFault for files of another form, weights that do not fit the
    configuration or are not finite, and whatever the libraries cannot open; RecipeError for an end of sequence that is
    no token of the model, and for a model that changes its logits.
    """
    check_folder(files)
    with library_faults("config.json"):
        return _loaded(files)


def _loaded(files: Mapping[str, bytes]) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    tensors: dict[str, torch.Tensor] = {}
    for name in sorted(files):
        if name.endswith(".safetensors"):
            tensors.update(safetensors.torch.load(files[name]))
    _check_shapes(files, tensors)
    model = without_weights(files, tensors)
    check_broken(name for name, tensor in tensors.items() if not torch.isfinite(tensor).all())
    check_tied(
        (name, same)
        for name, same in tied_weights(model).items()
        if name in tensors and same in tensors and not torch.equal(tensors[name], tensors[same])
    )
    model.load_state_dict(tensors, strict=False)
    model.tie_weights()
    tokenizer = completed(model, files)
    _check_head(model.eval())
    return model, tokenizer


def without_weights(files: Mapping[str, bytes], names: Collection[str]) -> PreTrainedModel:
    """Return a folder's model (float32) before its weights are read, which have these names.

    Raises ModelFault for names that do not fit the configuration.
    """
    model = _built(files)
    unknown, absent = misfits(model, names)
    if unknown or absent:
        raise ModelFault(
            f"weights do not fit config.json: unknown {unknown[:3]}, missing {absent[:3]}; `bootstrap import` names "
            "them as the model does, if transformers knows how"
        )
    return model


def check_broken(names: Iterable[str]) -> None:
    """Raise ModelFault if there is any weight with a wrong shape or values that are not finite."""
    if broken := list(names):
        raise ModelFault(f"weights with a wrong shape or values that are not finite: {', '.join(broken[:3])}")


def check_tied(different: Iterable[tuple[str, str]]) -> None:
    """Raise ModelFault if there are tied weights, by name and the name that they share, that a file has twice."""
    for name, same in different:
        raise ModelFault(
            f"config.json ties {name} to {same}, and the weights hold two different ones; `bootstrap import` the "
            "folder, which keeps both as transformers does"
        )


def completed(model: PreTrainedModel, files: Mapping[str, bytes]) -> PreTrainedTokenizerFast:
    """Give a model its folder's generation configuration, and return the tokenizer.

    Raises RecipeError for an end of sequence that is no token of the model.
    """
    settings = json.loads(files["config.json"])
    if "generation_config.json" in files:
        model.generation_config = GenerationConfig.from_dict(json.loads(files["generation_config.json"]))
    tokenizer = _load_tokenizer(files, rows=len(embedding(model)))
    ends = [*ends_named(settings), *ends_named(_inner(settings))]
    _name_ends(model, ends, tokenizer, taught=taught_end(files))
    return tokenizer


def _inner(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings of a language model inside a model of several kinds of input."""
    return settings.get("text_config") or {}


def load_outline(files: Mapping[str, bytes]) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Return a folder's model without weights (on torch's device `meta`) and its tokenizer, otherwise as `load`."""
    check_folder(files)
    with library_faults("config.json"):
        with torch.device("meta"):
            model = _built(files)
        return model, completed(model, files)


def _built(files: Mapping[str, bytes]) -> PreTrainedModel:
    """Return the model of config.json, its weights unset, without special tokens that transformers invents."""
    settings = json.loads(files["config.json"])
    settings.pop("auto_map", None)
    config = AutoConfig.for_model(**settings)
    for part, written in ((config, settings), (config.get_text_config(), {**settings, **_inner(settings)})):
        _correct_special_tokens(part, written)
    with no_init_weights():
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)


@contextmanager
def library_faults(file: str) -> Iterator[None]:
    """Turn the libraries' errors for a broken folder into ModelFault about `file`; too little memory passes."""
    try:
        yield
    except BootstrapError:
        raise
    except LIBRARY_FAULTS as error:
        if is_of_memory(error) or is_our_assertion(error):
            raise
        raise ModelFault(
            f"{file} makes no model here: {brief(error)}; choose a causal language model of a type that the installed "
            "transformers knows, or a newer transformers"
        ) from error


def is_our_assertion(error: Exception) -> bool:
    """Whether an assertion failed in this package (a defect, whatever the files), not in a library."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    is_ours = frame.f_globals["__name__"].partition(".")[0] == __name__.partition(".")[0]
    return is_ours and isinstance(error, AssertionError)


def brief(error: Exception) -> str:
    """Return an error's type and first line, shortened to `_BRIEF` characters."""
    lines = str(error).strip().splitlines() or [""]
    return shorten(f"{type(error).__name__}: {lines[0]}", _BRIEF, placeholder=" ...")


def _check_shapes(files: Mapping[str, bytes], tensors: Mapping[str, Tensor]) -> None:
    """Raise ModelFault for weights that are not the configuration's, before memory is taken for what that claims."""
    with torch.device("meta"):
        model = without_weights(files, tensors)
    expected = dict(model.state_dict())
    if broken := [name for name, tensor in tensors.items() if tensor.shape != expected[name].shape]:
        raise ModelFault(f"weights with a wrong shape by config.json: {', '.join(broken[:3])}")
    held, buffers = (sum(one.nbytes for one in some) for some in (tensors.values(), model.buffers()))
    if buffers > max(held, _BUFFERS):
        raise ModelFault(f"config.json makes buffers of {buffers:,} bytes, and the weights have {held:,}")


def misfits(model: PreTrainedModel, names: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the names of weights that a model does not know, and its own names that are missing."""
    expected = set(model.state_dict())
    return sorted(set(names) - expected), sorted(expected - set(names) - tied_weights(model).keys())


def tied_weights(model: PreTrainedModel) -> dict[str, str]:
    """Return the name of each tied copy -> the name of the weights that it shares."""
    return getattr(model, "all_tied_weights_keys", None) or {}


def embedding(model: PreTrainedModel) -> nn.Parameter:
    """Return a model's embedding matrix (V, D)."""
    return model.get_input_embeddings().get_parameter("weight")


def head(model: PreTrainedModel) -> nn.Module:
    """Return the layer that makes logits of the last hidden state."""
    found = model.get_output_embeddings()
    assert found is not None, "a causal language model has an output matrix"
    return found


def output_matrix(model: PreTrainedModel) -> nn.Parameter:
    """Return the weights of `head` (V, D)."""
    return head(model).get_parameter("weight")


def _correct_special_tokens(config: PretrainedConfig, settings: Mapping[str, Any]) -> None:
    """Remove from a configuration an end token that its file does not name, and padding without a row.

    A configuration class's default end token is some word of another model's tokenizer. Padding is never read, so any
    token of the embedding will do.
    """
    if "eos_token_id" not in settings:
        config.eos_token_id = None
    # Some classes have no such attribute.
    match getattr(config, "pad_token_id", None), getattr(config, "vocab_size", None):
        case int(pad), int(rows) if not 0 <= pad < rows:
            config.pad_token_id = None
        case pad, _:
            config.pad_token_id = pad


def _name_ends(
    model: PreTrainedModel, others: Sequence[int], tokenizer: PreTrainedTokenizerFast, *, taught: str | None
) -> None:
    """Let the generation configuration name every end token, so that the sampler stops at the end that is taught.

    `others`: those that config.json names; `taught`: the end that training teaches.
    """
    generation = model.generation_config
    assert generation is not None, "a causal language model has a generation configuration"
    named, own = ends_named({"eos_token_id": generation.eos_token_id}), cast("int | None", tokenizer.eos_token_id)
    shown = None if taught is None else tokenizer.backend_tokenizer.token_to_id(taught)
    known = (*named, *others, *(end for end in (own, shown) if end is not None))
    ends = [end for end in dict.fromkeys(known) if 0 <= end < len(embedding(model))]
    # A file that names them all stays as it is.
    if set(ends) != set(named):
        generation.eos_token_id = ends[0] if len(ends) == 1 else ends or None


@torch.no_grad()
def _check_head(model: PreTrainedModel) -> None:
    """Raise RecipeError for a model whose logits are not its output matrix times the last hidden state.

    Sampler and learner compute logits that way, at completion tokens only; with soft-capping or scaling they would
    disagree with the model itself.
    """
    tokens_BT = torch.arange(4).unsqueeze(0) % model.config.vocab_size
    hidden = model.base_model(input_ids=tokens_BT, use_cache=False).last_hidden_state
    theirs = model(input_ids=tokens_BT, use_cache=False).logits
    check_logits(head(model)(hidden), theirs, kind=type(model).__name__)


def check_logits(ours: Tensor, theirs: Tensor, *, kind: str) -> None:
    """Raise RecipeError unless our logits are those of a model itself, of class `kind`."""
    if not torch.allclose(ours, theirs, atol=1e-3, rtol=1e-3):
        raise RecipeError(
            f"{kind} changes its logits after the output matrix (soft-capping or scaling), which is "
            "not supported; use a model without it"
        )


def passed_on(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files that a folder's descendants take over unchanged: tokenizer, chat template, framing, origin."""
    return {
        name: files[name]
        for name in files
        if name.startswith("tokenizer") or name.endswith(".jinja") or name in (PROMPTING, IMPORT)
    }


def _load_tokenizer(files: Mapping[str, bytes], *, rows: int) -> PreTrainedTokenizerFast:
    """Return the tokenizer, without special tokens that its vocabulary lacks; `rows`: of the embedding.

    transformers would add those as new tokens, without a row of the embedding and unknown to the driver.
    """
    settings = json.loads(files.get("tokenizer_config.json", b"{}"))
    tokenizer = tokenizer_of(files)
    tokens = {name: token_text(settings, name) for name in ("pad_token", "bos_token", "eos_token", "unk_token")}
    if tokens["eos_token"] is not None:
        end_id(tokenizer, tokens["eos_token"], rows=rows)
    kept = {name: text for name, text in tokens.items() if text is not None and tokenizer.token_to_id(text) is not None}
    kept |= {name: settings[name] for name in ("padding_side", "model_max_length") if name in settings}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **kept)


@torch.no_grad()
def replace_weights(model: PreTrainedModel, files: Mapping[str, bytes]) -> bool:
    """Give a model the weights of a folder of the same architecture, in place; return whether they fit it."""
    if json.loads(files["config.json"]) != _config_of(model):
        return False
    held = {name: value for name, value in model.state_dict().items() if name not in tied_weights(model)}
    tensors = safetensors.torch.load(files[MODEL_WEIGHTS])
    if {name: value.shape for name, value in tensors.items()} != {name: value.shape for name, value in held.items()}:
        return False
    for name, value in tensors.items():
        held[name].copy_(value)
    return True


def weights_bytes(model: PreTrainedModel) -> bytes:
    """Return the weights as safetensors, without tied copies."""
    return safetensors.torch.save(dict(_weights(model)), metadata={"format": "pt"})


def fingerprint(model: PreTrainedModel) -> str:
    """Return the fingerprint of `weights_bytes` without making them: the tensors are hashed where they are."""
    return fingerprint_tensors(
        # Flat first: a number without dimensions cannot be read as bytes.
        (name, _dtype_name(tensor.dtype), list(tensor.shape), tensor.view(-1).view(torch.uint8).numpy().data)
        for name, tensor in _weights(model)
    )


def _weights(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights by name, in order, without tied copies; on a CPU they share the model's memory."""
    tied = tied_weights(model)
    for name, tensor in sorted(model.state_dict().items()):
        if name not in tied:
            yield name, tensor.detach().cpu().contiguous()


@cache
def _dtype_name(dtype: torch.dtype) -> str:
    """Return a type's name in safetensors files."""
    return tensors_of(safetensors.torch.save({"": torch.empty(0, dtype=dtype)}))[""][0]


def export(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, *, passed_on: Mapping[str, bytes]) -> Checkpoint:
    """Return a folder for `AutoModelForCausalLM.from_pretrained` and `AutoTokenizer.from_pretrained`.

    `passed_on`: unchanged files of the model's origin; empty for models from scratch.
    """
    weights = weights_bytes(model)
    files = {**folder_files(model, tokenizer, passed_on=passed_on), MODEL_WEIGHTS: weights}
    return Checkpoint(fingerprint=fingerprint_safetensors(weights), files=files)


def folder_files(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    *,
    passed_on: Mapping[str, bytes],
    architecture: str | None = None,
) -> dict[str, bytes]:
    """Return the files of `export` beside the weights; `architecture`: the name of the model's class."""
    return {
        "config.json": json_file(_config_of(model, architecture), indent=2),
        "generation_config.json": generation_json(model),
        **(passed_on or tokenizer_files(tokenizer)),
    }


def _config_of(model: PreTrainedModel, architecture: str | None = None) -> dict[str, Any]:
    """Return what config.json says of a model; `architecture`: the name of its class."""
    config = json.loads(model.config.to_json_string(use_diff=False))
    return {**config, "architectures": [architecture or type(model).__name__], "dtype": "float32"}


def checksum(tensors: Iterable[Tensor]) -> int:
    """Return the sum of floats read as integers, which every flipped bit changes."""
    as_integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return sum(int(one.contiguous().view(as_integers[one.element_size()]).sum(dtype=torch.int64)) for one in tensors)


def generation_json(model: PreTrainedModel) -> bytes:
    """Return generation_config.json."""
    assert model.generation_config is not None, "a causal language model has a generation configuration"
    return model.generation_config.to_json_string().encode()


def tokenizer_files(tokenizer: PreTrainedTokenizerFast) -> dict[str, bytes]:
    """Return tokenizer.json and tokenizer_config.json."""
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": tokenizer.pad_token,
        "bos_token": tokenizer.bos_token,
        "eos_token": tokenizer.eos_token,
        "unk_token": tokenizer.unk_token,
        "padding_side": tokenizer.padding_side,
        "model_max_length": tokenizer.model_max_length,
        "clean_up_tokenization_spaces": False,
    }
    return {
        "tokenizer.json": tokenizer.backend_tokenizer.to_str(pretty=True).encode(),
        "tokenizer_config.json": json_file(settings, indent=2),
    }


def output_width(model: PreTrainedModel) -> int:
    """Return a model's number of outputs: the tokenizer's tokens, mostly with some padding."""
    return len(output_matrix(model))


def readable(tokens_BT: Tensor, model: PreTrainedModel) -> Tensor:
    """Return tokens (B, T) that a model can read: padding of a wider model of one tokenizer becomes its last token."""
    return tokens_BT.clamp(max=len(embedding(model)) - 1)


def model_shape(model: PreTrainedModel) -> ModelShape:
    """Return the sizes that the FLOP formulas need."""
    config, inputs = model.config, embedding(model)
    matrices = [p for p in model.parameters() if p.ndim == 2 and p is not inputs]
    if output_matrix(model) is inputs:
        matrices.append(inputs)
    everything = list(model.parameters())
    num_parameters = sum(p.numel() for p in everything)
    return ModelShape(
        num_layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        num_matmul_parameters=sum(p.numel() for p in matrices),
        num_parameters=num_parameters,
        bytes_per_parameter=sum(p.nbytes for p in everything) / num_parameters,
        num_frozen_matmul_parameters=sum(p.numel() for p in matrices if not p.requires_grad),
    )
