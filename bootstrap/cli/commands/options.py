"""Arguments and options that several commands share, each defined once."""

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_STORE = Path("runs")
ADDRESS_VARIABLE = "RAY_API_SERVER_ADDRESS"
"""The environment variable by which Ray's own commands find the cluster too."""

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe, for example pipelines/quickstart.yaml.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings to change, for example generations.count=3."),
]
Generation = Annotated[str, typer.Argument(metavar="GENERATION", help="3, gen-3, champion, base or last.")]
NewModel = Annotated[Path, typer.Argument(metavar="DIR", help="New folder for the model.")]
Store = Annotated[Path, typer.Option("--store", metavar="DIR", help="Folder that holds one folder per lineage.")]
Lineage = Annotated[
    str | None, typer.Option("--lineage", metavar="NAME", help="The lineage; by default the store's only one.")
]
NewLineage = Annotated[
    str | None, typer.Option("--lineage", metavar="NAME", help="Name of the lineage; by default the recipe's name.")
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, metavar="N", help="Worker processes; overrides resources.workers.")
]
PastGuards = Annotated[
    bool, typer.Option("--past-guards", help="Continue although a guard of the recipe ended the last run.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Address = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="URL", envvar=ADDRESS_VARIABLE, help="The Ray cluster's dashboard, http://HOST:8265."
    ),
]


def group(text: str) -> typer.Typer:
    """Return a command that only holds further commands; `text` is its help."""
    return typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=text)
