"""Every command that takes a generation takes it in the same forms, and addresses of one database are one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.lineage_factory import PROMOTED, build

from bootstrap.cli import stores
from bootstrap.cli.gc import kept_by
from bootstrap.cli.main import main
from bootstrap.cli.target import recall, remember
from bootstrap.config.resources import Tracking
from bootstrap.errors import RecipeError, StoreError
from bootstrap.lineage import tracking
from bootstrap.lineage.queries import find
from bootstrap.store.lineage_store import LineageStore

FORMS = {"gen-2": 2, "2": 2, "champion": 3, "last": 3, "base": 0, "@champion": 3, "GEN-1": 1}


@pytest.mark.parametrize("form", FORMS)
def test_a_name_is_read_alike_with_and_without_its_lineage(rich_store: Path, form: str) -> None:
    entries = LineageStore(rich_store / "addition").ledger.read()
    for lineage, name in (("addition", form), (None, f"addition@{form.removeprefix('@')}")):
        store, inside = stores.located(rich_store, lineage, name)
        assert (store.root.name, find(entries, inside).generation.number) == ("addition", FORMS[form])


@pytest.mark.parametrize("words", [("show",), ("serve",), ("chat",), ("export", "DIR"), ("fork", "new"), ("why",)])
def test_commands_refuse_the_same_names(
    rich_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    command, *more = words
    after = [str(tmp_path / "out") if word == "DIR" else word for word in more]
    refused = {
        "rich@gen-77": ("no generation is called 'gen-77'", 2),
        "ritch@gen-1": ("did you mean rich", 3),
        "rich": ("rich is a lineage; name a generation of it, for example rich@champion", 2),
        "gen-1": ("several lineages: addition, rich; name one (--lineage NAME, or NAME@gen-1", 3),
    }
    for name, (message, code) in refused.items():
        assert main([command, name, *after, "--store", str(rich_store)]) == code
        told = capsys.readouterr().err
        assert message in told and told.count("\n") == 1


def test_show_and_export_take_a_generation_of_any_lineage(
    rich_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "addition@2", "--store", str(rich_store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "gen-2"
    assert main(["export", "addition@last", str(tmp_path / "out"), "--store", str(rich_store)]) == 0
    told = json.loads((tmp_path / "out" / "generation.json").read_text())
    assert (told["lineage"], told["generation"]) == ("addition", 3)


def test_what_gc_keeps_may_name_the_lineage(rich_store: Path) -> None:
    store = LineageStore(rich_store / "rich")
    entries = store.ledger.read()
    assert kept_by("rich@gen-2,addition@gen-1,4", store, entries) == {2: "rich@gen-2", 4: "4"}
    with pytest.raises(RecipeError, match="holds no lineage 'ritch'"):
        kept_by("ritch@gen-2", store, entries)


@pytest.mark.parametrize(
    "spelling", ["sqlite:///{0}/mlflow.db", "sqlite+pysqlite:///{0}/mlflow.db", "sqlite:///{0}/other/../mlflow.db"]
)
def test_the_store_s_own_database_is_known_by_every_spelling(tmp_path: Path, spelling: str) -> None:
    build(tmp_path / "addition", plan=(PROMOTED,))
    (tmp_path / "other").mkdir()
    store = LineageStore(tmp_path / "addition")
    uri = tracking.resolve_tracking_uri(spelling.format(tmp_path), tmp_path)
    assert tracking.database_path(uri) is not None
    remember(store, Tracking(), tracking_uri=uri)
    found = recall(store)
    assert found is not None and found.uri is None


def test_a_database_with_a_driver_moves_with_the_store(tmp_path: Path) -> None:
    build(tmp_path / "addition", plan=(PROMOTED,))
    store, uri = LineageStore(tmp_path / "addition"), f"sqlite+pysqlcipher:///{tmp_path}/own.db"
    remember(store, Tracking(), tracking_uri=uri)
    assert json.loads((store.root / "tracking.json").read_text())["uri"] == "sqlite+pysqlcipher:///own.db"
    found = recall(store)
    assert found is not None and found.uri == uri
    assert tracking.resolve_tracking_uri("sqlite+pysqlcipher:///own.db", tmp_path).startswith("sqlite+pysqlcipher:////")


def test_an_unknown_lineage_is_named_before_a_generation(rich_store: Path) -> None:
    with pytest.raises(StoreError, match="did you mean rich"):
        stores.located(rich_store, "addition", "ritch@1")


INTERRUPTING = """
import signal, sys
class Interrupt:
    def find_spec(self, name, *_):
        if name == "bootstrap.cli.commands.questions":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from bootstrap.__main__ import main
sys.exit(main())
"""


def test_ctrl_c_while_the_command_loads_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTING, "why"], capture_output=True, text=True, cwd=tmp_path, timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (130, "stopped\n")
