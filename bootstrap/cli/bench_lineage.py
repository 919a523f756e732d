"""`bootstrap bench lineage`: questions and publishing at two lengths of one lineage."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from bootstrap.api import Lineage
from bootstrap.bench import lineage as bench
from bootstrap.cli import render
from bootstrap.cli.answers import print_trace, print_why
from bootstrap.cli.show import facts, print_generation
from bootstrap.cli.stores import new_folder
from bootstrap.errors import RecipeError
from bootstrap.lineage import text
from bootstrap.store import durable
from bootstrap.store.lineage_store import LineageStore

BYTES_PER_ROLLOUT, BYTES_PER_GENERATION = 250, 100_000
"""Upper bounds, to compare with the room on the disk."""


def measure_lineage(
    *, generations: int, rollouts: int, givers: int, store: Path | None, publishing: bool, as_json: bool
) -> None:
    """Print how long questions take and what publishing costs at 10 generations and at `generations`.

    `store`: where the lineage is made and stays; None takes a temporary folder. Raises RecipeError for a folder in use,
    or one without room.
    """
    with _folder(store) as place:
        needed = rollouts * BYTES_PER_ROLLOUT + generations * BYTES_PER_GENERATION * (4 if publishing else 1)
        free = shutil.disk_usage(place).free
        if needed > free:
            raise RecipeError(
                f"this takes about {text.si(needed, unit='B')}, and {place} has {text.si(free, unit='B')}: name "
                "another folder with --store, or fewer --rollouts"
            )
        rows = bench.measure_lineage(
            place,
            generations=generations,
            rollouts=rollouts,
            givers=givers,
            questions=_QUESTIONS,
            publish=_publisher(place) if publishing else None,
            say=render.warn,
        )
    if as_json:
        render.print_json([asdict(row) for row in rows])
        return
    last = rows[-1]
    for row in rows:
        render.say(
            f"{row.generations} generations, {row.rollouts} rollouts: {text.si(row.store_bytes, unit='B')}, ledger "
            f"{text.si(row.ledger_bytes, unit='B')}; grown in {_told(row.built)}, indexed in "
            f"{_told(row.indexed)}"
            + ("" if row.published_rest is None else f", published in {_told(row.published_rest)}")
        )
    lengths = [f"at {row.generations}" for row in rows]
    names = ("seconds", *lengths, "ratio", *(f"CPU {length}" for length in lengths), "ratio", "files opened")
    table = [
        (*_compared(name, [row.questions[name] for row in rows]), str(last.opened[name])) for name in last.questions
    ]
    for name, seconds in (
        ("publish one more", [row.published_one for row in rows]),
        ("draw the page", [row.drawn for row in rows]),
        ("one more, with its share of the page", [row.published for row in rows]),
    ):
        found = [one for one in seconds if one is not None]
        table += [(*_compared(name, found), "")] if found else []
    render.print_table(names, table)
    if last.requests is not None:
        told = " and ".join(f"{row.requests} at {row.generations}" for row in rows)
        render.say(f"requests to MLflow for one more generation: {told}")


@contextmanager
def _folder(store: Path | None) -> Iterator[Path]:
    """Yield the folder of a measurement; the index lies there too, and not among the user's own."""
    with tempfile.TemporaryDirectory(prefix="bootstrap-bench-") as temporary:
        place = Path(temporary) / "store" if store is None else new_folder(store)
        durable.make_folder(place)
        before = os.environ.get("XDG_CACHE_HOME")
        os.environ["XDG_CACHE_HOME"] = str(Path(temporary) / "cache")
        try:
            yield place
        finally:
            del os.environ["XDG_CACHE_HOME"]
            os.environ.update({} if before is None else {"XDG_CACHE_HOME": before})


def _publisher(store: Path) -> bench.Publish:
    from bootstrap.lineage.asked import counted_requests
    from bootstrap.lineage.publisher import publish
    from bootstrap.lineage.tracking import database_uri

    def work(root: Path, is_growing: bool) -> int:
        with counted_requests() as asked:
            publish(
                root.absolute(),
                tracking_uri=database_uri(store.absolute() / "mlflow.db"),
                experiment=None,
                recipe={"name": root.name, **LineageStore(root).header().identity},
                sample_rollouts=8,
                is_growing=is_growing,
            )
        return asked.total()

    return work


def _middle(root: Path) -> str:
    return f"gen-{len(LineageStore(root).ledger.paths()) // 2}"


def _why(root: Path, sample: str) -> None:
    print_why(Lineage(root.parent, root.name).why())


def _trace(root: Path, sample: str) -> None:
    print_trace(Lineage(root.parent, root.name).trace(sample))


_QUESTIONS = {
    "lineage": lambda root, sample: render.print_lineages([LineageStore(root)], as_json=False),
    "lineage --json": lambda root, sample: render.print_lineages([LineageStore(root)], as_json=True),
    "show": lambda root, sample: print_generation(facts(LineageStore(root), _middle(root))),
    "why": _why,
    "trace": _trace,
}


def _told(seconds: bench.Seconds) -> str:
    return f"{text.duration(seconds.clock)} (CPU {text.duration(seconds.cpu)})"


def _compared(name: str, seconds: Sequence[bench.Seconds]) -> tuple[str, ...]:
    """Return a row: the seconds at each length and the last over the first, by the clock and of CPU time."""
    cells = [name]
    for values in ([one.clock for one in seconds], [one.cpu for one in seconds]):
        cells += [*(f"{value:.3f}" for value in values), f"{values[-1] / values[0]:.1f}"]
    return tuple(cells)
