"""The dry run: what it says of recipes and of lineages that have begun; its numbers are those of the formulas."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from support import lineage_factory, pretrained, tiny
from tokenizers import Regex, Tokenizer, pre_tokenizers

from bootstrap import processor
from bootstrap.compute import llama_shape, train_flops
from bootstrap.config.load import load_recipe
from bootstrap.config.recipe import Recipe
from bootstrap.errors import RecipeError, VerifierError
from bootstrap.planning.estimate import INFORMATIVE_SHARE, wall_seconds
from bootstrap.planning.notes import notes
from bootstrap.planning.overhead import GENERATION
from bootstrap.planning.plan import LineagePlan, make_plan
from bootstrap.planning.shapes import shape_of_config
from bootstrap.prompts.build import build_task
from bootstrap.scoring.verifier import Tools
from bootstrap.stages.verifiers import open_verifiers
from bootstrap.store.ledger import Entry

pytestmark = pytest.mark.torch

BASE = {"model": {"type": "scratch"}, "steps": [{"type": "sft", "updates": 10, "batch_size": 20}]}
RL = {"type": "rl", "rounds": 5, "prompts_per_update": 4, "group_size": 8, "distillation": {"batch_size": 6}}
REJECTION = {"type": "sft", "updates": 5, "source": {"type": "rejection", "prompts": 40, "samples_per_prompt": 2}}


def recipe(*steps: dict[str, Any], count: int = 3, **changes: Any) -> Recipe:
    settings: dict[str, Any] = {
        "name": "addition",
        "task": {"type": "addition", "base_level": 4},
        "base": BASE,
        "generations": {"count": count, "steps": list(steps or (RL,)), **changes.pop("generations", {})},
    }
    return Recipe.model_validate(settings | changes)


@pytest.fixture
def entries(tmp_path: Path) -> list[Entry]:
    return lineage_factory.build(tmp_path / "addition")


def test_each_generation_aims_one_level_higher_than_the_last() -> None:
    plan = make_plan(recipe(), lineage="addition", workers=2)
    assert [generation.target_levels for generation in plan.generations] == [(1, 2, 3, 4), (5,), (6,), (7,)]
    assert {generation.status for generation in plan.generations} == {"planned"}


FIXED = {"curriculum": {"type": "fixed"}}


def test_a_fixed_schedule_counts_siblings_as_one() -> None:
    settings = recipe(count=5, generations={"branches": 2, **FIXED})
    plan = make_plan(settings, lineage="addition", workers=2)
    assert [generation.target_levels for generation in plan.generations[1:]] == [(5,), (5,), (6,), (6,), (7,)]
    assert settings.highest_level() == 7 + settings.evaluation.lookahead


def test_a_fixed_schedule_counts_the_generations_of_earlier_stages() -> None:
    given = {"curriculum": {"type": "given", "levels": [4]}}
    stages = [
        {"name": "first", "generations": 3, **given, "steps": [RL]},
        {"name": "twins", "generations": 4, "branches": 2, **FIXED, "steps": [RL]},
    ]
    settings = recipe(generations={"count": 7, "steps": None, "stages": stages})
    plan = make_plan(settings, lineage="addition", workers=2)
    assert [g.target_levels for g in plan.generations[1:]] == [(4,), (4,), (4,), (8,), (8,), (9,), (9,)]
    assert settings.highest_level() == 9 + settings.evaluation.lookahead
    shorter = recipe(generations={"count": 3, "steps": None, "stages": stages})
    assert shorter.highest_level() == 4 + settings.evaluation.lookahead, "no generation is of the second stage"


def test_a_stage_goes_on_from_the_levels_that_an_earlier_one_was_given() -> None:
    stages = [
        {"name": "given", "curriculum": {"type": "given", "levels": [6, 7]}, "steps": [RL]},
        {"name": "next", "generations": 2, "steps": [RL]},
    ]
    settings = recipe(generations={"count": 3, "steps": None, "stages": stages})
    plan = make_plan(settings, lineage="addition", workers=2)
    assert [g.target_levels for g in plan.generations[1:]] == [(6, 7), (8,), (9,)]
    assert settings.highest_level() == 9 + settings.evaluation.lookahead


def test_a_solved_schedule_aims_beyond_what_the_weights_were_trained_on(entries: list[Entry]) -> None:
    accuracies = {row.level: row.accuracy for row in entries[3].generation.report.levels}
    curriculum = {"type": "solved", "solved_at": accuracies[8], "max_levels": 3}
    settings = recipe(count=6, generations={"curriculum": curriculum, "init": "previous"})
    fresh = make_plan(settings, lineage="addition", workers=2)
    assert [g.target_levels for g in fresh.generations[1:]] == [(5,), (6,), (7,), (8,), (9,), (10,)]
    assert settings.highest_level() == 4 + 6 * 3 + settings.evaluation.lookahead
    grown = make_plan(settings, lineage="addition", workers=2, entries=entries)
    assert [g.target_levels for g in grown.generations[3:6]] == [(6,), (7, 8), (9,)]


def test_a_model_too_short_for_what_a_fixed_schedule_reaches_is_refused() -> None:
    given = {"curriculum": {"type": "given", "levels": [4]}}
    stages = [{"name": "a", "generations": 3, **given, "steps": [RL]}, {"name": "b", **FIXED, "steps": [RL]}]
    generations = {"count": 4, "steps": None, "stages": stages}
    needed = recipe(generations=generations).task.longest_sequence(8 + 2)
    base = {"model": {"type": "scratch", "max_length": needed}, "steps": BASE["steps"]}
    assert recipe(generations=generations, base=base).highest_level() == 10
    base["model"]["max_length"] -= 1
    with pytest.raises(ValueError, match=f"set max_length: {needed}"):
        recipe(generations=generations, base=base)


def test_the_start_is_said_in_the_recipes_words() -> None:
    starts = {
        init: [generation.start for generation in make_plan(settings, lineage="x", workers=1).generations]
        for init in ("champion", "previous", "base")
        for settings in [recipe(count=2, generations={"init": init})]
    }
    assert starts == {
        "champion": ["random weights", "gen-0", "champion (gen-1 if promoted)"],
        "previous": ["random weights", "gen-0", "gen-1"],
        "base": ["random weights", "gen-0", "gen-0"],
    }


def test_a_generation_that_is_left_ungated_is_no_champion_to_be() -> None:
    first, last = {"name": "first", "steps": [RL]}, {"name": "last", "steps": [RL]}
    small = {"name": "small", "gate": "never", "init": {"type": "scratch", "num_layers": 1}, "steps": [RL]}
    starts = [
        [generation.start for generation in make_plan(settings, lineage="x", workers=1).generations]
        for stages in ([small, last], [first, small, last])
        for settings in [recipe(generations={"count": len(stages), "steps": None, "stages": stages})]
    ]
    assert starts == [
        ["random weights", "random weights", "gen-0"],
        ["random weights", "gen-0", "random weights", "champion (gen-1 if promoted)"],
    ]


def test_a_generation_that_the_gate_leaves_alone_aims_by_what_it_starts_from() -> None:
    small = {"type": "scratch", "hidden_size": 32, "num_layers": 1}
    shown = {"name": "student", "gate": "never", "init": small, "steps": BASE["steps"]}
    stages = [
        {"name": "teacher", "generations": 2, "steps": [RL]},
        shown | {"curriculum": {"type": "given", "levels": [5, 6]}},
        {"name": "first", "gate": "never", "init": {"type": "stage", "stage": "student"}, "steps": [RL]},
        {"name": "rest", "gate": "never", "init": "previous", "generations": 2, "steps": [RL]},
        {"name": "last", "steps": [RL]},
    ]
    settings = recipe(generations={"count": 7, "steps": None, "stages": stages})
    plan = make_plan(settings, lineage="x", workers=1)
    assert [g.target_levels for g in plan.generations[1:]] == [(5,), (6,), (5, 6), (5,), (6,), (7,), (7,)]


def test_what_is_to_be_beaten_decides_and_what_is_solved_by_the_weights_that_go_on() -> None:
    def stage(name: str, init: Any, curriculum: dict[str, Any]) -> dict[str, Any]:
        return {"name": name, "init": init, "curriculum": curriculum, "steps": [RL]}

    low = {"type": "stage", "stage": "low"}
    stages = [
        stage("low", "base", {"type": "given", "levels": [5]}),
        stage("high", "base", {"type": "given", "levels": [7]}),
        stage("next", low, {"type": "next"}),
        stage("solved", low, {"type": "solved"}),
        stage("previous", "previous", {"type": "solved"}),
    ]
    plan = make_plan(recipe(generations={"count": 5, "steps": None, "stages": stages}), lineage="x", workers=1)
    assert [g.target_levels for g in plan.generations[1:]] == [(5,), (7,), (8,), (6,), (7,)]


def test_a_merge_goes_on_from_what_its_models_were_trained_on() -> None:
    given = {"gate": "never", "init": "base", "curriculum": {"type": "given", "levels": [6]}, "steps": [RL]}
    ends = [{"type": "stage", "stage": name} for name in ("one", "two")]
    stages = [
        given | {"name": "one"},
        given | {"name": "two"},
        {"name": "merged", "gate": "never", "steps": [{"type": "merge", "models": ends}]},
        {"name": "later", "init": "previous", "curriculum": {"type": "solved"}, "steps": [RL]},
    ]
    plan = make_plan(recipe(generations={"count": 4, "steps": None, "stages": stages}), lineage="x", workers=1)
    assert plan.generations[4].target_levels == (7,)


@pytest.mark.parametrize(("init", "fails"), [("champion", True), ("base", True), ("previous", False)])
def test_solved_is_refused_where_its_aims_would_stay_the_same(init: str, fails: bool) -> None:
    generations = {"init": init, "curriculum": {"type": "solved"}}
    with pytest.raises(ValueError, match="set init: previous") if fails else nullcontext():
        recipe(count=3, generations=generations)
    recipe(count=1, generations=generations)


def test_what_shows_references_alone_is_assumed_to_learn_no_further_level() -> None:
    plan = make_plan(recipe({"type": "sft", "updates": 5}), lineage="x", workers=1)
    assert [generation.target_levels for generation in plan.generations[1:]] == [(5,), (5,), (5,)]


def test_teachers_and_samplers_cost_what_their_own_size_costs() -> None:
    def planned(step: dict[str, Any], *, hidden_size: int) -> dict[str, float]:
        base = {"model": {"type": "scratch", "hidden_size": hidden_size}, "steps": BASE["steps"]}
        small = {"type": "scratch", "hidden_size": 32, "num_layers": 1}
        stages = [{"name": "student", "gate": "never", "init": small, "steps": [step]}]
        settings = recipe(base=base, generations={"count": 1, "steps": None, "stages": stages})
        return make_plan(settings, lineage="x", workers=1).generations[1].flops

    distill = {"type": "distill", "updates": 3, "distillation": {"loss": "forward_kl", "teacher": "champion"}}
    sampled = {**REJECTION, "source": {**REJECTION["source"], "sampler": "champion"}}
    assert planned(distill, hidden_size=192)["train"] > 1.5 * planned(distill, hidden_size=96)["train"]
    assert planned(sampled, hidden_size=192)["generate"] > 2 * planned(sampled, hidden_size=96)["generate"]
    assert planned(sampled, hidden_size=192)["train"] == planned(sampled, hidden_size=96)["train"]


def test_a_champion_of_another_size_costs_its_own_size_once_it_is_decided(entries: list[Entry]) -> None:
    small = {"type": "scratch", "hidden_size": 32, "num_layers": 1}
    stages = [
        {"name": "small", "gate": "always", "init": small, "steps": [RL]},
        {"name": "next", "gate": "never", "init": "champion", "steps": [RL]},
        {"name": "base", "gate": "never", "init": "base", "steps": [RL]},
    ]
    settings = recipe(generations={"count": 3, "steps": None, "stages": stages})
    fresh = make_plan(settings, lineage="x", workers=1).generations
    assert fresh[1].flops["train"] < fresh[2].flops["train"], "undecided, so the lineage's own size stands for it"
    grown = make_plan(settings, lineage="x", workers=1, entries=entries[:2]).generations
    assert (grown[2].parent, grown[3].parent) == (1, 0)
    assert grown[2].flops["train"] < grown[3].flops["train"]


def test_groups_drawn_in_place_of_others_are_counted() -> None:
    def planned(**algorithm: Any) -> dict[str, float]:
        settings = recipe({**RL, "distillation": None, "algorithm": {"type": "grpo", **algorithm}})
        return make_plan(settings, lineage="x", workers=1).generations[1].flops

    plain, again = planned(), planned(resample=1)
    # Of the groups drawn, as many again as gave no gradient.
    assert again["generate"] == pytest.approx((2 - INFORMATIVE_SHARE) * plain["generate"])
    assert again["train"] == pytest.approx((2 - INFORMATIVE_SHARE) * plain["train"])


def test_groups_of_equal_rewards_that_a_reference_holds_are_trained_on() -> None:
    def trained(**algorithm: Any) -> float:
        settings = recipe({**RL, "distillation": None, "algorithm": {"type": "grpo", **algorithm}})
        return make_plan(settings, lineage="x", workers=1).generations[1].tokens["train"]

    kept, held = trained(zero_variance="keep"), trained(zero_variance="keep", kl={"weight": 0.1})
    assert kept == pytest.approx(INFORMATIVE_SHARE * held, rel=0.01)


def test_a_reference_of_a_kl_term_costs_a_forward_pass() -> None:
    plain, held = (
        make_plan(recipe({**RL, "distillation": None, "algorithm": algorithm}), lineage="x", workers=1)
        for algorithm in ({"type": "grpo"}, {"type": "grpo", "kl": {"weight": 0.1}})
    )
    assert held.generations[1].flops["train"] == pytest.approx(plain.generations[1].flops["train"] * 4 / 3, rel=1e-6)


def test_small_levels_are_evaluated_on_the_held_out_prompts_that_they_have() -> None:
    task = {"type": "addition", "base_level": 4}
    sampled = {"prompts": 60, "samples": 2, "k": 1}

    def planned(**asked: Any) -> LineagePlan:
        evaluation = {"prompts_per_level": 2000, "lookahead": 1, "sampled": None, **asked}
        return make_plan(recipe(count=1, task=task, evaluation=evaluation), lineage="x", workers=1)

    own = build_task(recipe(task=task).task)
    counts = {level: len(own.heldout(level, 2000)) for level in range(1, 6)}
    assert counts[1] < 60 < counts[2] < counts[3] == counts[5] == 2000
    plan = planned()
    # An answer to level n has up to n + 1 digits and an end.
    assert plan.generations[0].tokens["evaluate"] == sum(count * (level + 2) for level, count in counts.items())
    assert not [note for note in plan.notes if "upper bound" in note]
    more = planned(sampled=sampled).generations[0].tokens["evaluate"] - plan.generations[0].tokens["evaluate"]
    assert more == 2 * sum(min(count, 60) * (level + 2) for level, count in counts.items() if level < 5)


def test_a_panels_small_levels_are_planned_by_the_prompts_that_they_have() -> None:
    def planned(asked: int) -> int:
        watched = {"task": {**texts, "type": "reversal"}, "levels": [2, 9], "prompts_per_level": asked}
        settings = recipe(count=0, task={**texts, "type": "copy"}, evaluation={"panel": {"reversal": watched}})
        return make_plan(settings, lineage="x", workers=1).generations[0].tokens["evaluate"]

    texts = {"alphabet": "abc", "base_level": 4, "heldout_fraction": 0.5}
    assert planned(500) - planned(100) == 400 * (9 + 1), "level 2 has 9 texts"


def test_evaluation_of_levels_that_cannot_be_counted_is_said_to_be_an_upper_bound() -> None:
    settings = load_recipe(Path(__file__).parents[2] / "pipelines" / "gym.yaml")
    plan = make_plan(settings, lineage="gym", workers=1)
    assert len([note for note in plan.notes if "upper bound" in note]) == 1


def test_parents_and_teachers_are_numbers_once_they_are_determined(entries: list[Entry]) -> None:
    steps = [
        {"type": "distill", "updates": 1, "distillation": {"loss": "forward_kl", "teacher": teacher}}
        for teacher in ("base", "champion")
    ]
    fresh = make_plan(recipe(*steps, count=2), lineage="x", workers=1).to_json()["generations"]
    assert [row["name"] for row in fresh] == ["gen-0", "gen-1", "gen-2"]
    assert [(row["parent"], row["teachers"]) for row in fresh] == [(None, []), (0, [0]), (None, None)]
    grown = make_plan(recipe(*steps, count=5), lineage="x", workers=1, entries=entries).generations
    assert [row.parent for row in grown] == [entry.generation.parent for entry in entries] + [3, None]
    assert [row.teachers for row in grown[:4]] == [entry.generation.teachers for entry in entries]
    assert grown[4].teachers == (0, 3)
    previous = make_plan(recipe(count=2, generations={"init": "previous"}), lineage="x", workers=1)
    assert [(row.parent, row.teachers) for row in previous.generations] == [(None, ()), (0, ()), (1, ())]


def test_tokens_are_those_of_the_settings() -> None:
    plan = make_plan(recipe(), lineage="x", workers=1)
    base, first = plan.generations[:2]
    # Level 5: `<bos>` + 12 prompt characters, 6 digits + `<eos>`; replay of levels 1 to 4 has 3 * level + 5 tokens.
    # Training does not read the last one.
    assert first.tokens["generate"] == 5 * 4 * 8 * 7
    assert first.tokens["train"] == pytest.approx(5 * (4 * 8 * INFORMATIVE_SHARE * 19 + 6 * 11.5), abs=1)
    assert base.tokens["generate"] == 0
    assert base.tokens["train"] <= 10 * 20 * (3 * 4 + 4)


def test_flops_follow_the_formulas() -> None:
    plan = make_plan(recipe(REJECTION), lineage="x", workers=1)
    shape = llama_shape(num_layers=3, hidden_size=96, intermediate_size=192, vocab_size=16)
    assert plan.num_parameters == shape.num_parameters == 280_224
    trained = plan.generations[0].tokens["train"] / 200
    assert plan.generations[0].flops["train"] == pytest.approx(200 * train_flops(shape, [trained]), rel=1e-3)
    assert plan.generations[1].flops["generate"] > 0


def test_more_workers_take_less_time_for_the_same_work() -> None:
    one, two = (make_plan(recipe(), lineage="x", workers=workers) for workers in (1, 2))
    assert one.generations[1].flops == two.generations[1].flops
    assert one.generations[1].seconds - GENERATION == pytest.approx(2 * (two.generations[1].seconds - GENERATION))


def test_wide_models_are_assumed_to_come_nearer_to_the_machines_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    def rate(width: int, precision: str, *, has_bf16: bool = True) -> float:
        monkeypatch.setattr(processor, "has_bf16", lambda: has_bf16)
        model = {"type": "scratch", "hidden_size": width, "intermediate_size": 2 * width, "num_heads": 8}
        settings = recipe(count=1, base={"model": model, "steps": BASE["steps"]}, training={"precision": precision})
        planned = make_plan(settings, lineage="x", workers=1).generations[1]
        return sum(planned.flops.values()) / (planned.seconds - GENERATION)

    narrow, wide, exact = rate(504, "bf16"), rate(512, "bf16"), rate(512, "fp32")
    assert wide > 1.5 * exact > 2 * narrow
    assert rate(512, "auto") == wide
    assert rate(512, "auto", has_bf16=False) == exact
    assert rate(512, "bf16", has_bf16=False) < exact / 4


def test_bf16_on_a_processor_without_it_is_noted_with_the_setting_that_avoids_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processor, "has_bf16", lambda: False)
    (note,) = notes(recipe(training={"precision": "bf16"}))
    assert "emulated" in note and "precision: auto" in note
    assert not [*notes(recipe(training={"precision": "auto"})), *notes(recipe())]
    assert not list(notes(recipe(training={"precision": "bf16"}, resources={"gpus_per_worker": 1})))
    monkeypatch.setattr(processor, "has_bf16", lambda: True)
    assert not list(notes(recipe(training={"precision": "bf16"})))


def test_committed_generations_show_what_became_of_them(entries: list[Entry]) -> None:
    plan = make_plan(recipe(count=5), lineage="addition", workers=2, entries=entries)
    assert [generation.status for generation in plan.generations] == [
        "base",
        "promoted",
        "rejected",
        "promoted",
        "planned",
        "planned",
    ]
    measured = sum(entries[1].annotations.seconds.values())
    assert plan.generations[1].seconds == measured
    assert plan.generations[1].tokens == entries[1].generation.compute.tokens
    assert plan.generations[4].start == "gen-3 (champion)"
    assert plan.generations[4].target_levels == (7,)
    assert plan.generations[5].target_levels == (8,)


def test_committed_generations_pace_the_rest(entries: list[Entry]) -> None:
    settings = recipe(count=4)
    fresh = make_plan(settings, lineage="addition", workers=2)
    paced = make_plan(settings, lineage="addition", workers=2, entries=entries)
    assert paced.calibrated and not fresh.calibrated
    # The factory's generations are measured at about 40 seconds, far more than the tiny steps are planned at.
    assert paced.generations[4].seconds > 3 * fresh.generations[4].seconds


def test_start_up_evaluation_and_publishing_are_part_of_the_time() -> None:
    plan = make_plan(recipe(count=2), lineage="addition", workers=2)
    assert all(generation.seconds > GENERATION for generation in plan.generations)
    beside = plan.start_up_seconds + plan.publishing_seconds
    assert plan.start_up_seconds > 0 and plan.publishing_seconds > 0
    whole = beside + sum(generation.seconds for generation in plan.generations)
    assert plan.to_json()["remaining"]["seconds"] == pytest.approx(whole)
    local = make_plan(recipe(count=2), lineage="addition", workers=2, local=True)
    assert local.start_up_seconds < plan.start_up_seconds, "Ray has processes to start"


def test_a_generation_took_from_its_start_to_its_commit(entries: list[Entry]) -> None:
    measured = entries[1].annotations
    assert wall_seconds(measured) == 41.0, "five of them belong to no stage"
    stopped = measured.model_copy(update={"started": measured.finished})
    assert wall_seconds(stopped) == sum(measured.seconds.values()), "resumed shortly before its end"


def test_what_earlier_results_decide_is_planned_as_at_most(entries: list[Entry]) -> None:
    curriculum = {"type": "accelerated", "until": 0.3, "max_levels": 3}
    settings = recipe(count=5, generations={"curriculum": curriculum})
    fresh = make_plan(settings, lineage="x", workers=1).generations
    assert [one.most_levels for one in fresh[:3]] == [(1, 2, 3, 4), (5, 6, 7), (6, 7, 8)]
    grown = make_plan(settings, lineage="x", workers=1, entries=entries).generations
    assert [one.most_levels for one in grown[:4]] == [entry.generation.target_levels for entry in entries]
    assert grown[4].most_levels == grown[4].target_levels, "the next one's aims are known"
    assert len(grown[5].most_levels) == 3 > len(grown[5].target_levels)
    plain = make_plan(recipe(count=5), lineage="x", workers=1).generations
    assert all(one.most_levels == one.target_levels for one in plain)


def test_a_finished_lineage_has_nothing_left(entries: list[Entry]) -> None:
    plan = make_plan(recipe(count=2), lineage="addition", workers=2, entries=entries)
    assert plan.planned == ()
    assert len(plan.generations) == len(entries)
    assert plan.to_json()["remaining"] == {"tokens": 0, "flops": 0, "seconds": 0}


def test_accelerated_aims_at_what_the_champion_half_solves(entries: list[Entry]) -> None:
    curriculum = {"type": "accelerated", "until": 0.3, "max_levels": 3}
    plan = make_plan(recipe(count=4, generations={"curriculum": curriculum}), lineage="x", workers=1, entries=entries)
    accuracies = {row.level: row.accuracy for row in entries[3].generation.report.levels}
    assert accuracies[7] >= 0.3 > accuracies[8]
    assert plan.generations[4].target_levels == (7, 8)


def test_answers_that_are_read_again_cost_a_forward_pass() -> None:
    def trained(algorithm: dict[str, Any]) -> float:
        settings = recipe({**RL, "algorithm": algorithm, "distillation": None})
        return make_plan(settings, lineage="x", workers=1).generations[1].flops["train"]

    # Forward and backward are three times the forward pass.
    assert trained({"type": "ppo"}) == pytest.approx(trained({"type": "reinforce_pp"}) * 4 / 3, rel=1e-6)
    assert trained({"type": "grpo", "correction": {}}) == pytest.approx(trained({"type": "grpo"}) * 4 / 3, rel=1e-6)


def test_steps_say_their_data_and_their_teachers() -> None:
    distill = {"type": "distill", "updates": 3, "distillation": {"loss": "forward_kl", "teacher": "base"}}
    steps = make_plan(recipe(REJECTION, distill), lineage="x", workers=1).generations[2].steps
    assert steps[0].data == (
        "40 x 2 answers of level 6, judged by exact; replay of references of levels 1-4 "
        "and the lineage's verified answers of level 5"
    )
    assert steps[1].teachers == ("base",)


def test_a_step_says_how_it_replays() -> None:
    def told(source: dict[str, Any]) -> str:
        step = {**REJECTION, "source": {**REJECTION["source"], **source}}
        return make_plan(recipe(step), lineage="x", workers=1).generations[2].steps[0].data.partition("; replay of ")[2]

    assert told({"replay": {"data": "references"}}) == "references of levels 1-4"
    assert told({"replay": {"data": "latest"}}) == "the parent generation's verified answers"
    assert told({"replay": {"decay": 0.5, "min_reference_share": 0.2}}) == (
        "references of levels 1-4 and the lineage's verified answers of level 5, 0.5 as likely with each generation of "
        "age, at least 20% references"
    )
    assert told({"newest_share": 1.0}) == ""


def test_what_a_control_without_a_verifier_replays_is_its_own_and_not_called_verified() -> None:
    unfiltered = {**REJECTION, "source": {**REJECTION["source"], "filter": "none"}}
    step = make_plan(recipe(unfiltered), lineage="x", workers=1).generations[2].steps[0]
    assert step.data == (
        "40 x 2 answers of level 6, kept right or wrong; replay of references of levels 1-4 and the lineage's own "
        "answers of level 5"
    )


def r1(path: Path, *, count: int) -> Recipe:
    """Return the recipe of R1's stages with its reward model in another place."""
    changes = [f"generations.stages.3.verifier.components.2.verifier.model.path={path}", f"generations.count={count}"]
    return load_recipe(Path(__file__).parents[2] / "pipelines" / "r1.yaml", changes)


