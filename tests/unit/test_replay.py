"""The replay pool accumulates; draws from it are uniform over levels and repeatable."""

from collections import Counter

import pytest

from bootstrap.config.distillation import Distillation
from bootstrap.config.sources import Rejection, Replay
from bootstrap.config.tasks import AdditionTask
from bootstrap.prompts.build import build_task
from bootstrap.selection.replay import PoolEntry, ReplayPool, draw_replay

TASK = build_task(AdditionTask())


def demonstrate(levels, count, seed):
    shown = TASK.demonstrate(levels, count, seed=seed)
    return [(prompt.id, prompt.text, answer) for prompt, answer in shown]


def entry(identifier, *, level=5, generation=1, prompt=None, completion="right"):
    text = prompt or f"prompt of {identifier}"
    return PoolEntry(
        rollout_id=identifier, generation=generation, level=level, prompt_text=text, completion_text=completion
    )


def draw(pool, **changes):
    arguments = {"levels": [1, 2, 3, 4, 5], "count": 100, "base_level": 4, "demonstrate": demonstrate, "seed": 0}
    return draw_replay(pool, **(arguments | {"ce_weight": 1.0} | changes))


def test_a_pool_accumulates_and_keeps_the_first_answer_of_a_prompt():
    pool = ReplayPool([entry("a", prompt="x", completion="first")])
    assert pool.add([entry("b", prompt="x", completion="second", generation=2), entry("c", level=6)]) == 1
    assert len(pool) == 2
    assert pool.levels == (5, 6)
    assert [e.completion_text for e in pool.entries(5)] == ["first"]
    assert list(pool.entries(9)) == []


def test_latest_holds_one_generations_entries_and_leaves_the_pool_alone():
    pool = ReplayPool([entry("a", generation=1), entry("b", generation=2), entry("c", generation=2, level=6)])
    latest = pool.latest(2)
    assert [e.rollout_id for level in latest.levels for e in latest.entries(level)] == ["b", "c"]
    assert len(pool) == 3
    assert len(pool.latest(3)) == 0


def test_latest_holds_what_a_generation_answered_to_prompts_of_an_earlier_one_too():
    pool = ReplayPool([entry("a", prompt="x", generation=1), entry("b", prompt="x", generation=2)])
    pool.add([entry("c", prompt="y", generation=2)])
    latest = pool.latest(2)
    assert [e.rollout_id for e in latest.entries(5)] == ["b", "c"]
    assert [e.rollout_id for e in pool.entries(5)] == ["a", "c"]
    assert pool.given_by(2).digest() == latest.digest() != pool.digest()


def test_what_generation_0_gave_are_all_answers_that_a_fork_came_with_and_its_latest_those_of_the_origin_itself():
    pool = ReplayPool([entry("a", generation=-2), entry("b", generation=0), entry("c", generation=1)])
    held = {
        "given": pool.given_by(0),
        "later": pool.given_by(1),
        "latest": pool.latest(0),
    }
    assert {name: [e.rollout_id for e in found.entries(5)] for name, found in held.items()} == {
        "given": ["a", "b"],
        "later": ["c"],
        "latest": ["b"],
    }


def test_answers_that_a_fork_came_with_fade_by_their_age_in_its_origin():
    ages = {"old": -2, "origin": 0, "own": 1}
    pool = ReplayPool([entry(name, generation=generation) for name, generation in ages.items()])
    drawn = Counter(example.source for example in draw(pool, levels=[5], count=20_000, decay=0.5))
    # 1/8 : 1/2 : 1
    assert {name: drawn[name] / 20_000 for name in ages} == pytest.approx(
        {"old": 1 / 13, "origin": 4 / 13, "own": 8 / 13}, abs=0.02
    )


def test_the_digest_follows_every_field_and_the_order():
    base = ReplayPool([entry("a"), entry("b")]).digest()
    assert base == ReplayPool([entry("a"), entry("b")]).digest()
    others = [
        ReplayPool([entry("b"), entry("a")]),
        ReplayPool([entry("a")]),
        ReplayPool([entry("a"), entry("b", generation=2)]),
        ReplayPool([entry("a"), entry("b", level=6)]),
        ReplayPool([entry("a"), entry("b", completion="other")]),
        ReplayPool([entry("a"), entry("c", prompt="prompt of b")]),
        ReplayPool([entry("a"), entry("b", prompt="other")]),
    ]
    assert len({base, *(pool.digest() for pool in others)}) == len(others) + 1


def test_levels_are_drawn_uniformly_from_references_below_and_from_the_pool_above():
    pool = ReplayPool([entry(f"r{n}") for n in range(50)])
    examples = draw(pool, count=5000)
    own = [example for example in examples if example.source.startswith("r")]
    assert 900 < len(own) < 1100
    shown = Counter(len(e.prompt_text) for e in examples if not e.source.startswith("r"))
    assert shown.keys() == {4, 6, 8, 10}
    assert all(900 < count < 1100 for count in shown.values())


