"""Questions about a lineage with rejected candidates, a fork, a merge, an outside teacher and two tasks.

addition   gen-0 -> gen-1 -> gen-3, gen-2 rejected; rich starts from its gen-3
rich       gen-0 -> gen-1 -> gen-3 -> gen-6 -> gen-8; gen-2, gen-4, gen-7 rejected; gen-5 ungated; gen-6 merges 3 and 5
"""

import shutil
from pathlib import Path

import pytest
from support.lineage_factory import PROMOTED, build
from support.questioned import Answered, Used, forked, rewritten, used
from support.rich_lineage import TEACHER
from support.rollouts import rollout

from bootstrap import Lineage
from bootstrap.errors import RecipeError, StoreError
from bootstrap.lineage.questions.settings import changes, differences
from bootstrap.records import Rollout, Verdict
from bootstrap.store.ledger import Ledger
from bootstrap.store.tables import to_parquet

# --- why -----------------------------------------------------------------------------------------------------------


def test_why_goes_back_from_champion_to_champion(rich: Lineage) -> None:
    found = rich.why()
    assert [one.name for one in found.chain] == ["gen-0", "gen-1", "gen-3", "gen-6", "gen-8"]
    assert [one.compared_with for one in found.chain] == [None, "gen-0", "gen-1", "gen-3", "gen-6"]
    assert [one.parents for one in found.chain][3:] == [("gen-3 + gen-5 merged",), ("gen-6",)]
    assert (found.is_champion, found.reigns) == (True, ((8, 8),))
    assert found.sentence == (
        "gen-8 is the champion: the gate promoted it over gen-6; the line of champions is gen-0 -> gen-1 -> gen-3 -> "
        "gen-6 -> gen-8"
    )


def test_why_names_who_was_tried_against_the_same_champion(rich: Lineage) -> None:
    assert {one.name: [rival.name for rival in one.rivals] for one in rich.why().chain} == {
        "gen-0": [],
        "gen-1": [],
        "gen-3": ["gen-2"],
        "gen-6": ["gen-4"],
        "gen-8": ["gen-7"],
    }


def test_who_took_a_champion_s_place_is_no_challenger_that_failed(rich: Lineage) -> None:
    # gen-6 took the place of gen-3, and gen-3 that of gen-1.
    assert [one.name for one in rich.why("gen-3").challengers] == ["gen-4"]
    assert [one.name for one in rich.why("gen-1").challengers] == ["gen-2"]
    assert [one.name for one in rich.why("gen-0").challengers] == []


def test_why_shows_the_tests_with_their_numbers(rich: Lineage) -> None:
    last = rich.why("gen-1").chain[-1]
    assert [test.test for test in last.tests] == ["improvement", *["retention"] * 4, "panel: copy"]
    improvement = last.tests[0]
    assert (improvement.levels, improvement.against, improvement.gained, improvement.lost) == (
        (5,),
        ("gen-0",),
        664,
        12,
    )
    assert (last.before, last.after, last.p_value) == (improvement.before, improvement.after, 3e-40)


@pytest.mark.parametrize(
    ("generation", "sentence"),
    [
        ("gen-0", "gen-0 was champion after gen-0; then another one took its place"),
        ("gen-3", "gen-3 was champion from gen-3 to gen-5; then another one took its place"),
        ("gen-5", "gen-5 is ungated: the recipe does not compare it with the champion"),
        ("gen-4", "gen-4 was rejected against gen-3 (level 7 33.7 % -> 33.7 %): truncated 0.25 is above 0.1 (reject)"),
    ],
)
def test_why_says_what_became_of_any_generation(rich: Lineage, generation: str, sentence: str) -> None:
    assert rich.why(generation).sentence == sentence


def test_why_of_a_generation_that_a_guard_rejected_names_the_guard(rich: Lineage) -> None:
    last = rich.why("gen-4").chain[-1]
    assert last.guards == ("truncated 0.25 is above 0.1 (reject)",)
    assert last.tests[0].passed and last.outcome == "rejected"


def test_a_long_line_of_champions_is_told_by_its_ends(tmp_path: Path) -> None:
    build(tmp_path / "long", plan=[PROMOTED] * 12, name="long")
    assert "gen-3 -> 5 more -> gen-9 -> gen-10" in Lineage(tmp_path, "long").why().sentence
    assert len(Lineage(tmp_path, "long").why().chain) == 13


# --- diff ----------------------------------------------------------------------------------------------------------