def test_a_reward_model_that_is_not_there_yet_is_noted_with_the_commands_that_make_it(tmp_path: Path) -> None:
    def noted(count: int) -> list[str]:
        return [note for note in notes(r1(tmp_path / "preferences", count=count)) if "reward model" in note]

    (note,) = noted(5)
    for expected in (
        "generation 4 is judged by a reward model that is not there yet",
        str(tmp_path / "preferences"),
        "run with generations.count=3",
        "`bootstrap pairs` and `bootstrap reward-model`",
    ):
        assert expected in note
    assert not noted(3)
    (tmp_path / "preferences").mkdir()
    (tmp_path / "preferences" / "config.json").write_text("{}")
    assert not noted(5)


def test_a_run_that_lacks_its_reward_model_says_where_to_stop_and_what_makes_it(tmp_path: Path) -> None:
    settings = r1(tmp_path / "preferences", count=5)
    with (
        pytest.raises(VerifierError, match=r"holds no reward model.*generations\.count=3.*`bootstrap pairs`"),
        open_verifiers(settings, build_task(settings.task), Tools()),
    ):
        pass


def test_controls_are_allowed_and_noted() -> None:
    continued = recipe({"type": "sft", "updates": 5})
    unfiltered = recipe({**REJECTION, "source": {**REJECTION["source"], "filter": "none"}})
    alone = recipe({**RL, "distillation": None})
    assert ["continued training" in note for note in notes(continued)] == [True]
    assert ["no verifier" in note for note in notes(unfiltered)] == [True]
    assert ["replays nothing, so old levels may erode" in note for note in notes(alone)] == [True]
    coin = recipe(verifier={"type": "random"}, evaluation={"verifier": {"type": "exact"}})
    assert ["right and wrong answers alike" in note for note in notes(coin)] == [True]
    taught = recipe({**RL, "algorithm": {"type": "unrewarded"}, "teaching": {}, "distillation": None})
    assert list(notes(taught)) == []
    assert list(notes(recipe())) == []


