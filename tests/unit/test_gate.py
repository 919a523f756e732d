"""The gate promotes what is better and forgets nothing, and says why in one sentence."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootstrap.config.evaluation import Gate
from bootstrap.evaluation.gate import Answers, ImprovementTest, decide
from bootstrap.evaluation.intervals import paired_lower_bound
from bootstrap.evaluation.protection import Protected
from bootstrap.evaluation.report import OutcomeRow
from bootstrap.paired import mcnemar_exact


def rows(**levels):
    """Outcome rows from level_N="1101": one character per prompt, `?` for an unjudged one."""
    marks = {"1": True, "0": False, "?": None}
    return [
        OutcomeRow(prompt_id=f"{level}.{number}", level=int(level[1:]), correct=marks[mark])
        for level, answers in levels.items()
        for number, mark in enumerate(answers)
    ]


def judge(candidate, champion, *, targets=(2,), mastered=(1,), branches=1, **gate):
    """Judge a candidate whose champion did best at everything that is mastered."""
    settings = Gate(**gate)
    return decide(
        candidate=Answers(rows=candidate),
        line={3: Answers(rows=champion)},
        champion=3,
        target_levels=targets,
        protected=Protected(levels=dict.fromkeys(mastered, 3)),
        settings=settings,
        test=ImprovementTest(alpha=settings.alpha, branches=branches),
    )


def share(right, total=1000):
    return "1" * right + "0" * (total - right)


def test_a_better_candidate_that_keeps_the_rest_is_promoted():
    decision = judge(rows(_1=share(998), _2=share(991)), rows(_1=share(998), _2=share(231)))
    assert decision.promoted
    assert decision.champion == 3
    assert decision.reason == "level 2: 0.231 -> 0.991 (p 3.3e-229); level 1 retained"
    assert (decision.improvement.gained, decision.improvement.lost) == (760, 0)
    assert decision.improvement.p_value == mcnemar_exact(760, lost=0)
    assert decision.improvement.num_prompts == 1000


def test_no_significant_gain_is_no_improvement():
    decision = judge(rows(_1=share(998), _2=share(235)), rows(_1=share(998), _2=share(231)))
    assert not decision.promoted
    assert decision.reason == (
        "rejected: level 2 0.231 -> 0.235 is no significant improvement (p 0.12, alpha 0.05, 4 gained, 0 lost)"
    )


def test_a_significant_loss_is_called_worse():
    decision = judge(rows(_1=share(998), _2=share(100)), rows(_1=share(998), _2=share(500)))
    assert not decision.promoted
    assert decision.reason == (
        "rejected: level 2 0.500 -> 0.100 is significantly worse (p 7.7e-121, alpha 0.05, 0 gained, 400 lost)"
    )


def test_a_loss_that_chance_explains_is_not_called_worse():
    decision = judge(rows(_1=share(998), _2=share(498)), rows(_1=share(998), _2=share(500)))
    assert "0.500 -> 0.498 is no significant improvement (p 0.5, alpha 0.05, 0 gained, 2 lost)" in decision.reason


def test_a_loss_is_called_worse_at_the_whole_alpha_whatever_share_of_it_tests_improvement():
    settings = Gate()
    told = [
        decide(
            candidate=Answers(rows=rows(_1=share(998), _2=share(490))),
            line={3: Answers(rows=rows(_1=share(998), _2=share(500)))},
            champion=3,
            target_levels=(2,),
            protected=Protected(levels={1: 3}),
            settings=settings,
            test=ImprovementTest(alpha=alpha),
        ).reason
        for alpha in (settings.alpha, settings.alpha / 12, 0.0)
    ]
    assert told == 3 * [
        "rejected: level 2 0.500 -> 0.490 is significantly worse (p 0.002, alpha 0.05, 0 gained, 10 lost)"
    ]


def test_branches_share_the_error_of_the_test_of_improvement():
    candidate, champion = rows(_1=share(998), _2=share(237)), rows(_1=share(998), _2=share(231))
    assert mcnemar_exact(6, lost=0) == 0.03125
    alone, pair = (judge(candidate, champion, branches=branches) for branches in (1, 2))
    assert alone.promoted and not pair.promoted
    assert pair.reason == (
        "rejected: level 2 0.231 -> 0.237 is no significant improvement "
        "(p 0.031, alpha 0.05 / 2 branches, 6 gained, 0 lost)"
    )
    assert pair.improvement.difference_low == alone.improvement.difference_low
    better = judge(rows(_1=share(998), _2=share(238)), champion, branches=3)
    assert better.promoted
    assert better.reason == "level 2: 0.231 -> 0.238 (p 0.016, alpha 0.05 / 3 branches); level 1 retained"


def test_branches_leave_retention_as_it_is():
    kept, champion = rows(_1=share(985), _2=share(991)), rows(_1=share(998), _2=share(231))
    alone, fifty = (judge(kept, champion, branches=branches) for branches in (1, 50))
    assert (alone.retention, alone.pooled) == (fifty.retention, fifty.pooled)


def test_a_mastered_level_that_fell_rejects_the_candidate():
    decision = judge(rows(_1=share(941), _2=share(991)), rows(_1=share(998), _2=share(231)))
    assert not decision.promoted
    assert decision.improvement.passed
    assert decision.reason == "rejected: level 1 fell 0.998 -> 0.941 from the best of gen-3 (margin 0.030)"


def test_all_faults_are_told():
    decision = judge(rows(_1=share(900), _2=share(231)), rows(_1=share(998), _2=share(231)))
    assert decision.reason.startswith("rejected: level 2 0.231 -> 0.231 is no significant improvement")
    assert "; level 1 fell 0.998 -> 0.900" in decision.reason


def test_a_small_dip_within_the_margin_is_retained():
    decision = judge(rows(_1=share(990), _2=share(991)), rows(_1=share(998), _2=share(231)))
    assert decision.promoted
    assert -0.03 < decision.pooled.difference_low < -0.008
    assert (decision.retention[0].margin, decision.pooled.alpha) == (0.03, 0.05)


def test_a_level_too_uncertain_to_be_called_retained_rejects_without_claiming_a_fall():
    swapped = judge(rows(_1="01" * 5 + "1" * 40, _2=share(991)), rows(_1="10" * 5 + "1" * 40, _2=share(231)))
    assert not swapped.promoted
    assert "level 1 is not shown to be retained: 0.900 -> 0.900" in swapped.reason


def test_an_unchanged_level_is_retained_even_without_a_margin():
    decision = judge(rows(_1=share(998), _2=share(991)), rows(_1=share(998), _2=share(231)), retention_margin=0.0)
    assert decision.promoted
    assert decision.pooled.difference_low == paired_lower_bound(0, lost=0, total=1000)
    assert decision.pooled.margin == -decision.pooled.difference_low


@pytest.mark.parametrize(("answers", "kept"), [("1" * 40, True), ("0" + "1" * 39, False)])
def test_few_prompts_that_cannot_show_the_margin_still_show_a_loss(answers, kept):
    decision = judge(rows(_1=answers, _2=share(991)), rows(_1="1" * 40, _2=share(231)), retention_margin=0.03)
    assert decision.promoted is kept


def test_small_levels_are_judged_together_with_the_next_ones():
    answers = {"_1": share(12, 12), "_2": share(60, 60), "_3": share(500, 500), "_4": share(40, 40)}
    decision = judge(
        rows(**answers, _5=share(900)), rows(**answers, _5=share(100)), targets=(5,), mastered=(1, 2, 3, 4)
    )
    assert [test.levels for test in decision.retention] == [(1, 2, 3, 4)]
    assert decision.reason.endswith("levels 1-4 retained")
    split = judge(
        rows(**answers, _5=share(900)),
        rows(**answers, _5=share(100)),
        targets=(5,),
        mastered=(1, 2, 3, 4),
        min_prompts=50,
    )
    assert [test.levels for test in split.retention] == [(1, 2), (3, 4)]


def test_targets_are_tested_together():
    decision = judge(
        rows(_1=share(998), _2=share(4, 8), _3=share(4, 8)),
        rows(_1=share(998), _2=share(0, 8), _3=share(0, 8)),
        targets=(2, 3),
    )
    assert decision.improvement.levels == (2, 3)
    assert decision.improvement.p_value == mcnemar_exact(8, lost=0)
    assert decision.promoted
    assert mcnemar_exact(4, lost=0) > 0.05


def test_a_prompt_that_stands_in_several_levels_counts_once():
    """Four levels that repeat one level's rows are 100 prompts, not 400: an equal candidate gains nothing by them."""

    def repeated(answers):
        return [
            OutcomeRow(prompt_id=str(number), level=level, correct=mark == "1")
            for level in (2, 3, 4, 5)
            for number, mark in enumerate(answers)
        ]

    champion, candidate = "0" * 3 + "1" * 47 + "0" * 50, "1" * 3 + "1" * 47 + "0" * 50
    decision = judge(repeated(candidate), repeated(champion), targets=(2, 3, 4, 5), mastered=())
    assert (decision.improvement.num_prompts, decision.improvement.gained) == (100, 3)
    assert not decision.promoted


