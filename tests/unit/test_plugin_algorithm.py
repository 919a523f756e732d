"""An algorithm of the user's own: what it is given, what it may return, and that its source is part of the recipe."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from support import tiny

from bootstrap.config.algorithms import Grpo, PluginAlgorithm
from bootstrap.config.load import load_recipe
from bootstrap.config.steps import RlStep
from bootstrap.errors import RecipeError
from bootstrap.training.algorithms.scored import Scored, estimate

pytestmark = pytest.mark.usefixtures("own_plugins")

OURS = "support.plugin_algorithms"
SCORED = Scored(
    rewards=[[1.0, 0.0, 0.0], [1.0, 0.0]],
    lengths=[[2, 1, 3], [1, 0]],
    counts=[[True] * 3, [True, False]],
    judged=[1.0, 0.0, 0.0, 1.0, 0.0],
)


def advantages(name: str, **options: Any) -> Any:
    return estimate(SCORED, PluginAlgorithm(uses=f"{OURS}:{name}", options=options)).advantages


def test_one_number_a_sample_is_what_an_algorithm_of_ours_gives() -> None:
    assert advantages("centred") == estimate(SCORED, Grpo()).advantages
    assert np.array(advantages("centred", scale=2.0)[0]) == pytest.approx(np.array([4, -2, -2]) / 3)


def test_one_number_a_token_stands_as_it_is() -> None:
    assert advantages("last_token")[1] == [[0.5], []]
    assert advantages("last_token")[0][2] == pytest.approx([0.0, 0.0, -1 / 3])


def test_a_function_that_changes_what_it_is_given_changes_a_copy() -> None:
    assert advantages("meddling") == [[0.0, 0.0, 1.0], [0.0, 1.0]]
    assert SCORED.rewards == [[1.0, 0.0, 0.0], [1.0, 0.0]]


def test_without_informative_groups_it_is_not_asked() -> None:
    nothing = Scored(rewards=[], lengths=[], counts=[], judged=[1.0, 1.0])
    assert estimate(nothing, PluginAlgorithm(uses=f"{OURS}:clumsy")).advantages == []


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "a NoneType for the groups"),
        ([[0, 0, 0]], "1 entries for the 2 groups"),
        ([[0, 0, 0], [0]], "1 entries for the 2 samples of group 1"),
        ([[0, 0, 0], 1.0], "a float for the samples of group 1"),
        ([[0, [1, 2], 0], [0, 0]], "2 entries for the 1 tokens of sample 1 of group 0"),
        ([[0, "1", 0], [0, 0]], "a str for the tokens of sample 1 of group 0"),
        ([[0, True, 0], [0, 0]], "a bool for sample 1 of group 0"),
        ([[0, [True], 0], [0, 0]], "a bool for sample 1 of group 0"),
        ([[0, 10**400, 0], [0, 0]], "inf for sample 1 of group 0"),
    ],
)
def test_anything_else_that_it_returns_stops_the_run_with_its_name(value: Any, told: str) -> None:
    with pytest.raises(RecipeError, match=f"{OURS}:returns returned {told}; it must return a list for each group"):
        advantages("returns", value=value)


def test_what_is_not_finite_or_raises_stops_the_run_with_its_name() -> None:
    with pytest.raises(RecipeError, match="not_finite returned nan for sample 0 of group 0"):
        advantages("not_finite")
    with pytest.raises(RecipeError, match="clumsy raised KeyError: 'baseline'; fix it"):
        advantages("clumsy")


@pytest.mark.parametrize(
    ("uses", "options", "remedy"),
    [
        ("no_such_module_here:f", {}, "module of the algorithm .* cannot be imported.*install it"),
        (f"{OURS}:missing", {}, r"no function missing; write it there as advantages\(rewards"),
        (f"{OURS}:TALE", {}, "no function TALE"),
        (f"{OURS}:forgetful", {}, "cannot be called.*a parameter for each"),
        (f"{OURS}:centred", {"strict": True}, "cannot be called.*'strict'"),
        (f"{OURS}:centred", {"lengths": 1}, "cannot be called.*lengths"),
        ("no.such.entry", {}, "entry points bootstrap.algorithms: none.*module:function"),
    ],
)
def test_a_function_that_cannot_serve_is_refused_with_the_remedy(uses: str, options: dict, remedy: str) -> None:
    with pytest.raises(RecipeError, match=remedy):
        estimate(SCORED, PluginAlgorithm(uses=uses, options=options))


def test_it_compares_groups_as_grpo_does() -> None:
    settings = {"type": "plugin", "uses": f"{OURS}:centred"}
    step = RlStep.model_validate({"type": "rl", "algorithm": {**settings, "resample": 2}})
    assert (step.algorithm.compares, step.algorithm.redraws, step.algorithm.informative([1, 0])) == ("group", 2, True)
    with pytest.raises(ValidationError, match="group_size 2 or more"):
        RlStep.model_validate({"type": "rl", "group_size": 1, "algorithm": settings})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty current folder; the import path and what is imported are put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    sys.modules.pop("mine", None)


def write(folder: Path, answer: str, **algorithm: Any) -> Path:
    """Write a recipe and the algorithm that it names, and return the recipe's path."""
    sys.modules.pop("mine", None)
    (folder / "mine.py").write_text(f"def f(rewards, *, lengths):\n    return {answer}\n")
    settings = {"type": "plugin", "uses": "mine:f", **algorithm}
    data = json.loads(tiny.recipe(steps=[{**tiny.RL, "algorithm": {"type": "grpo"}}]).model_dump_json())
    data["generations"]["steps"][0]["algorithm"] = settings
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(data))
    return path


def test_the_recipe_s_identity_holds_what_the_function_means(folder: Path) -> None:
    one, same, other = (load_recipe(write(folder, answer)) for answer in ("rewards", "(rewards)", "rewards[:]"))
    assert one.digest() == same.digest() != other.digest()
    [(_, step)] = one.generation_steps()
    assert len(step.algorithm.source) == 64


def test_a_pinned_source_refuses_another(folder: Path) -> None:
    [(_, step)] = load_recipe(write(folder, "rewards")).generation_steps()
    source = step.algorithm.source
    assert load_recipe(write(folder, "rewards", source=source))
    with pytest.raises(RecipeError, match=r"algorithm\.uses.*algorithm mine:f has changed.*remove `source`"):
        load_recipe(write(folder, "rewards[:]", source=source))
    with pytest.raises(RecipeError, match="mine:f has changed"):
        estimate(SCORED, PluginAlgorithm(uses="mine:f", source="0" * 64))


def test_a_function_that_is_not_there_is_told_with_its_place(folder: Path) -> None:
    path = write(folder, "rewards", uses="nowhere_at_all:f")
    with pytest.raises(RecipeError, match=r"steps\[0\]\.algorithm\.uses.*nowhere_at_all:f cannot be imported"):
        load_recipe(path)
    assert load_recipe(path, check_folders=False), "a recipe may run on another machine"
