"""Framing of prompts: a user's turn in the folder's chat template, or the plain text.

Driver and workers frame alike from the same files, so this module imports neither torch nor transformers. The folder
holds the choice (`prompting.json`), so whoever opens a generation's folder can ask it as it was trained.

Templates are programs from a model's folder. They run in Jinja's sandbox, as in transformers (`templates.py`), but
without a clock. Left out: tools, documents, conversations.
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
"""An open reasoning tag at the end of the framed prompt: the completion continues inside the reasoning."""
_ABSENT = {"tools": None, "documents": None}
"""Arguments that transformers passes for a conversation without them; templates may test `is defined`."""


@dataclass(frozen=True, kw_only=True)
class Framing:
    """How one model's prompts are framed."""

    template: jinja2.Template | None
    """None for plain prompts, with the tokenizer's own special tokens around them."""
    system: str | None
    tokens: Mapping[str, str]
    """Name that templates use -> text of the special token."""

    @property
    def adds_special_tokens(self) -> bool:
        """Whether the tokenizer adds its special tokens; a template writes them itself."""
        return self.template is None

    def text(self, prompt: str) -> str:
        """Return the framed prompt for the tokenizer. Raises RecipeError when the template refuses the prompt."""
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
        """Return the open reasoning tag at the end of the framed prompt, with the white space after it; empty without.

        Verifiers judge the opening and the completion together.
        """
        found = _OPENED.search(self.text(prompt))
        return found.group() if found else ""


def without_opening(completion: str, opening: str) -> str:
    """Return a whole completion without the `opening` that the framed prompt holds already."""
    if not opening:
        return completion
    # Another model's template may write other white space after the tag.
    return completion.removeprefix(opening).removeprefix(opening.rstrip())


def framing_of(files: Mapping[str, bytes]) -> Framing:
    """Return the framing of a model folder's prompts. Raises RecipeError for a template that is no Jinja."""
    settings = json.loads(files.get("tokenizer_config.json", b"{}"))
    choice = json.loads(files.get(PROMPTING, b"{}"))
    source = template_of(files) if choice.get("chat", True) else None
    return Framing(
        template=None if source is None else _compiled(source),
        system=choice.get("system"),
        tokens={name: text for name in NAMES if (text := token_text(settings, name)) is not None},
    )


def framed(files: Mapping[str, bytes], *, chat: bool, system: str | None) -> dict[str, bytes]:
    """Return a folder's files with the choice of framing among them.

    Raises RecipeError for a system prompt without a chat template to hold it.
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
    """Return the chat template's source, from its own file or from the tokenizer's settings; None if absent."""
    if TEMPLATE in files:
        return files[TEMPLATE].decode()
    match json.loads(files.get("tokenizer_config.json", b"{}")).get("chat_template"):
        case list(named):
            return next((entry["template"] for entry in named if entry.get("name") == "default"), None)
        case found:
            return found


def _compiled(source: str) -> jinja2.Template:
    try:
        return compiled(source)
    except (jinja2.TemplateError, RecursionError) as error:
        raise RecipeError(
            f"the model's chat template cannot be read: {error}; correct it, or set base.model.chat: plain"
        ) from error
