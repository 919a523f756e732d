"""Self-play in one process: who proposed what, what it earned, which of it trained, and that kills do not show."""

from collections import deque
from pathlib import Path

import pytest
from support import tiny

from bootstrap.pool import LocalPool
from bootstrap.prompts.build import build_task
from bootstrap.records import Batch, Role, Split, Status, Use
from bootstrap.scoring.verifier import Tools
from bootstrap.stages.rescore import Rescorer
from bootstrap.stages.self_play import HELD_OUT, ProposalFault, SelfPlayTrainer
from bootstrap.stages.tables import Tables
from bootstrap.stages.verifiers import open_verifiers
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.verify import verify

pytestmark = pytest.mark.training

RECIPE = tiny.recipe(steps=(tiny.SELF_PLAY,), count=2, **tiny.PROGRAMS)
TASK = build_task(RECIPE.task)


class Killed(BaseException):
    """Stands for SIGKILL: nothing below catches it."""


class Spy(LocalPool):
    """Keeps every batch that reaches the learner."""

    def __init__(self) -> None:
        super().__init__(1, batch_rows=64)
        self.batches: list[Batch] = []

    def update(self, batch: Batch, *, lr_factor: float, grad_clip: float):
        self.batches.append(batch)
        return super().update(batch, lr_factor=lr_factor, grad_clip=grad_clip)


@pytest.fixture(scope="module")
def lineage(tmp_path_factory) -> tuple[Path, list[Entry], list[Batch]]:
    root, spy = tmp_path_factory.mktemp("lineage"), Spy()
    return root, tiny.grow(RECIPE, root, pool=spy), spy.batches


def steps(root: Path, entries: list[Entry]) -> list[Tables]:
    store = LineageStore(root)
    return [Tables.read(store.artifact(entry.generation.artifacts["step-0"])) for entry in entries[1:]]


def test_every_solved_problem_was_put_by_the_model_and_is_a_train_problem(lineage):
    root, entries, _ = lineage
    solved = 0
    for tables in steps(root, entries):
        proposals = {r.id: r for r in tables.rollouts if r.role is Role.PROPOSE}
        for rollout in tables.rollouts:
            if rollout.role is Role.SOLVE:
                update, place = rollout.group.rsplit(".p", 1)
                proposal = proposals[f"{update}.propose.k{place}"]
                assert proposal.text == rollout.prompt_text
                assert proposal.policy == rollout.policy
                assert proposal.level == rollout.level == TASK.read(rollout.prompt_text).level
                assert TASK.read(rollout.prompt_text).split is Split.TRAIN
                solved += 1
    assert solved


def test_a_proposal_earns_what_its_solutions_are_worth_and_everything_else_nothing(lineage):
    root, entries, _ = lineage
    seen = set()
    for tables in steps(root, entries):
        status = {v.rollout_id: v.status for v in tables.verdicts}
        verdict = {v.rollout_id: v for v in tables.verdicts}
        for rollout in tables.rollouts:
            if rollout.role is not Role.PROPOSE:
                continue
            found = verdict[rollout.id]
            group = rollout.id.replace(".propose.k", ".p")
            right = [status[r.id] is Status.PASS for r in tables.rollouts if r.group == group]
            if found.status is Status.FAIL:
                assert not right
                assert found.reward == 0
            else:
                rate = sum(right) / len(right)
                assert len(right) == 4
                assert found.reward == (0 if rate in (0, 1) else 1 - rate)
                seen.add(rate)
    assert any(0 < rate < 1 for rate in seen)


def test_what_is_held_out_takes_no_part(lineage):
    root, entries, batches = lineage
    trained = {example.source for batch in batches for example in batch.examples if example.advantages}
    dropped = 0
    for tables in steps(root, entries):
        selection = {s.rollout_id: s for s in tables.selections}
        for rollout in tables.rollouts:
            problem = TASK.read(rollout.text) if rollout.role is Role.PROPOSE else None
            if problem is not None and problem.split is Split.HELDOUT:
                assert selection[rollout.id].reason == HELD_OUT
                assert rollout.id not in trained
                dropped += 1
    assert dropped