def test_diff_tells_settings_data_and_verifiers_apart(rich: Lineage) -> None:
    found = rich.diff("gen-3", "gen-6")
    settings = {change.name: (change.a, change.b) for change in found.settings}
    assert settings["stage.name"] == ('"alone"', '"merged"')
    assert settings["stage.steps[0].type"] == ('"rl"', '"merge"')
    assert settings["target_levels[0]"] == ("6", "7")
    data = {change.name: (change.a, change.b) for change in found.data}
    assert data["from.init"] == ('"gen-1"', "")
    assert data["from.merged"] == ("", '"gen-3, gen-5"')
    assert data["from.data"] == ('"gen-0, gen-1"', '"gen-0, gen-1, gen-3"')
    verifiers = {change.name: (change.a, change.b) for change in found.verifiers}
    assert verifiers["settings.type"] == ('"exact"', '"majority"')
    assert (found.a, found.b, found.same_weights) == ("rich@gen-3", "rich@gen-6", False)


def test_diff_tells_every_setting_of_the_stage(rich: Lineage) -> None:
    settings = {change.name: (change.a, change.b) for change in rich.diff("gen-4", "gen-5").settings}
    assert settings["stage.gate"] == ('"compare"', '"never"') and settings["stage.generations"] == ("2", "1")
    assert not any(name.startswith(("stage.verifier", "generations")) for name in settings)


def test_diff_subtracts_metrics_and_leaves_what_one_lacks_open(rich: Lineage) -> None:
    metrics = {row.name: row for row in rich.diff("gen-1", "gen-3").metrics}
    one, two = (rich.generation(name).report.level(6) for name in ("gen-1", "gen-3"))
    assert one and two
    gain = metrics["accuracy level 6"]
    assert (gain.a, gain.b, gain.difference) == (one.accuracy, two.accuracy, two.accuracy - one.accuracy)
    assert (metrics["accuracy level 8"].a, metrics["accuracy level 8"].difference) == (None, None)
    assert metrics["frontier"].difference == 1


def test_diff_goes_across_lineages(rich: Lineage) -> None:
    found = rich.diff("gen-3", "addition@gen-3")
    assert found.b == "addition@gen-3"
    settings = {change.name: (change.a, change.b) for change in found.settings}
    assert settings["task.type"] == ('"mixture"', '"addition"')
    assert settings["base.model.type"] == ('"generation"', '"scratch"')


def test_a_generation_differs_from_no_generation_but_another_one(rich: Lineage) -> None:
    with pytest.raises(RecipeError, match="gen-8 of lineage rich; name two generations"):
        rich.diff("champion", "last")
    with pytest.raises(RecipeError, match="no generation is called 'gen-9'"):
        rich.diff("gen-9", "gen-1")
    with pytest.raises(StoreError, match="did you mean addition"):
        rich.diff("gen-1", "adition@gen-1")


def test_diff_pairs_answers_to_the_same_prompts(tmp_path: Path) -> None:
    right = {1: [True, True, False, False, None, True], 2: [True, False, True, False, True, True]}

    def outcomes(number: int) -> dict[str, bytes]:
        rows = [
            Answered(prompt_id=f"{place:016x}", level=5, correct=correct, text=f"{number}{place}", task="")
            for place, correct in enumerate(right.get(number, ()))
        ]
        other = [Answered(prompt_id="f" * 16, level=5, correct=True, text="", task="")] if number == 2 else []
        samples = [rollout("greedy.l5.p1.k0", prompt_id=f"{1:016x}", prompt_text="1+1=")]
        return {
            "outcomes.parquet": to_parquet([*rows, *other], Answered),
            "samples.parquet": to_parquet(samples, Rollout),
            "verdicts.parquet": to_parquet([], Verdict),
        }

    found = rewritten(tmp_path, evaluation=outcomes).diff("gen-1", "gen-2", prompts=False)
    [pair] = found.paired
    # The fifth prompt was not judged for one, and the last one was asked of the other alone.
    assert (pair.level, pair.prompts, pair.both, pair.only_a, pair.only_b, pair.neither) == (5, 5, 2, 1, 1, 1)
    assert pair.p_value == 1.0
    assert [(one.prompt_id, one.prompt, one.a, one.b, one.right) for one in found.answers] == [
        (f"{2:016x}", "", "12", "22", "b"),
        (f"{1:016x}", "1+1=", "11", "21", "a"),
    ]


def test_changes_name_each_leaf_that_differs() -> None:
    found = changes({"a": [1, {"b": 2}], "c": None, "d": "x"}, {"a": [1, {"b": 3}, 4], "d": "x"})
    assert [(one.name, one.a, one.b) for one in found] == [
        ("a[1].b", "2", "3"),
        ("a[2]", "", "4"),
        ("c", "null", ""),
    ]


