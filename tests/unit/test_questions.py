"""Questions about a lineage with rejected candidates, a fork, a merge, an outside teacher and two tasks.

addition   gen-0 -> gen-1 -> gen-3, gen-2 rejected; rich starts from its gen-3
rich       gen-0 -> gen-1 -> gen-3 -> gen-6 -> gen-8; gen-2, gen-4, gen-7 rejected; gen-5 ungated; gen-6 merges 3 and 5
"""

import json
import shutil
from pathlib import Path

import pytest
from support.lineage_factory import PROMOTED, build
from support.questioned import Answered, Shown, Used, forked, rewritten, used
from support.rich_lineage import TEACHER, build_rich
from support.rollouts import rollout

from bootstrap import Lineage
from bootstrap.canonical import sha256
from bootstrap.cli.main import main
from bootstrap.errors import RecipeError, StoreError
from bootstrap.ledger_records import Edge
from bootstrap.lineage.questions.difference import by_chance
from bootstrap.lineage.questions.settings import changes, leaves
from bootstrap.records import Rollout, Selection, Use, Verdict
from bootstrap.store.ledger import Ledger
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.tables import to_parquet


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    build_rich(folder / "rich")
    return folder


@pytest.fixture
def rich(store: Path) -> Lineage:
    return Lineage(store, "rich")


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
        300,
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


@pytest.mark.parametrize(("one", "other", "p_value"), [(0, 0, 1.0), (3, 3, 1.0), (0, 5, 2 / 32), (1, 7, 2 * 9 / 256)])
def test_the_probability_of_so_unequal_a_split_is_exact(one: int, other: int, p_value: float) -> None:
    assert by_chance(one, other) == by_chance(other, one) == pytest.approx(p_value)


def test_changes_name_each_leaf_that_differs() -> None:
    found = changes({"a": [1, {"b": 2}], "c": None, "d": "x"}, {"a": [1, {"b": 3}, 4], "d": "x"})
    assert [(one.name, one.a, one.b) for one in found] == [
        ("a[1].b", "2", "3"),
        ("a[2]", "", "4"),
        ("c", "null", ""),
    ]


