"""Every fault that a run, a store or a server is put to, and what came of it.

    python -m benchmarks.faults                     # the table of docs/reliability.md
    python -m benchmarks.faults --only lock MLflow  # those whose name holds one of the words

Each fault is brought about once, on a lineage of three generations that takes seconds, through the command line that
people use. Columns:

    outcome     survived: the same command goes on, or went on, to the end; refused: one clear error, nothing lost;
                in capitals what fell short
    exit        the exit code of the disturbed command
    lost        seconds of work that were not yet on the disk, and are done again
    equal       whether the ledger ends as that of a run nobody disturbed

The exit code is 1 where something fell short. A fault's whole output is printed with --verbose.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.faults import numbers, processes, servers, stores
from benchmarks.faults.scene import Outcome, Scene


def main() -> int:
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="faults whose name holds a word")
    parser.add_argument("--verbose", action="store_true", help="print what each disturbed command printed")
    given = parser.parse_args()
    chosen = [
        (group.__name__.rpartition(".")[2], name, bring)
        for group in (processes, numbers, stores, servers)
        for name, bring in group.faults()
        if any(word in name for word in given.only)
    ]
    outcomes: list[tuple[str, str, Outcome]] = []
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        scene = Scene(Path(folder))
        for kind, name, bring in chosen:
            outcome = bring(scene)
            print(f"{kind}: {name}: {outcome.kind}", file=sys.stderr, flush=True)
            outcomes.append((kind, name, outcome))
            if given.verbose:
                print(outcome.ending.text, file=sys.stderr, flush=True)
    Console(width=120).print(_table(outcomes))
    return 0 if all(outcome.kind in ("survived", "refused") for *_, outcome in outcomes) else 1


def _table(outcomes: list[tuple[str, str, Outcome]]) -> Table:
    table = Table("of", "fault", "outcome", "exit", "lost, s", "equal", box=None)
    for kind, name, outcome in outcomes:
        lost = "" if outcome.lost is None else f"{outcome.lost:.1f}"
        equal = {None: "", True: "yes", False: "NO"}[outcome.is_equal]
        table.add_row(kind, name, outcome.kind, str(outcome.ending.code), lost, equal)
    return table


if __name__ == "__main__":
    sys.exit(main())
