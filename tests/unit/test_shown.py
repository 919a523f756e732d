"""Answers that the store holds, judged again: where each begins follows from how its prompt was shown."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from bootstrap.config.answers import FormatVerifier
from bootstrap.config.tasks import CopyTask
from bootstrap.evaluation.report import OutcomeRow
from bootstrap.prompts.build import build_task
from bootstrap.scoring.verifier import build_verifier
from bootstrap.stages.heldout import judge_again
from bootstrap.stages.shown import ShownPrompts, shown_by

BEGUN = "so it is</think><answer>b</answer>"
OPENS = "{{ messages[0].content }} A: <think>\n"
SETTINGS, PROMPTING, TEMPLATE = "tokenizer_config.json", "prompting.json", "chat_template.jinja"


def shown(files: dict[str, str] | None) -> ShownPrompts:
    """How prompts are shown by a generation with these files beside its weights; None where it keeps none."""
    if files is None:
        return shown_by(SimpleNamespace(), SimpleNamespace(artifacts={}))
    held: Any = SimpleNamespace(model=lambda wanted: {name: files[name].encode() for name in filter(wanted, files)})
    return shown_by(SimpleNamespace(artifact=lambda ref: held), SimpleNamespace(artifacts={"weights": "w"}))


@pytest.mark.parametrize(
    ("files", "text", "right"),
    [
        # The template opened the reasoning: an earlier version stored the completion alone, a newer one the tag too.
        ({TEMPLATE: OPENS}, BEGUN, True),
        ({SETTINGS: json.dumps({"chat_template": OPENS})}, BEGUN, True),
        ({TEMPLATE: OPENS}, f"<think>\n{BEGUN}", True),
        ({TEMPLATE: OPENS}, f"<think>\n<think>{BEGUN}", False),
        ({TEMPLATE: OPENS}, f"so</think>{BEGUN}", False),
        # Nothing opened it: what is missing was never written, whoever stored the text.
        ({}, BEGUN, False),
        ({TEMPLATE: "{{ messages[0].content }} A: "}, BEGUN, False),
        ({TEMPLATE: OPENS, PROMPTING: json.dumps({"chat": False})}, BEGUN, False),
        ({}, f"<think>{BEGUN}", True),
        # It is not known.
        (None, BEGUN, True),
    ],
)
def test_a_reasoning_that_is_never_opened_counts_where_the_prompt_opened_it(
    files: dict[str, str] | None, text: str, right: bool
) -> None:
    task = build_task(CopyTask(base_level=1))
    [prompt] = task.heldout(1, 1)
    row = OutcomeRow(prompt_id=prompt.id, level=1, correct=None, text=text)
    [again] = judge_again(
        [row],
        task=task,
        count=1,
        eval_verifier=build_verifier(FormatVerifier()),
        max_unverifiable=0.0,
        shown=shown(files),
    )
    assert again.correct is right
