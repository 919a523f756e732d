"""Rounds of the `rl` step under every algorithm: they train, their books balance, and a killed one goes on alike."""

import os
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
from support.pretrained import write
from support.rollouts import rollout, verdict
from support.tiny import EVALUATION, REJECTION, RL, Watched, grow, recipe

from bootstrap.errors import AccountingMismatch
from bootstrap.ledger_records import Edge
from bootstrap.pool import LocalPool
from bootstrap.records import Checkpoint, Finish, Status, Use
from bootstrap.selection.filters import (
    COMPARED,
    OFF_POLICY,
    OFF_POLICY_ALONE,
    TRUNCATED,
    more_samples,
    select_batch,
    select_groups,
)
from bootstrap.selection.replay import ReplayPool
from bootstrap.selection.retirement import PassRates
from bootstrap.stages.generate import spread
from bootstrap.stages.reference import ReferencePolicy
from bootstrap.stages.reinforcement import RlTrainer
from bootstrap.stages.tables import Tables
from bootstrap.store.lineage_store import LineageStore
from bootstrap.training.schedule import schedule_factor

pytestmark = pytest.mark.torch

ALGORITHMS = [
    {"type": "gspo"},
    {"type": "cispo", "inner_epochs": 2},
    {"type": "rloo", "normalize_batch": True, "dual_clip": 3.0},
    {"type": "pass_at_k", "k": 2, "zero_variance": "keep"},
    {"type": "reinforce_pp", "kl": {"where": "reward", "estimator": "k1", "weight": 0.05}},
    {"type": "ppo", "lam": 0.95, "kl": {"where": "reward", "estimator": "k1", "weight": 0.05}, "inner_epochs": 2},
    {"type": "grpo", "inner_epochs": 2, "entropy": {"type": "kl_cov"}, "normalize_std": "batch"},
    {"type": "grpo", "ratio": "product", "surrogate": "masked", "entropy": {"type": "clip_cov", "low": 0.01}},
]


def tables_of(root, entry) -> Tables:
    return Tables.read(LineageStore(root).artifact(entry.generation.artifacts["step-0"]))


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: a["type"])
def test_a_generation_trains_under_every_algorithm(tmp_path, algorithm):
    step = RL | {"algorithm": algorithm, "rounds": 2}
    entries = grow(recipe(steps=[step], count=1), tmp_path)
    tables = tables_of(tmp_path, entries[1])
    assert len(tables.updates) == 2 * algorithm.get("inner_epochs", 1)
    assert all(row.grad_norm > 0 for row in tables.updates)
    assert entries[1].generation.fingerprint != entries[0].generation.fingerprint


class Deaf(LocalPool):
    """A pool whose sampler reports wrong log-probabilities for every second sample, as an engine of its own might.

    It counts how often its learner reads each rollout.
    """

    def __init__(self):
        super().__init__(1, batch_rows=64)
        self.read = Counter()

    def recompute_logprobs(self, examples, *, temperature):
        self.read.update(example.source for example in examples)
        return super().recompute_logprobs(examples, temperature=temperature)

    def generate(self, *args, **kwargs):
        found = super().generate(*args, **kwargs)
        return [replace(r, logprobs=tuple(x - 1.0 for x in r.logprobs)) if r.sample_index % 2 else r for r in found]


def test_answers_that_sampler_and_trainer_disagree_about_are_masked_and_stand_in_the_accounting(tmp_path):
    step = RL | {"rounds": 3, "prompts_per_update": 8, "algorithm": {"type": "grpo", "resample": 1}}
    corrected = step | {"algorithm": step["algorithm"] | {"correction": {"high": 1.5}}}
    pool = Deaf()
    entries = grow(recipe(steps=[corrected], count=1), tmp_path / "deaf", pool=pool)
    assert set(pool.read.values()) == {1}, "what the correction has read is not read again to compare the sampler"
    tables = tables_of(tmp_path / "deaf", entries[1])
    samples = {r.id: r.sample_index for r in tables.rollouts}
    reasons = {(samples[s.rollout_id] % 2, s.reason) for s in tables.selections if s.reason in (COMPARED, OFF_POLICY)}
    assert reasons == {(0, COMPARED), (1, OFF_POLICY)}
    trained = {row.source for row in tables.usage if row.stream == Use.RL}
    assert trained == {s.rollout_id for s in tables.selections if s.use is Use.RL}
    assert any(row.mismatch for row in tables.updates)
    assert all(0.3 < row.mismatch < 0.7 for row in tables.updates if row.mismatch is not None)
    assert entries[1].generation.accounting.dropped[OFF_POLICY] > 0


