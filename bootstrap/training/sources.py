"""Pretrained models as they come (a GGUF file, a Hugging Face folder, a hub id) -> a model folder in bytes.

A model folder: weights in one safetensors file, under the names that the model has, tokenizer.json, the chat template
in a file of its own, no code of the model's author, nothing pickled. What comes out has been opened once, so that it
opens again, and gives the logits that transformers gives for the source (`fidelity.py`).

Left out: quantised weights other than GGUF's (which are dequantised here), models that need code of their own.
"""

import json
import traceback
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import safetensors.torch
import torch
import yaml
from gguf import GGUFReader
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from tokenizers import Tokenizer, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from bootstrap.canonical import json_file, sha256
from bootstrap.config.base_model import MODEL_FILES
from bootstrap.errors import RecipeError
from bootstrap.store.fingerprint import ADAPTER_CONFIG, MODEL_WEIGHTS
from bootstrap.training import fidelity, shortage
from bootstrap.training import model as models
from bootstrap.training.chat import TEMPLATE, template_of
from bootstrap.training.special_tokens import NAMES, token_text

INDEX = "model.safetensors.index.json"
HUB_FILES = ("*.json", "*.safetensors", "*.jinja", "README.md")
"""What is fetched of a repository: no code, nothing pickled."""
PICKLED = {".bin", ".pt", ".pth", ".ckpt", ".pkl"}
_OF_A_CONFIG = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    StrictDataclassError,
    TypeError,
    ValueError,
)
"""What transformers and torch raise for a configuration they cannot build: few values are checked, so that most fail
where they are first used (0 heads divide, an unknown activation is looked up, torch asserts where the padding is)."""
_BRIEF = 300
"""Characters of a library's error that are passed on."""
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

    Raises RecipeError saying what stands in the way and what to do, StoreError where a disk has no room for it.
    """
    path = Path(source).expanduser()
    if path.is_file():
        if path.suffix != ".gguf":
            raise RecipeError(f"{path} is no GGUF file (.gguf); name one, a Hugging Face folder, or a hub id")
        with shortage.told(str(path)):
            *read, original = _gguf(path)
        return _checked(*read, place=str(path), original=original)
    if path.is_dir():
        with shortage.told(str(path)):
            read = _folder(path, {"type": "folder", "name": path.resolve().name}, place=str(path))
        return _checked(*read, place=str(path))
    name, _, revision = source.partition("@")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise RecipeError(f"there is no file or folder {source}, and a hub id is of the form owner/name[@revision]")
    with shortage.told(source):
        read = _hub(name, revision or None)
    return _checked(*read, place=source)


def _checked(
    files: Mapping[str, bytes],
    source: Mapping[str, str],
    licence: str | None,
    *,
    place: str,
    original: fidelity.SourceOutput | None = None,
) -> Imported:
    """Open the folder as every run will, and prove that it is the model of the source.

    `place`: where it comes from, in words; `original`: what transformers made of the source, if it has opened it.
    """
    with shortage.told(place, weights=len(files[MODEL_WEIGHTS])):
        # Tokenizers raises a bare Exception.
        try:
            Tokenizer.from_str(files["tokenizer.json"].decode())
        except Exception as error:
            raise RecipeError(
                f"tokenizer.json of {place} cannot be opened: {_brief(error)}; fetch it again, or save the model's "
                "fast tokenizer with save_pretrained"
            ) from error
        with _told(place):
            files, num_parameters = _faithful(files, original, place=place)
    return Imported(files=files, source=source, licence=licence, num_parameters=num_parameters)


def _faithful(
    files: Mapping[str, bytes], original: fidelity.SourceOutput | None, *, place: str
) -> tuple[Mapping[str, bytes], int]:
    """Return files whose model gives the logits that transformers gives for the source, and its number of parameters.

    Weights keep their bytes where the model knows them by their names. Raises RecipeError where no form of them gives
    the same logits.
    """
    if original is not None:
        ours = _opened(files)
    else:
        try:
            ours, unfit = _opened(files), None
        except RecipeError as error:
            ours, unfit = None, error
        original = _original(files, unfit, place=place)
        if ours is not None and not fidelity.apart(ours.logits_BTV, original):
            # What transformers has opened is what will be stored.
            return files, ours.num_parameters
        files = fidelity.renamed(files, original)
        ours = _opened(files)
    if told := fidelity.difference(files, ours.logits_BTV, original):
        raise _Refused(
            f"{place} would become another model: {told}; open it with transformers, save it with save_pretrained and "
            "import that"
        )
    return files, ours.num_parameters


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """What is kept of a model that runs would have: the model itself makes room for the next one."""

    logits_BTV: torch.Tensor
    num_parameters: int


def _opened(files: Mapping[str, bytes]) -> _Opened:
    model, _ = models.load(files)
    count = sum(parameter.numel() for parameter in model.parameters())
    return _Opened(logits_BTV=fidelity.logits(model), num_parameters=count)


def _original(files: Mapping[str, bytes], unfit: RecipeError | None, *, place: str) -> fidelity.SourceOutput:
    """Return what transformers makes of files; `unfit`: why they cannot be opened as they are, if so."""
    try:
        return fidelity.opened(files, place=place)
    except RecipeError as error:
        raise _Refused(str(error)) from error
    except _OF_A_CONFIG as error:
        if unfit is not None:
            raise RecipeError(f"{unfit}; transformers says: {_brief(error)}") from error
        _check_padding(json.loads(files["config.json"]), place=place)
        raise


def _check_padding(config: Mapping[str, Any], *, place: str) -> None:
    """Raise RecipeError for padding that torch makes no embedding with."""
    pad, rows = config.get("pad_token_id"), config.get("vocab_size")
    if isinstance(pad, int) and isinstance(rows, int) and not -rows <= pad < rows:
        raise _Refused(
            f"config.json of {place} pads with token {pad}, and the model's embedding has {rows} rows; choose a "
            "pad_token_id below that, or null"
        )


class _Refused(RecipeError):
    """What is said of a source in full."""


@contextmanager
def _told(place: str) -> Iterator[None]:
    """Tell what libraries raise for a broken folder as one error that names the file and a remedy."""
    try:
        yield
    except _Refused:
        raise
    except RecipeError as error:
        raise RecipeError(f"{place} cannot be opened: {error}; if it was cut on its way, fetch it again") from error
    except SafetensorError as error:
        raise RecipeError(
            f"{MODEL_WEIGHTS} of {place} cannot be read: {_brief(error)}; if it was cut on its way, fetch it again"
        ) from error
    except _OF_A_CONFIG as error:
        if isinstance(error, AssertionError) and _is_ours(error):
            raise
        raise RecipeError(
            f"config.json of {place} makes no model here: {_brief(error)}; choose a causal language model of a type "
            "that the installed transformers knows, or a newer transformers"
        ) from error


def _is_ours(error: AssertionError) -> bool:
    """Whether an assertion failed in this package, which no file can bring about, and not in a library."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_globals["__name__"].partition(".")[0] == __name__.partition(".")[0]


