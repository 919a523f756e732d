"""`bootstrap import`."""

from pathlib import Path
from typing import Annotated

import typer

from bootstrap.cli.commands import options


def import_model(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A .gguf file, a Hugging Face folder, a hub id (owner/name); or an exported lineage.",
        ),
    ],
    folder: Annotated[Path | None, typer.Argument(metavar="DIR", help="New folder for a model.")] = None,
    licence: Annotated[
        str | None, typer.Option("--licence", metavar="ID", help="Licence, where a model's source names none.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option("--store", metavar="DIR", help="Store for a lineage; by default runs.")
    ] = None,
) -> None:
    """Copy a pretrained model into a folder that recipes can start from, or a whole lineage into a store.

    A model's weights become one safetensors file; the model author's code and pickles never run. import.json holds
    fingerprint, source and licence.

    A lineage is what `bootstrap export --lineage NAME FILE` wrote: a .tar file or a folder. Every hash is verified
    before it appears in the store, none of its code runs, and a lineage that is there is never changed.

    \b
    Examples:
      bootstrap import SmolLM2-135M-Instruct.Q4_1.gguf models/smollm2-135m-instruct
      bootstrap import HuggingFaceTB/SmolLM2-135M-Instruct models/smollm2-135m-instruct
      bootstrap import quickstart.tar
      bootstrap import quickstart.tar --store other
    """
    from bootstrap.cli.import_lineage import import_whole
    from bootstrap.cli.import_model import import_from, lineage_at
    from bootstrap.cli.render import tell

    if (place := lineage_at(source, folder=folder, licence=licence, store=store)) is not None:
        tell(import_whole(place, store or options.DEFAULT_STORE))
    else:
        assert folder is not None, "a model without a folder is refused above"
        tell(import_from(source, folder, licence=licence))
