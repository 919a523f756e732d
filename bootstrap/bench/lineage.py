"""Benchmark of a long lineage: how long questions take, and what one more generation costs to publish.

    grow to SMALL -> ask, publish, publish one more -> grow to the full length -> ask, publish, publish one more

What is measured at both lengths is compared within one run. Questions are asked in this process, after its start-up, as
the command line asks them, printing included. Left out: the lineage itself (`long_lineage.py`).
"""

import io
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bootstrap.bench.long_lineage import LongLineage
from bootstrap.reading import READ_EVENT
from bootstrap.store import index, uses

SMALL = 10
TIMES = 3
"""Measurements of each question, and generations published one by one."""
SHARE = 10
"""The lineage page is due when one generation in so many is new (`lineage/whole_page.py`)."""
Publish = Callable[[Path, bool], int]
"""Publishes what is due of the lineage in a folder, which is growing or not; returns the number of requests made."""
Ask = Callable[[Path, str], None]
"""Asks a question about the lineage in a folder, or about one of its samples."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seconds:
    """How long something took: the median by the clock, and the least of this process's CPU time.

    On a machine that does other work besides, the CPU time is what can be compared.
    """

    clock: float
    cpu: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LengthRow:
    """What was measured at one length of the lineage."""

    generations: int
    rollouts: int
    ledger_bytes: int
    store_bytes: int
    built: Seconds
    """Growing the lineage to this length from the last one."""
    indexed: Seconds
    """Reading what the index lacked since the last length: records and tables of uses."""
    questions: Mapping[str, Seconds]
    opened: Mapping[str, int]
    """Files of the store that a question opens."""
    published_rest: Seconds | None
    """Publishing all generations that were not published; None without publishing."""
    published_one: Seconds | None
    """Publishing one more generation while the lineage grows, without drawing the lineage page."""
    drawn: Seconds | None
    """Drawing the lineage page, and looking at all generations, as at the end of a run."""
    requests: int | None
    """Requests to MLflow for one more generation."""

    @property
    def published(self) -> Seconds | None:
        """One more generation with its share of drawing the page, which is due each time a tenth is new."""
        if self.published_one is None or self.drawn is None:
            return None
        one, share = self.published_one, max(1.0, self.generations / SHARE)
        return Seconds(clock=one.clock + self.drawn.clock / share, cpu=one.cpu + self.drawn.cpu / share)


def measure_lineage(
    store: Path,
    *,
    generations: int,
    rollouts: int,
    givers: int,
    questions: Mapping[str, Ask],
    publish: Publish | None,
    say: Callable[[str], None],
) -> list[LengthRow]:
    """Return a row for a lineage of `SMALL` generations, and one for `generations` of them, in the folder `store`.

    `rollouts`: of the whole lineage. `givers`: earlier generations that each generation replays from. `publish`:
    publishes what is due; None leaves that out.
    """
    lengths = sorted({min(SMALL, generations), generations})
    grown = LongLineage(store / "bench", rollouts=-(-rollouts // max(1, generations - 1)), givers=givers)
    return [_at(grown, length, questions=questions, publish=publish, say=say) for length in lengths]


def _at(
    grown: LongLineage,
    length: int,
    *,
    questions: Mapping[str, Ask],
    publish: Publish | None,
    say: Callable[[str], None],
) -> LengthRow:
    root = grown.store.root

    def grow() -> None:
        for number in grown.grow_to(length):
            if number and number % 100 == 0:
                say(f"grown: {number} of {length} generations")

    built = _timed(grow, times=1)
    say(f"indexing {length} generations")
    indexed = _timed(lambda: uses.remember(grown.store, index.read(grown.store)), times=1)
    sample = grown.sample()
    seconds, opened = dict[str, Seconds](), dict[str, int]()
    for name, ask in questions.items():
        say(f"asking: {name}")
        seconds[name], opened[name] = _asked(ask, root, sample)
    ledger, everything = _size(grown.store.ledger.folder), _size(root)
    rest = one = drawn = requests = None
    if publish is not None:
        say(f"publishing {length} generations")
        rest = _timed(lambda: publish(root, False), times=1)
        asked = list[int]()
        one = _timed(lambda: asked.append(publish(root, True)), times=TIMES, before=grown.grow)
        requests = min(asked)
        drawn = _timed(lambda: publish(root, False), times=1)
    return LengthRow(
        generations=length,
        rollouts=grown.rollouts * (length - 1),
        ledger_bytes=ledger,
        store_bytes=everything,
        built=built,
        indexed=indexed,
        questions=seconds,
        opened=opened,
        published_rest=rest,
        published_one=one,
        drawn=drawn,
        requests=requests,
    )


def _asked(ask: Ask, root: Path, sample: str) -> tuple[Seconds, int]:
    """Return the seconds of a question, and the number of the lineage's files that it opens."""
    with redirect_stdout(io.StringIO()):
        seconds = _timed(lambda: ask(root, sample), times=TIMES)
        with opened_files(root) as opened:
            ask(root, sample)
    return seconds, len(opened)


def _timed(work: Callable[[], object], *, times: int, before: Callable[[], object] = lambda: None) -> Seconds:
    """Return the seconds of `work`, `before` each of which something else is done that does not count."""
    clock, cpu = list[float](), list[float]()
    for _ in range(times):
        before()
        began = time.perf_counter(), time.process_time()
        work()
        clock.append(time.perf_counter() - began[0])
        cpu.append(time.process_time() - began[1])
    return Seconds(clock=statistics.median(clock), cpu=min(cpu))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def opened_files(folder: Path) -> Iterator[Sequence[str]]:
    """Collect the paths of files below `folder` that this process opens in the block, each as often as it is opened."""
    _watch()
    found, prefix = list[str](), f"{folder.absolute()}/"
    watched = (prefix, found)
    _WATCHED.append(watched)
    try:
        yield found
    finally:
        _WATCHED.remove(watched)


_WATCHED: list[tuple[str, list[str]]] = []


@cache
def _watch() -> None:
    """Have every opening of a file noted; the interpreter cannot undo this, so once a process."""
    sys.addaudithook(_note)


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    # Files of a store are opened from their folder, so the reader tells their paths.
    if event in ("open", READ_EVENT) and _WATCHED and isinstance(arguments[0], str):
        if event == "open" and arguments[2] & os.O_DIRECTORY:
            return
        for prefix, found in _WATCHED:
            if arguments[0].startswith(prefix):
                found.append(arguments[0])