def test_what_is_kept_for_the_end_is_no_problem_either():
    trainer = object.__new__(SelfPlayTrainer)
    trainer.highest, trainer.recent = 9, deque()
    task = build_task(TASK.settings.model_copy(update={"final_fraction": 0.3}))
    final, trained = task.final(2, 1)[0], task.draw(2, 1, seed=0)[0]
    assert trainer._fault(task.read(final.text)) is ProposalFault.HELD_OUT
    assert trainer._fault(task.read(trained.text)) is None


def test_the_roles_are_compared_apart_and_each_loss_is_a_mean_over_its_own_tokens(lineage):
    _, _, batches = lineage
    both = 0
    for batch in batches:
        mine: dict[Role, list[tuple[float, int]]] = {role: [] for role in Role}
        for example in batch.examples:
            if example.advantages:
                role = Role.PROPOSE if ".propose." in example.source else Role.SOLVE
                mine[role].append((example.advantages[0], len(example.advantages)))
        for values in mine.values():
            assert sum(advantage for advantage, _ in values) == pytest.approx(0, abs=1e-6)
        if mine[Role.PROPOSE] and mine[Role.SOLVE]:
            both += 1
            # Normalised rewards have variance near 1; the proposer's are scaled by solver tokens over proposer tokens.
            solver, proposer = (sum(n for _, n in mine[role]) for role in (Role.SOLVE, Role.PROPOSE))
            assert batch.normalizers.rl == solver
            spread = sum(a * a for a, _ in mine[Role.PROPOSE]) / len(mine[Role.PROPOSE])
            assert spread == pytest.approx((solver / proposer) ** 2, rel=1e-2)
    assert both


def test_the_accounting_counts_each_round_and_each_kept_problem(lineage):
    root, entries, _ = lineage
    for entry, tables in zip(entries[1:], steps(root, entries), strict=True):
        accounting = entry.generation.accounting
        kept = sum(row.valid_share * row.proposals for row in tables.self_play)
        assert accounting.prompts_drawn == pytest.approx(4 + kept)
        assert accounting.rollouts == pytest.approx(4 * 6 + 4 * kept)
        assert not {r.id for r in tables.rollouts if r.role is Role.PROPOSE} & {
            s.rollout_id for s in tables.selections if s.replay
        }


def test_each_round_says_what_became_of_its_proposals(lineage):
    root, entries, _ = lineage
    for tables in steps(root, entries):
        assert [row.update for row in tables.self_play] == [0, 1, 2, 3]
        reasons = [v.reason.partition(":")[0] for v in tables.verdicts if v.verifier == "learnability"]
        malformed = sum(reason == ProposalFault.MALFORMED for reason in reasons)
        assert sum(row.malformed_share * row.proposals for row in tables.self_play) == pytest.approx(malformed)
        for row in tables.self_play:
            shares = (row.valid_share, row.malformed_share, row.heldout_share, row.repeated_share, row.too_large_share)
            assert sum(shares) == pytest.approx(1)


def killing(at: int):
    """Return an observer that kills the run when so many updates of generation 1 are done."""

    def kill(event) -> None:
        if event.generation == 1 and event.stage == "train" and event.done == at:
            raise Killed

    return kill


