"""A submission is one job: its id shows the same job again and never another's; a cluster without an agent is told."""

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.job_server import ADDRESS, RECIPE, Agentless, Jobs, job, serve

from bootstrap.cluster import jobs
from bootstrap.cluster.submit import submit_recipe
from bootstrap.errors import ClusterError, LineageLocked, RecipeError


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.time, "sleep", lambda _: None)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)
    return path


def submit(recipe: Path, *, overrides: tuple[str, ...] = (), **settings: Any) -> list[str]:
    echo: list[str] = []
    given = {"store": "/shared/runs", "lineage": None, "workers": None, "submission_id": "x", "follow": False}
    submit_recipe(recipe, address=ADDRESS, overrides=list(overrides), echo=echo.append, **{**given, **settings})
    return echo


def test_the_same_submission_again_shows_its_job(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, first := Jobs())
    submit(recipe, workers=2)
    [sent] = first.submitted
    serve(monkeypatch, again := Jobs(job(metadata=sent["metadata"])))
    assert submit(recipe, workers=2)[0] == f"job x exists already on {ADDRESS}"
    # How it is written does not matter.
    assert submit(recipe, overrides=("generations.count=1", "description=again"), workers=2)[0].startswith(
        "job x exists"
    )
    assert again.submitted == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"overrides": ("generations.count=2",)}, "the settings of generations differ"),
        ({"overrides": ("seed=1", "tracking.experiment=other")}, "the settings of seed, tracking differ"),
        ({"overrides": ("name=other",), "lineage": "tiny"}, "the recipe is tiny there and other here"),
        ({"overrides": ("name=other",)}, "the lineage is tiny there and other here"),
        ({"lineage": "mine"}, "the lineage is tiny there and mine here"),
        ({"store": "/other"}, "the store is /shared/runs there and /other here"),
        ({"workers": 2}, "--workers is as the recipe says there and 2 here"),
        ({"past_guards": True}, "--past-guards is no there and yes here"),
    ],
)
def test_an_id_that_belongs_to_another_submission_is_refused(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], words: str
) -> None:
    serve(monkeypatch, first := Jobs())
    submit(recipe)
    serve(monkeypatch, second := Jobs(job(metadata=first.submitted[0]["metadata"])))
    with pytest.raises(RecipeError) as caught:
        submit(recipe, **change)
    message = str(caught.value)
    assert message.startswith(f"job x on {ADDRESS} is another one: ") and words in message
    assert "Give another --submission-id" in message and f"`bootstrap attach x --address {ADDRESS}`" in message
    assert second.submitted == []


def test_of_an_earlier_versions_job_what_it_says_of_itself_is_compared(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, Jobs(job()))
    assert submit(recipe, overrides=("seed=1",), workers=2)[0] == f"job x exists already on {ADDRESS}"
    with pytest.raises(RecipeError, match="the store is /shared/runs there and /other here"):
        submit(recipe, store="/other")


def test_an_id_of_somebody_elses_job_is_refused(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, Jobs(job(own=False)))
    with pytest.raises(RecipeError, match=r"it is not one of this program's.*bootstrap jobs --address"):
        submit(recipe)


def test_sections_that_cannot_be_read_are_another_recipe(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, Jobs(job(metadata={**job().metadata, "bootstrap.sections": "[1"})))
    with pytest.raises(RecipeError, match="is another one"):
        submit(recipe)


def test_a_lineage_that_a_job_still_writes_is_refused_with_the_commands_for_that_job(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, Jobs(job("tiny-a1")))
    with pytest.raises(
        LineageLocked, match=r"bootstrap attach tiny-a1 --address \S+, stop it with `bootstrap stop tin"
    ):
        submit(recipe, submission_id=None)


NODE = {
    "ip": "10.0.0.1",
    "cmdline": ["raylet", "--dashboard_agent_command=python agent.py --grpc-port=0 --listen-port=7777 --head"],
    "raylet": {
        "isHeadNode": True,
        "state": "ALIVE",
        "dashboardAgentListenPort": -1,
        "sessionDir": "/tmp/ray/session_1",
    },
}
WORKER_NODE = {"ip": "10.0.0.2", "raylet": {**NODE["raylet"], "isHeadNode": False, "sessionDir": "/elsewhere"}}


def test_a_job_agent_that_gave_up_its_port_is_told_at_once_with_port_and_log(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, client := Agentless(99, [WORKER_NODE, NODE]))
    with pytest.raises(ClusterError) as caught:
        submit(recipe)
    message = str(caught.value)
    assert "the job agent of its head node 10.0.0.1 did not start on port 7777" in message
    assert "/tmp/ray/session_1/logs/dashboard_agent.log on that node says why" in message
    assert "--dashboard-agent-listen-port" in message and "\n" not in message
    assert len(client.submitted) == 1, "an agent that gave up never comes"


@pytest.mark.parametrize(
    "nodes",
    [None, [], [{}], [{"raylet": None}], [NODE, NODE], [{**NODE, "raylet": {"isHeadNode": True, "state": "ALIVE"}}]],
)
def test_an_agent_that_ray_tells_nothing_of_is_told_after_a_while_with_the_usual_port_and_log(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, nodes: Any
) -> None:
    clock = itertools.count(0, 25)
    monkeypatch.setattr(jobs, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda _: None))
    serve(monkeypatch, client := Agentless(10**9, nodes))
    with pytest.raises(
        ClusterError, match=r"has not been there for 75 s \(it listens on port 52365\)\. /tmp/ray/session_"
    ):
        submit(recipe)
    assert len(client.submitted) == 3


def test_an_agent_that_is_late_is_waited_for(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    late = {**NODE, "raylet": {**NODE["raylet"], "dashboardAgentListenPort": 7777}}
    serve(monkeypatch, client := Agentless(3, [late]))
    echo = submit(recipe)
    assert echo[:2] == [
        f"{ADDRESS} is still starting; waiting up to 60 s",
        f"submitted job x to {ADDRESS}: lineage tiny in /shared/runs",
    ]
    assert len(client.submitted) == 3
