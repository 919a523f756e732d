"""`bootstrap import`: a pretrained model, from where it comes, into a folder that recipes start from.

    <folder>/import.json     fingerprint, source, licence, number of parameters; no dates

Descendants take it over, and weights that it is not about are refused where a recipe starts from them
(`store/pretrained.py`). Reading and checking are `training/sources.py`'s.
"""

from pathlib import Path

from bootstrap.cli.stores import new_folder
from bootstrap.errors import RecipeError
from bootstrap.store import durable
from bootstrap.store.fingerprint import fingerprint_model
from bootstrap.store.pretrained import IMPORT, to_file


def import_model(source: str, folder: Path, *, licence: str | None) -> str:
    """Write the model that `source` names into the new folder `folder`, complete or not at all; return what to say.

    `licence` stands for one that the source does not name. Raises RecipeError for a source that cannot be had or read,
    a folder in use, and a licence that contradicts the source's; StoreError when the folder cannot be written.
    """
    folder = new_folder(folder)
    # Here and not at the top: reading a model takes torch, refusing a folder does not.
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
    durable.make_folder(folder.parent)
    if not durable.write_folder(folder, files):
        raise RecipeError(f"{folder} has been filled by someone else meanwhile; name a new folder")
    told = facts["licence"] or "not named by the source; state it with --licence"
    return (
        f"{found.num_parameters:,} parameters, fingerprint {facts['fingerprint'][:16]}, licence {told}\n"
        f"start from it in a recipe: base: {{model: {{type: folder, path: {folder}}}}}"
    )