def test_bounds_of_ratios_that_are_all_1_are_noted() -> None:
    idle = recipe({**RL, "algorithm": {"type": "gspo", "dual_clip": 3}})
    assert [note.split(":")[0] for note in notes(idle)] == ["dual_clip 3 and ratio sequence never acts"]
    for acts in ({"mini_batches": 2}, {"inner_epochs": 2}, {"correction": {}}):
        assert list(notes(recipe({**RL, "algorithm": {"type": "gspo", "dual_clip": 3, **acts}}))) == []


def test_replay_is_planned_for_every_update_of_a_round_and_each_answer_once_an_epoch() -> None:
    def trained(**algorithm: int) -> float:
        step = {**RL, "algorithm": {"type": "grpo", **algorithm}}
        return make_plan(recipe(step), lineage="x", workers=1).generations[1].tokens["train"]

    def alone(**algorithm: int) -> float:
        step = {**RL, "algorithm": {"type": "grpo", **algorithm}, "distillation": None}
        return make_plan(recipe(step), lineage="x", workers=1).generations[1].tokens["train"]

    replay = trained() - alone()
    assert alone(mini_batches=3) == alone()
    assert trained(mini_batches=3) - alone(mini_batches=3) == pytest.approx(3 * replay, abs=3)
    assert trained(mini_batches=3, inner_epochs=2) == pytest.approx(2 * alone() + 6 * replay, abs=3)