def test_repeated_prompts_make_no_small_level_large():
    def repeated(answers):
        return [
            OutcomeRow(prompt_id=str(number), level=level, correct=mark == "1")
            for level in (1, 2)
            for number, mark in enumerate(answers)
        ]

    fresh = rows(_3=share(200, 200), _4=share(190, 200))
    champion = [*repeated("1" * 60), *rows(_3=share(200, 200), _4=share(20, 200))]
    decision = judge([*repeated("1" * 60), *fresh], champion, targets=(4,), mastered=(1, 2, 3))
    assert [(test.levels, test.num_prompts) for test in decision.retention] == [((1, 3), 260)]


def test_nothing_that_could_be_judged_is_no_improvement_and_nothing_retained():
    unjudged = judge(rows(_1=share(9, 9), _2="???"), rows(_1=share(9, 9), _2="000"))
    assert not unjudged.promoted
    assert unjudged.reason == "rejected: no held-out prompt of level 2 could be judged for both"
    lost = judge(rows(_1="?" * 9, _2=share(99)), rows(_1=share(9, 9), _2=share(9)))
    assert lost.reason == "rejected: no held-out prompt of level 1 could be judged for both"


def test_prompts_that_one_side_could_not_be_judged_on_enter_no_test():
    decision = judge(rows(_1=share(998), _2="1?1" + share(8, 8)), rows(_1=share(998), _2="1??" + "0" * 8))
    assert decision.improvement.num_prompts == 9
    assert (decision.improvement.gained, decision.improvement.champion) == (8, 1 / 9)


