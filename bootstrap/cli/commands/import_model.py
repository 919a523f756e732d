"""`bootstrap import`."""

from typing import Annotated

import typer

from bootstrap.cli.commands import options


def import_model(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A .gguf file, a Hugging Face folder, or a hub id: owner/name.")
    ],
    folder: options.NewModel,
    licence: Annotated[
        str | None, typer.Option("--licence", metavar="ID", help="Licence, where the source names none.")
    ] = None,
) -> None:
    """Copy a pretrained model into a folder that recipes can start from.

    The weights become one safetensors file; the model author's code and pickles never run. import.json holds
    fingerprint, source and licence.

    \b
    Examples:
      bootstrap import SmolLM2-135M-Instruct.Q4_1.gguf models/smollm2-135m-instruct
      bootstrap import HuggingFaceTB/SmolLM2-135M-Instruct models/smollm2-135m-instruct
    """
    from bootstrap.cli.import_model import import_from

    print(import_from(source, folder, licence=licence))
