"""Verifiers as people know them: by name and settings, from a recipe that may be of any age."""

from collections.abc import Sequence
from typing import Any

import pytest
from support.lineage_factory import PROMOTED, build

from bootstrap.lineage import judges
from bootstrap.stages import context
from bootstrap.store.ledger import Entry

EXACT = {"type": "exact", "answer": {"type": "whole", "strip": False}}
MATH = {"type": "math", "tolerance": 0.01, "hints": None}
RECIPE = {
    "verifier": EXACT,
    "evaluation": {"verifier": MATH, "panel": {"copy": {"verifier": {"type": "numeric"}}}},
    "generations": {"stages": [{"name": "late", "verifier": {"type": "format", "tag": "answer"}}]},
}
VERSIONS = {"exact": "a1", "held-out math": "b2", "panel copy": "c3"}


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Entry]:
    return build(tmp_path_factory.mktemp("store") / "addition", plan=(PROMOTED,))


def found(entry: Entry, recipe: Any, *, versions: dict[str, str], stage: str = "") -> list[judges.NamedVerifier]:
    return judges.of_generation(entry.generation.model_copy(update={"verifiers": versions, "stage": stage}), recipe)


def test_each_verifier_has_its_settings_and_what_it_judges(entries: Sequence[Entry]) -> None:
    rows = [(one.name, one.judged, one.settings, one.version) for one in found(entries[1], RECIPE, versions=VERSIONS)]
    assert rows == [
        ("exact", "answers of training", "exact(answer=whole(strip=false))", "a1"),
        ("held-out math", "held-out answers", "math(tolerance=0.01)", "b2"),
        ("panel copy", "answers of the panel task copy", "numeric", "c3"),
    ]
    shorts = [one.short for one in found(entries[1], RECIPE, versions=VERSIONS)]
    assert shorts == ["exact(answer=whole(strip=false))", "held-out math(tolerance=0.01)", "panel copy: numeric"]


def test_a_verifier_alone_judges_held_out_answers_too(entries: Sequence[Entry]) -> None:
    [one] = found(entries[1], RECIPE, versions={"exact": "a1"})
    assert one.judged == "answers of training, and held-out ones"


def test_a_stages_own_verifier_is_named_for_its_generations(entries: Sequence[Entry]) -> None:
    [one] = found(entries[1], RECIPE, versions={"format": "d4"}, stage="late")
    assert one.settings == "format(tag=answer)"
    [other] = found(entries[1], RECIPE, versions={"exact": "a1"}, stage="early")
    assert other.settings == "exact(answer=whole(strip=false))"


def test_without_its_recipe_a_verifier_has_its_name_alone(entries: Sequence[Entry]) -> None:
    names = ["exact", "held-out math", "panel copy"]
    judged = found(entries[1], {}, versions=VERSIONS)
    assert [one.settings for one in judged] == names and [one.short for one in judged] == names


def test_a_rubric_tells_its_parts_and_stays_short_where_it_has_to(entries: Sequence[Entry]) -> None:
    parts = [{"name": "form", "verifier": {"type": "format"}, "weight": 0.2}, {"name": "right", "verifier": EXACT}]
    [one] = found(entries[1], {"verifier": {"type": "rubric", "components": parts}}, versions={"rubric": "e5"})
    assert one.settings == (
        "rubric(components=(name=form, verifier=format, weight=0.2, "
        "name=right, verifier=exact(answer=whole(strip=false))))"
    )
    assert len(one.short) == 40 and one.short.endswith("…")


def test_prefixes_are_those_that_the_ledger_is_written_with() -> None:
    assert (judges.HELD_OUT, judges.PANEL) == (context.HELD_OUT, context.PANEL)
