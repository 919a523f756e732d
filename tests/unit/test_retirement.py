"""Solved prompts are drawn no longer: what counts as solved, what is drawn instead, and a lineage on a file of rows."""

import json
from random import Random
from typing import Any

import pytest
from support.rollouts import rollout, verdict
from support.tiny import RL, grow, recipe

from bootstrap.pool import LocalPool
from bootstrap.records import Prompt, Rollout, Split, Status, Verdict
from bootstrap.selection.retirement import PassRates, draw_unsolved
from bootstrap.stages.tables import Tables
from bootstrap.store.lineage_store import LineageStore

pytestmark = [pytest.mark.torch, pytest.mark.training]


def prompt(number: int) -> Prompt:
    return Prompt(id=f"p{number}", task="t", level=1, text=str(number), split=Split.TRAIN)


def answers(name: str, *statuses: Status) -> tuple[list[Rollout], list[Verdict]]:
    rollouts, verdicts = [], []
    for place, status in enumerate(statuses):
        rollouts.append(rollout(f"{name}.k{place}"))
        verdicts.append(verdict(f"{name}.k{place}", status))
    return rollouts, verdicts


def test_a_prompt_is_solved_by_the_share_of_right_answers_over_its_whole_history():
    rates = PassRates()
    rates.add(*answers("a", *[Status.PASS] * 8, Status.FAIL))
    rates.add(*answers("b", Status.PASS, Status.UNVERIFIABLE))
    rates.add(*answers("c", Status.UNVERIFIABLE))
    rates.add(*answers("d", Status.FAIL))
    assert rates.counts == {"a": (8, 9), "b": (1, 1), "d": (0, 1)}
    assert rates.solved(0.9) == {"b"} and rates.solved(0.8) == {"a", "b"}
    later = rates.copy()
    later.add(*answers("a", Status.PASS))
    assert later.solved(0.9) == {"a", "b"} and rates.solved(0.9) == {"b"}
    assert later.digest() != rates.digest() == rates.copy().digest()
    twice = PassRates()
    twice.merge(rates)
    twice.merge(rates)
    assert twice.counts["a"] == (16, 18)


def laps(size: int):
    """A draw over a finite list, which repeats itself once everything was given, as tasks do."""

    def draw(count: int) -> list[Prompt]:
        rng, drawn = Random(3), []
        while len(drawn) < count:
            drawn += rng.sample([prompt(n) for n in range(size)], min(count - len(drawn), size))
        return drawn

    return draw


@pytest.mark.parametrize("count", [1, 5, 24])
def test_without_a_solved_prompt_the_draw_is_the_tasks(count):
    assert draw_unsolved(laps(10), count, solved=frozenset()) == laps(10)(count)
    assert draw_unsolved(laps(10), count, solved={"other"}) == laps(10)(count)


@pytest.mark.parametrize("count", [1, 5, 24])
@pytest.mark.parametrize("left", [1, 2, 9])
def test_what_is_unsolved_is_drawn_instead_of_what_is_solved(count, left):
    solved = {f"p{number}" for number in range(10 - left)}
    drawn = draw_unsolved(laps(10), count, solved=solved)
    assert len(drawn) == count and not {p.id for p in drawn} & solved
    assert len({p.id for p in drawn}) == min(left, count), "as many others as there are"


def test_nothing_is_drawn_where_all_is_solved():
    assert draw_unsolved(laps(10), 5, solved={f"p{number}" for number in range(10)}) == []


def test_a_large_level_has_others_for_all_that_are_solved():
    def endless(count: int) -> list[Prompt]:
        return [prompt(number) for number in Random(1).sample(range(10**6), count)]

    solved = {p.id for p in endless(40)}
    drawn = draw_unsolved(endless, 40, solved=solved)
    assert len({p.id for p in drawn} - solved) == 40


STRICT = 1e-9
"""An alpha at which the gate rejects whatever is grown from a few rows."""


class Killed(Exception):
    pass


class FragilePool(LocalPool):
    """A pool whose process dies at its n-th update."""

    left = 10**9

    def update(self, *args, **kwargs):
        if not self.left:
            raise Killed
        self.left -= 1
        return super().update(*args, **kwargs)


def on_a_file(folder, *, rows: int, generations: dict[str, Any] | None = None, **step):
    """A lineage that learns to say a letter from a file, so easy that prompts are soon solved."""
    path = folder / "rows.jsonl"
    lines = [{"prompt": f"{'ab'[n % 2]}{n}=", "answer": "ab"[n % 2]} for n in range(rows)]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    task = {
        "type": "file",
        "path": str(path),
        "form": "text",
        "alphabet": "ab=0123456789",
        "max_answer_length": 2,
        "max_prompt_length": 6,
    }
    step = RL | {"rounds": 6, "prompts_per_update": 6, "group_size": 4, "temperature": 1.0} | step
    settings = {"count": 2, "init": "previous", "steps": [step]} | (generations or {})
    return recipe(generations=settings, task=task, gate={"min_prompts": 10, "alpha": STRICT})


