"""Distillation by divergence and on the student's own samples, as steps of a lineage."""

import pytest
from pydantic import ValidationError
from support.tiny import RL, Watched, grow, recipe

from bootstrap.config.distillation import Distillation, OnPolicyDistillation
from bootstrap.config.steps import RlStep
from bootstrap.records import Batch, Example, Use
from bootstrap.stages.reinforcement import HELD
from bootstrap.stages.tables import Tables
from bootstrap.store.lineage_store import LineageStore

pytestmark = [pytest.mark.torch, pytest.mark.training]

OWN = {"type": "rl", "rounds": 2, "prompts_per_update": 4, "checkpoint_every": 2, "distillation": None}


def tables_of(root, entry) -> Tables:
    return Tables.read(LineageStore(root).artifact(entry.generation.artifacts["step-0"]))


def streams(tables: Tables) -> set[str]:
    return {row.stream for row in tables.usage}


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "reverse_kl", "teacher": "base"},
        {"loss": "jsd", "beta": 0.3, "teacher": "base"},
        {"loss": "forward_kl", "top_k": 2, "teacher": "base"},
    ],
    ids=lambda s: s["loss"],
)
def test_every_divergence_trains_on_replayed_sequences(tmp_path, settings):
    sft = {"type": "sft", "updates": 3, "batch_size": 8}
    step = {"type": "distill", "updates": 3, "distillation": {"batch_size": 8, **settings}}
    entries = grow(recipe(steps=[sft, step], count=1), tmp_path)
    generation = entries[1].generation
    rows = Tables.read(LineageStore(tmp_path).artifact(generation.artifacts["step-1"])).updates
    assert all(row.kl_loss > 0 for row in rows[:1]) and rows[0].ce_loss == 0
    assert generation.teachers == (0,)
    forward = {
        "type": "distill",
        "updates": 3,
        "distillation": {"batch_size": 8, "loss": "forward_kl", "teacher": "base"},
    }
    other = grow(recipe(steps=[sft, forward], count=1), tmp_path / "forward")[1].generation
    assert generation.fingerprint != other.fingerprint


@pytest.mark.parametrize("loss", ["token_reward", "reverse_kl"])
def test_a_teacher_alone_trains_on_every_sample_of_the_student(tmp_path, loss):
    sft = {"type": "sft", "updates": 3, "batch_size": 8}
    step = OWN | {"group_size": 1, "algorithm": {"type": "unrewarded"}, "teaching": {"loss": loss, "teacher": "base"}}
    entries = grow(recipe(steps=[sft, step], count=1), tmp_path)
    tables = Tables.read(LineageStore(tmp_path).artifact(entries[1].generation.artifacts["step-1"]))
    assert {s.reason for s in tables.selections} == {"taught"} and len(tables.selections) == 8
    assert all(row.grad_norm > 0 for row in tables.updates)
    assert [row.kl_loss > 0 for row in tables.updates] == [loss == "reverse_kl"] * 2
    assert entries[1].generation.teachers == (0,)


def test_zero_variance_groups_learn_from_the_teacher_beside_the_reward(tmp_path):
    step = RL | {"rounds": 2, "teaching": {"loss": "reverse_kl", "teacher": "base"}}
    tables = tables_of(tmp_path, grow(recipe(steps=[step], count=1), tmp_path)[1])
    assert {"compared", "taught"} >= {s.reason for s in tables.selections} >= {"taught"}
    assert {s.use for s in tables.selections} == {Use.RL}
    assert {"ce", "kl", "rl"} == streams(tables)


def last_batch(root, step) -> tuple[Batch, Tables]:
    pool = Watched()
    entries = grow(recipe(steps=[step | {"rounds": 1}], count=1), root, pool=pool)
    return pool.batches[-1], tables_of(root, entries[1])


def test_teaching_leaves_the_weights_of_reward_and_replay_as_they_are(tmp_path):
    step = RL | {"distillation": {"loss": "forward_kl", "teacher": "base", "batch_size": 8, "weight": 0.75}}
    plain, _ = last_batch(tmp_path / "plain", step)
    taught = {
        loss: last_batch(tmp_path / loss, step | {"teaching": {"teacher": "base", "loss": loss, "weight": 0.5}})[0]
        for loss in ("token_reward", "forward_kl")
    }

    def rewarded(batch: Batch) -> dict[str, list[float]]:
        total = batch.normalizers.rl
        return {e.source: [a / total for a in e.advantages] for e in batch.examples if any(e.advantages)}

    def compared(batch: Batch, examples: list[Example]) -> float:
        total = sum(e.kl_weight * (len(e.tokens) - e.num_prompt_tokens) for e in examples)
        return total / batch.normalizers.kl

    assert len(rewarded(plain)) >= 2, "a group is live"
    for batch in (plain, *taught.values()):
        replayed = [e for e in batch.examples if not e.advantages]
        assert len(replayed) == 8 and compared(batch, replayed) == pytest.approx(0.75)
        assert rewarded(batch) == {name: pytest.approx(weights) for name, weights in rewarded(plain).items()}
    own = {loss: [e for e in batch.examples if e.advantages] for loss, batch in taught.items()}
    assert {len(examples) for examples in own.values()} == {16}
    assert len([e for e in plain.examples if e.advantages]) < 16, "zero-variance groups are taught"
    assert compared(taught["forward_kl"], own["forward_kl"]) == pytest.approx(0.5)
    assert taught["token_reward"].normalizers.rl == sum(len(e.advantages) for e in own["token_reward"])


