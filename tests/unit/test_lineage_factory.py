"""The lineage that other tests look at is a real one: nothing in it contradicts anything else."""

from pathlib import Path

from support.lineage_factory import SETTINGS, build

from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.verify import verify


def test_verify_finds_nothing_to_say_about_a_made_lineage(tmp_path: Path) -> None:
    entries = build(tmp_path / "addition")
    report = verify(tmp_path / "addition")
    assert report.problems == () and report.unreferenced == ()
    assert report.num_records == len(entries) == 4
    assert report.num_artifacts == 12


def test_it_grows_from_the_recipe_that_it_names(tmp_path: Path) -> None:
    build(tmp_path / "addition", plan=())
    # A driver with this recipe would go on here, and one with another is refused.
    assert (
        LineageStore(tmp_path / "addition").open("addition", identity=SETTINGS.identity()).digest == SETTINGS.digest()
    )


def test_a_teacher_outside_the_lineage_is_no_problem_of_its_store(tmp_path: Path) -> None:
    build(tmp_path / "addition", outside="/models/tutor")
    assert verify(tmp_path / "addition").is_clean
