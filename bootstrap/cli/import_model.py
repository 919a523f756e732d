"""`bootstrap import`: copy a pretrained model into a folder that recipes start from, and tell it from a lineage.

    <folder>/import.json     fingerprint, source, licence, number of parameters; no dates

Descendants inherit that file; a recipe that starts from the folder refuses weights of another fingerprint
(`store/pretrained.py`). Left out: reading and checking the source (`training/sources.py`).
"""

import os
from pathlib import Path

from bootstrap.cli.command import command
from bootstrap.cli.stores import new_folder, write_new_folder
from bootstrap.errors import RecipeError
from bootstrap.store.archive import SUFFIX, is_copy
from bootstrap.store.fingerprint import fingerprint_model
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.pretrained import IMPORT, to_file


def lineage_at(source: str, *, folder: Path | None, licence: str | None, store: Path | None) -> Path | None:
    """Return the place of the exported lineage that `source` names; None for a model.

    Raises RecipeError where the other arguments fit only the other kind, StoreError for a file that cannot be read.
    """
    place = Path(source)
    if os.path.exists(place) and is_copy(place):
        if folder is not None or licence is not None:
            raise RecipeError(f"{source} is a lineage; leave out DIR and --licence, and name its store with --store")
        return place
    if os.path.isdir(place) and LineageStore(place).exists:
        told = command("export", "--lineage", place.name, f"{place.name}.tar", "--store", place.parent)
        raise RecipeError(f"{source} is a lineage in a store; export it first: {told}")
    if place.suffix == SUFFIX:
        raise RecipeError(f"there is no file {source}; export a lineage with `bootstrap export --lineage NAME FILE`")
    if store is not None:
        raise RecipeError(f"{source} is a model, which no store takes; leave out --store")
    if folder is None:
        raise RecipeError(f"name a new folder for the model: {command('import', source, 'DIR')}")
    return None


def import_from(source: str, folder: Path, *, licence: str | None) -> str:
    """Write the model that `source` names into the new folder `folder`, all or nothing; return what to print.

    `licence` applies where the source names none. Raises RecipeError for a source that cannot be fetched or read, a
    folder in use, and a licence that contradicts the source's; StoreError when the folder cannot be written.
    """
    folder = new_folder(folder)
    # Reading a model takes torch; refusing a folder does not.
    from bootstrap.training.sources import read_source

    found = read_source(source)
    if licence is not None and found.licence not in (None, licence):
        raise RecipeError(f"{source} is under the licence {found.licence}, not {licence}; leave out --licence")
    facts = {
        "fingerprint": fingerprint_model(found.files),
        "licence": found.licence or licence,
        "num_parameters": found.num_parameters,
        "source": dict(found.source),
    }
    files = {**found.files, IMPORT: to_file(facts)}
    write_new_folder(folder, files)
    told = facts["licence"] or "not named by the source; state it with --licence"
    lines = [
        f"{found.num_parameters:,} parameters, fingerprint {facts['fingerprint'][:16]}, licence {told}",
        *found.findings,
        f"start from it in a recipe: base: {{model: {{type: folder, path: {folder}}}}}",
    ]
    return "\n".join(lines)
