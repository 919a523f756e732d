"""Signs of collapse against values computed by hand."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rollouts import rollout

from bootstrap.evaluation import diagnostics
from bootstrap.evaluation.report import OutcomeRow
from bootstrap.ledger_records import DiagnosticMetric, Diagnostics, Interval, LevelReport, Report
from bootstrap.records import Rollout, Status

P, F, U = Status.PASS, Status.FAIL, Status.UNVERIFIABLE


def answer(prompt: str, text: str, **fields: Any) -> Rollout:
    return rollout(f"sampled.{prompt}.{text}", prompt_id=prompt, text=text, **fields)


def samples(**prompts: str) -> list[OutcomeRow]:
    """One row per sample from prompt="110?": right, right, wrong, unjudged."""
    marks = {"1": True, "0": False, "?": None}
    return [
        OutcomeRow(prompt_id=name, level=1, correct=marks[mark])
        for name, answers in prompts.items()
        for mark in answers
    ]


def report(**levels: tuple[int, float, float]) -> Report:
    """A report from l1=(prompts, mean length, truncated share)."""
    return Report(
        fingerprint="f",
        suite="s",
        levels=tuple(
            LevelReport(
                level=int(name[1:]),
                num_prompts=count,
                num_correct=0,
                accuracy=0.0,
                interval=Interval(low=0, high=1),
                mean_length=length,
                truncated=cut,
            )
            for name, (count, length, cut) in levels.items()
        ),
        frontier=0,
        generalization_margin=0,
        mastered=0.95,
    )


def test_every_metric_that_a_guard_can_watch_is_a_number_of_the_diagnostics() -> None:
    kept_in_findings = {DiagnosticMetric.ACCURACY_JUMP.value, "findings"}
    assert {metric.value for metric in DiagnosticMetric} ^ set(Diagnostics.model_fields) == kept_in_findings


def test_entropy_is_the_mean_over_tokens_not_over_answers() -> None:
    assert diagnostics.mean_entropy(
        [answer("a", "x", entropies=(0.5,)), answer("a", "y", entropies=(0.1, 0.2, 0.0))]
    ) == (pytest.approx(0.2))
    assert diagnostics.mean_entropy([]) is None


def test_distinct_answers_are_counted_within_a_prompt() -> None:
    answers = [answer("a", "x"), answer("a", "x"), answer("a", "y"), answer("b", "x")]
    assert diagnostics.distinct_answers(answers, answer_of=lambda r: r.text) == 1.5
    assert diagnostics.distinct_answers(answers, answer_of=lambda r: "the same") == 1.0
    assert diagnostics.distinct_answers([], answer_of=lambda r: r.text) is None


def test_pass_at_k_changes_by_the_mean_over_prompts_that_both_sides_answered() -> None:
    # k 2 of 4: one right gives 1 - C(3,2)/C(4,2) = 1/2, two right 5/6, none 0.
    ours = samples(a="1000", b="1100", c="1111")
    theirs = samples(a="1100", b="0000", d="1111")
    assert diagnostics.pass_at_k_change(ours, theirs, k=2) == pytest.approx(((1 / 2 - 5 / 6) + (5 / 6 - 0)) / 2)


def test_a_prompt_with_too_few_judged_samples_is_left_out_of_pass_at_k() -> None:
    assert diagnostics.pass_at_k_change(samples(a="1???", b="11"), samples(a="1111", b="00"), k=2) == 1.0
    assert diagnostics.pass_at_k_change(samples(a="1???"), samples(a="1111"), k=2) is None


def test_lengths_are_compared_on_common_levels_weighted_by_prompts() -> None:
    ours = report(l1=(10, 3.0, 0.0), l2=(30, 6.0, 0.0), l3=(30, 90.0, 0.0))
    theirs = report(l1=(10, 3.0, 0.0), l2=(30, 4.0, 0.0))
    assert diagnostics.length_ratio(ours, theirs, up_to=3) == pytest.approx((30 + 180) / (30 + 120))
    assert diagnostics.length_ratio(ours, theirs, up_to=1) == 1.0
    assert diagnostics.length_ratio(ours, report(l9=(5, 1.0, 0.0)), up_to=3) is None


def test_the_truncated_share_counts_answers_and_leaves_levels_beyond_the_target_out() -> None:
    cut = report(l1=(10, 1.0, 0.5), l2=(30, 1.0, 0.1), l3=(60, 1.0, 1.0))
    assert diagnostics.truncated_share(cut, up_to=2) == pytest.approx((5 + 3) / 40)
    assert diagnostics.truncated_share(cut, up_to=0) is None


def test_verifiers_disagree_only_where_both_could_judge() -> None:
    assert diagnostics.disagreement([P, F, P, U, P], [P, P, F, P, U]) == pytest.approx(2 / 3)
    assert diagnostics.disagreement([U], [P]) is None


def test_model_made_is_the_share_of_uses_and_not_of_sources() -> None:
    assert diagnostics.model_made({"g1.s0.u0.p0.k0": 3, "00ff00ff00ff00ff": 1}) == 0.75
    assert diagnostics.model_made({"00ff00ff00ff00ff": 7}) == 0.0
    assert diagnostics.model_made({}) is None


def test_an_n_gram_of_one_held_out_prompt_is_overlap() -> None:
    heldout = [(9, 1, 2, 3, 4, 9), (5, 6, 7, 8)]
    assert diagnostics.overlap([(1, 2, 3, 4, 0), (1, 2, 3, 0, 0)], heldout, n=4) == 0.5
    assert diagnostics.overlap([(1, 2, 3, 4, 0), (1, 2, 3, 0, 0)], heldout, n=3) == 1.0
    assert diagnostics.overlap([(1, 2, 3, 4, 0)], heldout, n=5) == 0.0


def test_wording_that_several_held_out_prompts_share_is_no_overlap() -> None:
    wording = (1, 2, 3, 4)
    heldout = [(*wording, 7), (*wording, 8)]
    assert diagnostics.overlap([(*wording, 9)], heldout, n=4) == 0.0
    assert diagnostics.overlap([(*wording, 7)], heldout, n=4) == 1.0


def test_a_prompt_shorter_than_an_n_gram_is_compared_as_a_whole() -> None:
    assert diagnostics.overlap([(1, 2), (1, 3)], [(1, 2), (0, 1, 3)], n=10) == 0.5


def test_nothing_trained_on_overlaps_with_nothing() -> None:
    assert diagnostics.overlap([], [(1, 2, 3)], n=3) is None
    assert diagnostics.overlap([(1, 2, 3), ()], [], n=3) == 0.0


def test_overlap_goes_through_any_number_of_trained_prompts_once_in_portions() -> None:
    many = 2 * diagnostics.AT_ONCE + 1
    trained = ((place, 0, place % 7) for place in range(many))
    assert diagnostics.overlap(trained, [(many - 1, 0), (3, 3, 3)], n=2) == 1 / many


@given(
    st.lists(st.lists(st.integers(0, 3), max_size=8), max_size=6),
    st.lists(st.lists(st.integers(0, 3), max_size=8), max_size=6),
    st.integers(1, 4),
)
def test_overlap_agrees_with_comparing_every_pair_of_prompts(
    trained: list[list[int]], heldout: list[list[int]], n: int
) -> None:
    def grams(tokens: list[int]) -> set[str]:
        text = "".join(map(str, tokens))
        return {text[i : i + n] for i in range(len(text) - n + 1)} or {f"={text}"}

    own = [
        g
        for i, one in enumerate(heldout)
        for g in grams(one)
        if not any(g in grams(h) for h in heldout[:i] + heldout[i + 1 :])
    ]
    expected = sum(bool(grams(one) & set(own)) for one in trained) / len(trained) if trained else None
    assert diagnostics.overlap(trained, heldout, n=n) == expected