@pytest.mark.parametrize("count", [0, 1, 3, 5, 7, 13])
def test_prompts_are_spread_evenly_and_chance_says_which_levels_have_one_more(count):
    levels = (1, 2, 4, 5, 6)
    assert spread(count, levels, seed=None) == spread(count, levels, seed=None)
    totals = Counter[int]()
    for seed in range(400):
        shares = spread(count, levels, seed=seed)
        assert shares == spread(count, levels, seed=seed)
        assert [level for level, _ in shares] == list(levels)
        assert sum(share for _, share in shares) == count
        assert max(share for _, share in shares) - min(share for _, share in shares) <= 1
        totals.update(dict(shares))
    # Five standard deviations of a draw at even odds.
    assert all(abs(totals[level] - 400 * count / 5) < 50 for level in levels)


def test_what_has_to_be_the_same_every_time_is_spread_from_the_first_level_on():
    assert spread(7, (1, 2, 3), seed=None) == [(1, 3), (2, 2), (3, 2)]


@pytest.mark.parametrize("retire", [None, 0.9])
def test_prompts_drawn_in_place_of_others_come_from_every_level_in_turn(tmp_path, monkeypatch, retire):
    asked: dict[tuple[int, int], tuple[int, ...]] = {}
    draw = RlTrainer._prompts

    def watched(self, number, count, again, *, rates):
        prompts = draw(self, number, count, again, rates=rates)
        levels = tuple(prompt.level for prompt in prompts)
        assert asked.setdefault((number, again), levels) == levels, "the books draw them once more"
        return prompts

    monkeypatch.setattr(RlTrainer, "_prompts", watched)
    step = RL | {"levels": "all", "rounds": 8, "prompts_per_update": 5, "retire": retire}
    step |= {"algorithm": {"type": "grpo", "resample": 3}}
    entries = grow(recipe(steps=[step], count=1), tmp_path / "straight")
    assert all(sorted(levels) == [1, 2, 3, 4, 5] for (_, again), levels in asked.items() if not again and not retire)
    few = [levels for (_, again), levels in asked.items() if again and 0 < len(levels) < 5]
    assert {level for levels in few for level in levels} == {1, 2, 3, 4, 5}
    assert any(5 in levels and 1 not in levels for levels in few), "the level aimed at has its turn"
    settings = recipe(steps=[step], count=1)
    with pytest.raises(Killed):
        grow(settings, tmp_path / "killed", pool=FragilePool(1, updates=settings.base.steps[0].updates + 5))
    assert grow(settings, tmp_path / "killed")[1].hash == entries[1].hash


class Deafer(LocalPool):
    """A pool whose sampler reports wrong log-probabilities for every sample."""

    def generate(self, *args, **kwargs):
        return [replace(r, logprobs=tuple(x - 1.0 for x in r.logprobs)) for r in super().generate(*args, **kwargs)]


def test_masked_answers_of_replaced_groups_keep_the_accounting_reconciled_under_a_teacher(tmp_path):
    algorithm = {"type": "grpo", "resample": 1, "correction": {"high": 1.5}}
    step = RL | {"rounds": 2, "algorithm": algorithm, "teaching": {"teacher": "base"}}
    entries = grow(recipe(steps=[step], count=1), tmp_path, pool=Deafer(1, batch_rows=64))
    accounting = entries[1].generation.accounting
    assert accounting.prompts_drawn > 8, "groups without a gradient were drawn again"
    assert accounting.dropped[OFF_POLICY_ALONE] > 0
    assert accounting.trained + sum(accounting.dropped.values()) == accounting.rollouts


