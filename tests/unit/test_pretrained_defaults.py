"""Defaults of steps by kind of model, and warnings about settings far outside their usual ranges."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from support import tiny

from bootstrap.cli.plan import print_plan
from bootstrap.config import defaults
from bootstrap.config.recipe import Recipe
from bootstrap.config.usual import ADAPTER_TABLE, TABLE, unusual
from bootstrap.lineage import text
from bootstrap.planning.plan import make_plan

FOLDER = {"type": "folder", "path": "model"}
ADAPTER = {"adapter": {"type": "lora"}}
PIPELINES = sorted((Path(__file__).parents[2] / "pipelines").glob("*.yaml"))


def filled(*steps: dict[str, Any], **changes: Any) -> dict[str, Any]:
    recipe: dict[str, Any] = {"base": {"model": dict(FOLDER)}, "generations": {"steps": list(steps)}} | changes
    defaults.fill(recipe)
    return recipe


def step_of(step: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return filled(step, **changes)["generations"]["steps"][0]


def grown(*steps: dict[str, Any], model: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "x",
            "task": {"type": "addition", "base_level": 2},
            "base": {"model": model or FOLDER},
            "generations": {"count": 1, "steps": list(steps)},
        }
        | changes
    )


@pytest.mark.parametrize("kind", ["sft", "rl", "distill", "self_play", "plugin"])
def test_a_pretrained_model_is_trained_by_adamw_with_the_rate_of_what_is_trained(kind: str) -> None:
    whole, adapted = step_of({"type": kind}), step_of({"type": kind}, training=dict(ADAPTER))
    assert whole["optimizer"] == {"type": "adamw", "lr": 1e-6, "betas": [0.9, 0.999]}
    assert adapted["optimizer"] == {"type": "adamw", "lr": 2e-5, "betas": [0.9, 0.999]}
    assert whole["schedule"] == {"warmup": 0.05, "decay": 0.95}


def test_what_a_step_says_itself_is_kept() -> None:
    own = {
        "type": "rl",
        "optimizer": {"type": "adamw", "lr": 1e-5, "betas": [0.9, 0.98]},
        "schedule": {"warmup": 0.0, "decay": 0.5},
        "prompts_per_update": 3,
        "distillation": {"batch_size": 5},
    }
    assert step_of(copy.deepcopy(own)) == own
    assert step_of({"type": "rl", "distillation": None})["distillation"] is None
    muon = {"type": "muon_adamw", "muon_lr": 0.001}
    assert step_of({"type": "sft", "optimizer": dict(muon)})["optimizer"] == muon


def test_an_optimizer_without_a_rate_gets_that_of_the_kind() -> None:
    found = step_of({"type": "sft", "optimizer": {"type": "adamw", "weight_decay": 0.1}}, training=dict(ADAPTER))
    assert (found["optimizer"]["lr"], found["optimizer"]["weight_decay"]) == (2e-5, 0.1)
    # As an override writes it: generations.steps.0.optimizer.lr=0.00001.
    for setting in ({"lr": 1e-5}, {"weight_decay": 0.01}, {"betas": [0.9, 0.95]}, {}):
        found = step_of({"type": "sft", "optimizer": dict(setting)})["optimizer"]
        assert found == {"type": "adamw", "lr": 1e-6, "betas": [0.9, 0.999]} | setting
    for setting in ({"muon_lr": 0.001}, {"adamw_lr": 1e-5}, {"momentum": 0.9}):
        assert step_of({"type": "sft", "optimizer": dict(setting)})["optimizer"] == setting


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"decay": 0.5}, {"warmup": 0.05, "decay": 0.5}),
        ({"decay": 1.0}, {"warmup": 0.0, "decay": 1.0}),
        ({"warmup": 0.1}, {"warmup": 0.1, "decay": 0.9}),
        ({"final": 0.2}, {"warmup": 0.05, "decay": 0.95, "final": 0.2}),
    ],
)
def test_a_schedule_is_completed_to_one_that_fits(schedule: dict[str, float], expected: dict[str, float]) -> None:
    found = step_of({"type": "sft", "updates": 1, "schedule": schedule})
    assert found["schedule"] == pytest.approx(expected)
    grown(found)


def test_batches_fit_long_sequences() -> None:
    assert step_of({"type": "sft"})["batch_size"] == 32
    rl = step_of({"type": "rl"})
    assert (rl["prompts_per_update"], rl["distillation"]["batch_size"]) == (16, 16)
    assert step_of({"type": "rl", "algorithm": {"mini_batches": 20}})["prompts_per_update"] == 20


def test_precision_follows_the_machine_for_a_pretrained_base_alone() -> None:
    assert filled()["training"] == {"precision": "auto"}
    assert filled(training={"precision": "fp32"})["training"] == {"precision": "fp32"}
    assert "training" not in filled(base={"model": {"type": "scratch"}})


def test_a_stage_follows_the_kind_of_the_model_that_it_starts_from() -> None:
    steps = [{"type": "sft", "updates": 1}]
    stages = [
        {"name": "own", "steps": steps},
        {"name": "other", "steps": steps, "init": {"type": "folder", "path": "other"}},
        {"name": "on", "steps": steps, "init": "previous"},
        {"name": "after", "steps": steps, "init": {"type": "stage", "stage": "other"}},
        {"name": "champion", "steps": steps},
    ]
    base = {"model": {"type": "scratch"}, "steps": steps}
    found = filled(base=base, generations={"stages": copy.deepcopy(stages)})
    assert [stage["name"] for stage in found["generations"]["stages"] if "optimizer" in stage["steps"][0]] == [
        "other",
        "on",
        "after",
    ]
    # The stages' steps are one object, as an alias of YAML is.
    assert found["base"]["steps"] == steps == [{"type": "sft", "updates": 1}]
    stages[1]["init"] = {"type": "scratch"}
    found = filled(generations={"stages": stages})
    assert [stage["name"] for stage in found["generations"]["stages"] if "optimizer" in stage["steps"][0]] == [
        "own",
        "champion",
    ]


def fork(pretrained: bool | None) -> dict[str, Any]:
    model = {"type": "generation", "lineage": "one", "number": 0, "level": 2, "pretrained": pretrained}
    return {"model": model | {"fingerprint": "a" * 64, "record": "b" * 64}}


@pytest.mark.parametrize("pretrained", [True, False, None])
def test_a_fork_follows_the_kind_of_its_origin(pretrained: bool | None) -> None:
    [step] = filled({"type": "rl"}, base=fork(pretrained))["generations"]["steps"]
    assert ("optimizer" in step) == bool(pretrained)
    # Identities of older forks lack the key.
    assert ("pretrained" in grown({"type": "rl"}, base=fork(pretrained)).identity()["base"]["model"]) == (
        pretrained is not None
    )


@pytest.mark.parametrize("wrong", [{"training": 3}, {"generations": []}, {"generations": {"steps": [3]}}])
def test_what_is_no_recipe_is_left_to_the_settings(wrong: dict[str, Any]) -> None:
    filled(**wrong)


@pytest.mark.parametrize("path", [p for p in PIPELINES if "type: scratch" in p.read_text()], ids=lambda path: path.stem)
def test_a_recipe_from_scratch_is_left_as_it_is(path: Path) -> None:
    data = yaml.safe_load(path.read_text())
    before = copy.deepcopy(data)
    defaults.fill(data)
    assert data == before


# --- warnings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_the_recipes_are_within_what_is_usual(path: Path) -> None:
    from bootstrap.config.load import load_recipe

    assert list(unusual(load_recipe(path, check_folders=False))) == []


@pytest.mark.parametrize("kind", ["sft", "rl"])
@pytest.mark.parametrize("training", [{}, ADAPTER])
def test_the_defaults_are_within_what_is_usual(kind: str, training: dict[str, Any]) -> None:
    step = step_of({"type": kind, **({"updates": 1} if kind == "sft" else {})}, training=dict(training))
    assert list(unusual(grown(step, training=training))) == []
    assert list(unusual(tiny.recipe())) == []


GENTLE = {"type": "rl", "optimizer": {"type": "adamw", "lr": 1e-6}}


def warned(step: dict[str, Any], **changes: Any) -> list[str]:
    return [line.split(" is ")[0] for line in unusual(grown(step, **changes))]


@pytest.mark.parametrize(
    ("step", "training", "expected"),
    [
        ({"type": "rl", "optimizer": {"type": "adamw", "lr": 0.0004}}, {}, "optimizer.lr 0.0004"),
        ({"type": "sft", "updates": 1, "optimizer": {"type": "adamw", "lr": 0.0004}}, {}, ""),
        ({"type": "rl", "optimizer": {"type": "adamw", "lr": 0.0005}}, ADAPTER, ""),
        ({"type": "rl", "optimizer": {"type": "adamw", "lr": 0.01}}, ADAPTER, "optimizer.lr 0.01"),
        ({"type": "rl", "optimizer": {"type": "adamw", "lr": 4e-8}}, {}, "optimizer.lr 4e-08"),
        ({**GENTLE, "temperature": 20.0}, {}, "temperature 20"),
        ({**GENTLE, "algorithm": {"type": "grpo", "kl": {"weight": 2.0}}}, {}, "algorithm.kl.weight 2"),
        ({**GENTLE, "grad_clip": 50.0}, {}, "grad_clip 50"),
    ],
)
def test_a_value_ten_times_outside_is_told_with_its_place(
    step: dict[str, Any], training: dict[str, Any], expected: str
) -> None:
    assert warned(step, training=training) == ([f"generations.steps[0].{expected}"] if expected else [])


def test_the_line_names_value_range_source_and_remedy() -> None:
    [line] = unusual(grown({"type": "rl", "optimizer": {"type": "adamw", "lr": 0.0004}}))
    assert "80 times the most that is usual for a pretrained model, 5e-07 to 5e-06 (arXiv:" in line
    assert line.endswith("choose a value between them, or remove the setting for its default") and "\n" not in line


def test_an_adapters_scale_is_compared_with_its_rank() -> None:
    adamw = {"type": "rl", "optimizer": {"type": "adamw", "lr": 1e-5}}
    adapter = {"type": "lora", "rank": 16, "alpha": 1600}
    assert warned(adamw, training={"adapter": adapter}) == ["training.adapter.alpha / rank 100"]


def test_a_step_from_scratch_is_measured_by_other_rates() -> None:
    base = {"model": {"type": "scratch"}, "steps": [{"type": "sft", "updates": 1}]}
    step = {"type": "rl", "optimizer": {"type": "adamw", "lr": 1e-6}}
    assert warned(step, base=base) == ["generations.steps[0].optimizer.lr 1e-06"]
    assert warned({"type": "rl"}, base=base) == []


@pytest.mark.parametrize(("pretrained", "lr"), [(True, 4e-4), (False, 1e-6), (None, None)])
def test_a_forks_step_is_measured_by_its_origins_kind_where_that_is_known(
    pretrained: bool | None, lr: float | None
) -> None:
    told = {
        rate: warned({"type": "rl", "optimizer": {"type": "adamw", "lr": rate}}, base=fork(pretrained))
        for rate in (4e-4, 1e-6)
    }
    assert [rate for rate, lines in told.items() if lines] == ([] if lr is None else [lr])


def test_the_table_has_sources_and_ranges() -> None:
    for usual in (*TABLE, *ADAPTER_TABLE):
        assert 0 <= usual.low < usual.high and usual.source


def test_a_plan_tells_warnings_memory_and_limits(capsys: pytest.CaptureFixture[str]) -> None:
    base = {"model": {"type": "scratch"}, "steps": [{"type": "sft", "updates": 1}]}
    recipe = grown({"type": "rl", "grad_clip": 50.0}, base=base, resources={"train_tokens": 600, "rollout_rows": 12})
    plan = make_plan(recipe, lineage="x", workers=1, memory=2**30)
    assert (plan.rollout_rows, plan.memory_limit) == (12, 2**30) and 500 < plan.train_tokens <= 600
    print_plan(plan)
    told = capsys.readouterr().out
    assert "warning: generations.steps[0].grad_clip 50 is 50 times the most that is usual" in told
    assert "of 1.07 GB, with at most 12 sequences decoded together" in told
    assert f"memory: at least {text.si(plan.least_memory_bytes_per_worker, unit='B')} a worker, one sequence" in told
    assert plan.least_memory_bytes_per_worker < plan.memory_bytes_per_worker
    least = plan.least_memory_bytes_per_worker
    [note] = [one for one in make_plan(recipe, lineage="x", workers=1, memory=least - 1).notes if "GiB" in one]
    assert "may take 0.0: lower resources.workers, train an adapter" in note


def test_a_plan_without_a_known_memory_prints_what_is_needed_at_least(capsys: pytest.CaptureFixture[str]) -> None:
    base = {"model": {"type": "scratch"}, "steps": [{"type": "sft", "updates": 1}]}
    print_plan(make_plan(grown({"type": "rl"}, base=base, resources={"gpus_per_worker": 1}), lineage="x", workers=1))
    told = capsys.readouterr().out
    assert "one sequence at a time; how many it takes together is set when it starts" in told
    assert "up to" not in told.partition("memory: ")[2].splitlines()[0] and "sequences decoded" not in told


def test_more_rows_than_a_forward_pass_may_have_are_refused() -> None:
    with pytest.raises(ValidationError, match="rollout_rows 65 exceeds batch_rows 64"):
        grown({"type": "rl"}, resources={"batch_rows": 64, "rollout_rows": 65})


def test_automatic_limits_of_a_plan_follow_from_memory() -> None:
    base = {"model": {"type": "scratch"}, "steps": [{"type": "sft", "updates": 1}]}
    tight, wide, free = (
        make_plan(grown({"type": "rl"}, base=base), lineage="x", workers=1, memory=memory)
        for memory in (2**25, 2**32, None)
    )
    assert tight.rollout_rows < wide.rollout_rows == free.rollout_rows == 512
    assert tight.train_tokens < wide.train_tokens == free.train_tokens
    assert tight.memory_bytes_per_worker <= 2**25
