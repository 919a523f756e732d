"""The choices of how a model is asked, in a file of its folder: whoever opens the folder asks as in its training.

    prompting.json    {"chat": true, "system": null, ...}; further keys only where they differ from their defaults

Left out: what the choices do (`chat.py`, `rollouts/engine.py`).
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bootstrap.canonical import json_file
from bootstrap.config.few_shot import Shot
from bootstrap.errors import RecipeError

PROMPTING = "prompting.json"


class Choices(BaseModel):
    """How a model is asked. The file may be another person's, so its form is checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    chat: bool = True
    """Whether a chat template frames the prompts, if the folder has one."""
    system: str | None = None
    template_arguments: dict[str, bool | int | float | str | None] = {}
    examples: tuple[Shot, ...] = ()
    """Shown before each prompt."""
    prefill: str = ""
    """Put at the end of each prompt."""
    stop: tuple[str, ...] = ()
    """Texts that end an answer."""
    min_new_tokens: int = Field(default=0, ge=0)
    end: str | None = None
    """The token that training teaches as the end of an answer; None for the tokenizer's end of sequence."""

    def to_file(self) -> bytes:
        """Return the content of `prompting.json`; equal choices give equal bytes."""
        chosen: dict[str, Any] = {"chat": self.chat, "system": self.system}
        for name, value in self.model_dump(mode="json", exclude_defaults=True).items():
            chosen[name] = value
        if self.examples:
            chosen["examples"] = [shot._asdict() for shot in self.examples]
        return json_file(chosen)


def choices_of(files: Mapping[str, bytes]) -> Choices:
    """Return the choices in a model folder's files; the defaults without any.

    Raises RecipeError for a file of another form.
    """
    try:
        data = json.loads(files.get(PROMPTING, b"{}"))
        if isinstance(data, dict) and isinstance(data.get("examples"), list):
            data["examples"] = [[shot["prompt"], shot["answer"]] for shot in data["examples"]]
        return Choices.model_validate_json(json.dumps(data))
    except (ValidationError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise RecipeError(
            f"{PROMPTING} of the model's folder says in no known form how it is asked; start from the folder with "
            "base.model of type folder, which writes it anew, or take it from the program that wrote it"
        ) from error
