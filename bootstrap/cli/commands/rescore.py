"""`bootstrap rescore`."""

from pathlib import Path
from typing import Annotated

import typer

from bootstrap.cli.commands import options


def rescore(
    store: options.Store = options.DEFAULT_STORE,
    lineage: options.Lineage = None,
    recipe: Annotated[
        Path | None,
        typer.Option("--recipe", metavar="RECIPE", help="Judge by this recipe's verifiers; by default the lineage's."),
    ] = None,
    trust_plugins: options.TrustPlugins = None,
    as_json: options.AsJson = False,
) -> None:
    """Judge a lineage's stored answers again and list the promotions that would change.

    Use it when a verifier has changed: it compares the verdicts of the present version with the recorded ones. The
    lineage stays as it is.

    \b
    Examples:
      bootstrap rescore --lineage quickstart
      bootstrap rescore --recipe stricter.yaml --json
    """
    from bootstrap.cli.rescore import rescore_lineage
    from bootstrap.cli.stores import choose
    from bootstrap.cli.trust import trust

    trust(trust_plugins)
    rescore_lineage(choose(store, lineage), recipe_path=recipe, as_json=as_json)
