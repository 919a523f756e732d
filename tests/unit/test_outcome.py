"""The first sentence of a generation's pages: what happened, in figures that the record bears out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.lineage_factory import NASTY, PROMOTED, REJECTED, UNGATED, build

from bootstrap.config.evaluation import Gate
from bootstrap.evaluation.gate import Answers, ImprovementTest, decide
from bootstrap.evaluation.intervals import paired_interval
from bootstrap.evaluation.protection import Protected
from bootstrap.evaluation.report import OutcomeRow as Row
from bootstrap.ledger_records import (
    DiagnosticMetric,
    Diagnostics,
    Generation,
    GuardAction,
    GuardBreach,
    LevelTest,
)
from bootstrap.lineage import outcome
from bootstrap.store.ledger import Entry

ADDITION = {"type": "addition", "base_level": 4}


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Entry]:
    return build(tmp_path_factory.mktemp("store") / "addition", plan=(PROMOTED, REJECTED, PROMOTED, UNGATED))


def compared(gained: int, *, lost: int, total: int = 1000, **more: Any) -> LevelTest:
    counts = {"gained": gained, "lost": lost, "num_prompts": total, "difference_low": 0.0, "passed": True}
    shares = {"champion": lost / total, "candidate": gained / total} if total else {"champion": 0.0, "candidate": 0.0}
    return LevelTest(**{"levels": (7,), **counts, **shares, **more})


def decided(entry: Entry, **update: Any) -> Generation:
    node = entry.generation
    return node.model_copy(update={"decision": node.decision.model_copy(update=update)})


def test_a_promotion_says_what_rose_how_surely_and_that_nothing_was_lost(entries: Sequence[Entry]) -> None:
    said = outcome.sentence(entries[1].generation, task=ADDITION)
    assert said == "Promoted: 5-digit addition 0.337 → 0.989 (+0.652, 95 % CI 0.620 to 0.682), nothing lost"


def test_a_tolerated_fall_is_told_and_never_called_nothing(entries: Sequence[Entry]) -> None:
    decision = entries[1].generation.decision
    worse = decision.retention[0].model_copy(update={"champion": 0.99, "candidate": 0.971})
    said = outcome.sentence(decided(entries[1], retention=(*decision.retention[1:], worse)), task=ADDITION)
    assert "nothing lost" not in said
    assert said.endswith("within the margins: level 1 0.990 → 0.971 is the largest fall")


def test_where_nothing_was_mastered_nothing_is_said_to_be_kept(entries: Sequence[Entry]) -> None:
    node = decided(entries[1], retention=(), panel={})
    assert outcome.sentence(node).endswith("no level was mastered before")


def test_a_rejection_names_two_reasons_and_counts_the_rest(entries: Sequence[Entry]) -> None:
    said = outcome.sentence(entries[2].generation, task=ADDITION)
    assert said.startswith("Rejected: 6-digit addition 0.337 → 0.337 (+0.000, 95 % CI -0.010 to 0.010), ")
    assert said.endswith("not significantly better (p 0.6); level 2 fell 0.997 → 0.877; and 1 more")
    fallen = tuple(one.model_copy(update={"passed": False}) for one in entries[2].generation.decision.retention)
    assert outcome.sentence(decided(entries[2], retention=fallen)).endswith("; and 5 more")


@pytest.mark.parametrize(
    ("gained", "lost", "p_value", "said"),
    [
        (10, 90, 1.1e-6, "significantly worse (p 1.1e-06)"),
        (90, 100, 0.4, "not significantly better (p 0.4)"),
        (100, 90, 0.4, "not significantly better (p 0.4)"),
        (10, 90, None, "not significantly better"),
    ],
)
def test_a_significant_decline_is_called_one(
    entries: Sequence[Entry], gained: int, lost: int, p_value: float | None, said: str
) -> None:
    test = compared(gained, lost=lost, p_value=p_value, passed=False, alpha=0.05)
    node = decided(entries[2], improvement=test, retention=(), panel={})
    assert outcome.sentence(node).endswith(said)


@pytest.mark.parametrize("branches", [1, 4])
@pytest.mark.parametrize("alpha", [0.01, 0.05])
@pytest.mark.parametrize(("gained", "lost"), [(3, 12), (12, 3), (0, 40), (3, 4)])
def test_the_gates_reason_and_the_sentence_agree_on_what_is_worse(
    entries: Sequence[Entry], gained: int, lost: int, alpha: float, branches: int
) -> None:
    def rows(right: range) -> list[Row]:
        return [Row(prompt_id=f"{number}", level=1, correct=number in right) for number in range(100)]

    decision = decide(
        candidate=Answers(rows=rows(range(gained))),
        line={1: Answers(rows=rows(range(gained, gained + lost)))},
        champion=1,
        target_levels=(1,),
        protected=Protected(),
        settings=Gate(alpha=alpha),
        test=ImprovementTest(alpha=alpha, branches=branches),
    )
    if decision.promoted:
        decision = decision.model_copy(update={"promoted": False})
    node = entries[2].generation.model_copy(update={"decision": decision, "diagnostics": Diagnostics()})
    said = outcome.sentence(node, alpha=alpha)
    assert ("is significantly worse" in decision.reason) == (", significantly worse (p " in said), decision.reason


def test_a_gain_is_the_difference_of_the_shares_that_are_shown(entries: Sequence[Entry]) -> None:
    node = decided(entries[1], improvement=compared(70, lost=6, champion=0.864, candidate=0.928))
    assert " 0.864 → 0.928 (+0.064, " in outcome.sentence(node)


def test_a_guard_that_overruled_the_gate_is_the_reason(entries: Sequence[Entry]) -> None:
    broken = GuardBreach(metric=DiagnosticMetric.TRUNCATED, value=0.5, side="max", bound=0.1, action=GuardAction.REJECT)
    node = decided(entries[1], promoted=False).model_copy(update={"diagnostics": Diagnostics(findings=(broken,))})
    assert outcome.sentence(node).endswith(", guard truncated 0.5 is above 0.1 (reject)")


def test_a_rejection_without_a_failed_test_gives_the_records_own_reason(entries: Sequence[Entry]) -> None:
    node = decided(entries[1], promoted=False, reason=f"rejected: a better sibling {NASTY}")
    said = outcome.sentence(node)
    assert ", a better sibling " in said and not set("<>[]`") & set(said)


def test_an_ungated_generation_is_called_neither_promoted_nor_rejected(entries: Sequence[Entry]) -> None:
    said = outcome.sentence(entries[4].generation, task=ADDITION)
    assert said.startswith("Ungated: 7-digit addition 0.337 (95 % CI 0.308 to 0.366)")
    assert said.endswith("by the recipe not compared with the champion")


def test_the_base_says_what_it_masters(entries: Sequence[Entry]) -> None:
    said = outcome.sentence(entries[0].generation, task=ADDITION)
    assert said == "Base: 4-digit addition 0.989 (95 % CI 0.983 to 0.995), mastered up to level 4"
    node = entries[0].generation
    none = node.model_copy(update={"report": node.report.model_copy(update={"frontier": 0})})
    assert outcome.sentence(none).endswith("no level mastered")


def test_what_could_not_be_judged_is_no_figure(entries: Sequence[Entry]) -> None:
    node = decided(entries[2], improvement=compared(0, lost=0, total=0, passed=False), reason="no prompt was judged")
    assert outcome.sentence(node) == "Rejected: no prompt was judged"


@pytest.mark.parametrize(
    ("levels", "task", "said"),
    [
        ((7,), ADDITION, "7-digit addition"),
        ((3, 4), {"type": "copy"}, "copy, levels 3-4"),
        ((2,), {"type": "file"}, "level 2"),
        ((2,), None, "level 2"),
    ],
)
def test_a_level_is_named_as_its_task_means_it(levels: Sequence[int], task: dict[str, Any] | None, said: str) -> None:
    assert outcome.subject(levels, task) == said


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 2000))
def test_the_interval_is_the_one_of_the_final_comparison(gained: int, lost: int, more: int) -> None:
    total = gained + lost + more - 1 or 1
    ours = outcome.interval(compared(gained, lost=lost, total=total))
    theirs = paired_interval(gained, lost=lost, total=total)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_a_comparison_of_nothing_bounds_nothing() -> None:
    ours = outcome.interval(compared(0, lost=0, total=0))
    assert (ours.low, ours.high) == (-1.0, 1.0)


def test_no_sentence_has_markup_of_people(tmp_path: Path) -> None:
    entries = build(tmp_path / "addition", plan=(REJECTED,))
    node = decided(entries[1], improvement=None, reason=NASTY)
    assert not set("<>[]`|*#") & set(outcome.sentence(replace(entries[1], generation=node).generation))
