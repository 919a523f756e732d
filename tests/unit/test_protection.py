"""What a champion line has reached stays the bar: losses never add up, whatever the gate tolerates each time."""

import pytest
from support import tiny
from support.lineage_factory import PROMOTED, REJECTED, build

from bootstrap.config.evaluation import Gate
from bootstrap.evaluation.gate import Answers, decide
from bootstrap.evaluation.intervals import wilson
from bootstrap.evaluation.protection import Protected, champion_line, protected, was_by_word
from bootstrap.evaluation.report import OutcomeRow
from bootstrap.ledger_records import (
    Decision,
    Diagnostics,
    GuardAction,
    GuardBreach,
    LevelReport,
    LevelTest,
    Report,
    Share,
)
from bootstrap.stages.bar import reached

NUM_PROMPTS = 200


def level(number, right, total=NUM_PROMPTS):
    return LevelReport(
        level=number,
        num_prompts=total,
        num_correct=right,
        accuracy=right / total,
        interval=wilson(right, total=total),
        mean_length=1.0,
        truncated=0.0,
    )


def slice_share(number, right, total=200):
    return Share(
        level=number,
        num_prompts=total,
        num_correct=right,
        num_unverifiable=0,
        accuracy=right / total,
        interval=wilson(right, total=total),
    )


def report(*levels, panel=None, slices=None):
    return Report(
        fingerprint="f",
        suite="s",
        levels=levels,
        frontier=0,
        generalization_margin=0,
        mastered=0.95,
        panel={name: (level(1, right),) for name, right in (panel or {}).items()},
        slices={name: (slice_share(1, right),) for name, right in (slices or {}).items()},
    )


def bar(line, **settings):
    return protected(line, **{"mastered": 0.95, "min_prompts": 100, "fixed": False} | settings)


def rows(right_of, target):
    """Outcome rows of level 1, where the prompts below `right_of` are right, and of level 2, `target` of them."""
    return [
        OutcomeRow(prompt_id=f"{number}.{place}", level=number, correct=place < right)
        for number, right in ((1, right_of), (2, target))
        for place in range(NUM_PROMPTS)
    ]


def test_a_level_once_mastered_stays_although_the_champion_slipped_below():
    found = bar({0: report(level(1, 192), level(2, 20)), 1: report(level(1, 188), level(2, 60))})
    assert found == Protected(levels={1: 0})


def test_the_best_is_the_bar_and_the_latest_of_equals_stands_for_it():
    line = {0: report(level(1, 196)), 1: report(level(1, 198)), 2: report(level(1, 198)), 4: report(level(1, 192))}
    assert bar(line).levels == {1: 2}


def test_a_share_of_other_prompts_is_no_bar():
    assert bar({0: report(level(1, 100, 100)), 1: report(level(1, 192))}).levels == {1: 1}


def test_slices_panel_and_levels_of_fixed_data_have_a_bar_of_their_own():
    line = {
        0: report(level(1, 100), panel={"copy": 90}, slices={"algebra": 120, "number theory": 80}),
        3: report(level(1, 120), panel={"copy": 80}, slices={"algebra": 110, "number theory": 90}),
    }
    found = bar(line, fixed=True)
    assert found == Protected(
        below={1: 3},
        slices={"algebra": 0, "number theory": 3},
        slice_levels={"algebra": (1,), "number theory": (1,)},
        panel={"copy": 0},
    )
    assert found.generations == {0, 3}
    assert bar(line).below == {}