def history(root, entries) -> list[tuple[list[str], frozenset[str]]]:
    """Return the prompts of each round of the lineage, and those that its weights had solved before it."""
    known, found = {0: PassRates()}, []
    for entry in entries[1:]:
        tables = Tables.read(LineageStore(root).artifact(entry.generation.artifacts["step-0"]))
        # In these lineages no weights come from several.
        rates = known[entry.generation.number] = known[entry.generation.parent].copy()
        for number in range(6):
            rollouts = [r for r in tables.rollouts if r.id.split(".")[2] == f"u{number}"]
            ids = {r.id for r in rollouts}
            found.append((list({r.group: r.prompt_id for r in rollouts}.values()), rates.solved(0.75)))
            rates.add(rollouts, [v for v in tables.verdicts if v.rollout_id in ids])
    return found


def test_a_lineage_on_a_file_draws_no_prompt_again_that_it_has_solved(tmp_path):
    entries = grow(on_a_file(tmp_path, rows=40, retire=0.75), tmp_path / "retired")
    rounds = history(tmp_path / "retired", entries)
    assert rounds[-1][1], "some are solved"
    assert all(not set(prompts) & solved for prompts, solved in rounds)
    plain = history(tmp_path / "plain", grow(on_a_file(tmp_path, rows=40, draw="random"), tmp_path / "plain"))
    assert any(set(prompts) & solved for prompts, solved in plain), "without retirement they come back"
    assert plain[0] == rounds[0], "nothing is solved before the first round"
    assert rounds[6][1], "the second generation has what the first one solved behind it"
    for entry, count in zip(entries[1:], (rounds[:6], rounds[6:]), strict=True):
        accounting = entry.generation.accounting
        assert accounting.prompts_drawn == sum(len(prompts) for prompts, _ in count)
        assert accounting.trained + sum(accounting.dropped.values()) == accounting.rollouts


@pytest.mark.parametrize("changes", [{"init": "champion"}, {"init": "base"}, {"branches": 2}])
def test_what_another_candidate_has_solved_is_drawn_by_one_that_does_not_descend_from_it(tmp_path, changes):
    entries = grow(on_a_file(tmp_path, rows=30, retire=0.01, generations=changes), tmp_path / "l")
    assert [entry.generation.parent for entry in entries[1:]] == [0, 0], "the first candidate is left behind"
    rounds = history(tmp_path / "l", entries)
    assert set(rounds[6][0]) & rounds[5][1], "what the first one has solved is among what the second one draws"
    assert all(not set(prompts) & solved for prompts, solved in rounds)


def test_siblings_are_spared_nothing_however_often_the_run_is_cut_off(tmp_path):
    whole = on_a_file(tmp_path, rows=30, retire=0.01, generations={"branches": 2})
    for count in (1, 2):
        entries = grow(
            on_a_file(tmp_path, rows=30, retire=0.01, generations={"branches": 2, "count": count}), tmp_path / "cut"
        )
    assert [entry.hash for entry in grow(whole, tmp_path / "whole")] == [entry.hash for entry in entries]


def test_rounds_without_an_unsolved_prompt_train_on_replayed_answers_alone(tmp_path):
    entries = grow(on_a_file(tmp_path, rows=30, retire=0.01, algorithm={"type": "grpo", "resample": 1}), tmp_path / "l")
    tables = Tables.read(LineageStore(tmp_path / "l").artifact(entries[2].generation.artifacts["step-0"]))
    idle = [row for row in tables.updates if row.reward is None]
    assert idle and all(row.ce_loss > 0 and row.informative_groups is None and row.grad_norm > 0 for row in idle)


def test_a_killed_step_knows_what_its_earlier_rounds_have_solved(tmp_path):
    settings = on_a_file(tmp_path, rows=30, retire=0.75, algorithm={"type": "grpo", "resample": 1})
    straight = grow(settings, tmp_path / "straight")
    pool = FragilePool(1, batch_rows=64)
    pool.left = settings.base.steps[0].updates + 5
    with pytest.raises(Killed):
        grow(settings, tmp_path / "killed", pool=pool)
    resumed = grow(settings, tmp_path / "killed")
    assert [e.generation.fingerprint for e in resumed] == [e.generation.fingerprint for e in straight]
