"""`bootstrap recipes`."""

from bootstrap.cli.commands import options


def recipes(as_json: options.AsJson = False) -> None:
    """List the recipes that come along, with what each shows and which files it lacks here.

    They belong to the source (its folder pipelines/) and to no wheel; without a copy of the source there are none.

    \b
    Examples:
      bootstrap recipes
      bootstrap recipes --json
    """
    from bootstrap.cli.recipes import print_recipes

    print_recipes(as_json=as_json)
