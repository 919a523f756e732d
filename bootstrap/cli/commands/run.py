"""`bootstrap run`."""

from typing import Annotated

import typer

from bootstrap.cli.commands import options


def run(
    recipe: options.RecipePath,
    overrides: options.Overrides = None,
    store: options.Store = options.DEFAULT_STORE,
    lineage: options.NewLineage = None,
    workers: options.Workers = None,
    local: Annotated[bool, typer.Option("--local", help="Run in this process, without Ray.")] = False,
    past_guards: options.PastGuards = False,
    trust_plugins: options.TrustPlugins = None,
) -> None:
    """Run a recipe, or continue it where it stopped.

    The same command again continues after the last finished stage. A finished lineage stays as it is.

    \b
    Examples:
      bootstrap run pipelines/quickstart.yaml
      bootstrap run pipelines/addition.yaml generations.count=3 --lineage short --workers 1
      bootstrap run pipelines/quickstart.yaml --local
    """
    from bootstrap.cli.run import run_recipe
    from bootstrap.cli.trust import trust

    trust(trust_plugins)
    run_recipe(
        recipe, overrides or [], store=store, lineage=lineage, workers=workers, local=local, past_guards=past_guards
    )
