"""`bootstrap bench lineage`: what is measured, and how it is printed."""

import json
import os
from pathlib import Path

import pytest

from bootstrap.bench.lineage import TIMES, measure_lineage, opened_files
from bootstrap.bench.long_lineage import LongLineage
from bootstrap.cli.main import main
from bootstrap.store.verify import verify


def test_questions_and_publishing_are_measured_at_both_lengths(tmp_path: Path):
    asked, published = list[str](), list[int]()

    def ask(root: Path, sample: str) -> None:
        asked.append(sample)
        (root / "lineage.json").read_bytes()

    def publish(root: Path, is_growing: bool) -> int:
        published.append(len(list((root / "ledger").iterdir())))
        return 7

    rows = measure_lineage(
        tmp_path, generations=20, rollouts=1000, givers=2, questions={"q": ask}, publish=publish, say=lambda _: None
    )
    assert [row.generations for row in rows] == [10, 20]
    assert [row.opened for row in rows] == [{"q": 1}, {"q": 1}] and len(asked) == 2 * (TIMES + 1)
    assert published == [10, 11, 12, 13, 13, 20, 21, 22, 23, 23] and rows[1].requests == 7
    assert rows[1].rollouts >= 1000 and rows[1].store_bytes > rows[0].store_bytes > rows[0].ledger_bytes > 0


def test_a_lineage_goes_on_where_it_was_left(tmp_path: Path):
    list(LongLineage(tmp_path / "bench", rollouts=16, givers=2).grow_to(3))
    again = LongLineage(tmp_path / "bench", rollouts=16, givers=2)
    assert list(again.grow_to(5)) == [3, 4]
    assert verify(tmp_path / "bench").is_clean


def test_openings_are_counted_below_the_folder_and_in_the_block_alone(tmp_path: Path):
    for name in ("in/one", "in/two", "out"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    with opened_files(tmp_path / "in") as opened:
        (tmp_path / "in" / "one").read_text()
        (tmp_path / "out").read_text()
        os.close(os.open(tmp_path / "in" / "two", os.O_RDONLY))
    (tmp_path / "in" / "one").read_text()
    assert [Path(path).name for path in opened] == ["one", "two"]


def test_the_command_prints_every_figure_and_keeps_the_store_where_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = ["bench", "lineage", "--generations", "12", "--rollouts", "200", "--no-publish"]
    assert main([*words, "--store", str(tmp_path / "store")]) == 0
    out = capsys.readouterr().out
    for part in (
        "10 generations, ",
        "12 generations, ",
        "lineage --json",
        "show",
        "why",
        "trace",
        "files opened",
    ):
        assert part in out
    assert verify(tmp_path / "store" / "bench").is_clean and not (tmp_path / "cache").exists()
    assert main([*words, "--json"]) == 0
    assert [row["generations"] for row in json.loads(capsys.readouterr().out)] == [10, 12]


def test_a_store_in_use_and_a_store_without_room_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").write_text("x")
    assert main(["bench", "lineage", "--store", str(tmp_path)]) == 2
    assert "is not an empty folder" in capsys.readouterr().err
    assert main(["bench", "lineage", "--rollouts", str(10**12)]) == 2
    assert "fewer --rollouts" in capsys.readouterr().err
