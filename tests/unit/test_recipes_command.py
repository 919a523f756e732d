"""`bootstrap recipes` lists what comes along, and says so where nothing does."""

import json
import os
from pathlib import Path

import pytest

from bootstrap.cli import recipes
from bootstrap.cli.main import main
from bootstrap.config.load import load_recipe

SOURCE = recipes.SOURCE


def test_every_recipe_of_the_source_is_listed_with_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["recipes", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {Path(row["recipe"]).name for row in rows} == {path.name for path in (SOURCE / "pipelines").glob("*.yaml")}
    assert all(row["shows"] for row in rows)
    [quickstart] = [row for row in rows if row["recipe"].endswith("quickstart.yaml")]
    assert quickstart["shows"] == load_recipe(SOURCE / "pipelines/quickstart.yaml").description
    assert quickstart["lacks"] == ""


def test_a_recipe_whose_model_is_not_there_says_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("# Mine.\nname: mine\nbase: {model: {type: folder, path: ../models/none}}\n")
    assert recipes.told(path) == (path, "Mine.", ["../models/none"])


def test_the_current_folders_recipes_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").mkdir()
    os.mkfifo(tmp_path / "pipelines" / "waits.yaml")
    assert recipes.recipes_folder() == SOURCE / "pipelines", "a folder without recipes is none, and a pipe no recipe"
    (tmp_path / "pipelines" / "own.yaml").write_text("name: own\n")
    assert recipes.recipes_folder() == tmp_path / "pipelines"


def test_an_installation_without_the_source_says_that_it_brings_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recipes, "SOURCE", tmp_path / "site-packages")
    assert main(["recipes"]) == 2
    assert "this installation brings none: a wheel holds the program alone" in capsys.readouterr().err
