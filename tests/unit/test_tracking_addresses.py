"""Where commands publish and look is a person's word: a flag, the environment, an earlier run; never a store's."""

import json
import shlex
import shutil
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.lineage_factory import PROMOTED, SETTINGS, build

from bootstrap.canonical import canonical_json
from bootstrap.cli import report, sync, ui
from bootstrap.cli.main import main
from bootstrap.cli.remembered import remember_recipe
from bootstrap.cli.target import (
    Chosen,
    Target,
    agree,
    as_last_run,
    chosen,
    recall,
    remember,
    unchosen,
    unheeded,
    without_credentials,
)
from bootstrap.config.load import load_recipe, require_own_addresses
from bootstrap.config.resources import Tracking
from bootstrap.errors import RecipeError, StoreCorrupt, TrackingError
from bootstrap.lineage import places, tracking
from bootstrap.store.lineage_store import LineageStore

THEIRS = "http://theirs.example:5000"


@pytest.fixture
def store(tmp_path: Path) -> LineageStore:
    build(tmp_path / "runs" / "addition", plan=(PROMOTED,))
    return LineageStore(tmp_path / "runs" / "addition")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of what this user has said, which is missing."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "bootstrap" / "tracking"


def says(store: LineageStore, uri: str, **settings: object) -> None:
    """Let a store name an address that nobody here has given."""
    (store.root / "tracking.json").write_text(json.dumps({"uri": uri, **settings}))


def own(store: LineageStore) -> str:
    return tracking.database_uri(store.root.parent / "mlflow.db")