def _brief(error: Exception) -> str:
    """Return what an error says, as far as it fits into a line."""
    lines = str(error).strip().splitlines() or [""]
    return shorten(f"{type(error).__name__}: {lines[0]}", _BRIEF, placeholder=" ...")


# --- GGUF --------------------------------------------------------------------------------------------------------


def _gguf(path: Path) -> tuple[dict[str, bytes], dict[str, str], str | None, fidelity.SourceOutput]:
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
        "config.json": json_file(config, indent=2),
        "generation_config.json": model.generation_config.to_json_string().encode(),
        MODEL_WEIGHTS: models.weights_bytes(model),
        **models.tokenizer_files(tokenizer),
        **({TEMPLATE: template.encode()} if isinstance(template, str) else {}),
    }
    digest = sha256(path.read_bytes())
    source = {"type": "gguf", "name": path.name, "sha256": digest}
    original = fidelity.SourceOutput(model=model, logits_BTV=fidelity.logits(model), precision=torch.float32)
    return files, source, _field(reader, "general.license"), original


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


def _folder(
    path: Path, source: dict[str, str], *, place: str, left_behind: Collection[str] = ()
) -> tuple[dict[str, bytes], dict[str, str], str | None]:
    """Read a folder; `place`: its name in messages, `left_behind`: files of the source that it holds no copy of."""
    there = {file.name: file for file in path.iterdir() if file.is_file()}
    wanted = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", TEMPLATE)
    files = {name: there[name].read_bytes() for name in wanted if name in there}
    settings = {name: _json(data, path / name) for name, data in files.items() if name.endswith(".json")}
    files[MODEL_WEIGHTS] = _weights(there, place=place, left_behind=left_behind)
    if missing := [name for name in MODEL_FILES if name not in files]:
        raise RecipeError(
            f"{place} lacks {', '.join(missing)}; open the model and its fast tokenizer with transformers and save "
            "both with save_pretrained"
        )
    config = settings["config.json"]
    if (method := _quantised_by(config, there)) is not None:
        raise RecipeError(f"{place} holds weights quantised by {method}; import the model they were made from")
    if ADAPTER_CONFIG in there:
        raise RecipeError(
            f"{place} holds an adapter ({ADAPTER_CONFIG}) beside a model, and transformers opens both as one; merge "
            "them (merge_and_unload, save_pretrained) and import that, or remove the adapter"
        )
    files["tokenizer_config.json"] = _naming_its_tokens(path, files, settings["tokenizer_config.json"])
    # Its author's code never runs here; if the weights need it, opening them fails.
    config.pop("auto_map", None)
    files["config.json"] = json_file(config, indent=2)
    template = template_of(files)
    if template is not None:
        files[TEMPLATE] = template.encode()
    return files, source, _card_licence(there.get("README.md"))