def test_where_zero_variance_groups_count_in_the_mean_they_are_held_to_the_reference_too(tmp_path):
    batch, tables = last_batch(tmp_path, RL | {"algorithm": {"type": "grpo", "zero_variance": "keep", "kl": {}}})
    own = [e for e in batch.examples if e.advantages]
    assert all(e.kl_targets for e in own) and len(own) == 16
    assert batch.normalizers.rl == sum(len(e.advantages) for e in own)
    assert {s.reason for s in tables.selections} == {"compared", HELD}
    assert {row.source for row in tables.usage if row.stream == "rl"} == {r.id for r in tables.rollouts}


def test_masked_answers_are_not_taught_either(tmp_path):
    algorithm = {"type": "grpo", "truncated_answers": "mask", "resample": 1}
    step = RL | {"rounds": 3, "prompts_per_update": 8, "algorithm": algorithm, "teaching": {"teacher": "base"}}
    tables = tables_of(tmp_path, grow(recipe(steps=[step], count=1), tmp_path)[1])
    cut = {r.id for r in tables.rollouts if r.finish.is_truncated}
    used = {s.rollout_id for s in tables.selections if s.use is Use.RL}
    assert cut and used == {r.id for r in tables.rollouts} - cut
    assert {row.source for row in tables.usage if row.stream == "rl"} == used


def test_each_level_learns_from_the_teacher_of_its_route():
    settings = Distillation.model_validate(
        {"loss": "forward_kl", "teacher": "base", "routes": [{"from_level": 4, "teacher": "champion"}]}
    )
    assert [settings.teacher_at(level) for level in (1, 3, 4, 9)] == ["base", "base", "champion", "champion"]
    assert settings.teachers() == ((("teacher",), "base"), (("routes", 0, "teacher"), "champion"))


def test_a_route_of_the_examples_task_goes_before_one_of_all_tasks():
    routes = [
        {"task": "sum", "teacher": 0},
        {"task": "sum", "from_level": 6, "teacher": "champion"},
        {"from_level": 4, "teacher": "parent"},
    ]
    settings = Distillation.model_validate({"loss": "forward_kl", "teacher": "base", "routes": routes})
    assert [settings.teacher_at(level, task="sum") for level in (1, 5, 6)] == [0, 0, "champion"]
    assert [settings.teacher_at(level, task="back") for level in (1, 3, 4, 9)] == ["base", "base", "parent", "parent"]


@pytest.mark.parametrize(
    ("routes", "message"),
    [
        ([{"teacher": 0}], "the route is for every example"),
        ([{"task": "a", "teacher": 0}, {"task": "a", "teacher": "base"}], "routes of task a start at levels"),
    ],
)
def test_routes_that_lead_nowhere_are_refused(routes, message):
    with pytest.raises(ValidationError, match=message):
        Distillation.model_validate({"loss": "forward_kl", "routes": routes})


def test_routed_teachers_are_loaded_recorded_and_taught_from(tmp_path):
    settings = {"loss": "forward_kl", "batch_size": 16, "routes": [{"from_level": 3, "teacher": "base"}]}
    step = {"type": "sft", "updates": 3, "batch_size": 8}
    steps = [step, {"type": "distill", "updates": 2, "distillation": settings}]
    entries = grow(recipe(steps=steps, count=2, generations={"count": 2, "init": "previous", "steps": steps}), tmp_path)
    assert entries[2].generation.teachers == (1, 0)


@pytest.mark.parametrize(
    ("step", "remedy"),
    [
        ({"distillation": {"teacher": "base"}}, "set loss: forward_kl"),
        ({"distillation": {"routes": [{"from_level": 2, "teacher": "base"}]}}, "set loss: forward_kl"),
        ({"distillation": {"beta": 0.5}}, "set loss: jsd"),
        ({"distillation": {"top_k": 5}}, "remove top_k"),
        ({"teaching": {"top_k": 5}}, "set loss: reverse_kl"),
        ({"algorithm": {"type": "unrewarded"}}, "set teaching"),
        ({"distillation": {"loss": "forward_kl"}, "teaching": {"loss": "reverse_kl"}}, "token_reward"),
        (
            {
                "distillation": {
                    "loss": "jsd",
                    "routes": [{"from_level": 4, "teacher": 0}, {"from_level": 2, "teacher": 0}],
                }
            },
            "ascending",
        ),
    ],
)
def test_teachers_that_could_not_teach_are_refused_with_the_remedy(step, remedy):
    with pytest.raises(ValidationError, match=remedy):
        RlStep.model_validate(step)


def test_the_limits_of_the_jensen_shannon_divergence_have_names():
    betas = {loss: Distillation(loss=loss).kl_beta for loss in ("ce", "forward_kl", "jsd", "reverse_kl")}
    assert betas == {"ce": 0.0, "forward_kl": 0.0, "jsd": 0.5, "reverse_kl": 1.0}
    assert OnPolicyDistillation(loss="jsd", beta=0.2).kl_beta == 0.2
