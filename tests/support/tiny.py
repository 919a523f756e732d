"""A lineage small enough to grow in a second or two, with every kind of step, and a way to run it in this process."""

import atexit
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from bootstrap.cli.remembered import remember_recipe
from bootstrap.config.files import FileTask
from bootstrap.config.recipe import Recipe
from bootstrap.config.tasks import tasks_of
from bootstrap.loop import run
from bootstrap.pool import LocalPool, Pool
from bootstrap.records import Batch, Event
from bootstrap.roles import Roles, colocated
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

MODEL = {"type": "scratch", "hidden_size": 32, "intermediate_size": 48, "num_layers": 2, "num_heads": 2}
EVALUATION = {"prompts_per_level": 40, "lookahead": 1, "sampled": {"prompts": 6, "samples": 4, "k": 2}}
RL = {
    "type": "rl",
    "rounds": 4,
    "prompts_per_update": 4,
    "group_size": 4,
    "checkpoint_every": 2,
    "distillation": {"batch_size": 8},
}
REJECTION = {
    "type": "sft",
    "updates": 4,
    "batch_size": 8,
    "checkpoint_every": 2,
    "source": {"type": "rejection", "prompts": 20},
}
DISTILL = {
    "type": "distill",
    "updates": 3,
    "checkpoint_every": 2,
    "distillation": {"loss": "forward_kl", "teacher": "base", "batch_size": 8},
}
SELF_PLAY = {
    "type": "self_play",
    "rounds": 4,
    "proposals": 6,
    "group_size": 4,
    "checkpoint_every": 2,
    "reach": 1,
    "distillation": {"batch_size": 8},
}
PROGRAMS = {
    "task": {"type": "programs", "base_level": 2, "width": 2, "heldout_fraction": 0.3},
    "base": {
        "model": MODEL,
        "steps": [
            {
                "type": "sft",
                "updates": 120,
                "batch_size": 32,
                "source": {"type": "references", "proposals": 0.4},
                "optimizer": {"type": "muon_adamw", "muon_lr": 0.02, "adamw_lr": 0.01},
            }
        ],
    },
}
"""For a recipe with self-play: a base that has seen how problems are put and solves some of them."""


class Watched(LocalPool):
    """A pool that keeps the batches it learns from."""

    def __init__(self) -> None:
        super().__init__(1, batch_rows=64)
        self.batches: list[Batch] = []

    def update(self, batch: Batch, **how: Any) -> Any:
        self.batches.append(batch)
        return super().update(batch, **how)


def recipe(*, steps: Sequence[dict[str, Any]] = (RL,), count: int = 2, seed: int = 0, **changes: Any) -> Recipe:
    """Return a tiny recipe: three-symbol copying, so that a few updates already give some right answers."""
    settings: dict[str, Any] = {
        "name": "tiny",
        "seed": seed,
        "task": {"type": "copy", "alphabet": "abc", "base_level": 4, "heldout_fraction": 0.5},
        "base": {
            "model": MODEL,
            "steps": [
                {
                    "type": "sft",
                    "updates": 60,
                    "batch_size": 32,
                    "checkpoint_every": 30,
                    "optimizer": {"type": "muon_adamw", "muon_lr": 0.02, "adamw_lr": 0.01},
                }
            ],
        },
        "generations": {"count": count, "steps": list(steps)},
        "evaluation": EVALUATION,
        "gate": {"min_prompts": 10},
        "resources": {"batch_rows": 64},
    }
    return Recipe.model_validate(settings | changes)


def unwatched(event: Event) -> None:
    """See nothing of a run."""


def grow(
    settings: Recipe,
    root: Path,
    *,
    pool: Pool | None = None,
    roles: Roles | None = None,
    workers: int = 1,
    observe: Callable[[Event], None] = unwatched,
    publish: Callable[[], None] = lambda: None,
    past_guards: bool = False,
    fresh: bool = False,
) -> list[Entry]:
    """Run a recipe in this process and return its ledger.

    Generation 0, on which most of the time goes, is made once in a process for all recipes that share it: a run that
    nobody watches and that is not to be `fresh` finds it in its store, as a run that goes on after a kill does.
    """
    store = LineageStore(root)
    store.open(settings.name, identity=settings.identity())
    watched = fresh or (pool or roles) is not None or observe is not unwatched
    # What a task's file holds is no part of a recipe that was not loaded, which would pin it.
    reads_file = any(isinstance(task, FileTask) for task in tasks_of(settings.task).values())
    shared = None if watched or reads_file else _base_of(settings, workers)
    if shared is not None and shared.is_dir() and not store.ledger.read():
        shutil.copytree(shared, root, dirs_exist_ok=True)
    entries = run(
        settings,
        lineage=settings.name,
        store=store,
        roles=roles or colocated(pool or LocalPool(workers, batch_rows=64)),
        publish=publish,
        observe=observe,
        environment={},
        past_guards=past_guards,
    )
    if shared is not None and not shared.is_dir():
        for ref in entries[0].generation.artifacts.values():
            shutil.copytree(root / ref.path, shared / ref.path)
    return entries


def lineage(folder: Path, *, count: int) -> LineageStore:
    """Grow the lineage `tiny` in `folder`, with its recipe remembered as `bootstrap run` does."""
    settings, found = recipe(count=count), LineageStore(folder / "tiny")
    grow(settings, found.root)
    remember_recipe(found, settings, folder=found.root)
    return found


def _base_of(settings: Recipe, workers: int) -> Path:
    """Return the folder for what generation 0 of a recipe leaves in a store."""
    shown = {name: part for name, part in settings.identity().items() if name != "generations"}
    key = json.dumps([shown, workers], sort_keys=True)
    return _folder() / hashlib.sha256(key.encode()).hexdigest()


@cache
def _folder() -> Path:
    folder = tempfile.mkdtemp(prefix="bases-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
