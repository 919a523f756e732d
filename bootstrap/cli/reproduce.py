"""`bootstrap reproduce`: progress on standard error while a generation is made again."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bootstrap.api import Lineage
from bootstrap.cli import output
from bootstrap.cli.progress import Expected, progress
from bootstrap.cli.workers import make_roles
from bootstrap.config.recipe import Recipe
from bootstrap.reproduction import Reproduction
from bootstrap.roles import Roles


def reproduced(lineage: Lineage, name: str, *, into: Path | None, trusted: Sequence[str], ray: bool) -> Reproduction:
    """Return a generation made again (`Lineage.reproduce`). Raises any BootstrapError.

    `trusted`: plug-ins that may be imported; `ray`: on workers of Ray, as those that share a model always are.
    """

    def roles(recipe: Recipe, workers: int, folder: Path) -> Roles:
        return make_roles(recipe, workers, local=not ray and recipe.resources.shard == 1, root=folder)

    node = lineage.generation(name)
    with progress(Console(file=output.display()), last=node.number, expected=Expected()) as display:
        return lineage.reproduce(node.name, into=into, trust_plugins=trusted, make_roles=roles, observe=display)
