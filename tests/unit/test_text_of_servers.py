"""What servers, workers and models say reaches terminals escaped: commands that test_foreign_text.py cannot walk."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest
from support import lineage_factory, spoiled
from support.commands import CALLS, ELSEWHERE, ONE, REMEMBERED, SERVERS, WITHOUT_A_STORE, names
from support.hostile import EVIL, FORGED
from support.job_server import ADDRESS, Several, job, serve
from support.rollouts import rollout

from bootstrap import local_server
from bootstrap.cli import chat, follow, output, reproduce, run, ui
from bootstrap.cli.main import main
from bootstrap.errors import RecipeError, WorkerError
from bootstrap.lineage.live_state import Snapshot
from bootstrap.lineage.watched import Look

# `chat` loads it with what it imports.
pytestmark = pytest.mark.torch

RUN = "0" * 32


class Hostile(Several):
    """A job server whose every text attacks terminals."""

    def get_job_logs(self, submission_id: str) -> str:
        return f"at work{EVIL}\n"

    def stop_job(self, submission_id: str) -> bool:
        raise RuntimeError(f"refused{EVIL}")


class Ended:
    """A server that has ended by itself, and said why."""

    url = "http://127.0.0.1:1"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def wait(self) -> None: ...

    def tail(self) -> str:
        return f"it said {EVIL}"


def told_by_jobs(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    known = dict.fromkeys(("bootstrap.lineage", "bootstrap.store", "bootstrap.recipe"), EVIL)
    states = [
        job(name, status=status, metadata=known, message=EVIL)
        for status, name in (("RUNNING", "x"), ("FAILED", f"y{EVIL}"))
    ]
    serve(monkeypatch, Hostile(*states))
    main([*words, "--address", ADDRESS])


def told_by_workers(monkeypatch: pytest.MonkeyPatch, store: Path, command: str) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise WorkerError(f"a worker said {EVIL}")

    monkeypatch.setattr(run, "make_roles", fail)
    monkeypatch.setattr(reproduce, "make_roles", fail)
    if command == "run":
        max((store / spoiled.LINEAGE / "ledger").iterdir()).unlink()
    words = [word.format(store=store, lineage=spoiled.LINEAGE) for word in CALLS[command][0]]
    assert main([command, *words]) == 5


def told_by_a_model(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    answers = [rollout("e.greedy.l1.p0.k0", text=f"2{EVIL}", prompt_text="1+1=")]
    model = SimpleNamespace(
        name=f"gen-1{EVIL}",
        how=SimpleNamespace(form=EVIL, alphabet=EVIL, end=EVIL, stops=[EVIL]),
        pool=SimpleNamespace(close=lambda: None),
        answer=lambda *_, **__: answers,
        unknown=lambda _: [EVIL],
    )
    monkeypatch.setattr(chat.Respondent, "of", lambda *_: model)
    one = [word.format(store=store, lineage=spoiled.LINEAGE) for word in ONE]
    assert main(["chat", "champion", "--prompt", f"1+1={EVIL}", *one]) == 0


def told_by_a_server(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    monkeypatch.setattr(local_server, "start", lambda *_, **__: Ended())
    words = [word.format(store=store, lineage=spoiled.LINEAGE) for word in SERVERS["serve"][0]]
    assert main(["serve", *words]) == 5


def told_by_names(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ui, "_serve_mlflow", stop)
    lineage_factory.build(store / f"x{EVIL}".replace("/", "").replace("\0", ""), plan=())
    for command in ("ui --port 0", "lineage", "verify", "gc"):
        assert main([*command.split(), "--store", str(store)]) == 0


def told_by_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    def at(beat: int, **more: str) -> Look:
        facts = {"lineage": EVIL, "generation": 1, "last": 3, "stage": EVIL, "done": 1, "total": 2, "committed": 1}
        snapshot = Snapshot.model_validate({**facts, "beat": beat, **more})
        return Look(snapshot=snapshot, decisions=[(EVIL, EVIL, EVIL)], is_over=False)

    looks: Iterator[Look] = iter([at(1), at(2, ended=EVIL)])
    monkeypatch.setattr(follow, "WatchedRun", lambda *_, **__: SimpleNamespace(look=lambda: next(looks)))
    follow.follow(
        RUN, tracking_uri="sqlite:////x", store=Path("x"), every=3, clock=lambda: 0.0, sleep=lambda seconds: None
    )


def told_by_a_traceback(store: Path) -> None:
    with pytest.raises(RecipeError) as raised:
        main(["show", f"gen-1{EVIL}", "--store", str(store), "--lineage", spoiled.LINEAGE, "--debug"])
    assert raised.tb is not None
    output._print_traceback(raised.type, raised.value, raised.tb)


WAYS: dict[str, Callable[[pytest.MonkeyPatch, Path], None]] = {
    "jobs": lambda patch, store: told_by_jobs(patch, "jobs"),
    "attach": lambda patch, store: told_by_jobs(patch, "attach", "x"),
    "stop": lambda patch, store: told_by_jobs(patch, "stop", "x"),
    "submit": lambda patch, store: told_by_jobs(
        patch, "submit", REMEMBERED.format(store=store, lineage=spoiled.LINEAGE), "--submission-id", "x"
    ),
    "run": lambda patch, store: told_by_workers(patch, store, "run"),
    "reproduce": lambda patch, store: told_by_workers(patch, store, "reproduce"),
    "chat": told_by_a_model,
    "serve": told_by_a_server,
    "ui": told_by_names,
    "watch": lambda patch, store: told_by_mlflow(patch),
    "--debug": lambda patch, store: told_by_a_traceback(store),
}
LOGS = {"attach"}
"""Commands that print lines of a log as they are, and say so."""


def test_every_command_stands_here_or_in_the_walk_over_a_hostile_store() -> None:
    elsewhere = WAYS.keys() - {"--debug"}
    assert names() == CALLS.keys() | WITHOUT_A_STORE | elsewhere and SERVERS.keys() | ELSEWHERE <= elsewhere


@pytest.mark.parametrize("way", WAYS)
def test_no_text_acts_on_a_terminal(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    spoiled.lineage(tmp_path / "store")
    WAYS[way](monkeypatch, tmp_path / "store")
    said = capsys.readouterr()
    told = said.out + said.err
    assert "alert(1)" in told, "it shows nothing of what is hostile"
    assert not {character for character in told if not character.isprintable() and character != "\n"}, told
    assert way in LOGS or not re.search(rf"^{FORGED}", told, re.MULTILINE), told
