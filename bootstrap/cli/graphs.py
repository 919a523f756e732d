"""`bootstrap export --as FORM`: print a lineage's graph for other programs.

Left out: the forms themselves (`lineage/mermaid.py`, `lineage/graph_json.py`, `lineage/openlineage.py`).
"""

from bootstrap.cli import render
from bootstrap.errors import RecipeError
from bootstrap.lineage import graph_json, mermaid
from bootstrap.store.lineage_store import LineageStore


def print_graph(store: LineageStore, form: str, *, given: str | None) -> None:
    """Print the lineage's graph as `mermaid`, `json` or `openlineage`.

    `given`: an argument that has no meaning here. Raises RecipeError, also where a package is missing; StoreError.
    """
    if given is not None:
        raise RecipeError(f"--as prints the graph of the whole lineage; leave out {given!r}, and write it with > FILE")
    entries, header = store.ledger.read(), store.header()
    if not entries:
        raise RecipeError("the lineage has no committed generation yet; start it with `bootstrap run`")
    match form:
        case "mermaid":
            render.tell(mermaid.to_mermaid(entries).rstrip("\n"))
        case "json":
            render.print_document(graph_json.to_json(entries, identity=header.identity))
        case _:
            # An extra, and slow to load.
            try:
                from bootstrap.lineage import openlineage
            except ModuleNotFoundError as error:
                raise RecipeError(
                    f"OpenLineage events need the package openlineage-python ({error}); install it with "
                    "pip install 'bootstrap-lm[openlineage]'"
                ) from None
            for line in openlineage.to_lines(entries, identity=header.identity):
                render.print_document(line)
