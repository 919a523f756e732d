"""Pretrained models (a GGUF file, a Hugging Face folder, a hub id) -> a model folder in bytes.

A model folder: weights in one safetensors file under the model's own names, tokenizer.json, the chat template in its
own file, no code of the model's author, nothing pickled. Every result has been opened once and gives the logits that
transformers gives for the source (`fidelity.py`).

Left out: quantised weights other than GGUF's (which are dequantised here), models that need their own code.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gguf import GGUFReader
from safetensors import SafetensorError
from tokenizers import Tokenizer, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from bootstrap.canonical import json_file
from bootstrap.config.model_files import INDEX, MODEL_FILES, shards_of
from bootstrap.config.model_texts import check_texts, text_in
from bootstrap.config.source import MAX_BYTES, parse
from bootstrap.errors import RecipeError, StoreError
from bootstrap.reading import NamedFolder, named_folder, open_named, parsed
from bootstrap.store import durable
from bootstrap.store.fingerprint import ADAPTER_CONFIG, MODEL_WEIGHTS
from bootstrap.store.model_folder import check_folder
from bootstrap.store.pretrained import IMPORT, licence_named
from bootstrap.store.shards import joined
from bootstrap.training import fidelity, gguf_header, shortage
from bootstrap.training import model as models
from bootstrap.training.chat import TEMPLATE, template_of
from bootstrap.training.report import Facts, findings
from bootstrap.training.special_tokens import NAMES, ends_named, token_text, tokenizer_of

HUB_FILES = ("*.json", "*.safetensors", "*.jinja", "README.md")
"""Files fetched from a repository: no code, nothing pickled."""
_LOCAL = {"local_files_only": True, "trust_remote_code": False}
_TOKENIZER_FILES = {
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
}
"""What transformers reads of a folder to open its tokenizer."""
PICKLED = {".bin", ".pt", ".pth", ".ckpt", ".pkl"}
_DIGITS_APART = {"smollm", "starcoder", "refact", "command-r"}
"""GGUF's names of vocabularies learned with every digit apart."""
_GPT2 = {None, "default", "gpt-2"}
"""GGUF's names of the plain byte-level split."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A model folder in bytes, and its origin."""

    files: Mapping[str, bytes]
    source: Mapping[str, str]
    licence: str | None
    """As the source names it (mostly an SPDX id); None if it names none."""
    num_parameters: int
    findings: Sequence[str]
    """Lines on what its files say of ends, padding, template and weights (`report.py`)."""


@dataclass(frozen=True, kw_only=True)
class _Read:
    """A source's files as they will be stored, before the model is opened."""

    files: Mapping[str, bytes]
    source: Mapping[str, str]
    licence: str | None
    corrections: Sequence[str] = ()
    """Lines on what the stored files have otherwise than the source's."""
    original: fidelity.SourceOutput | None = None
    """The source, if transformers has opened it."""


def read_source(source: str) -> Imported:
    """Return the model that `source` names: a `.gguf` file, a folder, or `owner/name[@revision]` on the hub.

    Raises RecipeError with a remedy for a model that cannot be imported, StoreError for a full disk.
    """
    path = Path(source).expanduser()
    if path.is_file():
        if path.suffix != ".gguf":
            raise RecipeError(f"{path} is no GGUF file (.gguf); name one, a Hugging Face folder, or a hub id")
        with shortage.told(str(path)):
            read = _gguf(path)
        return _checked(read, place=str(path))
    if path.is_dir():
        with shortage.told(str(path)):
            read = _folder(path, {"type": "folder", "name": path.resolve().name}, place=str(path))
        return _checked(read, place=str(path))
    name, _, revision = source.partition("@")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise RecipeError(f"there is no file or folder {source}, and a hub id is of the form owner/name[@revision]")
    with shortage.told(source):
        read = _hub(name, revision or None)
    return _checked(read, place=source)


def _checked(read: _Read, *, place: str) -> Imported:
    """Open the folder as runs do, and prove that it is the source's model; `place`: its origin in messages."""
    files = read.files
    with shortage.told(place, weights=len(files[MODEL_WEIGHTS])):
        with _told(place):
            check_folder(files)
            tokenizer_of(files)
            files, ours = _faithful(files, read.original, place=place)
        return Imported(
            files=files,
            source=read.source,
            licence=read.licence,
            num_parameters=ours.num_parameters,
            findings=[*read.corrections, *findings(files, ours.facts)],
        )


