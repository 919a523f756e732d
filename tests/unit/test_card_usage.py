"""The card's section on asking the model: foreign texts can neither close its blocks nor become code."""

import ast
import re
from typing import Any

import pytest
from support.lineage_factory import NASTY

from bootstrap.lineage.usage import Usage, markdown, program

HOSTILE = ("```\n# heading\n```", "`" * 7, NASTY, "\x1b[2J\r", 'a"""b\'\\', "x\n\n````python\nimport os\n````")


def usage(**changes: Any) -> Usage:
    own = {
        "form": "<bos>{prompt}",
        "alphabet": "0 1 + =",
        "ends": ("<eos>",),
        "max_new_tokens": 9,
        "prompt": "1+1=",
        "answer": "20",
        "is_right": True,
    }
    return Usage(**{**own, **changes})


def constants(code: str) -> list[Any]:
    return [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]


def test_the_section_says_how_the_model_is_asked() -> None:
    text = "\n".join(markdown(usage()))
    assert "```text\n<bos>{prompt}\n```" in text and "```text\n0 1 + =\n```" in text
    assert "An answer ends with `<eos>`." in text
    assert "In the evaluation it answered, which is right:\n\n```text\n20\n```" in text
    assert "which is wrong" in "\n".join(markdown(usage(is_right=False)))
    without = "\n".join(markdown(usage(alphabet="", ends=(), answer=None)))
    assert "characters alone" not in without and "In the evaluation it answered" not in without
    assert "ends at the limit" in without


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", ["form", "alphabet", "prompt", "answer", "before", "after"])
def test_no_text_leaves_its_block(name: str, text: str) -> None:
    lines = markdown(usage(**{name: text}))
    fence, inside, headings = "", [], []
    for line in "\n".join(lines).split("\n"):
        opened = re.fullmatch(r"(`{3,})(\w*)", line)
        if not fence and opened:
            fence = opened[1]
        elif fence and line == fence:
            fence = ""
        else:
            (inside if fence else headings).append(line)
    assert not fence
    assert [line for line in headings if line.startswith("#")] == ["## How to ask it"]
    assert "\x1b" not in "\n".join(lines) and "\r" not in "\n".join(lines)


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_in_the_program_are_constants(text: str) -> None:
    code = program(usage(prompt=text, before=text, after=text, stop=(text,), min_new_tokens=2))
    assert constants(code).count(text) == 4
    assert "min_new_tokens=2" in code
    chat = program(usage(prompt=text, messages=[{"role": "system", "content": text}], after=text))
    assert constants(chat).count(text) == 3
    assert "apply_chat_template" in chat and "add_special_tokens=False" in chat


def test_names_of_template_arguments_are_no_code() -> None:
    name = "x=__import__('os').abort()"
    code = program(usage(messages=[], template_arguments={name: True, "enable_thinking": False}))
    assert name in constants(code)
    assert not [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name) and node.id == "__import__"]
