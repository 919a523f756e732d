"""Copy a generation's model out of a store, every byte proven on the way, with a model card beside it."""

from pathlib import Path

from bootstrap.errors import RecipeError
from bootstrap.lineage.card import model_card
from bootstrap.lineage.queries import find
from bootstrap.store import durable
from bootstrap.store.lineage_store import LineageStore


def export_generation(store: LineageStore, generation: str, folder: Path) -> tuple[str, int]:
    """Write the model of `generation` (`3`, `gen-3`, `champion`) into the new folder `folder`, complete or not at all.

    Returns the generation's name and the number of files. Raises RecipeError for an unknown generation or a folder
    that is in use, StoreCorrupt when a file differs from its hash, StoreError when the folder cannot be written.
    """
    entry = find(store.ledger.read(), generation)
    found = entry.generation
    folder = folder.absolute()
    in_use = RecipeError(f"{folder} exists and is not an empty folder; name a new folder, or empty this one first")
    with durable.store_errors(folder, doing="read"):
        if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
            raise in_use
    card = model_card(entry, identity=store.header().identity)
    files = {**store.artifact(found.artifacts["weights"]).read_all(), "README.md": card.encode()}
    durable.make_folder(folder.parent)
    if not durable.write_folder(folder, files):
        raise in_use
    return found.name, len(files)