def test_a_correction_where_sampler_and_trainer_agree_trains_alike(tmp_path):
    step = RL | {"rounds": 2}
    corrected = step | {"algorithm": {"type": "grpo", "correction": {"level": "token", "outside": "truncate"}}}
    plain = tables_of(tmp_path / "plain", grow(recipe(steps=[step], count=1), tmp_path / "plain")[1])
    found = tables_of(tmp_path / "corrected", grow(recipe(steps=[corrected], count=1), tmp_path / "corrected")[1])
    assert [row.mismatch is None for row in plain.updates] == [True] * 2
    assert all(row.mismatch is None or row.mismatch < 1e-5 for row in found.updates)
    assert any(row.mismatch is not None for row in found.updates)
    for mine, theirs in zip(found.updates, plain.updates, strict=True):
        assert mine.grad_norm == pytest.approx(theirs.grad_norm, rel=1e-3)


class Killed(Exception):
    pass


class FragilePool(LocalPool):
    """A pool whose process dies at its n-th update."""

    def __init__(self, size: int, *, updates: int) -> None:
        super().__init__(size, batch_rows=64)
        self.left = updates

    def update(self, *args, **kwargs):
        if not self.left:
            raise Killed
        self.left -= 1
        return super().update(*args, **kwargs)


def test_mini_batches_learn_from_each_group_once_and_a_killed_step_goes_on_alike(tmp_path):
    algorithm = {"type": "reinforce_pp", "mini_batches": 2}
    step = RL | {"algorithm": algorithm, "rounds": 3, "distillation": {"batch_size": 4}}
    settings = recipe(steps=[step], count=1)
    pool = Watched()
    straight = grow(settings, tmp_path / "straight", pool=pool)[1]
    tables = tables_of(tmp_path / "straight", straight)
    batches = pool.batches[-6:]
    for number in range(3):
        parts = [{e.source for e in batch.examples if e.advantages} for batch in batches[2 * number : 2 * number + 2]]
        groups = [{source.rsplit(".", 1)[0] for source in part} for part in parts]
        compared = {s.rollout_id for s in tables.selections if s.reason == COMPARED and f".u{number}." in s.rollout_id}
        assert parts[0] | parts[1] == compared and not groups[0] & groups[1]
        assert not compared or len(groups[0]) == len(groups[1]) == 2
        replayed = [[e for e in batch.examples if e.ce_weight] for batch in batches[2 * number : 2 * number + 2]]
        assert len(replayed[0]) == len(replayed[1]) == 4 and replayed[0] != replayed[1]
    learned = [row for row in tables.updates if row.rl_loss]
    assert [row.update for row in tables.updates] == list(range(6)) and len(learned) >= 2
    assert all(row.ratio_max == pytest.approx(1, abs=1e-4) for row in learned if row.update % 2 == 0)
    assert any(abs(row.ratio_max - 1) > 1e-3 for row in learned if row.update % 2)
    assert [row.lr_factor for row in tables.updates] == [
        schedule_factor(settings.generations.steps[0].schedule, update=update, total=6) for update in range(6)
    ]
    with pytest.raises(Killed):
        grow(settings, tmp_path / "killed", pool=FragilePool(1, updates=settings.base.steps[0].updates + 5))
    assert grow(settings, tmp_path / "killed")[1].generation.fingerprint == straight.generation.fingerprint


def test_a_step_killed_between_refreshes_of_its_reference_goes_on_alike(tmp_path):
    kl = {"weight": 0.5, "estimator": "k2", "refresh_every": 3}
    step = RL | {"algorithm": {"type": "grpo", "kl": kl}, "rounds": 7}
    settings = recipe(steps=[step], count=1)
    straight = grow(settings, tmp_path / "straight")[1].generation
    base_updates = settings.base.steps[0].updates
    # Parts end after rounds 2, 4 and 6: before a refresh that comes again, between two, and at one.
    for survived in (3, 5, 6):
        root = tmp_path / f"killed-{survived}"
        with pytest.raises(Killed):
            grow(settings, root, pool=FragilePool(1, updates=base_updates + survived))
        kept = sorted(name for name in os.listdir(root / "work") if name.startswith("reference"))
        assert 1 <= len(kept) <= 2
        assert grow(settings, root)[1].generation.fingerprint == straight.fingerprint
    never = step | {"algorithm": {"type": "grpo", "kl": kl | {"refresh_every": None}}}
    assert grow(recipe(steps=[never], count=1), tmp_path / "never")[1].generation.fingerprint != straight.fingerprint


