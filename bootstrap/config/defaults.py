"""Defaults by kind of base: what a recipe leaves open for a pretrained model, written out before it is checked.

The defaults of the settings' classes are vetted for models from scratch. A recipe whose base is pretrained gets those
of this module, key by key, where it says nothing itself. The recipe that a lineage remembers is read as it is.

Left out: whether a value is wise (`conflicts/`), and what only the model's files tell.
"""

from collections.abc import Callable, Iterator
from typing import Any

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


RULES: tuple[Callable[[Section], None], ...] = ()
"""Each writes the defaults of one part of a recipe."""
