"""The files that a Hugging Face folder needs to be read as a model; weights are one file, or shards with an index.

Left out: what the files hold.
"""

from pathlib import Path
from typing import Any

from bootstrap.reading import named_folder, parsed

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
"""Names the shards of weights that are in several files."""
MODEL_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", WEIGHTS)


def shards_of(index: Any) -> tuple[str, ...] | None:
    """Return the names of an index's shards, sorted; None where it is of another form.

    Every one is the plain name of a file, so that none leads out of its folder.
    """
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not places:
        return None
    if any(not isinstance(name, str) or not _is_shard(name) for name in places.values()):
        return None
    return tuple(sorted(set(places.values())))


def json_in(path: Path) -> Any:
    """Return the content of a JSON file in a model's folder. Raises ValueError for one that is none, StoreError."""
    with named_folder(path.parent) as folder:
        return parsed(folder.content(path.name), strict=False)


def missing_files(folder: Path) -> str | None:
    """Return a message with the files that a folder lacks and the remedy; None when it has all.

    Raises StoreError for an index that cannot be read.
    """
    missing = [name for name in MODEL_FILES if not (folder / name).is_file()]
    if missing == [WEIGHTS] and (folder / INDEX).is_file():
        try:
            shards = shards_of(json_in(folder / INDEX))
        except ValueError:
            shards = None
        if shards is None:
            return f"{folder / INDEX} does not say which file holds which weights; fetch the folder again"
        missing = [name for name in shards if not (folder / name).is_file()]
        if missing:
            return f"{folder} lacks {', '.join(missing[:3])}, which {INDEX} names; fetch the folder again"
    if not missing:
        return None
    return (
        f"{folder} lacks {', '.join(missing)}; save the model and its fast tokenizer with save_pretrained "
        "(sharded weights need their index), or fetch it with `bootstrap import`"
    )


def _is_shard(name: str) -> bool:
    return name == Path(name).name and "\\" not in name and name.endswith(".safetensors")