def planned(**changes):
    """Return as much of a plan as a reference asks for."""
    models = {"teachers": {}, "samplers": {}, "references": {}, "asked": {}}
    levels = {"target_levels": (), "replay_levels": ()}
    return SimpleNamespace(number=1, pool=ReplayPool(), rates=PassRates(), **levels, **{**models, **changes})


class Growing:
    """Weights that are others in every round, in place of learners."""

    def __init__(self) -> None:
        self.number = 0

    def export(self) -> Checkpoint:
        return Checkpoint(fingerprint=f"weights of round {self.number}", files={"model": b"w"})

    def teach_by(self, teachers) -> None:
        pass


def growing(folder, *, refresh_every, **changes):
    """Return a step whose reference is refreshed, and the context of a lineage in a folder whose weights grow."""
    kl = {"refresh_every": refresh_every}
    settings = recipe(steps=[RL | {"algorithm": {"type": "grpo", "kl": kl}} | changes])
    store = LineageStore(folder)
    store.open(settings.name, identity=settings.identity())
    context = SimpleNamespace(recipe=settings, store=store, learners=Growing(), identity=dict, in_progress=dict)
    return settings.generations.steps[0], context


def test_a_reference_is_kept_from_the_last_part_on_and_no_longer(tmp_path):
    step, context = growing(tmp_path, refresh_every=1, rounds=12, checkpoint_every=3)
    plan = planned()

    def held(reference: ReferencePolicy, number: int) -> int:
        context.learners.number = number
        (kl_target,) = reference.kl_targets(number)
        assert kl_target.model == f"weights of round {number}"
        return len(os.listdir(tmp_path / "work"))

    def reference() -> ReferencePolicy:
        return ReferencePolicy(context, plan, step, index=0)

    first = reference()
    assert [held(first, number) for number in range(8)] == [1, 2, 3, 1, 2, 3, 1, 2]
    again = reference()
    assert [held(again, number) for number in range(6, 12)] == [2, 2, 3, 1, 2, 3], "it was killed in round 7"


def test_a_reference_of_a_run_with_another_teacher_is_never_taken(tmp_path):
    step, context = growing(tmp_path, refresh_every=2, rounds=4, checkpoint_every=4)

    def kl_target_of(teacher: str, *, weights: int, number: int) -> str:
        context.learners.number = weights
        plan = planned(teachers={"outside": (None, Checkpoint(fingerprint=teacher, files={}))})
        (kl_target,) = ReferencePolicy(context, plan, step, index=0).kl_targets(number)
        return kl_target.model

    assert kl_target_of("a", weights=102, number=2) == "weights of round 102"
    assert kl_target_of("b", weights=202, number=2) == "weights of round 202"
    assert kl_target_of("a", weights=0, number=3) == "weights of round 102"
    assert kl_target_of("b", weights=0, number=3) == "weights of round 202"


def test_a_step_is_held_to_the_generation_or_the_folder_that_its_recipe_names(tmp_path):
    kl = {"weight": 0.5, "estimator": "k3"}

    def settings(model, **changes):
        step = RL | {"algorithm": {"type": "grpo", "kl": kl | {"model": model} | changes}}
        return recipe(steps=[REJECTION, step | {"rounds": 3, "prompts_per_update": 10}], count=1)

    def held(entry) -> list[Edge]:
        return [edge for edge in entry.generation.edges if edge.role == "reference"]

    base = grow(settings("base"), tmp_path / "base")
    assert [[edge.generation for edge in held(entry)] for entry in base] == [[], [0]]
    assert held(base[1])[0].fingerprint == base[0].generation.fingerprint
    same = grow(settings(0), tmp_path / "number")
    assert [e.generation.fingerprint for e in same] == [e.generation.fingerprint for e in base]
    start = grow(settings("start"), tmp_path / "start")
    assert [held(entry) for entry in start] == [[], []], "the second step starts from weights of its own generation"
    assert start[1].generation.fingerprint != base[1].generation.fingerprint

    weights = LineageStore(tmp_path / "base").artifact(base[0].generation.artifacts["weights"])
    folder = write(weights.read_all(), tmp_path / "exported")
    outside = grow(settings({"type": "folder", "path": str(folder)}), tmp_path / "outside")
    assert outside[1].generation.fingerprint == base[1].generation.fingerprint
    assert [(edge.generation, edge.external) for edge in held(outside[1])] == [(None, str(folder))]

    refreshed = grow(settings("base", refresh_every=1), tmp_path / "refreshed")[1].generation
    assert refreshed.fingerprint != base[1].generation.fingerprint