def test_the_order_of_rows_does_not_matter():
    candidate, champion = rows(_1=share(990), _2=share(991)), rows(_1=share(998), _2=share(231))
    assert judge(candidate[::-1], champion) == judge(candidate, champion)


def test_with_nothing_mastered_only_improvement_counts():
    decision = judge(rows(_1=share(900)), rows(_1=share(100)), targets=(1,), mastered=())
    assert decision.promoted
    assert decision.retention == ()
    assert decision.reason.endswith("no level was mastered before")


def test_different_prompts_on_both_sides_are_a_broken_promise():
    with pytest.raises(AssertionError, match="different held-out prompts"):
        judge(rows(_1="11", _2="11"), rows(_1="11", _2="1"))
    with pytest.raises(AssertionError, match="asked twice"):
        judge(rows(_1="11", _2="1") * 2, rows(_1="11", _2="1"))


answers = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


@settings(max_examples=300)
@given(
    levels=st.lists(answers, min_size=2, max_size=4),
    alpha=st.floats(0.01, 0.6),
    margin=st.floats(0, 1),
    data=st.data(),
)
def test_swapping_candidate_and_champion_never_promotes_both(levels, alpha, margin, data):
    def side(which):
        return [
            OutcomeRow(prompt_id=f"{level}.{number}", level=level, correct=pair[which])
            for level, pairs in enumerate(levels, start=1)
            for number, pair in enumerate(pairs)
        ]

    num_targets = data.draw(st.integers(1, len(levels) - 1))
    first = len(levels) - num_targets + 1
    arguments = {
        "targets": range(first, len(levels) + 1),
        "mastered": range(1, first),
        "alpha": alpha,
        "retention_margin": margin,
        "min_prompts": 20,
    }
    forth, back = judge(side(0), side(1), **arguments), judge(side(1), side(0), **arguments)
    assert not (forth.promoted and back.promoted)
    assert forth.improvement.p_value == back.improvement.p_value
    assert forth.promoted == (not forth.reason.startswith("rejected"))


def panel_rows(task, **levels):
    return [replace(row, task=task) for row in rows(**levels)]


def judge_panel(ours, theirs, **gate):
    """Judge a candidate that improves on its own task, and these answers on the panel."""
    return decide(
        candidate=Answers(rows=rows(_2=share(991)), panel=ours),
        line={3: Answers(rows=rows(_2=share(231)), panel=theirs)},
        champion=3,
        target_levels=(2,),
        protected=Protected(panel={row.task: 3 for row in theirs}),
        settings=Gate(**gate),
    )


