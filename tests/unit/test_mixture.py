"""A mixture of tasks: prompts of every part by weight, each with its part's own answers, splits and levels."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from support.rollouts import rollout
from support.splits import split_of

from bootstrap.config.recipe import Recipe
from bootstrap.config.tasks import MixtureTask
from bootstrap.errors import RecipeError, VerifierError
from bootstrap.prompts.build import build_task
from bootstrap.records import Split, Status
from bootstrap.scoring.verifier import Answer, build_verifier, score
from bootstrap.stages.verifiers import prove

SUM = {"task": {"type": "addition"}, "weight": 3}
BACK = {"task": {"type": "reversal", "alphabet": "abcd", "heldout_fraction": 0.25}}
FIXED_LEVELS = [{"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}]
CHAIN = {
    "type": "reasoning_gym",
    "base_level": 1,
    "datasets": [{"name": "chain_sum", "levels": FIXED_LEVELS}],
    "alphabet": "0123456789+-=?. :abcdefghijklmnopqrstuvwxyzATSC",
}


def settings(base_level: int = 3, **parts: Any) -> MixtureTask:
    return MixtureTask.model_validate({"base_level": base_level, "parts": parts or {"sum": SUM, "back": BACK}})


@pytest.fixture(scope="module")
def mixture():
    return build_task(settings())


def test_parts_are_drawn_by_weight_and_answer_as_they_do_alone(mixture):
    prompts = mixture.draw(5, 4000, seed=1)
    shares = Counter(prompt.task for prompt in prompts)
    assert shares["sum"] / 4000 == pytest.approx(0.75, abs=0.03)
    assert shares["back"] == 4000 - shares["sum"]
    for prompt in prompts[:50]:
        assert (prompt.level, prompt.split) == (5, Split.TRAIN)
        if prompt.task == "sum":
            first, second = prompt.text.removesuffix("=").split("+")
            assert int(mixture.reference(prompt)[::-1]) == int(first[::-1]) + int(second[::-1])
        else:
            assert mixture.reference(prompt) == mixture.solution(prompt) == prompt.text[-2::-1]
        assert mixture.reference(prompt) not in mixture.wrong_answers(prompt)


def test_draws_depend_on_their_arguments_alone(mixture):
    assert mixture.draw(4, 30, seed=7) == mixture.draw(4, 30, seed=7) != mixture.draw(4, 30, seed=8)
    assert build_task(settings(back=BACK, sum=SUM)).draw(4, 30, seed=7) == mixture.draw(4, 30, seed=7)


def test_held_out_prompts_are_the_parts_own_and_never_drawn(mixture):
    suite = mixture.heldout(3, 40)
    assert Counter(prompt.task for prompt in suite) == {"sum": 30, "back": 10}
    alone = {name: build_task(settings().parts[name].task).heldout(3, 40) for name in ("sum", "back")}
    for name, prompts in alone.items():
        assert [p.text for p in suite if p.task == name] == [p.text for p in prompts][: 30 if name == "sum" else 10]
    held_out = {prompt.id for prompt in mixture.heldout(3, 4000)}
    assert not held_out & {prompt.id for prompt in mixture.draw(3, 4000, seed=0)}


def test_every_beginning_of_a_suite_holds_all_parts_and_begins_longer_ones(mixture):
    assert mixture.heldout(3, 12) == mixture.heldout(3, 40)[:12]
    assert Counter(prompt.task for prompt in mixture.heldout(3, 8)) == {"sum": 6, "back": 2}


def test_a_part_with_too_few_held_out_prompts_gives_all_it_has(mixture):
    # 16 strings of two symbols, of which a quarter is held out.
    few = sum(split_of("reversal", f"{a}{b}=", heldout_fraction=0.25) is Split.HELDOUT for a in "abcd" for b in "abcd")
    assert Counter(prompt.task for prompt in mixture.heldout(2, 100)) == {"sum": 75, "back": few}


def test_demonstrations_come_of_all_parts_with_their_references(mixture):
    shown = mixture.demonstrate([1, 2, 3], 400, seed=5, mixed=True)
    assert {prompt.task for prompt, _ in shown} == {"sum", "back"}
    assert all(answer == mixture.solution(prompt) for prompt, answer in shown)
    assert {prompt.level for prompt, _ in shown} == {1, 2, 3}
    with pytest.raises(RecipeError, match="references of mixture end at level 3"):
        mixture.demonstrate([3, 4], 1, seed=0)


def test_easier_variants_come_of_the_parts_that_have_them(mixture):
    prompts = mixture.draw(4, 200, seed=3, easier_variant=True)
    assert {(prompt.task, prompt.easier_variant) for prompt in prompts} == {("sum", True), ("back", False)}
    with pytest.raises(RecipeError, match="aim at level 2"):
        mixture.draw(1, 2, seed=0, easier_variant=True)
    with pytest.raises(RecipeError, match=r"easier_variants: 0$"):
        build_task(settings(back=BACK)).draw(3, 2, seed=0, easier_variant=True)


def test_a_text_before_prompts_tells_parts_apart_and_changes_no_answer():
    copy = {"task": {"type": "copy", "alphabet": "abcd", "heldout_fraction": 0.5}, "before": "c:"}
    mixture = build_task(settings(back=BACK, copy=copy))
    assert set(mixture.characters) == set("abcd=c:")
    for prompt in mixture.draw(4, 40, seed=0):
        text = prompt.text.removeprefix("c:").removesuffix("=")
        assert prompt.text.startswith("c:") is (prompt.task == "copy")
        assert mixture.reference(prompt) == (text if prompt.task == "copy" else text[::-1])
    # <bos>, c:, four symbols and =, four symbols, <eos>.
    assert settings(back=BACK, copy=copy).longest_sequence(4) == 1 + 2 + 5 + 4 + 1
    ids = {prompt.task: prompt.id for prompt in mixture.heldout(4, 20)}
    assert ids["copy"] != ids["back"]


def test_a_part_whose_levels_end_stays_at_its_last():
    pytest.importorskip("reasoning_gym")
    mixture = build_task(settings(sum=SUM, chain={"task": CHAIN}))
    assert mixture.parts["chain"].highest_level == 1
    for prompts in (mixture.draw(7, 40, seed=0), mixture.heldout(7, 20)):
        assert {prompt.task for prompt in prompts} == {"sum", "chain"}
        assert {prompt.level for prompt in prompts} == {7}
        for prompt in prompts:
            assert mixture.solution(prompt)
    shown = mixture.demonstrate([1, 2, 3], 60, seed=0)
    assert {(prompt.task, prompt.level) for prompt, _ in shown} == {("sum", 1), ("sum", 2), ("sum", 3), ("chain", 1)}


def rows_of(folder: Path, levels: int, name: str = "rows.jsonl", **settings: Any) -> dict[str, Any]:
    """A part from a file of so many levels, forty rows each."""
    rows = [
        {"prompt": f"row {n} of {level}", "answer": str(n), "level": level, "slice": "odd" if n % 2 else "even"}
        for level in range(1, levels + 1)
        for n in range(40)
    ]
    (folder / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    task = {"type": "file", "path": str(folder / name), "base_level": levels, "heldout_fraction": 0.3, **settings}
    return {"task": task}


def test_the_last_level_is_the_last_of_any_part(tmp_path):
    one, two = rows_of(tmp_path, 1, "one.jsonl"), rows_of(tmp_path, 2, "two.jsonl")
    assert build_task(settings(1, one=one, two=two)).highest_level == 2
    assert build_task(settings(1, one=one, sum=SUM)).highest_level is None
    mixture = build_task(settings(1, one=one, two=two))
    for ask in (
        lambda: mixture.heldout(3, 5),
        lambda: mixture.num_heldout(3, 5),
        lambda: mixture.draw(3, 5, seed=0),
        lambda: mixture.final(3, 5),
    ):
        with pytest.raises(RecipeError, match="level 3 of mixture was asked for, its last is 2"):
            ask()


def test_settings_that_tell_their_last_level_tell_a_mixtures():
    assert settings(1, chain={"task": CHAIN}).highest_level == 1
    assert settings(1, chain={"task": CHAIN}, sum=SUM).highest_level is None


def test_a_held_out_prompt_of_a_part_that_has_ended_has_one_id_at_every_level(tmp_path):
    mixture = build_task(settings(1, file=rows_of(tmp_path, 2), sum=SUM))
    asked = [[p for p in mixture.heldout(level, 60) if p.task == "file"] for level in (2, 3, 7)]
    assert asked[0] and [p.id for p in asked[0]] == [p.id for p in asked[1]] == [p.id for p in asked[2]]
    assert [{p.level for p in prompts} for prompts in asked] == [{2}, {3}, {7}]
    assert {p.slice for p in asked[2]} == {"odd", "even"}
    assert all(mixture.reference(p) == p.text.split()[1] for p in asked[2])


def test_final_prompts_come_of_the_parts_that_keep_some(tmp_path):
    kept = {**SUM["task"], "final_fraction": 0.2}
    mixture = build_task(settings(1, sum={"task": kept}, back=BACK, file=rows_of(tmp_path, 2, final_fraction=0.3)))
    final = mixture.final(2, 30)
    assert {p.task for p in final[:4]} == {p.task for p in final} == {"sum", "file"}
    assert final == mixture.final(2, 30) and {p.split for p in final} == {Split.FINAL}
    others = [*mixture.draw(2, 2000, seed=0), *mixture.heldout(2, 2000)]
    assert not {p.id for p in final} & {p.id for p in others}
    assert build_task(settings(back=BACK)).final(2, 30) == []


def test_a_text_before_prompts_changes_no_split(tmp_path):
    plain = {"task": {"type": "addition", "heldout_fraction": 0.4}}
    one, other = (build_task(settings(sum={**plain, "before": before})) for before in ("", "+"))
    assert {p.text for p in one.heldout(1, 90)} == {p.text.removeprefix("+") for p in other.heldout(1, 90)}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"a": SUM, "b": {"task": {"type": "reversal", "base_level": 2}}}, "references end at level 2; lower it to 2"),
        ({"back": BACK, "copy": {"task": {"type": "copy", "alphabet": "dxyz"}}}, "back and copy look alike"),
        ({"one": SUM, "two": {"task": {"type": "working"}}}, "one and two look alike"),
        ({"inner": {"task": {"type": "mixture", "base_level": 1, "parts": {"a": SUM}}}}, "no such type 'mixture'"),
        ({"Sum": SUM}, "should match pattern"),
    ],
)
def test_mixtures_that_cannot_work_are_refused(parts, message):
    with pytest.raises(ValidationError, match=message):
        settings(**parts)


def recipe(**changes: Any) -> Recipe:
    told: dict[str, Any] = {
        "name": "mixed",
        "task": {"type": "mixture", "base_level": 3, "parts": {"sum": SUM, "back": BACK}},
        "base": {"steps": [{"type": "sft", "updates": 1}]},
        "generations": {"count": 2, "steps": [{"type": "rl", "rounds": 1}]},
    }
    return Recipe.model_validate(told | changes)


def by_task(**tasks: Any) -> dict[str, Any]:
    return {"type": "by_task", "tasks": tasks}


EXACT, FORMAT = {"type": "exact"}, {"type": "format"}
ANSWER = "<think>x</think><answer>y</answer>"
"""Right in form alone."""
CODE = {"task": {"type": "functions"}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"verifier": by_task(sum=EXACT)}, "verifier.tasks: nothing judges part back"),
        ({"verifier": by_task(sum=EXACT, back=EXACT, bakc=EXACT)}, "no part bakc; its parts are back, sum"),
        (
            {"verifier": by_task(sum=EXACT, back={"type": "code"})},
            "tasks.back: code cannot read the references",
        ),
        (
            {"verifier": by_task(sum=EXACT, back=FORMAT)},
            r"tasks.back: format looks .* \(evaluation.verifier\)",
        ),
        ({"verifier": FORMAT}, "verifier: format looks at the form"),
        ({"verifier": by_task(sum=EXACT, back={"type": "majority"})}, "verifier.tasks.back: majority compares"),
        ({"verifier": by_task(addition=EXACT), "task": {"type": "addition"}}, "addition is one task"),
        ({"evaluation": {"verifier": by_task(sum=EXACT, back=FORMAT)}}, "evaluation.verifier.tasks.back: format looks"),
        (
            {"task": {"type": "mixture", "base_level": 3, "parts": {"sum": SUM, "code": CODE}}},
            "verifier: exact cannot read the references of task functions",
        ),
        (
            {
                "evaluation": {
                    "panel": {
                        "p": {
                            "task": {"type": "mixture", "base_level": 1, "parts": {"sum": SUM}},
                            "verifier": by_task(sum=FORMAT),
                        }
                    }
                }
            },
            "evaluation.panel.p.verifier.tasks.sum: format compares no answer",
        ),
        (
            {
                "generations": {
                    "steps": [
                        {
                            "type": "distill",
                            "updates": 1,
                            "distillation": {"loss": "forward_kl", "routes": [{"task": "summ", "teacher": "base"}]},
                        }
                    ]
                }
            },
            r"routes\[0\].task: no prompt is of task summ; there is back, sum",
        ),
    ],
)
def test_verifiers_and_routes_that_do_not_fit_the_parts_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        recipe(**changes)


def test_a_conflict_of_all_parts_is_told_once():
    with pytest.raises(ValidationError) as caught:
        recipe(verifier=FORMAT)
    assert str(caught.value).count("format looks at the form") == 1


def test_a_part_may_be_trained_on_by_its_form_where_answers_decide_at_the_gate():
    accepted = recipe(verifier=by_task(sum=EXACT, back=FORMAT), evaluation={"verifier": EXACT})
    verifier, task = build_verifier(accepted.verifier), build_task(accepted.task)
    prove(verifier, task)
    parts = {prompt.task: prompt for prompt in task.heldout(2, 8)}
    answers = [
        Answer(prompt=p.text, text=text, reference=task.reference(p), task=name)
        for name, p in parts.items()
        for text in (task.solution(p), ANSWER)
    ]
    found = {(a.task, a.text == ANSWER): j.status for a, j in zip(answers, verifier.judge(answers), strict=True)}
    assert found == {
        ("sum", False): Status.PASS,
        ("sum", True): Status.FAIL,
        ("back", False): Status.FAIL,
        ("back", True): Status.PASS,
    }


def test_every_part_of_a_verifier_is_checked():
    # A number equals itself with a zero before it, and `numeric` cannot read letters.
    wanted = recipe(verifier=by_task(sum=EXACT, back={"type": "numeric"}))
    with pytest.raises(VerifierError, match="verifier numeric"):
        prove(build_verifier(wanted.verifier), build_task(wanted.task))


def test_another_verifier_for_one_part_is_another_version():
    one = build_verifier(recipe(verifier=by_task(sum=EXACT, back=EXACT)).verifier)
    stripped = {"type": "exact", "answer": {"type": "whole", "strip": True}}
    assert one.version != build_verifier(recipe(verifier=by_task(sum=EXACT, back=stripped)).verifier).version


def test_verdicts_on_rollouts_are_those_of_their_tasks_verifier(mixture):
    accepted = recipe(verifier=by_task(sum=EXACT, back=FORMAT), evaluation={"verifier": EXACT})
    verifier = build_verifier(accepted.verifier)
    prompts = mixture.heldout(3, 8)
    rollouts = [
        rollout(f"r.p{place}.k0", prompt_id=prompt.id, prompt_text=prompt.text, task=prompt.task, level=3, text=ANSWER)
        for place, prompt in enumerate(prompts)
    ]
    references = {prompt.id: mixture.reference(prompt) for prompt in prompts}
    verdicts = score(rollouts, references, verifier=verifier, max_unverifiable=0.0)
    assert [v.status is Status.PASS for v in verdicts] == [prompt.task == "back" for prompt in prompts]
    assert {frozenset(v.breakdown) for v in verdicts} == {frozenset({"exact"}), frozenset({"format"})}
