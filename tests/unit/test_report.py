"""Reports: held-out answers and samples made into numbers."""

from functools import partial

import pytest
from support.rollouts import rollout, verdict

from bootstrap.config.answers import ExactVerifier
from bootstrap.evaluation.intervals import wilson
from bootstrap.evaluation.report import OutcomeRow, accuracies, build_report, outcomes
from bootstrap.records import Finish, Status
from bootstrap.scoring.given import given_answer

PASS, FAIL, UNVERIFIABLE = Status.PASS, Status.FAIL, Status.UNVERIFIABLE


def judged(level, rows):
    """Rollouts and verdicts of one level from (prompt, text, status, number of tokens)."""
    rollouts, verdicts = [], []
    for number, (prompt, text, status, num_tokens) in enumerate(rows):
        identifier = f"{level}.{prompt}.k{number}"
        rollouts.append(
            rollout(
                identifier,
                num_tokens,
                level=level,
                entropies=(0.5, *(0.0,) * (num_tokens - 1)),
                text=text,
                finish=Finish.LENGTH if num_tokens == 9 else Finish.STOP,
            )
        )
        verdicts.append(verdict(identifier, status))
    return rollouts, verdicts


def greedy(level, right, wrong):
    statuses = [PASS] * right + [FAIL] * wrong
    return judged(level, [(f"p{n}", "x", status, 3) for n, status in enumerate(statuses)])


def report(greedy, sampled=None, k=2, trained_level=2, min_prompts=1, answer_of=lambda rollout: rollout.text):
    return build_report(
        fingerprint="f" * 64,
        suite="s" * 64,
        greedy=greedy,
        sampled=sampled or {},
        answer_of=answer_of,
        k=k,
        mastered=0.95,
        trained_level=trained_level,
        min_prompts=1,
        panel={},
    )


def test_levels_frontier_and_generalization_margin_follow_from_the_answers():
    found = report({3: greedy(3, 5, 5), 1: greedy(1, 10, 0), 2: greedy(2, 96, 4), 4: greedy(4, 1, 9)})
    assert [row.level for row in found.levels] == [1, 2, 3, 4]
    assert accuracies(found) == {1: 1.0, 2: 0.96, 3: 0.5, 4: 0.1}
    assert (found.frontier, found.generalization_margin) == (2, 1)
    assert found.level(2).interval == wilson(96, total=100)
    assert (found.level(2).num_prompts, found.level(2).num_correct) == (100, 96)


def test_length_and_truncation_are_those_of_greedy_answers():
    row = report({1: judged(1, [("a", "x", PASS, 3), ("b", "x", FAIL, 9)])}).levels[0]
    assert (row.mean_length, row.truncated) == (6.0, 0.5)


def test_unverifiable_answers_leave_both_sides_of_the_accuracy():
    rows = [("a", "x", PASS, 3), ("b", "x", FAIL, 3), ("c", "x", UNVERIFIABLE, 3)]
    row = report({1: judged(1, rows)}).levels[0]
    assert (row.num_prompts, row.num_unverifiable, row.accuracy) == (3, 1, 0.5)
    assert row.interval == wilson(1, total=2)


def test_a_level_without_samples_has_no_sampled_metrics():
    row = report({1: greedy(1, 1, 1)}).levels[0]
    sampled = (row.pass_at_1, row.pass_at_k, row.majority_at_k, row.entropy, row.distinct_answers)
    assert sampled == (None,) * 5
    assert (row.num_samples, row.k) == (0, 0)


def test_sampled_metrics_are_means_over_prompts():
    rows = [("a", "x", PASS, 2), ("a", "y", FAIL, 2), ("a", "x", PASS, 2), ("a", "z", FAIL, 2)]
    rows += [("b", "u", FAIL, 2), ("b", "u", FAIL, 2), ("b", "v", PASS, 2), ("b", "u", FAIL, 2)]
    row = report({1: greedy(1, 1, 1)}, {1: judged(1, rows)}, k=2).levels[0]
    assert (row.num_samples, row.k) == (4, 2)
    assert row.pass_at_1 == pytest.approx((2 / 4 + 1 / 4) / 2)
    assert row.pass_at_k == pytest.approx(((1 - 1 / 6) + (1 - 3 / 6)) / 2)
    assert row.majority_at_k == 0.5
    assert row.distinct_answers == 2.5
    assert row.entropy == pytest.approx(0.25)


def test_samples_that_give_one_answer_vote_together_whatever_their_working():
    right = [("a", f"{n}<answer>5</answer>", PASS, 2) for n in range(3)]
    wrong = [("a", "<answer>6</answer>", FAIL, 2)] * 2
    rows, samples = {1: greedy(1, 1, 1)}, {1: judged(1, wrong + right)}
    tagged = partial(given_answer, settings=ExactVerifier(answer={"type": "tagged"}))
    by_answer, by_text = (report(rows, samples, k=5, answer_of=how).levels[0] for how in (tagged, lambda r: r.text))
    assert (by_answer.majority_at_k, by_answer.distinct_answers) == (1.0, 2.0)
    assert (by_text.majority_at_k, by_text.distinct_answers) == (0.0, 4.0)


def test_prompts_with_too_few_judged_samples_leave_pass_at_k():
    rows = [("a", "x", PASS, 2), ("a", "?", UNVERIFIABLE, 2), ("b", "x", PASS, 2), ("b", "y", FAIL, 2)]
    row = report({1: greedy(1, 1, 1)}, {1: judged(1, rows)}, k=2).levels[0]
    assert row.pass_at_1 == pytest.approx((1 + 1 / 2) / 2)
    assert row.pass_at_k == 1.0
    nothing = report({1: greedy(1, 1, 1)}, {1: judged(1, [("a", "?", UNVERIFIABLE, 2)])}, k=1).levels[0]
    assert (nothing.pass_at_1, nothing.pass_at_k, nothing.majority_at_k) == (None, None, None)


def test_outcomes_keep_what_could_not_be_judged_apart():
    rows = [("a", "x", PASS, 3), ("b", "x", FAIL, 3), ("c", "x", UNVERIFIABLE, 3)]
    assert outcomes(*judged(1, rows)) == [
        OutcomeRow(prompt_id="1.a", level=1, correct=True, text="x", num_tokens=3),
        OutcomeRow(prompt_id="1.b", level=1, correct=False, text="x", num_tokens=3),
        OutcomeRow(prompt_id="1.c", level=1, correct=None, text="x", num_tokens=3),
    ]


def test_a_prompt_asked_twice_is_a_broken_promise():
    with pytest.raises(AssertionError, match="asks a prompt twice"):
        report({1: judged(1, [("a", "x", PASS, 3), ("a", "x", PASS, 3)])})


def test_samples_without_greedy_answers_are_a_broken_promise():
    with pytest.raises(AssertionError, match="without greedy answers"):
        report({1: greedy(1, 1, 1)}, {2: greedy(2, 1, 1)})
