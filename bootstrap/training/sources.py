"""Pretrained models as they come (a GGUF file, a Hugging Face folder, a hub id) -> a model folder in bytes.

A model folder: weights in one safetensors file, tokenizer.json, the chat template in a file of its own, no code of the
model's author, nothing pickled. What comes out has been opened once, so that it opens again.

Left out: quantised weights other than GGUF's (which are dequantised here), models that need code of their own.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import yaml
from gguf import GGUFReader
from safetensors import SafetensorError
from tokenizers import Tokenizer, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from bootstrap.config.base_model import MODEL_FILES
from bootstrap.errors import RecipeError
from bootstrap.store.fingerprint import MODEL_WEIGHTS
from bootstrap.training import model as models
from bootstrap.training.chat import TEMPLATE, template_of

INDEX = "model.safetensors.index.json"
HUB_FILES = ("*.json", "*.safetensors", "*.jinja", "README.md")
"""What is fetched of a repository: no code, nothing pickled."""
PICKLED = {".bin", ".pt", ".pth", ".ckpt", ".pkl"}
_DIGITS_APART = {"smollm", "starcoder", "refact", "command-r"}
"""GGUF's names of vocabularies whose merges were learned with every digit on its own."""
_GPT2 = {None, "default", "gpt-2"}
"""GGUF's names of the plain byte-level split."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A model folder in bytes, and where it comes from."""

    files: Mapping[str, bytes]
    source: Mapping[str, str]
    licence: str | None
    """As the source names it (an SPDX id, mostly); None where it names none."""
    num_parameters: int


def read_source(source: str) -> Imported:
    """Return the model that `source` names: a `.gguf` file, a folder, or `owner/name[@revision]` on the hub.

    Raises RecipeError saying what stands in the way and what to do.
    """
    path = Path(source).expanduser()
    if path.is_file():
        if path.suffix != ".gguf":
            raise RecipeError(f"{path} is no GGUF file (.gguf); name one, a Hugging Face folder, or a hub id")
        return _checked(*_gguf(path))
    if path.is_dir():
        return _checked(*_folder(path, {"type": "folder", "name": path.resolve().name}))
    name, _, revision = source.partition("@")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise RecipeError(f"there is no file or folder {source}, and a hub id is of the form owner/name[@revision]")
    return _checked(*_hub(name, revision or None))


