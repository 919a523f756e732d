"""The one check of a model's folder in bytes before anything is made of it: its texts, its header, and both together.

    stored      Artifact.model()                 a fault is StoreCorrupt
    named       read_model_folder, `import`      a fault is the person's own folder: RecipeError
    in bytes    training/model.py, lora.py       again, where weights are opened: workers trust no driver

Nothing is allocated by what a header or a config.json claims. Left out: which shape each tensor must have, which only a
model's own class tells (`training/model.py`).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from bootstrap.config.model_texts import (
    CONFIG,
    COUNTS,
    TOKENIZER,
    TOKENIZER_CONFIG,
    WIDTHS,
    check_adapter,
    check_texts,
    parts_of,
    text_in,
)
from bootstrap.errors import ModelFault, StoreCorrupt
from bootstrap.store.fingerprint import ADAPTER_CONFIG, ADAPTER_WEIGHTS, MODEL_WEIGHTS, tensors_in, tensors_of
from bootstrap.store.on_disk import entries

FEW = 4096
"""So many modules are made without looking at the weights: one tensor may hold all experts of a layer."""


def check_folder(files: Mapping[str, bytes]) -> None:
    """Raise ModelFault, which names file and key, for a folder whose files cannot be a model's.

    Of a whole model or of an adapter; of its texts alone where no weights are among them.
    """
    check_texts(files)
    if ADAPTER_WEIGHTS in files:
        _check_there(files, ADAPTER_CONFIG)
        check_adapter(files)
        rank, widest = text_in(files, ADAPTER_CONFIG)["r"], _shapes(files, ADAPTER_WEIGHTS)[1]
        if rank > widest:
            raise ModelFault(f"{ADAPTER_CONFIG} has {rank} as r, and no dimension of its weights is above {widest}")
    elif MODEL_WEIGHTS in files:
        _check_there(files, CONFIG)
        count, widest = _shapes(files, MODEL_WEIGHTS)
        for part in parts_of(text_in(files, CONFIG)):
            for key in (*WIDTHS, *COUNTS):
                # Some models give each layer's.
                value = part.get(key)
                if type(value) is not int:
                    continue
                if key in COUNTS and value > max(count, FEW):
                    raise ModelFault(f"{CONFIG} has {value} as {key}, and {MODEL_WEIGHTS} holds {count} tensors")
                if key in WIDTHS and value > widest:
                    raise ModelFault(
                        f"{CONFIG} has {value} as {key}, and no dimension of the tensors in {MODEL_WEIGHTS} is above "
                        f"{widest}"
                    )


def _check_there(files: Mapping[str, bytes], config: str) -> None:
    if missing := [name for name in (config, TOKENIZER, TOKENIZER_CONFIG) if name not in files]:
        raise ModelFault(f"{missing[0]} is missing beside the weights")


@contextmanager
def of_store(folder: str) -> Iterator[None]:
    """Turn a fault of a model's files into the store's error, where they come from a store's `folder`; "" is none."""
    try:
        yield
    except ModelFault as fault:
        if not folder:
            raise
        raise StoreCorrupt(f"{folder} holds no model that can be opened: {fault}; restore it from a copy") from fault


def _shapes(files: Mapping[str, bytes], name: str) -> tuple[int, int]:
    """Return the number of tensors in a file, and the largest of their dimensions. Raises ModelFault."""
    entry = entries(files)[name]
    try:
        if isinstance(entry, bytes):
            shapes = [shape for _, shape, _ in tensors_of(entry).values()]
        else:
            with entry.opened() as file:
                shapes = [shape for _, shape, _, _ in tensors_in(file).values()]
    except StoreCorrupt as error:
        reason = str(error).partition("; ")[0]
    else:
        return len(shapes), max((one for shape in shapes for one in shape), default=0)
    # Outside the clause: a folder of one's own is no store, and the error's cause would say so.
    raise ModelFault(f"{name} cannot be read: {reason}")
