"""Weights as a generation starts from them: of committed generations, folders, fresh models, and under adapters.

Left out: which generation a name means (`resolver.py`), and a fork's origin (`origin.py`).
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from bootstrap.config.base_model import ModelSettings, PretrainedModel
from bootstrap.config.model_files import INDEX, WEIGHTS, missing_files, shards_of
from bootstrap.errors import ModelFault, RecipeError
from bootstrap.reading import NamedFolder, named_folder, parsed
from bootstrap.records import Checkpoint
from bootstrap.seeds import derive_seed
from bootstrap.stages.context import Context
from bootstrap.stages.origin import find_origin
from bootstrap.store import durable, on_disk
from bootstrap.store.artifacts import Artifact
from bootstrap.store.exports import FILE as EXPORTED_FROM
from bootstrap.store.fingerprint import base_fingerprint, fingerprint_model
from bootstrap.store.ledger import Entry
from bootstrap.store.model_folder import check_folder
from bootstrap.store.on_disk import FolderFiles, StoredFile, written
from bootstrap.store.pretrained import IMPORT, other_weights, taken_over
from bootstrap.store.shards import joined, joined_parts
from bootstrap.training.chat import framed_by

MODEL_SUFFIXES = {".json", ".safetensors", ".jinja"}


def weights_of(context: Context, entries: Sequence[Entry], number: int) -> Checkpoint:
    """Return a committed generation's weights, every file proven by its hash. Raises StoreCorrupt."""
    generation = entries[number].generation
    return context.store.artifact(generation.artifacts["weights"]).checkpoint(generation.fingerprint)


def weights_of_model(context: Context, model: ModelSettings, *, number: int) -> Checkpoint:
    """Return the weights of a model that a recipe describes; `number`: the first generation that starts from them."""
    seed, place = context.recipe.seed, (number,) if number else ()
    if (scratch := model.as_scratch) is not None:
        context.learners.build(scratch, context.task.characters, seed=derive_seed(seed, "initial weights", *place))
        return context.learners.export()
    if (forked := model.as_generation) is not None:
        weights = find_origin(context.store.root.parent, forked).weights()
        if context.recipe.training.adapter is None or base_fingerprint(weights.files) is not None:
            context.learners.hold(weights)
            return context.learners.export()
    if context.recipe.training.adapter is not None:
        context.learners.adapt(seed=derive_seed(seed, "initial adapter"))
    else:
        context.learners.load_unverified(_pretrained(context, model.as_pretrained))
    return context.learners.export()


def weights_in_folder(folder: Path) -> Checkpoint:
    """Return the model in a local folder. Raises RecipeError, as `read_model_folder` does."""
    files = read_model_folder(folder)
    return Checkpoint(fingerprint=fingerprint_model(files), files=files)


def provide_base(context: Context, entries: Sequence[Entry]) -> None:
    """Give the workers the whole model under a lineage's adapters, unless they have it or weights are whole."""
    if context.recipe.training.adapter is not None and context.learners.provided is None:
        context.roles.provide(_base(context, entries))


def base_artifacts(context: Context, checkpoint: Checkpoint) -> dict[str, Artifact]:
    """Return the whole model under an adapter, by its role `base`; empty for whole models."""
    fingerprint = base_fingerprint(checkpoint.files)
    if fingerprint is None:
        return {}
    found = context.store.find("weights", {"fingerprint": fingerprint})
    assert found is not None, "a base is stored before its adapters"
    return {"base": found}


def read_model_folder(folder: Path, *, scratch: Path | None = None) -> FolderFiles:
    """Return the files of a local Hugging Face folder that make a model.

    `scratch`: a folder on a disk that all processes see; with it, large weights (`on_disk.LARGE`) stay where they are,
    and those in several files are joined there.

    Raises RecipeError when some are missing or of another form, and when the folder's `import.json` is about other
    weights: licence and origin would be told of another model.
    """
    if missing := missing_files(folder):
        raise RecipeError(missing)
    with named_folder(folder) as place:
        is_whole = WEIGHTS in place.files()
        # Beside shards, other safetensors files are other forms of the same weights.
        suffixes = MODEL_SUFFIXES if is_whole else MODEL_SUFFIXES - {".safetensors"}
        texts = place.contents(lambda name: Path(name).suffix in suffixes and name not in (EXPORTED_FROM, WEIGHTS))
        index = None if is_whole else texts.pop(INDEX)
        files = FolderFiles(texts) | _weights(place, index, scratch=scratch)
    if (found := other_weights(files)) is not None:
        raise RecipeError(
            f"{folder / IMPORT} is about another model: {WEIGHTS} holds {found}; `bootstrap import` the model again "
            f"(or export the generation again), or remove {IMPORT} if the weights are your own"
        )
    try:
        check_folder(files)
    except ModelFault as fault:
        raise ModelFault(f"{folder}: {fault}; fetch or export the model again") from fault
    return taken_over(files)


def _weights(folder: NamedFolder, index: bytes | None, *, scratch: Path | None) -> Mapping[str, bytes]:
    """Return a folder's weights as one file; `index`: names the shards that they are in, None for one file."""
    shards = (WEIGHTS,) if index is None else shards_of(parsed(index, strict=False))
    assert shards is not None, "missing_files has read the index"
    sizes = {name: folder.size(name) or 0 for name in shards}
    if scratch is None or sum(sizes.values()) < on_disk.LARGE:
        contents = [(str(folder.path / name), folder.content(name)) for name in shards]
        return {WEIGHTS: contents[0][1] if index is None else joined(contents)}
    if index is None:
        # Behind a link of the hub's cache, which has been looked at for the size.
        return FolderFiles({WEIGHTS: StoredFile(Path(os.path.realpath(folder.path / WEIGHTS)), sizes[WEIGHTS])})
    whole = durable.temporary_beside(scratch / WEIGHTS)
    with ExitStack() as stack:
        files = [(str(folder.path / name), stack.enter_context(folder.file(name))) for name in shards]
        durable.make_folder(whole)
        durable.create_from(whole / WEIGHTS, joined_parts(files))
    return written(whole)


def _pretrained(context: Context, model: PretrainedModel | None) -> FolderFiles:
    assert model is not None, "every other model has been dealt with"
    return framed_by(read_model_folder(Path(model.path), scratch=context.store.work_folder), model)


def _base(context: Context, entries: Sequence[Entry]) -> Checkpoint:
    """Return the whole model under this lineage's adapters: at first from where the recipe says, then its own copy."""
    if entries:
        files = context.store.artifact(entries[0].generation.artifacts["base"]).model()
    elif (forked := context.recipe.base.model.as_generation) is not None:
        files = find_origin(context.store.root.parent, forked).whole()
    else:
        files = _pretrained(context, context.recipe.base.model.as_pretrained)
    fingerprint = fingerprint_model(files)
    # From there, since workers may read it again later than anything else is sure to stay.
    return context.store.put("weights", {"fingerprint": fingerprint}, files).checkpoint(fingerprint)
