"""`bootstrap watch` prints what a run elsewhere does until it ends, and waits for nothing without a bound."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bootstrap.cli import follow
from bootstrap.cli.follow import FAILURES, SILENT_SECONDS, located
from bootstrap.cli.main import main
from bootstrap.errors import RecipeError, TrackingError, WaitTimeout
from bootstrap.lineage.live_state import Snapshot
from bootstrap.lineage.watched import Look

RUN = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
Decision = tuple[str, str, str]
FIRST: Decision = ("gen-0", "base", "generation 0: frontier 4")
SECOND: Decision = ("gen-1", "rejected", "rejected: level 5 fell\x1b[31m")


class Elsewhere:
    """Stands for MLflow: each look gives the next answer, and raises it if it is an error."""

    def __init__(self, answers: Iterator[Look | Exception]) -> None:
        self.answers, self.looks, self.now = answers, 0, 0.0

    def __call__(self, run_id: str, *, tracking_uri: str) -> "Elsewhere":
        assert (run_id, tracking_uri) == (RUN, "sqlite:////x")
        return self

    def look(self) -> Look:
        self.looks += 1
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def at(stage: str, done: int, *, beat: int, decisions: tuple[Decision, ...] = (FIRST,), **more: object) -> Look:
    facts = {"lineage": "a", "generation": 1, "last": 3, "stage": stage, "done": done, "total": 60, "committed": 1}
    return Look(
        snapshot=Snapshot.model_validate({**facts, "beat": beat, **more}), decisions=[*decisions], is_over=False
    )


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Elsewhere]:
    def begin(answers: Iterator[Look | Exception]) -> Elsewhere:
        found = Elsewhere(answers)
        monkeypatch.setattr(follow, "WatchedRun", found)
        follow.follow(
            RUN, tracking_uri="sqlite:////x", store=Path("x"), every=3, clock=lambda: found.now, sleep=found.sleep
        )
        return found

    return begin


def test_stages_rewards_and_decisions_are_printed_until_the_run_ends(
    watch: Callable[..., Elsewhere], capsys: pytest.CaptureFixture[str]
) -> None:
    figures = {"reward": 0.83, "tokens_per_second": 5230.0}
    both = (FIRST, SECOND)
    found = watch(
        iter(
            [
                at("train", 12, beat=1, metrics=figures),
                at("train", 13, beat=2, metrics=figures),
                at("evaluate", 30, beat=3),
                at("evaluate", 60, beat=4, committed=2, ended="the lineage has all its generations"),
                at("evaluate", 60, beat=4, committed=2, ended="the lineage has all its generations", decisions=both),
            ]
        )
    )
    assert capsys.readouterr().out.splitlines() == [
        "gen-0 base: generation 0: frontier 4",
        "generation 1/3 train 12/60: 5.23k tokens/s · reward 0.830",
        "generation 1/3 evaluate 30/60",
        r"gen-1 rejected: level 5 fell\x1b[31m",
        "ended: the lineage has all its generations",
    ]
    assert found.looks == 5


def test_decisions_from_long_before_are_not_told_again(
    watch: Callable[..., Elsewhere], capsys: pytest.CaptureFixture[str]
) -> None:
    many = tuple((f"gen-{number}", "promoted", "better") for number in range(50))
    watch(iter([at("train", 1, beat=1, ended="done", committed=50, decisions=many)]))
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "gen-47",
        "gen-48",
        "gen-49",
        "ended:",
    ]


def test_a_decision_that_never_comes_is_not_waited_for_without_end(
    watch: Callable[..., Elsewhere], capsys: pytest.CaptureFixture[str]
) -> None:
    found = watch(iter([at("train", 1, beat=1, ended="done", committed=2)] * 1000))
    assert capsys.readouterr().out.splitlines()[-1] == "ended: done"
    assert found.now <= follow.LAST_SECONDS + 3


def test_a_run_without_a_sign_is_given_up(watch: Callable[..., Elsewhere]) -> None:
    with pytest.raises(WaitTimeout, match=f"the run {RUN} has given no sign for 180 s"):
        watch(iter([at("train", 1, beat=1)] * 1000))


def test_a_beat_is_a_sign(watch: Callable[..., Elsewhere]) -> None:
    looks = int(2 * SILENT_SECONDS / 3)
    found = watch(iter([*(at("train", 1, beat=n) for n in range(looks)), at("train", 1, beat=looks, ended="done")]))
    assert found.now > 1.5 * SILENT_SECONDS


def test_a_server_that_is_away_for_a_while_is_borne_and_then_told(watch: Callable[..., Elsewhere]) -> None:
    away = [TrackingError("away")]
    watch(iter([*away * (FAILURES - 1), at("train", 1, beat=1), *away * (FAILURES - 1), at("", 1, beat=2, ended="x")]))
    with pytest.raises(TrackingError, match="away"):
        watch(iter(away * FAILURES))


def test_a_lineage_that_nobody_grows_is_over(
    watch: Callable[..., Elsewhere], capsys: pytest.CaptureFixture[str]
) -> None:
    found = watch(iter([Look(snapshot=None, decisions=[FIRST], is_over=True)] * 1000))
    assert "no run of the lineage is in progress: it has ended" in capsys.readouterr().out
    assert found.now < SILENT_SECONDS


def test_between_two_generations_nothing_is_running_and_the_watching_goes_on(
    watch: Callable[..., Elsewhere], capsys: pytest.CaptureFixture[str]
) -> None:
    gap = [Look(snapshot=None, decisions=[FIRST], is_over=True)] * int(follow.IDLE_SECONDS)
    watch(iter([at("train", 1, beat=1), *gap, at("train", 1, beat=2, ended="done")]))
    assert capsys.readouterr().out.splitlines()[-1] == "ended: done"


def test_ctrl_c_ends_the_watching_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(follow, "_follow", interrupted)
    assert main(["watch", RUN, "--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "the run goes on; the same command watches it again\n" and shown.err == ""


def test_a_run_is_named_by_its_id_or_by_the_address_of_its_page(tmp_path: Path) -> None:
    own = f"sqlite:///{tmp_path}/mlflow.db"
    page = f"http://mlflow:5000/#/experiments/1/runs/{RUN}?workflowType=machine_learning"
    assert located(RUN, tracking_uri=None, store=tmp_path) == (RUN, own)
    assert located(RUN, tracking_uri="http://other:1", store=tmp_path) == (RUN, "http://other:1")
    assert located(page, tracking_uri=None, store=tmp_path) == (RUN, "http://mlflow:5000")
    below = f"https://host/mlflow/#/experiments/1/runs/{RUN}/artifacts/lineage"
    assert located(below, tracking_uri=None, store=tmp_path) == (RUN, "https://host/mlflow")
    for wrong in ("quickstart", "http://mlflow:5000/", f"file:///x#/experiments/1/runs/{RUN}", RUN.upper(), f"{RUN}0"):
        with pytest.raises(RecipeError, match="is no MLflow run; give its id"):
            located(wrong, tracking_uri=None, store=tmp_path)