def test_twenty_promotions_of_worst_case_slips_lose_one_margin_altogether():
    """Every candidate improves the target and loses as much of level 1 as the gate lets it."""
    settings, start, lost = Gate(), 198, []
    margin = settings.retention_margin * NUM_PROMPTS
    reports, answers = {0: report(level(1, start), level(2, 0))}, {0: rows(start, 0)}
    for number in range(1, 21):
        kept = bar(reports)
        for right in range(start - round(2 * margin), NUM_PROMPTS):  # from the worst on, the first that passes
            candidate = rows(right, 10 * number)
            decision = decide(
                candidate=Answers(rows=candidate),
                line={n: Answers(rows=known) for n, known in answers.items() if n in {number - 1, *kept.generations}},
                champion=number - 1,
                target_levels=(2,),
                protected=kept,
                settings=settings,
            )
            if decision.promoted:
                break
        assert decision.promoted
        reports[number], answers[number] = report(level(1, right), level(2, 10 * number)), candidate
        lost.append(start - right)
    assert len(lost) == 20 and 0 < max(lost) <= margin


@pytest.mark.parametrize(
    ("champion", "restarts", "line"),
    [(3, (), (0, 1, 3)), (3, (1,), (1, 3)), (1, (3,), (0, 1)), (0, (), (0,))],
)
def test_the_line_begins_anew_where_the_recipe_promotes_by_its_word(tmp_path, champion, restarts, line):
    entries = build(tmp_path / "addition", plan=(PROMOTED, REJECTED, PROMOTED))
    assert champion_line([entry.generation for entry in entries], champion, restarts=restarts) == line


def test_champions_that_a_roll_back_left_are_no_bar(tmp_path):
    generations = [entry.generation for entry in build(tmp_path / "addition", plan=(PROMOTED, PROMOTED, REJECTED))]
    left = Diagnostics(
        findings=(GuardBreach(metric="entropy", value=0.0, side="min", bound=0.1, action=GuardAction.ROLL_BACK),)
    )
    generations[3] = generations[3].model_copy(update={"champion": 1, "diagnostics": left})
    assert champion_line(generations, 1, restarts=()) == (0, 1)


def test_a_slice_keeps_its_bar_while_levels_are_added():
    """Gen-3 was asked a second level: the slice is compared on both levels with whoever was asked both."""
    early = report(level(1, 100)).model_copy(update={"slices": {"algebra": (slice_share(1, 120),)}})
    both = {"algebra": (slice_share(1, 110), slice_share(2, 100))}
    less = {"algebra": (slice_share(1, 90), slice_share(2, 90))}
    line = {0: early, 2: early.model_copy(update={"slices": both}), 3: early.model_copy(update={"slices": less})}
    found = bar(line, fixed=True)
    assert (found.slices, found.slice_levels) == ({"algebra": 2}, {"algebra": (1, 2)})


def test_a_promotion_is_by_word_where_something_was_lost():
    lost = LevelTest(
        levels=(1,), num_prompts=9, candidate=0.1, champion=0.9, gained=0, lost=7, difference_low=-1, passed=False
    )
    kept = lost.model_copy(update={"passed": True})
    decision = Decision(promoted=True, reason="", champion=0, improvement=kept, retention=(kept, lost))
    assert was_by_word(decision)
    assert not was_by_word(decision.model_copy(update={"improvement": lost, "retention": (kept,)}))
    assert not was_by_word(decision.model_copy(update={"promoted": False}))
    assert not was_by_word(decision.model_copy(update={"retention": (kept,)}))


def test_a_champion_that_a_sibling_replaced_is_no_bar(tmp_path):
    """Of two siblings the first was champion until the second passed: what was delivered is the second alone."""
    generations = [entry.generation for entry in build(tmp_path / "addition", plan=(PROMOTED, PROMOTED, PROMOTED))]
    recipe = tiny.recipe(generations={"count": 3, "branches": 2, "steps": [tiny.RL]})
    asked = []

    def report_of(number):
        asked.append(number)
        return generations[number].report

    reached(recipe, generations, champion=2, highest=None, report_of=report_of)
    assert asked == [0, 2]


def test_a_panel_task_that_nobody_could_be_judged_on_is_compared_all_the_same():
    unjudged = level(1, 0).model_copy(update={"num_unverifiable": NUM_PROMPTS})
    line = {number: report(level(1, 190)).model_copy(update={"panel": {"copy": (unjudged,)}}) for number in (0, 2)}
    assert bar(line).panel == {"copy": 2}