def test_a_panel_task_that_fell_rejects_a_better_candidate():
    ours = [*panel_rows("copy", _1=share(90, 100), _3=share(80, 100)), *panel_rows("gcd", _1=share(50, 100))]
    theirs = [*panel_rows("copy", _1=share(90, 100), _3=share(92, 100)), *panel_rows("gcd", _1=share(50, 100))]
    decision = judge_panel(ours, theirs)
    assert not decision.promoted
    assert decision.improvement.passed
    assert {task: test.passed for task, test in decision.panel.items()} == {"copy": False, "gcd": True}
    assert decision.panel["copy"].levels == (1, 3)
    assert decision.reason == "rejected: copy levels 1, 3 fell 0.910 -> 0.850 (lower bound -0.094, margin 0.030)"


def test_a_panel_task_is_kept_although_nobody_masters_it():
    decision = judge_panel(panel_rows("gcd", _1=share(102)), panel_rows("gcd", _1=share(100)))
    assert decision.promoted
    assert decision.reason.endswith("no level was mastered before; gcd retained")


@pytest.mark.parametrize(("margin", "promoted"), [(0.0, False), (0.2, True)])
def test_the_panels_margin_is_its_own(margin, promoted):
    ours, theirs = panel_rows("gcd", _1=share(85, 100)), panel_rows("gcd", _1=share(92, 100))
    decision = judge_panel(ours, theirs, panel_margin=margin)
    assert decision.promoted is promoted


def test_a_panel_prompt_that_one_side_was_not_asked_is_a_defect():
    with pytest.raises(AssertionError, match="different held-out prompts"):
        judge_panel(panel_rows("gcd", _1=share(2, 4)), panel_rows("gcd", _1=share(2, 3)))


def test_the_bar_is_the_best_of_the_line_and_not_its_last():
    """Gen-1 measured 0.990 on level 1 and gen-3, its successor, 0.965: 0.955 is within 0.03 of one of them alone."""
    decision = decide(
        candidate=Answers(rows=rows(_1=share(955), _2=share(991))),
        line={1: Answers(rows=rows(_1=share(990))), 3: Answers(rows=rows(_1=share(965), _2=share(231)))},
        champion=3,
        target_levels=(2,),
        protected=Protected(levels={1: 1}),
        settings=Gate(),
    )
    assert not decision.promoted
    assert decision.retention[0].reference == (1,)
    assert "level 1 fell 0.990 -> 0.955 from the best of gen-1 (margin 0.030)" in decision.reason


def test_levels_are_bounded_together_against_the_champion():
    decision = decide(
        candidate=Answers(rows=rows(_1=share(975), _2=share(974), _3=share(991))),
        line={
            1: Answers(rows=rows(_1=share(998))),
            2: Answers(rows=rows(_2=share(997))),
            3: Answers(rows=rows(_1=share(990), _2=share(985), _3=share(231))),
        },
        champion=3,
        target_levels=(3,),
        protected=Protected(levels={1: 1, 2: 2}),
        settings=Gate(),
    )
    assert [(test.reference, test.lost, test.passed) for test in decision.retention] == [
        ((1,), 23, True),
        ((2,), 23, True),
    ]
    assert (decision.pooled.reference, decision.pooled.num_prompts) == ((3,), 2000)
    assert decision.pooled.difference_low == paired_lower_bound(0, lost=26, total=2000)
    assert decision.promoted


def test_losses_that_no_level_shows_are_shown_by_all_together():
    """Eight levels of 100 prompts lose two answers each and gain none: no level is beyond the margin, all are."""
    levels = {f"_{n}": share(100, 100) for n in range(1, 9)}
    fallen = {f"_{n}": share(97, 100) for n in range(1, 9)}
    decision = judge(
        rows(**fallen, _9=share(90, 100)), rows(**levels, _9=share(20, 100)), targets=(9,), mastered=range(1, 9)
    )
    assert all(test.passed for test in decision.retention)
    assert decision.reason.startswith("rejected: levels 1-8 together fell 1.000 -> 0.970 (lower bound -0.0")


def test_a_panel_task_may_not_sink_below_its_best_by_small_steps():
    """The champion lost 40 of 500 answers since gen-1; the candidate keeps what is left, and is far below gen-1."""
    best, left = panel_rows("gcd", _1=share(400, 500)), panel_rows("gcd", _1=share(360, 500))
    decision = decide(
        candidate=Answers(rows=rows(_2=share(991)), panel=left),
        line={1: Answers(rows=(), panel=best), 3: Answers(rows=rows(_2=share(231)), panel=left)},
        champion=3,
        target_levels=(2,),
        protected=Protected(panel={"gcd": 1}),
        settings=Gate(),
    )
    assert decision.panel["gcd"].passed
    assert decision.reason == "rejected: panel gcd fell 0.800 -> 0.720 from the best of gen-1 (margin 0.030)"


