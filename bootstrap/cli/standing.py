"""Where a run stands, in words: where it goes on, what to raise where nothing is to do, why it ended."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from bootstrap.cli.command import command
from bootstrap.cli.live import INTERRUPT_SECONDS, Live
from bootstrap.cli.notify import Notifier
from bootstrap.config.recipe import Recipe
from bootstrap.ledger_records import Generation
from bootstrap.lineage.tracking import redact
from bootstrap.planning.plan import LineagePlan
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

REASON_CHARACTERS = 500
"""Most of an error's message that is told."""


def standing(
    plan: LineagePlan, entries: Sequence[Entry], store: LineageStore, *, recipe: Recipe, path: Path, has_output: bool
) -> str:
    """Return where a run goes on, or that there is nothing to do; empty for one that begins.

    `entries`: what is committed; `path`: the recipe as the command names it; `has_output`: whether an earlier run has
    finished anything.
    """
    name, last = store.root.name, recipe.generations.count
    if not plan.planned:
        return f"nothing to do: lineage {name} has {_has(entries)}; {_raise(entries, store, recipe=recipe, path=path)}"
    first = plan.planned[0].name
    if not has_output:
        return ""
    if not entries:
        return f"lineage {name} goes on at {first}, with all that an earlier run finished of it"
    newest = entries[-1].generation
    return (
        f"lineage {name} goes on at {first} of {last}, after {newest.name} ({newest.outcome}), with all that an "
        f"earlier run finished of {first}"
    )


def _count(last: int) -> str:
    return f"{last} generation{'' if last == 1 else 's'}"


def _has(entries: Sequence[Entry]) -> str:
    last = entries[-1].generation.number
    return f"gen-0 and {_count(last)}, as many as the recipe asks for"


def _raise(entries: Sequence[Entry], store: LineageStore, *, recipe: Recipe, path: Path) -> str:
    """Return which key to raise for more generations."""
    last = len(entries) - 1
    held = None if recipe.generations.stages is None else sum(one.generations for one in recipe.generations.stages)
    if held is not None and held <= last:
        fork = command("fork", f"{store.root.name}@champion", "NAME", "--recipe", "RECIPE")
        return f"its stages are done and part of what it is, so for more begin a lineage from it: {fork}"
    more = last + 6 if held is None else held
    other = () if store.root.name == recipe.name else ("--lineage", store.root.name)
    again = command("run", path, f"generations.count={more}", "--store", store.root.parent, *other)
    return f"for more raise generations.count: {again}"


def why_ended(entries: Sequence[Entry], stopped: Generation | None) -> tuple[str, bool]:
    """Return why a run ended by itself, and whether it has reached its end.

    `stopped`: the generation at which a guard ended it.
    """
    champion = f"; champion gen-{entries[-1].generation.champion}" if entries else ""
    if stopped is not None:
        return f"a guard ended the run at {stopped.name}{champion}", False
    return f"the lineage has all its generations, gen-0 to gen-{len(entries) - 1}{champion}", True


class TellingTheEnd:
    """Tells MLflow's live page and the notified address when the block ends, and why.

    `why`: the reason where the block ends by itself, and whether that is the run's end; `is_away`: whether MLflow has
    failed, so that it is not waited for again.
    """

    def __init__(
        self,
        live: Live | None,
        notifier: Notifier,
        *,
        why: Callable[[], tuple[str, bool]],
        is_away: Callable[[], bool],
    ) -> None:
        self._live, self._notifier, self._why, self._is_away = live, notifier, why, is_away

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        succeeded, seconds = False, INTERRUPT_SECONDS
        if kind is None:
            (reason, succeeded), seconds = self._why(), None
        elif issubclass(kind, KeyboardInterrupt):
            reason = "stopped; the same command goes on from there"
        else:
            told = redact(" ".join(str(error).split()))[:REASON_CHARACTERS]
            reason = f"failed: {told or kind.__name__}"
        if self._live is not None:
            self._live.finish(reason, seconds=INTERRUPT_SECONDS if self._is_away() else seconds)
        self._notifier.finish(reason, succeeded=succeeded, seconds=seconds)
