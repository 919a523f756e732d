"""No command imports what a stored lineage names, unless it is named on the same command line."""

import copy
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.commands import CALLS, ELSEWHERE, SERVERS, WITHOUT_A_STORE, called, names
from support.lineage_factory import PROMOTED, build, grow

from bootstrap import Lineage, plugins
from bootstrap.canonical import sha256
from bootstrap.cli import chat
from bootstrap.cli.main import main
from bootstrap.cli.remembered import remember_recipe
from bootstrap.cluster.actors import Failure, VerifierActor
from bootstrap.config.load import load_recipe
from bootstrap.config.recipe import Recipe
from bootstrap.config.verifiers import PluginVerifier
from bootstrap.errors import RecipeError
from bootstrap.plugin_files import files_of
from bootstrap.store.lineage_store import LineageStore

# `chat` loads it with what it imports.
pytestmark = pytest.mark.torch

SHORT = {"alphabet": "123=", "max_prompt_length": 8, "max_answer_length": 8}
TASK = {"type": "plugin", "uses": "trap:Task", "levels": 9, **SHORT}
VERIFIER = {"type": "plugin", "uses": "trap:verify"}
RUBRIC = {"type": "rubric", "components": [{"name": "one", "verifier": VERIFIER}]}
STEP = {"type": "plugin", "uses": "trap:step", "rounds": 2}
RL = {"type": "rl", "rounds": 2, "distillation": None}
ALGORITHM = {**RL, "algorithm": {"type": "plugin", "uses": "trap:advantages"}}
KINDS: dict[str, dict[str, Any]] = {
    "verifier": {"verifier": VERIFIER},
    "part of a verifier": {"verifier": RUBRIC},
    "held-out verifier": {"evaluation": {"verifier": VERIFIER}},
    "task": {"task": TASK},
    "task of the panel": {"evaluation": {"panel": {"other": {"task": TASK}}}},
    "step": {"generations": {"count": 2, "steps": [STEP]}},
    "algorithm": {"generations": {"count": 2, "steps": [ALGORITHM]}},
}
PLAIN = {
    "name": "trapped",
    "seed": 7,
    "task": {"type": "addition", "base_level": 4},
    "base": {"steps": [{"type": "sft", "updates": 6}]},
    "generations": {"count": 2, "steps": [RL]},
}
EVERYTHING = {
    "task": TASK,
    "verifier": RUBRIC,
    "evaluation": {"verifier": VERIFIER, "panel": {"other": {"task": TASK}}},
    "generations": {"count": 2, "steps": [ALGORITHM, STEP]},
}
PINNED = {"plan", "fork", "verifier check"}
"""Commands that pin a recipe's tasks, steps and algorithms by their source."""
ASKS = {
    "verifier": {"rescore", "verifier check"},
    "part of a verifier": {"rescore", "verifier check"},
    "held-out verifier": {"rescore"},
    "task": {"rescore", *PINNED},
    "task of the panel": {"rescore", *PINNED},
    "step": PINNED,
    "algorithm": PINNED,
}
"""Kind -> commands that would import it, beside those that would import any."""
NAMED = ("trap:Task", "trap:verify", "trap:step", "trap:advantages")
TRUSTING = [word for name in NAMED for word in (plugins.TRUST, name)]


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a file that appears when the module `trap` of the working folder is imported."""
    folder, before = tmp_path / "download", list(sys.path)
    folder.mkdir()
    marker = folder / "imported"
    (folder / "trap.py").write_text(
        f"open({str(marker)!r}, 'w').close()\n"
        "class Task: ...\n"
        "def verify(text, *, reference, prompt): return True\n"
        "def step(groups, *, tools): return []\n"
        "def advantages(rewards, *, lengths): return rewards\n"
    )
    monkeypatch.chdir(folder)
    # As if it were started by `python -m` from there.
    monkeypatch.syspath_prepend(folder)
    yield marker
    sys.modules.pop("trap", None)
    sys.path[:] = before


def stored(store: Path, changed: dict[str, Any]) -> Recipe:
    """Grow a lineage in the folder `store` whose header and remembered recipe name what is `changed`."""
    recipe = Recipe.model_validate({**copy.deepcopy(PLAIN), **changed})
    lineage = LineageStore(store / "trapped")
    lineage.open("trapped", identity=recipe.identity())
    for number in range(2):
        grow(lineage, outcome=PROMOTED if number else "base", name="trapped", settings=recipe)
    remember_recipe(lineage, recipe, folder=store)
    return recipe


def _no_model(*_: object) -> None:
    raise RecipeError("it has no model")


def test_every_command_is_called_or_said_to_read_no_store() -> None:
    assert names() == CALLS.keys() | SERVERS | ELSEWHERE | WITHOUT_A_STORE


def test_no_command_imports_what_a_store_names(trap: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its judge is made by then, and the models of this store are none.
    monkeypatch.setattr(chat.Respondent, "of", _no_model)
    store = tmp_path / "download" / "runs"
    stored(store, EVERYTHING)
    build(store / "addition", plan=(PROMOTED,))
    for command, calls in CALLS.items():
        for words in calls:
            code, told = called(command, words, store=store, lineage="trapped", out=tmp_path / "out")
            assert not trap.exists(), f"{command} imported it: {told}"
            assert code != 1, f"{command}: {told}"
    assert "trap" not in sys.modules


@pytest.mark.parametrize("kind", KINDS)
def test_what_would_import_is_refused_with_file_and_remedy(trap: Path, tmp_path: Path, kind: str) -> None:
    recipe = stored(tmp_path / "runs", KINDS[kind])
    [name] = {*plugins.plugins_of(recipe.model_dump(mode="json"))}
    for command in sorted(ASKS[kind] | {"run", "submit", "reproduce"}):
        [*_, words] = CALLS[command]
        code, told = called(command, words, store=tmp_path / "runs", lineage="trapped", out=tmp_path / "out")
        assert not trap.exists(), command
        assert code == 2 and str(trap.with_name("trap.py")) in told and f"{plugins.TRUST} {name}" in told, told


@pytest.mark.parametrize("command", ["plan", "rescore", "verifier check"])
def test_what_is_named_is_told_with_its_file_and_hash_and_imported(trap: Path, tmp_path: Path, command: str) -> None:
    stored(tmp_path / "runs", EVERYTHING)
    [*_, words] = CALLS[command]
    _, told = called(command, [*words, *TRUSTING], store=tmp_path / "runs", lineage="trapped", out=tmp_path / "out")
    file = trap.with_name("trap.py")
    assert trap.exists()
    assert told.startswith(f"trusted: trap:Task of {file}, SHA-256 {sha256(file.read_bytes())}\n")
    # The next command begins with nothing again.
    assert called(command, words, store=tmp_path / "runs", lineage="trapped", out=tmp_path / "out")[0] == 2


def test_a_word_for_one_function_is_none_for_another_of_its_module(trap: Path, tmp_path: Path) -> None:
    stored(tmp_path / "runs", KINDS["verifier"])
    words = [*CALLS["rescore"][0], plugins.TRUST, "trap:step"]
    code, told = called("rescore", words, store=tmp_path / "runs", lineage="trapped")
    assert code == 2 and "trap:verify" in told and not trap.exists()


def test_a_package_is_not_imported_to_look_for_its_module(trap: Path) -> None:
    package = trap.with_name("pack")
    package.mkdir()
    (package / "__init__.py").write_text(trap.with_name("trap.py").read_text())
    (package / "inner.py").touch()
    assert files_of("pack.inner:verify") == [package / "__init__.py", package / "inner.py"]
    assert files_of("pack.other:verify") == []
    assert not trap.exists()


def test_a_recipe_file_of_a_person_s_own_speaks_for_its_plug_ins(trap: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "own.yaml"
    recipe.write_text(str({**PLAIN, **KINDS["step"]}).replace("None", "null"))
    assert load_recipe(recipe).generations.steps[0].source
    assert trap.exists()


@pytest.mark.parametrize("place", ["{store}/own.yaml", "{store}/trapped/deep/own.yaml", "link"])
def test_a_recipe_file_that_lies_in_a_store_does_not(trap: Path, tmp_path: Path, place: str) -> None:
    stored(tmp_path / "runs", {})
    real = Path(place.format(store=tmp_path / "runs") if place != "link" else tmp_path / "runs" / "own.yaml")
    real.parent.mkdir(parents=True, exist_ok=True)
    real.write_text(str({**PLAIN, **KINDS["step"]}).replace("None", "null"))
    recipe = real
    if place == "link":
        recipe = tmp_path / "outside.yaml"
        recipe.symlink_to(real)
    with plugins.trusting_only(), pytest.raises(RecipeError, match=plugins.TRUST):
        load_recipe(recipe)
    assert not trap.exists()


def test_another_process_begins_without_trust(trap: Path) -> None:
    with plugins.trusting_only():
        found = VerifierActor("worker").prepare(PluginVerifier(uses="trap:verify"))
    assert isinstance(found, Failure) and isinstance(found.error, plugins.UntrustedPlugin)
    assert not trap.exists()


def test_from_python_a_lineage_s_plug_ins_are_named_too(trap: Path, tmp_path: Path) -> None:
    stored(tmp_path / "runs", KINDS["step"])
    lineage = Lineage(tmp_path / "runs", "trapped")
    with pytest.raises(plugins.UntrustedPlugin, match="trap:step"):
        lineage.reproduce("gen-1", trust_plugins=["trap:verify"])
    assert not trap.exists()


def test_modules_of_the_working_folder_hide_no_library(tmp_path: Path) -> None:
    build(tmp_path / "runs" / "addition", plan=())
    marker = tmp_path / "imported"
    for library in ("rich", "yaml", "typer", "pydantic", "pyarrow"):
        (tmp_path / f"{library}.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    source = Path(plugins.__file__).parents[1]
    found = subprocess.run(
        [sys.executable, "-m", "bootstrap", "lineage"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert found.returncode == 0, found.stderr
    assert "lineage addition" in found.stdout and not marker.exists()


class Listener(http.server.BaseHTTPRequestHandler):
    """Notes what arrives, and answers nothing of use."""

    def do_POST(self) -> None:
        self.server.heard.append(self.headers.get("Authorization"))  # type: ignore[attr-defined]
        self.send_error(400)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def heard() -> Iterator[tuple[str, list[str]]]:
    """A server's address, and what it was sent as `Authorization`."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    server.heard = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1", server.heard  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


def test_no_answer_and_no_key_goes_to_a_server_that_a_stored_recipe_alone_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], heard: tuple[str, list[str]]
) -> None:
    model = {"type": "endpoint", "url": heard[0], "model": "m", "key_variable": "SECRET", "retries": 0}
    judge = {"type": "judge", "model": model, "rubric": "It is right."}
    store = tmp_path / "theirs"
    stored(store, {"verifier": judge})
    monkeypatch.setenv("SECRET", "top")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    remembered = store / "trapped" / "recipe.json"
    for command in (["rescore", "--store", str(store)], ["verifier", "check", "--recipe", str(remembered)]):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert f"{heard[0]} with the key in SECRET" in said and "--recipe" in said
    assert not heard[1]
    own = tmp_path / "mine" / "recipe.json"
    own.parent.mkdir()
    shutil.copy(remembered, own)
    assert main(["verifier", "check", "--recipe", str(own)]) == 4
    assert set(heard[1]) == {"Bearer top"}
