"""The part of a model card that says how the model is asked, with a program that asks it as its evaluation did.

Texts of prompts, templates and answers are foreign: they stand in code blocks whose fences they cannot close.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bootstrap.lineage.text import visible


@dataclass(frozen=True, kw_only=True)
class Usage:
    """How one model is asked."""

    form: str
    """What it reads for the prompt `{prompt}`, special tokens included."""
    alphabet: str
    """Its characters, separated by blanks; empty where it reads any text."""
    ends: Sequence[str]
    """Token and texts that end an answer."""
    max_new_tokens: int
    """The evaluation's limit, or a little more."""
    prompt: str
    """One that the evaluation asked."""
    answer: str | None
    """The model's greedy answer to it; None where none is stored."""
    is_right: bool
    before: str = ""
    """Text before a plain prompt, such as examples; empty with `messages`."""
    after: str = ""
    """Text after the prompt, plain or framed by the template."""
    messages: Sequence[Mapping[str, str]] | None = None
    """Messages before the prompt's, for the folder's chat template; None for plain prompts."""
    template_arguments: Mapping[str, Any] = field(default_factory=dict)
    stop: Sequence[str] = ()
    min_new_tokens: int = 0


def markdown(usage: Usage) -> list[str]:
    """Return the lines of the card's section."""
    lines = ["## How to ask it", "", "Prompt format, special tokens included:", "", *_block(usage.form)]
    if usage.alphabet:
        lines += ["", "It reads and writes these characters alone:", "", *_block(usage.alphabet)]
    ends = " or ".join(_inline(text) for text in usage.ends)
    lines += ["", f"An answer ends with {ends}." if ends else "An answer ends at the limit.", ""]
    lines += ["Asked as in the evaluation:", "", *_block(program(usage), "python"), ""]
    if usage.answer is None:
        return lines
    verdict = "which is right" if usage.is_right else "which is wrong"
    return [*lines, f"In the evaluation it answered, {verdict}:", "", *_block(usage.answer), ""]


def program(usage: Usage) -> str:
    """Return a program that asks the model in the current folder with transformers alone, and prints its answer."""
    if usage.messages is None:
        text = " + ".join(filter(None, (_said(usage.before), "prompt", _said(usage.after))))
        framed = [f"text = {text}", 'tokens = tokenizer(text, return_tensors="pt")']
    else:
        messages = [*map(dict, usage.messages)]
        # Names are foreign too, so none is written as a keyword.
        arguments = f", **{dict(usage.template_arguments)!r}" if usage.template_arguments else ""
        after = f" + {_said(usage.after)}" if usage.after else ""
        framed = [
            f'messages = [*{messages!r}, {{"role": "user", "content": prompt}}]',
            f"text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True{arguments})"
            f"{after}",
            'tokens = tokenizer(text, return_tensors="pt", add_special_tokens=False)',
        ]
    limits = f"max_new_tokens={usage.max_new_tokens}, do_sample=False"
    limits += f", min_new_tokens={usage.min_new_tokens}" if usage.min_new_tokens else ""
    # Not `stop_strings`, which transformers refuses for tokenizers of few characters.
    cut = [f"for stop in {list(usage.stop)!r}:", "    answer = answer.partition(stop)[0]"] if usage.stop else []
    return "\n".join(
        [
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            'folder = "."  # where this card lies, or its name on the hub',
            "model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)",
            f"prompt = {usage.prompt!r}",
            *framed,
            f"found = model.generate(**tokens, {limits})[0, tokens.input_ids.shape[1] :]",
            "answer = tokenizer.decode(found, skip_special_tokens=True)",
            *cut,
            "print(answer)",
        ]
    )


def _said(text: str) -> str:
    return repr(text) if text else ""


def _block(text: str, language: str = "text") -> list[str]:
    """Return a code block whose fence is longer than any row of backticks in the text."""
    shown = visible(text)
    fence = _fence(shown, least=3)
    return [f"{fence}{language}", *shown.split("\n"), fence]


def _inline(text: str) -> str:
    flat = " ".join(repr(text)[1:-1].split())
    fence = _fence(flat, least=1)
    # A blank keeps a backtick at the edge from the fence.
    edge = " " if flat.startswith("`") or flat.endswith("`") else ""
    return f"{fence}{edge}{flat}{edge}{fence}"


def _fence(text: str, *, least: int) -> str:
    return "`" * max(least, 1 + max((len(row) for row in re.findall("`+", text)), default=0))