def test_a_folders_shape_is_that_of_its_configuration() -> None:
    config = {
        "hidden_size": 96,
        "intermediate_size": 192,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "vocab_size": 16,
    }
    same = llama_shape(num_layers=3, hidden_size=96, intermediate_size=192, vocab_size=16)
    assert shape_of_config(config) == same
    # SmolLM2-135M: grouped keys and values, tied head; 134,515,008 parameters by its own card.
    smol = {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49152,
        "tie_word_embeddings": True,
    }
    assert shape_of_config(smol).num_parameters == 134_515_008


def test_a_configuration_of_another_family_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"gives no hidden_size, .*Llama family"):
        shape_of_config({"n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257})


def test_memory_grows_with_the_batch_and_holds_at_least_the_training_state() -> None:
    small, large = (
        make_plan(recipe(resources={"batch_rows": rows}), lineage="x", workers=1).memory_bytes_per_worker
        for rows in (1, 512)
    )
    assert 3 * 4 * 280_224 < small < large


def test_a_pretrained_models_tokens_are_those_of_its_tokenizer_and_its_chat_template(tmp_path: Path) -> None:
    files = pretrained.small_folder(chat=True)
    tokenizer = Tokenizer.from_str(files["tokenizer.json"].decode())
    merged = Tokenizer.from_str(tokenizer.to_str())
    # One token for all digits of a number: no longer one for each character.
    merged.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex("[0-9]+|."), "isolated")])
    files |= {"tokenizer.json": merged.to_str().encode()}
    model = {"type": "folder", "path": str(pretrained.write(files, tmp_path / "model"))}
    plain, chat = (
        make_plan(
            recipe(count=1, base={"model": {**model, "chat": how}, "steps": BASE["steps"]}), lineage="x", workers=1
        ).generations[1]
        for how in ("plain", "template")
    )
    # A prompt `12345+67890=` is <bos> and 4 tokens, its answer one and <eos>; the template adds `U:` and `\nA:`.
    own, trained = 5 * 4 * 8, 5 * 4 * 8 * INFORMATIVE_SHARE + 5 * 6
    assert plain.tokens["generate"] == own * 2
    assert plain.tokens["train"] == trained * 6
    assert chat.tokens["train"] - plain.tokens["train"] == trained * (5 - 1)


