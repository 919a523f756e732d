"""`bootstrap gc`."""

from pathlib import Path
from typing import Annotated

import typer

from bootstrap.cli.commands import options


def gc(
    keep: Annotated[
        str,
        typer.Option("--keep", metavar="WHAT", help="champion, promoted, base, last=N, generations; with commas."),
    ] = "champion,last=3",
    yes: Annotated[bool, typer.Option("--yes", help="Free the weights without a question.")] = False,
    restore: Annotated[
        Path | None,
        typer.Option("--restore", metavar="DIR", help="Put freed weights back from an exported model or a copy."),
    ] = None,
    store: options.Store = options.DEFAULT_STORE,
    lineage: options.AnyLineage = None,
    as_json: options.AsJson = False,
) -> None:
    """Free weights that nothing needs. Records, answers and reports stay.

    It says first what it would free. Beside what --keep names stay the champion, generation 0, and what running on,
    adapters, forks and unfinished work need.

    \b
    Examples:
      bootstrap gc --keep champion,last=3
      bootstrap gc --keep promoted --lineage quickstart --yes
      bootstrap gc --restore my-model
    """
    from bootstrap.cli.gc import free_weights, put_weights_back
    from bootstrap.cli.stores import several

    stores = several(store, lineage)
    if restore is not None:
        put_weights_back(stores, restore)
    else:
        free_weights(stores, keep=keep, yes=yes, as_json=as_json)