def test_a_step_with_a_named_reference_goes_on_alike_after_a_kill(tmp_path):
    kl = {"weight": 0.5, "estimator": "k2", "refresh_every": 3, "model": "base"}
    step = RL | {"algorithm": {"type": "grpo", "kl": kl}, "rounds": 7}
    settings = recipe(steps=[step], count=1)
    straight = grow(settings, tmp_path / "straight")[1].generation
    base_updates = settings.base.steps[0].updates
    with pytest.raises(Killed):
        grow(settings, tmp_path / "killed", pool=FragilePool(1, updates=base_updates + 5))
    assert grow(settings, tmp_path / "killed")[1].generation.fingerprint == straight.fingerprint


def test_a_killed_step_goes_on_with_the_critic_that_it_had(tmp_path):
    critic = {"trunk_weight": 0.5, "lr": 0.3}
    algorithm = {"type": "ppo", "lam": 0.9, "value": critic, "correction": {"level": "token", "outside": "truncate"}}
    step = RL | {"algorithm": algorithm, "rounds": 7, "prompts_per_update": 8}
    settings = recipe(steps=[step], count=1)
    straight = grow(settings, tmp_path / "straight")
    base_updates = settings.base.steps[0].updates
    with pytest.raises(Killed):
        grow(settings, tmp_path / "killed", pool=FragilePool(1, updates=base_updates + 6))
    resumed = grow(settings, tmp_path / "killed")
    assert resumed[1].generation.fingerprint == straight[1].generation.fingerprint
    rows = [
        tables_of(tmp_path / name, entries[1]).updates
        for name, entries in (("straight", straight), ("killed", resumed))
    ]
    assert rows[0] == rows[1]
    assert any(row.value_loss > 0 for row in rows[0][:2]), "the critic has learnt something before the kill"
    assert all(row.informative_groups == 1.0 for row in rows[0])


def test_initial_samples_stop_at_prompts_that_are_solved_and_ask_hard_ones_again(tmp_path):
    step = RL | {"initial_samples": 2, "group_size": 6, "rounds": 3, "prompts_per_update": 8, "levels": "all"}
    entries = grow(recipe(steps=[step], count=1), tmp_path)
    tables = tables_of(tmp_path, entries[1])
    assert [v.rollout_id for v in tables.verdicts] == [r.id for r in tables.rollouts]
    passed = {v.rollout_id: v.status is Status.PASS for v in tables.verdicts}
    sizes = Counter(r.group for r in tables.rollouts)
    for group, size in sizes.items():
        members = [r for r in tables.rollouts if r.group == group]
        assert [r.sample_index for r in members] == list(range(size))
        first = [passed[r.id] for r in members[:2]]
        assert size == {2: 2, 1: 4, 0: 6}[sum(first)]
    assert len(sizes) == 24 and set(sizes.values()) == {2, 4, 6}, "easy, medium and hard prompts"


def test_a_prompt_is_worth_as_many_samples_as_are_expected_to_hold_two_right_ones():
    def size(right: int, of: int, at_most: int = 16) -> int:
        return of + more_samples([True] * right + [False] * (of - right), at_most=at_most)

    assert [size(right, 4) for right in (4, 3, 2, 1, 0)] == [4, 4, 4, 8, 16]
    assert [size(right, 5) for right in (5, 4, 3, 2, 1, 0)] == [5, 5, 5, 5, 10, 16]
    assert [size(right, 2) for right in (2, 1, 0)] == [2, 4, 16]
    assert size(1, 4, at_most=6) == 6, "no more than the largest group"
    assert size(0, 4, at_most=4) == 4


def judged(rows):
    """Rollouts and verdicts from (group, reward, finish); a reward of None is unverifiable, 1 passes."""
    rollouts, verdicts = [], []
    for place, (group, reward, finish) in enumerate(rows):
        rollouts.append(rollout(f"{group}.k{place}", finish=finish))
        status = Status.UNVERIFIABLE if reward is None else Status.PASS if reward == 1 else Status.FAIL
        verdicts.append(verdict(f"{group}.k{place}", status, reward=reward, reason="so"))
    return rollouts, verdicts


