"""Framing of prompts: a user's turn in the folder's chat template, or the plain text; examples before it, if any.

Driver and workers frame alike from the same files, so this module imports neither torch nor transformers. The folder
holds the choices (`choices.py`), so whoever opens a generation's folder can ask it as it was trained.

Templates are programs from a model's folder. They run in Jinja's sandbox, as in transformers (`templates.py`), but
without a clock, and with bounds on time and memory (`rendering.py`). Left out: tools, documents, conversations.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bootstrap.config.answers import REASONING_TAGS
from bootstrap.config.base_model import PretrainedModel
from bootstrap.config.few_shot import Shot
from bootstrap.errors import RecipeError
from bootstrap.store.on_disk import FolderFiles, entries
from bootstrap.training.choices import PROMPTING, Choices, choices_of
from bootstrap.training.rendering import TemplateFault, check, rendered, variables_of
from bootstrap.training.special_tokens import NAMES, added_tokens, control_tokens, token_text
from bootstrap.training.turns import Message, end_of_turn

TEMPLATE = "chat_template.jinja"
PLAIN_SHOT = "Question: {prompt}\nAnswer:\n{answer}\n\n"
"""An example in plain text; the prompt follows in the same form, up to its answer."""
PLAIN_STOPS = ("\n\nQuestion:", "\nQuestion:")
"""Where a model goes on with a question of its own."""
_OPENED = re.compile(rf"<(?:{'|'.join(REASONING_TAGS)})>\s*\Z")
"""An open reasoning tag at the end of the framed prompt: the completion continues inside the reasoning."""
_ABSENT = {"tools": None, "documents": None}
"""Arguments that transformers passes for a conversation without them; templates may test `is defined`."""


@dataclass(frozen=True, kw_only=True)
class Framing:
    """How one model's prompts are framed, and what ends its answers beside an end token."""

    template: str | None
    """Its source; None for plain prompts, with the tokenizer's own special tokens around them."""
    tokens: Mapping[str, str]
    """Name that templates use -> text of the special token."""
    choices: Choices

    @property
    def adds_special_tokens(self) -> bool:
        """Whether the tokenizer adds its special tokens; a template writes them itself."""
        return self.template is None

    def text(self, prompt: str) -> str:
        """Return the framed prompt for the tokenizer. Raises RecipeError when the template refuses the prompt."""
        if self.template is None:
            return _plain(prompt, self.choices.examples) + self.choices.prefill
        try:
            asked = self.conversation([*self.before(), {"role": "user", "content": prompt}], asks=True)
            return asked + self.choices.prefill
        except TemplateFault as error:
            raise RecipeError(
                f"the model's chat template refuses the prompt: {error}; leave out base.model.system, or set "
                "base.model.chat: plain"
            ) from error

    def conversation(self, messages: Sequence[Message], *, asks: bool) -> str:
        """Return messages in the template; `asks`: with the beginning of an answer after them. Raises TemplateFault."""
        assert self.template is not None, "a plain prompt is no conversation"
        given = {**_ABSENT, **self.tokens, **self.choices.template_arguments}
        return rendered(self.template, {"messages": messages, "add_generation_prompt": asks, **given})

    def before(self) -> list[Message]:
        """Return the messages before the prompt's: system prompt and examples."""
        system = [{"role": "system", "content": self.choices.system}] if self.choices.system is not None else []
        shots = [
            message
            for shot in self.choices.examples
            for message in ({"role": "user", "content": shot.prompt}, {"role": "assistant", "content": shot.answer})
        ]
        return [*system, *shots]

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
    settings, choices = _tokenizer_settings(files), choices_of(files)
    source = template_of(files) if choices.chat else None
    if source is not None:
        with _readable():
            check(source)
    return Framing(
        template=source,
        tokens={name: text for name in NAMES if (text := token_text(settings, name)) is not None},
        choices=choices,
    )


def taught_end(files: Mapping[str, bytes]) -> str | None:
    """Return the token that ends an answer of this folder's model by its framing: what training teaches.

    That is the choice in the folder; a folder without any has the chat template's end of turn. None where neither they
    nor the tokenizer name one.
    """
    named = token_text(_tokenizer_settings(files), "eos_token")
    if PROMPTING in files:
        return choices_of(files).end or named
    # Whoever asks through a template that is no Jinja is told so; with plain prompts it has no effect.
    return end_of_turn_of(files) or named


