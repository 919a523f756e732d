"""`bootstrap reproduce`: progress on standard error while a generation is made again."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bootstrap.api import Lineage
from bootstrap.cli import output
from bootstrap.cli.progress import Expected, progress
from bootstrap.cli.run import make_pool
from bootstrap.config.recipe import Recipe
from bootstrap.pool import Pool
from bootstrap.reproduction import Reproduction


def reproduced(lineage: Lineage, name: str, *, into: Path | None, trusted: Sequence[str], ray: bool) -> Reproduction:
    """Return a generation made again (`Lineage.reproduce`). Raises any BootstrapError.

    `trusted`: plug-ins that may be imported; `ray`: on workers of Ray.
    """

    def pool(recipe: Recipe, workers: int, folder: Path) -> Pool:
        return make_pool(recipe, workers, local=not ray, root=folder)

    node = lineage.generation(name)
    with progress(Console(file=output.display()), last=node.number, expected=Expected()) as display:
        return lineage.reproduce(node.name, into=into, trust_plugins=trusted, make_pool=pool, observe=display)
