"""Epochs: each prompt once before any comes again, uninformative ones after a while, the same after any kill."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootstrap.selection.epochs import MOST_SKIPPED, Epochs, Passes, Uninformative, Visit, after, digest, next_prompts

SIZES = st.integers(1, 8)
COUNTS = st.lists(st.integers(1, 9), min_size=1, max_size=8)


def names(size: int) -> list[str]:
    return [f"p{number}" for number in range(size)]


def visit(name: str, right: int, *, round: int = 0, judged: int = 4) -> Visit:
    return Visit(round=f"g1.s0.u{round}", prompt_id=name, level=1, right=right, judged=judged)


def drawn(state: Epochs, count: int, right: int = 2) -> list[str]:
    """Draw one round of prompts, all with the same results."""
    prompts = state.draw(count)
    state.measured([visit(name, right) for name in prompts])
    return prompts


@settings(max_examples=20)
@given(SIZES, COUNTS)
def test_informative_prompts_come_once_in_every_epoch(size: int, counts: Sequence[int]) -> None:
    state = Epochs(names(size), seed=3)
    order = [name for count in counts for name in drawn(state, count)]
    epochs = [order[at : at + size] for at in range(0, len(order), size)]
    assert all(len(set(epoch)) == len(epoch) for epoch in epochs)
    assert all(set(epoch) == set(names(size)) for epoch in epochs[:-1])
    assert state.position == pytest.approx(len(order) / size)


@settings(max_examples=20)
@given(SIZES, COUNTS, st.randoms(use_true_random=False))
def test_every_unmeasured_prompt_is_drawn_once_before_any_comes_again(size: int, counts: Sequence[int], rng) -> None:
    state, order = Epochs(names(size), seed=1), list[str]()
    for count in counts:
        prompts = state.draw(count)
        state.measured([visit(name, rng.randrange(5)) for name in prompts])
        order += prompts
    first = order[:size]
    assert len(set(first)) == len(first)


@settings(max_examples=20)
@given(SIZES, COUNTS, st.randoms(use_true_random=False))
def test_a_state_made_of_the_history_draws_what_the_one_that_lived_through_it_does(
    size: int, counts: Sequence[int], rng
) -> None:
    state, history = Epochs(names(size), seed=7), list[Visit]()
    for number, count in enumerate(counts):
        again = after(names(size), history, seed=7)
        prompts = state.draw(count)
        assert prompts == again.draw(count) == next_prompts(names(size), history, count, seed=7)
        visits = [visit(name, rng.randrange(5), round=number) for name in prompts]
        state.measured(visits)
        history += visits
        rebuilt = after(names(size), history, seed=7)
        assert (rebuilt.position, rebuilt.skipped, rebuilt.returned) == (state.position, state.skipped, state.returned)


@settings(max_examples=20)
@given(SIZES, st.integers(1, 30))
def test_a_round_across_epochs_holds_no_prompt_twice_while_others_are_due(size: int, count: int) -> None:
    state = Epochs(names(size), seed=2)
    drawn(state, size // 2)
    assert max(Counter(state.draw(min(count, size))).values()) == 1


@pytest.mark.parametrize(("right", "kind"), [(4, Uninformative.RIGHT), (0, Uninformative.WRONG)])
def test_an_uninformative_prompt_sits_out_twice_as_long_each_time_up_to_a_bound(
    right: int, kind: Uninformative
) -> None:
    state, epochs = Epochs(["idle", "busy"], seed=0), list[int]()
    for _ in range(60):
        (name,) = state.draw(1)
        epochs += [state.number] * (name == "idle")
        state.measured([visit(name, right if name == "idle" else 2)])
    gaps = [later - earlier - 1 for earlier, later in pairwise(epochs)]
    assert gaps[:6] == [1, 2, 4, 8, 8, 8] and max(gaps) == MOST_SKIPPED
    other = next(one for one in Uninformative if one is not kind)
    begun = state.number - epochs[-1]
    assert state.skipped == {kind: sum(gaps) + begun, other: 0} and state.returned == len(gaps)
    assert state.uninformative == {kind: 1, other: 0}


def test_a_prompt_that_turns_informative_comes_in_every_epoch_again() -> None:
    state, epochs = Epochs(["turns", "busy"], seed=0), list[int]()
    results = iter([4, 4, 1, 1, 1, 1, 1, 1, 1, 1])
    for _ in range(14):
        (name,) = state.draw(1)
        epochs += [state.number] * (name == "turns")
        state.measured([visit(name, next(results) if name == "turns" else 2)])
    assert [b - a for a, b in pairwise(epochs)] == [2, 3, 1, 1]


def test_all_right_after_all_wrong_is_a_first_time() -> None:
    state, epochs, results = Epochs(["turns", "busy"], seed=0), list[int](), iter([0, 0, 4, 4])
    for _ in range(14):
        (name,) = state.draw(1)
        epochs += [state.number] * (name == "turns")
        state.measured([visit(name, next(results) if name == "turns" else 2)])
    assert [b - a - 1 for a, b in pairwise(epochs)] == [1, 2, 1]


def test_where_all_sit_out_those_due_soonest_come_and_no_epoch_is_counted_in_between() -> None:
    state = Epochs(names(3), seed=0)
    assert set(drawn(state, 3, right=0)) == set(names(3))
    assert set(drawn(state, 2, right=0)) | set(drawn(state, 1, right=2)) == set(names(3))
    assert state.position == 2.0
    # One has turned informative; the two others sit out two epochs.
    assert len({name for _ in range(2) for name in drawn(state, 1)}) == 1
    assert set(drawn(state, 3)) == set(names(3)) and state.position == 5.0


@pytest.mark.parametrize("judged", [0, 1])
def test_fewer_than_two_judged_answers_measure_nothing(judged: int) -> None:
    state = Epochs(names(4), seed=0)
    for _ in range(8):
        prompts = state.draw(2)
        state.measured([visit(name, 0, judged=judged) for name in prompts])
    assert state.position == 4.0 and state.skipped == dict.fromkeys(Uninformative, 0)


def test_a_visit_without_its_results_counts_as_a_draw_alone() -> None:
    history = [visit(name, 0).unmeasured() for name in ("p0", "p2")]
    assert set(next_prompts(names(4), history, 2, seed=0)) == {"p1", "p3"}
    assert set(next_prompts(names(4), history, 6, seed=0)[2:]) == set(names(4))


def test_a_history_that_was_drawn_otherwise_is_read_alike() -> None:
    history = [visit(name, 2, round=number) for number, name in enumerate(["p1", "p1", "gone", "p3", "p1"])]
    assert set(next_prompts(names(4), history, 2, seed=0)) == {"p0", "p2"}


@settings(max_examples=20)
@given(SIZES, COUNTS)
def test_passes_hold_every_item_once_wherever_they_are_cut(size: int, counts: Sequence[int]) -> None:
    passes, order = Passes(names(size), seed=5), list[str]()
    for count in counts:
        again = Passes(names(size), seed=5).take(len(order), count)
        assert passes.take(len(order), count) == again
        order += again
    for at in range(0, len(order), size):
        assert len(set(order[at : at + size])) == len(order[at : at + size])


def test_another_seed_is_another_order_of_the_same_prompts() -> None:
    orders = {tuple(Epochs(names(8), seed=seed).draw(8)) for seed in range(20)}
    assert len(orders) == 20 and {frozenset(order) for order in orders} == {frozenset(names(8))}
    history = [visit(name, 2) for name in names(3)]
    assert set(next_prompts(names(8), history, 5, seed=0)) == set(next_prompts(names(8), history, 5, seed=1))


def test_the_order_is_the_one_that_stores_hold() -> None:
    history = [visit(name, 4) for name in ("p0", "p1")]
    assert next_prompts(names(5), history, 6, seed=11) == ORDER
    assert digest(history) == DIGEST


ORDER = ["p4", "p2", "p3", "p2", "p4", "p3"]
DIGEST = "abb127cb7e2c161bfedd1910412b999ef958f300d7d820be7f305f93a7f403b2"
