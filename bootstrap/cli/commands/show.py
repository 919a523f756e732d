"""`bootstrap show`."""

from bootstrap.cli.commands import options


def show(
    generation: options.Generation,
    store: options.Store = options.DEFAULT_STORE,
    lineage: options.Lineage = None,
    as_json: options.AsJson = False,
) -> None:
    """Show everything that is recorded about one generation.

    \b
    Examples:
      bootstrap show champion
      bootstrap show gen-3 --json
    """
    from bootstrap.cli import render
    from bootstrap.cli.show import facts, print_generation
    from bootstrap.cli.stores import located

    found = facts(*located(store, lineage, generation))
    render.print_json(found) if as_json else print_generation(found)