def test_a_section_that_not_all_have_is_one_leaf_and_nothing_is_invented() -> None:
    first = {"steps": [], "base": {"b": [1, {"c": None}]}, "stages": None}
    second = {"steps": [{"type": "sft"}], "base": {"b": [1, {"c": 2}]}, "stages": None}
    third = {"base": {"b": [1, {"c": 2}]}, "stages": [{"name": "x"}]}
    assert dict(differences(first, second, third)) == {
        "base.b[1].c": ("null", "2", "2"),
        "stages": ("null", "null", '[{"name": "x"}]'),
        "steps": ("[]", '[{"type": "sft"}]', ""),
    }


# --- samples -------------------------------------------------------------------------------------------------------


def test_samples_come_by_reward(rich: Lineage) -> None:
    best, worst = (rich.samples("gen-3", order=order, count=48) for order in ("best", "worst"))
    assert [one.reward for one in best] == [1.0] * 32 + [0.0] * 16
    assert [one.reward for one in worst] == [0.0] * 16 + [1.0] * 32
    assert {one.status for one in worst[:16]} == {"FAIL"} and {one.task for one in best} == {"addition", "reversal"}
    assert [one.id for one in rich.samples("gen-3", count=5)] == [one.id for one in best[:5]]


def test_a_sample_says_what_became_of_it(rich: Lineage) -> None:
    [one] = [row for row in rich.samples("gen-3", count=48) if row.id == "g3.s0.u1.p0.k0"]
    assert (one.prompt, one.answer, one.status, one.breakdown) == ("21+41=", "640", "PASS", "exact 1")
    assert (one.use, one.replay, one.dropped) == ("none", True, "group without variance")
    assert (one.model, one.policy) == ("gen-1", rich.generation("gen-1").fingerprint)


def test_dropped_samples_are_found_by_a_part_of_the_reason(rich: Lineage) -> None:
    found = rich.samples("gen-3", dropped="WITHOUT variance", count=100)
    assert len(found) == 24 == rich.generation("gen-3").accounting.dropped["group without variance"]
    assert len(rich.samples("gen-3", dropped="", count=100)) == 24
    with pytest.raises(RecipeError, match=r"'too long'; its reasons: group without variance \(24\)"):
        rich.samples("gen-3", dropped="too long")


def test_held_out_answers_stand_in_where_no_step_drew_any(rich: Lineage) -> None:
    assert {one.id for one in rich.samples("base")} == {one.id for one in rich.samples("base", origin="heldout")}
    with pytest.raises(RecipeError, match="gen-0 of lineage rich has no training answers: its steps drew none"):
        rich.samples("base", origin="training")
    with pytest.raises(RecipeError, match="count 0 asks for no samples"):
        rich.samples("gen-3", count=0)


# --- trace ---------------------------------------------------------------------------------------------------------


def test_trace_tells_who_made_a_sample_and_who_was_trained_on_it(tmp_path: Path) -> None:
    lineage = rewritten(tmp_path, step_0=used)
    found = lineage.trace("g1.s0.u0.p0.k1")
    assert (found.kind, found.generation, found.step, found.record) == ("answer", "gen-1", 0, lineage.entries[1].hash)
    assert (found.model, found.policy) == ("gen-0", lineage.generation(0).fingerprint)
    assert (found.prompt, found.answer, found.seed, found.num_tokens) == ("21+40=", "640", 1, 3)
    assert found.made and (found.made.status, found.made.reward, found.made.verifier) == ("PASS", 1.0, "exact")
    assert [(one.generation, one.stream, one.count, one.replayed) for one in found.trained] == [
        ("gen-1", "rl", 1, False),
        ("gen-2", "ce", 2, True),
    ]
    assert sorted(one.id for one in found.group) == [f"g1.s0.u0.p0.k{k}" for k in (0, 2, 3, 4, 5, 6, 7)]
    assert sum(one.status == "PASS" for one in found.group) == 4


def test_trace_of_a_reference_names_the_task_and_who_was_shown_it(tmp_path: Path) -> None:
    found = rewritten(tmp_path, step_0=used).trace("0123456789abcdef")
    assert (found.kind, found.model, found.prompt, found.answer) == ("reference", "the task", "3+4=", None)
    assert [(one.generation, one.count) for one in found.trained] == [("gen-0", 3)]


def test_trace_finds_a_held_out_answer_of_the_generation_named(rich: Lineage) -> None:
    identity = rich.samples("gen-3", origin="heldout", count=1)[0].id
    assert rich.trace(identity, generation=3).generation == "gen-3"


def test_trace_follows_an_answer_into_a_fork_and_back(tmp_path: Path) -> None:
    origin = rewritten(tmp_path, step_0=used)
    fork = forked(tmp_path, origin=origin, number=2)
    found = origin.trace("g1.s0.u0.p0.k1")
    assert [(one.lineage, one.generation, one.count, one.replayed) for one in found.trained] == [
        ("made", "gen-1", 1, False),
        ("made", "gen-2", 2, True),
        ("fork", "gen-1", 4, True),
    ]
    assert fork.trace("g0.addition.g1.s0.u0.p0.k1") == found


