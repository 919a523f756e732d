"""`bootstrap export`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bootstrap.cli.commands import options


class Form(StrEnum):
    """A form in which a lineage's graph is printed."""

    MERMAID = "mermaid"
    JSON = "json"
    OPENLINEAGE = "openlineage"


def export(
    generation: Annotated[
        str | None,
        typer.Argument(metavar="GENERATION", help=f"{options.FORMS}; without one, the lineage."),
    ] = None,
    place: Annotated[
        Path | None,
        typer.Argument(metavar="DIR|FILE", help="New folder for the model; new .tar file or folder for a lineage."),
    ] = None,
    store: options.Store = options.DEFAULT_STORE,
    lineage: options.Lineage = None,
    form: Annotated[
        Form | None, typer.Option("--as", help="Print the lineage's graph in this form instead.", case_sensitive=False)
    ] = None,
) -> None:
    """Copy a generation's model into a folder, or a whole lineage into one file; or print a lineage's graph.

    A model opens in transformers without this program. A lineage's copy has its records, models, data and verdicts;
    `bootstrap import` takes it into another store. Every file is checked against its recorded hash.

    Graphs are printed as Mermaid text for a README, as JSON with a schema version, or as OpenLineage events, one JSON
    object a line (pip install 'bootstrap-lm[openlineage]').

    \b
    Examples:
      bootstrap export champion my-model
      bootstrap export --lineage quickstart quickstart.tar
      bootstrap export --as mermaid > lineage.mmd
      bootstrap export --as openlineage --lineage quickstart > events.jsonl
    """
    from bootstrap.cli.render import tell
    from bootstrap.cli.stores import choose, located

    if form is not None:
        from bootstrap.cli.graphs import print_graph

        print_graph(choose(store, lineage), form, given=generation)
    elif place is not None and generation is not None:
        from bootstrap.cli.export import export_generation

        name, count = export_generation(*located(store, lineage, generation), place)
        tell(f"{name}: {count} verified files in {place}")
    else:
        from bootstrap.cli.export_lineage import export_whole, place_for_whole

        target = place_for_whole(generation, lineage)
        tell(export_whole(choose(store, lineage), target))