def test_answers_count_as_long_as_the_recipe_lets_them_be_and_take_the_memory(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"prompt": "{n}+1=", "answer": "1"}}\n' for n in range(200)))
    path = tmp_path / "rows.yaml"

    def planned(limit: int) -> LineagePlan:
        path.write_text(
            "name: rows\ntask: {type: file, path: rows.jsonl, max_prompt_length: 16, max_answer_length: 8, "
            f"max_answer_tokens: {limit}}}\nbase: {{model: {{type: scratch, max_length: 512}}, steps: [{{type: sft, "
            "updates: 1}]}\ngenerations: {count: 1, steps: [{type: rl, rounds: 1, prompts_per_update: 1}]}\n"
        )
        return make_plan(load_recipe(path), lineage="x", workers=1)

    short, long = planned(10), planned(310)
    assert (long.generations[1].tokens["generate"], short.generations[1].tokens["generate"]) == (8 * 310, 8 * 10)
    assert long.memory_bytes_per_worker > short.memory_bytes_per_worker


def test_training_memory_ends_where_a_pass_may_have_no_more_logits(tmp_path: Path) -> None:
    path = tmp_path / "model"
    model = {"type": "folder", "path": str(pretrained.write(pretrained.small_folder(), path))}
    base = {"model": model, "steps": BASE["steps"]}

    def memory(rows: int, vocabulary: int) -> int:
        config = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps(config | {"vocab_size": vocabulary}))
        settings = recipe(count=1, base=base, resources={"batch_rows": rows, "rollout_rows": 1})
        return make_plan(settings, lineage="x", workers=1).memory_bytes_per_worker

    assert memory(64, 1000) < 0.25 * memory(512, 1000)
    assert memory(400, 2**20) < 1.01 * memory(200, 2**20)


