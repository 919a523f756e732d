"""A run says where it begins, goes on, or that there is nothing to do and which key to raise."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from support import lineage_factory, tiny
from support.lineage_factory import SETTINGS

from bootstrap.cli.live import INTERRUPT_SECONDS
from bootstrap.cli.standing import TellingTheEnd, standing, why_ended
from bootstrap.config.recipe import Recipe
from bootstrap.planning.plan import LineagePlan, make_plan
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

PATH = Path("pipelines/addition.yaml")


def planned(recipe: Recipe, entries: list[Entry]) -> LineagePlan:
    return make_plan(recipe, lineage="addition", workers=1, entries=entries)


def said(root: Path, entries: list[Entry], *, recipe: Recipe = SETTINGS, has_output: bool = True) -> str:
    store = LineageStore(root)
    return standing(planned(recipe, entries), entries, store, recipe=recipe, path=PATH, has_output=has_output)


def test_a_new_lineage_just_begins(tmp_path: Path) -> None:
    assert said(tmp_path / "addition", [], has_output=False) == ""


def test_a_stopped_one_goes_on_inside_a_generation(tmp_path: Path) -> None:
    assert said(tmp_path / "addition", []) == (
        "lineage addition goes on at gen-0, with all that an earlier run finished of it"
    )
    entries = lineage_factory.build(tmp_path / "addition", plan=(lineage_factory.REJECTED,))
    assert said(tmp_path / "addition", entries) == (
        "lineage addition goes on at gen-2 of 3, after gen-1 (rejected), with all that an earlier run finished of gen-2"
    )


def test_a_finished_one_has_nothing_to_do_until_the_count_is_raised(tmp_path: Path) -> None:
    entries = lineage_factory.build(tmp_path / "addition")
    told = said(tmp_path / "addition", entries)
    assert told.startswith(
        "nothing to do: lineage addition has gen-0 and 3 generations, as many as the recipe asks for"
    )
    assert "for more raise generations.count: " in told
    assert told.endswith(f"run pipelines/addition.yaml generations.count=9 --store {tmp_path}")


def test_stages_that_are_done_lead_to_a_fork(tmp_path: Path) -> None:
    entries = lineage_factory.build(tmp_path / "addition", plan=(lineage_factory.PROMOTED,))
    whole = tiny.recipe(generations={"stages": [{"name": "only", "steps": [tiny.RL]}]})
    told = said(tmp_path / "addition", entries, recipe=whole)
    assert "its stages are done" in told and "fork addition@champion NAME" in told


def test_the_reason_of_the_end_names_the_champion(tmp_path: Path) -> None:
    entries = lineage_factory.build(tmp_path / "addition")
    assert why_ended(entries, None) == ("the lineage has all its generations, gen-0 to gen-3; champion gen-3", True)
    assert why_ended(entries, entries[2].generation) == ("a guard ended the run at gen-2; champion gen-3", False)


class Told:
    """Stands for what is told of the end."""

    def __init__(self) -> None:
        self.reasons: list[tuple[str, Any]] = []
        self.seconds: float | None = None

    def finish(self, why: str, *, seconds: float | None, succeeded: bool | None = None) -> None:
        self.reasons.append((why, succeeded))
        self.seconds = seconds


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (None, "done"),
        (KeyboardInterrupt(), "stopped; the same command goes on from there"),
        (ValueError("no answer from\nhttp://me:secret@host/x"), "failed: no answer from http://host/x"),
        (ValueError(), "failed: ValueError"),
    ],
)
def test_the_end_is_told_whatever_it_is_without_secrets(error: BaseException | None, reason: str) -> None:
    live, notifier = Told(), Told()
    expected = nullcontext() if error is None else pytest.raises(type(error))
    with expected, telling(live, notifier):
        if error is not None:
            raise error
    assert live.reasons == [(reason, None)]
    assert notifier.reasons == [(reason, error is None)]


def test_an_mlflow_that_has_failed_already_is_waited_for_no_longer_than_after_an_interrupt() -> None:
    for is_away, seconds in ((False, None), (True, INTERRUPT_SECONDS)):
        live, notifier = Told(), Told()
        with telling(live, notifier, is_away=is_away):
            pass
        assert (live.seconds, notifier.seconds) == (seconds, None)


def telling(live: Told, notifier: Told, *, is_away: bool = False) -> TellingTheEnd:
    return TellingTheEnd(live, notifier, why=lambda: ("done", True), is_away=lambda: is_away)  # pyright: ignore[reportArgumentType]
