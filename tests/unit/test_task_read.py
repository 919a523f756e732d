"""A task knows its own prompts when it sees their texts, and no other text."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from bootstrap.config.tasks import Task
from bootstrap.prompts.build import build_task
from bootstrap.prompts.task import own_level
from bootstrap.records import Split

SETTINGS: TypeAdapter[Any] = TypeAdapter(Task)
TASKS = {
    "addition": {"type": "addition"},
    "copy": {"type": "copy", "alphabet": "abc", "heldout_fraction": 0.5},
    "reversal": {"type": "reversal", "alphabet": "abc", "heldout_fraction": 0.5},
    "functions": {"type": "functions"},
    "programs": {"type": "programs", "base_level": 2, "width": 2},
    "working": {"type": "working"},
    "mixture": {
        "type": "mixture",
        "base_level": 2,
        "parts": {
            "sums": {"task": {"type": "addition"}},
            "back": {"task": {"type": "reversal", "alphabet": "abc", "heldout_fraction": 0.5}, "before": "b"},
            "same": {"task": {"type": "copy", "alphabet": "abc", "heldout_fraction": 0.5}, "before": "bb>"},
        },
    },
}


def task(settings: dict[str, Any]) -> Any:
    return build_task(SETTINGS.validate_python(settings))


@pytest.mark.parametrize("kind", TASKS)
def test_every_prompt_is_read_as_itself(kind: str) -> None:
    found = task(TASKS[kind])
    for level in (1, 2, 5):
        for split in (Split.TRAIN, Split.HELDOUT):
            for prompt in found.draw(level, 20, seed=1, split=split):
                assert found.read(prompt.text) == prompt


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("text", ["", "=", "hello", "1+=", "+1=", "01+10=extra", "10+1=", "abd=", "a+b*:", " 1+1="])
def test_another_text_is_no_prompt(kind: str, text: str) -> None:
    assert task(TASKS[kind]).read(text) is None


def test_easier_variants_are_read_at_the_longer_operand() -> None:
    found = task(TASKS["addition"])
    [prompt, *_] = found.draw(3, 5, seed=1, easier_variant=True)
    read = found.read(prompt.text)
    assert (read.id, read.level, read.split) == (prompt.id, 3, prompt.split)


def rows(tmp_path: Path, **settings: Any) -> Any:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"What is {n}?", "answer": str(n)}) + "\n" for n in range(40)))
    return task({"type": "file", "path": str(path), "base_level": 1, "heldout_fraction": 0.3, **settings})


def test_a_files_rows_are_read_by_their_texts_and_by_their_questions(tmp_path: Path) -> None:
    found = rows(tmp_path, prompt_template="Q: {prompt}\nA:")
    prompts = [p for split in (Split.TRAIN, Split.HELDOUT) for p in found.every_prompt(1, split)]
    assert len(prompts) == 40
    for prompt in prompts:
        assert found.read(prompt.text) == prompt
        number = found.reference(prompt)
        assert found.read(f"What  is {number}?\n") == prompt
    assert found.read("What is 41?") is None


def test_rows_that_are_left_out_are_not_read(tmp_path: Path) -> None:
    found = rows(tmp_path)
    [prompt, *_] = found.every_prompt(1, Split.TRAIN)
    found.drop({prompt.key: "too long"})
    assert found.read(prompt.text) is None


def test_a_gyms_held_out_prompts_are_read() -> None:
    levels = [{"min_word_len": n, "max_word_len": n} for n in (3, 4)]
    spelling = {"name": "spell_backward", "levels": levels, "keep": r": (\w+)$", "before": "s", "after": "="}
    found = task({"type": "reasoning_gym", "datasets": [spelling]})
    [prompt] = found.heldout(own_level(found, 1), 1)
    assert found.read(prompt.text) == prompt
    assert found.read("s1=") is None
