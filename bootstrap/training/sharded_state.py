"""What a sharded model leaves on disk: checkpoints, whole folders and fingerprints, of which no process holds all.

| what        | how                                                                                                  |
|-------------|------------------------------------------------------------------------------------------------------|
| checkpoint  | torch.distributed.checkpoint as safetensors, a file for each rank; read by any number of ranks       |
| folder      | one safetensors file, which rank 0 writes tensor by tensor in the order of names, as they arrive     |
| fingerprint | version 1: rank 0 hashes all tensors in order; version 2: each rank hashes those that it gathers      |
"""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from peft import get_peft_model_state_dict
from torch import Tensor
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter

from bootstrap.canonical import canonical_json
from bootstrap.errors import StoreError
from bootstrap.reading import store_errors
from bootstrap.store import durable
from bootstrap.store.fingerprint import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    MODEL_WEIGHTS,
    TensorDigest,
    fingerprint_adapter,
    fingerprint_digests,
)
from bootstrap.training import lora, sharded
from bootstrap.training import model as models
from bootstrap.training.owners import wholes
from bootstrap.training.ranks import Ranks
from bootstrap.training.sharded_load import TYPES, ShardedModel

_Result = TypeVar("_Result")
_NAMES = {dtype: name for name, dtype in TYPES.items()}


def save(tensors: Mapping[str, Tensor], folder: Path, ranks: Ranks) -> None:
    """Write tensors that the ranks hold together; `folder` is complete or absent. Raises StoreError if it exists."""
    staged = by_first(ranks, lambda: _staged(folder))
    writer = HuggingFaceStorageWriter(str(staged), save_distributed=True)
    with _checkpoint_errors(folder):
        state_dict_saver.save(dict(tensors), storage_writer=writer)
    by_first(ranks, lambda: _named(staged, folder))


def saved(folder: Path) -> list[str]:
    """Return the names of the tensors that a `save` holds. Raises StoreError if it cannot be read."""
    with store_errors(folder, doing="read"):
        return sorted(HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata)


def load(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Fill this rank's parts of tensors, in place. Raises StoreError, on every rank, where some rank cannot read."""
    with _checkpoint_errors(folder):
        state_dict_loader.load(dict(tensors), storage_reader=HuggingFaceStorageReader(str(folder)))


@contextmanager
def _checkpoint_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except CheckpointException as error:
        # Each rank's own error; torch derives it from BaseException.
        told = "; ".join(f"rank {rank}: {fault[0]}" for rank, fault in sorted(error.failures.items()))
        raise StoreError(f"the checkpoint {folder} cannot be written or read: {told}") from error


def fingerprint(held: ShardedModel, ranks: Ranks) -> str:
    """Return the version 2 fingerprint of the weights, with an adapter's base and configuration; the same on each rank.

    The tensors of the whole model are shared out among the ranks of each copy.
    """
    named = _stored(held)
    owners = [number % ranks.num_shards for number in range(len(named))]
    mine = [
        TensorDigest(name, _NAMES[whole.dtype], list(whole.shape), hashlib.sha256(_bytes(whole)).hexdigest())
        for name, whole in wholes(named, ranks, owners=owners)
    ]
    every: list[list[TensorDigest]] = [[] for _ in range(ranks.num_shards)]
    dist.all_gather_object(every, mine, group=ranks.shards)
    return _of_both(held, fingerprint_digests([one for part in every for one in part]))


def first_fingerprint(held: ShardedModel, ranks: Ranks) -> str:
    """Return the version 1 fingerprint of the weights, as `export` does, without a file."""
    digest = hashlib.sha256()
    for _ in _safetensors(held, ranks, digest):
        pass
    return by_first(ranks, lambda: _of_both(held, digest.hexdigest()))


def export(held: ShardedModel, path: Path, ranks: Ranks) -> str:
    """Write the weights as a Hugging Face folder, and return their version 1 fingerprint, the same on each rank."""
    name = MODEL_WEIGHTS if held.base is None else ADAPTER_WEIGHTS
    digest = hashlib.sha256()
    parts = _safetensors(held, ranks, digest)
    staged = by_first(ranks, lambda: _staged(path))
    if ranks.rank == 0:
        small = ((file, [content]) for file, content in _small(held).items())
        durable.fill_folder(staged, itertools.chain(small, [(name, parts)]))
    else:
        for _ in parts:
            pass
    by_first(ranks, lambda: _named(staged, path))
    return by_first(ranks, lambda: _of_both(held, digest.hexdigest()))


def _staged(folder: Path) -> Path:
    durable.make_folder(folder.parent)
    return durable.temporary_folder(folder)


def _named(staged: Path, folder: Path) -> None:
    if not durable.give_name(staged, folder):
        durable.discard(staged)
        raise StoreError(f"{folder} is there already; write into a new folder")


def by_first(ranks: Ranks, work: Callable[[], _Result]) -> _Result:
    """Return on every rank what rank 0 alone does. Raises its StoreError on every rank."""
    told: list[Any] = [None, None]
    if ranks.rank == 0:
        try:
            told[0] = work()
        except StoreError as error:
            told[1] = str(error)
    dist.broadcast_object_list(told, src=0)
    result, fault = told
    if fault is not None:
        raise StoreError(fault)
    return result


def _safetensors(held: ShardedModel, ranks: Ranks, digest: "hashlib._Hash") -> Iterator[bytes]:
    """Yield a safetensors file in parts on rank 0, and nothing elsewhere; `digest` takes the fingerprint's input.

    The bytes are those of the safetensors library, which sorts by name where all tensors are of one type.
    """
    named = _stored(held)
    assert all(tensor.dtype == torch.float32 for _, tensor in named), "trained weights are float32"
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, tensor in named:
        end = position + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if ranks.rank == 0:
        yield len(text).to_bytes(8, "little") + text
    for name, whole in wholes(named, ranks, owners=[0] * len(named)):
        if ranks.rank == 0:
            data = _bytes(whole)
            digest.update(canonical_json([name, "F32", list(whole.shape)]) + b"\n")
            digest.update(data)
            yield data


def _stored(held: ShardedModel) -> list[tuple[str, Tensor]]:
    """Return the tensors of the file that keeps the weights, by name in order."""
    if held.base is not None:
        adapter = get_peft_model_state_dict(held.model)
        return sorted((f"{lora.PEFT_PREFIX}{name}", tensor) for name, tensor in adapter.items())
    tied = models.tied_weights(held.model)
    return sorted((name, tensor) for name, tensor in held.model.state_dict().items() if name not in tied)


def _small(held: ShardedModel) -> dict[str, bytes]:
    """Return a folder's files that hold no weights."""
    if held.base is not None:
        return lora.folder_files(held.model, base=held.base, passed_on=held.passed_on)
    architecture = sharded.architecture(held.model)
    return models.folder_files(held.model, held.tokenizer, passed_on=held.passed_on, architecture=architecture)


def _of_both(held: ShardedModel, weights: str) -> str:
    """Return an adapter's fingerprint with that of its base, and a whole model's as it is."""
    if held.base is None:
        return weights
    return fingerprint_adapter(weights, held.base, _small(held)[ADAPTER_CONFIG])


def _bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