def framed(
    files: Mapping[str, bytes],
    *,
    chat: bool,
    system: str | None,
    template_arguments: Mapping[str, Any] | None = None,
    examples: Sequence[Shot] = (),
    prefill: str | None = None,
    stop: Sequence[str] = (),
    min_new_tokens: int = 0,
) -> FolderFiles:
    """Return a folder's files with the choices of framing among them.

    Raises RecipeError for a choice that needs a chat template where there is none, for an argument that the template
    does not read, and for an example that holds a control token's text.
    """
    arguments = dict(template_arguments or {})
    kept = FolderFiles({name: one for name, one in entries(files).items() if name != PROMPTING}, keeps=files)
    source = template_of(files)
    if source is None:
        for key, value in (("system", system), ("template_arguments", arguments)):
            if value:
                raise RecipeError(
                    f"base.model.{key} is set, and the model's folder has no chat template to hold it; remove the key, "
                    f"or put the template into the folder as {TEMPLATE}"
                )
    elif unread := sorted(arguments.keys() - _variables(source)):
        known = arguments_of(files)
        raise RecipeError(
            f"the model's chat template does not read {', '.join(unread)}, which base.model.template_arguments names; "
            + (f"it reads {', '.join(known)}" if known else "it reads no arguments, so remove them")
        )
    controls = control_tokens(files) if examples else ()
    for number, shot in enumerate(examples, start=1):
        if held := next((token for token in controls if token in shot.prompt or token in shot.answer), None):
            raise RecipeError(
                f"base.model.examples: example {number} holds {held!r}, which the model's tokenizer reads as a control "
                "token; leave it out of the example"
            )
    is_plain = source is None or not chat
    if examples and is_plain:
        stop = (*dict.fromkeys((*stop, *PLAIN_STOPS)),)
    choices = Choices(
        chat=chat,
        system=system,
        template_arguments=arguments,
        examples=tuple(examples),
        prefill=prefill or "",
        stop=tuple(stop),
        min_new_tokens=min_new_tokens,
    )
    if not is_plain:
        with_choices = kept | {PROMPTING: choices.to_file()}
        end = _end_of_turn(kept, framing_of(with_choices))
        if end != token_text(_tokenizer_settings(files), "eos_token"):
            choices = choices.model_copy(update={"end": end})
    if source is None and choices == Choices(chat=chat):
        return kept
    return kept | {PROMPTING: choices.to_file()}


def arguments_of(files: Mapping[str, bytes]) -> list[str]:
    """Return the arguments that a folder's chat template reads, sorted, beside those that every template gets.

    Raises RecipeError for a template that is no Jinja.
    """
    source = template_of(files)
    if source is None:
        return []
    return sorted(_variables(source) - {"messages", "add_generation_prompt", *_ABSENT, *NAMES})


def end_of_turn_of(files: Mapping[str, bytes]) -> str | None:
    """Return the token that a folder's chat template ends an answer with; None where it writes none, or is no Jinja."""
    try:
        return _end_of_turn(files, framing_of(files))
    except RecipeError:
        return None


def framed_by(files: Mapping[str, bytes], model: PretrainedModel) -> FolderFiles:
    """Return a folder's files with a recipe's choices among them. Raises RecipeError as `framed`."""
    try:
        examples = model.examples.read() if model.examples is not None else ()
    except ValueError as error:
        raise RecipeError(f"base.model.examples: {error}") from error
    return framed(
        files,
        chat=model.chat == "template",
        system=model.system,
        template_arguments=model.template_arguments,
        examples=examples,
        prefill=model.prefill,
        stop=model.stop,
        min_new_tokens=model.min_new_tokens,
    )


def _plain(prompt: str, examples: Sequence[Shot]) -> str:
    if not examples:
        return prompt
    shown = "".join(PLAIN_SHOT.format(prompt=shot.prompt.strip(), answer=shot.answer.strip()) for shot in examples)
    # Cut at the answer's place, so that both have one form.
    return shown + PLAIN_SHOT.partition("{answer}")[0].format(prompt=prompt.strip())


def _end_of_turn(files: Mapping[str, bytes], framing: Framing) -> str | None:
    """Return the token that a folder's chat template ends an answer with, if the model can draw it."""
    if framing.template is None or "tokenizer.json" not in files:
        return None
    rows = json.loads(files.get("config.json", b"{}")).get("vocab_size")
    known = {text: number for text, number in added_tokens(files).items() if rows is None or number < rows}
    return end_of_turn(lambda messages: framing.conversation(messages, asks=False), known)


def _tokenizer_settings(files: Mapping[str, bytes]) -> dict[str, Any]:
    return json.loads(files.get("tokenizer_config.json", b"{}"))


def template_of(files: Mapping[str, bytes]) -> str | None:
    """Return the chat template's source, from its own file or from the tokenizer's settings; None if absent."""
    if TEMPLATE in files:
        return files[TEMPLATE].decode()
    match json.loads(files.get("tokenizer_config.json", b"{}")).get("chat_template"):
        case list(named):
            return next((entry["template"] for entry in named if entry.get("name") == "default"), None)
        case found:
            return found


def _variables(source: str) -> set[str]:
    with _readable():
        return variables_of(source)


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except TemplateFault as error:
        raise RecipeError(
            f"the model's chat template cannot be read: {error}; correct it, or set base.model.chat: plain"
        ) from error
