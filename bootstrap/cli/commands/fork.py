"""`bootstrap fork`."""

from pathlib import Path
from typing import Annotated

import typer

from bootstrap.cli.commands import options


def fork(
    source: options.Generation,
    name: Annotated[str, typer.Argument(metavar="NEW", help="Name of the new lineage.")],
    overrides: options.Overrides = None,
    recipe: Annotated[
        Path | None,
        typer.Option("--recipe", metavar="RECIPE", help="The new lineage's recipe; by default the origin's."),
    ] = None,
    store: options.Store = options.DEFAULT_STORE,
    trust_plugins: options.TrustPlugins = None,
) -> None:
    """Start a new lineage from any generation of another one, even a rejected one.

    Generation 0 of the new lineage takes that generation's weights and, if the task is the same, its accumulated
    verified answers. The recipe's `base` section is replaced; its generations or stages begin anew. The origin stays as
    it is. The command that grows the new lineage is printed, not run.

    \b
    Examples:
      bootstrap fork quickstart@gen-3 wider generations.curriculum.type=accelerated
      bootstrap fork quickstart@champion distilled --recipe pipelines/reversal.yaml
    """
    from bootstrap.cli.fork import fork_lineage
    from bootstrap.cli.render import tell
    from bootstrap.cli.trust import trust

    trusted = trust(trust_plugins)
    tell(fork_lineage(source, name, overrides or [], recipe_path=recipe, store=store, trusted=trusted))
