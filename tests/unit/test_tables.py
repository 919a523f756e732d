"""Tables: rows to parquet and back, bit for bit, and fast enough for every rollout of a generation."""

import dataclasses
import json
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rollouts import rollout, verdict

from bootstrap.errors import StoreCorrupt
from bootstrap.learner_records import UpdateMetrics
from bootstrap.records import Finish, Prompt, Rollout, Selection, Split, Status, Use, Verdict
from bootstrap.store.tables import from_parquet, to_parquet


def rolled(index: int, length: int = 15) -> Rollout:
    return rollout(
        f"g0.s0.u0.p{index // 8}.k{index % 8}",
        prompt_id=f"{index // 8:016x}",
        prompt_text="21+43=",
        level=2,
        prompt_tokens=(3, 2, 10, 5, 4, 11),
        tokens=tuple((index + i) % 12 for i in range(length)),
        logprobs=tuple(-0.1 * i / (index + 1) for i in range(length)),
        entropies=tuple(0.3 * i for i in range(length)),
        text="46" * (length // 2),
        finish=Finish.LENGTH if index % 3 else Finish.STOP,
        policy="ab" * 32,
        seed=2**63 - 1 - index,
    )


@pytest.mark.parametrize("length", [0, 1, 15])
def test_rollouts_come_back_as_they_went(length: int):
    rows = [rolled(index, length) for index in range(5)]
    assert from_parquet(to_parquet(rows, Rollout), Rollout) == rows


def test_lists_of_differing_lengths_are_cut_where_they_were():
    rows = [rolled(index, length) for index, length in enumerate([3, 0, 7, 0, 0, 1])]
    assert from_parquet(to_parquet(rows, Rollout), Rollout) == rows


@pytest.mark.parametrize("schema", [Prompt, Rollout, Verdict, Selection, UpdateMetrics])
def test_a_table_without_rows_comes_back_without_rows(schema: type):
    assert from_parquet(to_parquet([], schema), schema) == []


def test_an_unverifiable_verdict_keeps_its_missing_reward():
    rows = [verdict(breakdown={"exact": 1.0}), verdict(status=Status.UNVERIFIABLE), verdict(reward=0.25)]
    back = from_parquet(to_parquet(rows, Verdict), Verdict)
    assert back == rows
    assert back[1].reward is None
    assert back[1].status is Status.UNVERIFIABLE


def test_a_mapping_keeps_its_order():
    rows = [verdict(breakdown={"z": 1.0, "a": -2.0}), verdict(breakdown={"b": 0.5})]
    assert [list(row.breakdown) for row in from_parquet(to_parquet(rows, Verdict), Verdict)] == [["z", "a"], ["b"]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    text: str | None


def test_optional_text_and_booleans_come_back():
    notes = [Note(text=None), Note(text=""), Note(text="é\u2028x")]
    prompts = [
        Prompt(id="p", task="addition", level=1, text="1+2=", split=Split.HELDOUT, easier_variant=easier)
        for easier in (True, False)
    ]
    selections = [Selection(rollout_id="r", use=Use.NONE, replay=False, reason="equal rewards")]
    assert from_parquet(to_parquet(notes, Note), Note) == notes
    assert from_parquet(to_parquet(prompts, Prompt), Prompt) == prompts
    assert from_parquet(to_parquet(selections, Selection), Selection) == selections


@dataclass(frozen=True, kw_only=True, slots=True)
class Mixed:
    name: str
    number: int
    value: float
    numbers: tuple[int, ...]
    values: tuple[float, ...]
    words: tuple[str, ...]
    parts: Mapping[str, float]
    maybe: float | None
    finish: Finish | None


integers = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
mixed = st.builds(
    Mixed,
    name=texts,
    number=integers,
    value=st.floats(),
    numbers=st.lists(integers, max_size=4).map(tuple),
    values=st.lists(st.floats(), max_size=4).map(tuple),
    words=st.lists(texts, max_size=3).map(tuple),
    parts=st.dictionaries(texts, st.floats(), max_size=3),
    maybe=st.none() | st.floats(),
    finish=st.none() | st.sampled_from(Finish),
)


def bits(row: Mixed) -> Any:
    """The row with its floats as their eight bytes, so that NaN, -0.0 and rounding are compared exactly."""

    def exact(value: float | None) -> bytes | None:
        return None if value is None else struct.pack("<d", value)

    parts = [(key, exact(value)) for key, value in row.parts.items()]
    values = [exact(value) for value in row.values]
    return row.name, row.number, exact(row.value), row.numbers, values, row.words, parts, exact(row.maybe), row.finish


@given(st.lists(mixed, max_size=6))
@settings(max_examples=60)
def test_any_rows_come_back_bit_for_bit(rows: list[Mixed]):
    back = from_parquet(to_parquet(rows, Mixed), Mixed)
    assert [bits(row) for row in back] == [bits(row) for row in rows]


def test_equal_rows_give_equal_bytes():
    assert to_parquet([rolled(i) for i in range(50)], Rollout) == to_parquet([rolled(i) for i in range(50)], Rollout)


def test_a_missing_value_is_refused_where_the_annotation_allows_none():
    with pytest.raises(TypeError, match="reason"):
        to_parquet([verdict(reason=None)], Verdict)
    with pytest.raises(TypeError, match="tokens"):
        to_parquet([replace(rolled(0), tokens=(1, None))], Rollout)
    with pytest.raises(TypeError, match="breakdown"):
        to_parquet([verdict(breakdown={"exact": None})], Verdict)


@pytest.mark.parametrize(
    "changes", [{"level": 1.5}, {"level": True}, {"text": 7}, {"tokens": (1, 2.5)}, {"logprobs": ("x",)}]
)
def test_a_value_of_another_type_is_refused_rather_than_rounded(changes: dict[str, Any]):
    with pytest.raises(TypeError, match=next(iter(changes))):
        to_parquet([replace(rolled(0), **changes)], Rollout)


def test_an_integer_beyond_64_bits_is_refused():
    with pytest.raises(OverflowError):
        to_parquet([replace(rolled(0), seed=2**63)], Rollout)


def test_a_field_without_a_column_type_is_refused():
    @dataclass
    class Nested:
        prompt: Prompt

    with pytest.raises(TypeError, match="prompt"):
        to_parquet([], Nested)


def test_bytes_that_are_no_table_or_another_table_are_refused():
    data = to_parquet([verdict()], Verdict)
    for wrong in (b"", b"not parquet", data[: len(data) // 2]):
        with pytest.raises(StoreCorrupt, match="Verdict"):
            from_parquet(wrong, Verdict)
    with pytest.raises(StoreCorrupt, match="its columns are"):
        from_parquet(data, Selection)


def test_a_word_outside_a_closed_vocabulary_is_refused():
    @dataclass
    class Loose:
        rollout_id: str
        use: str
        replay: bool
        reason: str

    data = to_parquet([Loose(rollout_id="r", use="burnt", replay=False, reason="")], Loose)
    with pytest.raises(StoreCorrupt, match="burnt"):
        from_parquet(data, Selection)


def test_a_generation_of_rollouts_takes_no_longer_than_json_to_write_and_little_longer_to_read():
    rows = [rolled(index) for index in range(4_000)]

    def seconds(work):
        """Return the least CPU time of three runs, so that what else the machine does counts little."""
        taken = []
        for _ in range(3):
            started = time.process_time()
            result = work()
            taken.append(time.process_time() - started)
        return min(taken), result

    written, data = seconds(lambda: to_parquet(rows, Rollout))
    read, back = seconds(lambda: from_parquet(data, Rollout))
    dumped, lines = seconds(lambda: [json.dumps(dataclasses.asdict(row)) for row in rows])
    parsed, _ = seconds(lambda: [json.loads(line) for line in lines])
    assert back == rows
    assert written < dumped
    assert read < 5 * parsed
