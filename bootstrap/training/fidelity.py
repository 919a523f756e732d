"""A source as transformers opens it: its weights under the model's own names, and its logits to compare with.

    source --from_pretrained--> logits  =  logits of what is stored, opened here and by from_pretrained

Published weights bear other names than the model they make (GPT-2's lack `transformer.`), tie matrices that are stored
once under either name, and keep masks and frequencies that are computed today. Transformers knows all of these. It also
draws at random what is missing and drops what it does not know; both are refused here.

Nothing pickled is opened, no code of the model's author runs, and nothing is fetched.
"""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging

from bootstrap.canonical import json_file
from bootstrap.errors import RecipeError, StoreError, system_reason
from bootstrap.store import durable
from bootstrap.store.fingerprint import MODEL_WEIGHTS

TOLERANCE = 1e-4
"""Absolute and relative, of float32 logits: the same weights in the same model differ by float rounding at most."""
LENGTH = 16
"""Tokens of each sequence that is compared, unless the model holds fewer."""
_READ = {"config.json", "generation_config.json", MODEL_WEIGHTS}
_COMPUTED = re.compile(r"(rotary_emb\.(inv_freq|cos_cached|sin_cached)|(attn|attention)\.(masked_)?bias|position_ids)$")
"""Names of buffers that earlier versions of transformers stored, and that models compute."""


@dataclass(frozen=True, kw_only=True)
class SourceOutput:
    """What transformers makes of a source."""

    model: PreTrainedModel
    logits_BTV: Tensor
    precision: torch.dtype
    """That its weights are stored in without loss."""


def opened(files: Mapping[str, bytes], *, place: str) -> SourceOutput:
    """Return what transformers makes of a source's files, its weights in one; `place`: its name in messages.

    Raises RecipeError for weights that are missing or that the model does not use, and what transformers raises for a
    model that it cannot open.
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
    """Return a folder's files with the weights under the names that the model has; what is tied stands there once."""
    model, config = source.model, json.loads(files["config.json"])
    tied = set(getattr(model, "all_tied_weights_keys", None) or {})
    own = {name: tensor for name, tensor in model.state_dict().items() if name not in tied}
    kept = {name: t.to(source.precision) if t.is_floating_point() else t for name, t in own.items()}
    head, embedding = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    if getattr(model.config, "tie_word_embeddings", False) and head is not embedding:
        # The weights hold two matrices, which transformers then keeps apart.
        config["tie_word_embeddings"] = False
    return {
        **files,
        "config.json": json_file(config, indent=2),
        MODEL_WEIGHTS: safetensors.torch.save({n: t.contiguous() for n, t in kept.items()}, metadata={"format": "pt"}),
    }


def difference(files: Mapping[str, bytes], ours_BTV: Tensor, source: SourceOutput) -> str | None:
    """Return how a stored folder's logits differ from its source's, or None.

    `ours_BTV`: those of the folder as it is opened here; transformers opens it too.
    """
    if told := apart(ours_BTV, source):
        return f"opened here, {told}"
    told = apart(logits(_from_pretrained(files)[0]), source)
    return f"opened by transformers once it is stored, {told}" if told else None


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
    """Return the logits (2, T, V) of two fixed sequences: the first tokens, and some from all of the vocabulary."""
    rows = model.get_input_embeddings().weight.shape[0]
    most = getattr(model.config, "max_position_embeddings", None) or LENGTH
    steps_T = torch.arange(min(LENGTH, most))
    tokens_BT = torch.stack([steps_T % rows, (rows - 1) * steps_T // (LENGTH - 1)])
    return model.eval()(input_ids=tokens_BT, use_cache=False).logits.float()


def _from_pretrained(files: Mapping[str, bytes]) -> tuple[PreTrainedModel, dict[str, set[str]]]:
    """Return the model in float32, and which names did not fit. Raises StoreError where no room is for its files.

    It lies in a folder with nothing beside it: transformers would follow what an adapter's file or an index says.
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
        return AutoModelForCausalLM.from_pretrained(
            str(folder),
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Let transformers neither draw bars nor tell at length what this module tells in one line."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _is_computed(name: str, tensor: Tensor) -> bool:
    """Whether a name is of a buffer; a mask has four dimensions or is one number, a bias has one."""
    return _COMPUTED.search(name) is not None and (not name.endswith("bias") or tensor.ndim in (0, 4))


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