def test_examples_name_their_source_and_carry_the_weights():
    pool = ReplayPool([entry("r")])
    examples = draw(pool, levels=[4, 5], ce_weight=0.5, kl_weight=2.0, teacher="t" * 64)
    assert {(e.ce_weight, e.kl_weight, e.teacher, e.tokens) for e in examples} == {(0.5, 2.0, "t" * 64, ())}
    for example in examples:
        if example.source == "r":
            assert (example.prompt_text, example.completion_text) == ("prompt of r", "right")
        else:
            first, second = example.prompt_text.removesuffix("=").split("+")
            assert int(example.completion_text[::-1]) == int(first[::-1]) + int(second[::-1])


def test_levels_without_entries_are_left_out_of_the_draw():
    examples = draw(ReplayPool([entry("r", level=7)]), levels=[5, 6, 7])
    assert {example.source for example in examples} == {"r"}


def test_no_reference_above_the_base_level_is_ever_asked_for():
    asked = []

    def watched(levels, count, seed):
        asked.extend(levels)
        return demonstrate(levels, count, seed)

    draw(ReplayPool([entry("r", level=6)]), levels=range(1, 8), count=500, demonstrate=watched)
    assert set(asked) == {1, 2, 3, 4}


def test_with_base_level_zero_everything_comes_from_the_pool():
    pool = ReplayPool([entry("a", level=1), entry("b", level=2)])
    assert {example.source for example in draw(pool, levels=[1, 2], base_level=0)} == {"a", "b"}


def test_a_draw_is_repeatable_and_its_seed_matters():
    pool = ReplayPool([entry(f"r{n}") for n in range(50)])
    assert draw(pool, seed=3) == draw(pool, seed=3)
    assert draw(pool, seed=3) != draw(pool, seed=4)


def test_a_draw_has_golden_values():
    pool = ReplayPool([entry(f"r{n}") for n in range(50)])
    sources = [example.source for example in draw(pool, levels=[4, 5, 6], count=6, seed=1)]
    assert sources == ["r19", "617851b7155bd525", "369ae8eae0a78029", "65aadca136e11a3d", "r37", "r14"]


def test_where_no_level_has_anything_the_references_of_all_base_levels_are_replayed():
    shown = Counter(len(e.prompt_text) for e in draw(ReplayPool([entry("r", level=9)]), levels=[5, 6], count=400))
    assert shown.keys() == {4, 6, 8, 10}
    assert draw(ReplayPool(), levels=[5, 6], decay=0.5) == draw(ReplayPool(), levels=[1, 2, 3, 4], decay=0.5)


SEVERAL = [
    entry("a", prompt="x", completion="long answer"),
    entry("b", prompt="y", completion="only"),
    entry("c", prompt="x", completion="short", generation=2),
    entry("d", prompt="x", completion="middling", generation=3),
    entry("e", prompt="x", completion="SHORT", generation=3),
    entry("f", prompt="x", completion="middling", generation=4),
]


@pytest.mark.parametrize(
    ("answers", "kept"),
    [("newest", {"f", "b"}), ("first", {"a", "b"}), ("shortest", {"e", "b"}), ("all", {"a", "b", "c", "d", "e"})],
)
def test_of_several_answers_to_a_prompt_those_asked_for_are_replayed(answers, kept):
    pool = ReplayPool(SEVERAL).keeping(answers)
    assert {e.rollout_id for e in pool.entries(5)} == kept and len(pool) == 2
    assert {e.source for e in draw(pool, levels=[5])} == kept


def test_a_pool_that_grows_serves_the_answers_that_came_last():
    pool = ReplayPool(SEVERAL)
    assert [e.rollout_id for e in pool.keeping("newest").entries(5)] == ["f", "b"]
    pool.add([entry("g", prompt="y", generation=5)])
    assert [e.rollout_id for e in pool.keeping("newest").entries(5)] == ["f", "g"]
    assert [e.rollout_id for e in pool.latest(4).keeping("newest").entries(5)] == ["f"]
    assert pool.digest() == ReplayPool([*SEVERAL, entry("g", prompt="y", generation=5)]).digest()


def test_from_the_pool_alone_no_reference_is_replayed():
    pool = ReplayPool([entry("low", level=1), entry("high", level=6)])
    assert {e.source for e in draw(pool, levels=[1, 2], from_pool=True)} == {"low"}
    assert {e.source for e in draw(pool, levels=[2, 3], from_pool=True)} == {"low", "high"}, "what there is"
    assert draw(ReplayPool(), levels=[1, 2], from_pool=True) == []