def _checked(files: Mapping[str, bytes], source: Mapping[str, str], licence: str | None) -> Imported:
    """Open the folder as every run will."""
    model, _ = models.load(files)
    return Imported(
        files=files,
        source=source,
        licence=licence,
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


# --- GGUF --------------------------------------------------------------------------------------------------------


def _gguf(path: Path) -> tuple[dict[str, bytes], dict[str, str], str | None]:
    try:
        reader = GGUFReader(path)
    except (ValueError, OSError, IndexError) as error:
        raise RecipeError(f"{path} cannot be read as GGUF: {error}; fetch it again") from error
    transformers_logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    except (ValueError, KeyError, NotImplementedError) as error:
        raise RecipeError(
            f"transformers cannot open {path.name}: {error}; import the model's Hugging Face folder instead"
        ) from error
    config = json.loads(model.config.to_json_string(use_diff=False))
    # The weights are dequantised by now: what says otherwise would make every reader quantise them again.
    for key in ("quantization_config", "_name_or_path"):
        config.pop(key, None)
    config |= {"architectures": [type(model).__name__], "dtype": "float32"}
    _split_as_learned(tokenizer.backend_tokenizer, _field(reader, "tokenizer.ggml.pre"), path)
    template = tokenizer.chat_template
    files = {
        "config.json": json.dumps(config, indent=2, sort_keys=True).encode(),
        "generation_config.json": model.generation_config.to_json_string().encode(),
        MODEL_WEIGHTS: models.weights_bytes(model),
        **models.tokenizer_files(tokenizer),
        **({TEMPLATE: template.encode()} if isinstance(template, str) else {}),
    }
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return files, {"type": "gguf", "name": path.name, "sha256": digest}, _field(reader, "general.license")


def _split_as_learned(tokenizer: Tokenizer, name: str | None, path: Path) -> None:
    """Let the tokenizer cut text before merging as its vocabulary was learned; `name`: what GGUF calls that."""
    if name in _DIGITS_APART:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        return
    plain = json.loads(tokenizer.to_str()).get("pre_tokenizer")
    if name not in _GPT2 and plain is not None and plain["type"] == "ByteLevel":
        # Transformers fell back on the plain split, and the model would read other tokens than it was trained on.
        raise RecipeError(
            f"{path.name} cuts text as {name!r}, which transformers does not rebuild; import the model's Hugging Face "
            "folder instead"
        )


def _field(reader: GGUFReader, name: str) -> str | None:
    field = reader.get_field(name)
    return None if field is None else str(field.contents())


# --- Hugging Face folders ----------------------------------------------------------------------------------------


def _folder(path: Path, source: dict[str, str]) -> tuple[dict[str, bytes], dict[str, str], str | None]:
    there = {file.name: file for file in path.iterdir() if file.is_file()}
    wanted = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", TEMPLATE)
    files = {name: there[name].read_bytes() for name in wanted if name in there}
    files[MODEL_WEIGHTS] = _weights(path, there)
    if missing := [name for name in MODEL_FILES if name not in files]:
        raise RecipeError(
            f"{path} lacks {', '.join(missing)}; open the model and its fast tokenizer with transformers and save both "
            "with save_pretrained"
        )
    config = _json(files["config.json"], path / "config.json")
    if method := (config.get("quantization_config") or {}).get("quant_method"):
        raise RecipeError(f"{path} holds weights quantised by {method}; import the model they were made from")
    # Its author's code never runs here; if the weights need it, opening them fails.
    config.pop("auto_map", None)
    files["config.json"] = json.dumps(config, indent=2, sort_keys=True).encode()
    template = template_of(files)
    if template is not None:
        files[TEMPLATE] = template.encode()
    return files, source, _card_licence(there.get("README.md"))


def _weights(path: Path, there: Mapping[str, Path]) -> bytes:
    """Return all tensors as one safetensors file."""
    if MODEL_WEIGHTS in there:
        return there[MODEL_WEIGHTS].read_bytes()
    if INDEX not in there:
        if pickled := sorted(name for name, file in there.items() if file.suffix in PICKLED):
            raise RecipeError(
                f"{path} holds pickled weights ({', '.join(pickled[:3])}), and opening these runs whatever code is in "
                "them; ask for a revision with safetensors, or convert them with save_pretrained where that is no risk"
            )
        raise RecipeError(f"{path} holds no {MODEL_WEIGHTS}; save the model there with save_pretrained")
    shards = sorted(set(_json(there[INDEX].read_bytes(), there[INDEX]).get("weight_map", {}).values()))
    if missing := [name for name in shards if name not in there]:
        raise RecipeError(f"{path} lacks {', '.join(missing[:3])}, which {INDEX} names; fetch the folder again")
    tensors: dict[str, torch.Tensor] = {}
    for name in shards:
        try:
            tensors |= safetensors.torch.load(there[name].read_bytes())
        except SafetensorError as error:
            raise RecipeError(f"{there[name]} cannot be read: {error}; fetch the folder again") from error
    return safetensors.torch.save(tensors, metadata={"format": "pt"})


def _json(data: bytes, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise RecipeError(f"{path} is no JSON object; fetch the folder again")
    return found


def _card_licence(card: Path | None) -> str | None:
    """Return the licence that a model card's front matter names."""
    if card is None:
        return None
    _, mark, rest = card.read_text(encoding="utf-8", errors="replace").partition("---\n")
    try:
        front = yaml.safe_load(rest.partition("\n---")[0]) if mark else None
    except yaml.YAMLError:
        return None
    licence = front.get("license") if isinstance(front, dict) else None
    return licence if isinstance(licence, str) else None


def _hub(name: str, revision: str | None) -> tuple[dict[str, bytes], dict[str, str], str | None]:
    # Here and not at the top: files and folders need no client.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=list(HUB_FILES)))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise RecipeError(
            f"cannot fetch {name} from the hub: {str(error).splitlines()[0]}; check the name and the network, or fetch "
            "the folder elsewhere and import it from there"
        ) from error
    # A snapshot's folder is named by the commit it is of.
    return _folder(folder, {"type": "hub", "name": name, "revision": folder.name})
