"""The programs of `examples/` that write data for recipes."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("word-problems")
    runpy.run_path(str(EXAMPLES / "word_problems.py"))["main"](folder)
    return folder


@pytest.mark.parametrize(("name", "count"), [("train", 2000), ("heldout", 600)])
def test_every_worked_step_of_a_word_problem_is_right_and_no_question_stands_twice(
    problems: Path, name: str, count: int
) -> None:
    found = rows(problems / f"{name}.jsonl")
    assert len({row["question"] for row in found}) == len(found) == count
    signs = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__, "/": int.__floordiv__}
    for row in found:
        one, sign, other, answer = re.search(r"(\d+) ([-+*/]) (\d+) = \\boxed\{(\d+)\}", row["solution"]).groups()
        assert signs[sign](int(one), int(other)) == int(answer) == row["answer"]
        assert sign != "/" or int(one) % int(other) == 0
        assert {one, other} <= set(row["question"].replace("?", " ").replace(".", " ").split())


def test_held_out_problems_are_about_other_people_and_things(problems: Path) -> None:
    about = runpy.run_path(str(EXAMPLES / "word_problems.py"))["FILES"]
    for kind in ("names", "things"):
        assert not set(about["train"][kind]) & set(about["heldout"][kind])


def test_word_problems_are_the_same_bytes_again(problems: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, EXAMPLES / "word_problems.py", tmp_path], check=True, capture_output=True)
    for path in problems.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_gsm8k_comes_from_a_folder_with_two_trained_questions_as_examples(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    answer = "One bag holds 3.\nTwo hold 2*3=<<2*3=6>>6.\nFour hold 12.\n#### 12"
    for split in ("train", "test"):
        text = "".join(json.dumps({"question": f"{split} {n}?", "answer": answer, "extra": 1}) + "\n" for n in range(3))
        (source / f"gsm8k-{split}.jsonl").write_text(text, encoding="utf-8")
    subprocess.run([sys.executable, EXAMPLES / "gsm8k.py", out, source], check=True, capture_output=True)
    assert [row["question"] for row in rows(out / "test.jsonl")] == ["test 0?", "test 1?", "test 2?"]
    assert rows(out / "train.jsonl")[0] == {"question": "train 0?", "answer": answer}
    worked = "One bag holds 3.\nTwo hold 2*3=6.\nFour hold 12.\n\\boxed{12}"
    assert rows(out / "examples.jsonl") == [{"prompt": f"train {n}?", "answer": worked} for n in range(2)]


def test_a_folder_without_gsm8k_is_refused(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, EXAMPLES / "gsm8k.py", tmp_path / "out", tmp_path], capture_output=True, text=True
    )
    assert told.returncode == 1
    assert f"{tmp_path} holds 0 files like *train*.jsonl; one is needed" in told.stderr
