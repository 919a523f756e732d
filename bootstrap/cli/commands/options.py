"""Arguments and options that several commands share, each defined once."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

DEFAULT_STORE = Path("runs")
ADDRESS_VARIABLE = "RAY_API_SERVER_ADDRESS"
"""The environment variable by which Ray's own commands find the cluster too."""

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe, for example pipelines/quickstart.yaml.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Settings to change, for example generations.count=3."),
]
FORMS = "3, gen-3, champion, base, last or LINEAGE@gen-3"
"""The forms in which every command takes a generation (`cli/stores.py`, `lineage/queries.py`)."""
Generation = Annotated[str, typer.Argument(metavar="GENERATION", help=f"{FORMS}.")]
NewModel = Annotated[Path, typer.Argument(metavar="DIR", help="New folder for the model.")]
Store = Annotated[Path, typer.Option("--store", metavar="DIR", help="Folder that holds one folder per lineage.")]
Lineage = Annotated[
    str | None, typer.Option("--lineage", metavar="NAME", help="The lineage; by default the store's only one.")
]
AnyLineage = Annotated[
    str | None, typer.Option("--lineage", metavar="NAME", help="One lineage; by default all of the store.")
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
TrustPlugins = Annotated[
    list[str] | None,
    typer.Option(
        "--trust-plugins",
        metavar="MODULE:NAME",
        help="Code that a stored recipe names and that may run with all your rights; may be given several times.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Address = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="URL", envvar=ADDRESS_VARIABLE, help="The Ray cluster's dashboard, http://HOST:8265."
    ),
]


class Command(TyperCommand):
    """A command whose help writes arguments as RECIPE, [NAME] or [KEY=VALUE]..., without types.

    Typer writes required ones in braces, and adds the Python type even where there is a metavar.
    """

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the usage line after the command's name."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, then options."""
        rows: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for each in self.get_params(ctx):
            if (record := each.get_help_record(ctx)) is None:
                continue
            if each.param_type_name == "argument":
                rows["Arguments"].append((each.get_usage_pieces(ctx)[0].strip("{}"), record[1]))
            else:
                rows["Options"].append(record)
        for title, found in rows.items():
            if found:
                with formatter.section(title):
                    formatter.write_dl(found)


def group(text: str) -> typer.Typer:
    """Return a command that only holds further commands; `text` is its help."""
    return typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=text)
