"""A recipe with thousands of mistakes is refused with a bounded amount of work and text."""

import difflib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.lineage_factory import SETTINGS

from bootstrap.config import faults
from bootstrap.config.load import load_recipe, load_verifier, recipe_of
from bootstrap.errors import RecipeError

MANY = 500
RECIPE = {"name": "many", "task": {"type": "addition"}, "generations": {"count": 1, "steps": [{"type": "rl"}]}}
UNKNOWN = {f"qeneration{number}s": 1 for number in range(MANY)}
WRONG = {
    "names at the top": {**RECIPE, **UNKNOWN},
    "a name in each section": {**RECIPE, "evaluation": {"panel": {f"p{n}": {"tusk": 1} for n in range(MANY)}}},
    "types": {**RECIPE, "generations": {"count": 1, "steps": [{"type": "rll"}] * MANY}},
    "words": {
        **RECIPE,
        "guards": [{"metric": "reward", "min": 0.1, "action": "stopp"}] * MANY,
    },
}


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names for which a near one is looked for."""
    asked, look = list[str](), difflib.get_close_matches

    def counted(name: str, *others: object, **settings: object) -> list[str]:
        asked.append(name)
        return look(name, *others, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(difflib, "get_close_matches", counted)
    return asked


def refusal(work: Callable[[], object]) -> str:
    with pytest.raises(RecipeError) as caught:
        work()
    return str(caught.value)


@pytest.mark.parametrize("kind", WRONG)
def test_near_names_are_looked_for_a_bounded_number_of_times(tmp_path: Path, compared: list[str], kind: str) -> None:
    path = tmp_path / "many.yaml"
    path.write_text(json.dumps(WRONG[kind]))
    told = refusal(lambda: load_recipe(path))
    assert told.count("did you mean") >= 5
    assert len(compared) <= faults.SUGGESTIONS
    assert len(told.splitlines()) == 12 and int(told.rpartition("and ")[2].split()[0]) >= MANY - 10


def test_the_recipe_of_a_stored_lineage_and_a_verifier_are_refused_as_soon(compared: list[str]) -> None:
    for work in (
        lambda: recipe_of({**SETTINGS.identity(), **UNKNOWN}),
        lambda: load_verifier("exact", [f"{name}=1" for name in UNKNOWN]),
    ):
        compared.clear()
        told = refusal(work)
        assert 0 < len(compared) <= faults.SUGGESTIONS and told.count("no such setting") == 10
        assert f"and {MANY - 10} more" in told


def test_the_next_recipe_is_helped_again(tmp_path: Path) -> None:
    path = tmp_path / "many.yaml"
    path.write_text(json.dumps({**RECIPE, "sead": 1}))
    for _ in range(faults.SUGGESTIONS + 1):
        assert faults.nearest("sead", ["seed"]) == "seed"
    assert "did you mean seed?" in refusal(lambda: load_recipe(path))
