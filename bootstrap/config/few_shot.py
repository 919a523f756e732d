"""Few-shot examples: a file of prompts with answers that are shown before every prompt.

    {"prompt": "What is 1 + 1?", "answer": "1 and 1 make 2. The answer is 2."}

Left out: how they are shown (`training/chat.py`).
"""

from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

from pydantic import Field

from bootstrap.canonical import sha256
from bootstrap.config.base import OnDisk, Operational
from bootstrap.config.data import content_of
from bootstrap.reading import parsed

MOST_EXAMPLES = 256
"""Each of them stands before every prompt."""
MOST_BYTES = 2**24
"""Of the file: no context holds as many."""
_FORM = '{"prompt": "...", "answer": "..."}'


class Shot(NamedTuple):
    """One example."""

    prompt: str
    answer: str


class ExampleFile(OnDisk):
    """A JSON Lines file of few-shot examples."""

    path: Annotated[str, Operational()] = Field(min_length=1)
    """The file: UTF-8, one object with `prompt` and `answer` a line; relative paths start at the recipe's folder."""
    content: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the file. A run fills it in; a recipe that names it refuses other content."""

    def pinned(self) -> Self:
        """Return the file with `content` filled in. Raises ValueError as `read`."""
        self.read()
        return self.model_copy(update={"content": sha256(self._bytes())})

    def read(self) -> tuple[Shot, ...]:
        """Return the examples. Raises ValueError, with the remedy, for a file of another form or content."""
        data = self._bytes()
        if self.content is not None and (found := sha256(data)) != self.content:
            raise ValueError(
                f"{self.path} has changed: its SHA-256 is {found[:16]}..., examples.content says "
                f"{self.content[:16]}...; restore the file, or remove examples.content and grow a lineage of its own "
                "(--lineage NAME)"
            )
        try:
            lines = data.decode().split("\n")
        except UnicodeDecodeError:
            raise ValueError(f"{self.path} is no UTF-8 text; save it as UTF-8") from None
        shots = tuple(self._shot(line, number) for number, line in enumerate(lines, start=1) if line.strip())
        if not 1 <= len(shots) <= MOST_EXAMPLES:
            raise ValueError(
                f"{self.path} holds {len(shots)} examples, each of which would stand before every prompt; give 1 to "
                f"{MOST_EXAMPLES}"
            )
        return shots

    def _shot(self, line: str, number: int) -> Shot:
        try:
            match parsed(line.encode(), strict=False):
                case {"prompt": str(prompt), "answer": str(answer)} if prompt.strip() and answer.strip():
                    return Shot(prompt, answer)
        except ValueError:
            pass
        raise ValueError(f"{self.path}, line {number}, is no example; write {_FORM}, both with some text")

    def _bytes(self) -> bytes:
        try:
            return content_of(Path(self.path), most=MOST_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            raise ValueError(f"there is no file {self.path}; relative paths start at the recipe's folder") from None
        except IsADirectoryError:
            raise ValueError(f"{self.path} is a folder; name a JSON Lines file") from None
        except OSError as error:
            raise ValueError(f"cannot read {self.path}: {error.strerror}; make the file readable") from None


def as_file(data: Any) -> Any:
    """Return the section of a file that is given by its path alone."""
    return {"path": data} if isinstance(data, str) else data
