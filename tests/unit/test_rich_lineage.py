"""The lineage with everything in it contradicts itself nowhere, and has everything."""

from pathlib import Path

from support.rich_lineage import GENERATIONS, NAME, build_rich, recipe

from bootstrap.lineage import queries
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.verify import verify


def test_verify_finds_nothing_to_say_about_the_lineage_with_everything_in_it(tmp_path: Path) -> None:
    entries = build_rich(tmp_path / NAME)
    for lineage in (NAME, "addition"):
        report = verify(tmp_path / lineage)
        assert report.problems == () and report.unreferenced == () and report.unproven == ()
    origin = LineageStore(tmp_path / "addition").ledger.read()[3]
    # A driver with this recipe would go on here, and one with another is refused.
    LineageStore(tmp_path / NAME).open(NAME, identity=recipe(origin).identity())
    assert [entry.generation.outcome for entry in entries] == [outcome for outcome, _ in GENERATIONS]


def test_it_has_a_fork_a_merge_an_outside_teacher_two_tasks_and_every_role(tmp_path: Path) -> None:
    entries = build_rich(tmp_path / NAME)
    assert queries.champion_path(entries) == [0, 1, 3, 5, 6, 8]
    assert queries.forked_from(entries[0].generation) == "addition@gen-3"
    assert entries[6].generation.parents == (3, 5) and queries.teachers(entries[1].generation) == ["/models/tutor"]
    roles = {edge.role for entry in entries for edge in entry.generation.edges}
    assert roles == {"init", "teacher", "sampler", "reference", "merged", "voter", "data"}
    assert all(set(entry.generation.report.parts) == {"addition", "reversal"} for entry in entries)
