"""How a prompt's text becomes what the model reads: a user's turn in the folder's chat template, or the text as it is.

Driver and workers frame alike, from the same files, so no torch and no transformers here. The folder says how
(`prompting.json`), which makes a generation's folder complete: whoever opens it can ask it as it was trained.

Templates are programs from a model's folder; they run in Jinja's sandbox, as transformers runs them (`templates.py`),
but without a clock. Left out: tools, documents, conversations.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

import jinja2

from bootstrap.canonical import json_file
from bootstrap.config.answers import REASONING_TAGS
from bootstrap.errors import RecipeError
from bootstrap.training.special_tokens import NAMES, token_text
from bootstrap.training.templates import FAULTS, compiled

PROMPTING = "prompting.json"
TEMPLATE = "chat_template.jinja"
_OPENED = re.compile(rf"<(?:{'|'.join(REASONING_TAGS)})>\s*\Z")
"""A reasoning tag at the end of what the model is shown: its completion goes on inside the reasoning."""
_ABSENT = {"tools": None, "documents": None}
"""What transformers passes where a conversation has none, so that templates which ask `is defined` find it."""


@dataclass(frozen=True, kw_only=True)
class Framing:
    """How one model's prompts are framed."""

    template: jinja2.Template | None
    """None: prompts are read as they are, with the special tokens that the tokenizer puts around every text."""
    system: str | None
    tokens: Mapping[str, str]
    """Texts of the special tokens, by which templates name them."""

    @property
    def adds_special_tokens(self) -> bool:
        """Whether the tokenizer is to add its special tokens; a template writes them itself."""
        return self.template is None

    def text(self, prompt: str) -> str:
        """Return what the tokenizer is given for a prompt. Raises RecipeError when the template refuses it."""
        if self.template is None:
            return prompt
        messages = [] if self.system is None else [{"role": "system", "content": self.system}]
        messages.append({"role": "user", "content": prompt})
        try:
            return self.template.render(messages=messages, add_generation_prompt=True, **_ABSENT, **self.tokens)
        except FAULTS as error:
            raise RecipeError(
                f"the model's chat template refuses the prompt: {error}; leave out base.model.system, or set "
                "base.model.chat: plain"
            ) from error

    def opening(self, prompt: str) -> str:
        """Return the open reasoning tag that the prompt as shown ends with, white space after it included.

        Empty where it ends with none. A completion with this before it is whole: what verifiers judge.
        """
        found = _OPENED.search(self.text(prompt))
        return found.group() if found else ""


def without_opening(completion: str, opening: str) -> str:
    """Return what is left to write of a whole completion where the prompt as shown holds its `opening` already."""
    if not opening:
        return completion
    # Another model's template may put other white space after the tag.
    return completion.removeprefix(opening).removeprefix(opening.rstrip())


def framing_of(files: Mapping[str, bytes]) -> Framing:
    """Return how the prompts of a model folder are framed. Raises RecipeError for a template that is no Jinja."""
    settings = json.loads(files.get("tokenizer_config.json", b"{}"))
    choice = json.loads(files.get(PROMPTING, b"{}"))
    source = template_of(files) if choice.get("chat", True) else None
    return Framing(
        template=None if source is None else _compiled(source),
        system=choice.get("system"),
        tokens={name: text for name in NAMES if (text := token_text(settings, name)) is not None},
    )


def framed(files: Mapping[str, bytes], *, chat: bool, system: str | None) -> dict[str, bytes]:
    """Return a folder's files with the choice of how its prompts are framed among them.

    Raises RecipeError for a system prompt where there is no chat template to hold it.
    """
    kept = {name: data for name, data in files.items() if name != PROMPTING}
    if template_of(files) is None:
        if system is not None:
            raise RecipeError(
                "base.model.system is set, and the model's folder has no chat template to hold it; remove the key, or "
                f"put the template into the folder as {TEMPLATE}"
            )
        return kept
    return {**kept, PROMPTING: json_file({"chat": chat, "system": system})}


def template_of(files: Mapping[str, bytes]) -> str | None:
    """Return the chat template's source: from a file of its own, or from the tokenizer's settings; None if absent."""
    if TEMPLATE in files:
        return files[TEMPLATE].decode()
    found = json.loads(files.get("tokenizer_config.json", b"{}")).get("chat_template")
    if isinstance(found, list):
        return next((entry["template"] for entry in found if entry.get("name") == "default"), None)
    return found


def _compiled(source: str) -> jinja2.Template:
    try:
        return compiled(source)
    except (jinja2.TemplateError, RecursionError) as error:
        raise RecipeError(
            f"the model's chat template cannot be read: {error}; correct it, or set base.model.chat: plain"
        ) from error
