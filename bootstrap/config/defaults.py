"""Defaults by kind of base: what a recipe leaves open for a pretrained model, written out before it is checked.

The defaults of the settings' classes are vetted for models from scratch. A recipe whose base is pretrained gets those
of this module, key by key, where it says nothing itself. The recipe that a lineage remembers is read as it is.

Left out: whether a value is wise (`conflicts/`), and what only the model's files tell.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bootstrap.config.answers import Boxed, Tagged, VerifierSettings
from bootstrap.config.verifiers import Verifier

Section = dict[str, Any]
"""A section of a recipe, as data that nobody has checked."""


def fill(recipe: Section) -> None:
    """Write defaults for a pretrained base into a recipe's data; of other recipes nothing changes.

    Sections of another form than a recipe's are left to the settings' classes, which say what is wrong.
    """
    if is_pretrained(_section(_section(recipe, "base"), "model")):
        for rule in RULES:
            rule(recipe)


def is_pretrained(model: Section) -> bool:
    """Whether a model's section names one whose weights come from a folder."""
    return model.get("type") == "folder"


def steps(recipe: Section) -> Iterator[Section]:
    """Yield every step's section: generation 0's, those of all generations, those of stages."""
    generations = _section(recipe, "generations")
    for holder in (_section(recipe, "base"), generations, *_sections(generations.get("stages"))):
        yield from _sections(holder.get("steps"))


def _section(holder: Section, key: str) -> Section:
    """Return a section below another; an empty one where there is none."""
    found = holder.get(key)
    return found if isinstance(found, dict) else {}


def _sections(listed: Any) -> Iterator[Section]:
    if isinstance(listed, list):
        yield from (one for one in listed if isinstance(one, dict))


# --- rows of files -----------------------------------------------------------------------------------------------

CHARACTER_LIMITS = ("alphabet", "max_prompt_length", "max_answer_length")
"""Limits of rows that a model from scratch needs."""
_VERIFIER: TypeAdapter[Verifier] = TypeAdapter(Verifier)


def in_tokens(recipe: Section) -> None:
    """Limits of rows in tokens instead of characters, unless a stage starts from scratch and reads characters."""
    stages = _sections(_section(recipe, "generations").get("stages"))
    if any(_section(stage, "init").get("type") == "scratch" for stage in stages):
        return
    for holder, task, _ in _file_tasks(recipe):
        holder["task"] = dict.fromkeys(CHARACTER_LIMITS) | task


def answers_in_their_place(recipe: Section) -> None:
    """Right answers in the form that the verifier reads, for rows that hold the answer alone."""
    for holder, task, verifier in _file_tasks(recipe):
        if verifier is None or task.get("form", "text") != "text":
            continue
        places = [getattr(one, "answer", None) for one, decides in verifier.readers() if decides]
        holder["task"] = {"answer_template": _template(next(filter(None, places), None)), **task}


def _file_tasks(recipe: Section) -> Iterator[tuple[Section, Section, VerifierSettings | None]]:
    """Yield (holder, section, verifier) of each file task, alone or in a mixture; None for a verifier with faults."""
    panel = _section(_section(recipe, "evaluation"), "panel")
    for watched, verifier in ((recipe, recipe.get("verifier", {"type": "exact"})), *_watched(panel)):
        try:
            judge: VerifierSettings | None = _VERIFIER.validate_json(json.dumps(verifier), strict=True)
        except (ValidationError, TypeError, ValueError):
            judge = None
        task = _section(watched, "task")
        parts = _section(task, "parts") if task.get("type") == "mixture" else {}
        for name, holder in (*((n, _section(parts, n)) for n in parts), (str(task.get("type")), watched)):
            one = _section(holder, "task")
            if one.get("type") == "file":
                own = judge.of_task(name) if judge is not None else None
                yield holder, one, own[1] if own is not None else None


def _watched(panel: Section) -> Iterator[tuple[Section, Any]]:
    yield from ((watched, watched.get("verifier")) for watched in _sections([*panel.values()]))


def _template(place: Any) -> str:
    match place:
        case Boxed():
            return r"\boxed{{answer}}"
        case Tagged(tag=tag):
            return f"<{tag}>{{answer}}</{tag}>"
    return "{answer}"


RULES: tuple[Callable[[Section], None], ...] = (in_tokens, answers_in_their_place)
"""Each writes the defaults of one part of a recipe."""
