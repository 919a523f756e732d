"""Tasks from files."""

from typing import Literal

from pydantic import Field

from bootstrap.config.task import OpenTask


class FileTask(OpenTask):
    """Rows of a JSON Lines file."""

    type: Literal["file"] = "file"
    base_level: int = Field(default=1, ge=1)
    path: str
