"""`bootstrap bench workers`, `bootstrap bench sandbox` and `bootstrap bench lineage`."""

from pathlib import Path
from typing import Annotated

import typer

from bootstrap.cli.commands import options
from bootstrap.errors import RecipeError

bench = options.group("Benchmarks; compare ratios, not seconds.")


@bench.command(cls=options.Command)
def workers(
    workers: Annotated[str, typer.Option("--workers", metavar="N,N", help="Numbers of workers to compare.")] = "1,2",
    rounds: Annotated[int, typer.Option("--rounds", min=1, metavar="N", help="Measurements of each.")] = 5,
    as_json: options.AsJson = False,
) -> None:
    """Measure how updates and samples per second grow with the number of workers, in one run.

    Absolute figures belong to the machine and its load; quote the ratios.

    \b
    Example:
      bootstrap bench workers --workers 1,2
    """
    try:
        counts = [int(part) for part in workers.split(",")]
    except ValueError:
        raise RecipeError(f"--workers {workers} is no list of whole numbers; write for example --workers 1,2") from None
    if min(counts) < 1 or len(set(counts)) < len(counts):
        raise RecipeError(f"--workers {workers}: name different numbers from 1 up, for example --workers 1,2")
    from bootstrap.cli.bench import compare

    compare(counts, rounds=rounds, as_json=as_json)


@bench.command(cls=options.Command)
def sandbox(
    executions: Annotated[int, typer.Option("--executions", min=100, metavar="N", help="Sealed executions.")] = 2000,
    processes: Annotated[
        int | None, typer.Option("--processes", min=1, metavar="N", help="At once; by default one per CPU core.")
    ] = None,
    level: Annotated[
        str | None,
        typer.Option("--level", metavar="LEVEL", help="seal, seal+ns or bwrap; by default the strongest that holds."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Measure sealed executions per second beside bare interpreters, and what they leave behind.

    \b
    Examples:
      bootstrap bench sandbox
      bootstrap bench sandbox --executions 10000 --level seal
    """
    from bootstrap.cli.bench import measure_sandbox

    measure_sandbox(executions, processes=processes, level=level, as_json=as_json)


@bench.command(cls=options.Command)
def lineage(
    generations: Annotated[
        int, typer.Option("--generations", min=2, metavar="N", help="Length of the lineage that is made.")
    ] = 100,
    rollouts: Annotated[int, typer.Option("--rollouts", min=1, metavar="N", help="Of the whole lineage.")] = 100_000,
    givers: Annotated[
        int, typer.Option("--givers", min=0, metavar="N", help="Earlier generations that each one replays from.")
    ] = 8,
    store: Annotated[
        Path | None, typer.Option("--store", metavar="DIR", help="New folder to keep the store in; by default none.")
    ] = None,
    publishing: Annotated[
        bool, typer.Option("--publish/--no-publish", help="Whether to measure publishing to MLflow.")
    ] = True,
    as_json: options.AsJson = False,
) -> None:
    """Make a long lineage without a model; measure questions and publishing at 10 generations and at the end.

    1,000 generations with 10 million rollouts take 2 GB and some minutes; publishing them takes far longer.

    \b
    Examples:
      bootstrap bench lineage
      bootstrap bench lineage --generations 1000 --rollouts 10000000 --store /big/disk/bench
    """
    from bootstrap.cli.bench_lineage import measure_lineage

    measure_lineage(
        generations=generations,
        rollouts=rollouts,
        givers=givers,
        store=store,
        publishing=publishing,
        as_json=as_json,
    )