def test_planning_touches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "name: x\ntask: {type: copy}\nbase: {steps: [{type: sft, updates: 1}]}\ngenerations: {steps: [{type: rl}]}"
    )
    make_plan(load_recipe(path), lineage="x", workers=1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["recipe.yaml"]


def test_rows_that_a_file_task_leaves_out_are_told(tmp_path: Path) -> None:
    rows = [{"prompt": f"{n}+1=", "answer": str(n + 1)} for n in range(200)] + [{"prompt": "ü=", "answer": "u"}] * 3
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {
        "name": "rows",
        "task": {"type": "file", "path": "rows.jsonl", "max_prompt_length": 16, "max_answer_length": 8},
        "base": {"model": {"type": "scratch", "max_length": 64}, "steps": [{"type": "sft", "updates": 2}]},
        "generations": {"count": 1, "steps": [{"type": "rl", "rounds": 2}]},
        "evaluation": {"prompts_per_level": 20, "lookahead": 0, "sampled": None},
        "gate": {"min_prompts": 10},
    }
    path = tmp_path / "rows.yaml"
    path.write_text(json.dumps(recipe))
    found = make_plan(load_recipe(path), lineage="rows", workers=1)
    [note] = [note for note in found.notes if "left out" in note]
    assert "3 " in note


def test_a_plan_on_fixed_data_tells_how_alpha_is_shared_and_of_the_final_set(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": f"{n}=", "answer": str(n)}) for n in range(10, 99)))
    task = {
        "type": "file",
        "path": str(path),
        "alphabet": "0123456789=",
        "max_prompt_length": 4,
        "max_answer_length": 3,
    }
    told = " ".join(notes(tiny.recipe(task=task)))
    assert "gate.alpha 0.05 is shared by 2 comparisons: the first is tested at 0.025, a rejection" in told
    assert "there is no final set" in told
    kept = " ".join(notes(tiny.recipe(task={**task, "final_fraction": 0.2})))
    assert "there is no final set" not in kept
    assert not any("alpha" in note or "final" in note for note in notes(tiny.recipe()))
