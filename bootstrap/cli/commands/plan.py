"""`bootstrap plan`."""

from bootstrap.cli.commands import options


def plan(
    recipe: options.RecipePath,
    overrides: options.Overrides = None,
    store: options.Store = options.DEFAULT_STORE,
    lineage: options.NewLineage = None,
    workers: options.Workers = None,
    trust_plugins: options.TrustPlugins = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what a recipe would do and cost. Changes nothing.

    Committed generations are shown with their outcome; their pace sets the estimate for the rest.

    \b
    Examples:
      bootstrap plan pipelines/quickstart.yaml
      bootstrap plan pipelines/addition.yaml generations.count=20 --workers 8 --json
    """
    from bootstrap.cli import render
    from bootstrap.cli.plan import print_plan
    from bootstrap.cli.run import planned
    from bootstrap.cli.trust import trust

    trust(trust_plugins)
    _, found = planned(recipe, overrides or [], store=store, lineage=lineage, workers=workers)
    render.print_json(found.to_json()) if as_json else print_plan(found)