def test_leaves_hold_empty_sections_and_invent_nothing() -> None:
    value = {"steps": [], "base": {"b": [1, {"c": None}]}, "options": {}}
    assert dict(leaves(value)) == {"base.b[0]": "1", "base.b[1].c": "null", "options": "{}", "steps": "[]"}


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
    with pytest.raises(RecipeError, match="0 samples are none"):
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
        ("greedy.l5.p0.k0", "name whose with --generation"),
    ],
)
def test_a_sample_that_there_is_not_is_refused_with_what_there_is(rich: Lineage, sample: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        rich.trace(sample)


# --- taint ---------------------------------------------------------------------------------------------------------


def test_taint_of_a_generation_follows_every_edge(rich: Lineage) -> None:
    found = rich.taint("gen-5")
    assert [(row.generation, row.distance, row.via) for row in found.downstream] == [
        ("gen-6", 1, ("is merged from gen-5",)),
        ("gen-7", 2, ("starts from gen-6", "was trained on answers of gen-6")),
        ("gen-8", 2, ("starts from gen-6", "was trained on answers of gen-6")),
    ]
    assert found.clean == ("gen-0", "gen-1", "gen-2", "gen-3", "gen-4")
    assert found.champion_is_tainted and found.kind == "generation"
    assert found.sentence == "3 of 9 generations of rich are downstream of gen-5, the champion among them"


def test_taint_tells_teaching_voting_and_holding_apart(rich: Lineage) -> None:
    ways = {row.generation: row.via for row in rich.taint("gen-1").downstream}
    assert ways["gen-3"] == ("starts from gen-1", "was held to gen-1", "was trained on answers of gen-1")
    assert ways["gen-5"] == ("was taught by gen-1", "was trained on answers of gen-1")
    assert ways["gen-6"] == ("was judged by the votes of gen-1", "was trained on answers of gen-1")


def test_a_rejected_generation_that_nobody_learnt_from_taints_nothing(rich: Lineage) -> None:
    found = rich.taint("gen-2")
    assert not found.downstream and found.sentence == "nothing is downstream of gen-2; not the champion"


def test_taint_goes_on_into_forks(store: Path) -> None:
    found = Lineage(store, "addition").taint("gen-1")
    own = [row.generation for row in found.downstream if row.lineage == "addition"]
    assert own == ["gen-2", "gen-3"]
    others = {row.generation: (row.distance, row.via) for row in found.downstream if row.lineage == "rich"}
    assert others["gen-0"] == (2, ("starts from addition@gen-3",))
    assert others["gen-1"] == (3, ("starts from gen-0", "was trained on answers of gen-0"))
    assert len(others) == 9 and found.sentence.endswith("the champion among them, and 9 in rich")


def test_a_fork_is_tainted_by_answers_that_it_inherited(tmp_path: Path) -> None:
    origin = rewritten(tmp_path, step_0=used)
    # Nothing in the origin leads from gen-1 to gen-0, from which the fork starts; the answer is gen-1's.
    forked(tmp_path, origin=origin, number=0)
    ways = {row.generation: row.via for row in origin.taint("gen-1").downstream if row.lineage == "fork"}
    assert ways["gen-0"] == ("inherited answers of made@gen-1",)


def test_taint_of_a_model_outside_the_lineage(rich: Lineage) -> None:
    found = rich.taint(TEACHER)
    direct = [(row.generation, row.via) for row in found.downstream if row.distance == 1]
    assert direct == [("gen-1", (f"was taught by {TEACHER}",)), ("gen-2", (f"was taught by {TEACHER}",))]
    assert found.kind == "model" and found.clean == ("gen-0",)


def test_taint_of_a_verifier_by_name_and_by_version(rich: Lineage) -> None:
    by_name, by_version = rich.taint("exact"), rich.taint("v" + "1" * 15)
    assert by_name.downstream == by_version.downstream
    # The nine of the lineage, and the four of the one that it was forked from.
    assert [row.lineage for row in by_name.downstream] == ["rich"] * 9 + ["addition"] * 4
    assert {row.via for row in by_name.downstream} == {("judged its answers",)}
    assert by_name.kind == "verifier" and by_name.clean == ()


def test_taint_follows_exported_weights_into_other_lineages(tmp_path: Path) -> None:
    tutor = build(tmp_path / "tutor", plan=[PROMOTED, PROMOTED], teacher=False)
    build(tmp_path / "school", plan=[PROMOTED, PROMOTED], name="school", teacher=False)
    source, made = LineageStore(tmp_path / "school"), LineageStore(tmp_path / "second")
    made.open("second", identity=source.header().identity)
    shutil.copytree(source.artifacts_folder, made.artifacts_folder, dirs_exist_ok=True)
    taught = Edge(role="teacher", generation=None, external="/exports/x", fingerprint=tutor[1].generation.fingerprint)
    for entry in source.ledger.read():
        more = (taught,) if entry.generation.number == 2 else ()
        # Weights of their own, which those of the factory's other lineages do not equal.
        changed = {"edges": (*entry.generation.edges, *more), "fingerprint": f"{entry.generation.number:064x}"}
        made.ledger.append(entry.generation.model_copy(update=changed), entry.annotations)
    shutil.rmtree(source.root)
    found = Lineage(tmp_path, "tutor").taint("gen-1")
    assert [(row.lineage, row.generation, row.distance, row.via) for row in found.downstream] == [
        ("tutor", "gen-2", 1, ("starts from gen-1", "was trained on answers of gen-1")),
        ("second", "gen-2", 1, ("was taught by /exports/x, with the weights of tutor@gen-1",)),
    ]
    # Through gen-1, whose weights were exported.
    base = {(row.lineage, row.generation): row.distance for row in Lineage(tmp_path, "tutor").taint("gen-0").downstream}
    assert base["second", "gen-2"] == 2
    assert not Lineage(tmp_path, "tutor").taint("gen-2").downstream


def test_taint_knows_no_data_set_of_a_step_that_there_was_not(tmp_path: Path) -> None:
    lineage = rewritten(tmp_path, step_0=used)
    for name in ("rollouts-gen-0-step-7", "training-gen-1-step-1", "replay-gen-0", "rollouts-gen-9-step-0"):
        with pytest.raises(RecipeError, match=f"knows no subject '{name}'"):
            lineage.taint(name)
    assert lineage.taint("rollouts-gen-1-step-0").downstream and lineage.taint("replay-gen-1").downstream
    inherited = forked(tmp_path, origin=lineage, number=2).taint("replay-gen-0").downstream
    assert (inherited[0].generation, inherited[0].via) == ("gen-0", ("inherited it",))


def test_taint_looks_upstream_of_a_fork(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(tmp_path / "first", plan=[PROMOTED, PROMOTED], outside="/models/tutor", teacher=False)
    forked(tmp_path, origin=Lineage(tmp_path, "first"), number=1)
    found = Lineage(tmp_path, "fork").taint("/models/tutor")
    assert [(row.lineage, row.generation, row.distance) for row in found.downstream] == [
        ("first", "gen-1", 1),
        ("first", "gen-2", 1),
        ("fork", "gen-0", 2),
        ("fork", "gen-1", 3),
    ]
    assert found.clean == () and found.champion_is_tainted and found.unsearched == ()
    shutil.rmtree(tmp_path / "first")
    alone = Lineage(tmp_path, "fork").taint("exact")
    assert alone.unsearched == ("first@gen-1",) and Lineage(tmp_path, "fork").taint("gen-0").unsearched == ()
    assert main(["taint", "exact", "--lineage", "fork", "--store", str(tmp_path)]) == 0
    assert "not searched: first@gen-1" in capsys.readouterr().err


def test_taint_of_data_sets(rich: Lineage, tmp_path: Path) -> None:
    for name in ("replay-gen-5", "rollouts-gen-5-step-0", "training-gen-5-step-0"):
        assert [(row.generation, row.distance, row.via) for row in rich.taint(name).downstream][:2] == [
            ("gen-5", 1, ("drew it, and was trained on it",)),
            ("gen-6", 2, ("is merged from gen-5",)),
        ]
    with pytest.raises(RecipeError, match="knows no subject 'replay-gen-9'"):
        rich.taint("replay-gen-9")
    suite = rich.generation("gen-8").report.suite
    assert [(row.generation, row.via) for row in rich.taint(f"suite-{suite[:12]}").downstream] == [
        ("gen-7", ("was evaluated on it",)),
        ("gen-8", ("was evaluated on it",)),
    ]
    panel = rich.taint("copy")
    assert panel.kind == "dataset" and [row.lineage for row in panel.downstream] == ["rich"] * 9 + ["addition"] * 4


def test_taint_of_a_task_counts_what_was_trained_on(tmp_path: Path) -> None:
    def steps(number: int) -> dict[str, bytes]:
        rows = [rollout(f"g{number}.s0.u0.p{place}.k0", task="addition") for place in range(3)]
        chosen = [
            Selection(rollout_id=row.id, use=use, replay=replay, reason="")
            for row, use, replay in zip(rows, (Use.RL, Use.NONE, Use.NONE), (False, True, False), strict=True)
        ]
        references = [Shown(source=sha256(b"addition\n3+4=")[:16], prompt="3+4=")]
        return {
            "rollouts.parquet": to_parquet(rows if number == 1 else [], Rollout),
            "selections.parquet": to_parquet(chosen if number == 1 else [], Selection),
            "shown.parquet": to_parquet([] if number else references, Shown),
        }

    found = rewritten(tmp_path, step_0=steps).taint("addition")
    assert [(row.generation, row.distance, row.via) for row in found.downstream] == [
        ("gen-0", 1, ("was shown 1 of its references",)),
        ("gen-1", 1, ("was trained on 1 of its answers", "kept 1 more of its answers for replay")),
        ("gen-2", 2, ("starts from gen-1", "was trained on answers of gen-0", "was trained on answers of gen-1")),
    ]


def test_taint_of_a_file_by_its_name_and_by_its_content(tmp_path: Path) -> None:
    content, heldout = "a" * 64, "b" * 64
    task = {"type": "file", "path": ["data/one.jsonl", {"hub": "openai/gsm8k"}], "heldout": "data/test.jsonl"}
    build(tmp_path / "plain", plan=[PROMOTED], teacher=False)
    plain, made = LineageStore(tmp_path / "plain"), LineageStore(tmp_path / "files")
    identity = plain.header().identity
    made.open(
        "addition", identity={**identity, "task": {"type": "file", "content": content, "heldout_content": heldout}}
    )
    shutil.copytree(plain.artifacts_folder, made.artifacts_folder, dirs_exist_ok=True)
    for entry in plain.ledger.read():
        made.ledger.append(entry.generation, entry.annotations)
    made.keep("recipe.json", json.dumps({"folder": "x", "recipe": {"task": task}}).encode())
    lineage = Lineage(tmp_path, "files")
    for name in ("data/one.jsonl", "openai/gsm8k", content, content[:8]):
        assert {row.via for row in lineage.taint(name).downstream} == {("was trained on it",)}, name
    for name in ("data/test.jsonl", heldout):
        assert {row.via for row in lineage.taint(name).downstream} == {("was evaluated on it",)}, name
    with pytest.raises(RecipeError, match=r"data/one\.jsonl, openai/gsm8k"):
        lineage.taint("data/two.jsonl")
    made.keep("recipe.json", b"[")
    with pytest.raises(RecipeError, match="knows no subject"):
        lineage.taint("data/one.jsonl")


def test_a_subject_that_nothing_is_called_is_refused_with_what_there_is(rich: Lineage) -> None:
    with pytest.raises(RecipeError, match=r"knows no subject 'gen-9'.*gen-0 to gen-8.*exact.*addition.*/models/tutor"):
        rich.taint("gen-9")
    with pytest.raises(RecipeError, match="knows no verifier 'gen-1'"):
        rich.taint("gen-1", kind="verifier")


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


def test_contamination_looks_at_a_fork_s_origin_and_names_outside_models(rich: Lineage, store: Path) -> None:
    found = rich.contamination("gen-3")
    names = [row.generation for row in found.trained]
    assert names == ["addition@gen-0", "addition@gen-1", "addition@gen-3", "gen-0", "gen-1", "gen-3"]
    assert (found.outside, found.is_clean, found.held_out) == ((TEACHER,), True, 30)
    assert found.trained[-1].overlap == 0.0
