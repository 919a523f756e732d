"""What a new lineage may be called, for every command that makes one."""

from pathlib import Path

import pytest
from support.commands import called
from support.lineage_factory import PROMOTED, build

from bootstrap.errors import RecipeError
from bootstrap.store.names import check_name

REFUSED = {
    "it has 65 characters": ["x" * 65],
    "character that a name may not have": [
        *("", ".", "..", "a/b", "/abs", ".hidden", "-rf", "--store", "me@home", "two words", "a\nb", "a\x1b[31m"),
        *("a\x00b", "\u202eabc", "a|b", "<b>", "`id`", "\u0430ddition", ".reports", ".tmp-import-a"),
    ],
    "the store keeps something else": ["mlflow.db", "MLflow.DB", "mlflow.db-wal", "mlflow-artifacts"],
    "differs from 'addition' by case alone": ["Addition", "ADDITION"],
}
RECIPE = """\
name: mlflow-artifacts
task: {type: addition}
base: {steps: [{type: sft, updates: 6}]}
generations: {steps: [{type: rl}]}
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    build(tmp_path / "runs" / "addition", plan=(PROMOTED,))
    return tmp_path / "runs"


@pytest.mark.parametrize("why", REFUSED)
def test_a_name_that_would_harm_is_refused_with_the_remedy(store: Path, why: str) -> None:
    for name in REFUSED[why]:
        with pytest.raises(RecipeError, match=f"(?s){why}.*--lineage NAME") as refused:
            check_name(name, store)
        assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["run-2_b", "Run.2", "_x", "7", "größe", "addition", "addition2", "x" * 64])
def test_other_names_are_not(store: Path, name: str) -> None:
    assert check_name(name, store) == check_name(name, None) == name


def test_a_lineage_that_is_there_opens_by_the_name_that_it_has(store: Path) -> None:
    (store / "addition").rename(store / "an odd name, of old")
    assert check_name("an odd name, of old", store) == "an odd name, of old"
    code, told = called("show", ["champion", "--store", "{store}", "--lineage", "an odd name, of old"], store=store)
    assert code == 0, told


def test_every_command_that_makes_a_lineage_asks(store: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe").write_text(RECIPE)
    kept = {path.name for path in store.iterdir()}
    filled = {"store": store} | {name: tmp_path / name for name in ("recipe", "copy", "other")}
    where = ("--store", "{store}")
    assert called("export", ["{copy}", "--lineage", "addition", *where], **filled)[0] == 0
    (tmp_path / "other" / "Addition").mkdir(parents=True)
    for command, words in (
        ("run", ["{recipe}", "--local", *where]),
        ("run", ["{recipe}", "--local", "--lineage", "Addition", *where]),
        ("plan", ["{recipe}", "--lineage", "../up", *where]),
        ("fork", ["addition@gen-1", "mlflow.db", *where]),
        ("submit", ["{recipe}", "--address", "http://127.0.0.1:9", "--lineage=-x"]),
        ("import", ["{copy}", "--store", "{other}"]),
    ):
        code, told = called(command, words, **filled)
        assert (code, "cannot name a lineage" in told) == (2, True), (command, told)
    assert {path.name for path in store.iterdir()} == kept