def _faithful(
    files: Mapping[str, bytes], original: fidelity.SourceOutput | None, *, place: str
) -> "tuple[Mapping[str, bytes], _Opened]":
    """Return files whose model gives the source's logits, and what opening them gave.

    Weights under the model's own names keep their bytes. Raises RecipeError when the logits differ either way.
    """
    if original is not None:
        ours = _opened(files)
    else:
        try:
            ours, unfit = _opened(files), None
        except RecipeError as error:
            if isinstance(error.__cause__, models.LIBRARY_FAULTS):
                # What makes no model is not tried again.
                raise
            ours, unfit = None, error
        original = _original(files, unfit, place=place)
        if ours is not None and not fidelity.apart(ours.logits_BTV, original):
            # The stored files are those that transformers has opened.
            return files, ours
        files = fidelity.renamed(files, original)
        ours = _opened(files)
    if different := fidelity.difference(files, ours.logits_BTV, original):
        raise _Refused(
            f"{place} would become another model: {different}; open it with transformers, save it with save_pretrained "
            "and import that"
        )
    return files, ours


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """Results of opening a folder as runs do; the model itself is freed before the next one is opened."""

    logits_BTV: torch.Tensor
    num_parameters: int
    facts: Facts


def _opened(files: Mapping[str, bytes]) -> _Opened:
    model, _ = models.load(files)
    count = sum(parameter.numel() for parameter in model.parameters())
    facts = Facts(
        ends=ends_named({"eos_token_id": getattr(model.generation_config, "eos_token_id", None)}),
        rows=len(models.embedding(model)),
        is_tied=models.output_matrix(model) is models.embedding(model),
    )
    return _Opened(logits_BTV=fidelity.logits(model), num_parameters=count, facts=facts)


def _original(files: Mapping[str, bytes], unfit: RecipeError | None, *, place: str) -> fidelity.SourceOutput:
    """Return the source of these files; `unfit`: the error of opening them here, if any."""
    try:
        return fidelity.opened(files, place=place)
    except RecipeError as error:
        raise _Refused(str(error)) from error
    except models.LIBRARY_FAULTS as error:
        if unfit is not None:
            raise RecipeError(f"{unfit}; transformers says: {models.brief(error)}") from error
        raise


class _Refused(RecipeError):
    """A complete message about a source."""


@contextmanager
def _told(place: str) -> Iterator[None]:
    """Turn libraries' errors for a broken folder into one that names the file and a remedy."""
    try:
        yield
    except _Refused:
        raise
    except RecipeError as error:
        raise RecipeError(f"{place} cannot be opened: {error}; if it was cut on its way, fetch it again") from error
    except SafetensorError as error:
        raise RecipeError(
            f"{MODEL_WEIGHTS} of {place} cannot be read: {models.brief(error)}; if it was cut on its way, fetch it "
            "again"
        ) from error
    except models.LIBRARY_FAULTS as error:
        if models.is_our_assertion(error):
            raise
        raise RecipeError(
            f"config.json of {place} makes no model here: {models.brief(error)}; choose a causal language model of a "
            "type that the installed transformers knows, or a newer transformers"
        ) from error


# --- GGUF --------------------------------------------------------------------------------------------------------


