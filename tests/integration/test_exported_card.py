"""The exported card tells how to ask the model, and its program prints what the evaluation recorded."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import tiny
from support.pretrained import CHARACTERS, small_folder

from bootstrap.cli.export import export_generation
from bootstrap.cli.remembered import remember_recipe
from bootstrap.config.recipe import Recipe
from bootstrap.store.lineage_store import LineageStore

pytestmark = [pytest.mark.torch, pytest.mark.training]


def program_of(card: str) -> str:
    [found] = re.findall(r"^(`{3,})python\n(.*?)\n\1$", card, re.MULTILINE | re.DOTALL)
    return found[1]


def answer_of(card: str) -> str:
    [found] = re.findall(r"which is (?:right|wrong):\n\n(`{3,})text\n(.*?)\n?\1$", card, re.MULTILINE | re.DOTALL)
    return found[1]


def printed(folder: Path) -> str:
    """Return what the card's program prints, given in the model's folder as a person would."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    program = program_of((folder / "README.md").read_text())
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.removesuffix("\n")


def exported(recipe: Recipe, tmp_path: Path) -> Path:
    root = tmp_path / "runs" / "tiny"
    tiny.grow(recipe, root)
    store = LineageStore(root)
    remember_recipe(store, recipe, folder=tmp_path)
    export_generation(store, "last", tmp_path / "out")
    return tmp_path / "out"


def test_the_program_of_a_model_from_scratch_prints_its_recorded_answer(tmp_path: Path) -> None:
    folder = exported(tiny.recipe(count=0), tmp_path)
    card = (folder / "README.md").read_text()
    assert "```text\n<bos>{prompt}\n```" in card
    assert "```text\na b c =\n```" in card
    assert "An answer ends with `<eos>`." in card
    assert printed(folder) == answer_of(card) != ""


def test_the_program_of_a_model_with_a_chat_template_asks_through_it(tmp_path: Path) -> None:
    place = tmp_path / "model"
    place.mkdir()
    for name, data in small_folder(chat=True).items():
        (place / name).write_bytes(data)
    model = {"type": "folder", "path": str(place), "system": "abc", "prefill": "a", "stop": ["bb"]}
    task = {"type": "copy", "alphabet": "abc", "base_level": 4, "heldout_fraction": 0.5}
    assert set("abc=") <= set(CHARACTERS)
    recipe = tiny.recipe(count=0, base={"model": model, "steps": []}, task=task)
    folder = exported(recipe, tmp_path)
    card = (folder / "README.md").read_text()
    assert "S:abc\nU:{prompt}\nA:a" in card
    assert "'bb'" in card
    assert printed(folder) == answer_of(card)
