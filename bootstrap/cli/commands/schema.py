"""`bootstrap schema`."""


def schema() -> None:
    """Print the JSON Schema of recipes.

    Editors that know it check and complete recipes while you type.

    \b
    Example:
      bootstrap schema > recipe.schema.json
    """
    from bootstrap.cli import render
    from bootstrap.config.load import json_schema

    render.print_json(json_schema())