def _gguf(path: Path) -> _Read:
    try:
        with open_named(path) as file:
            gguf_header.check(file, os.fstat(file.fileno()).st_size)
        reader = GGUFReader(path)
    except StoreError:
        raise
    except (ValueError, OSError, LookupError, OverflowError, TypeError) as error:
        raise RecipeError(f"{path} cannot be read as GGUF: {error}; fetch it again") from error
    transformers_logging.disable_progress_bar()
    try:
        with tempfile.TemporaryDirectory() as alone:
            # Transformers would follow the files beside it: an adapter's, a tokenizer's code.
            os.symlink(path.resolve(), Path(alone) / path.name)
            model = AutoModelForCausalLM.from_pretrained(alone, gguf_file=path.name, dtype=torch.float32, **_LOCAL)
            tokenizer = AutoTokenizer.from_pretrained(alone, gguf_file=path.name, **_LOCAL)
    except models.LIBRARY_FAULTS as error:
        raise RecipeError(
            f"transformers cannot open {path.name}: {models.brief(error)}; import the model's Hugging Face folder "
            "instead"
        ) from error
    config = json.loads(model.config.to_json_string(use_diff=False))
    # The weights are dequantised; with these keys every reader would quantise them again.
    for key in ("quantization_config", "_name_or_path"):
        config.pop(key, None)
    config |= {"architectures": [type(model).__name__], "dtype": "float32"}
    _split_as_learned(tokenizer.backend_tokenizer, _field(reader, "tokenizer.ggml.pre"), path)
    template = tokenizer.chat_template
    files = {
        "config.json": json_file(config, indent=2),
        "generation_config.json": models.generation_json(model),
        MODEL_WEIGHTS: models.weights_bytes(model),
        **models.tokenizer_files(tokenizer),
        **({TEMPLATE: template.encode()} if type(template) is str else {}),
    }
    with open_named(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    source = {"type": "gguf", "name": path.name, "sha256": digest}
    original = fidelity.SourceOutput(model=model, logits_BTV=fidelity.logits(model), precision=torch.float32)
    return _Read(files=files, source=source, licence=_field(reader, "general.license"), original=original)


def _split_as_learned(tokenizer: Tokenizer, name: str | None, path: Path) -> None:
    """Let the tokenizer split text as its vocabulary was learned; `name`: GGUF's name of that split."""
    if name in _DIGITS_APART:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        return
    plain = json.loads(tokenizer.to_str()).get("pre_tokenizer")
    if name not in _GPT2 and plain is not None and plain["type"] == "ByteLevel":
        # Transformers fell back on the plain split, so the model would read other tokens than in its training.
        raise RecipeError(
            f"{path.name} cuts text as {name!r}, which transformers does not rebuild; import the model's Hugging Face "
            "folder instead"
        )


def _field(reader: GGUFReader, name: str) -> str | None:
    field = reader.get_field(name)
    return None if field is None else str(field.contents())


# --- Hugging Face folders ----------------------------------------------------------------------------------------


def _folder(path: Path, source: dict[str, str], *, place: str, left_behind: Collection[str] = ()) -> _Read:
    """Read a folder; `place`: its name in messages, `left_behind`: files of the source that were not fetched."""
    with named_folder(path) as folder:
        return _read_folder(folder, source, place=place, left_behind=left_behind)


def _read_folder(folder: NamedFolder, source: dict[str, str], *, place: str, left_behind: Collection[str]) -> _Read:
    there = folder.files()
    wanted = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", TEMPLATE)
    files = folder.contents(lambda name: name in wanted)
    with _told(place):
        check_texts(files)
    files[MODEL_WEIGHTS], corrections = _weights(folder, there, place=place, left_behind=left_behind)
    if missing := [name for name in MODEL_FILES if name not in files]:
        raise RecipeError(
            f"{place} lacks {', '.join(missing)}; open the model and its fast tokenizer with transformers and save "
            "both with save_pretrained"
        )
    config = text_in(files, "config.json")
    if (method := _quantised_by(config, there)) is not None:
        raise RecipeError(f"{place} holds weights quantised by {method}; import the model they were made from")
    if ADAPTER_CONFIG in there:
        raise RecipeError(
            f"{place} holds an adapter ({ADAPTER_CONFIG}) beside a model, and transformers opens both as one; merge "
            "them (merge_and_unload, save_pretrained) and import that, or remove the adapter"
        )
    files["tokenizer_config.json"] = _naming_its_tokens(folder, files, text_in(files, "tokenizer_config.json"))
    # The author's code never runs here; weights that need it fail to open.
    config.pop("auto_map", None)
    corrections += _with_padding_inside(config)
    files["config.json"] = json_file(config, indent=2)
    template = template_of(files)
    if template is not None:
        files[TEMPLATE] = template.encode()
    licence = _card_licence(folder.content("README.md")) if "README.md" in there else None
    if licence is None and IMPORT in there:
        licence = licence_named(folder.content(IMPORT))
    return _Read(files=files, source=source, licence=licence, corrections=tuple(corrections))


def _with_padding_inside(config: dict[str, Any]) -> list[str]:
    """Remove a padding token outside the embedding from a configuration, and return lines that say so.

    torch refuses such an embedding, though padding is never read.
    """
    told = list[str]()
    for part in (config, config.get("text_config")):
        match part:
            case {"pad_token_id": int(pad), "vocab_size": int(rows)} if not 0 <= pad < rows:
                part["pad_token_id"] = None
                told.append(
                    f"padding: config.json pads with token {pad}, outside the embedding's {rows} rows; it is stored as "
                    "null, and any other token fills gaps, which nobody reads"
                )
    return told


def _quantised_by(config: Mapping[str, Any], there: Collection[str]) -> str | None:
    """Return the quantisation of the weights in words; None without any.

    Transformers has one key for it in config.json; other libraries have other keys, or their own file.
    """
    for key in ("quantization_config", "compression_config", "quantization"):
        match config.get(key):
            case dict(found) if found:
                width = next((name for name in ("load_in_8bit", "load_in_4bit") if found.get(name)), None)
                return str(found.get("quant_method") or (f"bitsandbytes ({width})" if width else f"what {key} says"))
            case found if found:
                return str(found)
    return next((f"what {name} says" for name in ("quantize_config.json", "quant_config.json") if name in there), None)


def _naming_its_tokens(folder: NamedFolder, files: Mapping[str, bytes], settings: Mapping[str, Any]) -> bytes:
    """Return a tokenizer_config.json that names the end of sequence, if transformers knows one.

    It knows more than that file: older files, and the tokenizer's class. GPT-2's file names none.
    """
    if token_text(settings, "eos_token") is not None:
        return files["tokenizer_config.json"]
    read = folder.contents(lambda name: name in _TOKENIZER_FILES)
    try:
        known = tokenizer_of(files)
        with tempfile.TemporaryDirectory() as above:
            durable.write_folder(Path(above) / "model", read)
            theirs = AutoTokenizer.from_pretrained(str(Path(above) / "model"), **_LOCAL)
    # The library raises a bare Exception; `_checked` reports faults of the files.
    except Exception:
        return files["tokenizer_config.json"]
    named = {
        name: text
        for name, text in theirs.special_tokens_map.items()
        if name in NAMES and token_text(settings, name) is None and known.token_to_id(text) is not None
    }
    return json_file({**settings, **named}, indent=2)


def _weights(
    folder: NamedFolder, there: Collection[str], *, place: str, left_behind: Collection[str]
) -> tuple[bytes, list[str]]:
    """Return all tensors as one safetensors file, and lines that say where it is not the source's."""
    if MODEL_WEIGHTS in there:
        return folder.content(MODEL_WEIGHTS), []
    if INDEX not in there:
        if pickled := sorted(name for name in {*there, *left_behind} if Path(name).suffix in PICKLED):
            raise RecipeError(
                f"{place} holds pickled weights ({', '.join(pickled[:3])}), and opening these runs whatever code is in "
                "them; ask for a revision with safetensors, or convert them with save_pretrained where that is no risk"
            )
        raise RecipeError(
            f"{place} holds no {MODEL_WEIGHTS}; name a folder or a revision that does (save_pretrained writes it)"
        )
    shards = shards_of(_json(folder.content(INDEX), folder.path / INDEX))
    if shards is None:
        raise RecipeError(f"{folder.path / INDEX} does not say which file holds which weights; fetch the folder again")
    if missing := [name for name in shards if name not in there]:
        raise RecipeError(f"{place} lacks {', '.join(missing[:3])}, which {INDEX} names; fetch the folder again")
    weights = joined([(str(folder.path / name), folder.content(name)) for name in shards])
    return weights, [f"weights: {len(shards)} files, as {INDEX} names them; they are stored as one {MODEL_WEIGHTS}"]


def _json(data: bytes, path: Path) -> dict[str, Any]:
    try:
        found = parsed(data, strict=False)
    except ValueError:
        found = None
    if type(found) is not dict:
        raise RecipeError(f"{path} is no JSON object; fetch the folder again")
    return found


def _card_licence(card: bytes) -> str | None:
    """Return the licence in a model card's front matter; several are joined by commas.

    A licence without an id on the hub is `other` there, with its name in `license_name`.
    """
    _, mark, rest = card[: MAX_BYTES // 4].decode(errors="replace").partition("---\n")
    try:
        front = parse(rest.partition("\n---")[0], label="README.md") if mark else None
    except RecipeError:
        return None
    if type(front) is not dict:
        return None
    licence, own = front.get("license"), front.get("license_name")
    named = [one for one in (licence if type(licence) is list else [licence]) if type(one) is str]
    return ", ".join(own if one == "other" and type(own) is str else one for one in named) or None


def _hub(name: str, revision: str | None) -> _Read:
    # Imported here, because files and folders need no client.
    from huggingface_hub import list_repo_files, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=list(HUB_FILES)))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise RecipeError(
            f"cannot fetch {name} from the hub: {str(error).splitlines()[0]}; check the name and the network, or fetch "
            "the folder elsewhere and import it from there"
        ) from error
    # A snapshot's folder has the name of its commit.
    commit, left_behind = folder.name, list[str]()
    if not any(folder.glob("*.safetensors")):
        # Files that were not fetched explain missing weights; without an answer of the hub they stay unexplained.
        with suppress(Exception):
            left_behind = list_repo_files(name, revision=commit)
    source = {"type": "hub", "name": name, "revision": commit}
    return _folder(folder, source, place=f"{name} on the hub", left_behind=left_behind)
