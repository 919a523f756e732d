"""Copy a generation's model out of a store, every byte proven on the way, with a model card beside it.

An adapter comes out merged with its base, as a whole model that opens without peft; `merged.json` says what it is of.
Where the model goes back to an imported one, `import.json` says so and names the weights beside it too.
"""

from pathlib import Path

from bootstrap.canonical import json_file
from bootstrap.cli.stores import new_folder
from bootstrap.errors import RecipeError
from bootstrap.lineage.card import model_card
from bootstrap.lineage.queries import final_line, find
from bootstrap.store import durable
from bootstrap.store.finals import final_of
from bootstrap.store.fingerprint import base_fingerprint
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.pretrained import exported, pretrained_of


def export_generation(store: LineageStore, generation: str, folder: Path) -> tuple[str, int]:
    """Write the model of `generation` (`3`, `gen-3`, `champion`) into the new folder `folder`, complete or not at all.

    Returns the generation's name and the number of files. Raises RecipeError for an unknown generation or a folder
    that is in use, StoreCorrupt when a file differs from its hash, StoreError when the folder cannot be written.
    """
    entries = store.ledger.read()
    entry = find(entries, generation)
    found = entry.generation
    folder = new_folder(folder)
    weights = store.artifact(found.artifacts["weights"])
    final = final_of(store, entries)
    card = model_card(
        entry,
        identity=store.header().identity,
        pretrained=pretrained_of(weights),
        final="" if final is None or final.champion != found.number else final_line(final, entries),
    )
    files, fingerprint = weights.read_all(), found.fingerprint
    if (base := base_fingerprint(files)) is not None:
        # Here and not at the top: merging takes torch, copying does not.
        from bootstrap.training.lora import merge

        merged = merge(store.artifact(found.artifacts["base"]).read_all(), files)
        fingerprint = merged.fingerprint
        origin = {"adapted": found.fingerprint, "base": base, "merged": fingerprint}
        files = {**merged.files, "merged.json": json_file(origin, indent=2)}
    files = {**exported(files, fingerprint=fingerprint), "README.md": card.encode()}
    durable.make_folder(folder.parent)
    if not durable.write_folder(folder, files):
        raise RecipeError(f"{folder} has been filled by someone else meanwhile; name a new folder")
    return found.name, len(files)