@pytest.mark.parametrize("names", [["low"], []])
def test_from_the_pool_alone_references_come_as_the_floor_asks(names):
    pool = ReplayPool([entry(name, level=1) for name in names])
    examples = draw(pool, levels=[1], count=10, from_pool=True, min_reference_share=0.3)
    assert sum(e.source not in names for e in examples) == 3
    assert len(examples) == (10 if names else 3)


def test_a_draw_of_none_needs_nothing():
    assert draw(ReplayPool(), levels=[], count=0) == []


def test_answers_fade_by_the_factor_to_their_age_within_a_level():
    pool = ReplayPool([entry("old", generation=1), entry("new", generation=3)])
    drawn = Counter(e.source for e in draw(pool, levels=[5], count=10000, decay=0.5))
    assert drawn["old"] / drawn["new"] == pytest.approx(0.25, rel=0.1)


def test_levels_of_old_answers_fade_as_a_whole_and_references_do_not():
    pool = ReplayPool([entry("old", level=5, generation=1), entry("new", level=6, generation=2)])
    drawn = Counter(e.source for e in draw(pool, levels=[4, 5, 6], count=10000, decay=0.5))
    shown = 10000 - drawn["old"] - drawn["new"]
    assert (shown / 10000, drawn["new"] / 10000) == pytest.approx((0.4, 0.4), abs=0.02)
    assert drawn["old"] / 10000 == pytest.approx(0.2, abs=0.02)


def test_the_newest_answers_of_the_levels_replayed_are_the_measure_however_old_they_are():
    pool = ReplayPool([entry("a", generation=1), entry("b", level=9, generation=5000)])
    assert {e.source for e in draw(pool, levels=[5], decay=0.01)} == {"a"}


def test_without_decay_and_floor_a_draw_is_the_plain_one():
    pool = ReplayPool([entry(f"r{n}", generation=n) for n in range(50)])
    assert draw(pool, seed=3, decay=1.0, min_reference_share=0.0) == draw(pool, seed=3)


@pytest.mark.parametrize(("share", "least"), [(0.5, 50), (0.07, 7), (0.071, 8), (1.0, 100)])
def test_the_floor_of_references_is_kept_in_each_draw(share, least):
    pool = ReplayPool([entry(f"r{level}", level=level) for level in range(2, 40)])
    arguments = {"levels": range(1, 40), "base_level": 1}
    pooled = {f"r{level}" for level in range(2, 40)}
    counts = [
        sum(e.source not in pooled for e in draw(pool, seed=seed, min_reference_share=share, **arguments))
        for seed in range(20)
    ]
    assert min(counts) == least


def test_the_floor_shows_references_even_where_no_base_level_is_replayed():
    examples = draw(ReplayPool([entry("r")]), levels=[5], count=10, min_reference_share=0.3)
    assert sum(e.source != "r" for e in examples) == 3


def test_a_draw_above_the_floor_is_left_as_it_is():
    pool = ReplayPool([entry("r")])
    assert draw(pool, seed=1, min_reference_share=0.1) == draw(pool, seed=1)


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"decay": 0.5, "data": "latest"}, "set data: accumulate"),
        ({"decay": 0.5, "data": "references"}, "set data: accumulate"),
        ({"min_reference_share": 0.5, "data": "references"}, "remove it"),
        ({"references": "min_share", "data": "references"}, "set data: accumulate"),
    ],
)
def test_settings_of_replay_that_cannot_act_are_refused(settings, remedy):
    with pytest.raises(ValueError, match=remedy):
        Distillation(**settings)
    with pytest.raises(ValueError, match=remedy):
        Rejection(replay=settings)


def test_replay_beside_whole_batches_of_newest_answers_is_refused():
    with pytest.raises(ValueError, match=r"replay never acts beside newest_share 1.*lower newest_share"):
        Rejection(newest_share=1.0, replay={"data": "latest"})
    with pytest.raises(ValueError, match=r"replay never acts beside newest_share 1"):
        Rejection(newest_share=1.0, replay={"answers": "shortest"})
    assert Rejection(newest_share=1.0, replay={}).replay == Replay()


@pytest.mark.parametrize("fixed", [True, False])
def test_what_a_recipe_writes_out_is_read_again(fixed):
    for settings in (Rejection(newest_share=1.0), Rejection(replay={"data": "references"}), Rejection()):
        written = settings.written_out(fixed=fixed, epochs=fixed)
        assert (
            Rejection.model_validate(written.model_dump())
            == written
            == written.written_out(fixed=not fixed, epochs=not fixed)
        )


def test_rejection_and_distillation_share_the_settings_of_replay_and_their_defaults():
    assert all(getattr(Distillation(), name) == getattr(Rejection().replay, name) for name in Replay.model_fields)
