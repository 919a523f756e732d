"""Hinted retries: who is asked again, what is imitated and replayed, and that the accounting balance."""

from pathlib import Path
from typing import Any

import pytest

from bootstrap.config.conflicts import Conflicts
from bootstrap.config.recipe import Recipe
from bootstrap.records import Status, Use
from bootstrap.stages.tables import Tables
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from tests.support import tiny

pytestmark = pytest.mark.training

SOURCE = {"type": "rejection", "levels": "reached", "prompts": 60, "samples_per_prompt": 4, "hints": "base"}
VERIFIER = {"type": "exact", "answer": {"type": "tagged"}}


def recipe(*, hinted: float = 0.3, task: dict[str, Any] | None = None, **source: Any) -> Recipe:
    return tiny.recipe(
        count=2,
        task=task or {"type": "working", "base_level": 2, "heldout_fraction": 0.25, "forms": {"hinted": hinted}},
        verifier=VERIFIER,
        steps=[{**tiny.REJECTION, "source": {**SOURCE, **source}}],
    )


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[LineageStore, list[Entry]]:
    root: Path = tmp_path_factory.mktemp("hints")
    return LineageStore(root), tiny.grow(recipe(), root)


def tables(grown: tuple[LineageStore, list[Entry]], number: int) -> Tables:
    store, entries = grown
    return Tables.read(store.artifact(entries[number].generation.artifacts["step-0"]))


def test_prompts_whose_answers_were_all_wrong_and_no_others_are_asked_as_often_again(grown) -> None:
    found = tables(grown, 1)
    status = {verdict.rollout_id: verdict.status for verdict in found.verdicts}
    groups: dict[str, list[Any]] = {}
    for rollout in found.rollouts:
        groups.setdefault(rollout.group, []).append(rollout)
    assert len(groups) == SOURCE["prompts"]
    for rollouts in groups.values():
        plain = [r for r in rollouts if not r.unhinted]
        hinted = [r for r in rollouts if r.unhinted]
        assert len(plain) == SOURCE["samples_per_prompt"]
        all_wrong = {status[r.id] for r in plain} == {Status.FAIL}
        assert len(hinted) == (SOURCE["samples_per_prompt"] if all_wrong else 0)
        assert {r.unhinted for r in hinted} <= {plain[0].prompt_text}
        assert all(r.prompt_text.startswith(r.unhinted) and r.prompt_text.endswith("?") for r in hinted)
    assert any(len(rollouts) > 4 for rollouts in groups.values())
    assert any(len(rollouts) == 4 for rollouts in groups.values())


def test_what_was_right_with_a_hint_is_imitated_for_that_reason_and_replayed_without_it(grown) -> None:
    found = tables(grown, 1)
    hinted = {rollout.id: rollout for rollout in found.rollouts if rollout.unhinted}
    taken = [s for s in found.selections if s.rollout_id in hinted and s.use is Use.CE]
    assert taken
    assert {selection.reason for selection in taken} == {"verified, found with a hint"}
    assert all(selection.replay for selection in taken)
    assert all(hinted[selection.rollout_id].imitated_prompt.endswith("=") for selection in taken)
    assert {row.source for row in found.usage} & {selection.rollout_id for selection in taken}


def test_the_accounting_counts_a_hinted_retry_as_a_sample_of_its_prompt(grown) -> None:
    _, entries = grown
    accounting = entries[1].generation.accounting
    assert accounting.prompts_drawn == SOURCE["prompts"]
    assert accounting.rollouts == len(tables(grown, 1).rollouts) > SOURCE["samples_per_prompt"] * SOURCE["prompts"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hinted": 0.0}, "no reference of generation 0 is shown with a hint"),
        ({"task": {"type": "addition"}}, "task addition has no prompts with hints"),
        ({"levels": "targets"}, "where hints: base gives none"),
        ({"filter": "none"}, "so nothing is asked again"),
    ],
)
def test_hints_that_cannot_work_are_refused(changes, message) -> None:
    with pytest.raises((Conflicts, ValueError), match=message):
        recipe(**changes)