def judge_slices(ours, theirs, **gate):
    """Judge a candidate on one level of fixed data: the first half of its prompts are of slice a, the others of b."""
    size = len(theirs) // 2
    names = {"a": {f"_1.{n}" for n in range(size)}, "b": {f"_1.{n}" for n in range(size, 2 * size)}}
    return decide(
        candidate=Answers(rows=rows(_1=ours)),
        line={3: Answers(rows=rows(_1=theirs))},
        champion=3,
        target_levels=(1,),
        protected=Protected(slices={"a": 3, "b": 3}),
        settings=Gate(**gate),
        slices=names,
    )


def test_a_slice_that_paid_for_the_others_rejects_a_better_candidate():
    theirs = "1" * 300 + "0" * 200 + "0" * 500
    ours = "1" * 250 + "0" * 250 + "1" * 200 + "0" * 300
    decision = judge_slices(ours, theirs)
    assert decision.improvement.passed
    assert {name: test.passed for name, test in decision.slices.items()} == {"slice a": False, "slice b": True}
    assert decision.reason == "rejected: slice a fell 0.600 -> 0.500 from the best of gen-3 (margin 0.030)"


def test_a_slice_that_moves_within_chance_does_not_reject():
    """Of 100 prompts 12 were lost and 8 gained: more than the margin, and as likely as not of equal models."""
    theirs = "1" * 50 + "0" * 50 + "0" * 100
    ours = "0" * 12 + "1" * 38 + "1" * 8 + "0" * 42 + "1" * 40 + "0" * 60
    decision = judge_slices(ours, theirs)
    assert decision.slices["slice a"].lost - decision.slices["slice a"].gained > 0.03 * 100
    assert decision.promoted
    assert decision.reason.endswith("no level was mastered before; no loss beyond chance in 2 slices")


def test_levels_of_fixed_data_below_mastered_are_kept_too():
    decision = decide(
        candidate=Answers(rows=rows(_1=share(400), _2=share(900))),
        line={3: Answers(rows=rows(_1=share(600), _2=share(231)))},
        champion=3,
        target_levels=(2,),
        protected=Protected(below={1: 3, 2: 3}),
        settings=Gate(),
    )
    assert decision.reason == "rejected: level 1 fell 0.600 -> 0.400 from the best of gen-3 (margin 0.030)"


def test_a_slice_may_be_called_as_a_level_is():
    decision = decide(
        candidate=Answers(rows=rows(_1=share(400), _2=share(900))),
        line={3: Answers(rows=rows(_1=share(600), _2=share(231)))},
        champion=3,
        target_levels=(2,),
        protected=Protected(below={1: 3}, slices={"level 1": 3}),
        settings=Gate(),
        slices={"level 1": {"_2.0"}},
    )
    assert {name: test.passed for name, test in decision.slices.items()} == {"level 1": False, "slice level 1": True}


def test_a_slice_that_nobody_could_judge_keeps_nothing_out():
    decision = decide(
        candidate=Answers(rows=rows(_1="?" + share(990, 999))),
        line={3: Answers(rows=rows(_1="1" + share(231, 999)))},
        champion=3,
        target_levels=(1,),
        protected=Protected(slices={"rare": 3}),
        settings=Gate(),
        slices={"rare": {"_1.0"}},
    )
    assert decision.promoted
    assert decision.slices["slice rare"].num_prompts == 0


def test_a_target_counts_all_its_prompts_whatever_lower_level_holds_them_too():
    """Level 2 asks the ten prompts of level 1 again, and no other: what is gained there is gained at level 2."""
    decision = decide(
        candidate=Answers(rows=rows(_1=share(10, 10))),
        line={3: Answers(rows=rows(_1=share(2, 10)))},
        champion=3,
        target_levels=(2,),
        protected=Protected(below={1: 3, 2: 3}),
        settings=Gate(),
        members={2: [f"_1.{number}" for number in range(10)]},
    )
    assert (decision.improvement.levels, decision.improvement.gained) == ((2,), 8)
    assert decision.promoted
    assert set(decision.slices) == {"level 1"}


def test_where_alpha_is_spent_nothing_is_promoted_and_the_reason_says_so():
    decision = decide(
        candidate=Answers(rows=rows(_1=share(900))),
        line={3: Answers(rows=rows(_1=share(100)))},
        champion=3,
        target_levels=(1,),
        protected=Protected(),
        settings=Gate(),
        test=ImprovementTest(alpha=0.0, shared=" of 0.05 over the lineage"),
    )
    assert not decision.promoted
    assert "alpha is spent" in decision.reason