def test_masked_answers_are_compared_and_give_no_gradient():
    rollouts, verdicts = judged([("a", 1.0, Finish.STOP), ("a", 0.0, Finish.LENGTH), ("b", 0.0, Finish.LENGTH)])
    for mask, use in ((True, Use.NONE), (False, Use.RL)):
        selections, informative = select_groups(rollouts, verdicts, zero_variance="drop", mask_truncated=mask)
        assert [s.use for s in selections] == [Use.RL, use, Use.NONE] and informative == ("a",)
        assert (selections[1].reason == TRUNCATED) is mask
        assert selections[2].reason == "fewer than two judged answers to compare"


def test_a_group_that_its_algorithm_cannot_use_says_so():
    rollouts, verdicts = judged([("a", 1.0, Finish.STOP), ("a", 0.0, Finish.STOP)])
    selections, informative = select_groups(rollouts, verdicts, zero_variance="keep", useful=lambda rewards: False)
    assert informative == () and {s.use for s in selections} == {Use.NONE}
    assert selections[1].reason == "no advantage: the rest of the group is as good, counted in the mean"


def test_a_round_compared_as_a_whole_uses_groups_of_equal_rewards_and_of_one():
    rows = [("a", 1.0, Finish.STOP), ("a", 1.0, Finish.STOP), ("b", 0.0, Finish.STOP), ("b", None, Finish.STOP)]
    selections, informative = select_batch(*judged(rows))
    assert informative == ("a", "b")
    assert [s.use for s in selections] == [Use.RL, Use.RL, Use.RL, Use.NONE]
    assert [s.replay for s in selections] == [True, False, False, False]
    selections, informative = select_batch(*judged(rows[:2]))
    assert informative == () and {s.reason for s in selections} == {"zero variance (equal rewards in the whole round)"}
    assert [s.replay for s in selections] == [True, False]


def test_every_reason_of_a_round_is_in_the_accounting(tmp_path):
    # So hot that some answers ramble, and paid by a coin so that they are in groups that are compared: on any machine.
    masks = {"type": "grpo", "truncated_answers": "mask"}
    step = RL | {"algorithm": masks, "prompts_per_update": 8, "temperature": 2.0}
    judges = {"verifier": {"type": "random"}, "evaluation": EVALUATION | {"verifier": {"type": "exact"}}}
    accounting = grow(recipe(steps=[step], count=1, **judges), tmp_path)[1].generation.accounting
    assert accounting.dropped[TRUNCATED] > 0
    assert accounting.trained + sum(accounting.dropped.values()) == accounting.rollouts


def test_groups_without_a_gradient_are_drawn_again_within_the_budget(tmp_path):
    step = RL | {"algorithm": {"type": "grpo", "resample": 3}, "rounds": 3, "prompts_per_update": 5}
    entries = grow(recipe(steps=[step], count=1), tmp_path)
    tables = tables_of(tmp_path, entries[1])
    compared = {s.rollout_id for s in tables.selections if s.use is Use.RL}
    redrawn = 0
    for update in range(3):
        rows = [r for r in tables.rollouts if r.id.split(".")[2] == f"u{update}"]
        groups = list(dict.fromkeys(r.group for r in rows))
        assert [g.rsplit(".p", 1)[1] for g in groups] == [str(place) for place in range(len(groups))]
        informative = {r.group for r in rows if r.id in compared}
        assert len(informative) == 5 or len(groups) > 5, "missing groups were drawn again"
        assert len(informative) <= 5 and len(groups) <= 5 * 4
        redrawn += len(groups) - 5
    assert redrawn > 0
    assert entries[1].generation.accounting.prompts_drawn == 15 + redrawn
    again = grow(recipe(steps=[step], count=1), tmp_path / "again")[1].generation
    assert again.fingerprint == entries[1].generation.fingerprint


def test_prompts_drawn_behind_the_accountings_back_block_the_commit(tmp_path, monkeypatch):
    step = RL | {"algorithm": {"type": "grpo", "resample": 1}, "rounds": 2}
    drawn = RlTrainer.drawn
    monkeypatch.setattr(RlTrainer, "drawn", lambda self, tables: drawn(self, tables) + 1)
    with pytest.raises(AccountingMismatch):
        grow(recipe(steps=[step], count=1), tmp_path)
