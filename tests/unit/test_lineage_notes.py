"""Notes on MLflow's pages: what happened first, links second, nothing that Markdown would obey."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from support.lineage_factory import NASTY, PROMOTED, REJECTED, build

from bootstrap.lineage import bar, judges, notes, outcome, text
from bootstrap.lineage.outbox import Receipt
from bootstrap.store.ledger import Entry


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Entry]:
    return build(tmp_path_factory.mktemp("store") / "addition", plan=(PROMOTED, REJECTED, PROMOTED))


def receipts(entries: Sequence[Entry]) -> dict[int, Receipt]:
    return {
        entry.generation.number: Receipt(
            hash=entry.hash,
            experiment_id="1",
            lineage_run_id="r" * 32,
            run_id=f"{entry.generation.number:032x}",
            model_id=f"m-{entry.generation.number:032x}",
            version=str(entry.generation.number + 2),
        )
        for entry in entries
    }


def note_of(entries: Sequence[Entry], number: int, *, published: Sequence[Entry] | None = None) -> str:
    """Return the note of a generation; `published`: the generations that are, all by default."""
    node, kin = entries[number].generation, bar.Kin(entries)
    known = receipts(entries if published is None else published)
    links = bar.of_generation(
        node, kin=kin, receipts=known, registered="addition", judges=judges.of_generation(node, {})
    )
    return notes.of_generation(sentence=outcome.sentence(node), links=links)


def test_the_first_line_is_what_happened_and_then_come_the_links(entries: Sequence[Entry]) -> None:
    lines = note_of(entries, 3).split("  \n")
    assert lines[0] == "Promoted: level 6 0.337 → 0.989 (+0.652, 95 % CI 0.620 to 0.682), nothing lost."
    assert lines[1].startswith(f"[lineage](#/experiments/1/runs/{'r' * 32}/artifacts/lineage/lineage.html?")
    assert f" · parent [gen-1](#/experiments/1/runs/{1:032x}?workflowType=machine_learning) · no chil" in lines[1]
    assert f"teacher [gen-0](#/experiments/1/runs/{0:032x}?workflowType=machine_learning)" in lines[1]
    assert "[version](#/models/addition/versions/5?workflowType=machine_learning)" in lines[1]
    assert len(lines) == 2 and "\n" not in lines[1], "MLflow hides what is below"


def test_a_teacher_outside_the_lineage_is_named_and_cannot_become_markup(tmp_path: Path) -> None:
    entries = build(tmp_path / "addition", plan=(PROMOTED,), outside="/models/[x](y)")
    assert "teacher (x)(y) (outside)" in note_of(entries, 1)


def test_a_rejection_says_why(entries: Sequence[Entry]) -> None:
    first = note_of(entries, 2).split("\n")[0]
    assert first.startswith("Rejected: level 6 0.337 → 0.337 (+0.000, ") and "not significantly better (p 0.6)" in first


def test_guards_that_were_broken_stand_in_the_bar(entries: Sequence[Entry]) -> None:
    assert "[results (guard broken)](" in note_of(entries, 2) and "[results](" in note_of(entries, 3)


def test_the_lineages_note_names_the_champion_and_lists_the_newest_first(entries: Sequence[Entry]) -> None:
    note = notes.of_lineage(entries, receipts(entries), registered="addition")
    assert note.startswith("gen-3 is the champion of addition among 4 generations: frontier level 6")
    assert note.index("[gen-3]") < note.index("[gen-2]") < note.index("[gen-0]")


def test_the_note_of_a_long_lineage_fits_mlflows_tag(entries: Sequence[Entry]) -> None:
    node = entries[3].generation
    long = [
        replace(entries[3], generation=node.model_copy(update={"number": number, "champion": 199}))
        for number in range(200)
    ]
    note = notes.of_lineage(long, receipts(long), registered="addition")
    assert len(note) <= notes.TAG_LIMIT
    assert [number for number in range(200) if f"| [gen-{number}]" in note] == list(range(190, 200))


def test_foreign_text_keeps_no_character_that_markdown_or_html_would_obey() -> None:
    harmless = text.plain(NASTY)
    assert not set("<>`*[]|\\#&\n") & set(harmless)
    assert "alert(1)" in harmless, "what was said can still be read"
    assert len(text.plain("x" * 5000, limit=100)) == 100


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (999, "999"), (1234567, "1.23M"), (999_999, "1M"), (2.9e12, "2.9T"), (0.25, "0.25"), (3e27, "3e+03Y")],
)
def test_numbers_carry_a_prefix(value: float, shown: str) -> None:
    assert text.si(value) == shown


def test_one_thing_is_told_in_the_singular() -> None:
    assert [text.count(n, "other job") for n in (0, 1, 2)] == ["0 other jobs", "1 other job", "2 other jobs"]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(4.24, "4.2 s"), (59.97, "1 min 00 s"), (185, "3 min 05 s"), (7620, "2 h 07 min")]
)
def test_durations_are_read_at_a_glance(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown
