"""The saved view of MLflow's runs page: what the link opens, and which columns stand first."""

import json

from bootstrap.lineage import tags, tracking, views


def state(run_id: str = "abc") -> dict:
    _, value = views.saved("addition", lineage_run_id=run_id, at=7)
    return json.loads(json.loads(value)["state"])


def test_the_link_names_the_tag_that_holds_the_view() -> None:
    key, value = views.saved("addition", lineage_run_id="abc", at=7)
    link = tracking.experiment_url("http://h:1", "3", "abc")
    assert link == "http://h:1/#/experiments/3/runs?workflowType=machine_learning&viewStateShareKey=bootstrap-abc"
    assert key == "mlflow.sharedViewState.bootstrap-abc" and len(value) < 20_000
    envelope = json.loads(value)
    assert (envelope["name"], envelope["createdAt"]) == ("addition", 7)


def test_the_view_lists_the_generations_of_this_lineage_alone_newest_first_and_flat() -> None:
    shown = state("abc")
    assert shown["searchFilter"] == "tags.`mlflow.parentRunId` = 'abc'"
    # Only a list sorted by its date is folded.
    assert (shown["orderByKey"], shown["orderByAsc"]) == (f"metrics.`{tags.ORDER}`", False)


def test_what_people_read_stands_first_and_costs_last() -> None:
    columns = state()["selectedColumns"]
    assert columns[:6] == [f"tags.`{key}`" for key in ("gate", "target", "accuracy", "gain", "frontier", "parent")]
    assert columns[6:] and all(column.startswith("metrics.`cost/") for column in columns[6:])
    assert state()["columnOrder"][-len(columns) :] == columns


def test_charts_begin_with_what_matters_and_none_of_the_first_is_a_cost() -> None:
    names = [section["name"] for section in state()["compareRunSections"]]
    assert names[:2] == ["Model metrics", "gate"] and not [name for name in names if "cost" in name]
    assert state()["isAccordionReordered"] is True, "else MLflow sorts them by name"


def test_the_lineages_of_an_experiment_are_found_by_their_views() -> None:
    made = dict(views.saved(name, lineage_run_id=run, at=1) for name, run in (("a", "r1"), ("b", "r2")))
    own = "mlflow.sharedViewState.bootstrap-"
    others = {"mlflow.sharedViewState.17910198782163edg": "{}", "mlflow.note.content": "x"}
    others |= {f"{own}r3": "", f"{own}r4": "[]", f"{own}r5": '{"name": 5}'}
    assert views.lineages({**made, **others}) == {"r1": "a", "r2": "b"}
