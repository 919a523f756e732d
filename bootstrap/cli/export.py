"""`bootstrap export`: copy a generation's model out of a store, every file checked, with a model card.

generation.json which generation of which lineage it is (`store/exports.py`)
merged.json     of an adapter, which is exported merged with its base: fingerprints of adapter, base and result
import.json     of a model that descends from an imported one: its source, and the exported weights' fingerprint
"""

from pathlib import Path

from bootstrap.canonical import json_file
from bootstrap.cli.card import usage
from bootstrap.cli.stores import new_folder, write_new_folder
from bootstrap.lineage.card import model_card
from bootstrap.lineage.queries import final_line, find
from bootstrap.store import exports
from bootstrap.store.finals import final_of
from bootstrap.store.fingerprint import base_fingerprint
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.model_folder import of_store
from bootstrap.store.pretrained import exported, pretrained_of


def export_generation(store: LineageStore, generation: str, folder: Path) -> tuple[str, int]:
    """Write the model of `generation` (`3`, `gen-3`, `champion`) into the new folder `folder`, all or nothing.

    Returns the generation's name and the number of files. Raises RecipeError for an unknown generation or a folder in
    use, StoreCorrupt when a file differs from its hash, WeightsFreed, StoreError when the folder cannot be written.
    """
    folder = new_folder(folder)
    name, files = model_files(store, generation)
    write_new_folder(folder, files)
    return name, len(files)


def model_files(store: LineageStore, generation: str) -> tuple[str, dict[str, bytes]]:
    """Return a generation's name and the files of its model's folder. Raises as `export_generation`."""
    entries = store.ledger.read()
    entry = find(entries, generation)
    found = entry.generation
    weights = store.artifact(found.artifacts["weights"])
    files, fingerprint = weights.model(), found.fingerprint
    if (base := base_fingerprint(files)) is not None:
        # Merging takes torch; copying does not.
        from bootstrap.training.lora import merge

        with of_store(str(weights.path)):
            merged = merge(store.artifact(found.artifacts["base"]).model(), files)
        fingerprint = merged.fingerprint
        origin = {"adapted": found.fingerprint, "base": base, "merged": fingerprint}
        files = {**merged.files, "merged.json": json_file(origin, indent=2)}
    final = final_of(store, entries)
    with of_store(str(weights.path)):
        use = usage(store, entry, files)
    card = model_card(
        entry,
        identity=store.header().identity,
        pretrained=pretrained_of(weights),
        final="" if final is None or final.champion != found.number else final_line(final, entries),
        use=use,
    )
    beside = {"README.md": card.encode(), exports.FILE: exports.to_file(entry, fingerprint=fingerprint)}
    return found.name, {**exported(files, fingerprint=fingerprint), **beside}
