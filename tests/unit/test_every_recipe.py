"""Every recipe in `pipelines/` loads, agrees with the schema that editors use, and has a name of its own."""

import json
import runpy
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from support import pretrained

from bootstrap.config.load import json_schema, load_recipe
from bootstrap.config.models import StageEnd
from bootstrap.config.task import PRINTABLE
from bootstrap.planning.plan import make_plan

pytestmark = pytest.mark.torch

FOLDER = Path(__file__).parents[2] / "pipelines"
RECIPES = sorted(FOLDER.glob("*.yaml"))


def errors(data: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator(json_schema())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(data)]


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def at_hand(path: Path, folder: Path) -> tuple[Path, list[str]]:
    """Return a recipe and overrides to load it with; small stand-ins replace what has to be fetched or made first."""
    if read(path)["base"]["model"]["type"] != "folder":
        return path, []
    files = pretrained.small_folder(chat=True, characters=PRINTABLE, max_length=1024)
    overrides = [f"base.model.path={pretrained.write(files, folder / 'model')}"]
    if "path" not in read(path)["task"]:
        return path, overrides
    there = Path(shutil.copy(path, folder / "pipelines" / path.name))
    make = runpy.run_path(str(FOLDER.parent / "examples" / f"{path.stem.replace('-', '_')}.py"))["main"]
    arguments = [_published(folder / "published")] if path.stem == "gsm8k" else []
    make(folder / "data" / path.stem, *arguments)
    # A token of the stand-in is a character.
    panel = read(path).get("evaluation", {}).get("panel", {})
    return there, [*overrides, *(f"evaluation.panel.{name}.task.max_answer_tokens=99" for name in panel)]


def _published(folder: Path) -> Path:
    """Write rows of GSM8K's form."""
    folder.mkdir()
    for split in ("train", "test"):
        rows = (
            {"question": f"{split} {n} + 1?", "answer": f"First 1.\nThen {n}.\nIn all {n + 1}.\n#### {n + 1}"}
            for n in range(300)
        )
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_there_are_recipes() -> None:
    assert RECIPES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_it_loads_and_can_be_planned(path: Path, tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()
    there, overrides = at_hand(path, tmp_path)
    recipe = load_recipe(there, overrides)
    assert recipe.name == path.stem
    plan = make_plan(recipe, lineage=recipe.name, workers=2)
    assert len(plan.generations) == recipe.generations.count + 1


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_it_agrees_with_the_schema(path: Path) -> None:
    assert errors(read(path)) == []


@pytest.mark.parametrize("name", ["self-improve", "self-improve-accelerated"])
def test_each_of_three_lines_goes_on_from_itself_and_is_labelled_by_what_the_others_had_a_round_ago(name: str) -> None:
    recipe = load_recipe(FOLDER / f"{name}.yaml")
    stages = {stage.name: stage for stage in recipe.generations.stages}

    def model(line: str, rounds: int) -> object:
        return "base" if (line, rounds) == ("a", 0) else StageEnd(stage=f"{line}{rounds}")

    last = len(stages) // 3
    assert list(stages) == ["b0", "c0", *(f"{line}{k}" for k in range(1, last + 1) for line in "abc")]
    assert last > 3 and all(stages[first].init == recipe.base.model for first in ("b0", "c0"))
    for k in range(1, last + 1):
        for line in "abc":
            stage = stages[f"{line}{k}"]
            assert stage.init == model(line, k - 1), stage.name
            assert stage.verifier.voters == tuple(model(o, k - 1) for o in "abc" if o != line), stage.name
            assert stage.curriculum == stages[f"a{k}"].curriculum, stage.name
            assert (stage.gate == "never") == (line != "a"), stage.name


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_the_schema_refuses_what_the_loader_refuses() -> None:
    good = read(RECIPES[0])
    assert errors({**good, "sed": 1})
    assert errors({**good, "task": {"type": "addtion"}})
    assert errors({**good, "task": {"base_level": 4}})
    assert errors({key: value for key, value in good.items() if key != "generations"})


def flat(value: Any, place: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings and lists by their dotted places."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        return {place: value}
    return {key: leaf for name, part in items for key, leaf in flat(part, f"{place}.{name}".strip(".")).items()}


def test_the_arms_of_the_distillation_recipe_are_planned_to_cost_alike() -> None:
    recipe = load_recipe(FOLDER / "distill.yaml")
    arms: dict[str, float] = {}
    for generation in make_plan(recipe, lineage="x", workers=2).generations:
        if (name := recipe.stage_name(generation.number)) and name not in ("teacher", "student"):
            arm = name.removesuffix("-first")
            arms[arm] = arms.get(arm, 0.0) + generation.flops["generate"] + generation.flops["train"]
    assert arms.keys() == {"gold", "seqkd", "forward-kl", "on-policy", "rl"}
    assert max(arms.values()) < 1.15 * min(arms.values())


@pytest.mark.parametrize(
    ("control", "beside", "changed"),
    [
        ("control-random-reward", "quickstart", ("verifier", "evaluation.verifier")),
        ("control-replace", "quickstart", ("generations.steps.0.distillation.data",)),
        ("control-no-distillation", "quickstart", ("generations.steps.0.distillation",)),
    ],
)
def test_a_control_differs_from_its_recipe_in_what_it_is_there_to_show(
    control: str, beside: str, changed: tuple[str, ...]
) -> None:
    one, other = (flat(load_recipe(FOLDER / f"{name}.yaml").identity()) for name in (control, beside))
    missing = object()
    differing = {key for key in {*one, *other} if one.get(key, missing) != other.get(key, missing)}
    assert {next((c for c in changed if key.startswith(c)), key) for key in differing} == set(changed)
