"""A source as transformers opens it: its weights under the model's own names, and its logits for comparison.

    source --from_pretrained--> logits  =  logits of the stored folder, opened here and by from_pretrained

Published weights have other names than the model's (GPT-2's lack `transformer.`), tied matrices under either name, and
masks and frequencies that models compute today. Transformers knows all of these, but it also draws missing weights at
random and drops unknown ones; both are refused here.

Nothing pickled is opened, no code of the model's author runs, and nothing is fetched.
"""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import safetensors.torch
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging

from bootstrap.canonical import json_file
from bootstrap.errors import RecipeError, StoreError, system_reason
from bootstrap.store import durable
from bootstrap.store.fingerprint import MODEL_WEIGHTS
from bootstrap.training import model as models

TOLERANCE = 1e-4
"""Absolute and relative, of float32 logits; the same weights in the same model differ by float rounding alone."""
LENGTH = 16
"""Tokens of each compared sequence, or fewer for a model with a shorter context."""
_READ = {"config.json", "generation_config.json", MODEL_WEIGHTS}
_COMPUTED = re.compile(r"(rotary_emb\.(inv_freq|cos_cached|sin_cached)|(attn|attention)\.(masked_)?bias|position_ids)$")
"""Names of computed buffers that earlier versions of transformers stored."""


@dataclass(frozen=True, kw_only=True)
class SourceOutput:
    """A source as transformers opens it."""

    model: PreTrainedModel
    logits_BTV: Tensor
    precision: torch.dtype
    """In which its weights are stored without loss."""


def opened(files: Mapping[str, bytes], *, place: str) -> SourceOutput:
    """Return the source of these files, weights in one file; `place`: its name in messages.

    Raises RecipeError for missing weights and for unused ones, and transformers' error for a model that it cannot open.
    """
    model, found = _from_pretrained(files)
    tensors = safetensors.torch.load(files[MODEL_WEIGHTS])
    unused = sorted(name for name in found["unexpected_keys"] if not _is_computed(name, tensors[name]))
    if missing := sorted(found["missing_keys"]):
        beside = f", and holds {_few(unused)}, which its model does not know" if unused else ""
        raise RecipeError(
            f"{place} lacks weights of its model: {_few(missing)}{beside}; transformers would draw them at random, so "
            "save the whole causal language model with save_pretrained and import that"
        )
    if unused:
        raise RecipeError(
            f"{place} holds weights that its model does not use: {_few(unused)}; transformers would leave them out, so "
            "correct config.json, or open the model with transformers and save it with save_pretrained if it is whole "
            "without them"
        )
    precisions = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    one = next(iter(precisions)) if precisions in ({torch.float16}, {torch.bfloat16}) else torch.float32
    return SourceOutput(model=model, logits_BTV=logits(model), precision=one)


def renamed(files: Mapping[str, bytes], source: SourceOutput) -> dict[str, bytes]:
    """Return a folder's files with the weights under the model's own names, tied ones once."""
    model, config = source.model, json.loads(files["config.json"])
    tied = models.tied_weights(model)
    own = {name: tensor for name, tensor in model.state_dict().items() if name not in tied}
    kept = {name: t.to(source.precision) if t.is_floating_point() else t for name, t in own.items()}
    tie = getattr(model.config, "tie_word_embeddings", False)
    if tie and models.output_matrix(model) is not models.embedding(model):
        # The weights hold two matrices, and transformers keeps them apart.
        config["tie_word_embeddings"] = False
    return {
        **files,
        "config.json": json_file(config, indent=2),
        MODEL_WEIGHTS: safetensors.torch.save({n: t.contiguous() for n, t in kept.items()}, metadata={"format": "pt"}),
    }


def difference(files: Mapping[str, bytes], ours_BTV: Tensor, source: SourceOutput) -> str | None:
    """Return how a stored folder's logits differ from its source's, or None.

    `ours_BTV`: the folder's logits, opened here; transformers opens it too.
    """
    if found := apart(ours_BTV, source):
        return f"opened here, {found}"
    found = apart(logits(_from_pretrained(files)[0]), source)
    return f"opened by transformers once it is stored, {found}" if found else None


def apart(ours_BTV: Tensor, source: SourceOutput) -> str | None:
    """Return how logits differ from the source's, or None."""
    theirs_BTV = source.logits_BTV
    if ours_BTV.shape != theirs_BTV.shape:
        return f"it has {ours_BTV.shape[-1]} outputs for each token, its source {theirs_BTV.shape[-1]}"
    if torch.allclose(ours_BTV, theirs_BTV, atol=TOLERANCE, rtol=TOLERANCE):
        return None
    return f"its logits differ from its source's by up to {(ours_BTV - theirs_BTV).abs().max():.3g}"


@torch.inference_mode()
def logits(model: PreTrainedModel) -> Tensor:
    """Return the logits (2, T, V) of two fixed sequences: the first tokens, and tokens across the vocabulary."""
    rows = len(models.embedding(model))
    most = getattr(model.config, "max_position_embeddings", None) or LENGTH
    steps_T = torch.arange(min(LENGTH, most))
    tokens_BT = torch.stack([steps_T % rows, (rows - 1) * steps_T // (LENGTH - 1)])
    return model.eval()(input_ids=tokens_BT, use_cache=False).logits.float()


def _from_pretrained(files: Mapping[str, bytes]) -> tuple[PreTrainedModel, dict[str, set[str]]]:
    """Return the model in float32, and the names that did not fit. Raises StoreError for a full disk.

    Its folder holds nothing else: transformers would follow an adapter's file or an index.
    """
    with ExitStack() as held:
        try:
            folder = Path(held.enter_context(tempfile.TemporaryDirectory())) / "model"
            durable.write_folder(folder, {name: files[name] for name in _READ & files.keys()})
        except OSError as error:
            needed = sum(len(files[name]) for name in _READ & files.keys()) / 2**20
            raise StoreError(
                f"the folder for temporary files cannot hold the model while it is opened ({needed:.3g} MiB): "
                f"{system_reason(error)}; free some space there, or name another folder with TMPDIR"
            ) from error
        held.enter_context(_quiet())
        opened = AutoModelForCausalLM.from_pretrained(
            str(folder),
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
        # The annotation leaves out the second part, which `output_loading_info` asks for.
        return cast("tuple[PreTrainedModel, dict[str, set[str]]]", opened)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' progress bars and warnings; this module reports the same in one line."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _is_computed(name: str, tensor: Tensor) -> bool:
    """Whether a name is a computed buffer's; a mask has four dimensions or none, a bias has one."""
    return _COMPUTED.search(name) is not None and (not name.endswith("bias") or tensor.ndim in (0, 4))


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
