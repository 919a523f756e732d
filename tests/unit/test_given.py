"""Which completions give the same answer: those that agree where the verifier looks."""

from typing import Any

import pytest
from pydantic import TypeAdapter
from support.rollouts import rollout

from bootstrap.config.verifiers import Verifier
from bootstrap.records import Finish
from bootstrap.scoring.given import given_answer

TAGGED = {"type": "exact", "answer": {"type": "tagged"}}
BOXED = {"type": "math", "kind": "number"}
FORMAT = {"type": "format"}


def same(
    settings: dict[str, Any], one: str, other: str, *, cut: bool = False, tasks: tuple[str, str] = ("", "")
) -> bool:
    def given(text: str, task: str, finish: Finish) -> object:
        answer = rollout(task=task, text=text, finish=finish)
        return given_answer(answer, TypeAdapter(Verifier).validate_python(settings))

    return given(one, tasks[0], Finish.STOP) == given(other, tasks[1], Finish.LENGTH if cut else Finish.STOP)


def rubric(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rubric", "components": [{"name": f"c{n}", **part} for n, part in enumerate(parts)]}


@pytest.mark.parametrize(
    "settings",
    [
        TAGGED,
        rubric({"verifier": TAGGED}),
        rubric({"verifier": TAGGED}, {"verifier": FORMAT}),
        rubric({"verifier": {"type": "exact"}, "decides": False}, {"verifier": TAGGED}),
        rubric({"verifier": rubric({"verifier": TAGGED})}),
    ],
)
def test_working_around_an_answer_makes_no_other_answer(settings: dict[str, Any]) -> None:
    assert same(settings, "one way<answer>5</answer>", "or another<answer> 5 </answer>")
    assert not same(settings, "<answer>5</answer>", "<answer>6</answer>")


@pytest.mark.parametrize("settings", [{"type": "exact"}, FORMAT, {"type": "code"}, rubric({"verifier": FORMAT})])
def test_where_a_verifier_looks_at_no_place_the_whole_completion_is_the_answer(settings: dict[str, Any]) -> None:
    assert same(settings, "a<answer>5</answer>", "a<answer>5</answer>")
    assert not same(settings, "a<answer>5</answer>", "b<answer>5</answer>")


def test_all_deciding_components_have_to_find_the_same() -> None:
    both = rubric({"verifier": TAGGED}, {"verifier": BOXED})
    assert same(both, r"<answer>5</answer>\boxed{7}", r"so <answer>5</answer> and \boxed{7}")
    assert not same(both, r"<answer>5</answer>\boxed{7}", r"<answer>5</answer>\boxed{8}")


def test_a_completion_without_an_answer_votes_for_none_that_was_found() -> None:
    assert not same(TAGGED, "<answer>5</answer>", "5")
    assert not same(TAGGED, "<answer>5</answer>", "<answer>5</answer>", cut=True)
    assert same(TAGGED, "no tags", "no tags")
    assert not same(TAGGED, "no tags", "none either")


def test_a_mixtures_answers_are_read_by_the_verifier_of_their_part() -> None:
    parts = {"type": "by_task", "tasks": {"tags": TAGGED, "whole": {"type": "exact"}}}
    assert same(parts, "a<answer>5</answer>", "b<answer>5</answer>", tasks=("tags", "tags"))
    assert not same(parts, "a<answer>5</answer>", "b<answer>5</answer>", tasks=("whole", "whole"))
