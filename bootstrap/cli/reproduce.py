"""`bootstrap reproduce`: progress on standard error while a generation is made again."""

from pathlib import Path

from rich.console import Console

from bootstrap.api import Lineage
from bootstrap.cli.progress import Expected, progress
from bootstrap.cli.run import make_pool
from bootstrap.config.recipe import Recipe
from bootstrap.pool import Pool
from bootstrap.reproduction import Reproduction


def reproduced(lineage: Lineage, name: str, *, into: Path | None, run_plugins: bool, ray: bool) -> Reproduction:
    """Return a generation made again (`Lineage.reproduce`); `ray`: on workers of Ray. Raises any BootstrapError."""

    def pool(recipe: Recipe, workers: int, folder: Path) -> Pool:
        return make_pool(recipe, workers, local=not ray, root=folder)

    node = lineage.generation(name)
    with progress(Console(stderr=True), last=node.number, expected=Expected()) as display:
        return lineage.reproduce(node.name, into=into, run_plugins=run_plugins, make_pool=pool, observe=display)
