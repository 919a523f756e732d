"""What a person is told of a plug-in is what runs: its files, its neighbours, the text and not bytecode beside it."""

import importlib.metadata
import importlib.util
import os
import py_compile
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootstrap import plugin_files, plugins
from bootstrap.canonical import sha256
from bootstrap.cli.trust import trust
from bootstrap.errors import RecipeError

KIND = plugins.Kind(name="verifier", results="verdicts", written="verify(text)", error=RecipeError)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder: a plug-in, a neighbour that it imports and one that it does not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "told_plugin.py").write_text(
        "import told_helper\nimport told_pack.inner\n\n\ndef verify(text): return 1\n"
    )
    (tmp_path / "told_helper.py").write_text("WHO = 'text'\n")
    (tmp_path / "told_unread.py").write_text("raise SystemExit\n")
    (tmp_path / "told_pack").mkdir()
    (tmp_path / "told_pack" / "__init__.py").touch()
    (tmp_path / "told_pack" / "inner.py").touch()
    before = list(sys.path)
    with plugins.trusting_only():
        yield tmp_path
    sys.path[:] = before
    for name in [name for name in sys.modules if name.startswith("told_")]:
        del sys.modules[name]


def line(path: Path) -> str:
    return f"{path}, SHA-256 {sha256(path.read_bytes())}"


def test_the_neighbours_that_a_plug_in_loads_are_told_with_file_and_hash(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trust(["told_plugin:verify"])
    assert capsys.readouterr().err == f"trusted: told_plugin:verify of {line(here / 'told_plugin.py')}\n"
    assert KIND.find("told_plugin:verify")("") == 1
    loaded = (here / "told_helper.py", here / "told_pack" / "__init__.py", here / "told_pack" / "inner.py")
    assert capsys.readouterr().err == "".join(f"loaded with told_plugin:verify: {line(path)}\n" for path in loaded)
    KIND.find("told_plugin:verify")
    assert capsys.readouterr().err == "", "they are loaded once"


def test_the_packages_above_a_plug_in_are_told_before_they_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "told_pack" / "inner.py").write_text("def verify(text): return 1\n")
    trust(["told_pack.inner:verify"])
    told = capsys.readouterr().err
    assert line(here / "told_pack" / "__init__.py") in told and line(here / "told_pack" / "inner.py") in told
    assert not any(name.startswith("told_") for name in sys.modules)
    assert KIND.find("told_pack.inner:verify")("") == 1
    assert capsys.readouterr().err == "", "nothing else is loaded"


def test_those_of_a_plug_in_that_fails_are_told_too(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "told_plugin.py").write_text("import told_helper\nimport told_nowhere\n")
    trust(["told_plugin:verify"])
    with pytest.raises(RecipeError, match="told_nowhere"):
        KIND.find("told_plugin:verify")
    assert f"loaded with told_plugin:verify: {line(here / 'told_helper.py')}\n" in capsys.readouterr().err


def test_the_working_folder_is_no_place_of_modules_after_the_import(here: Path) -> None:
    before = list(sys.path)
    plugins.trust(["told_plugin:verify"])
    function = KIND.find("told_plugin:verify")
    whole = KIND.meaning(function, "told_plugin:verify")
    assert sys.path == before
    with pytest.raises(ImportError):
        __import__("told_unread")
    (here / "told_helper.py").write_text("WHO = 'other'\n")
    assert KIND.meaning(function, "told_plugin:verify") == whole, "the neighbour's constant is not used"


def test_a_neighbour_that_is_used_is_part_of_the_meaning_wherever_it_is_imported(here: Path) -> None:
    (here / "told_plugin.py").write_text("def verify(text):\n    from told_helper import WHO\n    return WHO\n")
    plugins.trust(["told_plugin:verify"])
    function = KIND.find("told_plugin:verify")
    before = KIND.meaning(function, "told_plugin:verify")
    (here / "told_helper.py").write_text("WHO = 'other'\n")
    assert KIND.meaning(function, "told_plugin:verify") != before


@pytest.mark.parametrize("name", ["told_helper", "told_pack/inner"])
def test_bytecode_that_came_along_is_not_run_in_the_place_of_the_text(here: Path, name: str) -> None:
    text, marker = here / f"{name}.py", here / "ran"
    before = text.read_bytes()
    hidden = f"open({str(marker)!r}, 'w').close()\n".encode()
    # Of the same length and time, as Python compares them.
    text.write_bytes(hidden)
    py_compile.compile(str(text))
    text.write_bytes(before.ljust(len(hidden), b"#"))
    seconds = int.from_bytes(Path(importlib.util.cache_from_source(str(text))).read_bytes()[8:12], "little")
    os.utime(text, (seconds, seconds))
    plugins.trust(["told_plugin:verify"])
    KIND.find("told_plugin:verify")
    assert not marker.exists()


def test_the_entry_point_that_is_told_is_the_one_that_runs(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offered = importlib.metadata.EntryPoints(
        importlib.metadata.EntryPoint(name="mine", value=f"{module}:verify", group=group)
        for module, group in [
            ("told_unread", "other.group"),
            ("told_helper", "bootstrap.tasks"),
            ("told_plugin", "bootstrap.verifiers"),
            ("told_pack", "bootstrap.verifiers"),
        ]
    )
    for module in (plugins, plugin_files):
        monkeypatch.setattr(module, "entry_points", lambda **named: offered.select(**named))
    with pytest.raises(plugins.UntrustedPlugin) as caught:
        KIND.find("mine")
    assert str(here / "told_plugin.py") in str(caught.value) and "told_helper" not in str(caught.value)
    # The word says no kind, so it holds for the task of this name too.
    trust(["mine"])
    told = [f"trusted: mine of {line(here / f'{name}.py')}\n" for name in ("told_helper", "told_plugin")]
    assert capsys.readouterr().err == "".join(told)
    assert KIND.find("mine").__module__ == "told_plugin"


def test_a_name_that_nothing_offers_stands_for_no_module(here: Path) -> None:
    assert plugin_files.files_of("told_plugin") == []
    with pytest.raises(RecipeError, match="there is no such module here"):
        trust(["told_plugin"])