def test_a_fork_without_its_origin_still_tells_what_it_kept(tmp_path: Path) -> None:
    origin = rewritten(tmp_path, step_0=used)
    fork = forked(tmp_path, origin=origin, number=2)
    shutil.rmtree(origin.path)
    found = fork.trace("g0.addition.g1.s0.u0.p0.k1")
    assert (found.kind, found.prompt, found.answer) == ("inherited answer", "21+40=", "640")
    assert found.lineage == "made@gen-2" and [one.generation for one in found.trained] == ["gen-1"]


def test_a_broken_neighbour_is_named_and_spoils_no_answer(tmp_path: Path) -> None:
    lineage = rewritten(tmp_path, step_0=used)
    build(tmp_path / "broken", plan=[], name="broken")
    record = Ledger(tmp_path / "broken").path(0)
    record.unlink()
    record.write_text("{")
    assert lineage.trace("g1.s0.u0.p0.k1").unread == ("broken",)
    assert lineage.taint("gen-1").unread == ("broken",)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ("g9.s0.u0.p0.k0", "there is no gen-9, the last is gen-8"),
        ("g0.s0.u0.p0.k0", "the steps of gen-0 drew no answers"),
        ("g3.s0.u0.p0.k9", "the steps of gen-3 drew 48 answers to 6 prompts"),
        ("g3.s7.u0.p0.k0", "the steps of gen-3 drew 48 answers"),
        ("g0.elsewhere.g1.s0.u0.p0.k0", "it is no fork that inherited it"),
        ("0000000000000000", "ids look like g3.s0.u17.p4.k2"),
        ("../../etc/passwd", "ids look like"),
        ("", "ids look like"),
        ("greedy.l5.p0.k0", "name whose: --generation"),
    ],
)
def test_a_sample_that_there_is_not_is_refused_with_what_there_is(rich: Lineage, sample: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        rich.trace(sample)


# --- contamination -------------------------------------------------------------------------------------------------


def test_a_held_out_prompt_that_was_trained_on_is_found_with_its_source(tmp_path: Path) -> None:
    leaked, clean = "1" * 16, "2" * 16

    def steps(number: int) -> dict[str, bytes]:
        rows = [
            rollout(f"g{number}.s0.u0.p0.k0", prompt_id=leaked, prompt_text="7+8="),
            rollout(f"g{number}.s0.u0.p1.k0", prompt_id=clean),
        ]
        usage = {
            0: [],
            1: [
                Used(source="g1.s0.u0.p0.k0", stream="rl", count=1),
                Used(source="g1.s0.u0.p1.k0", stream="rl", count=1),
            ],
            2: [
                Used(source="g1.s0.u0.p0.k0", stream="ce", count=2),
                Used(source="g2.s0.u0.p1.k0", stream="rl", count=1),
            ],
        }[number]
        return {"rollouts.parquet": to_parquet(rows, Rollout), "usage.parquet": to_parquet(usage, Used)}

    def outcomes(number: int) -> dict[str, bytes]:
        rows = [Answered(prompt_id=leaked, level=5, correct=number == 2, text="15", task="")]
        return {"outcomes.parquet": to_parquet(rows, Answered)}

    lineage = rewritten(tmp_path, step_0=steps, evaluation=outcomes)
    found = lineage.contamination("gen-2")
    assert [(row.generation, row.prompts, row.shared) for row in found.trained] == [
        ("gen-0", 0, 0),
        ("gen-1", 2, 1),
        ("gen-2", 2, 1),
    ]
    assert [(leak.prompt, leak.trained_by, leak.source, leak.count, leak.correct) for leak in found.leaks] == [
        ("7+8=", "gen-1", "g1.s0.u0.p0.k0", 1, True),
        ("7+8=", "gen-2", "g1.s0.u0.p0.k0", 2, True),
    ]
    assert found.sentence == (
        "contaminated: gen-2 and those whose weights it has were trained on 1 of the 1 held-out prompts"
    )
    # gen-0 has trained on nothing, so that what came later does not count against it.
    assert lineage.contamination("gen-0").is_clean


def test_contamination_looks_at_a_fork_s_origin_and_names_outside_models(rich: Lineage, rich_store: Path) -> None:
    found = rich.contamination("gen-3")
    names = [row.generation for row in found.trained]
    assert names == ["addition@gen-0", "addition@gen-1", "addition@gen-3", "gen-0", "gen-1", "gen-3"]
    assert (found.outside, found.is_clean, found.held_out) == ((TEACHER,), True, 30)
    assert found.trained[-1].overlap == 0.0