def test_a_repeated_problem_earns_nothing_even_across_a_kill(tmp_path):
    # A cold proposer says the same again and again.
    cold = {**tiny.SELF_PLAY, "temperature": 0.05, "rounds": 2, "checkpoint_every": 1}
    settings = tiny.recipe(steps=(cold,), count=1, **tiny.PROGRAMS)
    with pytest.raises(Killed):
        tiny.grow(settings, tmp_path, observe=killing(2))
    tables = steps(tmp_path, tiny.grow(settings, tmp_path))[0]
    texts = set()
    repeated = dict.fromkeys((".u0.", ".u1."), 0)
    verdict = {v.rollout_id: v for v in tables.verdicts}
    for rollout in tables.rollouts:
        if rollout.role is Role.PROPOSE and TASK.read(rollout.text) and TASK.read(rollout.text).split is Split.TRAIN:
            again = rollout.text in texts
            assert (verdict[rollout.id].reason == ProposalFault.REPEATED) == again
            repeated[".u0." if ".u0." in rollout.id else ".u1."] += again
            texts.add(rollout.text)
    assert all(repeated.values())


def test_a_run_killed_in_the_middle_of_the_step_repeats_itself_to_the_bit(lineage, tmp_path):
    _, entries, _ = lineage
    with pytest.raises(Killed):
        tiny.grow(RECIPE, tmp_path, observe=killing(3))
    again = tiny.grow(RECIPE, tmp_path)
    assert [entry.hash for entry in again] == [entry.hash for entry in entries]
    assert not verify(tmp_path).problems


def test_both_roles_are_held_to_the_reference_that_the_recipe_names(tmp_path):
    held = {**tiny.SELF_PLAY, "proposals": 16, "algorithm": {"kl": {"model": "base", "weight": 0.1}}}
    spy = Spy()
    entries = tiny.grow(tiny.recipe(steps=(held,), count=1, **tiny.PROGRAMS), tmp_path, pool=spy)
    edges = [(edge.generation, edge.fingerprint) for edge in entries[1].generation.edges if edge.role == "reference"]
    assert edges == [(0, entries[0].generation.fingerprint)]
    policy = [example for batch in spy.batches for example in batch.examples if example.advantages]
    assert {".propose." in example.source for example in policy} == {True, False}
    assert {kl_target.model for example in policy for kl_target in example.kl_targets} == {edges[0][1]}


@pytest.mark.parametrize("control", ["valid", "none"])
def test_a_control_pays_all_problems_alike_or_trains_no_proposer(control, tmp_path):
    step = {**tiny.SELF_PLAY, "rounds": 2, "proposer_reward": control, "algorithm": {"solver_baseline": "problem"}}
    spy = Spy()
    tiny.grow(tiny.recipe(steps=(step,), count=1, **tiny.PROGRAMS), tmp_path, pool=spy)
    tables = steps(tmp_path, LineageStore(tmp_path).ledger.read())[0]
    earned = {v.reward for v in tables.verdicts if v.verifier == "learnability" and v.status is Status.PASS}
    uses = {
        selection.use
        for rollout, selection in zip(tables.rollouts, tables.selections, strict=True)
        if rollout.role is Role.PROPOSE
    }
    if control == "valid":
        assert earned == {1.0}
    else:
        assert uses == {Use.NONE}
    sums: dict[str, float] = {}
    for batch in spy.batches:
        for example in batch.examples:
            if example.advantages and ".propose." not in example.source:
                group = example.source.rsplit(".", 1)[0]
                sums[group] = sums.get(group, 0.0) + example.advantages[0]
    assert all(total == pytest.approx(0, abs=1e-6) for total in sums.values())


def test_judging_again_leaves_proposals_alone(lineage):
    root, entries, _ = lineage
    store = LineageStore(root)
    with open_verifiers(RECIPE, TASK, Tools()) as (verifiers, eval_verifier, panel):
        found = Rescorer(
            RECIPE, store=store, task=TASK, verifiers=verifiers, eval_verifier=eval_verifier, panel=panel
        ).rescore(entries)
    solutions = [sum(r.role is Role.SOLVE for r in tables.rollouts) for tables in steps(root, entries)]
    assert [one.num_training for one in found[1:]] == solutions
    assert not any(one.training or one.heldout or one.differs for one in found)