def _quantised_by(config: Mapping[str, Any], there: Collection[str]) -> str | None:
    """Return what weights are quantised by, in words; None for those that are not.

    Transformers has one key for it in config.json; other libraries have theirs, or a file of their own.
    """
    for key in ("quantization_config", "compression_config", "quantization"):
        found = config.get(key)
        if isinstance(found, dict) and found:
            width = next((name for name in ("load_in_8bit", "load_in_4bit") if found.get(name)), None)
            return str(found.get("quant_method") or (f"bitsandbytes ({width})" if width else f"what {key} says"))
        if found:
            return str(found)
    return next((f"what {name} says" for name in ("quantize_config.json", "quant_config.json") if name in there), None)


def _naming_its_tokens(path: Path, files: Mapping[str, bytes], settings: Mapping[str, Any]) -> bytes:
    """Return a tokenizer_config.json that names the end of sequence, if transformers knows it from elsewhere.

    From older files, or from the tokenizer's class: GPT-2's names none.
    """
    if token_text(settings, "eos_token") is not None:
        return files["tokenizer_config.json"]
    try:
        known = Tokenizer.from_str(files["tokenizer.json"].decode())
        theirs = AutoTokenizer.from_pretrained(str(path), local_files_only=True, trust_remote_code=False)
    # Tokenizers raises a bare Exception; what is wrong with the files is told where they are opened.
    except Exception:
        return files["tokenizer_config.json"]
    named = {
        name: text
        for name, text in theirs.special_tokens_map.items()
        if name in NAMES and token_text(settings, name) is None and known.token_to_id(text) is not None
    }
    return json_file({**settings, **named}, indent=2)


def _weights(there: Mapping[str, Path], *, place: str, left_behind: Collection[str]) -> bytes:
    """Return all tensors as one safetensors file."""
    if MODEL_WEIGHTS in there:
        return there[MODEL_WEIGHTS].read_bytes()
    if INDEX not in there:
        if pickled := sorted(name for name in {*there, *left_behind} if Path(name).suffix in PICKLED):
            raise RecipeError(
                f"{place} holds pickled weights ({', '.join(pickled[:3])}), and opening these runs whatever code is in "
                "them; ask for a revision with safetensors, or convert them with save_pretrained where that is no risk"
            )
        raise RecipeError(
            f"{place} holds no {MODEL_WEIGHTS}; name a folder or a revision that does (save_pretrained writes it)"
        )
    places = _json(there[INDEX].read_bytes(), there[INDEX]).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise RecipeError(f"{there[INDEX]} does not say which file holds which weights; fetch the folder again")
    shards = sorted(set(places.values()))
    if missing := [name for name in shards if name not in there]:
        raise RecipeError(f"{place} lacks {', '.join(missing[:3])}, which {INDEX} names; fetch the folder again")
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
    """Return the licence that a model card's front matter names; several are joined by commas.

    A licence that the hub has no id for stands there as `other`, its name in `license_name`.
    """
    if card is None:
        return None
    _, mark, rest = card.read_text(encoding="utf-8", errors="replace").partition("---\n")
    try:
        front = yaml.safe_load(rest.partition("\n---")[0]) if mark else None
    except yaml.YAMLError:
        return None
    if not isinstance(front, dict):
        return None
    licence, own = front.get("license"), front.get("license_name")
    named = [one for one in (licence if isinstance(licence, list) else [licence]) if isinstance(one, str)]
    return ", ".join(own if one == "other" and isinstance(own, str) else one for one in named) or None


def _hub(name: str, revision: str | None) -> tuple[dict[str, bytes], dict[str, str], str | None]:
    # Here and not at the top: files and folders need no client.
    from huggingface_hub import list_repo_files, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=list(HUB_FILES)))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise RecipeError(
            f"cannot fetch {name} from the hub: {str(error).splitlines()[0]}; check the name and the network, or fetch "
            "the folder elsewhere and import it from there"
        ) from error
    # A snapshot's folder is named by the commit it is of.
    commit, left_behind = folder.name, list[str]()
    if not any(folder.glob("*.safetensors")):
        # Why there are no weights is said by what was not fetched; a hub that does not answer now says no more.
        with suppress(Exception):
            left_behind = list_repo_files(name, revision=commit)
    source = {"type": "hub", "name": name, "revision": commit}
    return _folder(folder, source, place=f"{name} on the hub", left_behind=left_behind)