def test_a_person_s_word_is_taken_in_one_order(store: LineageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(store).uri == own(store)
    remember(store, Tracking(experiment="mine", sample_rollouts=3), tracking_uri="http://mine:5000")
    assert chosen(store) == Chosen("http://mine:5000", "mine", 3)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://environment")
    assert chosen(store) == Chosen("http://environment", "mine", 3)
    assert chosen(store, "http://flag").uri == "http://flag"
    assert unheeded(store) is None


def test_what_is_remembered_has_no_credentials(store: LineageStore, state: Path) -> None:
    remember(store, Tracking(experiment="mine"), tracking_uri="http://me:secret@host:5000")
    assert chosen(store).uri == "http://host:5000" and chosen(store, "http://me:secret@host:5000").experiment == "mine"
    [here] = state.iterdir()
    said = json.loads((store.root / "tracking.json").read_bytes())
    assert json.loads(here.read_bytes()) == said | {"identity": store.header().digest}
    assert b"secret" not in here.read_bytes() and state.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("named", [THEIRS, "sqlite:////elsewhere/mlflow.db", "sqlite:///keys.db", "nonsense\x1b[2J"])
def test_a_store_decides_no_address_and_one_line_tells_the_one_that_it_names(store: LineageStore, named: str) -> None:
    says(store, named, experiment="production", sample_rollouts=9)
    assert chosen(store) == Chosen(own(store), None, Tracking().sample_rollouts)
    told = unheeded(store)
    assert told is not None and told.isprintable() and own(store) in told
    assert [*shlex.split(told)][-2] == "--tracking-uri" and "MLFLOW_TRACKING_URI" in told


def test_no_command_reaches_what_a_store_names(
    store: LineageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reached = list[str]()

    def unreachable(uri: str, **_: object) -> None:
        reached.append(uri)
        raise TrackingError("it is away")

    def stopped(uri: str, **_: object) -> None:
        reached.append(uri)
        raise KeyboardInterrupt

    for module in (sync, report):
        monkeypatch.setattr(module, "check_reachable", unreachable)
    monkeypatch.setattr(ui, "serve", stopped)
    handler = signal.getsignal(signal.SIGTERM)
    words = (["lineage", "--sync"], ["report", "addition", "--publish"], ["ui", "--port", "0"])
    ended = list[int]()
    for command, named in zip(words, (f"sqlite:///{tmp_path}/elsewhere.db", THEIRS, THEIRS), strict=True):
        says(store, named)
        ended.append(main([*command, "--store", str(store.root.parent)]))
        assert capsys.readouterr().err.count(f"published to {named}.") == 1, command
    signal.signal(signal.SIGTERM, handler)
    assert ended[0] == 2 and reached == [own(store)] * 2
    assert not (tmp_path / "elsewhere.db").exists()


def test_an_address_that_the_store_names_too_is_agreed_to_once(
    store: LineageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(store, THEIRS, experiment="production", sample_rollouts=9)
    agree(store, chosen(store, "http://other"))
    assert chosen(store).uri == own(store)
    found = chosen(store, "http://me:secret@theirs.example:5000")
    assert found.uri == "http://me:secret@theirs.example:5000"
    agree(store, found._replace(experiment="production", sample_rollouts=9))
    assert chosen(store) == Chosen(THEIRS, "production", 9) and unchosen(store) == []
    # Another address that the store names later is another question.
    says(store, "http://later")
    told = unheeded(store)
    assert chosen(store).uri == THEIRS and told is not None and f"this is about {THEIRS}" in told


def test_on_a_server_of_mine_a_store_decides_no_experiment(
    store: LineageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(store, THEIRS, experiment="production", sample_rollouts=9)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", THEIRS)
    assert chosen(store) == Chosen(THEIRS, None, Tracking().sample_rollouts)
    [line] = unchosen(store)
    assert "this is about bootstrap/addition" in line
    assert [*shlex.split(line)][-4:] == ["--experiment", "production", "--tracking-uri", THEIRS]
    says(store, "sqlite:///other.db", experiment="production", sample_rollouts=9)
    inside = tracking.database_uri(store.root.parent / "other.db")
    assert chosen(store, inside) == Chosen(inside, "production", 9)


def test_the_environment_goes_before_the_last_run_and_says_so(
    store: LineageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(store, Tracking(experiment="mine"), tracking_uri="http://mine:5000")
    assert unchosen(store) == [] and "--tracking-uri" not in sync.sync_later(store, tracking_uri="http://mine:5000")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://environment")
    [line] = unchosen(store)
    assert "published to http://mine:5000, experiment mine. MLFLOW_TRACKING_URI goes first" in line
    assert shlex.split(line)[-1] == "http://mine:5000" and unchosen(store, "http://flag") == []
    assert sync.sync_later(store, tracking_uri="http://mine:5000").endswith("--tracking-uri http://mine:5000")


def test_sync_agrees_where_it_has_published(store: LineageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    says(store, THEIRS)
    monkeypatch.setattr(sync, "check_reachable", lambda _: None)
    # The modules themselves would load MLflow.
    for name in ("publisher", "live"):
        done = SimpleNamespace(publish=lambda *_, **__: None, settle=lambda *_, **__: None)
        monkeypatch.setitem(sys.modules, f"bootstrap.lineage.{name}", done)
    sync.sync_lineage(store, tracking_uri=THEIRS, experiment="mine", sample_rollouts=None)
    assert chosen(store).uri == THEIRS and chosen(store).experiment == "mine"


def test_a_copy_of_a_store_is_another_one(store: LineageStore, tmp_path: Path) -> None:
    remember(store, Tracking(), tracking_uri="http://mine:5000")
    copy = LineageStore(Path(shutil.copytree(store.root.parent, tmp_path / "copy")) / "addition")
    assert chosen(copy).uri == own(copy) and unheeded(copy) is not None
    (tmp_path / "link").symlink_to(store.root.parent)
    assert chosen(LineageStore(tmp_path / "link" / "addition")).uri == "http://mine:5000"


def test_another_lineage_in_the_same_place_goes_its_own_way(store: LineageStore) -> None:
    remember(store, Tracking(), tracking_uri="http://mine:5000")
    shutil.rmtree(store.root)
    store.open("addition", identity=SETTINGS.identity())
    assert chosen(store).uri == "http://mine:5000"
    shutil.rmtree(store.root)
    store.open("addition", identity=SETTINGS.model_copy(update={"seed": 99}).identity())
    assert chosen(store).uri == own(store)


def test_without_a_folder_of_the_user_s_own_a_run_s_word_holds_for_that_run(
    store: LineageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    remember(store, Tracking(), tracking_uri="http://mine:5000")
    assert chosen(store).uri == own(store) and recall(store) == Target(uri="http://mine:5000")


def test_a_folder_that_others_may_write_says_nothing(store: LineageStore, state: Path) -> None:
    remember(store, Tracking(), tracking_uri="http://mine:5000")
    state.chmod(0o777)
    assert chosen(store).uri == own(store)


def test_a_damaged_word_of_the_user_s_is_told_with_its_file(store: LineageStore, state: Path) -> None:
    remember(store, Tracking(), tracking_uri="http://mine:5000")
    [here] = state.iterdir()
    here.write_text("{")
    with pytest.raises(StoreCorrupt, match=f"{here} is corrupt"):
        chosen(store)


def test_a_run_by_a_remembered_recipe_goes_by_the_same_order(
    store: LineageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(store, THEIRS)
    assert as_last_run(store, Tracking(experiment="new")) == Tracking(uri=own(store), experiment="new")
    last = Tracking(uri="http://last", experiment="mine", sample_rollouts=3)
    remember(store, last, tracking_uri="http://last")
    assert as_last_run(store, Tracking()) == last
    assert as_last_run(store, Tracking(uri=None, sample_rollouts=5)) == Tracking(experiment="mine", sample_rollouts=5)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://environment")
    assert as_last_run(store, Tracking()) == last.model_copy(update={"uri": "http://environment"})


def test_a_remembered_recipe_names_no_address_of_its_own(store: LineageStore, tmp_path: Path) -> None:
    remember_recipe(store, SETTINGS, folder=tmp_path)
    path = store.root / "recipe.json"
    data = json.loads(path.read_bytes())
    data["recipe"] |= {"tracking": {"uri": THEIRS}, "notify": {"url": THEIRS}}
    path.write_bytes(canonical_json(data))
    recipe = load_recipe(path)
    assert recipe.tracking == Tracking() and not recipe.tracking.model_fields_set and recipe.notify is None
    assert load_recipe(path, ["tracking.uri=http://flag"]).tracking.uri == "http://flag"


def test_a_recipe_file_that_lies_in_a_store_sends_to_no_address_of_its_own(
    store: LineageStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = json.loads(SETTINGS.model_dump_json()) | {"tracking": {"uri": THEIRS}, "notify": {"url": THEIRS}}
    within, outside = store.root.parent / "own.yaml", tmp_path / "mine" / "own.yaml"
    outside.parent.mkdir()
    for path in (within, outside):
        path.write_text(json.dumps(told))
    for command in (
        ["run", "--local", "--store", str(tmp_path / "new")],
        ["submit", "--address", "http://127.0.0.1:9"],
    ):
        assert main([*command, str(within)]) == 2
        assert "has tracking.uri and notify.url. Read it first" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    require_own_addresses(load_recipe(outside), [], path=outside)
    overrides = ["tracking.uri=http://flag", "notify=null"]
    require_own_addresses(load_recipe(within, overrides), overrides, path=within)
    with pytest.raises(RecipeError, match=r"and has tracking\.uri\. "):
        require_own_addresses(load_recipe(within, ["notify=null"]), ["notify=null"], path=within)


@pytest.mark.parametrize("target", ["elsewhere.db", "missing.db"])
def test_a_link_in_the_place_of_a_database_is_not_followed(store: LineageStore, tmp_path: Path, target: str) -> None:
    (tmp_path / "elsewhere.db").touch()
    (store.root.parent / "mlflow.db").symlink_to(tmp_path / target)
    with pytest.raises(TrackingError, match=f"is a link to {tmp_path / target}.*name that database itself"):
        places.follow(chosen(store).uri)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sqlite:////a@b/mlflow.db", "sqlite:////a@b/mlflow.db"),
        ("http://u:p@ss?#@host:1/x", "http://host:1/x"),
        ("postgresql+psycopg2://u:p@h/db?password=x&sslmode=require", "postgresql+psycopg2://h/db?sslmode=require"),
        ("mysql://h/db?user=x", "mysql://h/db"),
        ("postgresql://u:p/w@h/db", "postgresql://h/db"),
    ],
)
def test_credentials_are_cut_out_of_an_address(uri: str, expected: str) -> None:
    assert without_credentials(uri) == expected
