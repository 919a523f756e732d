"""docs/questions.md shows every question with its output, and the lineages that it asks can be grown."""

import runpy
from pathlib import Path

import pytest

from bootstrap.config.load import load_recipe

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "examples" / "questions").glob("*.yaml"))
QUESTIONS = ("why", "diff", "samples", "trace", "taint", "contamination", "reproduce", "compare")


def shown() -> dict[str, str]:
    """Return command -> output of the page's blocks that `ask.py` can fill."""
    program = runpy.run_path(str(ROOT / "examples" / "questions" / "ask.py"))
    page = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
    blocks = {found[1].strip(): found[0] for found in program["BLOCK"].finditer(page)}
    return {command.removeprefix("$ "): block.split("\n", 2)[2] for command, block in blocks.items()}


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_is_shown_with_its_output(question: str) -> None:
    found = [output for command, output in shown().items() if command.split()[1] == question]
    assert found and all(len(output.splitlines()) > 2 for output in found), "run examples/questions/ask.py show"


def test_all_that_is_asked_lies_where_the_program_grows_it() -> None:
    store = runpy.run_path(str(ROOT / "examples" / "questions" / "ask.py"))["STORE"]
    assert all(command.split()[command.split().index("--store") + 1] == str(store) for command in shown())


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_recipes_of_the_page_load(path: Path) -> None:
    # The fork's base is another lineage's generation, which `bootstrap fork` fills in.
    assert load_recipe(path, check_folders=False).name == path.stem
