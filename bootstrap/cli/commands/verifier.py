"""`bootstrap verifier check`."""

from pathlib import Path
from typing import Annotated

import typer

from bootstrap.cli.commands import options

verifier = options.group("Check verifiers.")


@verifier.command(cls=options.Command)
def check(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A type such as math, my_module:my_function, or an entry point."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Its settings, for example answer.type=tagged."),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option("--recipe", metavar="RECIPE", help="Check this recipe's verifier with its task's answers."),
    ] = None,
    reference: Annotated[
        str | None, typer.Option("--reference", metavar="TEXT", help="The reference that answers are compared with.")
    ] = None,
    right: Annotated[
        str | None, typer.Option("--right", metavar="TEXT", help="A right answer; by default the reference.")
    ] = None,
    wrong: Annotated[
        list[str] | None, typer.Option("--wrong", metavar="TEXT", help="A wrong answer; may be given several times.")
    ] = None,
    trust_plugins: options.TrustPlugins = None,
    as_json: options.AsJson = False,
) -> None:
    """Show a verifier's verdicts on right, wrong and hostile answers.

    Exit code 4 when it passes a wrong answer, fails a right one, raises, or is not deterministic.

    \b
    Examples:
      bootstrap verifier check math
      bootstrap verifier check my_verifiers:shortest --reference 42 --wrong 41 --wrong 43
      bootstrap verifier check --recipe pipelines/code.yaml
    """
    from bootstrap.cli.trust import trust
    from bootstrap.cli.verifier import check_verifier

    trust(trust_plugins)
    check_verifier(
        name,
        overrides or [],
        recipe_path=recipe,
        reference=reference,
        right=right,
        wrong=wrong or [],
        as_json=as_json,
    )
