"""A model folder -> a model of which each rank reads its own rows, so that no process holds the whole.

The model is built without memory (torch's meta device), spread, and then filled from the files, which may be larger
than a process's memory.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from bootstrap.config.training import LoraAdapter
from bootstrap.errors import RecipeError
from bootstrap.reading import OpenFile
from bootstrap.store.fingerprint import ADAPTER_CONFIG, tensors_in, tensors_of
from bootstrap.training import lora, precision, sharded
from bootstrap.training import model as models
from bootstrap.training.completion import completion
from bootstrap.training.ranks import Ranks
from bootstrap.training.rows import own_range, own_rows

PORTION = 2**24
"""Entries that are read at once: what is read is of another type, or on another device, than what is kept."""
Files = Mapping[str, bytes | OpenFile]
"""A folder's files by name: content, or the open file (`reading.py`), of which this process reads its own part."""
TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "BOOL": torch.bool,
}
"""Types of a model's tensors by the safetensors library's names."""
_Reader = Callable[[int, int], bytes | memoryview]
"""Returns bytes of a tensor, from a first one to before a last one."""


@dataclass(frozen=True, kw_only=True)
class ShardedModel:
    """A sharded model, and what its folder needs beside the weights."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    passed_on: Mapping[str, bytes]
    base: str | None
    """The fingerprint of the base under an adapter."""


class _Weights:
    """Tensors of a folder's safetensors files, read row by row."""

    def __init__(self, files: Files, *, prefix: str = "") -> None:
        self.tensors: dict[str, tuple[str, list[int], _Reader]] = {}
        for content in (files[name] for name in sorted(files) if name.endswith(".safetensors")):
            found = _readers(content) if isinstance(content, bytes) else _readers_in(content)
            self.tensors |= {name.removeprefix(prefix): one for name, one in found.items()}

    def fill(self, name: str, parameter: Tensor) -> bool:
        """Copy this process's rows of a tensor, and return whether its shape fits and all values are finite."""
        if self.tensors[name][1] != list(parameter.shape):
            return False
        mine, is_finite = own_rows(parameter), True
        for start, values in self._own(name, parameter):
            is_finite = is_finite and bool(torch.isfinite(values).all())
            mine[start : start + len(values)].copy_(values)
        return is_finite

    def are_equal(self, name: str, other: str, parameter: Tensor) -> bool:
        """Return whether this process's rows of two tensors, both of a parameter's shape, are the same."""
        pairs = zip(self._own(name, parameter), self._own(other, parameter), strict=True)
        return all(torch.equal(one, two) for (_, one), (_, two) in pairs)

    def _own(self, name: str, parameter: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield this process's rows of a tensor in portions, each with the number of its first row here."""
        dtype, shape, read = self.tensors[name]
        first, count = own_range(parameter)
        width = math.prod(shape[1:])
        size = width * TYPES[dtype].itemsize
        rows = max(PORTION // max(width, 1), 1)
        for start in range(0, count, rows):
            end = min(start + rows, count)
            # A writable copy, as torch wants it.
            data = bytearray(read((first + start) * size, (first + end) * size))
            yield start, torch.frombuffer(data, dtype=TYPES[dtype]).view(end - start, *shape[1:])


def _readers(data: bytes) -> dict[str, tuple[str, list[int], _Reader]]:
    def reader(values: memoryview) -> _Reader:
        return lambda begin, end: values[begin:end]

    return {name: (dtype, shape, reader(values)) for name, (dtype, shape, values) in tensors_of(data).items()}


def _readers_in(file: OpenFile) -> dict[str, tuple[str, list[int], _Reader]]:
    def reader(start: int) -> _Reader:
        return lambda begin, end: b"".join(file.parts(start + begin, start + end))

    return {name: (dtype, shape, reader(start)) for name, (dtype, shape, start, _) in tensors_in(file).items()}


def load(files: Files, ranks: Ranks, *, bf16: bool = False, frozen: bool = False) -> ShardedModel:
    """Return a folder's whole model (float32) and tokenizer, sharded.

    `bf16`: the products in the blocks are computed in bf16; `frozen`: the model is only read, so its matrices are kept
    in bf16 then. Raises RecipeError as `model.load`, on every rank.
    """
    with ranks.together("loading a model"):
        small, weights = _contents(files), _Weights(files)
        model = _unfilled(small, weights, ranks, bf16=bf16, frozen=frozen)
        sharded.shard(model, ranks, lowered=bf16 and not frozen)
        _materialise(model, ranks.device)
        tokenizer = _filled(model, small, weights, ranks)
        _check_head(model, bf16=bf16)
    return ShardedModel(model=model, tokenizer=tokenizer, passed_on=models.passed_on(small), base=None)


def load_adapted(
    base: Files, ranks: Ranks, *, fingerprint: str, adapter: LoraAdapter | Files, seed: int = 0, bf16: bool = False
) -> ShardedModel:
    """Return a base of this fingerprint with a fresh adapter by its settings and seed, or with a folder's, sharded.

    Base and adapter are spread alike; the base is frozen. Raises RecipeError as `lora.fresh` and `lora.load`.
    """
    with ranks.together("loading an adapter and its base"):
        small, weights = _contents(base), _Weights(base)
        whole = _unfilled(small, weights, ranks, bf16=bf16, frozen=True)
        if isinstance(adapter, LoraAdapter):
            model, own, trained = lora.without_start(whole, adapter), small, None
        else:
            own, trained = _contents(adapter), _Weights(adapter, prefix=lora.PEFT_PREFIX)
            model = lora.without_weights(whole, own[ADAPTER_CONFIG], trained.tensors)
        sharded.shard(model, ranks)
        _materialise(model, ranks.device)
        tokenizer = _filled(model, small, weights, ranks)
        if trained is None:
            lora.start(model, seed=seed)
        else:
            _fill(lora.parameters_of(model), trained, ranks)
        _check_head(model, bf16=bf16)
    return ShardedModel(model=model, tokenizer=tokenizer, passed_on=models.passed_on(own), base=fingerprint)


def _contents(files: Files) -> dict[str, bytes]:
    """Return the files that are no weights."""
    small = {name: content for name, content in files.items() if not name.endswith(".safetensors")}
    return {name: content if isinstance(content, bytes) else content.whole() for name, content in small.items()}


def _unfilled(
    files: Mapping[str, bytes], weights: _Weights, ranks: Ranks, *, bf16: bool, frozen: bool
) -> PreTrainedModel:
    with _without_memory():
        model = models.without_weights(files, weights.tensors)
    model.tie_weights()
    if bf16 and ranks.device.type == "cpu":
        precision.use_float_attention(model)
    if frozen:
        model.requires_grad_(False)
        if bf16:
            precision.lower_frozen(model)
    return model.eval()


def _filled(
    model: PreTrainedModel, files: Mapping[str, bytes], weights: _Weights, ranks: Ranks
) -> PreTrainedTokenizerFast:
    """Fill a model, without an adapter's own weights, and return the tokenizer."""
    kept = {name: tensor for name, tensor in model.state_dict().items() if "lora_" not in name}
    _fill({name.replace(".base_layer.", "."): tensor for name, tensor in kept.items()}, weights, ranks)
    tied = [pair for pair in models.tied_weights(model).items() if {*pair} <= weights.tensors.keys()]
    different = torch.tensor([not weights.are_equal(name, same, kept[name]) for name, same in tied], dtype=torch.long)
    models.check_tied(pair for pair, is_wrong in zip(tied, ranks.greatest(different).tolist(), strict=True) if is_wrong)
    return models.completed(model, files)


def _fill(tensors: Mapping[str, Tensor], weights: _Weights, ranks: Ranks) -> None:
    """Read tensors by their names in a file. Raises RecipeError, on every rank, if one is broken for any."""
    there = [name for name in sorted(tensors) if name in weights.tensors]
    if strange := [name for name in there if weights.tensors[name][0] not in TYPES]:
        raise RecipeError(f"{strange[0]} is of the type {weights.tensors[strange[0]][0]}; store weights as F32 or BF16")
    with torch.no_grad():
        broken = torch.tensor([not weights.fill(name, tensors[name]) for name in there])
    found = ranks.greatest(broken.long())
    models.check_broken(name for name, is_broken in zip(there, found.tolist(), strict=True) if is_broken)


@torch.no_grad()
def _check_head(model: PreTrainedModel, *, bf16: bool) -> None:
    """Raise RecipeError for a model whose logits are not its output matrix times the last hidden state."""
    device = next(model.parameters()).device
    tokens_BT = torch.arange(4, device=device).unsqueeze(0) % model.config.vocab_size
    places = (torch.zeros(4, dtype=torch.long, device=device), torch.arange(4, device=device))
    compute = partial(precision.compute, device, "bf16" if bf16 else "fp32")
    hidden_ND, _ = completion(model, tokens_BT, None, places, compute)
    seen: list[tuple[Tensor, Tensor]] = []
    # In bf16 the model's own call rounds its logits, so that they are compared with what the output matrix gave it.

    def look(_: nn.Module, given: tuple[Tensor, ...], found: Tensor) -> None:
        seen.append((given[0], found))

    hook = models.head(model).register_forward_hook(look)
    with compute():
        logits_BTV = model(input_ids=tokens_BT, use_cache=False).logits
    hook.remove()
    sharded.give_back(model)
    ((given_BTD, found_BTV),) = seen
    for ours, theirs in ((hidden_ND, given_BTD[0].float()), (found_BTV, logits_BTV)):
        models.check_logits(ours, theirs, kind=sharded.architecture(model))


def _materialise(model: PreTrainedModel, device: torch.device) -> None:
    """Give every tensor memory on a device, without values; buffers keep theirs."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.to_empty(device=device)
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])


@contextmanager
def _without_memory() -> Iterator[None]:
    """Let modules take their parameters on the meta device; buffers, which no file holds, stay as they are made."""
    register = nn.Module.register_parameter

    def registered(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        register(self, name, param if param is None else nn.Parameter(param.to("meta"), param.requires_grad))

    nn.Module.register_parameter = registered
    try:
        yield
    finally:
        nn.Module.register_parameter = register
